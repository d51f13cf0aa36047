//! Files, clock, chance and threads: all that makes two runs differ, behind one trait.
//!
//! [`Real`](real::Real) is the operating system. [`Sim`](sim::Sim) is a world that is deterministic
//! from a seed: it crashes at any call, keeps any legal mix of what was not synced, fails calls and
//! shortens reads and writes. The engine above runs on either, unchanged.
//!
//! 1. A file's bytes are durable once [`File::sync`] returned; its name once [`Env::sync_dir`] did.
//! 2. Errors are `std::io::Error` here; the caller adds which file and what it was doing.
//! 3. Nobody may rely on a read or write being whole: use [`read_exact_at`] and [`write_all_at`].
//! 4. Nobody sleeps or spins: a thread that must wait uses [`Gate`], a job that has nothing to do
//!    returns [`Next::Wait`].

pub mod clock;
#[cfg(test)]
mod contract;
mod limits;
pub mod mapped;
pub mod names;
pub mod real;
pub mod sim;
pub mod tally;

use parking_lot::{Condvar, Mutex};
use std::fmt::Debug;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// How a log file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Through a map: a write is a copy, a read is a slice.
    Mapped,
    /// Through positioned system calls.
    Positioned,
}

/// One entry of a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The name within the folder.
    pub name: String,
    /// Whether it is an ordinary file (no folder, no symbolic link).
    pub is_file: bool,
    /// Its length in bytes.
    pub bytes: u64,
}

/// The outside world.
pub trait Env: Debug + Send + Sync + 'static {
    /// Creates a file that must not exist, open for reading and writing.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>>;
    /// Opens a file for reading. Symbolic links are not followed.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>>;
    /// Creates a file that must not exist, allocates `bytes` of zeros ahead, and opens it for
    /// appending. `Mapped` falls back to `Positioned` where the file system cannot.
    fn create_append(&self, path: &Path, bytes: u64, access: Access)
    -> io::Result<Arc<dyn Append>>;
    /// Renames a file over whatever has the new name.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Gives a file a second name, in a folder of the same file system; its bytes are there once.
    /// Errors: `AlreadyExists` if anything has the new name; `NotFound`; others where the file
    /// system has no such names.
    fn link(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a name of a file, and the file with its last one.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// What lies in a folder, sorted by name.
    fn list(&self, dir: &Path) -> io::Result<Vec<Listed>>;
    /// Creates a folder and its parents; fine if it exists.
    fn create_dir(&self, dir: &Path) -> io::Result<()>;
    /// Whether anything has this name.
    fn exists(&self, path: &Path) -> io::Result<bool>;
    /// Makes names created, linked, renamed and removed in `dir` durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// Takes the exclusive advisory lock of `path`, creating the file; writes `note` into it.
    /// Errors: `WouldBlock`, with the note of the holder as its message, if another holds it.
    fn lock(&self, path: &Path, note: &str) -> io::Result<Box<dyn Lock>>;
    /// Takes a shared advisory lock of `path`, which must exist, and changes nothing: for readers.
    /// Errors: `WouldBlock` as of [`Env::lock`]; `NotFound`.
    fn lock_shared(&self, path: &Path) -> io::Result<Box<dyn Lock>>;
    /// Time since some fixed moment; never goes back. Nothing durable may depend on it.
    fn now(&self) -> Duration;
    /// Time since the Unix epoch, as the system's clock has it: it may be set, back too. Nothing but
    /// what expires may depend on it.
    fn unix_time(&self) -> Duration;
    /// Sixty-four random bits. Nothing but tie-breaking and identities may depend on them.
    fn random(&self) -> u64;
    /// Starts a worker thread that runs `job` now and whenever it is woken.
    fn spawn(&self, name: &str, job: Job) -> io::Result<Worker>;
    /// Runs one unit of some woken worker's work in this thread, if workers have no threads of
    /// their own (the simulation); false where they have, or if nothing is ready.
    fn help(&self) -> bool;
    /// Whether workers run in threads of their own. If not, a wait that nothing can end is a bug,
    /// and [`Gate::wait_until`] panics with it.
    fn has_threads(&self) -> bool;
    /// A number for the message in the lock file.
    fn process_id(&self) -> u32;
    /// Bytes of memory that the system allows this process, if it says so.
    fn memory_limit(&self) -> Option<u64> {
        None
    }
}

