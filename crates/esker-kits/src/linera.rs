//! The database traits of `linera-views` over Esker.
//!
//! ```text
//!  namespace              collection NAMESPACE
//!  root key in it         collection NAMESPACE/rHEX
//!  batch                  WriteBatch: Put, Delete, DeletePrefix, in order
//! ```

use crate::home::{Home, Life};
use esker::{Collection, Db, ErrorKind};
use linera_views::batch::{Batch, WriteOperation};
use linera_views::store::{
    KeyValueDatabase, KeyValueStoreError, ReadableKeyValueStore, TestKeyValueDatabase, WithError,
    WritableKeyValueStore,
};
use std::fmt;
use std::sync::Arc;

/// What the traits want of an error.
#[derive(Debug)]
pub enum Error {
    /// Esker's own.
    Esker(esker::Error),
    /// Of the traits' own encoding.
    Bcs(bcs::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Esker(error) => error.fmt(f),
            Self::Bcs(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Error {}

impl From<esker::Error> for Error {
    fn from(error: esker::Error) -> Self {
        Self::Esker(error)
    }
}

impl From<bcs::Error> for Error {
    fn from(error: bcs::Error) -> Self {
        Self::Bcs(error)
    }
}

impl KeyValueStoreError for Error {
    const BACKEND: &'static str = "esker";
}

/// A namespace.
#[derive(Clone, Debug)]
pub struct Database {
    home: Arc<Home>,
    namespace: String,
}

/// The pairs below one root key of a namespace.
#[derive(Clone, Debug)]
pub struct Store {
    home: Arc<Home>,
    root_key: Vec<u8>,
    path: String,
}

impl Store {
    /// In a namespace and a database of its own.
    pub fn new(home: Arc<Home>) -> Result<Self, Error> {
        let namespace = "kit".to_owned();
        Database { home, namespace }.open_shared(&[])
    }

    /// By name each time: the database may have been opened anew.
    fn read<T>(&self, read: impl FnOnce(&Collection) -> esker::Result<T>) -> Result<T, Error> {
        Ok(self.home.read(|db| read(&db.collection(&self.path)?))?)
    }
}

impl WithError for Store {
    type Error = Error;
}

impl ReadableKeyValueStore for Store {
    const MAX_KEY_SIZE: usize = 64 << 10;

    fn max_stream_queries(&self) -> usize {
        10
    }

    fn root_key(&self) -> Result<Vec<u8>, Error> {
        Ok(self.root_key.clone())
    }

    async fn read_value_bytes(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        self.read(|pairs| Ok(pairs.get(key)?.map(|value| value.to_vec())))
    }

    async fn contains_key(&self, key: &[u8]) -> Result<bool, Error> {
        self.read(|pairs| pairs.contains_key(key))
    }

    async fn contains_keys(&self, keys: &[Vec<u8>]) -> Result<Vec<bool>, Error> {
        self.read(|pairs| keys.iter().map(|key| pairs.contains_key(key)).collect())
    }

    async fn read_multi_values_bytes(
        &self,
        keys: &[Vec<u8>],
    ) -> Result<Vec<Option<Vec<u8>>>, Error> {
        let values = self.read(|pairs| pairs.multi_get(keys))?;
        Ok(values.into_iter().map(|value| value.map(|value| value.to_vec())).collect())
    }

    async fn find_keys_by_prefix(&self, prefix: &[u8]) -> Result<Vec<Vec<u8>>, Error> {
        let rest = |key: esker::Key| key[prefix.len()..].to_vec();
        self.read(|pairs| pairs.prefix(prefix).keys().map(|key| key.map(rest)).collect())
    }

    async fn find_key_values_by_prefix(
        &self,
        prefix: &[u8],
    ) -> Result<Vec<(Vec<u8>, Vec<u8>)>, Error> {
        let rest = |(key, value): (esker::Key, esker::Value)| {
            (key[prefix.len()..].to_vec(), value.to_vec())
        };
        self.read(|pairs| pairs.prefix(prefix).map(|pair| pair.map(rest)).collect())
    }
}

impl WritableKeyValueStore for Store {
    const MAX_VALUE_SIZE: usize = 1 << 30;

    async fn write_batch(&self, batch: Batch) -> Result<(), Error> {
        let written = self.home.write(|db| {
            let pairs = db.collection(&self.path)?;
            let mut ours = db.batch();
            for operation in &batch.operations {
                match operation {
                    WriteOperation::Put { key, value } => ours.insert(&pairs, key, value)?,
                    WriteOperation::Delete { key } => ours.remove(&pairs, key)?,
                    WriteOperation::DeletePrefix { key_prefix } => {
                        ours.remove_prefix(&pairs, key_prefix)?;
                    }
                }
            }
            ours.commit()
        });
        Ok(written?)
    }

    /// A batch is one commit: there is none.
    async fn clear_journal(&self) -> Result<(), Error> {
        Ok(())
    }
}

impl WithError for Database {
    type Error = Error;
}

impl KeyValueDatabase for Database {
    type Config = Arc<Home>;
    type Store = Store;

    fn get_name() -> String {
        "esker".to_owned()
    }

    /// One that is missing is made: the kit connects to one that it never created.
    async fn connect(home: &Arc<Home>, namespace: &str) -> Result<Self, Error> {
        home.write(|db| db.collection(namespace))?;
        Ok(Self { home: home.clone(), namespace: namespace.to_owned() })
    }

    fn open_shared(&self, root_key: &[u8]) -> Result<Store, Error> {
        let hex: String = root_key.iter().map(|byte| format!("{byte:02x}")).collect();
        let path = format!("{}/r{hex}", self.namespace);
        self.home.write(|db| db.collection(&path))?;
        Ok(Store { home: self.home.clone(), root_key: root_key.to_vec(), path })
    }

    fn open_exclusive(&self, root_key: &[u8]) -> Result<Store, Error> {
        self.open_shared(root_key)
    }

    async fn list_all(home: &Arc<Home>) -> Result<Vec<String>, Error> {
        let mut paths = home.read(Db::collections)?;
        paths.retain(|path| !path.contains('/'));
        Ok(paths)
    }

    async fn list_root_keys(&self) -> Result<Vec<Vec<u8>>, Error> {
        let paths = self.home.read(|db| db.collection(&self.namespace)?.children())?;
        Ok(paths.iter().map(|path| root_key_of(path)).collect())
    }

    async fn exists(home: &Arc<Home>, namespace: &str) -> Result<bool, Error> {
        Ok(home.read(|db| Ok(db.existing_collection(namespace)?.is_some()))?)
    }

    async fn create(home: &Arc<Home>, namespace: &str) -> Result<(), Error> {
        let created = home.write(|db| {
            let mut batch = db.batch();
            batch.create_collection(namespace)?;
            batch.commit()
        });
        Ok(created?)
    }

    async fn delete(home: &Arc<Home>, namespace: &str) -> Result<(), Error> {
        let deleted = home.write(|db| match db.existing_collection(namespace)? {
            Some(collection) => db.delete_collection(&collection),
            None => Err(esker::Error::new(ErrorKind::NotFound, namespace)),
        });
        Ok(deleted?)
    }
}

/// The kit's tests of namespaces and root keys ask for a database of this kind.
impl TestKeyValueDatabase for Database {
    async fn new_test_config() -> Result<Arc<Home>, Error> {
        Ok(Arc::new(Home::new(Life::Reopened)?))
    }
}

/// What `open_shared` made a path of.
fn root_key_of(path: &str) -> Vec<u8> {
    let hex = path.rsplit_once("/r").map_or("", |(_, hex)| hex);
    let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).expect("two digits");
    (0..hex.len()).step_by(2).map(byte).collect()
}
