//! Which collections there are: ordinary records of the system collection.
//!
//! ```text
//! collection 0, key "collection/" ‖ path   value 01 ‖ id: u32 LE
//!                                          value 02 ‖ id: u32 LE ‖ settings, if it has any
//! collection 0, key "next-collection"      value 01 ‖ id: u32 LE      the next id to give out
//! ```
//!
//! 1. They are written by batches, logged, flushed and compacted like all other records, so a
//!    collection is there exactly if the batch that made it is.
//! 2. An id is never given out twice: the counter commits with the collection (MOSS-9).
//! 3. The first byte of a value is its version: more fields may follow behind a higher one. The
//!    lowest that will do is written.
//! 4. A path names its parents: `users/archive` is a child of `users`. All that lies below a path
//!    lies together in the order of paths.

use super::identity::{Identity, Life};
use super::settings::Settings;
use crate::base::coding::Decoder;
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::id::CollectionId;
use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Included};
use std::sync::Arc;

/// What the keys of collections' records begin with.
pub const PATH_PREFIX: &[u8] = b"collection/";
const NEXT_ID: &[u8] = b"next-collection";
/// The version of a value without settings, and of one with.
const PLAIN: u8 = 1;
const SET: u8 = 2;
/// The longest path of a collection.
pub const PATH_BYTES_MAX: usize = 255;

/// The collections by path.
#[derive(Debug)]
pub struct Catalog {
    by_path: BTreeMap<Arc<str>, Arc<Identity>>,
    next: CollectionId,
}

impl Default for Catalog {
    fn default() -> Self {
        Self { by_path: BTreeMap::new(), next: CollectionId(1) }
    }
}

impl Catalog {
    /// Takes in one record of the system collection; others than the catalog's are left alone.
    pub fn load(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        if key.starts_with(PATH_PREFIX) {
            let path: Arc<str> = record_path(key)?.into();
            let (id, settings) = record(key, value)?;
            let identity = Identity::new(id, path.clone(), Life::Alive);
            identity.set(&settings);
            self.by_path.insert(path, identity);
        } else if key == NEXT_ID {
            self.next = record(key, value)?.0;
        }
        Ok(())
    }

    /// The collection called `path`.
    pub fn find(&self, path: &str) -> Option<&Arc<Identity>> {
        self.by_path.get(path)
    }

    /// All collections.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Identity>> {
        self.by_path.values()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_path.len()
    }

    /// All paths, sorted.
    pub fn paths(&self) -> Vec<String> {
        self.by_path.keys().map(|path| path.to_string()).collect()
    }

    /// The collections below `path` at any depth, sorted.
    pub fn below(&self, path: &str) -> impl Iterator<Item = (&Arc<str>, &Arc<Identity>)> {
        // `/` is followed by `0`.
        let (start, end) = ([path, "/"].concat(), [path, "0"].concat());
        self.by_path.range::<str, _>((Included(&*start), Excluded(&*end)))
    }

    /// An id that no other collection ever had.
    ///
    /// It is lost if its collection is never committed: but then nothing was written with it, and
    /// the next open may give it out.
    pub fn take_id(&mut self) -> Result<CollectionId> {
        let id = self.next;
        let Some(next) = id.0.checked_add(1) else {
            return Err(Error::new(ErrorKind::Unsupported, "all collection ids are used up"));
        };
        self.next = CollectionId(next);
        Ok(id)
    }

    /// Has `path` name `identity`, or nothing. Answers what it named.
    pub(in crate::db) fn set(
        &mut self,
        path: &Arc<str>,
        identity: Option<Arc<Identity>>,
    ) -> Option<Arc<Identity>> {
        match identity {
            None => self.by_path.remove(path),
            Some(identity) => {
                identity.call(path.clone());
                self.by_path.insert(path.clone(), identity)
            }
        }
    }

    /// Becomes `past`, but for the counter. Whoever was there and is not in it is gone; whoever was
    /// not comes as `past` has it; the others keep who they are. Call it while nobody is given a
    /// number. Answers those that may have other settings than before.
    pub(in crate::db) fn go_back(&mut self, past: Self) -> Vec<Arc<Identity>> {
        let present = std::mem::take(&mut self.by_path).into_values();
        let mut present: BTreeMap<_, _> = present.map(|identity| (identity.id, identity)).collect();
        let mut changed = Vec::new();
        for (path, was) in past.by_path {
            let identity = match present.remove(&was.id) {
                Some(known) if known.settings() == was.settings() => known,
                Some(known) => {
                    known.set(&was.settings());
                    changed.push(known.clone());
                    known
                }
                None => {
                    changed.push(was.clone());
                    was
                }
            };
            self.set(&path, Some(identity));
        }
        present.values().for_each(|gone| gone.turn(Life::Gone));
        changed
    }

    /// The record of the counter.
    pub(in crate::db) fn counter(&self) -> (&'static [u8], Vec<u8>) {
        (NEXT_ID, record_value(self.next, &Settings::default()))
    }
}

