//! LMDB, by its `heed` crate: one unnamed database, one transaction an operation.
//!
//! Buffered: `MDB_NOSYNC`; a commit writes its pages to the system and syncs nothing. Durable: no
//! flag; a commit syncs the pages and then the page that names them. There is one writer at a time.
//! It has no cache of its own: reads lie in the page cache, which the job's cache does not bound.

use crate::data::Key;
use crate::engine::{Durability, Engine, Order, Settings};
use anyhow::Result;
use heed::types::Bytes;
use heed::{Database, Env, EnvFlags, EnvOpenOptions, WithTls};
use std::ops::Bound;
use std::path::Path;

/// Addresses set aside for the file; it grows only as far as it is filled.
const MAP_BYTES: usize = 256 << 30;

/// One open LMDB environment.
pub(crate) struct Lmdb {
    env: Env<WithTls>,
    pairs: Database<Bytes, Bytes>,
}

#[expect(unsafe_code, reason = "LMDB maps a file, which must not change under it")]
fn open_env(dir: &Path, flags: EnvFlags) -> Result<Env<WithTls>> {
    let mut options = EnvOpenOptions::new();
    options.map_size(MAP_BYTES).max_readers(256);
    // SAFETY: the folder was made for this run: no other process has it open or touches its files,
    // and `NO_SYNC`, the only flag ever set, endangers what a power cut leaves, not memory.
    let env = unsafe { options.flags(flags).open(dir)? };
    Ok(env)
}

impl Engine for Lmdb {
    const REMOVES_RANGES: bool = true;

    fn open(dir: &Path, settings: &Settings) -> Result<Self> {
        let flags = match settings.durability {
            Durability::Buffered => EnvFlags::NO_SYNC,
            Durability::Durable => EnvFlags::empty(),
        };
        let env = open_env(dir, flags)?;
        let mut txn = env.write_txn()?;
        let pairs = env.create_database(&mut txn, None)?;
        txn.commit()?;
        Ok(Self { env, pairs })
    }

    fn put(&self, key: &[u8], value: &[u8]) -> Result<()> {
        let mut txn = self.env.write_txn()?;
        self.pairs.put(&mut txn, key, value)?;
        Ok(txn.commit()?)
    }

    fn put_batch(&self, pairs: &[(Key, Vec<u8>)]) -> Result<()> {
        let mut txn = self.env.write_txn()?;
        for (key, value) in pairs {
            self.pairs.put(&mut txn, key, value)?;
        }
        Ok(txn.commit()?)
    }

    fn remove(&self, key: &[u8]) -> Result<()> {
        let mut txn = self.env.write_txn()?;
        self.pairs.delete(&mut txn, key)?;
        Ok(txn.commit()?)
    }

    fn find(&self, key: &[u8], mut look: impl FnMut(&[u8])) -> Result<bool> {
        let txn = self.env.read_txn()?;
        let value = self.pairs.get(&txn, key)?;
        if let Some(value) = value {
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
        let txn = self.env.read_txn()?;
        let bound = from.map_or(Bound::Unbounded, Bound::Included);
        let mut seen = 0;
        match order {
            Order::Forward => {
                for pair in self.pairs.range(&txn, &(bound, Bound::Unbounded))?.take(limit) {
                    let (key, value) = pair?;
                    look(key, value);
                    seen += 1;
                }
            }
            Order::Reverse => {
                for pair in self.pairs.rev_range(&txn, &(Bound::Unbounded, bound))?.take(limit) {
                    let (key, value) = pair?;
                    look(key, value);
                    seen += 1;
                }
            }
        }
        Ok(seen)
    }

    fn remove_range(&self, from: &[u8], to: &[u8]) -> Result<()> {
        let mut txn = self.env.write_txn()?;
        self.pairs.delete_range(&mut txn, &(Bound::Included(from), Bound::Excluded(to)))?;
        Ok(txn.commit()?)
    }

    fn settle(&self) -> Result<()> {
        Ok(self.env.force_sync()?)
    }

    fn close(self) -> Result<()> {
        self.env.force_sync()?;
        self.env.prepare_for_closing().wait();
        Ok(())
    }
}
