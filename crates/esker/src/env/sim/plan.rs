//! What goes wrong, and when: faults by the number of a call, a crash, and bad weather.
//!
//! 1. Calls are numbered from 1 for the life of a world; `calls()` is the number of the last one.
//! 2. A planned fault hits one call and is then gone; a lasting one stays until `heal`.
//! 3. Reads, lists and looks change nothing, so a crash at one is no different from a crash at the
//!    next change: only [`Calls::CHANGES`] count for crashes.

use super::chance::Chance;
use std::io;
use std::ops::BitOr;
use std::time::Duration;

/// One class of file-system call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call {
    Create,
    Open,
    Read,
    Write,
    Fill,
    Truncate,
    Sync,
    SyncDir,
    Rename,
    Link,
    Remove,
    CreateDir,
    List,
    Look,
    Map,
    Lock,
}

const CALLS: usize = 16;

/// A set of classes of calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Calls(u32);

impl Calls {
    /// `create` and `create_append`.
    pub const CREATE: Self = Self::of(Call::Create);
    /// `open`.
    pub const OPEN: Self = Self::of(Call::Open);
    /// `read_at`.
    pub const READ: Self = Self::of(Call::Read);
    /// `write_at`, and what an append writes by position.
    pub const WRITE: Self = Self::of(Call::Write);
    /// A copy into a map. It cannot fail; it can crash.
    pub const FILL: Self = Self::of(Call::Fill);
    /// `truncate` and `finish`.
    pub const TRUNCATE: Self = Self::of(Call::Truncate);
    /// `sync` of a file.
    pub const SYNC: Self = Self::of(Call::Sync);
    /// `sync_dir`.
    pub const SYNC_DIR: Self = Self::of(Call::SyncDir);
    /// `rename`.
    pub const RENAME: Self = Self::of(Call::Rename);
    /// `link`.
    pub const LINK: Self = Self::of(Call::Link);
    /// `remove`.
    pub const REMOVE: Self = Self::of(Call::Remove);
    /// `create_dir`.
    pub const CREATE_DIR: Self = Self::of(Call::CreateDir);
    /// `list`.
    pub const LIST: Self = Self::of(Call::List);
    /// `exists` and `byte_count`.
    pub const LOOK: Self = Self::of(Call::Look);
    /// `map`.
    pub const MAP: Self = Self::of(Call::Map);
    /// `lock`.
    pub const LOCK: Self = Self::of(Call::Lock);
    /// Every call.
    pub const ALL: Self = Self((1 << CALLS) - 1);
    /// Every call that changes the disk.
    pub const CHANGES: Self = Self(
        Self::ALL.0 & !(Self::OPEN.0 | Self::READ.0 | Self::LIST.0 | Self::LOOK.0 | Self::MAP.0),
    );

    const fn of(call: Call) -> Self {
        Self(1 << call as u32)
    }

    const fn has(self, call: Call) -> bool {
        self.0 & Self::of(call).0 != 0
    }
}

impl BitOr for Calls {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// An error of the operating system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Errno {
    /// `EIO`: the device failed.
    Io,
    /// `ENOSPC`: no space left.
    NoSpace,
    /// `EMFILE`: the process has too many files open.
    TooManyFiles,
    /// `EROFS`: the file system is read-only.
    ReadOnly,
    /// `EACCES`: no permission.
    Access,
    /// `EDQUOT`: over quota.
    Quota,
    /// `EFBIG`: the file would be too large.
    FileTooBig,
    /// `ENOENT`: no such file.
    NotFound,
    /// `EINTR`: interrupted, to be tried again.
    Interrupted,
}

impl Errno {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Io,
        Self::NoSpace,
        Self::TooManyFiles,
        Self::ReadOnly,
        Self::Access,
        Self::Quota,
        Self::FileTooBig,
        Self::NotFound,
        Self::Interrupted,
    ];

    /// The error as the system gives it.
    #[cfg(unix)]
    pub fn error(self) -> io::Error {
        use rustix::io::Errno as System;
        let errno = match self {
            Self::Io => System::IO,
            Self::NoSpace => System::NOSPC,
            Self::TooManyFiles => System::MFILE,
            Self::ReadOnly => System::ROFS,
            Self::Access => System::ACCESS,
            Self::Quota => System::DQUOT,
            Self::FileTooBig => System::FBIG,
            Self::NotFound => System::NOENT,
            Self::Interrupted => System::INTR,
        };
        errno.into()
    }

    /// The error as the system gives it.
    #[cfg(not(unix))]
    pub fn error(self) -> io::Error {
        use io::ErrorKind;
        match self {
            Self::Io | Self::TooManyFiles => io::Error::other(format!("{self:?}")),
            Self::NoSpace => ErrorKind::StorageFull.into(),
            Self::ReadOnly => ErrorKind::ReadOnlyFilesystem.into(),
            Self::Access => ErrorKind::PermissionDenied.into(),
            Self::Quota => ErrorKind::QuotaExceeded.into(),
            Self::FileTooBig => ErrorKind::FileTooLarge.into(),
            Self::NotFound => ErrorKind::NotFound.into(),
            Self::Interrupted => ErrorKind::Interrupted.into(),
        }
    }
}

