//! SurrealKV: one transaction an operation, on a tokio runtime.
//!
//! Buffered: `Durability::Eventual`; the log reaches the system before the commit returns. Durable:
//! `Durability::Immediate`; its flusher syncs for all commits that wait.
//!
//! Its commits, flushes and compactions are tasks, so it gets a multi-thread runtime with a worker a
//! processor: on a current-thread runtime its background work would stand still whenever no call is
//! being waited for. Buffered rows wait in the caller's thread (`block_on`). Several durable writers
//! run as tasks, as its own benchmarks run them: no thread is woken for each commit.
//! Beside the defaults: the cache of the job, the value log for large values.

use crate::client::Client;
use crate::data::Key;
use crate::engine::{Durability, Engine, LARGE_VALUE_BYTES, Order, Settings, died};
use anyhow::Result;
use std::path::Path;
use std::sync::Arc;
use surrealkv::{
    CompactRangeOptions, Durability as Promise, Error, LSMIterator, Mode, Options, Transaction, Tree,
    TreeBuilder,
};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;

/// One open SurrealKV tree and the runtime it lives on.
pub(crate) struct SurrealKv {
    tree: Arc<Tree>,
    promise: Promise,
    runtime: Runtime,
}

/// Commits what `fill` puts into a transaction. It is optimistic even if it only writes: two writers
/// of one key conflict, and the loser begins again, within the time of its operation.
async fn commit(
    tree: &Tree,
    promise: Promise,
    fill: impl Fn(&mut Transaction) -> surrealkv::Result<()>,
) -> Result<()> {
    loop {
        let mut txn = tree.begin_with_mode(Mode::WriteOnly)?.with_durability(promise);
        fill(&mut txn)?;
        match txn.commit().await {
            Err(Error::TransactionWriteConflict | Error::TransactionRetry) => {}
            ended => return Ok(ended?),
        }
    }
}

fn walk(
    mut cursor: impl LSMIterator,
    order: Order,
    limit: usize,
    mut look: impl FnMut(&[u8], &[u8]),
) -> Result<usize> {
    let mut valid = match order {
        Order::Forward => cursor.seek_first()?,
        Order::Reverse => cursor.seek_last()?,
    };
    let mut seen = 0;
    while valid && seen < limit {
        look(cursor.key().user_key(), &cursor.value_ref()?);
        seen += 1;
        valid = match order {
            Order::Forward => cursor.next()?,
            Order::Reverse => cursor.prev()?,
        };
    }
    Ok(seen)
}

impl SurrealKv {
    fn commit(&self, fill: impl Fn(&mut Transaction) -> surrealkv::Result<()>) -> Result<()> {
        self.runtime.block_on(commit(&self.tree, self.promise, fill))
    }
}

impl Engine for SurrealKv {
    const REMOVES_RANGES: bool = true;

    fn open(dir: &Path, settings: &Settings) -> Result<Self> {
        let runtime = Builder::new_multi_thread().enable_all().build()?;
        let mut options = Options::new()
            .with_path(dir.to_path_buf())
            .with_block_cache_capacity(settings.cache_bytes);
        if settings.has_large_values() {
            options = options.with_enable_vlog(true).with_vlog_value_threshold(LARGE_VALUE_BYTES);
        }
        let tree = {
            let _entered = runtime.enter();
            Arc::new(TreeBuilder::with_options(options).build()?)
        };
        let promise = match settings.durability {
            Durability::Buffered => Promise::Eventual,
            Durability::Durable => Promise::Immediate,
        };
        Ok(Self { tree, promise, runtime })
    }

    fn put(&self, key: &[u8], value: &[u8]) -> Result<()> {
        self.commit(|txn| txn.set(key, value))
    }

    fn put_batch(&self, pairs: &[(Key, Vec<u8>)]) -> Result<()> {
        self.commit(|txn| pairs.iter().try_for_each(|(key, value)| txn.set(key, value)))
    }

    fn remove(&self, key: &[u8]) -> Result<()> {
        self.commit(|txn| txn.delete(key))
    }

    fn find(&self, key: &[u8], mut look: impl FnMut(&[u8])) -> Result<bool> {
        let value = self.tree.begin_with_mode(Mode::ReadOnly)?.get(key)?;
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
        look: impl FnMut(&[u8], &[u8]),
    ) -> Result<usize> {
        let txn = self.tree.begin_with_mode(Mode::ReadOnly)?;
        match (order, from) {
            (_, None) => walk(txn.iter()?, order, limit, look),
            (Order::Forward, Some(from)) => walk(txn.scan(from..)?, order, limit, look),
            (Order::Reverse, Some(from)) => walk(txn.scan(..=from)?, order, limit, look),
        }
    }

    fn remove_range(&self, from: &[u8], to: &[u8]) -> Result<()> {
        self.commit(|txn| txn.delete_range(from, to))
    }

    fn settle(&self) -> Result<()> {
        // Down to level 0: a flush. Compaction beyond it is left to its own choice.
        let options = CompactRangeOptions { target_level: Some(0), ..Default::default() };
        let _entered = self.runtime.enter();
        Ok(self.tree.compact_range(None, None, &options)?)
    }

    fn close(self) -> Result<()> {
        Ok(self.runtime.block_on(self.tree.close())?)
    }

    fn drive(&self, clients: Vec<Client>) -> Result<Vec<Client>> {
        let running: Vec<_> = clients
            .into_iter()
            .map(|mut client| {
                let (tree, promise) = (Arc::clone(&self.tree), self.promise);
                self.runtime.spawn(async move {
                    while let Some((key, value)) = client.next_pair() {
                        commit(&tree, promise, |txn| txn.set(&key, value)).await?;
                        client.wrote();
                    }
                    anyhow::Ok(client)
                })
            })
            .collect();
        let finish = |task: JoinHandle<Result<Client>>| {
            self.runtime.block_on(task).unwrap_or_else(|_| Err(died()))
        };
        running.into_iter().map(finish).collect()
    }
}
