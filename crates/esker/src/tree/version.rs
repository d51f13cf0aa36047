//! The live runs, with a handle on each of their segments.
//!
//! A version is made from the manifest's state; segments that the version before had are shared
//! with it, so that a reader stays open across versions.

use crate::base::id::FileId;
use crate::manifest::State;
use crate::merge::run::Segments;
use crate::segment::handle::{Segment, Shelf};
use std::collections::HashMap;
use std::sync::Arc;

/// One sorted run.
#[derive(Clone, Debug)]
pub struct LiveRun {
    /// Its level.
    pub level: u32,
    /// Its number in the manifest.
    pub number: u64,
    /// Its segments.
    pub segments: Segments,
}

/// All live runs, newest first.
#[derive(Clone, Debug, Default)]
pub struct Version {
    /// Newest first.
    pub runs: Vec<LiveRun>,
}

impl Version {
    /// The version that `state` describes, sharing the segments of `before`.
    pub fn of(state: &State, before: &Self, shelf: &Arc<Shelf>) -> Self {
        let known: HashMap<FileId, &Arc<Segment>> =
            before.segments().map(|segment| (segment.meta().id, segment)).collect();
        let runs = state.runs.iter().map(|run| LiveRun {
            level: run.level,
            number: run.number,
            segments: run
                .segments
                .iter()
                .map(|meta| match known.get(&meta.id) {
                    Some(segment) => Arc::clone(segment),
                    None => Arc::new(Segment::new(shelf.clone(), meta.clone())),
                })
                .collect(),
        });
        Self { runs: runs.collect() }
    }

    /// Every segment, run by run.
    pub fn segments(&self) -> impl Iterator<Item = &Arc<Segment>> {
        self.runs.iter().flat_map(|run| run.segments.iter())
    }

    /// Dooms the segments that `after` no longer has: call it once the manifest of `after` is
    /// durable.
    pub fn doom_missing(&self, after: &Self) {
        let kept: std::collections::HashSet<FileId> =
            after.segments().map(|segment| segment.meta().id).collect();
        for segment in self.segments().filter(|segment| !kept.contains(&segment.meta().id)) {
            segment.doom();
        }
    }
}
