//! What a world hands out: files, appends, maps and locks.
//!
//! 1. A handle is a number into its world's disk; it keeps a nameless file alive, and nothing else.
//! 2. Every call asks the plan first how it goes, under the world's lock.

use super::super::mapped::{Claims, WRITE_FROM};
use super::super::{Access, Append, Claimed, File, Lock, Map, Span, write_all_at};
use super::crash;
use super::disk::NodeId;
use super::plan::{Call, Errno, Verdict, dead};
use super::{Shared, State};
use std::io;
use std::sync::Arc;

/// An open file of a world.
#[derive(Debug)]
pub(super) struct SimFile {
    pub(super) shared: Arc<Shared>,
    pub(super) node: NodeId,
    pub(super) writable: bool,
}

impl SimFile {
    fn check_writable(&self) -> io::Result<()> {
        if self.writable {
            return Ok(());
        }
        Err(io::Error::new(io::ErrorKind::PermissionDenied, "opened for reading only"))
    }

    /// Copies into a map: cannot fail, but can be cut short by the crash.
    fn copy(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        let mut state = self.shared.state.lock();
        let (count, result) = match state.plan.judge(Call::Fill) {
            Verdict::Refuse(error) => return Err(error),
            Verdict::Crash => (state.plan.chance.index(bytes.len() + 1), Err(dead())),
            _ => (bytes.len(), Ok(())),
        };
        if count > 0 {
            state.disk.file_mut(self.node).write(&bytes[..count], at);
        }
        result
    }
}

/// Bytes from `at` on that the disk can take: those inside the file, and what room there is.
fn fitting(state: &State, node: NodeId, at: u64, count: usize) -> usize {
    let Some(room) = state.disk.room() else { return count };
    let inside = state.disk.file(node).visible.len().saturating_add(room);
    count.min(usize::try_from(inside.saturating_sub(at)).unwrap_or(usize::MAX))
}

impl File for SimFile {
    fn byte_count(&self) -> io::Result<u64> {
        self.shared.call(Call::Look, |state| Ok(state.disk.file(self.node).visible.len()))
    }

    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        let mut state = self.shared.state.lock();
        let mut count = buffer.len();
        match state.plan.judge(Call::Read) {
            Verdict::Refuse(error) => return Err(error),
            Verdict::Short if count > 1 => count = 1 + state.plan.chance.index(count - 1),
            Verdict::Stall(time) => self.shared.workers.advance(time),
            _ => {}
        }
        let file = state.disk.file(self.node);
        let end = at.saturating_add(count as u64);
        if file.broken.iter().any(|part| part.start < end && at < part.end) {
            return Err(Errno::Io.error());
        }
        Ok(file.visible.read(&mut buffer[..count], at))
    }

    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<usize> {
        let mut state = self.shared.state.lock();
        let mut count = bytes.len();
        let verdict = state.plan.judge(Call::Write);
        let crashed = matches!(verdict, Verdict::Crash);
        match verdict {
            Verdict::Refuse(error) => return Err(error),
            Verdict::Zero => return Ok(0),
            Verdict::Short if count > 1 => count = 1 + state.plan.chance.index(count - 1),
            Verdict::Crash => count = state.plan.chance.index(count + 1),
            Verdict::Stall(time) => self.shared.workers.advance(time),
            _ => {}
        }
        self.check_writable()?;
        let fitting = fitting(&state, self.node, at, count);
        if fitting > 0 {
            state.disk.file_mut(self.node).write(&bytes[..fitting], at);
        }
        if crashed {
            return Err(dead());
        }
        if fitting == 0 && count > 0 {
            return Err(Errno::NoSpace.error());
        }
        Ok(fitting)
    }

    fn truncate(&self, bytes: u64) -> io::Result<()> {
        self.shared.call(Call::Truncate, |state| {
            self.check_writable()?;
            let len = state.disk.file(self.node).visible.len();
            if state.disk.room().is_some_and(|room| bytes.saturating_sub(len) > room) {
                return Err(Errno::NoSpace.error());
            }
            if bytes != len {
                state.disk.file_mut(self.node).set_len(bytes);
            }
            Ok(())
        })
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.shared.state.lock();
        let state = &mut *state;
        let result = match state.plan.judge(Call::Sync) {
            Verdict::Refuse(error) => return Err(error),
            Verdict::DropPages => {
                let reached = crash::pieces(state.disk.file(self.node), &mut state.plan.chance);
                state.disk.file_mut(self.node).drop_pages(reached);
                return Err(Errno::Io.error());
            }
            Verdict::Crash if state.plan.chance.coin() => return Err(dead()),
            Verdict::Crash => Err(dead()),
            Verdict::Stall(time) => {
                self.shared.workers.advance(time);
                Ok(())
            }
            _ => Ok(()),
        };
        if !state.disk.file(self.node).pending.is_empty() {
            state.disk.file_mut(self.node).sync();
        }
        result
    }

    fn map(&self) -> io::Result<Option<Arc<dyn Map>>> {
        let bytes = self.shared.call(Call::Map, |state| {
            let file = state.disk.file(self.node);
            if !state.mapping || !file.broken.is_empty() {
                return Ok(None);
            }
            let bytes = file.visible.whole();
            state.disk.opened(self.node);
            Ok(Some(bytes))
        })?;
        Ok(bytes.map(|bytes| {
            let file = Self { shared: self.shared.clone(), node: self.node, writable: false };
            Arc::new(SimMap { bytes, _file: file }) as Arc<dyn Map>
        }))
    }

    fn advise_random(&self, _random: bool) {}
}

