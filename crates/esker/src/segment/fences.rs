//! Fences: keys that divide a segment into stretches of about known size, from its index alone.
//!
//! ```text
//!   top index   │ separator │ separator │ …       many partitions: one fence each
//!   partitions  │ s │ s │ s │ s │ s │ s │ …       few: one for each data block
//! ```
//!
//! 1. Fences ascend, and the last is the largest key. One is at or above every key of its stretch,
//!    and at or below every key of the next.
//! 2. The bytes of all stretches add up to the file, about: filter and index are spread over them.

#![deny(clippy::indexing_slicing, clippy::as_conversions, clippy::unwrap_used)]

use super::format::Damage;
use super::reader::{SegmentReader, Trust};
use crate::base::error::Result;

/// The end of a stretch, and how many bytes lie between it and the fence before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fence {
    /// A full key.
    pub key: Box<[u8]>,
    /// Bytes of the file, about.
    pub bytes: u64,
}

/// With fewer partitions the blocks themselves are looked at.
const PARTITIONS_MIN: usize = 4;

impl SegmentReader {
    /// The fences of this segment. Keeps nothing in the cache.
    ///
    /// Cost: reads the top index, and the partitions if they are few. Errors: `Corruption`, `Io`.
    pub fn fences(&self) -> Result<Vec<Fence>> {
        let top_at = self.layout.top_at();
        let payload = self.top(Trust::Nothing)?;
        let top = self.index(&payload, top_at)?;
        let mut fences = Vec::new();
        for slot in 0..top.count() {
            let child = top.child(slot).map_err(|damage| damage.of(self.id(), top_at))?;
            if top.count() >= PARTITIONS_MIN {
                let key = top.separator(slot).map_err(|damage| damage.of(self.id(), top_at))?;
                fences.push(Fence { key: key.into(), bytes: child.len });
                continue;
            }
            let payload = self.partition(child, Trust::Nothing)?;
            let partition = self.index(&payload, child.at)?;
            for slot in 0..partition.count() {
                let damaged = |damage: Damage| damage.of(self.id(), child.at);
                let key = partition.separator(slot).map_err(damaged)?;
                let bytes = partition.child(slot).map_err(damaged)?.len;
                fences.push(Fence { key: key.into(), bytes });
            }
        }
        let sum: u128 = fences.iter().map(|fence| u128::from(fence.bytes)).sum();
        for fence in &mut fences {
            let bytes = u128::from(fence.bytes) * u128::from(self.meta().bytes) / sum.max(1);
            fence.bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        }
        Ok(fences)
    }
}
