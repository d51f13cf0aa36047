//! Which blob file answers for an address, at one moment.
//!
//! 1. Intervals of live files are disjoint: two that are not are damage of the manifest.
//! 2. A file that was live before is the same [`Blob`]: what keeps its old version keeps it, and it
//!    is doomed once.

use super::{Blob, BlobMeta, BlobShelf};
use crate::base::blob::{Address, BlobRef};
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::id::FileId;
use crate::base::value::Value;
use std::collections::HashMap;
use std::sync::Arc;

/// The live blob files of a version. Changed by making another.
#[derive(Clone, Debug, Default)]
pub struct LiveBlobs {
    /// By number.
    blobs: Box<[Arc<Blob>]>,
    /// First address, last address, which of `blobs`; by address.
    intervals: Box<[(Address, Address, u32)]>,
}

impl LiveBlobs {
    /// The files that `metas` describe: those of `before` and `fresh` that have the number of one,
    /// and new ones on `shelf` for the rest. No I/O.
    ///
    /// Cost: linear, and one sort. Errors: `Corruption` if two answer for the same address.
    pub fn new<'a>(
        shelf: &Arc<BlobShelf>,
        metas: impl IntoIterator<Item = &'a BlobMeta>,
        before: &Self,
        fresh: &[Arc<Blob>],
    ) -> Result<Self> {
        let known = before.blobs.iter().chain(fresh);
        let known: HashMap<FileId, &Arc<Blob>> = known.map(|blob| (blob.meta().id, blob)).collect();
        let find = |meta: &BlobMeta| match known.get(&meta.id) {
            Some(&blob) => blob.clone(),
            None => Arc::new(Blob::new(shelf.clone(), meta.clone())),
        };
        let mut blobs: Vec<_> = metas.into_iter().map(find).collect();
        blobs.sort_unstable_by_key(|blob| blob.meta().id);
        let mut intervals = Vec::new();
        for (index, blob) in (0..).zip(&blobs) {
            let own = blob.meta().intervals.iter();
            intervals.extend(own.map(|&(first, last)| (first, last, index)));
        }
        intervals.sort_unstable();
        let mut pairs = intervals.iter().zip(intervals.iter().skip(1));
        if let Some((a, b)) = pairs.find(|(a, b)| a.1 >= b.0) {
            let id = |interval: &(_, _, u32)| {
                blobs.get(interval.2 as usize).map_or(FileId(0), |blob| blob.meta().id)
            };
            let (a, b, address) = (id(a), id(b), b.0);
            let message = format!("blob-{a} and blob-{b} both answer for address {address}");
            return Err(Error::new(ErrorKind::Corruption, message));
        }
        Ok(Self { blobs: blobs.into(), intervals: intervals.into() })
    }

    /// The file that answers for `address`. Cost: log2 of the number of intervals.
    pub fn find(&self, address: Address) -> Option<&Arc<Blob>> {
        let after = self.intervals.partition_point(|&(first, ..)| first <= address);
        let &(_, last, index) = self.intervals.get(after.checked_sub(1)?)?;
        (address <= last).then(|| self.blobs.get(index as usize))?
    }

    /// The value of `blob`, from the file that answers for it.
    ///
    /// Errors: `Corruption` if none does; as of [`Blob::read`].
    pub fn read(&self, blob: &BlobRef) -> Result<Value> {
        match self.find(blob.address) {
            Some(file) => file.read(blob),
            None => {
                let message = format!("no live blob file has value {}", blob.address);
                Err(Error::new(ErrorKind::Corruption, message))
            }
        }
    }

    /// The file with this number, if it is live. Cost: log2 of their number.
    pub fn get(&self, id: FileId) -> Option<&Arc<Blob>> {
        let place = self.blobs.binary_search_by_key(&id, |blob| blob.meta().id).ok()?;
        self.blobs.get(place)
    }

    /// All of them, by number.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Blob>> {
        self.blobs.iter()
    }

    /// Dooms the files that are not among those of `after`, whose manifest is durable.
    pub fn doom_missing(&self, after: &Self) {
        for blob in self.iter().filter(|blob| after.get(blob.meta().id).is_none()) {
            blob.doom();
        }
    }
}
