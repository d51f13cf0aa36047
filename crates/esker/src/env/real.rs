//! The operating system.
//!
//! 1. Errors are passed up as they are, `Interrupted` included; nothing is retried here.
//! 2. Opening never follows a symbolic link at the end of a path, never blocks on a pipe, and
//!    refuses what is not an ordinary file (F-41).
//! 3. [`File::sync`] is `fdatasync` on Linux, the full sync on macOS, a buffer flush on Windows.
//! 4. A worker is one thread that sleeps on a condition. A job that panics is reported, and its
//!    worker never runs again; waking and dropping the handle stay legal (F-31).
//! 5. Where there is no mapping or no allocation ahead, files are written by position.

#![expect(clippy::disallowed_methods, reason = "this is the place that calls the system")]

use super::clock::since_epoch;
use super::limits;
use super::mapped::Claims;
#[cfg(unix)]
use super::mapped::{MappedAppend, ReadMap};
use super::{
    Access, Append, Claimed, Env, File, Job, Listed, Lock, Map, Next, Span, Worker, WorkerHandle,
    write_all_at,
};
use parking_lot::{Condvar, Mutex};
use std::fs::OpenOptions;
use std::hash::BuildHasher;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
#[cfg(unix)]
use std::sync::Weak;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle, ThreadId};
use std::time::{Duration, Instant, SystemTime};

/// The most bytes of a lock file that are shown to whoever finds it locked.
const NOTE_BYTES_MAX: usize = 256;

/// The operating system's files, clock, chance and threads.
#[derive(Debug)]
pub struct Real {
    start: Instant,
}

impl Real {
    /// An environment of its own clock; otherwise all are alike.
    pub fn new() -> Arc<Self> {
        Arc::new(Self::default())
    }
}

impl Default for Real {
    fn default() -> Self {
        Self { start: Instant::now() }
    }
}

