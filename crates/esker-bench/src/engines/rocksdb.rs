//! RocksDB, by its `rocksdb` crate.
//!
//! Buffered: `WriteOptions` as they come; every commit is a `write` of the log to the system.
//! Durable: `sync = true`; commits that wait together share an `fdatasync`.
//! Beside the defaults: LZ4, a 10-bit filter, the cache of the job, blob files for large values.

use crate::data::Key;
use crate::engine::{
    Bank, Durability, Engine, Figures, LARGE_VALUE_BYTES, Order, Settings, balance, moved,
};
use anyhow::{Context, Result};
use rocksdb::{
    BlockBasedOptions, Cache, DB, DBCompressionType, ErrorKind, OptimisticTransactionDB,
    OptimisticTransactionOptions, Options, ReadOptions, WaitForCompactOptions, WriteBatch,
    WriteOptions,
};
use std::path::Path;

/// One open RocksDB.
pub(crate) struct RocksDb {
    db: DB,
    read: ReadOptions,
    write: WriteOptions,
}

/// The figure behind `name` in the line that begins with `line`, which counts GiB to two digits.
fn gibibytes(text: &str, line: &str, name: &str) -> Option<u64> {
    let line = text.lines().find(|text| text.starts_with(line))?;
    let figure: f64 = line.split_once(name)?.1.split([' ', ',']).find(|word| !word.is_empty())?.parse().ok()?;
    Some((figure * f64::from(1 << 30)) as u64)
}

fn options(settings: &Settings) -> Result<Options> {
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(&Cache::new_lru_cache(usize::try_from(settings.cache_bytes)?));
    table.set_bloom_filter(10.0, false);
    let mut options = Options::default();
    options.create_if_missing(true);
    options.set_compression_type(DBCompressionType::Lz4);
    options.set_block_based_table_factory(&table);
    if settings.has_large_values() {
        options.set_enable_blob_files(true);
        options.set_enable_blob_gc(true);
        options.set_min_blob_size(LARGE_VALUE_BYTES as u64);
    }
    Ok(options)
}

impl Engine for RocksDb {
    const REMOVES_RANGES: bool = true;

    fn open(dir: &Path, settings: &Settings) -> Result<Self> {
        let options = options(settings)?;
        let mut write = WriteOptions::default();
        write.set_sync(settings.durability == Durability::Durable);
        Ok(Self { db: DB::open(&options, dir)?, read: ReadOptions::default(), write })
    }

    fn open_bank(dir: &Path, settings: &Settings) -> Result<Option<Box<dyn Bank>>> {
        Ok(Some(Box::new(RocksBank(OptimisticTransactionDB::open(&options(settings)?, dir)?))))
    }

    fn put(&self, key: &[u8], value: &[u8]) -> Result<()> {
        Ok(self.db.put_opt(key, value, &self.write)?)
    }

    fn put_batch(&self, pairs: &[(Key, Vec<u8>)]) -> Result<()> {
        let mut batch = WriteBatch::default();
        for (key, value) in pairs {
            batch.put(key, value);
        }
        Ok(self.db.write_opt(batch, &self.write)?)
    }

    fn remove(&self, key: &[u8]) -> Result<()> {
        Ok(self.db.delete_opt(key, &self.write)?)
    }

    fn find(&self, key: &[u8], mut look: impl FnMut(&[u8])) -> Result<bool> {
        let value = self.db.get_pinned_opt(key, &self.read)?;
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
        let mut cursor = self.db.raw_iterator();
        match (order, from) {
            (Order::Forward, None) => cursor.seek_to_first(),
            (Order::Forward, Some(from)) => cursor.seek(from),
            (Order::Reverse, None) => cursor.seek_to_last(),
            (Order::Reverse, Some(from)) => cursor.seek_for_prev(from),
        }
        let mut seen = 0;
        while seen < limit
            && let Some((key, value)) = cursor.item()
        {
            look(key, value);
            seen += 1;
            match order {
                Order::Forward => cursor.next(),
                Order::Reverse => cursor.prev(),
            }
        }
        cursor.status()?;
        Ok(seen)
    }

    fn remove_range(&self, from: &[u8], to: &[u8]) -> Result<()> {
        let mut batch = WriteBatch::default();
        batch.delete_range(from, to);
        Ok(self.db.write_opt(batch, &self.write)?)
    }

    fn figures(&self) -> Result<Figures> {
        // The text that is always kept: counters would have to be switched on, and cost time.
        let text = self.db.property_value("rocksdb.stats")?.context("no statistics")?;
        let of = |line: &str, name: &str| gibibytes(&text, line, name).unwrap_or(0);
        let flushed = of("Flush(GB):", "cumulative");
        let rewritten = of("Cumulative compaction:", "compaction:");
        Ok(vec![
            ("bytes_logged".to_owned(), of("Cumulative WAL:", "written:")),
            ("bytes_flushed".to_owned(), flushed),
            ("bytes_compacted".to_owned(), rewritten.saturating_sub(flushed)),
        ])
    }

    fn settle(&self) -> Result<()> {
        let mut options = WaitForCompactOptions::default();
        options.set_flush(true);
        Ok(self.db.wait_for_compact(&options)?)
    }

    fn close(self) -> Result<()> {
        // Nothing can fail from here on: RocksDB closes when the handle is dropped.
        drop(self);
        Ok(())
    }
}

/// Its optimistic transactions: each has a snapshot, and reads with `get_for_update`, whose keys are
/// checked at the commit.
struct RocksBank(OptimisticTransactionDB);

impl Bank for RocksBank {
    fn deposit(&self, account: &[u8], amount: u64) -> Result<()> {
        Ok(self.0.put(account, amount.to_le_bytes())?)
    }

    fn transfer(&self, from: &[u8], to: &[u8]) -> Result<u64> {
        let mut choices = OptimisticTransactionOptions::default();
        choices.set_snapshot(true);
        for lost in 0.. {
            let txn = self.0.transaction_opt(&WriteOptions::default(), &choices);
            let has = balance(txn.get_for_update(from, true)?.as_deref());
            let (less, more) = moved(has, balance(txn.get_for_update(to, true)?.as_deref()));
            txn.put(from, less)?;
            txn.put(to, more)?;
            match txn.commit() {
                Ok(()) => return Ok(lost),
                Err(error) if matches!(error.kind(), ErrorKind::Busy | ErrorKind::TryAgain) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(0)
    }

    fn balance(&self, account: &[u8]) -> Result<u64> {
        Ok(balance(self.0.get(account)?.as_deref()))
    }
}
