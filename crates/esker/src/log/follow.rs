//! Reads a log while it may still grow, up to where it is known to be durable.
//!
//! ```text
//!   │ block │ block │ block ·│· · ·            a window of whole blocks, from the one in which the
//!           └ window ────┘                     position lies; larger only while a frame is
//!             ▲ position      ▲ end
//! ```
//!
//! 1. The caller knows that all below `end` is frames, none of them cut. So whatever is not is damage,
//!    told with file and offset: nothing is skipped, nothing taken for a torn tail.
//! 2. Nothing at or behind `end` is looked at: it may be written just now, or cut off.
//! 3. The file is read, not mapped: one that is cut to its length would take mapped pages away. Memory:
//!    2 MiB, or twice the frame that is read.
//! 4. Numbers rise from frame to frame; marks are of this log and of their places.

#![deny(clippy::indexing_slicing, clippy::as_conversions, clippy::unwrap_used)]

use super::locate::{Located, Rules, locate};
use super::marks::{Identity, Mark, Says};
use super::reader::{Frame, Summary, summarize};
use crate::base::coding::to_u64;
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::id::{FileId, SeqNo};
use crate::env::names::FileName;
use crate::env::{File, read_exact_at};
use std::io;
use std::sync::Arc;

/// Bytes of a block of a log: windows begin at their borders, because where a frame may lie depends on
/// them.
const BLOCK: u64 = 1 << 20;
/// How much is read at once.
const WINDOW: u64 = 2 * BLOCK;

/// See the module.
#[derive(Debug)]
pub struct Follower {
    name: FileName,
    file: Arc<dyn File>,
    identity: Identity,
    position: u64,
    last: SeqNo,
    window: Vec<u8>,
    /// Where the window begins in the file.
    base: u64,
    joined: Vec<u8>,
}

impl Follower {
    /// A reader of log `log` from its beginning; `file` lies under `name`.
    pub fn new(name: FileName, log: FileId, file: Arc<dyn File>) -> Self {
        let identity = Identity { log, nonce: 0 };
        let (window, joined) = Default::default();
        Self { name, file, identity, position: 0, last: SeqNo::ZERO, window, base: 0, joined }
    }

    /// Where the last frame ended.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// The last number that was read.
    pub fn last(&self) -> SeqNo {
        self.last
    }

    /// The name of the file that it reads.
    pub fn name(&self) -> FileName {
        self.name
    }

