//! The past: snapshots that are held, snapshots that have names, and going back to one of those.

use super::reads::{Eye, Glance};
use super::run::{Done, Run};
use super::state::{Moment, Span};
use super::steps::{Author, Path};
use crate::TALLY;
use crate::support::reference::KeyBytes;
use crate::support::session::same_value;
use esker::{Durability, Snapshot};
use std::sync::Arc;

const NAMES: [&str; 4] = ["x", "y", "\u{e9} z", "x/"];

#[derive(Clone, Debug)]
pub enum Past {
    Take,
    Release(usize),
    /// By the path of then, and by the handle of a collection of now.
    Look(usize, Path, Glance),
    /// Through the handle of a collection that is gone.
    LookBack(usize, usize, Glance),
    Name(&'static str),
    Forget(&'static str),
    /// Takes a named snapshot by its name.
    TakeNamed(&'static str),
    Versions(Path, KeyBytes),
    Revert(&'static str),
}

impl Author {
    pub fn past(&mut self) -> Past {
        let name = self.dice.pick(&NAMES);
        match self.dice.below(24) {
            0..=3 => Past::Take,
            4 | 5 => Past::Release(self.dice.index(8)),
            6..=11 => Past::Look(self.dice.index(8), self.path(), self.glance()),
            12 => Past::LookBack(self.dice.index(8), self.dice.index(8), self.glance()),
            13..=16 => Past::Name(name),
            17 | 18 => Past::Forget(name),
            19 => Past::TakeNamed(name),
            20 | 21 => Past::Versions(self.path(), self.key()),
            _ => Past::Revert(name),
        }
    }
}

/// A snapshot, and what it sees.
pub struct Look {
    snapshot: Snapshot,
    moment: Arc<Moment>,
}

impl Run {
    pub fn past(&mut self, step: &Past) -> Done {
        match step {
            Past::Take if self.snapshots.len() < 6 => {
                let moment = Arc::new(self.now().now.clone());
                self.snapshots.push(Look { snapshot: self.db.snapshot(), moment });
            }
            Past::Take => {}
            Past::Release(index) => {
                if !self.snapshots.is_empty() {
                    self.snapshots.swap_remove(index % self.snapshots.len());
                }
            }
            Past::Look(index, path, glance) => self.look(*index, path, glance)?,
            Past::LookBack(index, handle, glance) => self.look_back(*index, *handle, glance)?,
            Past::Name(name) => {
                let mut draft = self.history.draft();
                let judged = draft.state.name(name, self.history.version());
                let judged = judged.map(|()| draft);
                self.commit(judged, Some(Durability::Sync), |db| db.name_snapshot(name))?;
            }
            Past::Forget(name) => {
                let mut draft = self.history.draft();
                let judged = draft.state.forget(name).map(|()| draft);
                self.commit(judged, Some(Durability::Sync), |db| db.forget_snapshot(name))?;
            }
            Past::TakeNamed(name) => {
                let found = self.ok(self.db.named_snapshot(name))?;
                let want = self.now().named.get(*name).map(|(_, moment)| moment.clone());
                if found.is_some() != want.is_some() {
                    return Err(format!("the snapshot is {found:?}").into());
                }
                let look = found.zip(want).map(|(snapshot, moment)| Look { snapshot, moment });
                self.snapshots.extend(look);
            }
            Past::Versions(path, key) => self.versions(path, key)?,
            Past::Revert(name) => self.revert(name)?,
        }
        Ok(())
    }

    /// F-43: a snapshot sees its moment until it is released.
    fn look(&mut self, index: usize, path: Path, glance: &Glance) -> Done {
        let now = self.existing(path)?;
        let Some(Look { snapshot, moment }) =
            self.snapshots.get(index % self.snapshots.len().max(1))
        else {
            return Ok(());
        };
        let found = self.ok(self.db.collections_at(snapshot))?;
        if found != moment.paths() {
            return Err(format!("there were {found:?}, want {:?}", moment.paths()).into());
        }
        let view = self.ok(self.db.view_at(path, snapshot))?;
        match (view, moment.number(path)) {
            (None, None) => {}
            (Some(view), Some(number)) => {
                Eye::Then(&view).check(glance, (moment, number), &mut self.dice)?;
            }
            (view, number) => return Err(format!("{path:?} was {number:?}, not {view:?}").into()),
        }
        let Some((number, collection)) = now else { return Ok(()) };
        let view = collection.at(snapshot);
        Ok(Eye::Then(&view).check(glance, (moment, number), &mut self.dice)?)
    }

    fn look_back(&mut self, index: usize, handle: usize, glance: &Glance) -> Done {
        let look = self.snapshots.get(index % self.snapshots.len().max(1));
        let gone = self.gone.get(handle % self.gone.len().max(1));
        let (Some(Look { snapshot, moment }), Some((handle, number))) = (look, gone) else {
            return Ok(());
        };
        let view = handle.at(snapshot);
        Ok(Eye::Then(&view).check(glance, (moment, *number), &mut self.dice)?)
    }

    /// What a key was at each named snapshot, oldest first.
    fn versions(&mut self, path: Path, key: &KeyBytes) -> Done {
        let Some((number, collection)) = self.existing(path)? else { return Ok(()) };
        let found = self.ok(collection.versions(&key.0))?;
        let mut want: Vec<_> = self.now().named.iter().collect();
        want.sort_by_key(|(_, (version, _))| *version);
        let (names, wanted): (Vec<_>, Vec<_>) = (
            found.iter().map(|(name, _)| name).collect(),
            want.iter().map(|(name, _)| *name).collect(),
        );
        if names != wanted {
            return Err(format!("versions at {names:?}, want {wanted:?}").into());
        }
        for ((name, value), (_, (_, moment))) in found.iter().zip(want) {
            let want = moment.get(number, key);
            same_value(value.as_deref(), want).map_err(|told| format!("at {name:?}: {told}"))?;
        }
        Ok(())
    }

    /// MOSS-24.
    fn revert(&mut self, name: &str) -> Done {
        let mut draft = self.history.draft();
        let judged = draft.state.revert(name);
        let (keys, records) = draft.state.now.differences(&self.now().now);
        let want = (keys.len() + records) as u64;
        draft.touched = keys.into_iter().map(|(number, key)| (number, Span::one(&key))).collect();
        let judged = judged.map(|()| draft);
        let found = self.commit(judged, Some(Durability::Sync), |db| db.revert(name))?;
        let Some(found) = found else { return Ok(()) };
        TALLY.add("reverts", 1);
        if self.history.is_unsure {
            // Which of its handles go on is not known.
            self.handles.clear();
            self.gone.clear();
        } else if found != want {
            return Err(format!("{found} keys were written again, want {want}").into());
        }
        Ok(())
    }
}
