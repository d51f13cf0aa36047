//! A whole world in memory, deterministic from a seed: a disk that forgets what was not synced,
//! faults at any call, a clock that only tests advance, workers without threads.
//!
//! ```text
//!   write, truncate ──▸ visible file   ──sync──▸      durable file    ┐
//!   create, rename… ──▸ visible folder ──sync_dir──▸  durable folder  ┴─ crash(loss) ─▸ new world
//! ```
//!
//! What a crash may leave, and why it is legal. Every crash claim of the engine rests on this list.
//!
//! 1. **Reads see all writes.** Whoever reads or maps a file sees every earlier write, synced or not.
//!    A map is a snapshot of its moment: the contract forbids to look at one while its file changes.
//! 2. **A file sync makes contents durable, not names.** All earlier writes and the length of that
//!    file survive every loss; that a folder has the file's name is not part of it. (ext4 often does
//!    more; POSIX promises no more.)
//! 3. **A folder sync makes names durable, not contents**: the names of that folder only, neither
//!    those of its parents nor of its children.
//! 4. **[`Loss::None`]**, the death of the process: everything visible stays; what was not synced can
//!    still be lost later. Locks are released.
//! 5. **[`Loss::All`]**: exactly what is durable stays. A file whose name was never durable is gone,
//!    synced or not; a file removed or renamed without a folder sync is back under its old name.
//! 6. **[`Loss::Pieces`]**, contents: the page cache writes back any sector at any moment, so each
//!    512-byte sector holds what it held after some number of changes since the last sync, each
//!    sector chosen on its own. Sectors in a hole are zero; replaced sectors are old, new or between.
//! 7. …lengths: a file system journals the length apart from the data, in order. The length is the
//!    one after some number of changes; a longer write may have extended it by some sectors. So a
//!    file may be long and full of zeros, or short with its data gone. Behind a cut that was lost
//!    nothing later is written; what a durable cut took does not come back.
//! 8. …names: each creation, link, renaming and removal survives or is lost on its own, except that
//!    one that builds on a lost one is lost with it (it changes a name only if it finds what it found
//!    when it was made). So no file that always had a name is ever without one, unless the old of two
//!    names was removed before the link was durable. A rename is atomic, but both names may be left
//!    (F-8). An old target is there or replaced, never missing.
//! 9. **[`Loss::Torn`]**: each file and folder keeps its first so many changes, the last of them torn
//!    at any byte, not only at sectors: file systems on odd devices do this to the tail of a file.
//! 10. **Files and folders are independent**: order between two files exists only through a sync.
//! 11. **A call that is interrupted by the crash** did nothing, or all of its work (which then is as
//!     durable as it would be), or a part: a prefix of a write's bytes; a file created but not yet
//!     allocated. Afterwards every call fails. The old world can be looked at, and crashed again to
//!     get another outcome; this never changes it.
//! 12. **A failed sync** either leaves its changes to be lost or synced later (F-18), or drops them:
//!     then some sectors are on disk, the rest never will be, later syncs succeed, and reads show the
//!     lost bytes until the pages are evicted (F-19; Linux does this since 4.13).
//! 13. **A full disk** takes the part of a write that fits, then refuses (F-21). Every file takes its
//!     length, allocated or written; removing the last name and handle gives it back at once.
//! 14. **A copy into a mapped, allocated file cannot fail** and makes no promise that a write does not.
//! 15. **The same seed and the same calls give the same world**, byte for byte ([`Sim::fingerprint`]).

mod chance;
mod crash;
mod disk;
mod files;
mod plan;
#[cfg(test)]
mod tests;
mod workers;

pub use crash::Loss;
pub use plan::{Calls, Errno, Fault, Trouble, Weather};

use super::mapped::Claims;
use super::{Access, Append, Env, File, Job, Listed, Lock, Worker};
use chance::Chance;
use disk::{Content, Disk, FileNode, Node};
use files::{Held, How, SimAppend, SimFile, SimLock};
use parking_lot::Mutex;
use plan::{Call, Plan, Verdict, dead};
use std::fmt;
use std::hash::{Hash, Hasher};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use workers::Workers;

/// What the clock on the wall says when a first world begins; from then on it goes as [`Sim::advance`] does.
const EPOCH: Duration = Duration::from_secs(1_700_000_000);

/// A simulated world. Cheap to clone as a whole with [`Sim::snapshot`] and [`Sim::crash`].
pub struct Sim {
    seed: u64,
    /// How it came about, for messages: what each ancestor's crash took, after how many calls.
    ancestors: Vec<String>,
    shared: Arc<Shared>,
}

/// What handles share with their world. Lock order: none of these is held while another is taken.
#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    workers: Arc<Workers>,
}

