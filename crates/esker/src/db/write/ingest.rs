//! Sorted data straight into the tree, past log and memtable.
//!
//! ```text
//!   number ahead ─▶ write the files ─▶ flush what there is          no lock
//!     ─▶ claim the place ─▶ flush the rest ─▶ edit ─▶ view ─▶ visible     in order
//! ```
//!
//! The number is chosen far ahead before the first byte is written. For the rest see [`Sorted`].

use super::sorted::Sorted;
use crate::base::batch::Batch;
use crate::base::error::{Error, Result};
use crate::base::id::CollectionId;
use crate::base::key::{check_key, check_value};
use crate::commit::Durability;
use crate::db::collections::collection::Collection;
use crate::db::collections::identity::Identity;
use crate::db::core::Core;

impl Collection {
    /// Puts in many pairs at once, whose keys ascend strictly, past log and memory: all become visible
    /// together, and are durable on return with every write before them. Answers how many there were.
    /// A write that returned before is older, one that begins afterwards newer.
    ///
    /// ```
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let db = esker::Db::open(folder.path())?;
    /// let squares = db.collection("squares")?;
    /// let pairs = (0..1000_u64).map(|n| (n.to_be_bytes(), (n * n).to_be_bytes()));
    /// assert_eq!(squares.ingest(pairs)?, 1000);
    /// assert_eq!(squares.get(9_u64.to_be_bytes())?.unwrap(), 81_u64.to_be_bytes());
    /// # Ok::<(), esker::Error>(())
    /// ```
    ///
    /// Cost: one write of each pair, and no rewrite where nothing older lies in their range; a flush
    /// of memory and some syncs besides, so it pays from some thousand pairs on. Pairs are not
    /// gathered in memory. Ingests wait for each other: `pairs` must not ingest itself. Other writers
    /// go on, and wait only for the flush of the last memtable at the end.
    ///
    /// Errors: `InvalidArgument` if a key is not above the one before or over a limit; `Busy` if
    /// more than 2^27 operations were written meanwhile (split it and try again); why a flush failed;
    /// `Io`. Then nothing changed, and it may be tried again; but `Io` of the manifest is final: then
    /// it is absent or whole after reopening.
    pub fn ingest<K: AsRef<[u8]>, V: AsRef<[u8]>>(
        &self,
        pairs: impl IntoIterator<Item = (K, V)>,
    ) -> Result<u64> {
        self.handle.core.ingest(&self.identity, pairs)
    }
}

impl Core {
    /// Puts `pairs` into a collection; see [`Collection::ingest`](crate::Collection::ingest).
    fn ingest<K: AsRef<[u8]>, V: AsRef<[u8]>>(
        &self,
        to: &Identity,
        pairs: impl IntoIterator<Item = (K, V)>,
    ) -> Result<u64> {
        let writing = self.writing()?;
        to.check_alive()?;
        writing.committer.poison().refuse()?;
        let _one_at_a_time = writing.ingesting.lock();
        let number = writing.committer.number_ahead()?;
        let mut sorted = Sorted::new(self, writing, number);
        add_all(&mut sorted, to.id, pairs)?;
        if sorted.entries() == 0 {
            // What was written before is durable all the same.
            writing.committer.commit(&Batch::default(), Durability::Sync)?;
            return Ok(0);
        }
        sorted.finish()?;
        // Most of the flushing is done before anybody must wait for it.
        writing.committer.seal()?;
        if let Some(newest) = writing.queue.all().last() {
            self.wait_flushed(writing, newest.last.next())?;
        }
        sorted.place(|| writing.committer.claim_ahead(number, || to.check_alive()))?;
        writing.committer.watches().note_all([to.id]);
        writing.background.wake_compaction();
        Ok(sorted.entries())
    }
}

/// Adds the pairs of a collection, whose keys must ascend.
fn add_all<K: AsRef<[u8]>, V: AsRef<[u8]>>(
    sorted: &mut Sorted<'_>,
    collection: CollectionId,
    pairs: impl IntoIterator<Item = (K, V)>,
) -> Result<()> {
    let id = collection.0.to_be_bytes();
    let mut full_key = id.to_vec();
    for (key, value) in pairs {
        let (key, value) = (key.as_ref(), value.as_ref());
        check_key(key)?;
        check_value(value)?;
        let last = full_key.get(id.len()..).unwrap_or_default();
        if sorted.entries() > 0 && key <= last {
            return Err(out_of_order(sorted.entries(), last, key));
        }
        full_key.truncate(id.len());
        full_key.extend_from_slice(key);
        sorted.add(&full_key, Some((value, None)))?;
    }
    Ok(())
}

