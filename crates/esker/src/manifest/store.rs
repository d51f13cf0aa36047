//! The open manifest: the only writer of edits.
//!
//! ```text
//!  open ─▶ create manifest-50 (everything, one transaction) ─▶ append … append ─▶ close: create 51
//!                                     │ too long: roll_over
//!                                     └▶ create manifest-…, remove older ones
//! ```
//!
//! 1. Nothing is appended to a file that another process left: every open for writing and every
//!    clean close writes a complete new one. After a clean close everything is in one transaction,
//!    so that any later cut is damage (F-16).
//! 2. An edit is applied before it is written, so none is written that cannot be read.
//! 3. A failed write or sync is final: every later append fails with it (law 9). What a failed
//!    write left behind is the last thing in the file (F-22).
//! 4. A new database writes its manifest before any other file, so that a torn attempt is
//!    recognised (F-32).
//! 5. This never removes a file.

#![deny(clippy::indexing_slicing, clippy::as_conversions, clippy::unwrap_used)]

use super::edit::{Edit, Whole, add_line_bytes, blob_lines_bytes};
use super::line::Chain;
use super::read::{self, END, HEADER, ReadReport, VERSION};
use super::state::State;
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::id::FileId;
use crate::env::names::{FileKind, FileName};
use crate::env::{Env, File, Listed, path_in, write_all_at};
use std::path::Path;
use std::sync::Arc;

/// A file shorter than this is never rolled over.
const ROLLOVER_BYTES: u64 = 64 << 10;
/// Bytes of all lines but those of files, about.
const FIXED_BYTES: u64 = 512;

/// The open manifest.
#[derive(Debug)]
pub struct Store {
    file: Arc<dyn File>,
    id: FileId,
    chain: Chain,
    bytes: u64,
    /// Of them, those of the first transaction and what is before it.
    first_bytes: u64,
    transactions: u64,
    state: State,
    failed: Option<Error>,
}

/// How far the creation of a file came.
enum Failed {
    /// It lacks its end: whoever reads it sees that it is incomplete.
    Incomplete(Error),
    /// It may be complete on disk.
    Unknown(Error),
}

impl From<Failed> for Error {
    fn from(failed: Failed) -> Self {
        match failed {
            Failed::Incomplete(error) | Failed::Unknown(error) => error,
        }
    }
}

impl Store {
    /// What the manifest in `dir` says, `names` being all that lies there. Never writes.
    ///
    /// None: there is no database, only nothing or a torn first attempt to create one (F-32); its
    /// numbers are burnt, see [`read::next_file`]. `next_file` of the state is above the number of
    /// every file present.
    ///
    /// Errors: `Corruption` for damage, or files of a database without a complete manifest;
    /// `Unsupported` for a newer format; `Io`.
    pub fn read(
        env: &Arc<dyn Env>,
        dir: &Path,
        names: &[Listed],
    ) -> Result<Option<(State, ReadReport)>> {
        read::read(env, dir, names)
    }

    /// Writes a complete new manifest, numbered `id`. Durable, with its name, on return. The caller
    /// then removes older ones.
    ///
    /// Errors: `InvalidArgument` if `id` is not below the state's `next_file`, or the state breaks
    /// one of its invariants: nothing was written. `Io`: the number is
    /// burnt, the file may be there, whole or in part, and the next open sorts it out. Edits must
    /// not go to an older manifest after that: use [`Self::roll_over`] where there is one.
    pub fn create(env: &Arc<dyn Env>, dir: &Path, id: FileId, state: &State) -> Result<Self> {
        Ok(Self::try_create(env, dir, id, state)?)
    }

    /// Goes over to a complete new manifest, numbered `id`. Durable, with its name, on return. The
    /// caller then removes the older one.
    ///
    /// Errors: `Io`. If the new file is incomplete for certain (a full disk), this one stays in use
    /// and it can be tried again under another number; if its sync failed, this one is closed for
    /// good, since the next open may find the new one.
    pub fn roll_over(&mut self, env: &Arc<dyn Env>, dir: &Path, id: FileId) -> Result<()> {
        self.check()?;
        match Self::try_create(env, dir, id, &self.state) {
            Ok(next) => {
                *self = next;
                Ok(())
            }
            Err(Failed::Incomplete(error)) => Err(error),
            Err(Failed::Unknown(error)) => {
                self.failed = Some(error.clone());
                Err(error)
            }
        }
    }

    /// The bytes of a complete manifest, numbered `id`: what [`Self::create`] would write.
    ///
    /// Errors: `InvalidArgument` as of [`Self::create`].
    pub fn encode(id: FileId, state: &State) -> Result<Vec<u8>> {
        Ok(encode(id, state)?.bytes)
    }

    /// What a complete manifest, numbered `id`, says: the reverse of [`Self::encode`].
    ///
    /// Errors: `Corruption` if a byte is not as it was written; `Unsupported` for a newer format.
    pub fn decode(id: FileId, bytes: &[u8]) -> Result<State> {
        read::decode(id, bytes)
    }