    /// The next frame; none if the last one ended at `end`.
    ///
    /// Cost: a checksum and a decoding of the payload, a copy if it is split; a read of 2 MiB now and
    /// then. Errors: `Corruption` for anything but whole frames below `end`; `Io`.
    pub fn next(&mut self, end: u64) -> Result<Option<Frame<'_>>> {
        if self.position >= end {
            return Ok(None);
        }
        let (located, summary) = self.find(end)?;
        let at = self.base + to_u64(located.at);
        self.admit(at, &summary)?;
        self.position = self.base + to_u64(located.end);
        self.last = summary.last;
        let (payload, payload_at) = match located.second {
            None => {
                let payload = self.window.get(located.payload.clone()).unwrap_or_default();
                (payload, Some(self.base + to_u64(located.payload.start)))
            }
            Some(_) => (&*self.joined, None),
        };
        let Summary { first, last, .. } = summary;
        Ok(Some(Frame { at, end: self.position, payload, payload_at, first, last }))
    }

    /// The frame at the position, in the window. Reads on where the window ends within the frame.
    fn find(&mut self, end: u64) -> Result<(Located, Summary)> {
        let mut want = WINDOW;
        loop {
            let window_end = self.base + to_u64(self.window.len());
            let is_all = window_end >= end;
            let inside =
                self.position.checked_sub(self.base).filter(|_| self.position < window_end);
            let from = inside.and_then(|at| usize::try_from(at).ok());
            // What lies at or behind `end` is not looked at.
            let len = usize::try_from(end.saturating_sub(self.base)).unwrap_or(usize::MAX);
            let bytes = self.window.get(..len.min(self.window.len())).unwrap_or_default();
            let found = from.map(|from| locate(bytes, from, Rules::Esker));
            match found {
                Some(Ok(Some(located))) => {
                    let summary = self.summary(&located)?;
                    return Ok((located, summary));
                }
                Some(Ok(None)) if is_all => {
                    let want = format!("frames up to byte {end}");
                    return Err(self.damage(self.position, want, "the end of the log"));
                }
                Some(Err(fault)) if is_all => {
                    let at = self.base + to_u64(fault.at);
                    return Err(self.damage(at, fault.want, fault.found));
                }
                _ => {}
            }
            self.fill(end, want)?;
            want = want.saturating_mul(2);
        }
    }

    /// Moves the window to the block of the position, and reads on: `want` bytes in all, or up to `end`.
    fn fill(&mut self, end: u64, want: u64) -> Result<()> {
        let base = self.position - self.position % BLOCK;
        let behind = usize::try_from(base - self.base).unwrap_or(usize::MAX);
        self.window.drain(..behind.min(self.window.len()));
        self.base = base;
        let (had, len) = (self.window.len(), usize::try_from(want.min(end - base)));
        let len = len.unwrap_or(usize::MAX).max(had);
        self.window.shrink_to(len);
        self.window.resize(len, 0);
        let rest = self.window.get_mut(had..).unwrap_or_default();
        let read = read_exact_at(&*self.file, rest, base + to_u64(had));
        if let Err(error) = read {
            self.window.truncate(had);
            let want = format!("frames up to byte {end}");
            return Err(match error.kind() {
                io::ErrorKind::UnexpectedEof => {
                    self.damage(self.position, want, "the end of the file")
                }
                _ => Error::io(format!("read {} at byte {base}", self.name), error),
            });
        }
        Ok(())
    }

    /// Decodes all entries of a frame, joining its parts.
    fn summary(&mut self, located: &Located) -> Result<Summary> {
        let part =
            |part: &std::ops::Range<usize>| self.window.get(part.clone()).unwrap_or_default();
        let payload = match &located.second {
            None => part(&located.payload),
            Some(second) => {
                self.joined.clear();
                self.joined.extend_from_slice(part(&located.payload));
                self.joined.extend_from_slice(part(second));
                &self.joined
            }
        };
        summarize(payload, self.last, Rules::Esker).map_err(|bad| {
            let found = format!("{} at byte {} of its payload", bad.found, bad.offset);
            self.damage(self.base + to_u64(located.at), bad.want, found)
        })
    }

    /// Errors: `Corruption` if the frame does not continue this log.
    fn admit(&mut self, at: u64, summary: &Summary) -> Result<()> {
        if !summary.rising {
            let want = format!("numbers that rise from {}", self.last);
            return Err(self.damage(at, want, format!("number {}", summary.first)));
        }
        let begins = self.position == 0;
        let fits = match &summary.mark {
            None => !begins,
            Some(Mark { identity, at: own, says }) => {
                if begins {
                    self.identity.nonce = identity.nonce;
                }
                let is_in_place = matches!(says, Says::Origin(_)) == begins;
                is_in_place && *identity == self.identity && *own == at
            }
        };
        if fits {
            return Ok(());
        }
        let want = format!("an origin in the first frame, marks of log {}", self.identity.log);
        Err(self.damage(at, want, "another mark, or none"))
    }

    fn damage(
        &self,
        at: u64,
        want: impl std::fmt::Display,
        found: impl std::fmt::Display,
    ) -> Error {
        Error::corruption(self.name, at, want, found)
    }

    /// Errors: `Corruption` unless the log ended with number `last`.
    pub fn check_last(&self, last: SeqNo) -> Result<()> {
        if self.last == last {
            return Ok(());
        }
        let want = format!("number {last} as the last");
        Err(self.damage(self.position, want, self.last))
    }

    /// The error of a log that cannot be opened although it is named: damage if it is not there.
    pub fn cannot_open(name: FileName, error: io::Error) -> Error {
        match error.kind() {
            io::ErrorKind::NotFound => {
                let message = format!("{name} is missing: the manifest names it");
                Error::new(ErrorKind::Corruption, message)
            }
            _ => Error::io(format!("open {name}"), error),
        }
    }
}

