//! Going back to a named snapshot: one new write that says again what was true then.
//!
//! ```text
//!   catalog locked ─▶ flush ─▶ hold the order ─▶ wait until all is visible
//!     ─▶ each key that may have changed: its value then, its value now ─▶ differ? ─▶ sorted files
//!     ─▶ claim the next number ─▶ flush the rest ─▶ edit ─▶ visible ─▶ catalog as of then ─▶ let go
//! ```
//!
//! 1. History is not undone: older snapshots, that one too, see what they saw, and the state before
//!    the revert can be kept by naming it first. So a revert can be reverted.
//! 2. All of it has one number and one manifest edit: a crash leaves all or nothing, a failure nothing.
//! 3. No number is given out from before the first look to when all is visible: no write falls into
//!    it, and each write sees it whole or not at all.
//! 4. The records of named snapshots stay, and the counter of collections does not go back: an id is
//!    never given out twice.
//! 5. A collection that is gone afterwards turns gone while the order is held, as if in the moment in
//!    which the revert was numbered. One that comes back has its old id, and new handles.
//! 6. Settings come back too, but a merge operator that was named since stays where there was none:
//!    snapshots may see operands that no other can fold. So a collection may get beside it the time to
//!    live that it had, which settings cannot ask for: then both hold.
//! 7. A value comes back with the expiry that it had; what has expired is gone then and now.
//!
//! Order of locks: ingests, catalog, the order. Why holding the order cannot block what it waits for:
//! `docs/decisions/0019-a-revert-is-a-write.md`.

use super::named::{NAME_PREFIX, not_there};
use crate::base::coding::to_u64;
use crate::base::error::Result;
use crate::base::id::{CollectionId, SeqNo};
use crate::base::key::{Lookup, split_full_key};
use crate::base::time::Time;
use crate::base::value::Value;
use crate::db::Db;
use crate::db::collections::catalog::{Catalog, is_counter, record_key, record_value};
use crate::db::collections::collection::Snapshot;
use crate::db::collections::identity::Identity;
use crate::db::core::{Core, Writing};
use crate::db::write::sorted::Sorted;
use crate::tree::large::Large;
use crate::tree::view::{Found, View};
use std::collections::BTreeMap;
use std::sync::Arc;

impl Db {
    /// Brings all collections back to what the snapshot named `name` sees: their pairs, their names,
    /// their settings; collections that were made since are gone, deleted ones are back. One atomic
    /// write, durable on return with every write before it. Answers how many keys were written again
    /// or removed.
    ///
    /// ```
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let db = esker::Db::open(folder.path())?;
    /// # let users = db.collection("users")?;
    /// users.insert("alice", "1")?;
    /// db.name_snapshot("before the import")?;
    /// users.clear()?;
    /// db.name_snapshot("after the import")?;
    /// assert_eq!(db.revert("before the import")?, 1);
    /// assert_eq!(users.get("alice")?.unwrap(), b"1");
    /// db.revert("after the import")?; // and forth again
    /// assert_eq!(users.get("alice")?, None);
    /// # Ok::<(), esker::Error>(())
    /// ```
    ///
    /// History goes on: snapshots keep what they see, the named ones too. Transactions that have read
    /// what changes conflict, ranges that fail fast end. Handles of collections that are there before
    /// and after it go on; one that is deleted now, and comes back, is opened anew. A merge operator
    /// that a collection was given since stays: snapshots may need it; also beside a time to live that
    /// comes back.
    ///
    /// Cost: a flush; two gets for each key that was written, or was under a range delete, since the
    /// snapshot; one write of each that differs. Nothing is gathered in memory. Reads go on meanwhile;
    /// writes, and opening collections, wait until it is done. Errors: `NotFound` if there is no such
    /// snapshot; those of [`View::get`](crate::View::get) and of
    /// [`Collection::ingest`](crate::Collection::ingest). Then nothing changed; but `Io` of the
    /// manifest is final: then it is absent or whole after reopening.
    pub fn revert(&self, name: &str) -> Result<u64> {
        let core = self.core();
        let writing = core.writing()?;
        let snapshot = self.named_snapshot(name)?.ok_or_else(|| not_there(name))?;
        let _one_at_a_time = writing.ingesting.lock();
        let mut catalog = core.catalog.write();
        let past = self.past(&snapshot)?;
        let records = self.keep_operators(&past, &catalog)?;
        // Most of the flushing is done before anybody must wait for it.
        self.flush()?;
        let hold = writing.committer.hold()?;
        writing.committer.wait_visible(hold.last())?;
        let moments = (snapshot.pin.seq(), hold.last());
        let mut sorted = Sorted::new(core, writing, hold.last().next());
        restore(&mut sorted, &core.views.load_full(), moments, &records)?;
        if sorted.entries() == 0 {
            return Ok(0);
        }
        sorted.finish()?;
        sorted.place(|| writing.committer.claim_held(&hold))?;
        core.go_back(&mut catalog, past);
        drop(hold);
        core.tell_reverted(writing, &sorted);
        Ok(sorted.entries())
    }
}

