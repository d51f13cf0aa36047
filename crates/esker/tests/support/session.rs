//! A session: one open database in a simulated world, and what is asked of it.
//!
//! It knows nothing of what is right: the harnesses compare.

use super::program::{Setup, Walk, dir};
use super::reference::{
    Change, KeyBytes, Many, Mix, Reference, Val, Which, collection_hash, pair_hash,
};
use super::{Dice, Tally};
use esker::env::names::{FileKind, FileName, LOCK};
use esker::env::sim::Sim;
use esker::env::{Env, Listed};
use esker::{
    Collection, Db, Durability, MergeOperator, Range, Result, Settings, Value, ValueReader, View,
};
use std::collections::{BTreeSet, VecDeque};
use std::io::{Read, Seek, SeekFrom};
use std::ops::{self, Bound};
use std::path::PathBuf;
use std::sync::Arc;

/// See the module.
pub struct Session {
    pub world: Arc<Sim>,
    pub db: Db,
}

impl Session {
    pub fn open(world: &Arc<Sim>, setup: &Setup) -> Result<Self> {
        let db = setup.options(world).open(dir())?;
        Ok(Self { world: world.clone(), db })
    }

    pub fn collection(&self, which: Which) -> Result<Collection> {
        let settings = Settings::default().merge_operator(Mix.name());
        self.db.collection_with(which.name(), &settings)
    }

    /// Writes changes; their collections must be there.
    pub fn write(&self, changes: &[Change], how: Option<Durability>, batch: bool) -> Result<()> {
        if let ([Change { which, key, val, merges, many }], false) = (changes, batch) {
            let to = self.collection(*which)?;
            let how = how.unwrap_or_else(|| self.db.durability());
            return match (many, val) {
                (Some(Many::All), _) => to.clear_with(how),
                (Some(Many::Prefix(prefix)), _) => to.remove_prefix_with(&prefix.0, how),
                (Some(Many::Range(start, end)), _) => {
                    to.remove_range_with::<&[u8]>((slice(start), slice(end)), how)
                }
                (None, Some(val)) if *merges => to.merge_with(&key.0, Mix::operand(*val), how),
                (None, Some(val)) => to.insert_with(&key.0, val.bytes(), how),
                (None, None) => to.remove_with(&key.0, how),
            };
        }
        let mut batch = self.db.batch();
        for Change { which, key, val, merges, many } in changes {
            let to = self.collection(*which)?;
            match (many, val) {
                (Some(Many::All), _) => batch.clear(&to)?,
                (Some(Many::Prefix(prefix)), _) => batch.remove_prefix(&to, &prefix.0)?,
                (Some(Many::Range(start, end)), _) => {
                    batch.remove_range::<&[u8]>(&to, (slice(start), slice(end)))?
                }
                (None, Some(val)) if *merges => batch.merge(&to, &key.0, Mix::operand(*val))?,
                (None, Some(val)) => batch.insert(&to, &key.0, val.bytes())?,
                (None, None) => batch.remove(&to, &key.0)?,
            }
        }
        match how {
            Some(how) => batch.commit_with(how),
            None => batch.commit(),
        }
    }

    /// Ingests changes, all of them values; their collection must be there.
    pub fn ingest(&self, changes: &[Change]) -> Result<()> {
        let Some(first) = changes.first() else { return Ok(()) };
        let pairs = changes.iter().map(|change| {
            (&*change.key.0, change.val.map(Val::bytes).expect("an ingest has no removals"))
        });
        let count = self.collection(first.which)?.ingest(pairs)?;
        assert_eq!(count, changes.len() as u64);
        Ok(())
    }

    /// Counts what has become of large values, and of operands, since the open. A closed database tells
    /// nothing.
    pub fn count_large(&self, tally: &Tally) {
        let stats = self.db.stats();
        tally.add("logs adopted", stats.logs_adopted);
        tally.add("logs copied", stats.logs_copied);
        tally.add("blobs forgotten", stats.blobs_forgotten);
        tally.add("cleanings", stats.cleanings);
        tally.add("operands folded", stats.operands_folded);
    }

