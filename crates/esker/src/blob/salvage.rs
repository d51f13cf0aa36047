//! The values that can still be read of files in which something may be damaged: for repair alone.
//!
//! ```text
//!   ref ─▶ its own log, or the log that became a file: at the offset in its address
//!      └─▶ any file whose table has its address                     ─▶ digest right? ─▶ the value
//! ```
//!
//! 1. Nothing is believed but the digest in the ref: a value is the one that was written, or it is
//!    not found. So tables whose checksum is wrong are used line by line.
//! 2. A value may lie in several files: any whole copy will do.

use super::format::{ENTRY_BYTES, FOOTER_BYTES, Layout, entry, to_u64, to_usize};
use crate::base::blob::{Address, BlobRef};
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::id::FileId;
use crate::env::names::{FileKind, FileName};
use crate::env::{Env, File, path_in};
use crate::log::large::{decode, read_stored};
use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

/// Files in which values are looked for.
#[derive(Debug, Default)]
pub struct Values {
    /// Logs, and files that were logs: their own addresses are offsets.
    logs: HashMap<FileId, Vec<Source>>,
    /// Where tables say that a value lies.
    tables: HashMap<Address, Vec<(usize, u64)>>,
    sources: Vec<Source>,
    /// Files from which a value could not be read that should be there.
    damaged: HashSet<FileName>,
}

#[derive(Clone, Debug)]
struct Source {
    name: FileName,
    file: Arc<dyn File>,
}

impl Values {
    /// Takes in a log, or a blob file.
    ///
    /// Memory: some 50 bytes for each value of a table. Errors: `Unsupported` for a newer format;
    /// others if nothing can be read of it.
    pub fn add(&mut self, env: &dyn Env, dir: &Path, name: FileName) -> Result<()> {
        let io = |error| Error::io(format!("read {name}"), error);
        let file = env.open(&path_in(dir, name)).map_err(io)?;
        let bytes = file.byte_count().map_err(io)?;
        let source = Source { name, file };
        let footer = bytes.min(to_u64(FOOTER_BYTES));
        let last = read_stored(&*source.file, name, bytes - footer, to_usize(footer))?;
        if name.kind != FileKind::Blob || Layout::file_of(&last).is_none() {
            self.logs.entry(name.id).or_default().push(source);
            return Ok(());
        }
        let layout = Layout::decode(&last, bytes, name.id)?;
        let len = layout.values.saturating_mul(to_u64(ENTRY_BYTES));
        let table = read_stored(&*source.file, name, layout.table_at, to_usize(len))?;
        for stored in (0..to_usize(layout.values)).filter_map(|index| entry(&table, index)) {
            let place = (self.sources.len(), stored.at);
            self.tables.entry(stored.blob.address).or_default().push(place);
        }
        self.sources.push(source);
        Ok(())
    }

    /// The bytes of a value as they are stored, which were verified to be it; none if no file has
    /// them. Errors: `Unsupported` if this build lacks its codec.
    pub fn read(&mut self, blob: &BlobRef) -> Result<Option<Vec<u8>>> {
        let address = blob.address;
        let logs = self.logs.get(&address.file()).map_or(&[][..], |logs| logs);
        let logs = logs.iter().map(|source| (source, address.offset()));
        let tables = self.tables.get(&address).map_or(&[][..], |places| places);
        let tables = tables.iter().filter_map(|(of, at)| Some((self.sources.get(*of)?, *at)));
        for (source, at) in logs.chain(tables) {
            let Source { name, file } = source;
            let stored = read_stored(&**file, *name, at, to_usize(blob.stored.into()));
            let checked = stored.and_then(|stored| {
                decode(*name, blob, at, &stored)?;
                Ok(stored)
            });
            match checked {
                Ok(stored) => return Ok(Some(stored)),
                Err(error) if error.kind() == ErrorKind::Unsupported => return Err(error),
                Err(_) => _ = self.damaged.insert(*name),
            }
        }
        Ok(None)
    }

    /// Whether a value could not be read from this file that should be there.
    pub fn is_damaged(&self, name: FileName) -> bool {
        self.damaged.contains(&name)
    }
}
