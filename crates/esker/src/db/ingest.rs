//! Sorted data straight into the tree, past log and memtable.
//!
//! ```text
//!   number ahead ─▶ write segments, sync, sync folder ─▶ flush what there is          no lock
//!     ─▶ claim the place ─▶ flush the rest ─▶ edit ─▶ view ─▶ visible                 in order
//! ```
//!
//! 1. All pairs have one number, chosen far ahead before the first byte is written: so they become
//!    visible at once, and lie between the writes before the claim and those after it.
//! 2. The edit says that everything up to that number is in segments. It is recorded when all that is
//!    older was flushed; nothing newer can be flushed before, because it is not visible.
//! 3. Before the claim a failure leaves only files that nothing names; they are removed, now or at
//!    the next open (F-11). After it, it either poisons, because the manifest may name the files, or
//!    gives the place up with nothing in it, and the files are removed.
//! 4. The files are busy until their number is visible: a compaction that took them earlier could
//!    drop what a snapshot taken meanwhile still needs (F-43).

use super::core::{Core, Writing};
use super::identity::Identity;
use super::large::Outside;
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::id::{CollectionId, FileId, SeqNo};
use crate::base::key::{Entry, Kind, check_key, check_value};
use crate::base::setsum::Setsum;
use crate::compaction::policy::Policy;
use crate::env::names::FileKind;
use crate::manifest::{Balance, Edit, Placed, Reason};
use crate::segment::{SegmentMeta, SegmentWriter};
use crate::tree::version::fresh;

/// How often the pairs are interrupted to see whether the database closes.
const LOOK_EVERY: u64 = 512;

/// Segments that no manifest names yet: removed when dropped, unless they were placed.
struct Sorted<'a> {
    core: &'a Core,
    written: Vec<FileId>,
    segments: Vec<SegmentMeta>,
    large: Outside<'a>,
    input: Setsum,
    pairs: u64,
    placed: bool,
}

impl Drop for Sorted<'_> {
    fn drop(&mut self) {
        let poisoned = self.core.writing.as_ref().is_some_and(|w| w.committer.poison().is_set());
        if self.placed || poisoned {
            // Once poisoned, the manifest may name them.
            return;
        }
        for id in &self.written {
            self.core.remove(FileKind::Segment.name(*id));
        }
        for id in &self.large.written {
            self.core.remove(FileKind::Blob.name(*id));
        }
    }
}

impl Core {
    /// Puts `pairs` into a collection; see [`Collection::ingest`](crate::Collection::ingest).
    pub(super) fn ingest<K: AsRef<[u8]>, V: AsRef<[u8]>>(
        &self,
        to: &Identity,
        pairs: impl IntoIterator<Item = (K, V)>,
    ) -> Result<u64> {
        let writing = self.writing()?;
        to.check_alive()?;
        writing.committer.poison().refuse()?;
        let _one_at_a_time = writing.ingesting.lock();
        let number = writing.committer.number_ahead()?;
        let mut sorted = self.sorted(writing);
        self.write_sorted(writing, &mut sorted, to.id, number, pairs)?;
        if sorted.pairs == 0 {
            return Ok(0);
        }
        // Most of the flushing is done before anybody must wait for it.
        writing.committer.seal()?;
        if let Some(newest) = writing.queue.all().last() {
            self.wait_flushed(writing, newest.last.next())?;
        }
        self.place(writing, &mut sorted, number, to)?;
        writing.committer.watches().note_all([to.id]);
        writing.background.wake_compaction();
        Ok(sorted.pairs)
    }

    fn sorted<'a>(&'a self, writing: &'a Writing) -> Sorted<'a> {
        let (written, segments, input, pairs, placed) = Default::default();
        let large = Outside::new(self, writing);
        Sorted { core: self, written, segments, large, input, pairs, placed }
    }

    /// Writes the segments, and makes them and their names durable.
    fn write_sorted<K: AsRef<[u8]>, V: AsRef<[u8]>>(
        &self,
        writing: &Writing,
        sorted: &mut Sorted<'_>,
        collection: CollectionId,
        number: SeqNo,
        pairs: impl IntoIterator<Item = (K, V)>,
    ) -> Result<()> {
        let rule = self.rules.of(collection);
        let least = rule.blob_threshold.unwrap_or(self.options.blob_threshold);
        let compression = rule.blob_compression.unwrap_or(self.options.blob_compression);
        let policy = Policy { flush_bytes: self.options.slab() as u64, ..self.options.compaction };
        let view = self.views.load_full();
        let total_bytes = view.version.segments().map(|segment| segment.meta().bytes).sum();
        drop(view);
        let segment_bytes = policy.segment_bytes(total_bytes);
        let mut writer: Option<SegmentWriter> = None;
        let id = collection.0.to_be_bytes();
        let mut full_key = id.to_vec();
        for (key, value) in pairs {
            let (key, value) = (key.as_ref(), value.as_ref());
            check_key(key)?;
            check_value(value)?;
            let last = full_key.get(id.len()..).unwrap_or_default();
            if sorted.pairs > 0 && key <= last {
                return Err(out_of_order(sorted.pairs, last, key));
            }
            if sorted.pairs.is_multiple_of(LOOK_EVERY) {
                self.refuse_if_stopping(writing)?;
            }
            full_key.truncate(id.len());
            full_key.extend_from_slice(key);
            if writer.as_ref().is_some_and(|open| open.byte_count() >= segment_bytes) {
                sorted.segments.extend(writer.take().map(SegmentWriter::finish).transpose()?);
            }
            let open = match &mut writer {
                Some(open) => open,
                none => {
                    let id = writing.ledger.allocate();
                    sorted.written.push(id);
                    let options = rule.writer(self.writer_options());
                    none.insert(SegmentWriter::create(&self.env, &self.dir, id, options)?)
                }
            };
            let blob;
            let (kind, value) = if value.len() >= least {
                blob = sorted.large.put(value, compression)?.encode();
                (Kind::Blob, &blob[..])
            } else {
                (Kind::Put, value)
            };
            let entry = Entry { key: &full_key, seq: number, kind, value };
            open.add(&entry)?;
            sorted.input += Setsum::of(&entry);
            sorted.pairs += 1;
        }
        sorted.segments.extend(writer.map(SegmentWriter::finish).transpose()?);
        if sorted.segments.is_empty() {
            return Ok(());
        }
        sorted.large.finish()?;
        self.sync_names()
    }

