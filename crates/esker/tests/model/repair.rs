//! Repair: of a folder that is whole, and of one that has lost its manifest, or the end of a segment.
//!
//! 1. What is whole is left as it is, to the byte (HEST-17).
//! 2. Neither takes a pair with it: all is there again, with its settings and every named snapshot
//!    (SST-21).
//! 3. A repair that a crash cut short is begun again, and then that holds.

use super::run::{Done, Run, options};
use super::steps::Author;
use crate::TALLY;
use crate::support::program::dir;
use crate::support::session::paths;
use esker::env::names::FileKind;

/// What becomes of a closed folder.
#[derive(Clone, Copy, Debug)]
pub enum Damage {
    None,
    NoManifest,
    /// The manifest ends where this part of it, in 1000, ends.
    CutManifest(u64),
    /// A bit of the manifest is another, at this part of it, in 1000.
    FlippedManifest(u64),
    /// A bit of a footer is another.
    Footer(usize),
    /// The same, and no manifest.
    FooterAndNoManifest(usize),
}

impl Author {
    pub fn damage(&mut self) -> Damage {
        match self.dice.below(7) {
            0 => Damage::None,
            1 | 2 => Damage::NoManifest,
            3 => Damage::CutManifest(self.dice.below(1000)),
            4 => Damage::FlippedManifest(self.dice.below(1000)),
            5 => Damage::Footer(self.dice.index(64)),
            _ => Damage::FooterAndNoManifest(self.dice.index(64)),
        }
    }
}

impl Run {
    pub fn repair(&mut self, damage: Damage) -> Done {
        let sum = self.ok(self.db.checksum())?;
        // A walk keeps files that are not live any more, with what was removed since.
        self.walkers.clear();
        self.end()?;
        self.damage(damage)?;
        let before = self.world.fingerprint();
        self.is_damaged = true;
        let report = self.ok(options(&self.setup, &self.world).repair(dir()))?;
        self.is_damaged = false;
        if let Damage::None = damage {
            if report.repaired || report.checksum != sum || self.world.fingerprint() != before {
                return Err(format!("what was whole was repaired: {report:?}").into());
            }
            TALLY.add("repairs of nothing", 1);
            return self.begin_again();
        }
        if !report.lost_keys.is_empty() || !report.named.is_empty() {
            return Err(format!("nothing was lost: {report:?}").into());
        }
        TALLY.add("repairs", u64::from(report.repaired));
        self.db =
            self.ok(options(&self.setup, &self.world).create_if_missing(false).open(dir()))?;
        if self.ok(self.db.checksum())? != report.checksum {
            return Err(format!("another checksum than {report:?}").into());
        }
        self.history.open();
        Ok(self.compare()?)
    }

    /// After the world has died in a repair.
    pub fn repair_again(&mut self) -> Result<(), esker::Error> {
        if self.is_damaged {
            options(&self.setup, &self.world).repair(dir())?;
            TALLY.add("repairs cut short", 1);
        }
        self.is_damaged = false;
        Ok(())
    }

    fn damage(&self, damage: Damage) -> Result<(), String> {
        let part = |bytes: &[u8], part: u64| bytes.len() * part as usize / 1000;
        match damage {
            Damage::None => Ok(()),
            // The manifest may be the only file of an empty database, which is then none.
            _ if self.history.version() == 0 => Ok(()),
            Damage::NoManifest => self.harm(FileKind::Manifest, 0, |_| None),
            Damage::CutManifest(to) => self.harm(FileKind::Manifest, 0, |mut bytes| {
                bytes.truncate(part(&bytes, to));
                Some(bytes)
            }),
            Damage::FlippedManifest(at) => self.harm(FileKind::Manifest, 0, |mut bytes| {
                let at = part(&bytes, at);
                bytes[at] ^= 1 << (at % 8);
                Some(bytes)
            }),
            Damage::Footer(index) => self.harm(FileKind::Segment, index, |mut bytes| {
                let at = bytes.len() - 20;
                bytes[at] ^= 0x10;
                Some(bytes)
            }),
            Damage::FooterAndNoManifest(index) => {
                self.damage(Damage::Footer(index))?;
                self.damage(Damage::NoManifest)
            }
        }
    }

    /// Makes something else of a file, if there is one of the kind. Other names of it, in checkpoints
    /// and backups, keep what they have.
    fn harm(
        &self,
        kind: FileKind,
        index: usize,
        change: impl FnOnce(Vec<u8>) -> Option<Vec<u8>>,
    ) -> Result<(), String> {
        let found = paths(&self.world, kind);
        let Some(path) = found.get(index % found.len().max(1)) else { return Ok(()) };
        let bytes = self.world.read_file(path).map_err(|error| error.to_string())?;
        self.world.remove_file(path).map_err(|error| error.to_string())?;
        let changed = change(bytes).map(|bytes| self.world.write_file(path, bytes));
        changed.transpose().map(drop).map_err(|error| error.to_string())
    }
}
