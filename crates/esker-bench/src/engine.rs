//! What every engine under test must do, and no more: the one trait, and the settings all share.
//!
//! 1. Each call is one operation and, where the engine has transactions, one transaction.
//! 2. A value is handed to a closure where it lies: an engine that can lend it pays for no copy.
//! 3. `settle` leaves no background work behind, so that a row of reads measures reads alone.
//!
//! The workloads are generic over this trait, not `dyn`: no engine pays for a call it does not make.

use crate::client::Client;
use crate::data::Key;
use anyhow::Result;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::Path;

/// When a write has arrived, as seen by its caller. Never mixed in one table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Durability {
    /// In the hands of the operating system on return: survives the end of the process.
    #[default]
    Buffered,
    /// Synced to the disk on return: survives the loss of power.
    Durable,
}

impl fmt::Display for Durability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Buffered => "buffered",
            Self::Durable => "durable",
        })
    }
}

/// Which way a scan goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// From the smallest key up.
    Forward,
    /// From the largest key down.
    Reverse,
}

/// The part of a job that an engine is opened with.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(
    not(any(
        feature = "esker",
        feature = "rocksdb",
        feature = "fjall",
        feature = "surrealkv",
        feature = "mace",
        feature = "canopydb",
        feature = "redb"
    )),
    expect(dead_code, reason = "LMDB alone has no cache of its own")
)]
pub(crate) struct Settings {
    /// What a write promises on return.
    pub durability: Durability,
    /// Bytes for cached blocks (peers), or for everything the engine owns (Esker).
    pub cache_bytes: u64,
    /// Bytes of each value: from [`LARGE_VALUE_BYTES`] on, engines that can store values apart do.
    pub value_bytes: usize,
}

/// From this size on a value is stored apart from its key where the engine has that as an option.
pub(crate) const LARGE_VALUE_BYTES: usize = 4096;

impl Settings {
    /// Whether values are large enough to be stored apart from their keys.
    #[cfg_attr(
        not(any(feature = "rocksdb", feature = "fjall", feature = "surrealkv")),
        expect(dead_code, reason = "only engines with the option ask")
    )]
    pub(crate) const fn has_large_values(&self) -> bool {
        self.value_bytes >= LARGE_VALUE_BYTES
    }
}

/// Figures that an engine counts itself, by name. They only rise, and begin at zero with each open.
pub(crate) type Figures = Vec<(String, u64)>;

/// One engine, open on one folder.
pub(crate) trait Engine: Send + Sync + Sized {
    /// Whether it can remove a range of keys in one call.
    const REMOVES_RANGES: bool = false;

    /// Opens `dir`, making the database if there is none.
    fn open(dir: &Path, settings: &Settings) -> Result<Self>;

    /// Inserts or replaces one pair.
    fn put(&self, key: &[u8], value: &[u8]) -> Result<()>;

    /// Inserts all pairs in one atomic commit.
    fn put_batch(&self, pairs: &[(Key, Vec<u8>)]) -> Result<()>;

    /// Removes one key.
    fn remove(&self, key: &[u8]) -> Result<()>;

    /// Removes all keys from `from` on and below `to`; only where [`Engine::REMOVES_RANGES`].
    fn remove_range(&self, _from: &[u8], _to: &[u8]) -> Result<()> {
        anyhow::bail!("this engine cannot remove a range")
    }

    /// What it has counted since it was opened. `bytes_logged`, `bytes_flushed` and
    /// `bytes_compacted` are, together, all that it wrote.
    fn figures(&self) -> Result<Figures> {
        Ok(Figures::new())
    }

    /// Shows the value of `key` to `look`, and says whether there was one.
    fn find(&self, key: &[u8], look: impl FnMut(&[u8])) -> Result<bool>;

    /// Shows up to `limit` pairs to `look`, from `from` (or from the end `order` starts at), and
    /// says how many there were.
    fn scan(
        &self,
        from: Option<&[u8]>,
        order: Order,
        limit: usize,
        look: impl FnMut(&[u8], &[u8]),
    ) -> Result<usize>;

    /// Writes out what is only in memory. The caller waits for the background work that follows.
    fn settle(&self) -> Result<()>;

    /// Closes cleanly. What was written is there when the folder is opened again.
    fn close(self) -> Result<()>;

    /// The same engine on another folder, with optimistic transactions that check what was read; none
    /// if it has none.
    fn open_bank(_dir: &Path, _settings: &Settings) -> Result<Option<Box<dyn Bank>>> {
        Ok(None)
    }

    /// Runs several writers at once until each has had enough: by default one thread each.
    fn drive(&self, clients: Vec<Client>) -> Result<Vec<Client>> {
        std::thread::scope(|scope| {
            let running: Vec<_> = clients
                .into_iter()
                .map(|mut client| {
                    scope.spawn(move || {
                        while let Some((key, value)) = client.next_pair() {
                            self.put(&key, value)?;
                            client.wrote();
                        }
                        anyhow::Ok(client)
                    })
                })
                .collect();
            running
                .into_iter()
                .map(|thread| thread.join().unwrap_or_else(|_| Err(died())))
                .collect()
        })
    }
}

/// Accounts, whose balances are numbers of eight bytes.
pub(crate) trait Bank: Send + Sync {
    /// Sets a balance.
    fn deposit(&self, account: &[u8], amount: u64) -> Result<()>;

    /// Moves 1 from one account, if it has that, to another: one transaction, run again until it
    /// wins. Says how often it lost.
    fn transfer(&self, from: &[u8], to: &[u8]) -> Result<u64>;

    /// A balance.
    fn balance(&self, account: &[u8]) -> Result<u64>;
}

/// The balance that a value is; nothing, if there is none.
pub(crate) fn balance(value: Option<&[u8]>) -> u64 {
    value.and_then(|value| value.try_into().ok()).map_or(0, u64::from_le_bytes)
}

/// Both balances after 1 was moved.
pub(crate) fn moved(from: u64, to: u64) -> ([u8; 8], [u8; 8]) {
    let amount = from.min(1);
    ((from - amount).to_le_bytes(), (to + amount).to_le_bytes())
}

/// The error of a writer that panicked.
pub(crate) fn died() -> anyhow::Error {
    anyhow::anyhow!("a writer panicked")
}
