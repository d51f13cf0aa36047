//! The command `esker`: load, look into, verify and unload Esker databases.
//!
//! ```text
//! esker load DB FOLDER [--collection C] [--sync]      esker collections DB
//! esker unload DB FOLDER [--collection C]             esker stats DB [--json]
//! esker put|get|rm DB C KEY [VALUE]                   esker verify DB [--json]
//! esker scan DB C [--prefix P|--from K --to K]        esker log FILE [--json]
//!     [--reverse] [--limit N] [--keys] [--json]       esker segment FILE [--json]
//! esker count DB C [--prefix P]                       esker blob FILE [--values] [--json]
//!                                                     esker manifest DB
//!                                                     esker audit DB [--json]
//! esker backup DB FOLDER [--keep N]                   esker checkpoint DB FOLDER
//! esker restore FOLDER DB [--number N]                esker export DB C > LINES
//! esker repair DB                                     esker import DB C < LINES
//! esker snapshot DB NAME [--forget]                   esker revert DB NAME
//! esker snapshots DB [--json]                         get, scan, count, export: [--at NAME]
//! esker watch DB [--from N]
//! ```
//!
//! 1. Exit 0: done. 1: `get` found nothing, `verify`, `audit`, `backup` or `repair` damage. 2: an error, told in one line on
//!    standard error. A reader that closes the pipe is no error.
//! 2. A verb is a file in `verbs/`: its arguments, and `run`. None knows another.
//! 3. Verbs that only read open the database read-only, and write no byte of it.
//! 4. With `--json`, each line is one object; bytes that are not UTF-8 stand as base64 under the
//!    same name with `_base64` behind it (`key` or `key_base64`, never both).

mod failure;
mod open;
mod output;
mod paths;
mod progress;
mod verbs;

use clap::Parser;
use clap::error::ErrorKind;
use failure::{Failure, Outcome};
use std::process::ExitCode;

/// An embedded, ordered, log-structured key-value engine that proves it lost nothing.
#[derive(Parser)]
#[command(name = "esker", version, about, disable_help_subcommand = true)]
struct Command {
    #[command(subcommand)]
    verb: verbs::Verb,
}

fn main() -> ExitCode {
    let outcome = match Command::try_parse() {
        Ok(command) => verbs::run(command.verb),
        Err(error) => match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
                error.print().map(|()| Outcome::Done).map_err(Failure::from)
            }
            _ => Err(Failure::usage(&error)),
        },
    };
    failure::exit_code(outcome)
}
