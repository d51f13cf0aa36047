//! The collections of a database: opened, listed, renamed, deleted; and what is set for each.

use super::catalog::{PATH_PREFIX, record, record_key, record_path};
use super::collection::{Collection, Snapshot, View};
use super::draft::Change;
use super::identity::{Identity, Targets};
use super::settings::Settings;
use crate::base::batch::Batch;
use crate::base::error::Result;
use crate::base::id::CollectionId;
use crate::db::Db;
use std::sync::Arc;

impl Db {
    /// The collection called `path`, created if it is missing (with one small commit), and so are its
    /// parents: `users/archive` is a child of `users`.
    ///
    /// Errors: `InvalidArgument` for a bad path (1 to 255 bytes, no control characters, no empty part
    /// between `/`); `ReadOnly` if it is missing and nothing may be written; `Io`.
    pub fn collection(&self, path: &str) -> Result<Collection> {
        self.collection_with(path, &Settings::default())
    }

    /// [`Db::collection`], with settings of its own if it is created: one that exists keeps those it
    /// has, see [`Collection::configure`]. Parents that are created have none.
    ///
    /// Errors beside those: `InvalidArgument` for a setting that cannot be.
    pub fn collection_with(&self, path: &str, settings: &Settings) -> Result<Collection> {
        settings.check(&self.core().options)?;
        if let Some(collection) = self.existing_collection(path)? {
            return Ok(collection);
        }
        let core = self.core();
        core.writing()?;
        // Held during the commit: two threads that create the same path make one collection.
        let mut catalog = core.catalog.write();
        if let Some(identity) = catalog.find(path) {
            return Ok(self.handle_on(identity.clone()));
        }
        let path: Arc<str> = path.into();
        let identity = core.expect(&mut catalog, &path, settings)?;
        let change = [(0, Change::Create(path, identity.clone()))];
        let none = (Batch::default(), &Targets::default());
        core.commit_changes(&mut catalog, &change, none, core.options.durability)?;
        Ok(self.handle_on(identity))
    }

    /// The collection called `path`, if there is one.
    pub fn existing_collection(&self, path: &str) -> Result<Option<Collection>> {
        self.core().check_open()?;
        let found = self.core().catalog.read().find(path).cloned();
        Ok(found.map(|identity| self.handle_on(identity)))
    }

    fn handle_on(&self, identity: Arc<Identity>) -> Collection {
        Collection::new(self.handle.clone(), identity)
    }

    /// The paths of all collections, sorted.
    pub fn collections(&self) -> Result<Vec<String>> {
        self.core().check_open()?;
        Ok(self.core().catalog.read().paths())
    }

    /// The paths of all collections below `path`, at any depth, sorted: none if it is not there.
    pub fn collections_in(&self, path: &str) -> Result<Vec<String>> {
        self.core().check_open()?;
        let catalog = self.core().catalog.read();
        Ok(catalog.below(path).map(|(path, _)| path.to_string()).collect())
    }

    /// The paths that collections had at the moment of `snapshot`, sorted: also of those that were
    /// deleted or renamed since. Cost: a walk of their records.
    pub fn collections_at(&self, snapshot: &Snapshot) -> Result<Vec<String>> {
        self.core().check_open()?;
        let records = self.catalog_at(snapshot).prefix(PATH_PREFIX);
        records.map(|pair| Ok(record_path(&pair?.0)?.to_owned())).collect()
    }

    /// The collection that was called `path` at the moment of `snapshot`, as it was then, if there was
    /// one: also if it was deleted or renamed since. Cost: a get.
    pub fn view_at(&self, path: &str, snapshot: &Snapshot) -> Result<Option<View>> {
        let key = record_key(path);
        let Some(value) = self.catalog_at(snapshot).get(&key)? else { return Ok(None) };
        let (id, _) = record(&key, &value)?;
        Ok(Some(View { handle: self.handle.clone(), id, pin: snapshot.pin.clone() }))
    }

    /// The records of the catalog at that moment.
    pub(in crate::db) fn catalog_at(&self, snapshot: &Snapshot) -> View {
        let (handle, id) = (self.handle.clone(), CollectionId::SYSTEM);
        View { handle, id, pin: snapshot.pin.clone() }
    }

    /// Deletes a collection, all that lies below it, and their pairs, in one commit: see
    /// [`WriteBatch::delete_collection`](crate::WriteBatch::delete_collection).
    pub fn delete_collection(&self, collection: &Collection) -> Result<()> {
        let mut batch = self.batch();
        batch.delete_collection(collection)?;
        batch.commit()
    }

    /// Calls a collection otherwise, with all that lies below it: see
    /// [`WriteBatch::rename_collection`](crate::WriteBatch::rename_collection).
    pub fn rename_collection(&self, collection: &Collection, path: &str) -> Result<()> {
        let mut batch = self.batch();
        batch.rename_collection(collection, path)?;
        batch.commit()
    }
}

impl Collection {
    /// What is set for it, and not as the [`Options`](crate::Options) say.
    pub fn settings(&self) -> Settings {
        self.identity.settings()
    }

    /// Replaces all settings, with one small commit: what is not set in `settings` is as the
    /// [`Options`](crate::Options) say. They hold for what is written from now on, in logs and by
    /// flushes and compactions; what is there stays as it is until one comes by.
    ///
    /// Errors: `InvalidArgument` for a setting that cannot be; `NotFound` if the collection is not
    /// there; `ReadOnly`; `Io`.
    pub fn configure(&self, settings: &Settings) -> Result<()> {
        let core = &self.handle.core;
        core.check_open()?;
        settings.check(&core.options)?;
        let change = [(0, Change::Configure(self.identity.clone(), settings.clone()))];
        let none = (Batch::default(), &Targets::default());
        let mut catalog = core.catalog.write();
        core.commit_changes(&mut catalog, &change, none, core.options.durability)
    }

    /// Its number, which it keeps for good, and no other ever has: what a change feed calls it.
    pub fn id(&self) -> u32 {
        self.id.0
    }

    /// Its present path, which a rename changes; none if it was deleted, or is not created yet.
    pub fn path(&self) -> Option<String> {
        let catalog = self.handle.core.catalog.read();
        let path = self.identity.path();
        let is_there = catalog.find(&path).is_some_and(|it| Arc::ptr_eq(it, &self.identity));
        is_there.then(|| path.to_string())
    }

    /// The paths of its children, sorted; not of theirs. Cost: a walk of all that lies below it.
    ///
    /// Errors: `NotFound` if it was deleted.
    pub fn children(&self) -> Result<Vec<String>> {
        self.handle.core.check_open()?;
        let catalog = self.handle.core.catalog.read();
        self.identity.check_alive()?;
        let path = self.identity.path();
        let below = catalog.below(&path).map(|(below, _)| below);
        let is_child = |below: &&Arc<str>| !below[path.len() + 1..].contains('/');
        Ok(below.filter(is_child).map(|child| child.to_string()).collect())
    }
}