struct State {
    disk: Disk,
    plan: Plan,
    /// For [`Env::random`], apart from the plan's, so that faults do not shift identities.
    identities: Chance,
    /// For [`Sim::crash`], apart from both.
    futures: Chance,
    locks: Vec<Held>,
    mapping: bool,
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State")
            .field("calls", &self.plan.count(Calls::CHANGES))
            .field("dead", &self.plan.dead)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Sim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sim")
            .field("seed", &format_args!("{:#x}", self.seed))
            .field("ancestors", &self.ancestors)
            .field("shared", &self.shared)
            .finish()
    }
}

/// Making worlds, and time.
impl Sim {
    /// An empty disk and clear weather.
    pub fn new(seed: u64) -> Arc<Self> {
        Self::with_disk(seed, Vec::new(), Disk::new(), Duration::ZERO, true)
    }

    fn with_disk(
        seed: u64,
        ancestors: Vec<String>,
        disk: Disk,
        now: Duration,
        mapping: bool,
    ) -> Arc<Self> {
        let mut chance = Chance::new(seed);
        let mut stream = || Chance::new(chance.next());
        let workers = Arc::new(Workers::new(stream(), now));
        let state = State {
            disk,
            plan: Plan::new(stream()),
            identities: stream(),
            futures: stream(),
            locks: Vec::new(),
            mapping,
        };
        let shared = Arc::new(Shared { state: Mutex::new(state), workers });
        Arc::new(Self { seed, ancestors, shared })
    }

    /// The seed of this world.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// The world as it is found after a crash right now that takes `loss`. This one is not
    /// disturbed; asked again, it gives another outcome. Plans and weather do not carry over; the
    /// capacity, unreadable places, the clock and whether files map do.
    pub fn crash(&self, loss: Loss) -> Arc<Self> {
        let seed = self.shared.state.lock().futures.next();
        self.crash_with(loss, seed)
    }

    /// As [`Sim::crash`], with the outcome, and the new world's seed, from `seed`.
    pub fn crash_with(&self, loss: Loss, seed: u64) -> Arc<Self> {
        let state = self.shared.state.lock();
        let disk = state.disk.after(loss, &mut Chance::new(!seed));
        let calls = state.plan.count(Calls::CHANGES);
        let mapping = state.mapping;
        drop(state);
        let mut ancestors = self.ancestors.clone();
        ancestors.push(format!("{:#x}: {loss:?} after {calls} changes", self.seed));
        Self::with_disk(seed, ancestors, disk, self.shared.workers.now(), mapping)
    }

    /// An independent copy without handles, locks, workers and plans: what is not synced stays so.
    pub fn snapshot(&self) -> Arc<Self> {
        self.crash_with(Loss::None, self.seed)
    }

    /// Lets time pass, and wakes the workers whose time has come. Runs none.
    pub fn advance(&self, time: Duration) {
        self.shared.workers.advance(time);
    }

    /// When the next worker wakes by itself, by [`Env::now`]'s clock.
    pub fn next_due(&self) -> Option<Duration> {
        self.shared.workers.next_due()
    }

    /// Runs woken workers until none is.
    ///
    /// Panics after a million units: workers wake each other without end.
    pub fn settle(&self) {
        for _ in 0..1_000_000 {
            if !self.help() {
                return;
            }
        }
        panic!("the workers never come to rest: {self:?}");
    }

    /// How many workers have panicked.
    pub fn panics(&self) -> usize {
        self.shared.workers.panics()
    }
}

/// Planning troubles.
impl Sim {
    /// How many calls that change the disk were made: the number of the last one.
    pub fn calls(&self) -> u64 {
        self.count(Calls::CHANGES)
    }

    /// How many calls of these classes were made.
    pub fn count(&self, calls: Calls) -> u64 {
        self.shared.state.lock().plan.count(calls)
    }

    /// The world dies in the middle of its change number `n` (see [`Sim::calls`]), or of the next
    /// one if that has passed.
    pub fn crash_at(&self, n: u64) {
        self.shared.state.lock().plan.crash_at(Some(n));
    }

    /// Kills the world between two calls.
    pub fn kill(&self) {
        self.shared.state.lock().plan.dead = true;
    }

    /// Whether the crash has happened.
    pub fn is_dead(&self) -> bool {
        self.shared.state.lock().plan.dead
    }

    /// `fault` hits call number `n` of its classes (see [`Sim::count`]), once.
    pub fn fail_at(&self, n: u64, fault: Fault) {
        self.shared.state.lock().plan.add(n, n, fault);
    }

    /// `fault` hits every call of its classes from number `n` on.
    pub fn fail_from(&self, n: u64, fault: Fault) {
        self.shared.state.lock().plan.add(n, u64::MAX, fault);
    }

