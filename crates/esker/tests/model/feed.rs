//! The change feed: copies, each of a moment of its own, that follow it over whatever comes.
//!
//! 1. A copy and all changes since are the present, or the feed says that it does not hold them.
//! 2. What a feed has given no crash takes back.

use super::run::{Done, Run};
use super::state::{Expiry, State};
use super::steps::Author;
use crate::TALLY;
use crate::support::reference::{Mix, Val};
use crate::support::session::text;
use esker::{Action, Change, ErrorKind, MergeOperator, Operation, Settings};
use std::collections::{BTreeMap, BTreeSet};

#[derive(Clone, Copy, Debug)]
pub enum Feed {
    Begin,
    Follow(usize),
    Drop(usize),
}

impl Author {
    pub fn feed(&mut self) -> Feed {
        match self.dice.below(6) {
            0 | 1 => Feed::Begin,
            2 => Feed::Drop(self.dice.index(8)),
            _ => Feed::Follow(self.dice.index(8)),
        }
    }
}

/// Who follows, and from which number on.
pub struct Follower {
    copy: Copy,
    next: u64,
}

/// A database as its follower has it: collections by their numbers.
#[derive(Default)]
struct Copy {
    rooms: BTreeMap<u32, Room>,
    named: BTreeSet<String>,
}

#[derive(Default)]
struct Room {
    /// None: it was not told, or is gone.
    path: Option<String>,
    settings: Settings,
    cells: BTreeMap<Vec<u8>, Cell>,
}

/// A value as it was put, and the operands since.
#[derive(Default)]
struct Cell {
    value: Option<Vec<u8>>,
    expires: Expiry,
    operands: Vec<Vec<u8>>,
}

impl Cell {
    fn shown(&self, now: u64) -> Option<Vec<u8>> {
        let value = self.value.as_ref().filter(|_| self.expires.is_none_or(|at| now < at));
        if self.operands.is_empty() {
            return value.cloned();
        }
        let operands: Vec<&[u8]> = self.operands.iter().map(Vec::as_slice).collect();
        Some(Mix.full(b"", value.map(Vec::as_slice), &operands).expect("operands are whole"))
    }
}

impl Copy {
    /// Does what a batch says.
    fn apply(&mut self, operations: Vec<Operation>) -> Result<(), String> {
        let mut unnamed = Vec::new();
        for Operation { collection, path, action, .. } in operations {
            let path = path.map(|path| path.to_string());
            let room = self.rooms.entry(collection.unwrap_or_default()).or_default();
            match action {
                Action::Put { key, value, expires } => {
                    let cell = Cell { value: Some(value.to_vec()), expires, operands: Vec::new() };
                    room.cells.insert(key.to_vec(), cell);
                }
                Action::Remove { key } => _ = room.cells.remove(&*key),
                Action::Merge { key, operand } => {
                    room.cells.entry(key.to_vec()).or_default().operands.push(operand.to_vec());
                }
                Action::RemoveRange { start, end } => room.cells.retain(|key, _| {
                    **key < *start || end.as_ref().is_some_and(|end| **key >= **end)
                }),
                Action::Named { settings } => {
                    room.settings = settings;
                    self.name(collection.ok_or("a name of no collection")?, path);
                }
                Action::Unnamed => unnamed.push(path),
                Action::SnapshotNamed { name, .. } => _ = self.named.insert(name),
                Action::SnapshotForgotten { name } => _ = self.named.remove(&name),
                other => return Err(format!("an action of a new kind: {other:?}")),
            }
        }
        self.rooms.retain(|_, room| room.path.is_some() && !unnamed.contains(&room.path));
        Ok(())
    }

    /// From whom it had the path that is gone.
    fn name(&mut self, collection: u32, path: Option<String>) {
        for (other, room) in &mut self.rooms {
            if *other == collection {
                room.path.clone_from(&path);
            } else if room.path == path {
                room.path = None;
            }
        }
    }

