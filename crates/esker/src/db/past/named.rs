//! Named snapshots: moments that stay readable until their names are forgotten, over any number of
//! reopenings.
//!
//! ```text
//!   collection 0, key "snapshot/" ‖ name     value 01 ‖ sequence number: u64 LE
//!
//!   name      pin ─▶ write the record, synced ─▶ listed
//!   forget    delete the record ─▶ flush ─▶ no longer listed, let go
//!   open      read the records ─▶ pin ─▶ the first flush
//! ```
//!
//! 1. Whatever files a manifest names: if the record is in them, so is every version that the snapshot
//!    sees. The number is pinned before the record is written, and until the end of the record is in
//!    files itself. So no reopening, checkpoint or backup has a name whose versions were dropped.
//! 2. An open pins all of them before anything is flushed or merged.

use crate::base::batch::Op;
use crate::base::coding::Decoder;
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::id::{CollectionId, SeqNo};
use crate::base::key::Kind;
use crate::base::value::Value;
use crate::commit::Durability;
use crate::db::Db;
use crate::db::collections::collection::{Collection, Snapshot};
use crate::txn::snapshot::{Pin, Registry};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What the key of each record begins with.
pub const NAME_PREFIX: &[u8] = b"snapshot/";
const VERSION: u8 = 1;
const NAME_BYTES_MAX: usize = 255;

/// The named snapshots, each with what pins it.
pub type Named = BTreeMap<String, Pin>;