/// An open file. All calls are positioned and may be made from any thread.
pub trait File: Debug + Send + Sync + 'static {
    /// Its length in bytes.
    fn byte_count(&self) -> io::Result<u64>;
    /// Reads up to `buffer.len()` bytes; 0 at the end. May be short.
    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize>;
    /// Writes up to `bytes.len()` bytes, extending the file. May be short.
    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<usize>;
    /// Sets the length; new bytes are zero.
    fn truncate(&self, bytes: u64) -> io::Result<()>;
    /// Makes all bytes written so far durable, with what is needed to read them back. A failure is
    /// final: it must not be tried again (the kernel may have dropped the pages).
    fn sync(&self) -> io::Result<()>;
    /// The whole file as memory, read-only; none where mapping is not supported. The caller
    /// promises that nobody shortens the file while the map lives.
    fn map(&self) -> io::Result<Option<Arc<dyn Map>>>;
    /// Tells the system that the file is read in random order (`true`) or from front to back.
    fn advise_random(&self, random: bool);
}

/// A file mapped for reading.
pub trait Map: Debug + Send + Sync + 'static {
    /// Its bytes; the same for as long as the map lives.
    fn bytes(&self) -> &[u8];
    /// Tells the system that these bytes will be read soon. Advice: it may do nothing, as here.
    fn will_need(&self, _range: std::ops::Range<usize>) {}
}

/// A file open for appending by reservation: places are claimed in order under the caller's lock,
/// and filled in parallel.
pub trait Append: Debug + Send + Sync + 'static {
    /// Claims `len` bytes at `at`, which must be at or above the end of every earlier claim.
    ///
    /// Panics if it is not: two claims would overlap.
    fn claim(self: Arc<Self>, at: u64, len: u64) -> Span;
    /// Writes into a claimed place. Only [`Span::write`] can call it: nobody else has a [`Claimed`].
    fn fill(&self, bytes: &[u8], at: u64, place: Claimed) -> io::Result<()>;
    /// Makes durable all that was filled before the call. A failure is final.
    fn sync(&self) -> io::Result<()>;
    /// Cuts the file off at `bytes`, the end of the last claim, when nobody writes any more.
    fn finish(&self, bytes: u64) -> io::Result<()>;
    /// How it is written, after any fall-back.
    fn access(&self) -> Access;
}

/// Proof that a write goes to a claimed place: only [`Span::write`] makes one. Memory safety of
/// mapped files rests on it.
#[derive(Debug)]
pub struct Claimed(());

/// A place in a file that belongs to one writer: neither cloned nor overlapped by another.
#[derive(Debug)]
pub struct Span {
    file: Arc<dyn Append>,
    at: u64,
    len: u64,
}

impl Span {
    /// For implementations of [`Append::claim`].
    pub(crate) fn new(file: Arc<dyn Append>, at: u64, len: u64) -> Self {
        Self { file, at, len }
    }

    /// Where it begins in the file.
    pub fn at(&self) -> u64 {
        self.at
    }

    /// Its length in bytes.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether it has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Writes `bytes` at `offset` within the span.
    ///
    /// Panics if they do not fit: the caller claimed too little.
    pub fn write(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let end = offset.checked_add(bytes.len() as u64);
        assert!(end.is_some_and(|end| end <= self.len), "a write must lie inside its span");
        self.file.fill(bytes, self.at + offset, Claimed(()))
    }
}

/// A held lock; dropping it releases.
pub trait Lock: Debug + Send + Sync {}

/// What a worker does when woken: one bounded unit of work a call.
pub type Job = Box<dyn FnMut() -> Next + Send>;

/// What a worker wants after a unit of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// There is more to do at once.
    Again,
    /// Nothing to do until it is woken, or until so much time has passed.
    Wait(Option<Duration>),
}

/// A handle on a background worker. Dropping it stops the worker and waits for its current unit.
#[derive(Debug)]
pub struct Worker {
    handle: Box<dyn WorkerHandle>,
}

impl Worker {
    /// For implementations of [`Env::spawn`].
    pub(crate) fn new(handle: Box<dyn WorkerHandle>) -> Self {
        Self { handle }
    }

    /// Makes the worker run soon. Cheap, never blocks; many wakes before it runs count as one.
    pub fn wake(&self) {
        self.handle.wake();
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.handle.stop();
    }
}

