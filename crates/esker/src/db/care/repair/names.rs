//! Collections whose records were lost: they get new names, so that what is in them can be reached.
//!
//! ```text
//!   entries of collection 7, no record that names 7    ─▶ collection/lost-7
//!   entries of collection 9, next-collection 5 or lost ─▶ next-collection 10
//! ```
//!
//! 1. No id that any entry has is ever given out again: else a new collection would begin with what
//!    an old one held.
//! 2. What such a collection had of its own, a merge operator above all, is lost with its record.
//! 3. A collection has one name: of several, which is what is left where a rename lost its old one, the
//!    newest stays.
//! 4. A collection that shows no pair needs no name: it was deleted, or a revert took it away, and what
//!    is left of it named snapshots see.

use super::union::Owned;
use crate::base::error::Result;
use crate::base::id::{CollectionId, SeqNo};
use crate::base::key::{Kind, full_key, split_full_key};
use crate::base::time::Time;
use crate::db::collections::catalog::{Catalog, PATH_PREFIX, record, record_key, record_value};
use crate::db::collections::settings::Settings;
use std::collections::BTreeMap;

/// What was seen of the catalog and of what it should name.
pub(super) struct Names {
    catalog: Catalog,
    /// The keys of the records that name a collection, by their numbers.
    named: BTreeMap<CollectionId, BTreeMap<SeqNo, Vec<u8>>>,
    collections: BTreeMap<CollectionId, Standing>,
    /// Where range deletes end that are not behind, of the collection that entries come of.
    covers: Vec<(Vec<u8>, SeqNo)>,
    /// The last key that was looked at, whatever collection it is of.
    last_key: Vec<u8>,
    /// What has expired by then is not shown.
    now: Time,
}

/// How it is with a collection that has entries.
#[derive(Clone, Copy, PartialEq)]
enum Standing {
    Named,
    /// Without a name, and showing no pair so far.
    Empty,
    /// Without a name, and showing pairs.
    Lost,
}

/// What is missing in the catalog.
pub(super) struct Missing {
    /// Records, ascending by key.
    pub(super) records: Vec<Owned>,
    /// The names that were given.
    pub(super) names: Vec<String>,
}

impl Names {
    pub(super) fn new(now: Time) -> Self {
        Self {
            catalog: Catalog::default(),
            named: BTreeMap::new(),
            collections: BTreeMap::new(),
            covers: Vec::new(),
            last_key: Vec::new(),
            now,
        }
    }

    /// Takes in an entry; they come in order, so those of the catalog first.
    pub(super) fn see(&mut self, entry: &Owned) -> Result<()> {
        let Some((id, key)) = split_full_key(&entry.key) else { return Ok(()) };
        if id == CollectionId::SYSTEM {
            let is_newest = self.last_key != entry.key;
            self.last_key.clone_from(&entry.key);
            if is_newest && entry.kind == Kind::Put {
                self.catalog.load(key, &entry.value)?;
                if key.starts_with(PATH_PREFIX) {
                    let (named, _) = record(key, &entry.value)?;
                    self.named.entry(named).or_default().insert(entry.seq, key.to_vec());
                }
            }
            return Ok(());
        }
        let is_named = || self.named.contains_key(&id);
        let first = || if is_named() { Standing::Named } else { Standing::Empty };
        let standing = self.collections.entry(id).or_insert_with(first);
        if *standing != Standing::Empty {
            return Ok(());
        }
        self.covers.retain(|(end, _)| *end > entry.key);
        if entry.kind == Kind::RangeDelete {
            self.covers.push((entry.value.clone(), entry.seq));
        } else if self.last_key != entry.key {
            self.last_key.clone_from(&entry.key);
            let is_covered = self.covers.iter().any(|(_, seq)| *seq > entry.seq);
            if !is_covered && !entry.entry().is_absence(self.now) {
                *standing = Standing::Lost;
            }
        }
        Ok(())
    }

    /// What the catalog lacks, with numbers from `first` on.
    pub(super) fn missing(mut self, first: SeqNo) -> Result<Missing> {
        let mut missing = Missing { records: Vec::new(), names: Vec::new() };
        let mut records = BTreeMap::new();
        for keys in self.named.values() {
            let older = keys.values().rev().skip(1);
            records.extend(older.map(|key| (key.clone(), None)));
        }
        for (id, _) in self.collections.iter().filter(|(_, it)| **it == Standing::Lost) {
            let mut name = format!("lost-{id}");
            while self.catalog.find(&name).is_some() {
                name.push('-');
            }
            records.insert(record_key(&name), Some(record_value(*id, &Settings::default())));
            missing.names.push(name);
        }
        let used =
            self.collections.keys().chain(self.named.keys()).max().copied().unwrap_or_default();
        let next = CollectionId(used.0.saturating_add(1));
        let counter = self.catalog.counter().0;
        if self.catalog.take_id()? < next {
            records.insert(counter.to_vec(), Some(record_value(next, &Settings::default())));
        }
        for ((key, value), seq) in records.into_iter().zip(first.0..) {
            let key = full_key(CollectionId::SYSTEM, &key).into_vec();
            let kind = if value.is_some() { Kind::Put } else { Kind::Delete };
            let value = value.unwrap_or_default();
            missing.records.push(Owned { key, seq: SeqNo(seq), kind, value });
        }
        Ok(missing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of a rename the old name's end is lost: who deleted that collection would delete the other.
    #[test]
    fn of_two_names_for_one_collection_the_newer_stays() {
        let mut names = Names::new(Time(0));
        let paths = [("a", 20, 7), ("b", 30, 7), ("c", 25, 7), ("d", 5, 8)];
        for (path, seq, id) in paths {
            let key = full_key(CollectionId::SYSTEM, &record_key(path)).into_vec();
            let value = record_value(CollectionId(id), &Settings::default());
            names.see(&Owned { key, seq: SeqNo(seq), kind: Kind::Put, value }).unwrap();
        }
        let missing = names.missing(SeqNo(100)).unwrap();
        let shown = |owned: &Owned| {
            let (_, key) = split_full_key(&owned.key).unwrap();
            (String::from_utf8_lossy(key).into_owned(), owned.seq.0, owned.kind)
        };
        let want = [
            ("collection/a".to_owned(), 100, Kind::Delete),
            ("collection/c".to_owned(), 101, Kind::Delete),
            ("next-collection".to_owned(), 102, Kind::Put),
        ];
        assert_eq!(missing.records.iter().map(shown).collect::<Vec<_>>(), want);
        assert!(missing.names.is_empty());
    }
}
