//! All that a database shows, gathered from both ends, and held against the reference.

use super::state::{Moment, Pairs, State};
use crate::support::session::{same_pair, text};
use esker::{Db, Range, Settings};
use std::collections::BTreeMap;

type Checked<T = ()> = Result<T, String>;
type Found = Vec<(Vec<u8>, Vec<u8>)>;

/// See the module.
pub struct Shown {
    rooms: BTreeMap<String, (Settings, Found)>,
    named: BTreeMap<String, BTreeMap<String, Found>>,
}

/// The pairs of a walk, forward; `again` gives the same walk once more, for the way back.
fn pairs(walk: impl Fn() -> Range) -> Checked<Found> {
    let (mut forward, mut range) = (Found::new(), walk());
    while let Some((key, value)) = range.next_lent().map_err(text)? {
        forward.push((key.to_vec(), value.to_vec()));
    }
    let mut left = forward.iter().rev();
    for pair in walk().rev() {
        let (key, value) = pair.map_err(text)?;
        let same = left.next().is_some_and(|(k, v)| *k == *key && *v == *value);
        if !same {
            return Err(format!("backward there is another pair of \"{}\"", key.escape_ascii()));
        }
    }
    match left.next() {
        None => Ok(forward),
        Some((key, _)) => Err(format!("backward there is no \"{}\"", key.escape_ascii())),
    }
}

impl Shown {
    pub fn of(db: &Db) -> Checked<Self> {
        let mut rooms = BTreeMap::new();
        for path in db.collections().map_err(text)? {
            let collection = db.existing_collection(&path).map_err(text)?;
            let collection = collection.ok_or_else(|| format!("{path:?} is listed, not there"))?;
            let found = pairs(|| collection.iter()).map_err(|told| format!("{path:?}: {told}"))?;
            rooms.insert(path, (collection.settings(), found));
        }
        let mut named = BTreeMap::new();
        for (name, snapshot) in db.named_snapshots().map_err(text)? {
            let mut then = BTreeMap::new();
            for path in db.collections_at(&snapshot).map_err(text)? {
                let view = db.view_at(&path, &snapshot).map_err(text)?;
                let view = view.ok_or_else(|| format!("{path:?} was listed, not there"))?;
                let found = pairs(|| view.iter());
                then.insert(
                    path.clone(),
                    found.map_err(|told| format!("{path:?} at {name:?}: {told}"))?,
                );
            }
            named.insert(name, then);
        }
        Ok(Self { rooms, named })
    }

    /// What is another than the reference has it, if anything is.
    pub fn against(&self, state: &State) -> Checked {
        same_names("collections", self.rooms.keys(), state.now.all().map(|(path, _)| path))?;
        for (path, pairs) in state.now.all() {
            let (settings, found) = &self.rooms[path];
            let number = state.now.number(path);
            let want = number.and_then(|number| state.now.settings(number));
            if Some(settings) != want {
                return Err(format!("{path:?} has {settings:?}, want {want:?}"));
            }
            same_pairs(found, &pairs).map_err(|told| format!("{path:?}: {told}"))?;
        }
        same_names("named snapshots", self.named.keys(), state.named.keys())?;
        for (name, (_, moment)) in &state.named {
            self.then(&self.named[name], moment).map_err(|told| format!("at {name:?}: {told}"))?;
        }
        Ok(())
    }

    fn then(&self, found: &BTreeMap<String, Found>, moment: &Moment) -> Checked {
        same_names("collections", found.keys(), moment.all().map(|(path, _)| path))?;
        moment.all().try_for_each(|(path, pairs)| {
            same_pairs(&found[path], &pairs).map_err(|told| format!("{path:?}: {told}"))
        })
    }
}

fn same_names<'a>(
    what: &str,
    found: impl Iterator<Item = &'a String>,
    want: impl Iterator<Item = &'a String>,
) -> Checked {
    let (found, want): (Vec<_>, Vec<_>) = (found.collect(), want.collect());
    if found == want { Ok(()) } else { Err(format!("{what} {found:?}, want {want:?}")) }
}

fn same_pairs(found: &Found, want: &Pairs) -> Checked {
    let mut found = found.iter().map(|(key, value)| (key.as_slice(), value.as_slice()));
    for (key, val) in want {
        same_pair(found.next(), Some((key, *val)))?;
    }
    same_pair(found.next(), None)
}