    /// Whether it is what the reference has.
    fn against(&self, state: &State) -> Result<(), String> {
        let now = state.now.clock.now();
        let rooms = self.rooms.values().map(|room| (room.path.clone().unwrap_or_default(), room));
        let rooms: BTreeMap<String, &Room> = rooms.collect();
        if !rooms.keys().eq(&state.now.paths()) || !self.named.iter().eq(state.named.keys()) {
            return Err(format!("who follows has {:?}, {:?}", rooms.keys(), self.named));
        }
        for (path, pairs) in state.now.all() {
            let room = rooms[path];
            let shown = room.cells.iter().filter_map(|(key, cell)| Some((key, cell.shown(now)?)));
            let want = pairs.iter().map(|(key, val)| (key.0.to_vec(), val.bytes()));
            if !shown.map(|(key, value)| (key.clone(), value)).eq(want) {
                return Err(format!("who follows has other pairs in {path:?}"));
            }
            let settings = state.now.number(path).and_then(|number| state.now.settings(number));
            if Some(&room.settings) != settings {
                return Err(format!("who follows has {:?} for {path:?}", room.settings));
            }
        }
        Ok(())
    }
}

impl Run {
    pub fn feed(&mut self, step: &Feed) -> Done {
        match step {
            Feed::Begin if self.followers.len() < 4 => {
                self.promising(|run| run.db.sync())?;
                let follower = self.follower()?;
                self.followers.push(follower);
            }
            Feed::Begin => {}
            Feed::Follow(index) => self.follow(*index)?,
            Feed::Drop(index) => {
                if !self.followers.is_empty() {
                    self.followers.swap_remove(index % self.followers.len());
                }
            }
        }
        Ok(())
    }

    /// One that has a copy of the present.
    fn follower(&self) -> Result<Follower, String> {
        let now = &self.now().now;
        let mut copy =
            Copy { named: self.now().named.keys().cloned().collect(), ..Copy::default() };
        for path in now.paths() {
            let found = self.db.existing_collection(&path).map_err(text)?;
            let id = found.ok_or_else(|| format!("{path:?} is not there"))?.id();
            let number = now.number(&path).expect("it was listed");
            let settings = now.settings(number).cloned().unwrap_or_default();
            let cells = now.cells(number).map(|(key, val, expires, operands)| {
                let operands = operands.iter().map(|operand| Mix::operand(*operand)).collect();
                (key.0.to_vec(), Cell { value: val.map(Val::bytes), expires, operands })
            });
            let cells = cells.collect();
            copy.rooms.insert(id, Room { path: Some(path), settings, cells });
        }
        Ok(Follower { copy, next: self.db.snapshot().sequence() + 1 })
    }

    fn follow(&mut self, index: usize) -> Done {
        if self.followers.is_empty() {
            return Ok(());
        }
        self.promising(|run| run.db.sync())?;
        let mut follower = self.followers.swap_remove(index % self.followers.len());
        let held = self.ok(self.db.changes_held())?;
        let mut changes = match self.db.changes(follower.next) {
            Err(error) if error.kind() == ErrorKind::NotFound && follower.next < held.start => {
                TALLY.add("followers that were too slow", 1);
                return Ok(());
            }
            changes => self.ok(changes)?,
        };
        while let Some(change) = self.ok(changes.try_next())? {
            match change {
                Change::Batch { operations, .. } => follower.copy.apply(operations)?,
                Change::Bulk { .. } => {
                    // What went past the log is read, and all else with it.
                    let follower = self.follower()?;
                    self.followers.push(follower);
                    return Ok(());
                }
                other => return Err(format!("a change of a new kind: {other:?}").into()),
            }
            TALLY.add("changes followed", 1);
        }
        follower.next = changes.position();
        follower.copy.against(self.now())?;
        self.followers.push(follower);
        Ok(())
    }
}
