//! The catalog as one commit will leave it.
//!
//! ```text
//!   changes ─▶ draft ─ what differs ─▶ range deletes and records, behind the batch's own operations
//!                │                      └▶ commit ─ numbered ─▶ born are alive, gone are gone
//!                └─ kept, or dropped: then the catalog is what it was
//! ```
//!
//! 1. The catalog's lock is held from the first change until the commit is visible: the catalog in
//!    memory changes in the order of commits, and so do its records.
//! 2. Only what differs in the end is written: a collection that a batch creates and deletes leaves
//!    no record. Ids are no names, so create after delete and delete after create need no order
//!    among the operations (MOSS-D18).
//! 3. Every change is judged before anything is written.

use super::catalog::{Catalog, check_path, parents, record_key, record_value};
use super::identity::{Identity, Life, Targets};
use super::settings::Settings;
use crate::base::batch::{Batch, Op, Ops};
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::id::CollectionId;
use crate::base::key::Kind;
use crate::commit::Durability;
use crate::db::core::Core;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A change of the catalog.
#[derive(Clone, Debug)]
pub enum Change {
    /// The collection is there, under this path.
    Create(Arc<str>, Arc<Identity>),
    /// It is not any more, nor is what lies below it.
    Delete(Arc<Identity>),
    /// It is called so, and what lies below it moves along.
    Rename(Arc<Identity>, Arc<str>),
    /// It has these settings, and no others.
    Configure(Arc<Identity>, Settings),
}

/// Changes, each with how many operations of the batch came before it.
pub type Changes = Vec<(usize, Change)>;

/// See the module.
pub struct Draft<'a> {
    catalog: &'a mut Catalog,
    /// What the paths that were touched named before.
    before: BTreeMap<Arc<str>, Option<Arc<Identity>>>,
    born: BTreeMap<CollectionId, Arc<Identity>>,
    /// Each with how many operations came before it went.
    gone: Vec<(usize, Arc<Identity>)>,
    /// Those that have other settings.
    configured: BTreeMap<Arc<str>, (Arc<Identity>, Settings)>,
    is_kept: bool,
}

impl<'a> Draft<'a> {
    /// Nothing is changed yet.
    pub fn new(catalog: &'a mut Catalog) -> Self {
        let (before, born, gone, configured) = Default::default();
        Self { catalog, before, born, gone, configured, is_kept: false }
    }

    /// Makes one change, before which came `at` operations. Cost: a search for each collection that
    /// it touches.
    ///
    /// Errors: `InvalidArgument` if what it makes is there, or for a bad path; `NotFound` if what it
    /// changes is not there.
    pub fn apply(&mut self, at: usize, change: &Change) -> Result<()> {
        match change {
            Change::Create(path, identity) => self.create(path, identity),
            Change::Delete(identity) => self.delete(at, identity),
            Change::Rename(identity, path) => self.rename(identity, path),
            Change::Configure(identity, settings) => {
                let path = self.check_there(identity)?;
                self.configured.insert(path, (identity.clone(), settings.clone()));
                Ok(())
            }
        }
    }

    fn set(&mut self, path: &Arc<str>, identity: Option<Arc<Identity>>) {
        let named = self.catalog.set(path, identity);
        self.before.entry(path.clone()).or_insert(named);
    }

    fn create(&mut self, path: &Arc<str>, identity: &Arc<Identity>) -> Result<()> {
        check_path(path)?;
        self.check_free(path)?;
        if identity.life() != Life::Expected || self.born.contains_key(&identity.id) {
            let message = format!("collection {path:?}: the batch that creates it was committed");
            return Err(Error::invalid(message));
        }
        self.create_parents(path)?;
        self.set(path, Some(identity.clone()));
        self.born.insert(identity.id, identity.clone());
        Ok(())
    }

    fn create_parents(&mut self, path: &str) -> Result<()> {
        for parent in parents(path) {
            if self.catalog.find(parent).is_none() {
                let parent: Arc<str> = parent.into();
                let id = self.catalog.take_id()?;
                let identity = Identity::new(id, parent.clone(), Life::Expected);
                self.set(&parent, Some(identity.clone()));
                self.born.insert(id, identity);
            }
        }
        Ok(())
    }

    fn delete(&mut self, at: usize, identity: &Arc<Identity>) -> Result<()> {
        for (path, identity) in self.tree(identity)? {
            self.set(&path, None);
            self.gone.push((at, identity));
        }
        Ok(())
    }

    fn rename(&mut self, identity: &Arc<Identity>, to: &Arc<str>) -> Result<()> {
        check_path(to)?;
        self.check_free(to)?;
        let tree = self.tree(identity)?;
        let from = identity.path();
        if parents(to).any(|parent| *parent == *from) {
            let message = format!("collection {from:?} cannot move below itself, to {to:?}");
            return Err(Error::invalid(message));
        }
        for (path, _) in &tree {
            self.set(path, None);
        }
        self.create_parents(to)?;
        for (path, identity) in tree {
            let rest = path.get(from.len()..).unwrap_or_default();
            let path: Arc<str> = [to, rest].concat().into();
            check_path(&path)?;
            self.set(&path, Some(identity));
        }
        Ok(())
    }

    /// A collection and all below it. Errors: `NotFound` if it is not in the catalog.
    fn tree(&self, identity: &Arc<Identity>) -> Result<Vec<(Arc<str>, Arc<Identity>)>> {
        let path = self.check_there(identity)?;
        let below = self.catalog.below(&path).map(|(path, it)| (path.clone(), it.clone()));
        Ok(std::iter::once((path.clone(), identity.clone())).chain(below).collect())
    }

