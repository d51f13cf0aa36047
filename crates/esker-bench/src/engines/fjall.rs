//! fjall 3: one keyspace, no transactions.
//!
//! Buffered: `insert` writes its journal through to the system; a batch does so only when asked
//! (`PersistMode::Buffer`), so it is asked. Durable: a batch of one with `PersistMode::SyncData`,
//! an `fdatasync` under the journal's lock: writers queue, and none shares the sync of another.
//! Beside the defaults (LZ4, filters): the cache of the job, separation for large values.

use crate::data::Key;
use crate::engine::{
    Bank, Durability, Engine, LARGE_VALUE_BYTES, Order, Settings, balance, moved,
};
use anyhow::Result;
use fjall::{
    Database, Keyspace, KeyspaceCreateOptions, KvSeparationOptions, OptimisticTxDatabase,
    OptimisticTxKeyspace, PersistMode, Readable,
};
use std::path::Path;

/// One open fjall database.
pub(crate) struct Fjall {
    // Dropped first: the database waits for its workers, which hold the keyspace.
    pairs: Keyspace,
    db: Database,
    durability: Durability,
}

impl Fjall {
    const fn mode(&self) -> PersistMode {
        match self.durability {
            Durability::Buffered => PersistMode::Buffer,
            Durability::Durable => PersistMode::SyncData,
        }
    }
}

impl Engine for Fjall {
    fn open(dir: &Path, settings: &Settings) -> Result<Self> {
        let db = Database::builder(dir).cache_size(settings.cache_bytes).open()?;
        let separation = settings.has_large_values().then(|| {
            KvSeparationOptions::default().separation_threshold(LARGE_VALUE_BYTES as u32)
        });
        let options = || KeyspaceCreateOptions::default().with_kv_separation(separation);
        let pairs = db.keyspace("default", options)?;
        Ok(Self { pairs, db, durability: settings.durability })
    }

    fn put(&self, key: &[u8], value: &[u8]) -> Result<()> {
        match self.durability {
            Durability::Buffered => self.pairs.insert(key, value)?,
            Durability::Durable => {
                let mut batch = self.db.batch().durability(Some(self.mode()));
                batch.insert(&self.pairs, key, value);
                batch.commit()?;
            }
        }
        Ok(())
    }

    fn put_batch(&self, pairs: &[(Key, Vec<u8>)]) -> Result<()> {
        let mut batch = self.db.batch().durability(Some(self.mode()));
        for (key, value) in pairs {
            batch.insert(&self.pairs, key.as_slice(), value.as_slice());
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
        let mut show = |guard: fjall::Guard| -> Result<()> {
            let (key, value) = guard.into_inner()?;
            look(&key, &value);
            Ok(())
        };
        let pairs = match (order, from) {
            (_, None) => self.pairs.iter(),
            (Order::Forward, Some(from)) => self.pairs.range(from..),
            (Order::Reverse, Some(from)) => self.pairs.range(..=from),
        };
        let mut seen = 0;
        match order {
            Order::Forward => {
                for guard in pairs.take(limit) {
                    show(guard)?;
                    seen += 1;
                }
            }
            Order::Reverse => {
                for guard in pairs.rev().take(limit) {
                    show(guard)?;
                    seen += 1;
                }
            }
        }
        Ok(seen)
    }

    fn settle(&self) -> Result<()> {
        Ok(self.pairs.rotate_memtable_and_wait()?)
    }

    fn open_bank(dir: &Path, settings: &Settings) -> Result<Option<Box<dyn Bank>>> {
        let db = OptimisticTxDatabase::builder(dir).cache_size(settings.cache_bytes).open()?;
        let accounts = db.keyspace("default", KeyspaceCreateOptions::default)?;
        Ok(Some(Box::new(FjallBank { accounts, db })))
    }

    fn close(self) -> Result<()> {
        Ok(self.db.persist(PersistMode::SyncAll)?)
    }
}

/// Its optimistic transactions.
struct FjallBank {
    accounts: OptimisticTxKeyspace,
    db: OptimisticTxDatabase,
}

impl Bank for FjallBank {
    fn deposit(&self, account: &[u8], amount: u64) -> Result<()> {
        Ok(self.accounts.insert(account, amount.to_le_bytes())?)
    }

    fn transfer(&self, from: &[u8], to: &[u8]) -> Result<u64> {
        for lost in 0.. {
            let mut txn = self.db.write_tx()?.durability(Some(PersistMode::Buffer));
            let has = balance(txn.get(&self.accounts, from)?.as_deref());
            let (less, more) = moved(has, balance(txn.get(&self.accounts, to)?.as_deref()));
            txn.insert(&self.accounts, from, less);
            txn.insert(&self.accounts, to, more);
            if txn.commit()?.is_ok() {
                return Ok(lost);
            }
        }
        Ok(0)
    }

    fn balance(&self, account: &[u8]) -> Result<u64> {
        Ok(balance(self.accounts.get(account)?.as_deref()))
    }
}
