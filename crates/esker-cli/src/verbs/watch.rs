//! `esker watch DB [--from N]`: writes what was committed as JSON Lines, operation by operation.
//!
//! ```text
//! {"batch": …, "last": …, "sequence": …, "action": "put", "collection": …, "path": …, "key": …, "value": …}
//!   put            key value [expires]      remove           key
//!   merge          key operand              remove-range     start [end]
//!   named          of a collection          unnamed          of a path that has none any more
//!   snapshot       name of                  forget-snapshot  name
//! {"batch": …, "last": …, "action": "bulk"}     ingests and reverts: what they wrote is not in the log
//! ```
//!
//! `batch` and `last` are the first and the last number of the batch: all its lines have both. A copy
//! that has them goes on with `--from` one above `last`.

use crate::failure::{Outcome, Result};
use crate::open;
use crate::output::{self, Object};
use clap::Args;
use esker::{Action, Change, Operation};
use std::io::Write;
use std::path::PathBuf;

/// Write the changes that are held, from a number on, as lines of JSON
///
/// Held are the logs that are not flushed, and those that the program that writes keeps. The database
/// must not be open elsewhere for writing.
#[derive(Args)]
pub(crate) struct Watch {
    /// The database's folder
    db: PathBuf,
    /// The first number; without, all that is held
    #[arg(long, value_name = "N")]
    from: Option<u64>,
}

impl Watch {
    pub(crate) fn run(self) -> Result<Outcome> {
        let db = open::read(&self.db)?;
        let from = match self.from {
            Some(from) => from,
            None => db.changes_held()?.start,
        };
        let mut out = output::stdout();
        for change in db.changes(from)? {
            match change {
                Ok(change) => write_change(&change, &mut out)?,
                Err(error) => {
                    // What is whole is told before an error behind it.
                    out.flush()?;
                    return Err(error.into());
                }
            }
        }
        out.flush()?;
        Ok(Outcome::Done)
    }
}

fn write_change(change: &Change, out: &mut impl Write) -> Result<()> {
    let line = || Object::default().with("batch", change.first()).with("last", change.last());
    match change {
        Change::Batch { operations, .. } => {
            operations.iter().try_for_each(|operation| object(line(), operation).write(&mut *out))
        }
        _ => line().with("action", "bulk").write(out),
    }
}

fn object(line: Object, operation: &Operation) -> Object {
    let line = line.with("sequence", operation.sequence).with("action", word(&operation.action));
    let line = match operation.collection {
        Some(id) => line.with("collection", id),
        None => line,
    };
    let line = match &operation.path {
        Some(path) => line.with("path", &**path),
        None => line,
    };
    match &operation.action {
        Action::Put { key, value, expires } => {
            let line = line.bytes("key", key).bytes("value", value);
            match expires {
                Some(expires) => line.with("expires", *expires),
                None => line,
            }
        }
        Action::Remove { key } => line.bytes("key", key),
        Action::Merge { key, operand } => line.bytes("key", key).bytes("operand", operand),
        Action::RemoveRange { start, end: None } => line.bytes("start", start),
        Action::RemoveRange { start, end: Some(end) } => {
            line.bytes("start", start).bytes("end", end)
        }
        Action::SnapshotNamed { name, sequence } => {
            line.with("name", name.as_str()).with("of", *sequence)
        }
        Action::SnapshotForgotten { name } => line.with("name", name.as_str()),
        _ => line,
    }
}

fn word(action: &Action) -> &'static str {
    match action {
        Action::Put { .. } => "put",
        Action::Remove { .. } => "remove",
        Action::Merge { .. } => "merge",
        Action::RemoveRange { .. } => "remove-range",
        Action::Named { .. } => "named",
        Action::Unnamed => "unnamed",
        Action::SnapshotNamed { .. } => "snapshot",
        Action::SnapshotForgotten { .. } => "forget-snapshot",
        _ => "another",
    }
}