impl Db {
    /// The catalog as of `snapshot`.
    fn past(&self, snapshot: &Snapshot) -> Result<Catalog> {
        let mut past = Catalog::default();
        for record in self.catalog_at(snapshot).iter() {
            let (key, value) = record?;
            past.load(&key, &value)?;
        }
        Ok(past)
    }

    /// Where collections had no merge operator in the past, they get the one that they have now, or
    /// had at a named snapshot, or before they were deleted: operands written since, which snapshots
    /// see, are folded with it.
    /// Answers the records that therefore differ from those of the past, by full key.
    fn keep_operators(&self, past: &Catalog, present: &Catalog) -> Result<Records> {
        let mut known = BTreeMap::new();
        let mut note = |catalog: &Catalog| {
            let operator = |it: &Arc<Identity>| Some((it.id, it.settings().merge_operator?));
            known.extend(catalog.all().filter_map(operator));
        };
        for (_, snapshot) in self.named_snapshots()? {
            note(&self.past(&snapshot)?);
        }
        note(present);
        let mut records = Records::new();
        for identity in past.all() {
            let mut settings = identity.settings();
            if settings.merge_operator.is_none()
                && let Some(operator) =
                    known.remove(&identity.id).or_else(|| self.last_operator(identity.id))
            {
                settings.merge_operator = Some(operator);
                identity.set(&settings);
                let key = Lookup::new(CollectionId::SYSTEM, &record_key(&identity.path()));
                let value = Arc::new(record_value(identity.id, &settings));
                records.insert(key.full().to_vec(), Value::lent(value, |value| value));
            }
        }
        Ok(records)
    }
}

impl Db {
    /// The operator that a collection had last in this process, which it keeps when it is deleted: for
    /// snapshots without a name, and for walks.
    fn last_operator(&self, collection: CollectionId) -> Option<String> {
        let rule = self.core().rules.of(collection);
        rule.operator.as_ref().map(|operator| operator.name().to_owned())
    }
}

/// Records of the catalog, by full key.
type Records = BTreeMap<Vec<u8>, Value>;

/// Adds what makes the values of all keys those `then`, but for those of `records`, where they are
/// others `now`.
fn restore(
    sorted: &mut Sorted<'_>,
    view: &Arc<View>,
    (then, now): (SeqNo, SeqNo),
    records: &Records,
) -> Result<()> {
    let mut changed = view.changed_since(then);
    while let Some(full_key) = changed.advance()? {
        let Some((collection, key)) = split_full_key(full_key) else { continue };
        if collection == CollectionId::SYSTEM && (key.starts_with(NAME_PREFIX) || is_counter(key)) {
            continue;
        }
        let lookup = Lookup::new(collection, key);
        let was = match records.get(full_key) {
            Some(record) => Some((Found::Value(record.clone()), None)),
            None => view.look_closely(&lookup, then)?,
        };
        match (was, view.look_closely(&lookup, now)?) {
            (None, None) => {}
            (None, Some(_)) => sorted.add(full_key, None)?,
            (Some((was, then)), Some((is, now))) if then == now && is_same(&was, &is)? => {}
            (Some((was, expiry)), _) => {
                let was = match was {
                    Found::Value(was) => was,
                    Found::Large(was) => was.read()?,
                };
                // What never did does not begin to.
                let expires = expiry.or(Some(Time::NEVER));
                sorted.add(full_key, Some((&was, expires)))?;
            }
        }
    }
    Ok(())
}

/// Whether two values are the same, wherever they lie. Large ones are read only if their lengths are,
/// and their digests.
fn is_same(a: &Found, b: &Found) -> Result<bool> {
    Ok(match (a, b) {
        (Found::Value(a), Found::Value(b)) => a == b,
        (Found::Large(a), Found::Large(b)) => {
            let facts = |large: &Large| (large.blob().len, large.blob().digest);
            a.blob() == b.blob() || facts(a) == facts(b) && a.read()? == b.read()?
        }
        (Found::Large(large), Found::Value(value)) | (Found::Value(value), Found::Large(large)) => {
            to_u64(value.len()) == u64::from(large.blob().len) && large.read()? == *value
        }
    })
}

impl Core {
    /// Makes the catalog in memory what the records say after a revert, and with it the rules.
    fn go_back(&self, catalog: &mut Catalog, past: Catalog) {
        for identity in catalog.go_back(past) {
            self.rules.set(identity.id, identity.settings().rule(&self.options));
        }
    }

    /// Tells whoever waits for writes.
    fn tell_reverted(&self, writing: &Writing, sorted: &Sorted<'_>) {
        writing.committer.watches().note_all(sorted.collections().iter().copied());
        writing.background.wake_compaction();
    }
}