    fn try_create(
        env: &Arc<dyn Env>,
        dir: &Path,
        id: FileId,
        state: &State,
    ) -> Result<Self, Failed> {
        let Encoded { state, chain, bytes } = encode(id, state).map_err(Failed::Incomplete)?;
        let name = FileKind::Manifest.name(id);
        let failed = |doing| move |error| Error::io(format!("{doing} {name}"), error);
        let file = env
            .create(&path_in(dir, name))
            .map_err(failed("create"))
            .map_err(Failed::Incomplete)?;
        write_all_at(&*file, &bytes, 0).map_err(failed("write")).map_err(Failed::Incomplete)?;
        file.sync().map_err(failed("sync")).map_err(Failed::Unknown)?;
        env.sync_dir(dir).map_err(failed("sync the folder of")).map_err(Failed::Unknown)?;
        let bytes = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        let (first_bytes, transactions) = (bytes, 1);
        Ok(Self { file, id, chain, bytes, first_bytes, transactions, state, failed: None })
    }

    /// Makes one change. Durable on return. Cost: one write, one sync.
    ///
    /// Errors: `Corruption` if the edit breaks an invariant or does not balance: nothing was
    /// written, the manifest stays usable. `Io`: final for this manifest, whose file may or may
    /// not have the edit: keep both what it adds and what it removes. Later calls: `ReadOnly`.
    pub fn append(&mut self, edit: &Edit) -> Result<()> {
        self.check()?;
        let next = self.state.clone().with(edit)?;
        let (mut chain, mut bytes) = (self.chain, Vec::new());
        let transactions = self.transactions.saturating_add(1);
        seal(&mut chain, edit, &Whole::default(), transactions, &mut bytes);
        if let Err(error) = self.write(&bytes) {
            self.failed = Some(error.clone());
            return Err(error);
        }
        let written = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        self.bytes = self.bytes.saturating_add(written);
        (self.chain, self.transactions, self.state) = (chain, transactions, next);
        Ok(())
    }

    fn write(&self, bytes: &[u8]) -> Result<()> {
        let name = self.name();
        write_all_at(&*self.file, bytes, self.bytes)
            .map_err(|error| Error::io(format!("write {name} at byte {}", self.bytes), error))?;
        self.file.sync().map_err(|error| Error::io(format!("sync {name}"), error))
    }

    fn check(&self) -> Result<()> {
        match &self.failed {
            None => Ok(()),
            Some(error) => {
                let error = error.clone().with_kind(ErrorKind::ReadOnly);
                Err(error.context(format!("{} failed before", self.name())))
            }
        }
    }

    /// What is live.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Its number.
    pub fn id(&self) -> FileId {
        self.id
    }

    /// Its file's name.
    pub fn name(&self) -> FileName {
        FileKind::Manifest.name(self.id)
    }

    /// Length of its file in bytes.
    pub fn byte_count(&self) -> u64 {
        self.bytes
    }

    /// Whether its file is more than twice as long as a new one would be, and as it was at first,
    /// and 64 KiB.
    pub fn needs_rollover(&self) -> bool {
        if self.bytes <= ROLLOVER_BYTES || self.bytes / 2 <= self.first_bytes {
            return false;
        }
        let segments = self.state.segments().map(add_line_bytes);
        let blobs = self.state.blobs.iter().map(|blob| blob_lines_bytes(blob));
        let whole = segments.chain(blobs).fold(FIXED_BYTES, u64::saturating_add);
        self.bytes > whole.saturating_mul(2).saturating_add(ROLLOVER_BYTES)
    }
}

/// A complete manifest that is not written yet.
struct Encoded {
    state: State,
    chain: Chain,
    bytes: Vec<u8>,
}

/// Errors: `InvalidArgument` if `id` is not below the state's `next_file`, or the state breaks one
/// of its invariants.
fn encode(id: FileId, state: &State) -> Result<Encoded> {
    if id >= state.next_file {
        let message = format!("manifest number {id}: want one below {}", state.next_file);
        return Err(Error::invalid(message));
    }
    let (edit, whole) = state.as_edit();
    let refused = |error: Error| error.with_kind(ErrorKind::InvalidArgument);
    let state = State::restore(&edit, &whole).map_err(refused)?;
    let (mut chain, mut bytes) = (Chain::new(id), Vec::new());
    chain.seal(&format!("{HEADER} {VERSION} {id}"), &mut bytes);
    seal(&mut chain, &edit, &whole, 1, &mut bytes);
    Ok(Encoded { state, chain, bytes })
}

/// Appends a transaction to `out`.
fn seal(chain: &mut Chain, edit: &Edit, whole: &Whole, ordinal: u64, out: &mut Vec<u8>) {
    for line in edit.lines(whole) {
        chain.seal(&line, out);
    }
    chain.seal(&format!("{END}{ordinal}"), out);
}

#[cfg(test)]
mod tests;