impl Drop for SimFile {
    fn drop(&mut self) {
        self.shared.state.lock().disk.closed(self.node);
    }
}

/// A file's bytes at one moment. It keeps a nameless file alive as an open one does.
#[derive(Debug)]
struct SimMap {
    bytes: Arc<Vec<u8>>,
    _file: SimFile,
}

impl Map for SimMap {
    fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// A file of a world, open for appending.
#[derive(Debug)]
pub(super) struct SimAppend {
    pub(super) file: SimFile,
    pub(super) claims: Claims,
    pub(super) access: Access,
    /// Where the map ends, if it is mapped.
    pub(super) mapped: u64,
}

impl Append for SimAppend {
    fn claim(self: Arc<Self>, at: u64, len: u64) -> Span {
        self.claims.claim(at, len);
        Span::new(self, at, len)
    }

    fn fill(&self, bytes: &[u8], at: u64, _place: Claimed) -> io::Result<()> {
        let is_copied = self.access == Access::Mapped && bytes.len() < WRITE_FROM;
        let inside = if is_copied { self.mapped.saturating_sub(at) } else { 0 };
        let inside = usize::try_from(inside).unwrap_or(usize::MAX);
        let (head, tail) = bytes.split_at(inside.min(bytes.len()));
        if !head.is_empty() {
            self.file.copy(head, at)?;
        }
        write_all_at(&self.file, tail, at + head.len() as u64)
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync()
    }

    fn finish(&self, bytes: u64) -> io::Result<()> {
        self.claims.close(bytes);
        self.file.truncate(bytes)
    }

    fn access(&self) -> Access {
        self.access
    }
}

/// How a lock is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    Alone,
    Shared,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) node: NodeId,
    pub(super) how: How,
}

impl State {
    /// Errors: `WouldBlock` with what the file says about its holder.
    pub(super) fn take_lock(&mut self, node: NodeId, how: How) -> io::Result<()> {
        let mut others = self.locks.iter().filter(|held| held.node == node);
        if others.any(|held| held.how == How::Alone || how == How::Alone) {
            let note = self.disk.file(node).visible.whole();
            let note = String::from_utf8_lossy(&note).into_owned();
            return Err(io::Error::new(io::ErrorKind::WouldBlock, note));
        }
        self.disk.opened(node);
        self.locks.push(Held { node, how });
        Ok(())
    }
}

#[derive(Debug)]
pub(super) struct SimLock {
    pub(super) shared: Arc<Shared>,
    pub(super) held: Held,
}

impl Lock for SimLock {}

impl Drop for SimLock {
    fn drop(&mut self) {
        let mut state = self.shared.state.lock();
        if let Some(place) = state.locks.iter().position(|&held| held == self.held) {
            state.locks.swap_remove(place);
        }
        state.disk.closed(self.held.node);
    }
}
