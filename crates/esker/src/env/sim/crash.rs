//! What a disk may hold after the power failed: the loss models.
//!
//! Every content and every set of names made here is one that a disk could have been left with; the
//! invariants are numbered in [`super`].

use super::chance::{Chance, mix};
use super::disk::{Content, DirNode, Disk, FileNode, FileOp, NameOp, Names, write_into};

/// The unit in which a disk writes whole or not at all.
pub(super) const SECTOR_BYTES: u64 = 512;

/// What a crash takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Loss {
    /// Nothing: the process was killed, the system lives. What was not synced still is not.
    None,
    /// All that was not synced: contents, lengths and names.
    All,
    /// Any part of it: each 512-byte sector has some version it had since the last sync, the
    /// length too, and each change of a name survives or not.
    Pieces,
    /// All after some change, which is itself torn at some byte: each file and folder keeps a
    /// prefix of its changes. Harsher than a disk whose sectors are atomic.
    Torn,
}

impl Loss {
    /// All models.
    pub const MODELS: [Self; 4] = [Self::None, Self::All, Self::Pieces, Self::Torn];
}

impl Disk {
    /// The disk as it is found after a crash that takes `loss`.
    pub(super) fn after(&self, loss: Loss, chance: &mut Chance) -> Self {
        // Two closures draw from one stream, in the order in which nodes are met.
        let stream = std::cell::RefCell::new(chance);
        match loss {
            Loss::None => self.reopened(),
            Loss::All => self.rebuilt(|dir| dir.durable.clone(), |file| file.durable.clone()),
            Loss::Pieces => self.rebuilt(
                |dir| some_names(dir, &mut stream.borrow_mut()),
                |file| pieces(file, &mut stream.borrow_mut()),
            ),
            Loss::Torn => self.rebuilt(
                |dir| first_names(dir, &mut stream.borrow_mut()),
                |file| torn(file, &mut stream.borrow_mut()),
            ),
        }
    }
}

/// How many of `count` changes survive: often all, often none, else any number.
fn cut(word: u64, lost_of_16: u64, count: usize) -> usize {
    let dice = word % 16;
    if dice == 15 {
        // Spread over all moments, both ends included.
        return usize::try_from((word >> 8) % (count as u64 + 1)).unwrap_or(count);
    }
    if dice < lost_of_16 { 0 } else { count }
}

/// A length to which the file was cut off, by change number `index`.
struct Shrink {
    index: usize,
    after: u64,
}

/// A content in which every sector was last written back at some moment of its own.
pub(super) fn pieces(file: &FileNode, chance: &mut Chance) -> Content {
    let count = file.pending.len();
    if count == 0 {
        return file.durable.clone();
    }
    let lost_of_16 = [1, 4, 8, 14][chance.index(4)];
    let salt = chance.next();
    let length_cut = cut(chance.next(), lost_of_16, count);
    let lost = file.pending.iter().enumerate().skip(length_cut);
    let lost_shrinks: Vec<_> = lost.filter_map(shrink).collect();
    let sector_cut = |sector: u64| {
        let mut cut = cut(mix(salt ^ mix(sector)), lost_of_16, count);
        for shrink in &lost_shrinks {
            if (sector + 1) * SECTOR_BYTES <= shrink.after {
                continue;
            }
            // Nothing is written behind a cut that was lost.
            cut = cut.min(shrink.index);
        }
        cut
    };
    let mut bytes = file.durable.significant().to_vec();
    let mut len = file.durable.len();
    for (index, op) in file.pending.iter().enumerate() {
        match op {
            FileOp::Write { at, from } => {
                write_sectors(&mut bytes, &file.unsynced[from.clone()], *at, |sector| {
                    index < sector_cut(sector)
                });
                let end = at + from.len() as u64;
                if index < length_cut {
                    len = len.max(end);
                } else if index == length_cut && end > len && chance.coin() {
                    // A long write extends the file step by step.
                    len += chance.below((end - len) / SECTOR_BYTES + 1) * SECTOR_BYTES;
                }
            }
            FileOp::Length { before, after } if index < length_cut => {
                if after < before {
                    bytes.truncate(usize::try_from(*after).unwrap_or(usize::MAX));
                }
                len = *after;
            }
            FileOp::Length { .. } => {}
        }
    }
    of_length(bytes, len)
}

