//! `esker snapshot DB NAME [--forget]`: names this moment, so that it is kept; or forgets a name.

use crate::failure::{Outcome, Result};
use crate::open;
use clap::Args;
use std::path::PathBuf;

/// Name this moment, so that it is kept
#[derive(Args)]
pub(crate) struct Snapshot {
    /// The database's folder
    db: PathBuf,
    /// The name
    name: String,
    /// Forget the name; what only it kept is free to go
    #[arg(long)]
    forget: bool,
}

impl Snapshot {
    pub(crate) fn run(self) -> Result<Outcome> {
        let db = open::write(&self.db)?;
        if self.forget {
            db.forget_snapshot(&self.name)?;
        } else {
            db.name_snapshot(&self.name)?;
        }
        db.close()?;
        Ok(Outcome::Done)
    }
}
