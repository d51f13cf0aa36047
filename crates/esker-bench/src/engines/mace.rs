//! mace-kv: one bucket, one transaction an operation.
//!
//! Buffered: `sync_on_write = false`; a commit writes its log to the system. Durable: `true`;
//! commits that wait together share a sync, for which the first waits 125 µs (`sync_merge_window_us`).
//! Two writers of one key conflict, and the loser begins again, within the time of its operation.
//! Beside the defaults (a pool of 1 GiB for changed pages, values of 1 KiB and more apart from their
//! keys, no compression): the cache of the job, for pages of the tree and once more for the rest.

use crate::data::Key;
use crate::engine::{Durability, Engine, Order, Settings};
use anyhow::Result;
use mace::{Bucket, BucketOptions, Mace, OpCode, Options, TxnKV};
use std::path::Path;

/// One open mace database.
pub(crate) struct MaceKv {
    // Dropped first: it is of the database.
    pairs: Bucket,
    _db: Mace,
}

impl MaceKv {
    fn commit(&self, fill: impl Fn(&TxnKV<'_>) -> Result<(), OpCode>) -> Result<()> {
        loop {
            let txn = self.pairs.begin()?;
            let filled = fill(&txn);
            match filled.and_then(|()| txn.commit()) {
                Err(OpCode::AbortTx) => {}
                ended => return Ok(ended?),
            }
        }
    }
}

impl Engine for MaceKv {
    fn open(dir: &Path, settings: &Settings) -> Result<Self> {
        let cache_bytes = usize::try_from(settings.cache_bytes)?;
        let mut options = Options::new(dir);
        options.sync_on_write = settings.durability == Durability::Durable;
        options.lru_capacity = cache_bytes;
        let db = Mace::new(options.validate()?)?;
        let pairs = match db.open_bucket("default") {
            Err(OpCode::NotFound) => {
                let options = BucketOptions { cache_capacity: cache_bytes, ..BucketOptions::new() };
                db.new_bucket("default", options)?
            }
            opened => opened?,
        };
        Ok(Self { pairs, _db: db })
    }

    fn put(&self, key: &[u8], value: &[u8]) -> Result<()> {
        self.commit(|txn| txn.upsert(key, value))
    }

    fn put_batch(&self, pairs: &[(Key, Vec<u8>)]) -> Result<()> {
        self.commit(|txn| pairs.iter().try_for_each(|(key, value)| txn.upsert(key, value)))
    }

    fn remove(&self, key: &[u8]) -> Result<()> {
        self.commit(|txn| txn.del(key))
    }

    fn find(&self, key: &[u8], mut look: impl FnMut(&[u8])) -> Result<bool> {
        match self.pairs.view()?.get(key) {
            Err(OpCode::NotFound) => Ok(false),
            value => {
                look(value?.slice());
                Ok(true)
            }
        }
    }

    fn scan(
        &self,
        from: Option<&[u8]>,
        order: Order,
        limit: usize,
        mut look: impl FnMut(&[u8], &[u8]),
    ) -> Result<usize> {
        let view = self.pairs.view()?;
        let mut range = match (order, from) {
            (_, None) => view.range::<&[u8], _>(..),
            (Order::Forward, Some(from)) => view.range(from..),
            (Order::Reverse, Some(from)) => view.range(..=from),
        };
        let mut seen = 0;
        while seen < limit {
            let pair = match order {
                Order::Forward => range.try_next()?,
                Order::Reverse => range.try_next_back()?,
            };
            let Some(pair) = pair else { break };
            look(pair.key(), pair.val());
            seen += 1;
        }
        Ok(seen)
    }

    fn settle(&self) -> Result<()> {
        self.pairs.checkpoint_and_wait();
        Ok(())
    }

    fn close(self) -> Result<()> {
        // Nothing can fail from here on: it closes when its handles are dropped.
        drop(self);
        Ok(())
    }
}
