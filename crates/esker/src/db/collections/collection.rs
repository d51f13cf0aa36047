//! The handles that users hold: a collection, a snapshot, and the one as the other sees it.
//!
//! What can be done with them is where it is done: `read/get.rs`, `write/insert.rs` and their neighbours.

use super::identity::Identity;
use crate::base::error::{Error, Result};
use crate::base::id::CollectionId;
use crate::commit::Durability;
use crate::db::handle::Handle;
use crate::txn::snapshot::Pin;
use std::sync::Arc;

/// A named set of pairs, sorted by key. Cheap to clone, may be used from any thread.
///
/// A handle is of one collection, whatever it is called: it goes on working when the collection is
/// renamed. Once that is deleted, writes are `NotFound` and reads find nothing, but with a snapshot
/// from before; one of the same name that is created later is another.
///
/// Methods are named as `BTreeMap`'s where it has the operation.
#[derive(Clone)]
pub struct Collection {
    pub(in crate::db) handle: Arc<Handle>,
    pub(in crate::db) id: CollectionId,
    pub(in crate::db) identity: Arc<Identity>,
    pub(in crate::db) name: Arc<str>,
}

impl Collection {
    pub(in crate::db) fn new(handle: Arc<Handle>, identity: Arc<Identity>) -> Self {
        Self { handle, id: identity.id, name: identity.path(), identity }
    }

    /// The path under which this handle was made. See [`Collection::path`] for what became of it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Errors: `InvalidArgument` if it is of another database than `handle`.
    pub(in crate::db) fn check_owner(&self, handle: &Arc<Handle>) -> Result<()> {
        if Arc::ptr_eq(&self.handle, handle) {
            return Ok(());
        }
        Err(Error::invalid(format!("collection {:?} is of another database", self.name)))
    }

    pub(in crate::db) fn default_durability(&self) -> Durability {
        self.handle.core.options.durability
    }

    /// The collection as `snapshot` sees it.
    pub fn at(&self, snapshot: &Snapshot) -> View {
        View { handle: self.handle.clone(), id: self.id, pin: snapshot.pin.clone() }
    }
}

impl std::fmt::Debug for Collection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Collection").field("name", &self.name).field("id", &self.id).finish()
    }
}

/// One moment of the whole database, over all collections. Pins the versions it sees until the
/// last clone, view and iterator of it is dropped.
#[derive(Clone, Debug)]
pub struct Snapshot {
    pub(in crate::db) pin: Pin,
}

impl Snapshot {
    /// The last sequence number that it sees.
    pub fn sequence(&self) -> u64 {
        self.pin.seq().0
    }
}

/// A collection at one moment; see [`Collection::at`].
#[derive(Clone)]
pub struct View {
    pub(in crate::db) handle: Arc<Handle>,
    pub(in crate::db) id: CollectionId,
    pub(in crate::db) pin: Pin,
}

impl std::fmt::Debug for View {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("View").field("collection", &self.id).field("seq", &self.pin.seq()).finish()
    }
}
