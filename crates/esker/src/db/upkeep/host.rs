//! What the commit path asks of the database: a new log, and that its workers come.

use super::background::Background;
use crate::base::blob::Address;
use crate::base::error::{Error, Result};
use crate::commit::Host;
use crate::commit::generation::NewLog;
use crate::db::files::large::no_addresses;
use crate::db::files::ledger::Ledger;
use crate::db::options::Options;
use crate::env::names::FileKind;
use crate::env::{Env, path_in};
use crate::log::writer::LogFile;
use crate::manifest::Edit;
use std::path::PathBuf;
use std::sync::Arc;

/// See the module.
pub(in crate::db) struct DbHost {
    pub(in crate::db) env: Arc<dyn Env>,
    pub(in crate::db) dir: PathBuf,
    pub(in crate::db) ledger: Arc<Ledger>,
    pub(in crate::db) background: Arc<Background>,
    pub(in crate::db) options: Options,
}

impl Host for DbHost {
    fn new_log(&self) -> Result<NewLog> {
        let id = self.ledger.allocate();
        if Address::new(id, 0).is_none() {
            return Err(no_addresses());
        }
        let bytes = self.options.slab() as u64;
        let created = LogFile::create(&*self.env, &self.dir, id, bytes, self.options.access);
        let path = path_in(&self.dir, FileKind::Log.name(id));
        let opened = created.and_then(|log| {
            let file = self.env.open(&path);
            let file = file.map_err(|error| Error::io(format!("open {}", log.name()), error))?;
            Ok(NewLog { id, log, file })
        });
        let new = opened.inspect_err(|_| {
            // Half a file may be there: it is no log until the manifest names it.
            let _ = self.env.remove(&path);
        })?;
        self.ledger.lock().record(Edit { add_log: Some(id), ..Edit::default() })?;
        Ok(new)
    }

    fn wake(&self) {
        self.background.wake();
    }

    fn stuck(&self) -> Option<Error> {
        self.background.stuck()
    }
}
