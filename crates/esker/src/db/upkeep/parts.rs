//! The parts of the steps that are under way: who takes which, and when a step has ended.
//!
//! ```text
//!   offer ─▶ untaken ─ take ─▶ taken ─ end ─▶ done      the last to end gets all of them,
//!                │                └─ fails ─▶ error     and the files that were written
//!                └─────── given up with it ─────▶
//! ```
//!
//! 1. A part is taken once. Who takes one does nothing else before it has ended, and waits for
//!    nobody: a step ends in the thread that ends its last part.
//! 2. When a part fails, those that nobody has taken are given up, and the others are told to stop.
//!    The step ends with the first error (F-20).
//! 3. A part that panics fails. So does every part of a database that closes.
//! 4. Parts come back in the order of their keys, whatever the order they ended in.

use super::plan::Job;
use super::steps::{Busy, Steps};
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::id::FileId;
use crate::merge::rewrite::Rewritten;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

/// A step under way; guarded by the lock of [`Steps`].
#[derive(Debug)]
pub struct Underway {
    job: Arc<Job>,
    busy: Busy,
    stopped: Arc<AtomicBool>,
    /// Parts from here on are not taken.
    next: usize,
    /// Parts that were taken and have not ended.
    taken: usize,
    done: Vec<Option<Rewritten>>,
    written: Vec<FileId>,
    error: Option<Error>,
}

/// A part that the owner of this must carry out.
pub struct Taken {
    steps: Arc<Steps>,
    pub(super) job: Arc<Job>,
    pub(super) index: usize,
    /// Files that were begun for it.
    pub(super) written: Vec<FileId>,
    stopped: Arc<AtomicBool>,
    has_ended: bool,
}

/// A step of which every part has ended.
#[derive(Debug)]
pub struct Ended {
    pub(super) job: Arc<Job>,
    /// To be dropped when the step is published or given up.
    pub(super) busy: Busy,
    pub(super) result: Result<Vec<Rewritten>>,
    pub(super) written: Vec<FileId>,
}

impl Underway {
    fn fail(&mut self, error: Error) {
        self.error.get_or_insert(error);
        self.stopped.store(true, SeqCst);
        self.next = self.done.len();
    }

    fn take(&mut self, steps: &Arc<Steps>) -> Taken {
        let index = self.next;
        self.next += 1;
        self.taken += 1;
        let (job, stopped) = (self.job.clone(), self.stopped.clone());
        let steps = steps.clone();
        Taken { steps, job, index, written: Vec::new(), stopped, has_ended: false }
    }

    fn has_untaken(&self) -> bool {
        self.next < self.done.len()
    }

    fn has_ended(&self) -> bool {
        self.taken == 0 && !self.has_untaken()
    }

    fn into_ended(self) -> Ended {
        let Self { job, busy, done, written, error, .. } = self;
        let missing = || Error::new(ErrorKind::Corruption, "a part of a step was not carried out");
        let parts: Option<Vec<Rewritten>> = done.into_iter().collect();
        let result = error.map_or_else(|| parts.ok_or_else(missing), Err);
        Ended { job, busy, result, written }
    }
}

impl Steps {
    /// Lets others take the parts of `job`, and takes the first.
    pub(super) fn offer(self: &Arc<Self>, job: Job, busy: Busy) -> Taken {
        let done = job.parts.iter().map(|_| None).collect();
        let mut underway = Underway {
            job: Arc::new(job),
            busy,
            stopped: Arc::default(),
            next: 0,
            taken: 0,
            done,
            written: Vec::new(),
            error: None,
        };
        let taken = underway.take(self);
        self.running.lock().underway.push(underway);
        // Whoever waits for steps to end can take a part instead.
        self.ended.open();
        taken
    }

    /// Takes a part that nobody has taken, if there is one.
    pub(super) fn take(self: &Arc<Self>) -> Option<Taken> {
        let mut running = self.running.lock();
        let underway = running.underway.iter_mut().find(|underway| underway.has_untaken())?;
        Some(underway.take(self))
    }

    /// Whether there is a part that nobody has taken.
    pub(super) fn has_untaken(&self) -> bool {
        self.running.lock().underway.iter().any(Underway::has_untaken)
    }

    /// Ends every step under way with `error`. Answers those of which nobody carries out a part; the
    /// others end with those who do.
    pub(super) fn give_up(&self, error: &Error) -> Vec<Ended> {
        let mut running = self.running.lock();
        running.underway.iter_mut().for_each(|underway| underway.fail(error.clone()));
        let ended = running.underway.extract_if(.., |underway| underway.has_ended());
        ended.map(Underway::into_ended).collect()
    }