/// Whether this is the key of the counter.
pub fn is_counter(key: &[u8]) -> bool {
    key == NEXT_ID
}

/// The paths of the parents of `path`, the topmost first.
pub fn parents(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').filter_map(|(at, _)| path.get(..at))
}

/// The key of a collection's record.
pub fn record_key(path: &str) -> Vec<u8> {
    [PATH_PREFIX, path.as_bytes()].concat()
}

/// The value of a collection's record.
pub fn record_value(id: CollectionId, settings: &Settings) -> Vec<u8> {
    let version = if settings.is_empty() { PLAIN } else { SET };
    let mut value = vec![version];
    value.extend(id.0.to_le_bytes());
    settings.encode(&mut value);
    value
}

/// The path in the key of a collection's record. Errors: `Corruption` if it is none.
pub fn record_path(key: &[u8]) -> Result<&str> {
    let path = key.strip_prefix(PATH_PREFIX).and_then(|path| std::str::from_utf8(path).ok());
    path.ok_or_else(|| bad_record(key, "a path in UTF-8"))
}

/// What a record says. Errors: `Unsupported` for a newer version; `Corruption` for what none writes.
pub fn record(key: &[u8], value: &[u8]) -> Result<(CollectionId, Settings)> {
    let mut input = Decoder::new(value);
    let version = input.u8().ok_or_else(|| bad_record(key, "a version"))?;
    if !(PLAIN..=SET).contains(&version) {
        let message = format!("catalog record {}: version {version}", key.escape_ascii());
        return Err(Error::new(ErrorKind::Unsupported, message));
    }
    let id = input.u32().map(CollectionId).ok_or_else(|| bad_record(key, "an id of 4 bytes"))?;
    let settings = match version {
        PLAIN => Ok(Settings::default()),
        _ => Settings::decode(input),
    };
    let context = || format!("catalog record {}", key.escape_ascii());
    Ok((id, settings.map_err(|error| error.context(context()))?))
}

fn bad_record(key: &[u8], want: &str) -> Error {
    let message = format!("catalog record {}: want {want}", key.escape_ascii());
    Error::new(ErrorKind::Corruption, message)
}

/// Refuses a path that is empty or too long, or has an empty part or a control character.
pub fn check_path(path: &str) -> Result<()> {
    let fault = if path.is_empty() {
        "it is empty"
    } else if path.len() > PATH_BYTES_MAX {
        "it is longer than 255 bytes"
    } else if path.split('/').any(str::is_empty) {
        "a part of it between '/' is empty"
    } else if path.chars().any(char::is_control) {
        "it contains a control character"
    } else {
        return Ok(());
    };
    Err(Error::invalid(format!("collection name \"{}\": {fault}", path.escape_debug())))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// MOSS-8: bad names are refused.
    #[test]
    fn bad_paths_are_refused() {
        for path in ["", "/", "/a", "a/", "a//b", "a\nb", "a/\0", &"x".repeat(256)] {
            let error = check_path(path).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{path:?}");
        }
        for path in ["a", "a/b", ".", "a/../b", &"x".repeat(255)] {
            check_path(path).unwrap();
        }
    }

    #[test]
    fn what_lies_below_a_path_is_found_without_its_namesakes() {
        let mut catalog = Catalog::default();
        for path in ["a", "a-b", "a/b", "a/b/c", "a/bc", "a0", "b/a"] {
            catalog
                .load(&record_key(path), &record_value(CollectionId(1), &Settings::default()))
                .unwrap();
        }
        let below: Vec<_> = catalog.below("a").map(|(path, _)| &**path).collect();
        assert_eq!(below, ["a/b", "a/b/c", "a/bc"]);
        assert_eq!(parents("a/b/c").collect::<Vec<_>>(), ["a", "a/b"]);
    }

    #[test]
    fn a_record_has_settings_only_if_there_are_some() {
        let settings = Settings::default().filter(12);
        let mut catalog = Catalog::default();
        let plain = record_value(CollectionId(7), &Settings::default());
        assert_eq!(plain, [1, 7, 0, 0, 0]);
        catalog.load(b"collection/a", &plain).unwrap();
        catalog.load(b"collection/b", &record_value(CollectionId(8), &settings)).unwrap();
        let found = |path| catalog.find(path).map(|it| (it.id, it.settings())).unwrap();
        assert_eq!(found("a"), (CollectionId(7), Settings::default()));
        assert_eq!(found("b"), (CollectionId(8), settings));
    }

    #[test]
    fn a_damaged_record_is_an_error() {
        let mut catalog = Catalog::default();
        let error = catalog.load(b"collection/x", &[1, 0]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corruption);
        for newer in [&[9, 0, 0, 0, 0][..], &[2, 1, 0, 0, 0, 99, 0]] {
            let error = catalog.load(b"collection/x", newer).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unsupported);
            assert!(error.to_string().contains("collection/x"), "{error}");
        }
    }
}