/// What a fault does to the call that it hits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Trouble {
    /// It fails and does nothing. A sync that is refused leaves its pages to be written later
    /// (F-18).
    Refuse(Errno),
    /// A sync fails with `EIO` and the kernel drops what it could not write: later syncs succeed
    /// without it, and reads still show it until `evict` or a crash (F-19). Other calls are refused.
    DropPages,
    /// A write takes only a part, and the write after it fails with `ENOSPC` (F-21). Other calls
    /// are refused.
    Full,
    /// A read or write transfers only a part (at least a byte). Other calls are not hit.
    Short,
    /// A write takes nothing and says so (F-24). Other calls are not hit.
    Zero,
    /// It takes so long by the simulated clock (F-30), and then succeeds.
    Stall(Duration),
}

/// A fault and the calls it may hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fault {
    /// What happens.
    pub trouble: Trouble,
    /// Which calls are counted, and one of them hit.
    pub on: Calls,
}

impl Fault {
    /// Calls `on` fail with `errno` and do nothing.
    pub const fn refuse(errno: Errno, on: Calls) -> Self {
        Self { trouble: Trouble::Refuse(errno), on }
    }
}

/// What happens by chance, in thousandths of the calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Weather {
    /// Reads that transfer only a part.
    pub short_reads: u16,
    /// Writes that transfer only a part.
    pub short_writes: u16,
    /// Reads and writes that fail with `EINTR`.
    pub interrupts: u16,
}

/// How a call goes.
#[derive(Debug)]
pub(super) enum Verdict {
    Go,
    Refuse(io::Error),
    /// Part of it happens; then nothing ever again.
    Crash,
    DropPages,
    Short,
    Zero,
    Stall(Duration),
}

#[derive(Clone, Debug)]
struct Planned {
    first: u64,
    last: u64,
    fault: Fault,
}

/// The troubles of one world.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    counts: [u64; CALLS],
    faults: Vec<Planned>,
    crash_at: Option<u64>,
    /// The next write fails with this.
    full: Option<Errno>,
    pub(super) dead: bool,
    pub(super) weather: Weather,
    pub(super) chance: Chance,
}

impl Plan {
    pub(super) fn new(chance: Chance) -> Self {
        Self {
            counts: [0; CALLS],
            faults: Vec::new(),
            crash_at: None,
            full: None,
            dead: false,
            weather: Weather::default(),
            chance,
        }
    }

    /// How many calls of these classes were made.
    pub(super) fn count(&self, calls: Calls) -> u64 {
        let counts = self.counts.iter().enumerate();
        counts.filter(|(index, _)| calls.0 >> index & 1 == 1).map(|(_, count)| count).sum()
    }

    pub(super) fn crash_at(&mut self, n: Option<u64>) {
        self.crash_at = n;
    }

    /// Adds a fault that hits its calls number `first` to `last`.
    pub(super) fn add(&mut self, first: u64, last: u64, fault: Fault) {
        self.faults.push(Planned { first, last, fault });
    }

    pub(super) fn heal(&mut self) {
        self.faults.clear();
        self.full = None;
        self.weather = Weather::default();
    }

    /// Counts a call and says how it goes.
    pub(super) fn judge(&mut self, call: Call) -> Verdict {
        if self.dead {
            return Verdict::Refuse(dead());
        }
        self.counts[call as usize] += 1;
        if let Some(at) = self.crash_at
            && Calls::CHANGES.has(call)
            && self.count(Calls::CHANGES) >= at
        {
            self.dead = true;
            return Verdict::Crash;
        }
        if call == Call::Fill {
            return Verdict::Go;
        }
        if call == Call::Write
            && let Some(errno) = self.full.take()
        {
            return Verdict::Refuse(errno.error());
        }
        match self.planned(call) {
            Some(trouble) => self.verdict(call, trouble),
            None => self.weather(call),
        }
    }

    fn planned(&mut self, call: Call) -> Option<Trouble> {
        let hit = self.faults.iter().position(|planned| {
            let number = self.count(planned.fault.on);
            planned.fault.on.has(call) && (planned.first..=planned.last).contains(&number)
        })?;
        let trouble = self.faults[hit].fault.trouble;
        if self.count(self.faults[hit].fault.on) == self.faults[hit].last {
            self.faults.swap_remove(hit);
        }
        Some(trouble)
    }

    fn verdict(&mut self, call: Call, trouble: Trouble) -> Verdict {
        let transfers = matches!(call, Call::Read | Call::Write);
        match trouble {
            Trouble::Refuse(errno) => Verdict::Refuse(errno.error()),
            Trouble::DropPages if call == Call::Sync => Verdict::DropPages,
            Trouble::DropPages => Verdict::Refuse(Errno::Io.error()),
            Trouble::Full if call == Call::Write => {
                self.full = Some(Errno::NoSpace);
                Verdict::Short
            }
            Trouble::Full => Verdict::Refuse(Errno::NoSpace.error()),
            Trouble::Short if transfers => Verdict::Short,
            Trouble::Zero if call == Call::Write => Verdict::Zero,
            Trouble::Short | Trouble::Zero => Verdict::Go,
            Trouble::Stall(time) => Verdict::Stall(time),
        }
    }

    fn weather(&mut self, call: Call) -> Verdict {
        let short = match call {
            Call::Read => self.weather.short_reads,
            Call::Write => self.weather.short_writes,
            _ => return Verdict::Go,
        };
        if self.chance.per_mille(self.weather.interrupts) {
            return Verdict::Refuse(Errno::Interrupted.error());
        }
        if self.chance.per_mille(short) { Verdict::Short } else { Verdict::Go }
    }
}

/// What every call says after the crash.
pub(super) fn dead() -> io::Error {
    io::Error::other("simulated crash")
}