#[cfg(test)]
#[expect(clippy::as_conversions, reason = "tests know their numbers")]
mod tests {
    use super::super::writer::tests::{ID, Log};
    use super::*;
    use crate::env::names::FileKind;
    use crate::env::sim::Sim;
    use crate::env::{Env, write_all_at};
    use std::path::Path;

    fn follower(bytes: &[u8]) -> Follower {
        let world = Sim::new(1);
        let file = world.create(Path::new("/log")).unwrap();
        write_all_at(&*file, bytes, 0).unwrap();
        Follower::new(FileKind::Log.name(ID), ID, file)
    }

    /// All frames up to `end`: where each ends, and its numbers.
    fn all(follower: &mut Follower, end: u64) -> Result<Vec<(u64, u64, u64)>> {
        let mut found = Vec::new();
        while let Some(frame) = follower.next(end)? {
            found.push((frame.end, frame.first.0, frame.last.0));
        }
        Ok(found)
    }

    /// Small frames, one that is split at a border, one that is larger than a window, small ones.
    fn log() -> (Vec<u8>, Vec<u64>) {
        let mut log = Log::new(None);
        let mut ends = vec![log.put(b"k", b"v")];
        for len in [700 << 10, 900 << 10, 5 << 20, 10, 600 << 10] {
            ends.push(log.put(b"large", &vec![7; len]));
        }
        (log.bytes(), ends)
    }

    #[test]
    fn every_frame_is_given_once_however_far_the_end_has_moved() {
        let (bytes, ends) = log();
        let mut whole = follower(&bytes);
        let found = all(&mut whole, *ends.last().unwrap()).unwrap();
        assert_eq!(found.iter().map(|(end, ..)| *end).collect::<Vec<_>>(), ends);
        assert!(found.is_sorted_by(|a, b| a.2 < b.1));
        let mut slow = follower(&bytes);
        for (index, end) in ends.iter().enumerate() {
            assert_eq!(all(&mut slow, *end).unwrap(), found[index..=index]);
            assert_eq!(all(&mut slow, *end).unwrap(), []);
        }
    }

    /// Nothing behind the end is looked at, whatever lies there.
    #[test]
    fn what_lies_behind_the_end_does_not_matter() {
        let (bytes, ends) = log();
        for (count, end) in ends.iter().enumerate() {
            let mut odd = bytes[..*end as usize].to_vec();
            assert_eq!(all(&mut follower(&odd), *end).unwrap().len(), count + 1, "cut there");
            odd.resize(odd.len() + 40, 0xa5);
            assert_eq!(all(&mut follower(&odd), *end).unwrap().len(), count + 1, "foreign bytes");
        }
    }

    /// F-33: whatever is wrong below the end is an error that names the place, after all before it.
    #[test]
    fn every_cut_and_every_flip_below_the_end_is_damage() {
        let mut log = Log::new(None);
        for n in 0..4_u8 {
            log.put(&[n], b"value");
            log.sync();
        }
        let bytes = log.bytes();
        let end = all(&mut follower(&bytes), log.tail.position()).unwrap().last().unwrap().0;
        for at in 0..end as usize {
            let cut = all(&mut follower(&bytes[..at]), end).unwrap_err();
            assert_eq!(cut.kind(), ErrorKind::Corruption, "cut at {at}: {cut}");
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << (at % 8);
            let error = all(&mut follower(&flipped), end).unwrap_err();
            assert!(error.message().contains("log-"), "flip at {at}: {error}");
        }
        let mut other =
            Follower { identity: Identity { log: FileId(99), nonce: 0 }, ..follower(&bytes) };
        assert_eq!(all(&mut other, end).unwrap_err().kind(), ErrorKind::Corruption);
    }
}
