//! Batches: changes of several collections, and of the tree of collections, as one.
//!
//! 1. A batch that the reference refuses is refused, and changes nothing.
//! 2. A collection that the batch makes is written to in the same batch.

use super::history::Draft;
use super::run::{Done, Run};
use super::state::{Change, Number};
use super::steps::{Author, Path, Style};
use crate::TALLY;
use crate::support::reference::{Many, Mix};
use crate::support::session::slice;
use esker::{Collection, Durability, ErrorKind, WriteBatch};

#[derive(Clone, Debug)]
pub struct Batch {
    ops: Vec<Op>,
    /// None: the batch is dropped.
    how: Option<Option<Durability>>,
}

/// One operation of a batch.
#[derive(Clone, Debug)]
pub enum Op {
    Change(Path, Style, Change),
    /// A value that is written in place, after a slot that is dropped.
    Slot(Path, Style, Change),
    Create(Path, Style),
    Delete(Path),
    Rename(Path, Path),
    /// A write to a collection that is gone.
    Late(usize),
}

impl Author {
    fn op(&mut self) -> Op {
        match self.dice.below(40 + 200 / (self.diet.tree + 1)) {
            0 | 1 => Op::Create(self.path(), self.style()),
            2 => Op::Delete(self.path()),
            3 => Op::Rename(self.path(), self.path()),
            4 if self.dice.one_in(6) => Op::Late(self.dice.index(8)),
            5..=7 => Op::Slot(self.path(), self.style(), Change::Put(self.key(), self.val())),
            _ => Op::Change(self.path(), self.style(), self.change()),
        }
    }

    pub fn batch(&mut self) -> Batch {
        let count = if self.dice.one_in(6) { self.dice.below(40) } else { self.dice.below(9) };
        let ops = (0..count).map(|_| self.op()).collect();
        let how = (!self.dice.one_in(20)).then(|| self.durability());
        Batch { ops, how }
    }
}

/// A batch on its way, and what the reference makes of it.
struct Work {
    batch: WriteBatch,
    draft: Draft,
    /// The first thing that is wrong with the tree, and with a write.
    faults: [Option<ErrorKind>; 2],
    /// Those that the batch makes.
    made: Vec<(Number, Collection, Style)>,
}

impl Work {
    fn judge(&mut self, which: usize, judged: Result<(), ErrorKind>) {
        self.faults[which] = self.faults[which].or(judged.err());
    }
}

fn push(batch: &mut WriteBatch, to: &Collection, change: &Change) -> esker::Result<()> {
    match change {
        Change::Put(key, val) => batch.insert(to, &key.0, val.bytes()),
        Change::PutFor(key, val, life) => {
            batch.insert_with_ttl(to, &key.0, val.bytes(), life.span())
        }
        Change::PutUntil(..) => unreachable!("of transactions alone"),
        Change::Merge(key, val) => batch.merge(to, &key.0, Mix::operand(*val)),
        Change::Remove(key) => batch.remove(to, &key.0),
        Change::RemoveMany(Many::All) => batch.clear(to),
        Change::RemoveMany(Many::Prefix(prefix)) => batch.remove_prefix(to, &prefix.0),
        Change::RemoveMany(Many::Range(start, end)) => {
            batch.remove_range::<&[u8]>(to, (slice(start), slice(end)))
        }
    }
}

/// Writes a value in place, into a slot that was too long, after one that is not used.
fn push_slot(batch: &mut WriteBatch, to: &Collection, change: &Change) -> esker::Result<()> {
    let Change::Put(key, val) = change else { return push(batch, to, change) };
    let bytes = val.bytes();
    batch.reserve(to, 3, 50)?.key_mut().fill(b'a');
    let mut slot = batch.reserve(to, key.0.len(), bytes.len() + 7)?;
    slot.key_mut().copy_from_slice(&key.0);
    slot.value_mut()[..bytes.len()].copy_from_slice(&bytes);
    slot.truncate(bytes.len());
    slot.commit();
    Ok(())
}