    /// Forgets all planned faults, unreadable places and weather; the capacity stays.
    pub fn heal(&self) {
        let mut state = self.shared.state.lock();
        state.plan.heal();
        state.disk.files_mut().for_each(|file| file.broken.clear());
    }

    /// Short transfers and interruptions by chance, from now on.
    pub fn set_weather(&self, weather: Weather) {
        self.shared.state.lock().plan.weather = weather;
    }

    /// How many bytes all files together may have; none is unlimited.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.shared.state.lock().disk.capacity = bytes;
    }

    /// Whether files can be mapped.
    pub fn set_mapping(&self, mapping: bool) {
        self.shared.state.lock().mapping = mapping;
    }

    /// Reads of this part of a file fail with `EIO`; it cannot be mapped any more (F-28).
    pub fn break_reads(&self, path: &Path, part: Range<u64>) -> io::Result<()> {
        let mut state = self.shared.state.lock();
        let node = state.disk.find_file(path)?;
        state.disk.file_mut(node).broken.push(part);
        Ok(())
    }

    /// Drops clean pages from memory: what a failed sync lost is now seen to be lost (F-19).
    pub fn evict(&self) {
        self.shared.state.lock().disk.files_mut().for_each(FileNode::evict);
    }
}

/// Direct access, beside the file system: not counted, never failing, works in a dead world too.
impl Sim {
    /// How many files are open, maps and locks among them.
    pub fn open_handles(&self) -> usize {
        self.shared.state.lock().disk.handle_count()
    }

    /// The visible bytes of a file.
    pub fn read_file(&self, path: &Path) -> io::Result<Vec<u8>> {
        let state = self.shared.state.lock();
        let node = state.disk.find_file(path)?;
        Ok(state.disk.file(node).visible.whole().to_vec())
    }

    /// Puts a file there, or replaces its bytes, durably; its folder is created.
    pub fn write_file(&self, path: &Path, bytes: impl Into<Vec<u8>>) -> io::Result<()> {
        let disk = &mut self.shared.state.lock().disk;
        if let Some(dir) = path.parent() {
            disk.create_dir(dir)?;
        }
        let node = match disk.find(path)?.node {
            None => disk.create(path)?,
            Some(_) => disk.find_file(path)?,
        };
        *disk.file_mut(node) = FileNode::durable(Content::new(bytes.into()));
        settle_names(disk, path)
    }

    /// Changes one bit of a file, durably.
    pub fn flip(&self, path: &Path, byte: u64, bit: u8) -> io::Result<()> {
        let mut bytes = self.read_file(path)?;
        let place = usize::try_from(byte).ok().and_then(|at| bytes.get_mut(at));
        *place.ok_or(io::ErrorKind::UnexpectedEof)? ^= 1 << (bit & 7);
        self.write_file(path, bytes)
    }

    /// Removes a file, durably.
    pub fn remove_file(&self, path: &Path) -> io::Result<()> {
        let disk = &mut self.shared.state.lock().disk;
        disk.remove(path)?;
        settle_names(disk, path)
    }

    /// Copies a file over whatever `to` names, durably.
    pub fn copy(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.write_file(to, self.read_file(from)?)
    }

    /// Every file with its length, in order of paths.
    pub fn list_all(&self) -> Vec<(PathBuf, u64)> {
        let state = self.shared.state.lock();
        let mut found = Vec::new();
        let mut open = vec![(PathBuf::from("/"), disk::ROOT)];
        while let Some((path, dir)) = open.pop() {
            for (name, id, node) in state.disk.entries(dir) {
                let path = path.join(&**name);
                match node {
                    Node::File(file) => found.push((path, file.visible.len())),
                    Node::Dir(_) => open.push((path, id)),
                }
            }
        }
        found.sort();
        found
    }

    /// A hash of everything on the disk, visible, durable and between.
    pub fn fingerprint(&self) -> u64 {
        let mut hash = xxhash_rust::xxh3::Xxh3Default::new();
        let state = self.shared.state.lock();
        state.disk.hash(&mut hash);
        hash.finish()
    }
}

/// Makes the names of a file's folder and of all above it durable.
fn settle_names(disk: &mut Disk, path: &Path) -> io::Result<()> {
    path.ancestors().skip(1).try_for_each(|dir| disk.sync_dir(dir))
}