    /// The fingerprint of all that is there, walked forward.
    pub fn fingerprint(&self) -> Result<u64> {
        let mut sum = 0_u64;
        for name in self.db.collections()? {
            let which = Which::named(&name).expect("a collection that a program made");
            sum = sum.wrapping_add(collection_hash(which));
            let mut walk = self.collection(which)?.iter();
            while let Some((key, value)) = walk.next_lent()? {
                sum = sum.wrapping_add(pair_hash(which, key, value));
            }
        }
        Ok(sum)
    }

    /// The same, walked backward.
    pub fn fingerprint_backward(&self) -> Result<u64> {
        let mut sum = 0_u64;
        for name in self.db.collections()? {
            let which = Which::named(&name).expect("a collection that a program made");
            sum = sum.wrapping_add(collection_hash(which));
            for pair in self.collection(which)?.iter().rev() {
                let (key, value) = pair?;
                sum = sum.wrapping_add(pair_hash(which, &key, &value));
            }
        }
        Ok(sum)
    }
}

pub fn slice(bound: &Bound<KeyBytes>) -> Bound<&[u8]> {
    match bound {
        Bound::Included(key) => Bound::Included(&key.0),
        Bound::Excluded(key) => Bound::Excluded(&key.0),
        Bound::Unbounded => Bound::Unbounded,
    }
}

/// The prefix that a walk asks for, if it asks for one.
fn prefix(walk: &Walk) -> Option<&[u8]> {
    match &walk.bounds.0 {
        Bound::Included(key) if walk.prefix => Some(&key.0),
        _ => None,
    }
}

/// Begins a walk of a collection.
pub fn begin(collection: &Collection, walk: &Walk) -> Range {
    match (prefix(walk), &walk.bounds) {
        (Some(prefix), _) => collection.prefix(prefix),
        (None, (Bound::Unbounded, Bound::Unbounded)) => collection.iter(),
        (None, (start, end)) => collection.range::<&[u8]>((slice(start), slice(end))),
    }
}

/// Begins a walk of what a snapshot sees.
pub fn begin_view(view: &View, walk: &Walk) -> Range {
    match (prefix(walk), &walk.bounds) {
        (Some(prefix), _) => view.prefix(prefix),
        (None, (Bound::Unbounded, Bound::Unbounded)) => view.iter(),
        (None, (start, end)) => view.range::<&[u8]>((slice(start), slice(end))),
    }
}

/// What a walk must find.
pub fn wanted(reference: &Reference, walk: &Walk, version: usize) -> VecDeque<(KeyBytes, Val)> {
    let pairs = reference.pairs(walk.which, version);
    let inside = pairs.filter(|(key, _)| match prefix(walk) {
        Some(prefix) => key.0.starts_with(prefix),
        None => {
            let after = match slice(&walk.bounds.0) {
                Bound::Included(start) => *key.0 >= *start,
                Bound::Excluded(start) => *key.0 > *start,
                Bound::Unbounded => true,
            };
            let before = match slice(&walk.bounds.1) {
                Bound::Included(end) => *key.0 <= *end,
                Bound::Excluded(end) => *key.0 < *end,
                Bound::Unbounded => true,
            };
            after && before
        }
    });
    inside.map(|(key, val)| (key.clone(), val)).collect()
}

pub fn text(error: esker::Error) -> String {
    format!("unexpected error: {error}")
}

/// Whether a pair that was read is the one that was written.
pub fn same_pair(
    found: Option<(&[u8], &[u8])>,
    want: Option<(&KeyBytes, Val)>,
) -> std::result::Result<(), String> {
    let (found_key, want_key) = (found.map(|(key, _)| key), want.map(|(key, _)| &*key.0));
    if found_key != want_key {
        let found = found_key.map(|key| key.escape_ascii().to_string());
        return Err(format!("found the pair of {found:?}, want {want:?}"));
    }
    let told = same_value(found.map(|(_, value)| value), want.map(|(_, val)| val));
    told.map_err(|told| format!("{want:?}: {told}"))
}

/// Whether a value that was read is the one that was written.
pub fn same_value(found: Option<&[u8]>, want: Option<Val>) -> std::result::Result<(), String> {
    match (found, want) {
        (None, None) => Ok(()),
        (Some(found), Some(want)) if found == want.bytes() => Ok(()),
        (found, want) => {
            let found = found.map(|bytes| (bytes.len(), bytes.get(..8).unwrap_or(bytes)));
            Err(format!("found {found:?}, want {want:?}"))
        }
    }
}