impl Env for Real {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(create_new(path)?))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let mut options = OpenOptions::new();
        options.read(true);
        system::no_follow(&mut options);
        let file = options.open(path)?;
        if !file.metadata()?.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not an ordinary file"));
        }
        Ok(Arc::new(RealFile::new(file)))
    }

    fn create_append(
        &self,
        path: &Path,
        bytes: u64,
        access: Access,
    ) -> io::Result<Arc<dyn Append>> {
        let file = create_new(path)?;
        let made = allocate(file, bytes, access);
        if made.is_err() {
            // The first error is the one to report; a file that stays is an orphan to its owner.
            drop(std::fs::remove_file(path));
        }
        made
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::hard_link(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<Listed>> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir(dir)? {
            let entry = entry?;
            let data = match entry.metadata() {
                // Removed while the folder was read.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                data => data?,
            };
            // A name that is not Unicode is nobody's; shown so that it can be counted.
            let name = entry.file_name().to_string_lossy().into_owned();
            found.push(Listed { name, is_file: data.is_file(), bytes: data.len() });
        }
        found.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(found)
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        std::fs::create_dir_all(dir)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        match path.symlink_metadata() {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        system::sync_dir(dir)
    }

    fn lock(&self, path: &Path, note: &str) -> io::Result<Box<dyn Lock>> {
        let file = system::lock(path)?;
        let file = RealFile::new(file);
        // The lock is held; the note is only for a message. On a full disk it may be missing, and
        // the database must open all the same (F-23). Written before it is cut, an old note's
        // block serves the new one.
        let noted =
            write_all_at(&file, note.as_bytes(), 0).and_then(|()| file.truncate(note.len() as u64));
        if let Err(error) = noted {
            tracing::warn!(path = %path.display(), %error, "cannot write the lock's note");
        }
        Ok(Box::new(RealLock { file }))
    }

    fn lock_shared(&self, path: &Path) -> io::Result<Box<dyn Lock>> {
        let file = RealFile::new(system::lock_shared(path)?);
        Ok(Box::new(RealLock { file }))
    }

    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    fn unix_time(&self) -> Duration {
        since_epoch(SystemTime::now())
    }

    fn random(&self) -> u64 {
        // The standard library seeds this from the system, and changes it at every call.
        std::hash::RandomState::new().hash_one(self.start)
    }

    fn spawn(&self, name: &str, job: Job) -> io::Result<Worker> {
        let shared = Arc::new(Shared::default());
        let theirs = Arc::clone(&shared);
        let title = name.to_owned();
        let thread =
            thread::Builder::new().name(name.to_owned()).spawn(move || theirs.run(&title, job))?;
        let id = thread.thread().id();
        Ok(Worker::new(Box::new(Thread { shared, id, join: Mutex::new(Some(thread)) })))
    }

    fn help(&self) -> bool {
        false
    }

    fn has_threads(&self) -> bool {
        true
    }

    fn process_id(&self) -> u32 {
        std::process::id()
    }

    fn memory_limit(&self) -> Option<u64> {
        limits::memory_limit(|path| std::fs::read_to_string(path).ok())
    }
}

fn create_new(path: &Path) -> io::Result<RealFile> {
    let file = OpenOptions::new().read(true).write(true).create_new(true).open(path)?;
    Ok(RealFile::new(file))
}

/// Allocates a new file ahead and makes it appendable.
fn allocate(file: RealFile, bytes: u64, access: Access) -> io::Result<Arc<dyn Append>> {
    let allocated = system::allocate(&file.file, bytes)?;
    if !allocated {
        file.truncate(bytes)?;
    }
    #[cfg(unix)]
    if allocated && access == Access::Mapped && bytes > 0 {
        return Ok(match MappedAppend::new(file, bytes) {
            Ok(mapped) => Arc::new(mapped),
            Err(file) => Arc::new(PositionedAppend::new(file)),
        });
    }
    let _ = access;
    Ok(Arc::new(PositionedAppend::new(file)))
}

/// A file descriptor.
#[derive(Debug)]
struct RealFile {
    file: std::fs::File,
    random: AtomicBool,
    /// The live map, to pass advice on.
    #[cfg(unix)]
    map: Mutex<Weak<ReadMap>>,
}

impl RealFile {
    fn new(file: std::fs::File) -> Self {
        Self {
            file,
            random: AtomicBool::new(false),
            #[cfg(unix)]
            map: Mutex::default(),
        }
    }
}

#[cfg(unix)]
impl std::os::fd::AsRawFd for RealFile {
    fn as_raw_fd(&self) -> std::os::fd::RawFd {
        self.file.as_raw_fd()
    }
}

impl File for RealFile {
    fn byte_count(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        system::read_at(&self.file, buffer, at)
    }

    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<usize> {
        system::write_at(&self.file, bytes, at)
    }

    fn truncate(&self, bytes: u64) -> io::Result<()> {
        self.file.set_len(bytes)
    }

    fn sync(&self) -> io::Result<()> {
        // `fdatasync` on Linux; the standard library asks for the full sync on macOS.
        self.file.sync_data()
    }

    #[cfg(unix)]
    fn map(&self) -> io::Result<Option<Arc<dyn Map>>> {
        let map = match ReadMap::new(&self.file) {
            Ok(map) => Arc::new(map),
            // A file system without mapping; the caller reads by position.
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::NODEV.raw_os_error()) => {
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        if self.random.load(Ordering::Relaxed) {
            map.advise_random(true);
        }
        *self.map.lock() = Arc::downgrade(&map);
        Ok(Some(map))
    }

    #[cfg(not(unix))]
    fn map(&self) -> io::Result<Option<Arc<dyn Map>>> {
        Ok(None)
    }

    fn advise_random(&self, random: bool) {
        self.random.store(random, Ordering::Relaxed);
        system::advise_random(&self.file, random);
        #[cfg(unix)]
        if let Some(map) = self.map.lock().upgrade() {
            map.advise_random(random);
        }
    }
}

/// A file written by position.
#[derive(Debug)]
struct PositionedAppend {
    file: RealFile,
    claims: Claims,
}

impl PositionedAppend {
    fn new(file: RealFile) -> Self {
        Self { file, claims: Claims::default() }
    }
}

impl Append for PositionedAppend {
    fn claim(self: Arc<Self>, at: u64, len: u64) -> Span {
        self.claims.claim(at, len);
        Span::new(self, at, len)
    }

    fn fill(&self, bytes: &[u8], at: u64, _place: Claimed) -> io::Result<()> {
        write_all_at(&self.file, bytes, at)
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync()
    }

    fn finish(&self, bytes: u64) -> io::Result<()> {
        self.claims.close(bytes);
        self.file.truncate(bytes)
    }

    fn access(&self) -> Access {
        Access::Positioned
    }
}

/// Holds the lock until it is dropped.
#[derive(Debug)]
struct RealLock {
    file: RealFile,
}

impl Drop for RealLock {
    /// Unlocks by word: a process that another thread has just forked has a copy of the descriptor,
    /// and would hold the lock until it runs its own program.
    fn drop(&mut self) {
        system::unlock(&self.file);
    }
}

impl Lock for RealLock {}

/// What a worker's thread and its handle share. `woken` may be set without the lock; whoever sets
/// it then takes the lock to notify, so that the thread cannot miss it between look and sleep.
#[derive(Debug, Default)]
struct Shared {
    woken: AtomicBool,
    stopping: AtomicBool,
    panicked: AtomicBool,
    sleep: Mutex<()>,
    changed: Condvar,
}

impl Shared {
    fn run(&self, name: &str, mut job: Job) {
        while !self.stopping.load(Ordering::Acquire) {
            // Before the unit, so that a wake during it is not lost.
            self.woken.store(false, Ordering::SeqCst);
            match catch_unwind(AssertUnwindSafe(&mut job)) {
                Ok(Next::Again) => {}
                Ok(Next::Wait(limit)) => self.wait(limit),
                Err(_) => {
                    self.panicked.store(true, Ordering::Release);
                    tracing::error!(worker = name, "a background worker panicked and has stopped");
                    break;
                }
            }
        }
        // What the job owns is dropped here, where it may end workers of its own.
        if catch_unwind(AssertUnwindSafe(|| drop(job))).is_err() {
            tracing::error!(worker = name, "a background worker panicked at its end");
        }
    }

    fn wait(&self, limit: Option<Duration>) {
        let until = limit.and_then(|limit| Instant::now().checked_add(limit));
        let mut sleep = self.sleep.lock();
        while !self.woken.load(Ordering::SeqCst) && !self.stopping.load(Ordering::Acquire) {
            match until {
                None => self.changed.wait(&mut sleep),
                Some(until) => {
                    if self.changed.wait_until(&mut sleep, until).timed_out() {
                        return;
                    }
                }
            }
        }
    }

    fn notify(&self) {
        drop(self.sleep.lock());
        self.changed.notify_one();
    }
}

#[derive(Debug)]
struct Thread {
    shared: Arc<Shared>,
    id: ThreadId,
    join: Mutex<Option<JoinHandle<()>>>,
}

impl WorkerHandle for Thread {
    fn wake(&self) {
        if !self.shared.woken.swap(true, Ordering::SeqCst) {
            self.shared.notify();
        }
    }

    fn stop(&self) {
        self.shared.stopping.store(true, Ordering::Release);
        self.shared.notify();
        let join = self.join.lock().take();
        if let Some(join) = join
            && self.id != thread::current().id()
        {
            // The thread catches the panics of its job; nothing else in it can fail.
            drop(join.join());
        }
    }
}

/// What differs between systems: the Unix family.
#[cfg(unix)]
mod system {
    use super::{NOTE_BYTES_MAX, OpenOptions};
    use rustix::fs::{FlockOperation, OFlags};
    use std::fs::File;
    use std::io;
    use std::os::unix::fs::{FileExt, OpenOptionsExt};
    use std::path::Path;

    pub(super) fn no_follow(options: &mut OpenOptions) {
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
        options.custom_flags(flags.bits().cast_signed());
    }

    pub(super) fn read_at(file: &File, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        file.read_at(buffer, at)
    }

    pub(super) fn write_at(file: &File, bytes: &[u8], at: u64) -> io::Result<usize> {
        file.write_at(bytes, at)
    }

    pub(super) fn sync_dir(dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }

    /// Whether blocks for `bytes` are now allocated; false where the file system cannot.
    #[cfg(target_os = "linux")]
    pub(super) fn allocate(file: &File, bytes: u64) -> io::Result<bool> {
        use rustix::fs::{FallocateFlags, fallocate};
        use rustix::io::Errno;
        if bytes == 0 {
            return Ok(false);
        }
        match fallocate(file, FallocateFlags::empty(), 0, bytes) {
            Ok(()) => Ok(true),
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    #[cfg(not(target_os = "linux"))]
    pub(super) fn allocate(_: &File, _: u64) -> io::Result<bool> {
        Ok(false)
    }

    #[cfg(target_os = "linux")]
    pub(super) fn advise_random(file: &File, random: bool) {
        use rustix::fs::{Advice, fadvise};
        let advice = if random { Advice::Random } else { Advice::Normal };
        // Advice that is not taken costs speed only.
        let _ = fadvise(file, 0, None, advice);
    }

    #[cfg(not(target_os = "linux"))]
    pub(super) fn advise_random(_: &File, _: bool) {}

    pub(super) fn lock(path: &Path) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        no_follow(&mut options);
        let file = options.open(path)?;
        if !file.metadata()?.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not an ordinary file"));
        }
        flock(file, FlockOperation::NonBlockingLockExclusive)
    }

    pub(super) fn lock_shared(path: &Path) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.read(true);
        no_follow(&mut options);
        flock(options.open(path)?, FlockOperation::NonBlockingLockShared)
    }

    pub(super) fn unlock(file: &super::RealFile) {
        let _ = rustix::fs::flock(&file.file, FlockOperation::Unlock);
    }

    fn flock(file: File, how: FlockOperation) -> io::Result<File> {
        match rustix::fs::flock(&file, how) {
            Ok(()) => Ok(file),
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let mut note = [0; NOTE_BYTES_MAX];
                let len = file.read_at(&mut note, 0)?;
                let note = String::from_utf8_lossy(note.get(..len).unwrap_or_default());
                Err(io::Error::new(io::ErrorKind::WouldBlock, note.into_owned()))
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// What differs between systems: Windows, without mapping and without folders to sync.
#[cfg(windows)]
mod system {
    use super::{NOTE_BYTES_MAX, OpenOptions};
    use std::fs::File;
    use std::io;
    use std::os::windows::fs::{FileExt, OpenOptionsExt};
    use std::path::Path;

    const FILE_SHARE_READ: u32 = 1;
    const FILE_FLAG_OPEN_REPARSE_POINT: u32 = 0x0020_0000;
    const ERROR_SHARING_VIOLATION: i32 = 32;

    pub(super) fn no_follow(options: &mut OpenOptions) {
        options.custom_flags(FILE_FLAG_OPEN_REPARSE_POINT);
    }

    pub(super) fn read_at(file: &File, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        file.seek_read(buffer, at)
    }

    pub(super) fn write_at(file: &File, bytes: &[u8], at: u64) -> io::Result<usize> {
        file.seek_write(bytes, at)
    }

    /// Names are journaled by the file system; a folder cannot be synced.
    pub(super) fn sync_dir(_: &Path) -> io::Result<()> {
        Ok(())
    }

    pub(super) fn allocate(_: &File, _: u64) -> io::Result<bool> {
        Ok(false)
    }

    pub(super) fn advise_random(_: &File, _: bool) {}

    /// Opened so that others may read (the note) but not write: a second locker fails to open.
    pub(super) fn lock(path: &Path) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).share_mode(FILE_SHARE_READ);
        no_follow(&mut options);
        match options.open(path) {
            Err(error) if error.raw_os_error() == Some(ERROR_SHARING_VIOLATION) => {
                let mut note = [0; NOTE_BYTES_MAX];
                let len = File::open(path)?.seek_read(&mut note, 0)?;
                let note = String::from_utf8_lossy(note.get(..len).unwrap_or_default());
                Err(io::Error::new(io::ErrorKind::WouldBlock, note.into_owned()))
            }
            opened => opened,
        }
    }

    /// Closing the file unlocks it.
    pub(super) fn unlock(_: &super::RealFile) {}

    /// Keeps nobody out who only reads, and a writer's own lock out of the way.
    pub(super) fn lock_shared(path: &Path) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.read(true).share_mode(FILE_SHARE_READ);
        no_follow(&mut options);
        match options.open(path) {
            Err(error) if error.raw_os_error() == Some(ERROR_SHARING_VIOLATION) => {
                Err(io::Error::from(io::ErrorKind::WouldBlock))
            }
            opened => opened,
        }
    }
}

#[cfg(test)]
mod tests;