impl Shared {
    /// A call that happens whole or not at all.
    fn call<T>(&self, call: Call, act: impl FnOnce(&mut State) -> io::Result<T>) -> io::Result<T> {
        let mut state = self.state.lock();
        match state.plan.judge(call) {
            Verdict::Go | Verdict::Short | Verdict::Zero | Verdict::DropPages => act(&mut state),
            Verdict::Refuse(error) => Err(error),
            Verdict::Stall(time) => {
                let done = act(&mut state);
                drop(state);
                self.workers.advance(time);
                done
            }
            Verdict::Crash => {
                if state.plan.chance.coin() {
                    // Nobody will learn how it went.
                    drop(act(&mut state));
                }
                Err(dead())
            }
        }
    }
}

impl Env for Sim {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let node = self.shared.call(Call::Create, |state| {
            let node = state.disk.create(path)?;
            state.disk.opened(node);
            Ok(node)
        })?;
        Ok(Arc::new(SimFile { shared: Arc::clone(&self.shared), node, writable: true }))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let node = self.shared.call(Call::Open, |state| {
            let node = state.disk.find_file(path)?;
            state.disk.opened(node);
            Ok(node)
        })?;
        Ok(Arc::new(SimFile { shared: Arc::clone(&self.shared), node, writable: false }))
    }

    fn create_append(
        &self,
        path: &Path,
        bytes: u64,
        access: Access,
    ) -> io::Result<Arc<dyn Append>> {
        let (node, mapping) = self.shared.call(Call::Create, |state| {
            let exists = state.disk.find(path)?.node.is_some();
            if !exists && state.disk.room().is_some_and(|room| room < bytes) {
                return Err(Errno::NoSpace.error());
            }
            let node = state.disk.create(path)?;
            state.disk.opened(node);
            // The crash may come between creating and allocating.
            if bytes > 0 && !(state.plan.dead && state.plan.chance.coin()) {
                state.disk.file_mut(node).set_len(bytes);
            }
            Ok((node, state.mapping))
        })?;
        let access = if mapping { access } else { Access::Positioned };
        let file = SimFile { shared: Arc::clone(&self.shared), node, writable: true };
        Ok(Arc::new(SimAppend { file, claims: Claims::default(), access, mapped: bytes }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.shared.call(Call::Rename, |state| state.disk.rename(from, to))
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.shared.call(Call::Link, |state| state.disk.link(from, to))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.shared.call(Call::Remove, |state| state.disk.remove(path))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<Listed>> {
        self.shared.call(Call::List, |state| {
            let dir = state.disk.find_dir(dir)?;
            let listed = state.disk.entries(dir).map(|(name, _, node)| {
                let (is_file, bytes) = match node {
                    Node::File(file) => (true, file.visible.len()),
                    Node::Dir(_) => (false, 0),
                };
                Listed { name: name.to_string(), is_file, bytes }
            });
            Ok(listed.collect())
        })
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        self.shared.call(Call::CreateDir, |state| state.disk.create_dir(dir))
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.shared.call(Call::Look, |state| match state.disk.find(path) {
            Ok(place) => Ok(place.node.is_some()),
            // The root has no name.
            Err(_) if path.file_name().is_none() => state.disk.find_dir(path).map(|_| true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        })
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.shared.call(Call::SyncDir, |state| state.disk.sync_dir(dir))
    }

    fn lock(&self, path: &Path, note: &str) -> io::Result<Box<dyn Lock>> {
        let node = self.shared.call(Call::Lock, |state| {
            let node = match state.disk.find(path)?.node {
                None => state.disk.create(path)?,
                Some(_) => state.disk.find_file(path)?,
            };
            state.take_lock(node, How::Alone)?;
            let file = state.disk.file_mut(node);
            file.set_len(0);
            file.write(note.as_bytes(), 0);
            Ok(node)
        })?;
        Ok(Box::new(SimLock {
            shared: Arc::clone(&self.shared),
            held: Held { node, how: How::Alone },
        }))
    }

    fn lock_shared(&self, path: &Path) -> io::Result<Box<dyn Lock>> {
        let node = self.shared.call(Call::Open, |state| {
            let node = state.disk.find_file(path)?;
            state.take_lock(node, How::Shared)?;
            Ok(node)
        })?;
        Ok(Box::new(SimLock {
            shared: Arc::clone(&self.shared),
            held: Held { node, how: How::Shared },
        }))
    }

    fn now(&self) -> Duration {
        self.shared.workers.now()
    }

    fn unix_time(&self) -> Duration {
        EPOCH + self.shared.workers.now()
    }

    fn random(&self) -> u64 {
        self.shared.state.lock().identities.next()
    }

    fn spawn(&self, name: &str, job: Job) -> io::Result<Worker> {
        Ok(self.shared.workers.spawn(name, job))
    }

    fn help(&self) -> bool {
        self.shared.workers.help()
    }

    fn has_threads(&self) -> bool {
        false
    }

    fn process_id(&self) -> u32 {
        1
    }
}
