//! `esker scan DB C …`: writes the pairs of a range in order, one a line.
//!
//! ```text
//! text   KEY <tab> VALUE            with --keys: KEY            escaped as in `output`
//! JSON   {"key": …, "value": …}     with --keys: {"key": …}
//! ```

use crate::failure::{Outcome, Result};
use crate::{open, output};
use clap::Args;
use esker::{Key, Value};
use std::ffi::OsString;
use std::io::Write;
use std::ops::Bound;
use std::path::PathBuf;

/// Write the pairs of a range in order, one a line
#[derive(Args)]
pub(crate) struct Scan {
    /// The database's folder
    db: PathBuf,
    /// The collection
    #[arg(value_name = "C")]
    collection: String,
    /// Only keys that begin so
    #[arg(long, value_name = "P", conflicts_with_all = ["from", "to"])]
    prefix: Option<OsString>,
    /// Only this key and those after it
    #[arg(long, value_name = "K")]
    from: Option<OsString>,
    /// Only keys before this one
    #[arg(long, value_name = "K")]
    to: Option<OsString>,
    /// From the last key to the first
    #[arg(long)]
    reverse: bool,
    /// At most so many
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Keys without values
    #[arg(long)]
    keys: bool,
    /// As the snapshot of this name sees it
    #[arg(long, value_name = "NAME")]
    at: Option<String>,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

impl Scan {
    pub(crate) fn run(self) -> Result<Outcome> {
        let db = open::read(&self.db)?;
        let view = open::view(&db, &self.db, &self.collection, self.at.as_deref())?;
        let range = match &self.prefix {
            Some(prefix) => view.prefix(prefix.as_encoded_bytes()),
            None => {
                let bytes = |key: &Option<OsString>| key.clone().map(OsString::into_encoded_bytes);
                let from = bytes(&self.from).map_or(Bound::Unbounded, Bound::Included);
                let to = bytes(&self.to).map_or(Bound::Unbounded, Bound::Excluded);
                view.range((from, to))
            }
        };
        let limit = self.limit.unwrap_or(usize::MAX);
        let alone = |pair: esker::Result<(Key, _)>| Ok((pair?.0, Value::EMPTY));
        match (self.keys, self.reverse) {
            (false, false) => self.write(range.take(limit)),
            (false, true) => self.write(range.rev().take(limit)),
            (true, false) => self.write(range.readers().map(alone).take(limit)),
            (true, true) => self.write(range.readers().rev().map(alone).take(limit)),
        }
    }

    fn write(&self, pairs: impl Iterator<Item = esker::Result<(Key, Value)>>) -> Result<Outcome> {
        let mut out = output::stdout();
        for pair in pairs {
            let (key, value) = pair?;
            match (self.json, self.keys) {
                (true, true) => output::Object::default().bytes("key", &key).write(&mut out)?,
                (true, false) => {
                    let object = output::Object::default().bytes("key", &key);
                    object.bytes("value", &value).write(&mut out)?;
                }
                (false, true) => writeln!(out, "{}", output::text(&key))?,
                (false, false) => {
                    writeln!(out, "{}\t{}", output::text(&key), output::text(&value))?;
                }
            }
        }
        out.flush()?;
        Ok(Outcome::Done)
    }
}
