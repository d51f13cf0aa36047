//! Writes of one collection: a value, an operand, a removal, in all the ways there are; many values
//! at once.

use super::history::Draft;
use super::run::{Done, Run};
use super::state::{Change, Lifetime, Number};
use super::steps::{Author, Path, Style};
use crate::TALLY;
use crate::support::reference::{KeyBytes, Many, Mix, Val};
use crate::support::session::slice;
use esker::{Collection, Durability, ErrorKind};
use std::collections::BTreeMap;
use std::io::Write as _;
use std::time::Duration;

#[derive(Clone, Debug)]
pub enum Write {
    One {
        path: Path,
        style: Style,
        change: Change,
        how: Option<Durability>,
    },
    /// A value piece by piece.
    Stream {
        path: Path,
        style: Style,
        key: KeyBytes,
        val: Val,
        life: Option<Lifetime>,
        how: Option<Durability>,
    },
    Ingest {
        path: Path,
        style: Style,
        pairs: BTreeMap<KeyBytes, Val>,
    },
    /// JSON Lines; the one at `bad`, if there is one, is no pair.
    Import {
        path: Path,
        style: Style,
        lines: Vec<Change>,
        bad: Option<usize>,
    },
    /// What a collection exports, imported into another.
    Pour {
        from: Path,
        path: Path,
        style: Style,
    },
    /// Through the handle of a collection that is gone.
    Gone {
        index: usize,
        key: KeyBytes,
    },
}

impl Author {
    fn lifetime(&mut self) -> Lifetime {
        let millis = self.dice.pick(&[0, 1, 100, 500, 2000, 60_000]);
        let life = if self.dice.one_in(12) { Duration::MAX } else { Duration::from_millis(millis) };
        Lifetime(Some(life))
    }

    pub fn put_for(&mut self, key: KeyBytes, val: Val) -> Change {
        Change::PutFor(key, val, self.lifetime())
    }

    pub fn change(&mut self) -> Change {
        let key = self.key();
        if self.dice.one_in(4) {
            return Change::Remove(key);
        }
        if self.has_ranges && self.dice.one_in(8) {
            return Change::RemoveMany(self.many());
        }
        let val = self.val();
        if self.merges && self.dice.one_in(3) {
            return Change::Merge(key, val);
        }
        if self.expires && self.dice.one_in(4) {
            self.put_for(key, val)
        } else {
            Change::Put(key, val)
        }
    }

    pub fn write(&mut self) -> Write {
        let (path, style) = (self.path(), self.style());
        match self.dice.below(24) {
            0 | 1 => {
                // Of nothing, too.
                let keys = if self.dice.one_in(8) { Vec::new() } else { self.some_keys() };
                let pairs = keys.into_iter().map(|key| (key, self.val())).collect();
                Write::Ingest { path, style, pairs }
            }
            2 => {
                let (key, val, how) = (self.key(), self.val(), self.durability());
                let expires = self.expires && self.dice.one_in(4);
                let life = if expires { Some(self.lifetime()) } else { None };
                Write::Stream { path, style, key, val, life, how }
            }
            3 if self.dice.coin() => self.import(path, style),
            3 => Write::Pour { from: self.path(), path, style },
            4 => Write::Gone { index: self.dice.index(8), key: self.key() },
            _ => Write::One { path, style, change: self.change(), how: self.durability() },
        }
    }
}

impl Draft {
    /// Changes pairs, and notes where.
    pub fn change(&mut self, number: Number, change: &Change) -> Result<(), ErrorKind> {
        self.state.change(number, change)?;
        self.touched.push((number, change.span()));
        Ok(())
    }
}

fn write_one(to: &Collection, change: &Change, how: Durability) -> esker::Result<()> {
    match change {
        // As durable as the default says.
        Change::PutFor(key, val, life) => to.insert_with_ttl(&key.0, val.bytes(), life.span()),
        Change::PutUntil(..) => unreachable!("of transactions alone"),
        Change::Put(key, val) => to.insert_with(&key.0, val.bytes(), how),
        Change::Merge(key, val) => to.merge_with(&key.0, Mix::operand(*val), how),
        Change::Remove(key) => to.remove_with(&key.0, how),
        Change::RemoveMany(Many::All) => to.clear_with(how),
        Change::RemoveMany(Many::Prefix(prefix)) => to.remove_prefix_with(&prefix.0, how),
        Change::RemoveMany(Many::Range(start, end)) => {
            to.remove_range_with::<&[u8]>((slice(start), slice(end)), how)
        }
    }
}

impl Run {
    /// Whether a change can be handed to a collection: operands need an operator.
    pub fn takes(&self, number: Number, change: &Change) -> bool {
        self.now().now.merges(number) || !matches!(change, Change::Merge(..))
    }

    pub fn write(&mut self, step: &Write) -> Done {
        match step {
            Write::One { path, style, change, how } => {
                let (number, to) = self.collection(path, *style)?;
                let judged = self.changed(number, std::slice::from_ref(change));
                let how = how.filter(|_| !matches!(change, Change::PutFor(..)));
                let durability = self.durability(how);
                self.commit(judged, how, |_| write_one(&to, change, durability))?;
            }
            Write::Stream { path, style, key, val, life, how } => {
                let (number, to) = self.collection(path, *style)?;
                let change = match life {
                    None => Change::Put(key.clone(), *val),
                    Some(life) => Change::PutFor(key.clone(), *val, *life),
                };
                let judged = self.changed(number, &[change]);
                let (durability, bytes) = (self.durability(*how), val.bytes());
                let cut = bytes.len() / 3;
                self.commit(judged, *how, |_| {
                    let mut writer = to.writer(&key.0);
                    if let Some(life) = life {
                        writer = writer.with_ttl(life.span()).with_len(val.len.into())?;
                    }
                    for piece in [&bytes[..cut], &bytes[cut..]] {
                        writer.write_all(piece).expect("memory takes it");
                    }
                    writer.finish_with(durability)
                })?;
            }
            Write::Ingest { path, style, pairs } => {
                let (number, to) = self.collection(path, *style)?;
                let put = |(key, val): (&KeyBytes, &Val)| Change::Put(key.clone(), *val);
                let changes: Vec<_> = pairs.iter().map(put).collect();
                let judged = self.changed(number, &changes);
                let bytes = pairs.iter().map(|(key, val)| (&*key.0, val.bytes()));
                let sync = Some(Durability::Sync);
                let count = self.commit(judged, sync, |_| to.ingest(bytes))?;
                if count != Some(pairs.len() as u64) {
                    return Err(format!("{} pairs were {count:?}", pairs.len()).into());
                }
                TALLY.add("ingests", 1);
            }
            Write::Import { path, style, lines, bad } => {
                self.import((path, *style), lines, *bad)?
            }
            Write::Pour { from, path, style } => self.pour(from, (path, *style))?,
            Write::Gone { index, key } => {
                if let Some((to, _)) = self.gone.get(index % self.gone.len().max(1)).cloned() {
                    self.commit(Err(ErrorKind::NotFound), None, |_| to.insert(&key.0, "late"))?;
                }
            }
        }
        Ok(())
    }

    /// What there will be after changes of one collection.
    pub fn changed(&self, number: Number, changes: &[Change]) -> Result<Draft, ErrorKind> {
        let mut draft = self.history.draft();
        for change in changes {
            if !self.takes(number, change) {
                return Err(ErrorKind::InvalidArgument);
            }
            draft.change(number, change)?;
        }
        Ok(draft)
    }
}
