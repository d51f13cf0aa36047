//! Copies: checkpoints and backups, opened long after what they were made of has gone on.
//!
//! 1. A copy is of the moment at which it was made, with all named snapshots of then, whatever became
//!    of the database since.
//! 2. A copy whose making has returned outlives every crash. One that a crash cut short may be there.

use super::run::{Done, Run};
use super::shown::Shown;
use super::state::State;
use super::steps::Author;
use crate::TALLY;
use crate::support::session::text;
use esker::{Checksum, Db};
use std::path::{Path, PathBuf};
use std::sync::Arc;

#[derive(Clone, Copy, Debug)]
pub enum Copies {
    Checkpoint,
    Backup,
    /// Opens a checkpoint, and looks.
    Open(usize),
    /// Restores a backup, and looks.
    Restore(usize),
    /// Keeps the newest backups.
    Keep(usize),
}

impl Author {
    pub fn copies(&mut self) -> Copies {
        match self.dice.below(10) {
            0..=2 => Copies::Checkpoint,
            3..=5 => Copies::Backup,
            6 | 7 => Copies::Open(self.dice.index(8)),
            8 => Copies::Restore(self.dice.index(8)),
            _ => Copies::Keep(1 + self.dice.index(3)),
        }
    }
}

/// What was copied, and what each copy holds.
#[derive(Default)]
pub struct Kept {
    checkpoints: Vec<(PathBuf, Checksum, Arc<State>)>,
    backups: Vec<(u64, Arc<State>)>,
    /// The newest of them was cut short by the end of the process alone: the disk may lose it yet.
    is_doubtful: bool,
    /// What a backup holds that was being made when the world died.
    begun: Option<Arc<State>>,
    /// How many were to be kept when it died.
    keeping: Option<usize>,
    folders: u32,
}

/// Where backups lie.
fn folder() -> &'static Path {
    Path::new("/backups")
}

impl Run {
    pub fn copies(&mut self, step: &Copies) -> Done {
        let state = self.now().clone();
        match step {
            Copies::Checkpoint if self.kept.checkpoints.len() < 3 => {
                self.kept.folders += 1;
                let to = PathBuf::from(format!("/copy-{}", self.kept.folders));
                let report = self.ok(self.db.checkpoint(&to))?;
                self.kept.checkpoints.push((to, report.checksum, state));
                self.history.promise();
            }
            Copies::Backup if self.kept.backups.len() < 4 => {
                self.kept.begun = Some(state.clone());
                let report = self.ok(self.db.backup(folder()))?;
                self.kept.begun = None;
                if !report.damages.is_empty() {
                    return Err(format!("a backup found {:?}", report.damages).into());
                }
                self.kept.backups.push((report.number, state));
                self.kept.is_doubtful = false;
                self.history.promise();
            }
            Copies::Checkpoint | Copies::Backup => {}
            Copies::Open(index) => self.open_copy(*index)?,
            Copies::Restore(index) => self.restore(*index)?,
            Copies::Keep(newest) if !self.kept.backups.is_empty() => {
                let options = self.setup.options(&self.world);
                self.kept.keeping = Some(*newest);
                let left = self.ok(options.keep_backups(folder(), *newest))?;
                self.kept.keeping = None;
                self.kept.is_doubtful = false;
                let gone = self.kept.backups.len().saturating_sub(*newest);
                self.kept.backups.drain(..gone);
                if left != self.kept.backups.len() {
                    return Err(format!("{left} backups are left of {newest}").into());
                }
            }
            Copies::Keep(_) => {}
        }
        Ok(())
    }

    fn open_copy(&mut self, index: usize) -> Result<(), String> {
        let copies = &self.kept.checkpoints;
        let Some((at, checksum, state)) = copies.get(index % copies.len().max(1)) else {
            return Ok(());
        };
        let world = self.world.snapshot();
        let db = self.setup.options(&world).create_if_missing(false).open(at).map_err(text)?;
        is_whole(&db, *checksum, state)?;
        TALLY.add("checkpoints opened", 1);
        Ok(())
    }

    fn restore(&mut self, index: usize) -> Result<(), String> {
        let backups = &self.kept.backups;
        let Some((number, state)) = backups.get(index % backups.len().max(1)) else {
            return Ok(());
        };
        let world = self.world.snapshot();
        let (options, to) = (self.setup.options(&world), Path::new("/restored"));
        let told = options.restore_with(folder(), Some(*number), to, &mut |_, _| {});
        let told = told.map_err(text)?;
        let db = options.create_if_missing(false).open(to).map_err(text)?;
        is_whole(&db, told.checksum, state)?;
        TALLY.add("backups restored", 1);
        Ok(())
    }

    /// After a crash: all backups are there, and perhaps the one that was begun; of those that were to
    /// go the older ones may be gone.
    pub fn find_backups(&mut self, is_lost: bool) -> Result<(), String> {
        let (begun, keeping) = (self.kept.begun.take(), self.kept.keeping.take());
        if self.kept.backups.is_empty() && begun.is_none() {
            return Ok(());
        }
        let found = match self.setup.options(&self.world).backups(folder()) {
            Ok(found) => found,
            // The folder was not there yet.
            Err(_) if self.kept.backups.is_empty() => return Ok(()),
            Err(error) => return Err(text(error)),
        };
        let numbers: Vec<u64> = found.iter().map(|backup| backup.number).collect();
        if let Some(newest) = keeping {
            let most = self.kept.backups.len().saturating_sub(newest);
            let is_there = |backup: &(u64, _)| numbers.contains(&backup.0);
            let gone = self.kept.backups.iter().take_while(|backup| !is_there(backup)).count();
            self.kept.backups.drain(..gone.min(most));
        }
        if self.kept.is_doubtful && is_lost {
            self.kept.backups.pop_if(|(number, _)| !numbers.contains(number));
            self.kept.is_doubtful = false;
        }
        let mut want: Vec<u64> = self.kept.backups.iter().map(|(number, _)| *number).collect();
        if let (Some(state), Some(last)) = (begun, numbers.last())
            && !want.contains(last)
        {
            want.push(*last);
            self.kept.backups.push((*last, state));
            self.kept.is_doubtful = !is_lost;
        }
        if numbers == want { Ok(()) } else { Err(format!("backups {numbers:?}, want {want:?}")) }
    }
}

fn is_whole(db: &Db, checksum: Checksum, state: &State) -> Result<(), String> {
    Shown::of(db)?.against(state).map_err(|told| format!("in a copy: {told}"))?;
    let damages = db.verify().map_err(text)?.damages;
    if !damages.is_empty() {
        return Err(format!("verify found {damages:?} in a copy"));
    }
    let found = db.checksum().map_err(text)?;
    if found == checksum { Ok(()) } else { Err(format!("a copy has {found}, noted {checksum}")) }
}