/// How an environment drives one worker.
pub(crate) trait WorkerHandle: Debug + Send + Sync {
    fn wake(&self);
    /// Stops it and waits for its current unit, unless called from that unit itself.
    fn stop(&self);
}

/// Where threads wait for a condition that others bring about.
///
/// The condition's own data need no lock; [`Gate::open`] after a change makes waiters look again.
#[derive(Debug, Default)]
pub struct Gate {
    turns: Mutex<u64>,
    changed: Condvar,
    waiting: std::sync::atomic::AtomicUsize,
}

impl Gate {
    /// Waits until `done` says so. Hold no lock: whoever ends the wait may need it.
    ///
    /// Panics if workers have no threads and none of them can make progress: that is a deadlock.
    pub fn wait_until(&self, env: &dyn Env, mut done: impl FnMut() -> bool) {
        use std::sync::atomic::Ordering::SeqCst;
        if done() {
            return;
        }
        if !env.has_threads() {
            while !done() {
                assert!(env.help(), "deadlock: waiting for what no worker can bring about");
            }
            return;
        }
        self.waiting.fetch_add(1, SeqCst);
        // Pairs with the fence in `open`: either this look sees the change, or `open` sees this
        // waiter.
        std::sync::atomic::fence(SeqCst);
        let mut turns = self.turns.lock();
        while !done() {
            self.changed.wait(&mut turns);
        }
        drop(turns);
        self.waiting.fetch_sub(1, SeqCst);
    }

    /// The same for at most so long; answers whether `done` said so. Where workers have no threads,
    /// until none of them can make progress: time does not pass there by waiting.
    pub fn wait_for(&self, env: &dyn Env, most: Duration, mut done: impl FnMut() -> bool) -> bool {
        use std::sync::atomic::Ordering::SeqCst;
        if !env.has_threads() {
            while !done() {
                if !env.help() {
                    return false;
                }
            }
            return true;
        }
        let end = env.now().saturating_add(most);
        self.waiting.fetch_add(1, SeqCst);
        std::sync::atomic::fence(SeqCst);
        let mut turns = self.turns.lock();
        let mut is_done = done();
        while !is_done {
            let left = end.saturating_sub(env.now());
            if left.is_zero() {
                break;
            }
            self.changed.wait_for(&mut turns, left);
            is_done = done();
        }
        drop(turns);
        self.waiting.fetch_sub(1, SeqCst);
        is_done
    }

    /// Makes all waiters look at their condition again. One load when nobody waits.
    pub fn open(&self) {
        use std::sync::atomic::Ordering::SeqCst;
        std::sync::atomic::fence(SeqCst);
        if self.waiting.load(SeqCst) > 0 {
            *self.turns.lock() += 1;
            self.changed.notify_all();
        }
    }
}

/// Reads exactly `buffer.len()` bytes. Errors: `UnexpectedEof` if the file ends before.
pub fn read_exact_at(file: &dyn File, buffer: &mut [u8], at: u64) -> io::Result<()> {
    let mut done = 0;
    while done < buffer.len() {
        let rest = buffer.get_mut(done..).unwrap_or_default();
        match file.read_at(rest, at + done as u64) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(n) => done += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Writes all of `bytes`. Errors: `WriteZero` if the system takes nothing (F-24).
pub fn write_all_at(file: &dyn File, bytes: &[u8], at: u64) -> io::Result<()> {
    let mut done = 0;
    while done < bytes.len() {
        let rest = bytes.get(done..).unwrap_or_default();
        match file.write_at(rest, at + done as u64) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => done += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// A whole file in memory: mapped if `access` and the system allow, else read. Errors as of
/// [`read_exact_at`].
pub fn read_whole(file: &dyn File, access: Access) -> io::Result<Arc<dyn Map>> {
    if access == Access::Mapped
        && let Some(map) = file.map()?
    {
        return Ok(map);
    }
    let len = usize::try_from(file.byte_count()?)
        .map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))?;
    let mut bytes = vec![0; len];
    read_exact_at(file, &mut bytes, 0)?;
    Ok(Arc::new(Bytes(bytes)))
}

/// A file that was read whole.
#[derive(Debug)]
pub(crate) struct Bytes(pub(crate) Vec<u8>);

impl Map for Bytes {
    fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// The path of a file in a database folder.
pub fn path_in(dir: &Path, name: impl ToString) -> PathBuf {
    dir.join(name.to_string())
}