    fn end(&self, taken: &mut Taken, result: Result<Rewritten>) -> Result<Option<Ended>> {
        taken.has_ended = true;
        let mut running = self.running.lock();
        let is_it = |underway: &Underway| Arc::ptr_eq(&underway.job, &taken.job);
        let Some(at) = running.underway.iter().position(is_it) else { return Ok(None) };
        let Some(underway) = running.underway.get_mut(at) else { return Ok(None) };
        underway.taken -= 1;
        underway.written.append(&mut taken.written);
        match (result, underway.done.get_mut(taken.index)) {
            (Ok(part), Some(place)) => *place = Some(part),
            (Ok(_), None) => {}
            (Err(error), _) => underway.fail(error),
        }
        if underway.has_ended() {
            return Ok(Some(running.underway.swap_remove(at).into_ended()));
        }
        underway.error.clone().map_or(Ok(None), Err)
    }
}

impl Taken {
    /// Whether the step has failed elsewhere.
    pub(super) fn is_stopped(&self) -> bool {
        self.stopped.load(SeqCst)
    }

    /// Says that the part has ended. Answers the step if it was the last.
    ///
    /// Errors: why the step fails, while others still have to stop.
    pub(super) fn end(mut self, result: Result<Rewritten>) -> Result<Option<Ended>> {
        let steps = self.steps.clone();
        steps.end(&mut self, result)
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        if !self.has_ended {
            let error = Error::new(ErrorKind::Io, "a part of a compaction panicked");
            let steps = self.steps.clone();
            // What was written stays: whoever catches the panic decides what it means (F-31).
            drop(steps.end(self, Err(error)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::Db;
    use crate::db::options::Options;
    use crate::db::upkeep::steps::Want;
    use crate::env::sim::{Calls, Errno, Fault, Loss, Sim};

    fn rewritten(entries: u64) -> Result<Rewritten> {
        Ok(Rewritten { entries, ..Rewritten::default() })
    }

    fn failure(message: &str) -> Error {
        Error::new(ErrorKind::Io, message.to_owned())
    }

    /// A step of three parts, of which the first is taken.
    fn three() -> (Arc<Steps>, Taken) {
        let steps = Arc::new(Steps::default());
        let (job, busy) = Job::sample(&steps, 3);
        let first = steps.offer(job, busy);
        (steps, first)
    }

    #[test]
    fn the_last_to_end_gets_all_parts_in_order() {
        let (steps, first) = three();
        let (second, third) = (steps.take().unwrap(), steps.take().unwrap());
        assert!(steps.take().is_none() && !steps.has_untaken() && steps.is_running());
        assert!(third.end(rewritten(30)).unwrap().is_none());
        assert!(first.end(rewritten(10)).unwrap().is_none());
        let ended = second.end(rewritten(20)).unwrap().expect("the last");
        let entries = ended.result.unwrap().iter().map(|part| part.entries).collect::<Vec<_>>();
        assert_eq!(entries, [10, 20, 30]);
        assert!(steps.is_running(), "until it is published");
        drop(ended.busy);
        assert!(!steps.is_running());
    }

    #[test]
    fn a_part_that_fails_ends_the_step_with_the_first_error() {
        let (steps, mut first) = three();
        let mut second = steps.take().unwrap();
        first.written.push(FileId(1));
        second.written.push(FileId(2));
        assert_eq!(first.end(Err(failure("one"))).unwrap_err().message(), "one");
        assert!(steps.take().is_none(), "the third is given up");
        assert!(second.is_stopped());
        let ended = second.end(Err(failure("two"))).unwrap().expect("the last");
        assert_eq!(ended.result.unwrap_err().message(), "one");
        assert_eq!(ended.written, [FileId(1), FileId(2)]);
    }

    #[test]
    fn a_part_that_panics_fails() {
        let (steps, first) = three();
        let second = steps.take().unwrap();
        drop(first);
        assert!(second.is_stopped());
        let ended = second.end(rewritten(1)).unwrap().expect("the last");
        assert!(ended.result.is_err());
        drop(ended.busy);
        let (steps, first) = three();
        drop(first);
        assert!(!steps.is_running(), "the last one lets go");
    }

    #[test]
    fn steps_that_nobody_works_on_end_when_the_database_closes() {
        let (steps, first) = three();
        assert!(first.end(rewritten(1)).unwrap().is_none());
        let (job, busy) = Job::sample(&steps, 2);
        let at_work = steps.offer(job, busy);
        let ended = steps.give_up(&failure("closing"));
        assert_eq!(ended.len(), 1, "the other one is worked on");
        assert!(steps.take().is_none());
        let last = at_work.end(rewritten(1)).unwrap().expect("the last");
        assert_eq!(last.result.unwrap_err().message(), "closing");
        drop((ended, last.busy));
        assert!(!steps.is_running());
    }

    fn open(world: &Arc<Sim>) -> Db {
        let options = Options::default().slab_bytes(16 << 10).memory_budget(1 << 20);
        let options = options.background_compaction(false).compaction_threads(3);
        options.env(world.clone()).open("/db").unwrap()
    }

    fn write(db: &Db, round: u64) {
        let c = db.collection("c").unwrap();
        for i in 0..240 {
            let key = format!("k{:03}", i * 101 % 240);
            c.insert(key, format!("v{round}-{i}").repeat(40)).unwrap();
        }
        db.flush().unwrap();
    }

    /// A database of which a step has a part that is done and others that nobody has taken.
    fn halfway() -> (Arc<Sim>, Db) {
        let world = Sim::new(7);
        let db = open(&world);
        write(&db, 1);
        db.compact().unwrap();
        write(&db, 2);
        let (core, writing) = (db.core(), db.core().writing().unwrap());
        world.settle();
        assert_eq!(segments(&world), db.stats().segments);
        assert!(core.compact_step(writing, Want::All(core.now())).unwrap());
        assert!(writing.steps.has_untaken() && writing.steps.is_running());
        assert!(segments(&world) > db.stats().segments, "one part is written");
        (world, db)
    }

    /// How many files of segments there are.
    fn segments(world: &Sim) -> u64 {
        let files = world.list_all().into_iter();
        files.filter(|(path, _)| path.to_string_lossy().contains("seg-")).count() as u64
    }

    /// That there are the pairs of `round`, and no file that is not named.
    fn check(world: &Sim, db: &Db, round: u64) {
        let c = db.collection("c").unwrap();
        let want = format!("v{round}-");
        let right = c.iter().filter(|pair| pair.as_ref().unwrap().1.starts_with(want.as_bytes()));
        assert_eq!(right.count(), 240);
        assert!(db.verify().unwrap().is_whole());
        drop(c);
        world.settle();
        assert_eq!(segments(world), db.stats().segments);
    }

    #[test]
    fn between_two_parts_others_write_read_and_hold_snapshots() {
        let (world, db) = halfway();
        let before = db.snapshot();
        write(&db, 3);
        db.collection("c").unwrap().remove_range("k000".."k100").unwrap();
        let compactions = db.stats().compactions;
        db.compact().unwrap();
        assert!(db.stats().compactions > compactions);
        let c = db.collection("c").unwrap();
        let then: Vec<_> = c.at(&before).iter().map(|pair| pair.unwrap().1).collect();
        assert_eq!(then.len(), 240);
        assert!(then.iter().all(|value| value.starts_with(b"v2-")));
        assert_eq!(c.iter().count(), 140);
        drop((then, before, c));
        write(&db, 4);
        db.compact().unwrap();
        check(&world, &db, 4);
    }

    #[test]
    fn a_close_or_a_crash_between_two_parts_leaves_nothing_of_them() {
        let (world, db) = halfway();
        for loss in Loss::MODELS {
            let image = world.crash(loss);
            check(&image, &open(&image), 2);
        }
        let named = db.stats().segments;
        db.close().unwrap();
        assert_eq!(segments(&world), named);
        let db = open(&world);
        db.compact().unwrap();
        check(&world, &db, 2);
    }

    /// F-20: whichever of its calls fails, the second part takes the first with it.
    #[test]
    fn a_part_that_fails_takes_those_before_it_along() {
        for (calls, errno) in
            [(Calls::CREATE, Errno::NoSpace), (Calls::WRITE, Errno::Io), (Calls::SYNC, Errno::Io)]
        {
            let (world, db) = halfway();
            world.fail_at(world.count(calls) + 1, Fault::refuse(errno, calls));
            let (core, writing) = (db.core(), db.core().writing().unwrap());
            assert!(core.compact_step(writing, Want::All(core.now())).is_err(), "{errno:?}");
            assert!(!writing.steps.is_running());
            check(&world, &db, 2);
            db.compact().unwrap();
            check(&world, &db, 2);
        }
    }
}
