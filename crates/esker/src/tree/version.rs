//! The live runs, with a handle on each of their segments.
//!
//! A version is made from the manifest's state; segments that the version before had are shared
//! with it, so that a reader stays open across versions.

use super::spans::LiveSpans;
use crate::base::error::Result;
use crate::base::id::FileId;
use crate::blob::{BlobShelf, LiveBlobs};
use crate::manifest::State;
use crate::merge::run::Segments;
use crate::segment::SegmentMeta;
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

impl LiveRun {
    /// Its segments that may hold a key from `smallest` to `largest`, both included.
    pub fn between(&self, smallest: &[u8], largest: &[u8]) -> &[Arc<Segment>] {
        let from = self.segments.partition_point(|segment| *segment.meta().largest < *smallest);
        let rest = self.segments.get(from..).unwrap_or_default();
        let len = rest.partition_point(|segment| *segment.meta().smallest <= *largest);
        rest.get(..len).unwrap_or_default()
    }
}

/// All live runs, newest first.
#[derive(Clone, Debug, Default)]
pub struct Version {
    /// Newest first.
    pub runs: Vec<LiveRun>,
    /// The range deletes of all of them.
    pub spans: Arc<LiveSpans>,
    /// The files of large values.
    pub blobs: LiveBlobs,
}

/// Where the files of one database lie.
#[derive(Clone, Debug)]
pub struct Shelves {
    /// Segments.
    pub segments: Arc<Shelf>,
    /// Large values.
    pub blobs: Arc<BlobShelf>,
}

/// Handles on segments that a manifest is about to name, with their range deletes read: an error
/// comes before the edit is recorded, while it can still be given up.
pub fn fresh(metas: &[SegmentMeta], shelf: &Arc<Shelf>) -> Result<Vec<Arc<Segment>>> {
    let segments = metas.iter().map(|meta| Arc::new(Segment::new(shelf.clone(), meta.clone())));
    segments.map(|segment| segment.spans().map(|_| segment)).collect()
}

impl Version {
    /// The version that `state` describes, sharing the segments of `before`, then those of `fresh`.
    ///
    /// Errors: those of reading range deletes of segments that are in neither.
    pub fn of(
        state: &State,
        before: &Self,
        fresh: &[Arc<Segment>],
        shelves: &Shelves,
    ) -> Result<Self> {
        let known: HashMap<FileId, &Arc<Segment>> =
            fresh.iter().chain(before.segments()).map(|s| (s.meta().id, s)).collect();
        let runs = state.runs.iter().map(|run| LiveRun {
            level: run.level,
            number: run.number,
            segments: run
                .segments
                .iter()
                .map(|meta| match known.get(&meta.id) {
                    Some(segment) => Arc::clone(segment),
                    None => Arc::new(Segment::new(shelves.segments.clone(), meta.clone())),
                })
                .collect(),
        });
        let metas = state.blobs.iter().map(|blob| &blob.meta);
        let blobs = LiveBlobs::new(&shelves.blobs, metas, &before.blobs, &[])?;
        let mut version = Self { runs: runs.collect(), spans: before.spans.clone(), blobs };
        version.find_spans()?;
        Ok(version)
    }

    /// Gathers the range deletes, unless they are those of the version before.
    fn find_spans(&mut self) -> Result<()> {
        let with_spans = self.segments().filter(|segment| segment.meta().range_deletes > 0);
        let sources: Vec<FileId> = with_spans.clone().map(|segment| segment.meta().id).collect();
        if sources != self.spans.sources() {
            let mut all = Vec::new();
            for segment in with_spans {
                all.extend(segment.spans()?.iter().cloned());
            }
            self.spans = Arc::new(LiveSpans::new(sources, all));
        }
        Ok(())
    }

    /// Every segment, run by run.
    pub fn segments(&self) -> impl Iterator<Item = &Arc<Segment>> + Clone {
        self.runs.iter().flat_map(|run| run.segments.iter())
    }

    /// Dooms the files that `after` no longer has: call it once the manifest of `after` is
    /// durable.
    pub fn doom_missing(&self, after: &Self) {
        let kept: std::collections::HashSet<FileId> =
            after.segments().map(|segment| segment.meta().id).collect();
        for segment in self.segments().filter(|segment| !kept.contains(&segment.meta().id)) {
            segment.doom();
        }
        self.blobs.doom_missing(&after.blobs);
    }
}