    /// Waits until no sealed generation has a number below `limit` as its last.
    ///
    /// Errors: why the flush does not succeed.
    pub(super) fn wait_flushed(&self, writing: &Writing, limit: SeqNo) -> Result<()> {
        let Writing { background, queue, committer, .. } = writing;
        let is_done = || queue.all().first().is_none_or(|oldest| oldest.last >= limit);
        let stuck = || {
            let closing = || {
                let closes = background.is_stopping();
                closes.then(|| Error::new(ErrorKind::Interrupted, "the database is closing"))
            };
            committer.poison().first().or_else(|| background.stuck()).or_else(closing)
        };
        if is_done() {
            return Ok(());
        }
        background.clear_stuck();
        background.wake();
        // Kept, because whoever else waits may try again and forget it.
        let mut why = None;
        queue.wait_until(&*self.env, || {
            why = if is_done() { None } else { stuck() };
            why.is_some() || is_done()
        });
        why.map_or(Ok(()), Err)
    }

    /// Makes the segments part of the database, at the place of `number`, which is claimed here.
    fn place(
        &self,
        writing: &Writing,
        sorted: &mut Sorted<'_>,
        number: SeqNo,
        to: &Identity,
    ) -> Result<()> {
        let committer = &writing.committer;
        let fresh = fresh(&sorted.segments, &self.shelves.segments)?;
        let claim = committer.claim_ahead(number, || to.check_alive())?;
        let _held = writing.steps.hold(&sorted.written);
        let placed = self.wait_flushed(writing, number).and_then(|()| {
            let mut ledger = writing.ledger.lock();
            // Numbered under the lock: no run of level 0 is newer.
            let edit = ingest_edit(sorted, number, writing.ledger.allocate().0);
            self.publish(writing, &mut ledger, edit, &fresh, None)?;
            sorted.placed = true;
            Ok(())
        });
        if let Err(error) = &placed
            && committer.poison().is_set()
        {
            committer.fail(error);
            return placed;
        }
        // Placed, or given up: then the number stands for nothing.
        claim.finish();
        placed?;
        committer.wait_visible(number)?;
        committer.note_flushed(number);
        Ok(())
    }
}

fn ingest_edit(sorted: &Sorted<'_>, number: SeqNo, run: u64) -> Edit {
    let place = |meta: &SegmentMeta| Placed { level: 0, run, meta: meta.clone() };
    let output = sorted.segments.iter().fold(Setsum::ZERO, |sum, meta| sum + meta.setsum);
    Edit {
        add: sorted.segments.iter().map(place).collect(),
        add_blobs: sorted.large.done.clone(),
        flushed: Some(number),
        balance: Some(Balance {
            reason: Reason::Ingest,
            input: sorted.input,
            output,
            dropped: Setsum::ZERO,
            created: Setsum::ZERO,
        }),
        ..Edit::default()
    }
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
    use crate::db::{Db, options::Options};
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
        let mut sorted = core.sorted(core.writing().unwrap());
        let pairs = [("b", "new"), ("c", "new")];
        core.write_sorted(core.writing().unwrap(), &mut sorted, id, number, pairs).unwrap();
        sorted
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
            let error = core.place(writing, &mut files, number, &c.identity).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Io, "{error}");
            assert!(!writing.committer.poison().is_set());
            let names: Vec<_> =
                files.written.iter().map(|id| FileKind::Segment.name(*id)).collect();
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
        core.place(writing, &mut files, number, &c.identity).unwrap();
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
        let error = core.place(writing, &mut files, number, &c.identity).unwrap_err();
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
        assert!(core.place(writing, &mut files, number, &c.identity).is_err());
        drop(files);
        assert_eq!(c.get("b").unwrap(), None);
        assert_eq!(c.insert("d", "x").unwrap_err().kind(), ErrorKind::ReadOnly);
        drop((c, db));
        let c = open(&world.crash(Loss::None)).collection("c").unwrap();
        let found = c.iter().count();
        assert!(found == 1 || found == 3, "absent or whole: {found}");
    }
}
