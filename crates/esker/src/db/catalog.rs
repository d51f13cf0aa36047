//! Which collections there are: ordinary records of the system collection.
//!
//! ```text
//! collection 0, key "collection/" ‖ name   value 01 ‖ id: u32 LE
//! collection 0, key "next-collection"      value 01 ‖ id: u32 LE      the next id to give out
//! ```
//!
//! 1. They are written by batches, logged, flushed and compacted like all other records, so a
//!    collection is there exactly if the batch that made it is.
//! 2. An id is never given out twice: the counter commits with the collection (MOSS-9).
//! 3. The first byte of a value is its version: more fields may follow behind a higher one.

use crate::base::batch::{Batch, Op};
use crate::base::coding::Decoder;
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::id::CollectionId;
use crate::base::key::Kind;
use std::collections::BTreeMap;

const NAME_PREFIX: &[u8] = b"collection/";
const NEXT_ID: &[u8] = b"next-collection";
const VERSION: u8 = 1;
/// The longest name of a collection.
pub const NAME_BYTES_MAX: usize = 255;

/// The collections by name.
#[derive(Clone, Debug)]
pub struct Catalog {
    by_name: BTreeMap<String, CollectionId>,
    next: CollectionId,
}

impl Default for Catalog {
    fn default() -> Self {
        Self { by_name: BTreeMap::new(), next: CollectionId(1) }
    }
}

impl Catalog {
    /// Takes in one record of the system collection; others than the catalog's are left alone.
    pub fn load(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        if let Some(name) = key.strip_prefix(NAME_PREFIX) {
            let name = std::str::from_utf8(name).map_err(|_| bad_record(key, "a name in UTF-8"))?;
            self.by_name.insert(name.to_owned(), decode(key, value)?);
        } else if key == NEXT_ID {
            self.next = decode(key, value)?;
        }
        Ok(())
    }

    /// The collection called `name`.
    pub fn find(&self, name: &str) -> Option<CollectionId> {
        self.by_name.get(name).copied()
    }

    /// All names, sorted.
    pub fn names(&self) -> Vec<String> {
        self.by_name.keys().cloned().collect()
    }

    /// The batch that creates `name`, and the id it gives it. Nothing changes before
    /// [`Catalog::created`].
    pub fn create(&self, name: &str) -> Result<(CollectionId, Batch)> {
        check_name(name)?;
        let id = self.next;
        let Some(next) = id.0.checked_add(1) else {
            return Err(Error::new(ErrorKind::Unsupported, "all collection ids are used up"));
        };
        let mut batch = Batch::default();
        batch.push(record(&[NAME_PREFIX, name.as_bytes()].concat(), &encode(id)))?;
        batch.push(record(NEXT_ID, &encode(CollectionId(next))))?;
        Ok((id, batch))
    }

    /// Says that the batch of [`Catalog::create`] is committed.
    pub fn created(&mut self, name: &str, id: CollectionId) {
        self.by_name.insert(name.to_owned(), id);
        self.next = CollectionId(id.0.saturating_add(1));
    }
}

fn record<'a>(key: &'a [u8], value: &'a [u8]) -> Op<'a> {
    Op { kind: Kind::Put, collection: CollectionId::SYSTEM, key, value }
}

fn encode(id: CollectionId) -> Vec<u8> {
    let mut value = vec![VERSION];
    value.extend(id.0.to_le_bytes());
    value
}

fn decode(key: &[u8], value: &[u8]) -> Result<CollectionId> {
    let mut input = Decoder::new(value);
    match input.u8() {
        Some(VERSION) => {}
        Some(version) => {
            let message = format!("catalog record {}: version {version}", key.escape_ascii());
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        None => return Err(bad_record(key, "a version")),
    }
    input.u32().map(CollectionId).ok_or_else(|| bad_record(key, "an id of 4 bytes"))
}

fn bad_record(key: &[u8], want: &str) -> Error {
    let message = format!("catalog record {}: want {want}", key.escape_ascii());
    Error::new(ErrorKind::Corruption, message)
}

/// Refuses a name that is empty, too long, or has `/` (kept for nesting) or control characters.
fn check_name(name: &str) -> Result<()> {
    let fault = if name.is_empty() {
        "it is empty"
    } else if name.len() > NAME_BYTES_MAX {
        "it is longer than 255 bytes"
    } else if name.contains('/') {
        "it contains '/', which is kept for nested collections"
    } else if name.chars().any(char::is_control) {
        "it contains a control character"
    } else {
        return Ok(());
    };
    Err(Error::invalid(format!("collection name \"{}\": {fault}", name.escape_debug())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::batch::Ops;

    #[test]
    fn a_catalog_is_what_its_records_say() {
        let mut live = Catalog::default();
        let mut replayed = Catalog::default();
        for name in ["users", "orders", "a b"] {
            let (id, batch) = live.create(name).unwrap();
            live.created(name, id);
            for op in batch.iter() {
                replayed.load(op.key, op.value).unwrap();
            }
        }
        assert_eq!(replayed.names(), ["a b", "orders", "users"]);
        assert_eq!(replayed.find("orders"), Some(CollectionId(2)));
        assert_eq!(replayed.next, live.next);
    }

    /// MOSS-8: bad names are refused, and nothing changes.
    #[test]
    fn bad_names_are_refused() {
        let catalog = Catalog::default();
        for name in ["", "a/b", "a\nb", &"x".repeat(256)] {
            assert_eq!(catalog.create(name).unwrap_err().kind(), ErrorKind::InvalidArgument);
        }
    }

    #[test]
    fn a_damaged_record_is_an_error() {
        let mut catalog = Catalog::default();
        let error = catalog.load(b"collection/x", &[1, 0]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corruption);
        let error = catalog.load(b"collection/x", &[9, 0, 0, 0, 0]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
    }
}
