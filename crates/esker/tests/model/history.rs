//! What was done so far: a state after each write, and what of it was promised.
//!
//! ```text
//!   version   0   1   2   3   4   5
//!                     │       │   └ proposed: it may be there after a crash
//!                     │       └ acknowledged: there as long as only the process dies
//!                     └ durable: there whatever the disk loses
//! ```
//!
//! 1. A version is one write. Version 0 is empty.

use super::state::{Number, Span, State};
use esker::Durability;
use std::sync::Arc;

/// Keys of a collection that a write wrote to.
pub type Touch = (Number, Span);

/// A write on its way.
#[derive(Clone, Debug)]
pub struct Draft {
    pub state: State,
    pub touched: Vec<Touch>,
}

struct Version {
    state: Arc<State>,
    touched: Vec<Touch>,
}

/// See the module.
pub struct History {
    versions: Vec<Version>,
    durable: usize,
    acknowledged: usize,
    /// After a crash two versions with other collections looked like what was found.
    pub is_unsure: bool,
}

impl History {
    pub fn new() -> Self {
        let first = Version { state: Arc::default(), touched: Vec::new() };
        Self { versions: vec![first], durable: 0, acknowledged: 0, is_unsure: false }
    }

    /// The number of the newest version.
    pub fn version(&self) -> usize {
        self.versions.len() - 1
    }

    pub fn now(&self) -> &Arc<State> {
        self.at(self.version())
    }

    pub fn at(&self, version: usize) -> &Arc<State> {
        &self.versions[version].state
    }

    /// A write that has not changed anything yet.
    pub fn draft(&self) -> Draft {
        Draft { state: State::clone(self.now()), touched: Vec::new() }
    }

    pub fn propose(&mut self, mut draft: Draft) {
        draft.touched.retain(|(_, span)| !span.is_empty());
        self.versions.push(Version { state: Arc::new(draft.state), touched: draft.touched });
    }

    /// What was proposed last was refused.
    pub fn withdraw(&mut self) {
        self.versions.pop();
    }

    pub fn acknowledge(&mut self, how: Durability) {
        self.acknowledged = self.version();
        if how == Durability::Sync {
            self.promise();
        }
    }

    /// All there is is durable.
    pub fn promise(&mut self) {
        self.acknowledged = self.version();
        self.durable = self.version();
    }

    /// The oldest version that a crash may leave.
    pub fn floor(&self, is_lost: bool) -> usize {
        if is_lost { self.durable } else { self.acknowledged }
    }

    /// What was written to a collection since a version.
    pub fn touched(&self, since: usize, number: Number) -> impl Iterator<Item = &Span> {
        let touched = self.versions[since + 1..].iter().flat_map(|version| &version.touched);
        touched.filter(move |(at, _)| *at == number).map(|(_, span)| span)
    }

    /// Whether a collection was not there at some time since a version: handles of it are gone then,
    /// even if a revert has brought it back.
    pub fn was_gone(&self, since: usize, number: Number) -> bool {
        let mut since = self.versions[since..].iter();
        since.any(|version| version.state.now.path(number).is_none())
    }

    /// Goes on from a version, which an open has shown: no loss takes it back.
    pub fn rewind(&mut self, version: usize) {
        self.versions.truncate(version + 1);
        self.promise();
        self.open();
    }

    /// The database was opened.
    pub fn open(&mut self) {
        let version = self.version();
        Arc::make_mut(&mut self.versions[version].state).open();
    }
}