    /// The path of a collection. Errors: `NotFound` if it is not in the catalog.
    fn check_there(&self, identity: &Arc<Identity>) -> Result<Arc<str>> {
        let path = identity.path();
        if self.catalog.find(&path).is_some_and(|found| Arc::ptr_eq(found, identity)) {
            return Ok(path);
        }
        let message = format!("collection {path:?} is not there");
        Err(Error::new(ErrorKind::NotFound, message))
    }

    fn check_free(&self, path: &str) -> Result<()> {
        if self.catalog.find(path).is_none() {
            return Ok(());
        }
        Err(Error::invalid(format!("collection {path:?} exists")))
    }

    /// Errors: `NotFound` if a batch writes to a collection that is not there, or not any more at
    /// that place of the batch.
    fn check_writes(&self, batch: &Batch, to: &[Arc<Identity>]) -> Result<()> {
        for identity in to {
            if !self.born.contains_key(&identity.id) {
                identity.check_written(batch)?;
            }
        }
        let Some(first) = self.gone.iter().map(|(at, _)| *at).min() else { return Ok(()) };
        let gone: BTreeMap<CollectionId, (usize, &Arc<Identity>)> =
            self.gone.iter().map(|(at, identity)| (identity.id, (*at, identity))).collect();
        for (place, op) in batch.iter().enumerate().skip(first) {
            if let Some((at, identity)) = gone.get(&op.collection)
                && *at <= place
            {
                let message = format!("collection {:?} was deleted by the batch", identity.path());
                return Err(Error::new(ErrorKind::NotFound, message));
            }
        }
        Ok(())
    }

    /// Appends what makes the draft true: a range delete of each collection that goes, and the
    /// records that differ.
    fn write(&self, batch: &mut Batch) -> Result<()> {
        for (_, Identity { id: collection, .. }) in self.gone.iter().map(|(at, it)| (at, &**it)) {
            let collection = *collection;
            batch.push(Op {
                kind: Kind::RangeDelete,
                collection,
                key: b"",
                value: b"",
                expires: None,
            })?;
        }
        let collection = CollectionId::SYSTEM;
        for (path, before) in &self.before {
            let key = &record_key(path);
            match (before, self.catalog.find(path)) {
                (_, Some(now)) if !before.as_ref().is_some_and(|old| Arc::ptr_eq(old, now)) => {
                    let value = &record_value(now.id, &now.settings());
                    batch.push(Op { kind: Kind::Put, collection, key, value, expires: None })?;
                }
                (Some(_), None) => {
                    batch.push(Op {
                        kind: Kind::Delete,
                        collection,
                        key,
                        value: b"",
                        expires: None,
                    })?;
                }
                _ => {}
            }
        }
        for (path, (Identity { id, .. }, settings)) in
            self.configured.iter().map(|(path, (it, settings))| (path, (&**it, settings)))
        {
            let (key, value) = (&record_key(path), &record_value(*id, settings));
            batch.push(Op { kind: Kind::Put, collection, key, value, expires: None })?;
        }
        if !self.born.is_empty() {
            let (key, value) = self.catalog.counter();
            batch.push(Op { kind: Kind::Put, collection, key, value: &value, expires: None })?;
        }
        Ok(())
    }
}

impl Drop for Draft<'_> {
    fn drop(&mut self) {
        if !self.is_kept {
            for (path, before) in std::mem::take(&mut self.before) {
                self.catalog.set(&path, before);
            }
        }
    }
}

/// A batch with the changes of the catalog written behind its own operations.
struct Turning<'a, 'b> {
    batch: &'a Batch,
    draft: &'a Draft<'b>,
}

impl Ops for Turning<'_, '_> {
    fn count(&self) -> usize {
        self.batch.count()
    }

    fn iter(&self) -> impl Iterator<Item = Op<'_>> {
        self.batch.iter()
    }

    fn numbered(&self) {
        self.draft.born.values().for_each(|identity| identity.turn(Life::Alive));
        self.draft.gone.iter().for_each(|(_, identity)| identity.turn(Life::Gone));
    }
}

impl Core {
    /// Commits a batch, which writes to the collections `to`, with changes of the catalog, whose lock
    /// the caller holds.
    ///
    /// Errors: those of [`Draft::apply`], and nothing has changed; those of a commit.
    pub(in crate::db) fn commit_changes(
        &self,
        catalog: &mut Catalog,
        changes: &[(usize, Change)],
        (mut batch, to): (Batch, &Targets),
        durability: Durability,
    ) -> Result<()> {
        let writing = self.writing()?;
        let mut draft = Draft::new(catalog);
        for (at, change) in changes {
            draft.apply(*at, change)?;
        }
        draft.check_writes(&batch, to.all())?;
        draft.write(&mut batch)?;
        writing.committer.commit(&Turning { batch: &batch, draft: &draft }, durability)?;
        for (identity, settings) in draft.configured.values() {
            identity.set(settings);
            self.rules.set(identity.id, settings.rule(&self.options));
        }
        draft.is_kept = true;
        Ok(())
    }

    /// The identity of a collection that is to be created, and its rule: operations may be written
    /// for it at once. The rule stays when the collection goes, for the snapshots that have it.
    ///
    /// Errors: `InvalidArgument` for a bad path, or a setting that cannot be.
    pub(in crate::db) fn expect(
        &self,
        catalog: &mut Catalog,
        path: &Arc<str>,
        settings: &Settings,
    ) -> Result<Arc<Identity>> {
        check_path(path)?;
        settings.check(&self.options)?;
        let identity = Identity::new(catalog.take_id()?, path.clone(), Life::Expected);
        if !settings.is_empty() {
            identity.set(settings);
            self.rules.set(identity.id, settings.rule(&self.options));
        }
        Ok(identity)
    }
}