/// The name and the number in one record of the system collection; none if it is of something else.
///
/// Errors: `Corruption`, `Unsupported`.
pub fn moment<'a>(key: &'a [u8], value: &[u8]) -> Result<Option<(&'a str, SeqNo)>> {
    let Some(name) = key.strip_prefix(NAME_PREFIX) else { return Ok(None) };
    let name = std::str::from_utf8(name).map_err(|_| damaged(key, "a name in UTF-8"))?;
    let mut input = Decoder::new(value);
    match input.u8().ok_or_else(|| damaged(key, "a version"))? {
        VERSION => {}
        version => {
            let message = format!("snapshot record {}: version {version}", key.escape_ascii());
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
    }
    let seq = input.u64().map(SeqNo).ok_or_else(|| damaged(key, "a number of 8 bytes"))?;
    Ok(Some((name, seq)))
}

fn damaged(key: &[u8], want: &str) -> Error {
    let message = format!("snapshot record {}: want {want}", key.escape_ascii());
    Error::new(ErrorKind::Corruption, message)
}

/// Pins what one record of the system collection names, which was written with the number `written`;
/// others than those of snapshots are left alone.
///
/// Errors: `Corruption`, `Unsupported`.
pub fn load(
    named: &mut Named,
    registry: &Arc<Registry>,
    (key, value, written): (&[u8], &[u8], SeqNo),
) -> Result<()> {
    let Some((name, seq)) = moment(key, value)? else { return Ok(()) };
    if seq >= written {
        return Err(damaged(key, &format!("a number below its own, {written}, found {seq}")));
    }
    named.insert(name.to_owned(), registry.pin(|| seq));
    Ok(())
}

fn record(seq: SeqNo) -> Vec<u8> {
    let mut value = vec![VERSION];
    value.extend(seq.0.to_le_bytes());
    value
}

fn check_name(name: &str) -> Result<()> {
    let fault = if name.is_empty() {
        "it is empty"
    } else if name.len() > NAME_BYTES_MAX {
        "it is longer than 255 bytes"
    } else if name.chars().any(char::is_control) {
        "it contains a control character"
    } else {
        return Ok(());
    };
    Err(Error::invalid(format!("snapshot name \"{}\": {fault}", name.escape_debug())))
}

pub(super) fn not_there(name: &str) -> Error {
    Error::new(ErrorKind::NotFound, format!("snapshot {name:?} is not there"))
}

impl Db {
    /// Takes a snapshot of all collections as of now and names it: it is kept, over any number of
    /// reopenings, checkpoints and backups, until [`Db::forget_snapshot`]. Durable on return, with
    /// every write before it.
    ///
    /// ```
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let db = esker::Db::open(folder.path())?;
    /// # let users = db.collection("users")?;
    /// users.insert("alice", "1")?;
    /// db.name_snapshot("before the import")?;
    /// users.insert("alice", "2")?;
    /// let before = db.named_snapshot("before the import")?.unwrap();
    /// assert_eq!(users.at(&before).get("alice")?.unwrap(), b"1");
    /// # Ok::<(), esker::Error>(())
    /// ```
    ///
    /// Cost: one small synced commit. From then on what is overwritten or removed keeps the space of
    /// what the snapshot sees. Errors: `InvalidArgument` if the name is taken, or bad (1 to 255 bytes,
    /// no control characters), and nothing changed; those of a synced
    /// [`insert`](Collection::insert_with).
    pub fn name_snapshot(&self, name: &str) -> Result<Snapshot> {
        check_name(name)?;
        self.core().writing()?;
        let mut named = self.core().named.lock();
        if named.contains_key(name) {
            return Err(Error::invalid(format!("snapshot {name:?} exists")));
        }
        let pin = self.handle.pin();
        self.write_name(Kind::Put, name, &record(pin.seq()))?;
        named.insert(name.to_owned(), pin.clone());
        Ok(Snapshot { pin })
    }

    /// The snapshot that was named so, if there is one. What it sees stays while it is held, even when
    /// its name is forgotten.
    pub fn named_snapshot(&self, name: &str) -> Result<Option<Snapshot>> {
        self.core().check_open()?;
        let pin = self.core().named.lock().get(name).cloned();
        Ok(pin.map(|pin| Snapshot { pin }))
    }

    /// All named snapshots, sorted by name.
    pub fn named_snapshots(&self) -> Result<Vec<(String, Snapshot)>> {
        self.core().check_open()?;
        let named = self.core().named.lock();
        let all = named.iter().map(|(name, pin)| (name.clone(), Snapshot { pin: pin.clone() }));
        Ok(all.collect())
    }

    /// Forgets a named snapshot: compaction may drop what only it could see.
    ///
    /// Cost: a small commit and a flush. Errors: `NotFound` if there is none; those of a commit and of
    /// [`Db::flush`]. After those the name may be there or not when the database is opened again; until
    /// then it is, and may be forgotten once more.
    pub fn forget_snapshot(&self, name: &str) -> Result<()> {
        self.core().writing()?;
        let mut named = self.core().named.lock();
        if !named.contains_key(name) {
            return Err(not_there(name));
        }
        self.write_name(Kind::Delete, name, &[])?;
        self.flush()?;
        named.remove(name);
        Ok(())
    }

    fn write_name(&self, kind: Kind, name: &str, value: &[u8]) -> Result<()> {
        let key = &[NAME_PREFIX, name.as_bytes()].concat();
        let op = Op { kind, collection: CollectionId::SYSTEM, key, value, expires: None };
        self.core().writing()?.committer.commit(&op, Durability::Sync)
    }
}

impl Collection {
    /// What `key` was at each named snapshot, the oldest first: its value, or none if it was absent.
    ///
    /// Cost: a get each. Errors as of [`Collection::get`].
    pub fn versions(&self, key: impl AsRef<[u8]>) -> Result<Vec<(String, Option<Value>)>> {
        self.handle.core.check_open()?;
        let named = self.handle.core.named.lock();
        let mut all: Vec<_> = named.iter().map(|(name, pin)| (name.clone(), pin.clone())).collect();
        drop(named);
        all.sort_by_key(|(_, pin)| pin.seq());
        let value = |pin| self.at(&Snapshot { pin }).get(key.as_ref());
        all.into_iter().map(|(name, pin)| Ok((name, value(pin)?))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load_one(key: &[u8], value: &[u8]) -> Result<Named> {
        let (mut named, registry) = Default::default();
        load(&mut named, &registry, (key, value, SeqNo(9))).map(|()| named)
    }

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let named = load_one(b"snapshot/a", &record(SeqNo(8))).unwrap();
        assert_eq!(named.get("a").map(Pin::seq), Some(SeqNo(8)));
        assert!(load_one(b"collection/a", b"").unwrap().is_empty());
    }

    #[test]
    fn a_damaged_record_is_an_error_that_names_it() {
        let corrupt = ErrorKind::Corruption;
        for (key, value, kind) in [
            (&b"snapshot/a"[..], &[][..], corrupt),
            (b"snapshot/a", &[1, 2, 3], corrupt),
            (b"snapshot/a", &record(SeqNo(9)), corrupt),
            (b"snapshot/\xff", &record(SeqNo(1)), corrupt),
            (b"snapshot/a", &[2, 1, 0, 0, 0, 0, 0, 0, 0], ErrorKind::Unsupported),
        ] {
            let error = load_one(key, value).unwrap_err();
            assert_eq!(error.kind(), kind, "{error}");
            assert!(error.to_string().contains("snapshot record snapshot/"), "{error}");
        }
    }
}
