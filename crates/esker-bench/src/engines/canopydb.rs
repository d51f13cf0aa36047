//! Canopydb: one database of one tree, one exclusive write transaction an operation.
//!
//! Buffered: `commit_with(false)`; a commit writes its log to the system, and changed pages stay in
//! memory until a checkpoint. Durable: `commit_with(true)`, which syncs the log for all commits that
//! wait. Concurrent write transactions exist, but conflict; one writer at a time is its own advice
//! for short ones.
//! Beside the defaults (checkpoints of 64 MB, writers wait at 256 MB of changed pages): the cache of
//! the job, which is for pages read from the file alone.

use crate::data::Key;
use crate::engine::{Durability, Engine, Order, Settings};
use anyhow::{Context, Result};
use canopydb::{Database, DbOptions, EnvOptions, Tree};
use std::ops::Bound;
use std::path::Path;

const PAIRS: &[u8] = b"default";

/// One open Canopydb database.
pub(crate) struct Canopy {
    db: Database,
    durability: Durability,
}

impl Canopy {
    fn commit(&self, fill: impl FnOnce(&mut Tree<'_>) -> Result<()>) -> Result<()> {
        let txn = self.db.begin_write()?;
        let mut pairs = txn.get_or_create_tree(PAIRS)?;
        fill(&mut pairs)?;
        drop(pairs);
        txn.commit_with(self.durability == Durability::Durable)?;
        Ok(())
    }
}

impl Engine for Canopy {
    const REMOVES_RANGES: bool = true;

    fn open(dir: &Path, settings: &Settings) -> Result<Self> {
        let mut options = EnvOptions::new(dir);
        options.page_cache_size = usize::try_from(settings.cache_bytes)?;
        let db = Database::with_options(options, DbOptions::default())?;
        let new = Self { db, durability: settings.durability };
        new.commit(|_| Ok(()))?;
        Ok(new)
    }

    fn put(&self, key: &[u8], value: &[u8]) -> Result<()> {
        self.commit(|pairs| Ok(pairs.insert(key, value)?))
    }

    fn put_batch(&self, batch: &[(Key, Vec<u8>)]) -> Result<()> {
        self.commit(|pairs| Ok(batch.iter().try_for_each(|(key, value)| pairs.insert(key, value))?))
    }

    fn remove(&self, key: &[u8]) -> Result<()> {
        self.commit(|pairs| {
            pairs.delete(key)?;
            Ok(())
        })
    }

    fn remove_range(&self, from: &[u8], to: &[u8]) -> Result<()> {
        self.commit(|pairs| Ok(pairs.delete_range(from..to)?))
    }

    fn find(&self, key: &[u8], mut look: impl FnMut(&[u8])) -> Result<bool> {
        let txn = self.db.begin_read()?;
        let value = txn.get_tree(PAIRS)?.context("no tree")?.get(key)?;
        if let Some(value) = &value {
            look(value);
        }
        Ok(value.is_some())
    }

    fn scan(
        &self,
        from: Option<&[u8]>,
        order: Order,
        limit: usize,
        mut look: impl FnMut(&[u8], &[u8]),
    ) -> Result<usize> {
        let txn = self.db.begin_read()?;
        let pairs = txn.get_tree(PAIRS)?.context("no tree")?;
        let bound = from.map_or(Bound::Unbounded, Bound::Included);
        let mut range = match order {
            Order::Forward => pairs.range::<&[u8]>((bound, Bound::Unbounded))?,
            Order::Reverse => pairs.range::<&[u8]>((Bound::Unbounded, bound))?,
        };
        let mut seen = 0;
        while seen < limit {
            let pair = match order {
                Order::Forward => range.next(),
                Order::Reverse => range.next_back(),
            };
            let Some(pair) = pair else { break };
            let (key, value) = pair?;
            look(&key, &value);
            seen += 1;
        }
        Ok(seen)
    }

    fn settle(&self) -> Result<()> {
        Ok(self.db.checkpoint()?)
    }

    fn close(self) -> Result<()> {
        // Dropping it would leave the log to be replayed by the next open.
        self.settle()
    }
}
