//! `esker snapshots DB [--json]`: the named snapshots, the oldest first, one a line.
//!
//! ```text
//! text   SEQUENCE <tab> NAME               the last sequence number that it sees
//! JSON   {"name": …, "sequence": …}
//! ```

use crate::failure::{Outcome, Result};
use crate::{open, output};
use clap::Args;
use std::io::Write;
use std::path::PathBuf;

/// Write the named snapshots, the oldest first, one a line
#[derive(Args)]
pub(crate) struct Snapshots {
    /// The database's folder
    db: PathBuf,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

impl Snapshots {
    pub(crate) fn run(self) -> Result<Outcome> {
        let db = open::read(&self.db)?;
        let mut named = db.named_snapshots()?;
        named.sort_by_key(|(_, snapshot)| snapshot.sequence());
        let mut out = output::stdout();
        for (name, snapshot) in named {
            let sequence = snapshot.sequence();
            if self.json {
                let object = output::Object::default().with("name", name);
                object.with("sequence", sequence).write(&mut out)?;
            } else {
                writeln!(out, "{sequence}\t{name}")?;
            }
        }
        out.flush()?;
        Ok(Outcome::Done)
    }
}
