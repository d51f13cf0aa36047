//! redb: one table, one transaction an operation.
//!
//! Buffered: `Durability::None`, which promises **less** than the row does. A commit is seen by the
//! transactions after it; its pages stay in a write buffer of half the cache, and the header that
//! names them is written by the next durable commit, which `settle` and a clean close make. A killed
//! process falls back to the last of those. redb has nothing between this and a sync a commit.
//! Durable: `Durability::Immediate`, in one phase: pages and header are written and synced, a commit.
//! There is one writer at a time. Beside the defaults: the cache of the job, shared by pages that are
//! read and pages that are written.

use crate::data::Key;
use crate::engine::{Durability, Engine, Order, Settings};
use anyhow::Result;
use redb::{
    Builder, Database, Durability as Promise, ReadableDatabase, Table,
    TableDefinition,
};
use std::ops::Bound;
use std::path::Path;

type Bytes = &'static [u8];

const PAIRS: TableDefinition<'_, Bytes, Bytes> = TableDefinition::new("default");

/// One open redb database.
pub(crate) struct Redb {
    db: Database,
    promise: Durability,
}

impl Redb {
    fn commit(
        &self,
        promise: Durability,
        fill: impl FnOnce(&mut Table<'_, Bytes, Bytes>) -> Result<()>,
    ) -> Result<()> {
        let mut txn = self.db.begin_write()?;
        txn.set_durability(match promise {
            Durability::Buffered => Promise::None,
            Durability::Durable => Promise::Immediate,
        })?;
        fill(&mut txn.open_table(PAIRS)?)?;
        Ok(txn.commit()?)
    }
}

impl Engine for Redb {
    const REMOVES_RANGES: bool = true;

    fn open(dir: &Path, settings: &Settings) -> Result<Self> {
        let db = Builder::new()
            .set_cache_size(usize::try_from(settings.cache_bytes)?)
            .create(dir.join("pairs.redb"))?;
        let new = Self { db, promise: settings.durability };
        new.commit(Durability::Durable, |_| Ok(()))?;
        Ok(new)
    }

    fn put(&self, key: &[u8], value: &[u8]) -> Result<()> {
        self.commit(self.promise, |pairs| {
            pairs.insert(key, value)?;
            Ok(())
        })
    }

    fn put_batch(&self, batch: &[(Key, Vec<u8>)]) -> Result<()> {
        self.commit(self.promise, |pairs| {
            for (key, value) in batch {
                pairs.insert(key.as_slice(), value.as_slice())?;
            }
            Ok(())
        })
    }

    fn remove(&self, key: &[u8]) -> Result<()> {
        self.commit(self.promise, |pairs| {
            pairs.remove(key)?;
            Ok(())
        })
    }

    fn remove_range(&self, from: &[u8], to: &[u8]) -> Result<()> {
        self.commit(self.promise, |pairs| Ok(pairs.retain_in(from..to, |_, _| false)?))
    }

    fn find(&self, key: &[u8], mut look: impl FnMut(&[u8])) -> Result<bool> {
        let value = self.db.begin_read()?.open_table(PAIRS)?.get(key)?;
        if let Some(value) = &value {
            look(value.value());
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
        let pairs = self.db.begin_read()?.open_table(PAIRS)?;
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
            look(key.value(), value.value());
            seen += 1;
        }
        Ok(seen)
    }

    fn settle(&self) -> Result<()> {
        self.commit(Durability::Durable, |_| Ok(()))
    }

    fn close(self) -> Result<()> {
        // Dropping commits what is pending, but cannot say if it failed: so it is committed before.
        self.settle()
    }
}
