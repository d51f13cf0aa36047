//! The time of day, wherever it comes from.
//!
//! ```text
//!   Env::unix_time ─┐
//!                   ├─▶ Clock ─▶ what expires
//!   the user's ─────┘
//! ```
//!
//! Nobody may rely on its going forward: it is what somebody has set. For intervals there is
//! [`Env::now`].

use super::Env;
use crate::base::time::Time;
use std::cell::OnceCell;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// Says what time it is. Cheap to clone.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Time + Send + Sync>);

impl Clock {
    /// That of an environment.
    pub fn of(env: Arc<dyn Env>) -> Self {
        Self(Arc::new(move || Time::since_epoch(env.unix_time())))
    }

    /// The caller's.
    pub fn from_fn(tell: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        Self(Arc::new(move || Time::since_epoch(since_epoch(tell()))))
    }

    /// One that stands still.
    pub fn fixed(time: Time) -> Self {
        Self(Arc::new(move || time))
    }

    /// What time it is. Cost: of the system's a few tens of nanoseconds, no system call.
    pub fn now(&self) -> Time {
        (self.0)()
    }

    /// The time of one read, which is asked for when it is needed.
    #[inline]
    pub fn glance(&self) -> Glance<'_> {
        Glance { clock: self, time: OnceCell::new() }
    }
}

/// The time of one read: the same at each look, and no look costs nothing.
#[derive(Debug)]
pub struct Glance<'a> {
    clock: &'a Clock,
    time: OnceCell<Time>,
}

impl Glance<'_> {
    /// What time it was at the first look.
    pub fn now(&self) -> Time {
        *self.time.get_or_init(|| self.clock.now())
    }
}

/// One that stands still at the epoch: nothing has expired.
impl Default for Clock {
    fn default() -> Self {
        Self::fixed(Time::default())
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Clock").field(&self.now()).finish()
    }
}

/// How long after the epoch; nothing for a time before it.
pub(super) fn since_epoch(time: SystemTime) -> Duration {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}