/// Whether parts of a value, and a reader that jumps about in it, give what was written.
pub fn same_parts(
    part: impl Fn(ops::Range<u64>) -> Result<Option<Value>>,
    reader: Option<ValueReader>,
    want: Option<Val>,
    dice: &mut Dice,
) -> std::result::Result<(), String> {
    let want = want.map(Val::bytes);
    let len = want.as_ref().map_or(0, Vec::len);
    let mut place = || dice.index(len + 20);
    let (from, to) = (place(), place());
    let found = part(from as u64..to as u64).map_err(|error| error.to_string())?;
    let end = to.min(len);
    let want_part = want.as_ref().map(|bytes| bytes.get(from..end).unwrap_or_default());
    if found.as_deref() != want_part {
        return Err(format!("bytes {from} to {to} of {len}: found {found:?}"));
    }
    let (Some(mut reader), Some(want)) = (reader, want) else {
        return if found.is_some() { Err("no reader of what is there".into()) } else { Ok(()) };
    };
    let mut check = |from: usize, most: usize| -> std::io::Result<bool> {
        reader.seek(SeekFrom::Start(from as u64))?;
        let mut found = Vec::new();
        reader.by_ref().take(most as u64).read_to_end(&mut found)?;
        let end = from.saturating_add(most).min(len);
        Ok(found == want.get(from..end).unwrap_or_default() && reader.len() == len as u64)
    };
    for (from, most) in [(to, from), (0, usize::MAX), (from, to), (0, usize::MAX)] {
        if !check(from, most).map_err(|error| format!("a reader: {error}"))? {
            return Err(format!("a reader gives other bytes from {from} on, at most {most}"));
        }
    }
    Ok(())
}

/// The files of the database of a world, by name; others are left out.
pub fn files(world: &Sim) -> BTreeSet<FileName> {
    let listed = world.list_all().into_iter().filter(|(path, _)| path.parent() == Some(dir()));
    let names = listed.filter_map(|(path, _)| FileName::parse(path.file_name()?.to_str()?));
    names.collect()
}

/// Where those of one kind lie.
pub fn paths(world: &Sim, kind: FileKind) -> Vec<PathBuf> {
    let named = files(world).into_iter().filter(|name| name.kind == kind);
    named.map(|name| dir().join(name.to_string())).collect()
}

/// Checks that a database at rest has exactly the files that its manifest names.
///
/// Reads in a copy of the world, so that no call is counted and no weather disturbs.
pub fn check_files(world: &Arc<Sim>) -> std::result::Result<(), String> {
    let copy = world.snapshot();
    let env: Arc<dyn Env> = copy.clone();
    let listed: Vec<Listed> = env.list(dir()).map_err(|error| error.to_string())?;
    let read = esker::manifest::Store::read(&env, dir(), &listed);
    let (state, _) = read.map_err(|error| error.to_string())?.ok_or("no manifest")?;
    let logs = state.logs.iter().map(|id| FileKind::Log.name(*id));
    let metas = state.runs.iter().flat_map(|run| &run.segments);
    let segments = metas.map(|meta| FileKind::Segment.name(meta.id));
    let blobs = state.blobs.iter().map(|blob| FileKind::Blob.name(blob.meta.id));
    let kept = state.held.logs.iter().map(|closed| FileKind::Kept.name(closed.log));
    let named: BTreeSet<FileName> = logs.chain(segments).chain(blobs).chain(kept).collect();
    let found = files(&copy);
    let manifests = found.iter().filter(|name| name.kind == FileKind::Manifest).count();
    let found: BTreeSet<FileName> =
        found.into_iter().filter(|name| name.kind != FileKind::Manifest).collect();
    if found != named || manifests != 1 {
        return Err(format!("{manifests} manifests; named {named:?}, on disk {found:?}"));
    }
    // A repair leaves a folder.
    let is_known = |name: &str| [LOCK, "lost"].contains(&name) || FileName::parse(name).is_some();
    let odd = listed.iter().find(|listed| !is_known(&listed.name));
    odd.map_or(Ok(()), |odd| Err(format!("an odd file: {}", odd.name)))
}
