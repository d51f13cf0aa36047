//! When compactions come for what has expired.
//!
//! ```text
//!   a file of the last level     half of its entries have expired ─▶ it is rewritten: as much goes as stays
//!   a file of any level          all have, nothing older beneath  ─▶ it goes unread, by an edit alone
//!   with nothing else to do      a worker sleeps until the first moment at which one of these is true
//! ```
//!
//! 1. Snapshots hold back nothing that has expired, but where older versions of its keys are kept for
//!    them, which it hides.
//! 2. What is left by a rewrite expires later than that, but for what it had to keep for a snapshot. That
//!    counts no more, until the snapshot has gone: so nobody comes back for nothing.

use crate::base::time::Time;
use crate::compaction::policy::{LAST, Waste};
use crate::db::core::Core;
use crate::segment::{Expiries, SegmentMeta};
use crate::tree::version::Version;
use std::time::Duration;

/// What expires in the same second is freed together, and
const WAIT_MIN: Duration = Duration::from_secs(1);
/// a clock that was set forward is noticed after this.
const WAIT_MAX: Duration = Duration::from_secs(3600);

/// What can be gained from a file of the run at `place`, because of what has expired in it by `now`.
pub(super) fn expired(version: &Version, place: usize, meta: &SegmentMeta, now: Time) -> Waste {
    let Expiries { count, first, half, last } = meta.expiries;
    if count == 0 || now < first {
        return Waste::None;
    }
    if count == meta.entries && last <= now && is_alone(version, place, meta) {
        return Waste::All;
    }
    match version.runs.get(place) {
        Some(run) if run.level == LAST && half <= now => Waste::Most,
        Some(run) if run.level == LAST => Waste::Few,
        _ => Waste::None,
    }
}

/// Whether no older run has anything among the keys of a file of the run at `place`.
fn is_alone(version: &Version, place: usize, meta: &SegmentMeta) -> bool {
    let mut older = version.runs.iter().skip(place + 1);
    older.all(|run| run.between(&meta.smallest, &meta.largest).is_empty())
}

impl Core {
    /// How long there is nothing to do because something expires, if something will.
    pub(super) fn until_due(&self) -> Option<Duration> {
        let (view, now) = (self.views.load_full(), self.now());
        let moments = view.version.runs.iter().flat_map(|run| {
            let is_last = run.level == LAST;
            run.segments.iter().flat_map(move |segment| {
                let Expiries { count, half, last, .. } = segment.meta().expiries;
                let half = (count > 0 && is_last).then_some(half);
                let last = (count > 0 && count == segment.meta().entries).then_some(last);
                half.into_iter().chain(last)
            })
        });
        let next = moments.filter(|moment| *moment > now && *moment != Time::NEVER).min()?;
        let wait = Duration::from_millis(next.0 - now.0);
        Some(wait.clamp(WAIT_MIN, WAIT_MAX))
    }
}