impl Run {
    pub fn batch(&mut self, step: &Batch) -> Done {
        // What is written to is there before, but for what the batch makes or deletes.
        for op in &step.ops {
            if let Op::Change(path, style, _) | Op::Slot(path, style, _) = op {
                self.collection(path, *style)?;
            }
        }
        let (batch, draft) = (self.db.batch(), self.history.draft());
        let mut work = Work { batch, draft, faults: [None, None], made: Vec::new() };
        for op in &step.ops {
            self.add(&mut work, op)?;
        }
        let Work { batch, draft, faults: [of_tree, of_writes], made } = work;
        self.gone.extend(made.iter().map(|(number, handle, _)| (handle.clone(), *number)));
        let Some(how) = step.how else { return Ok(()) };
        let judged = of_tree.or(of_writes).map_or(Ok(draft), Err);
        TALLY.add(if judged.is_ok() { "batches" } else { "batches refused" }, 1);
        let done = self.commit(judged, how, |_| match how {
            Some(how) => batch.commit_with(how),
            None => batch.commit(),
        })?;
        if done.is_some() {
            let state = self.now().clone();
            let is_there = |number: Number| state.now.path(number).is_some();
            self.gone.retain(|(_, number)| !is_there(*number));
            for (number, handle, _) in made.into_iter().filter(|made| is_there(made.0)) {
                self.handles.insert(number, handle);
            }
        }
        Ok(())
    }

    fn add(&mut self, work: &mut Work, op: &Op) -> Done {
        match op {
            Op::Create(path, style) => {
                let made = work.batch.create_collection_with(path, &style.settings());
                let number = work.draft.state.fresh();
                work.made.push((number, self.ok(made)?, *style));
                let judged = work.draft.state.create(path, number, &style.settings());
                work.judge(0, judged);
            }
            Op::Delete(path) => {
                let Some((number, handle)) = self.meant(work, path)? else { return Ok(()) };
                self.ok(work.batch.delete_collection(&handle))?;
                let judged = work.draft.delete(number);
                work.judge(0, judged);
            }
            Op::Rename(path, to) => {
                let Some((number, handle)) = self.meant(work, path)? else { return Ok(()) };
                self.ok(work.batch.rename_collection(&handle, to))?;
                let judged = work.draft.state.rename(number, to);
                work.judge(0, judged);
            }
            Op::Change(path, _, change) | Op::Slot(path, _, change) => {
                let Some((number, handle)) = self.meant(work, path)? else { return Ok(()) };
                let made = work.made.iter().find(|made| made.0 == number);
                let takes = match made {
                    Some((.., style)) => style.settings().merge_operator.is_some(),
                    None => self.takes(number, change),
                };
                if !takes && matches!(change, Change::Merge(..)) {
                    let refused = push(&mut work.batch, &handle, change);
                    return self.refused(refused, ErrorKind::InvalidArgument);
                }
                let pushed = match op {
                    Op::Slot(..) => push_slot(&mut work.batch, &handle, change),
                    _ => push(&mut work.batch, &handle, change),
                };
                self.ok(pushed)?;
                if !change.span().is_empty() {
                    let judged = work.draft.change(number, change);
                    work.judge(1, judged);
                }
            }
            Op::Late(index) => {
                if let Some((to, _)) = self.gone.get(index % self.gone.len().max(1)) {
                    self.ok(work.batch.insert(to, "late", "late"))?;
                    work.judge(1, Err(ErrorKind::NotFound));
                }
            }
        }
        Ok(())
    }

    /// The collection that a path means at this place of the batch; else the one that it meant before.
    fn meant(&mut self, work: &Work, path: Path) -> Done<Option<(Number, Collection)>> {
        let Some(number) = work.draft.state.now.number(path) else { return self.existing(path) };
        if let Some((_, handle, _)) = work.made.iter().find(|made| made.0 == number) {
            return Ok(Some((number, handle.clone())));
        }
        // A parent that the batch makes on the way has no handle yet; one that was not used before is
        // opened by the path that it has.
        if let Some(handle) = self.handles.get(&number) {
            return Ok(Some((number, handle.clone())));
        }
        let Some(before) = self.now().now.path(number).map(str::to_owned) else { return Ok(None) };
        let found = self.ok(self.db.existing_collection(&before))?;
        let handle = found.ok_or_else(|| format!("{before:?} is not there"))?;
        self.handles.insert(number, handle.clone());
        Ok(Some((number, handle)))
    }
}
