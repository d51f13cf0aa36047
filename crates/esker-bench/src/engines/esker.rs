//! Esker: one collection, its ordinary face.
//!
//! Buffered: the default; a commit is a copy into the mapped log, which a killed process leaves to
//! the system. Durable: `sync(true)`; commits that wait together share a sync.
//! The job's cache is its whole memory budget: memtables, blocks and indexes must fit in it.

use crate::data::Key;
use crate::engine::{Bank, Durability, Engine, Figures, Order, Settings, balance, moved};
use anyhow::Result;
use esker::{Collection, Db};
use std::path::Path;

/// The figures of `Db::stats` that only rise, of those that this version of it has.
const RISING: &[&str] = &[
    "bytes_logged",
    "bytes_flushed",
    "bytes_compacted",
    "flushes",
    "compactions",
    "flush_waits",
    "flush_wait_us",
    "compaction_waits",
    "compaction_wait_us",
    "syncs",
    "cache_hits",
    "cache_misses",
    "filter_probes",
    "filter_passes",
    "filter_false",
];

/// One open Esker database.
pub(crate) struct Esker {
    pairs: Collection,
    db: Db,
}

impl Engine for Esker {
    const REMOVES_RANGES: bool = true;

    fn open(dir: &Path, settings: &Settings) -> Result<Self> {
        let db = Db::options()
            .memory_budget(settings.cache_bytes)
            .sync(settings.durability == Durability::Durable)
            .open(dir)?;
        let pairs = db.collection("default")?;
        Ok(Self { pairs, db })
    }

    fn put(&self, key: &[u8], value: &[u8]) -> Result<()> {
        Ok(self.pairs.insert(key, value)?)
    }

    fn put_batch(&self, pairs: &[(Key, Vec<u8>)]) -> Result<()> {
        let mut batch = self.db.batch();
        for (key, value) in pairs {
            batch.insert(&self.pairs, key, value)?;
        }
        Ok(batch.commit()?)
    }

    fn remove(&self, key: &[u8]) -> Result<()> {
        Ok(self.pairs.remove(key)?)
    }

    fn find(&self, key: &[u8], mut look: impl FnMut(&[u8])) -> Result<bool> {
        let value = self.pairs.get(key)?;
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
        let pairs = match (order, from) {
            (_, None) => self.pairs.iter(),
            (Order::Forward, Some(from)) => self.pairs.range(from..),
            (Order::Reverse, Some(from)) => self.pairs.range(..=from),
        };
        let mut seen = 0;
        let mut show = |pair: esker::Result<(esker::Key, esker::Value)>| -> Result<()> {
            let (key, value) = pair?;
            look(&key, &value);
            seen += 1;
            Ok(())
        };
        match order {
            Order::Forward => pairs.take(limit).try_for_each(&mut show)?,
            Order::Reverse => pairs.rev().take(limit).try_for_each(&mut show)?,
        }
        Ok(seen)
    }

    fn remove_range(&self, from: &[u8], to: &[u8]) -> Result<()> {
        Ok(self.pairs.remove_range(from..to)?)
    }

    fn figures(&self) -> Result<Figures> {
        let all = self.db.stats().fields();
        let rising = all.into_iter().filter(|(name, _)| RISING.contains(name));
        Ok(rising.map(|(name, value)| (name.to_owned(), value)).collect())
    }

    fn settle(&self) -> Result<()> {
        Ok(self.db.flush()?)
    }

    fn open_bank(dir: &Path, settings: &Settings) -> Result<Option<Box<dyn Bank>>> {
        Ok(Some(Box::new(Self::open(dir, settings)?)))
    }

    fn close(self) -> Result<()> {
        Ok(self.db.close()?)
    }
}

impl Bank for Esker {
    fn deposit(&self, account: &[u8], amount: u64) -> Result<()> {
        Ok(self.pairs.insert(account, amount.to_le_bytes())?)
    }

    fn transfer(&self, from: &[u8], to: &[u8]) -> Result<u64> {
        let mut tries = 0;
        self.db.transact(|txn| {
            tries += 1;
            let has = balance(txn.get(&self.pairs, from)?.as_deref());
            let (less, more) = moved(has, balance(txn.get(&self.pairs, to)?.as_deref()));
            txn.insert(&self.pairs, from, less)?;
            txn.insert(&self.pairs, to, more)
        })?;
        Ok(tries - 1)
    }

    fn balance(&self, account: &[u8]) -> Result<u64> {
        Ok(balance(self.pairs.get(account)?.as_deref()))
    }
}
