//! `esker verify DB [--json]`: reads every byte of every live file, and checks it.
//!
//! ```text
//! text   FILE: MESSAGE for each damage, then one line of figures
//! JSON   {"file": …, "offset": …, "message": …} for each damage; `offset` where one is known
//!        at the end {"whole": …, "files": …, "bytes": …, "entries": …, "checksum": …}
//! ```
//!
//! 1. Exit 0: whole. 1: damaged. 2: it could not be checked.
//! 2. A database so damaged that it does not open is checked file by file, without the manifest.

#![expect(clippy::disallowed_methods, reason = "the verb lists a folder that does not open")]

use crate::failure::{Failure, Outcome, Result};
use crate::open;
use crate::output::{self, Object};
use crate::progress::with_bar;
use clap::Args;
use esker::{Damage, ErrorKind, VerifyReport, inspect};
use std::fs;
use std::io::Write;
use std::path::PathBuf;

/// Read every byte of a database and check it; exit 1 if it is damaged
#[derive(Args)]
pub(crate) struct Verify {
    /// The database's folder
    db: PathBuf,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

impl Verify {
    pub(crate) fn run(self) -> Result<Outcome> {
        let report = self.report()?;
        let mut out = output::stdout();
        for damage in &report.damages {
            if self.json {
                damage_object(damage).write(&mut out)?;
            } else {
                writeln!(out, "{}: {}", damage.file, damage.message)?;
            }
        }
        if self.json {
            Object::default()
                .with("whole", report.is_whole())
                .with("files", report.files)
                .with("bytes", report.bytes)
                .with("entries", report.entries)
                .with("checksum", report.checksum.to_string())
                .write(&mut out)?;
        } else {
            let verdict = if report.is_whole() { "whole" } else { "DAMAGED" };
            writeln!(
                out,
                "{verdict}: {} files, {} bytes ({}), {} entries in segments, checksum {}",
                report.files,
                report.bytes,
                output::amount(report.bytes),
                report.entries,
                report.checksum
            )?;
        }
        out.flush()?;
        Ok(if report.is_whole() { Outcome::Done } else { Outcome::No })
    }

    fn report(&self) -> Result<VerifyReport> {
        let db = match open::read(&self.db) {
            Ok(db) => db,
            Err(error) if is_damage(&error) => return self.report_without_opening(&error),
            Err(error) => return Err(error.into()),
        };
        Ok(with_bar(|progress| db.verify_with(progress))?)
    }

    /// Checks each file by itself; what kept the database from opening comes first.
    fn report_without_opening(&self, reason: &esker::Error) -> Result<VerifyReport> {
        let mut report = VerifyReport::default();
        report.damages.push(damage_of(reason));
        let mut check = |found: esker::Result<()>| match found {
            Err(error) if is_damage(&error) => {
                let damage = damage_of(&error);
                if !report.damages.contains(&damage) {
                    report.damages.push(damage);
                }
                Ok(())
            }
            found => found,
        };
        check(inspect::manifest(&self.db).map(drop))?;
        let failed = |error| Failure::at("list", &self.db, &error);
        let mut paths = Vec::new();
        for entry in fs::read_dir(&self.db).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            paths.push((entry.path(), entry.metadata().map_err(failed)?));
        }
        paths.sort_by(|(a, _), (b, _)| a.cmp(b));
        for (path, about) in paths.iter().filter(|(_, about)| about.is_file()) {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if name.starts_with("seg-") {
                check(inspect::verify_segment(path))?;
            } else if name.starts_with("blob-") {
                check(inspect::blob(path, &mut |_| Ok(())).map(drop))?;
            } else if name.starts_with("log-") {
                check(inspect::log(path, &mut |_| Ok(true)).map(drop))?;
            } else {
                continue;
            }
            report.files += 1;
            report.bytes += about.len();
        }
        Ok(report)
    }
}

fn is_damage(error: &esker::Error) -> bool {
    error.kind() == ErrorKind::Corruption
}

/// The damage that a message tells of: it names the file, and where it can the offset.
fn damage_of(error: &esker::Error) -> Damage {
    let message = error.message().to_owned();
    let mut words = message.split([' ', '/', ':']);
    let is_file = |word: &&str| {
        ["log-", "seg-", "blob-", "manifest-"].iter().any(|kind| word.starts_with(kind))
    };
    let file = words.find(is_file).unwrap_or_default().to_owned();
    Damage { file, message }
}

fn damage_object(damage: &Damage) -> Object {
    let offset = damage.message.split_once(" at byte ").map(|(_, rest)| rest);
    let digits = offset.and_then(|rest| rest.split(|c: char| !c.is_ascii_digit()).next());
    Object::default()
        .with("file", damage.file.as_str())
        .with("offset", digits.and_then(|digits| digits.parse::<u64>().ok()))
        .with("message", damage.message.as_str())
}