#[cold]
fn out_of_order(index: u64, last: &[u8], key: &[u8]) -> Error {
    let (last, key) = (last.escape_ascii(), key.escape_ascii());
    Error::invalid(format!(
        "pair {index} of an ingest: want a key above \"{last}\", found \"{key}\""
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::error::ErrorKind;
    use crate::base::id::SeqNo;
    use crate::db::{Db, options::Options};
    use crate::env::names::FileKind;
    use crate::env::sim::{Calls, Errno, Fault, Loss, Sim};
    use std::path::Path;
    use std::sync::Arc;
    use std::time::Duration;

    fn open(world: &Arc<Sim>) -> Db {
        let options = Options::default().slab_bytes(16 << 10).memory_budget(1 << 20);
        options.env(world.clone()).open(Path::new("/db")).unwrap()
    }

    /// Files for `number` that wait for their place.
    fn sorted<'a>(core: &'a Core, id: CollectionId, number: SeqNo) -> Sorted<'a> {
        let mut sorted = Sorted::new(core, core.writing().unwrap(), number);
        add_all(&mut sorted, id, [("b", "new"), ("c", "new")]).unwrap();
        sorted.finish().unwrap();
        sorted
    }

    /// Claims the place of `number` for files.
    fn place(files: &mut Sorted<'_>, number: SeqNo, c: &Collection) -> Result<()> {
        let committer = &c.handle.core.writing().unwrap().committer;
        files.place(|| committer.claim_ahead(number, || c.identity.check_alive()))
    }

    /// Law 9: when what is older cannot be flushed after the place was claimed, the place is given up:
    /// nothing of it is visible, then or after a crash, no file stays, and others write on.
    #[test]
    fn a_place_that_cannot_be_taken_is_given_up_and_writes_go_on() {
        for loss in Loss::MODELS {
            let world = Sim::new(1);
            let db = open(&world);
            let c = db.collection("c").unwrap();
            c.insert("a", "old").unwrap();
            let core = db.core();
            let writing = core.writing().unwrap();
            let number = writing.committer.number_ahead().unwrap();
            let mut files = sorted(core, c.id, number);
            // The next generation is there; the flush has no place for its segment.
            writing.committer.prepare(1).unwrap();
            let full = Fault::refuse(Errno::NoSpace, Calls::CREATE);
            world.fail_from(world.count(Calls::CREATE) + 1, full);
            let error = place(&mut files, number, &c).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Io, "{error}");
            assert!(!writing.committer.poison().is_set());
            let names: Vec<_> =
                files.files().into_iter().map(|id| FileKind::Segment.name(id)).collect();
            drop(files);
            for name in names {
                let path = Path::new("/db").join(name.to_string());
                assert!(world.read_file(&path).is_err(), "{name} is removed");
            }
            world.heal();
            world.advance(Duration::from_secs(2));
            assert_eq!(c.get("b").unwrap(), None);
            c.insert("d", "last").unwrap();
            assert!(db.stats().sequence > number.0);
            assert_eq!(c.ingest([("b", "again")]).unwrap(), 1);
            let image = world.crash(loss);
            let db = open(&image);
            let c = db.collection("c").unwrap();
            let found: Vec<_> = c.iter().map(|pair| pair.unwrap()).collect();
            let found: Vec<_> = found.iter().map(|(key, value)| (&**key, &**value)).collect();
            let want: [(&[u8], &[u8]); 3] = [(b"a", b"old"), (b"b", b"again"), (b"d", b"last")];
            assert_eq!(found, want);
        }
    }

    /// A place taken while older writes lie in memory waits for their flush.
    #[test]
    fn older_writes_are_flushed_before_the_place_is_taken() {
        let world = Sim::new(2);
        let db = open(&world);
        let c = db.collection("c").unwrap();
        c.insert("a", "old").unwrap();
        c.insert("b", "old").unwrap();
        let core = db.core();
        let writing = core.writing().unwrap();
        let number = writing.committer.number_ahead().unwrap();
        let mut files = sorted(core, c.id, number);
        place(&mut files, number, &c).unwrap();
        assert_eq!(writing.ledger.lock().state().flushed, number);
        assert!(writing.queue.is_empty());
        let image = world.crash(Loss::All);
        let c = open(&image).collection("c").unwrap();
        assert_eq!(c.get("a").unwrap().unwrap(), *b"old");
        assert_eq!(c.get("b").unwrap().unwrap(), *b"new");
        assert_eq!(c.iter().count(), 3);
    }

    /// What writes have caught up with is refused before anything is claimed.
    #[test]
    fn a_number_that_writes_have_passed_is_refused() {
        let world = Sim::new(3);
        let db = open(&world);
        let c = db.collection("c").unwrap();
        let core = db.core();
        let writing = core.writing().unwrap();
        let number = writing.committer.visible().next();
        let mut files = sorted(core, c.id, number);
        c.insert("a", "1").unwrap();
        let error = place(&mut files, number, &c).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Busy, "{error}");
        drop(files);
        c.insert("b", "2").unwrap();
        assert_eq!(c.iter().count(), 2);
    }

    /// F-22: an edit that cannot be recorded is final; nothing of it is visible, and the files stay,
    /// because the manifest may name them.
    #[test]
    fn an_edit_that_fails_is_final_and_shows_nothing() {
        let world = Sim::new(4);
        let db = open(&world);
        let c = db.collection("c").unwrap();
        c.insert("a", "old").unwrap();
        db.flush().unwrap();
        let core = db.core();
        let writing = core.writing().unwrap();
        let number = writing.committer.number_ahead().unwrap();
        let mut files = sorted(core, c.id, number);
        world.fail_at(world.count(Calls::SYNC) + 1, Fault::refuse(Errno::Io, Calls::SYNC));
        assert!(place(&mut files, number, &c).is_err());
        drop(files);
        assert_eq!(c.get("b").unwrap(), None);
        assert_eq!(c.insert("d", "x").unwrap_err().kind(), ErrorKind::ReadOnly);
        drop((c, db));
        let c = open(&world.crash(Loss::None)).collection("c").unwrap();
        let found = c.iter().count();
        assert!(found == 1 || found == 3, "absent or whole: {found}");
    }
}