fn shrink((index, op): (usize, &FileOp)) -> Option<Shrink> {
    match *op {
        FileOp::Length { before, after } if after < before => Some(Shrink { index, after }),
        _ => None,
    }
}

/// Writes those sectors' parts of `bytes` that are `kept`.
fn write_sectors(out: &mut Vec<u8>, mut bytes: &[u8], mut at: u64, kept: impl Fn(u64) -> bool) {
    while !bytes.is_empty() {
        let left = SECTOR_BYTES - at % SECTOR_BYTES;
        let here = bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let (part, rest) = bytes.split_at(here);
        if kept(at / SECTOR_BYTES) {
            write_into(out, part, usize::try_from(at).expect("a simulated file fits memory"));
        }
        at += here as u64;
        bytes = rest;
    }
}

/// A content that ends in the middle of one of the pending changes.
fn torn(file: &FileNode, chance: &mut Chance) -> Content {
    let count = file.pending.len();
    if count == 0 {
        return file.durable.clone();
    }
    let whole = if chance.coin() { count - 1 } else { chance.index(count) };
    let mut bytes = file.durable.significant().to_vec();
    let mut len = file.durable.len();
    for (index, op) in file.pending.iter().take(whole + 1).enumerate() {
        match op {
            FileOp::Write { at, from } => {
                let mut part = &file.unsynced[from.clone()];
                if index == whole {
                    part = &part[..chance.index(part.len() + 1)];
                }
                if !part.is_empty() {
                    let start = usize::try_from(*at).expect("a simulated file fits memory");
                    write_into(&mut bytes, part, start);
                    len = len.max(at + part.len() as u64);
                }
            }
            FileOp::Length { after, .. } => {
                if index < whole || chance.coin() {
                    bytes.truncate(usize::try_from(*after).unwrap_or(usize::MAX));
                    len = *after;
                }
            }
        }
    }
    of_length(bytes, len)
}

fn of_length(bytes: Vec<u8>, len: u64) -> Content {
    let mut content = Content::new(bytes);
    content.set_len(len);
    content
}

/// Each pending change of a name on its own: kept, lost, or a rename of which both names are left.
fn some_names(dir: &DirNode, chance: &mut Chance) -> Names {
    let mut names = dir.durable.clone();
    let lost_of_8 = [1, 4, 7][chance.index(3)];
    for op in &dir.pending {
        let dice = chance.below(8);
        if dice >= lost_of_8 {
            apply(&mut names, op, dice == 7 && chance.coin());
        }
    }
    names
}

/// The first so many pending changes of names; the last of them perhaps half done.
fn first_names(dir: &DirNode, chance: &mut Chance) -> Names {
    let mut names = dir.durable.clone();
    let kept = chance.index(dir.pending.len() + 1);
    for (index, op) in dir.pending.iter().take(kept).enumerate() {
        apply(&mut names, op, index + 1 == kept && chance.below(4) == 0);
    }
    names
}

/// Makes a change durable, unless what it changed is not there: then it built on one that was lost,
/// and is lost with it. `half` leaves the old name of a rename as well.
fn apply(names: &mut Names, op: &NameOp, half: bool) {
    match op {
        NameOp::Create { name, node } => {
            if !names.contains_key(name) {
                names.insert(name.clone(), *node);
            }
        }
        NameOp::Rename { from, to, node, over } => {
            if names.get(from) == Some(node) && names.get(to).copied() == *over {
                names.insert(to.clone(), *node);
                if !half {
                    names.remove(from);
                }
            }
        }
        NameOp::Remove { name, node } => {
            if names.get(name) == Some(node) {
                names.remove(name);
            }
        }
    }
}
