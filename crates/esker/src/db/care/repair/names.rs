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
//! 3. A collection that was cleared as a whole after its last value needs no name: it was deleted.

use super::union::Owned;
use crate::base::error::Result;
use crate::base::id::{CollectionId, SeqNo};
use crate::base::key::{Kind, full_key, split_full_key};
use crate::db::catalog::{Catalog, record_key, record_value};
use crate::db::settings::Settings;
use std::collections::{BTreeMap, BTreeSet};

/// What was seen of the catalog and of what it should name.
#[derive(Default)]
pub(super) struct Names {
    catalog: Catalog,
    collections: BTreeMap<CollectionId, Seen>,
    last_record: Vec<u8>,
}

/// The highest numbers in one collection.
#[derive(Default)]
struct Seen {
    value: SeqNo,
    cleared: SeqNo,
}

/// What is missing in the catalog.
pub(super) struct Missing {
    /// Records, ascending by key.
    pub(super) records: Vec<Owned>,
    /// The names that were given.
    pub(super) names: Vec<String>,
}

impl Names {
    /// Takes in an entry; they come in order.
    pub(super) fn see(&mut self, entry: &Owned) -> Result<()> {
        let Some((id, key)) = split_full_key(&entry.key) else { return Ok(()) };
        if id == CollectionId::SYSTEM {
            let is_newest = self.last_record != key;
            self.last_record = key.to_vec();
            if is_newest && entry.kind == Kind::Put {
                self.catalog.load(key, &entry.value)?;
            }
            return Ok(());
        }
        let seen = self.collections.entry(id).or_default();
        match entry.kind {
            Kind::Put | Kind::Blob | Kind::Expiring | Kind::Merge => {
                seen.value = seen.value.max(entry.seq)
            }
            Kind::RangeDelete => {
                let end = split_full_key(&entry.value);
                if key.is_empty() && end.is_some_and(|(end, _)| end > id) {
                    seen.cleared = seen.cleared.max(entry.seq);
                }
            }
            Kind::Delete => {}
        }
        Ok(())
    }

    /// What the catalog lacks, with numbers from `first` on.
    pub(super) fn missing(mut self, first: SeqNo) -> Result<Missing> {
        let mut missing = Missing { records: Vec::new(), names: Vec::new() };
        let named: BTreeSet<CollectionId> =
            self.catalog.all().map(|identity| identity.id).collect();
        let mut records = BTreeMap::new();
        let is_lost =
            |id: &CollectionId, seen: &Seen| seen.value > seen.cleared && !named.contains(id);
        for (id, _) in self.collections.iter().filter(|(id, seen)| is_lost(id, seen)) {
            let mut name = format!("lost-{id}");
            while self.catalog.find(&name).is_some() {
                name.push('-');
            }
            records.insert(record_key(&name), record_value(*id, &Settings::default()));
            missing.names.push(name);
        }
        let used = self.collections.keys().chain(&named).max().copied().unwrap_or_default();
        let next = CollectionId(used.0.saturating_add(1));
        let counter = self.catalog.counter().0;
        if self.catalog.take_id()? < next {
            records.insert(counter.to_vec(), record_value(next, &Settings::default()));
        }
        for ((key, value), seq) in records.into_iter().zip(first.0..) {
            let key = full_key(CollectionId::SYSTEM, &key).into_vec();
            missing.records.push(Owned { key, seq: SeqNo(seq), kind: Kind::Put, value });
        }
        Ok(missing)
    }
}
