//! Looking after a database: flushes, compactions, checks, time; its ends, good and bad.

use super::repair::Damage;
use super::run::{Done, Run, Stop, options};
use super::shown::Shown;
use super::steps::Author;
use crate::TALLY;
use crate::support::program::dir;
use crate::support::session::{check_files, text};
use esker::env::sim::Loss;
use esker::{ErrorKind, RecoveryReport};
use std::time::Duration;

#[derive(Clone, Copy, Debug)]
pub enum Care {
    Flush,
    Compact,
    Sync,
    Verify,
    Checksum,
    Compare,
    /// Lets workers run.
    Help(u8),
    Settle,
    /// Milliseconds pass.
    Advance(u64),
    /// Closes and opens.
    Reopen,
    /// Opens for reading alone, after closing, and looks.
    ReadOnly,
    /// Closes, damages, repairs and opens.
    Repair(Damage),
    /// The world ends, and loses this.
    Crash(Loss),
    /// The same, but after so many calls from now.
    Doom(u64, Loss),
}

impl Author {
    pub fn care(&mut self) -> Care {
        if self.dice.below(100) < self.diet.ends {
            let loss = self.dice.pick(&Loss::MODELS);
            return match self.dice.below(11) {
                0..=2 => Care::Reopen,
                3 => Care::ReadOnly,
                4 => Care::Repair(self.damage()),
                5..=7 => Care::Crash(loss),
                _ => Care::Doom(1 + self.dice.below(60), loss),
            };
        }
        match self.dice.below(24) {
            0..=4 => Care::Flush,
            5..=7 => Care::Compact,
            8..=10 => Care::Sync,
            11 => Care::Verify,
            12 => Care::Checksum,
            13 => Care::Compare,
            14 => Care::Settle,
            // Ten years at once change nothing but what expires (F-45).
            15 if self.dice.one_in(20) => Care::Advance(10 * 365 * 86_400_000),
            15..=18 => Care::Advance(self.dice.below(1000)),
            _ => Care::Help(1 + self.dice.below(4) as u8),
        }
    }
}

/// Counts what the database tells of itself since the open.
fn count(run: &Run) {
    let stats = run.db.stats();
    TALLY.add("logs adopted", stats.logs_adopted);
    TALLY.add("logs copied", stats.logs_copied);
    TALLY.add("blobs forgotten", stats.blobs_forgotten);
    TALLY.add("cleanings", stats.cleanings);
    TALLY.add("operands folded", stats.operands_folded);
    TALLY.add("parts of compactions", stats.compaction_parts);
}

impl Run {
    pub fn care(&mut self, step: &Care) -> Done {
        match step {
            Care::Flush => self.promising(|run| run.db.flush())?,
            Care::Compact => self.promising(|run| run.db.compact())?,
            Care::Sync => self.promising(|run| run.db.sync())?,
            Care::Verify => {
                let report = self.ok(self.db.verify())?;
                if !report.is_whole() {
                    return Err(format!("verify found {:?}", report.damages).into());
                }
            }
            Care::Checksum => drop(self.ok(self.db.checksum())?),
            Care::Compare => self.compare()?,
            Care::Help(units) => (0..*units).for_each(|_| _ = self.help()),
            Care::Settle => self.world.settle(),
            Care::Advance(ms) => {
                let before = self.now().now.len();
                self.world.advance(Duration::from_millis(*ms));
                self.tell_time();
                TALLY.add("values expired", (before - self.now().now.len()) as u64);
            }
            Care::Reopen => {
                self.end()?;
                self.begin_again()?;
            }
            Care::ReadOnly => self.read_only()?,
            Care::Repair(damage) => self.repair(*damage)?,
            Care::Crash(loss) => self.crash(*loss)?,
            Care::Doom(calls, loss) => {
                self.doom = *loss;
                self.world.crash_at(self.world.calls() + calls);
            }
        }
        Ok(())
    }

    pub fn promising(&mut self, call: impl FnOnce(&Self) -> esker::Result<()>) -> Done {
        self.ok(call(self))?;
        self.history.promise();
        Ok(())
    }

    pub fn compare(&self) -> Result<(), String> {
        Shown::of(&self.db)?.against(self.now())
    }

    /// Closes. Walks that were open stay usable; the handle does not.
    pub fn end(&mut self) -> Done {
        self.let_go();
        count(self);
        self.ok(self.db.clone().close())?;
        self.history.promise();
        self.end_walks()?;
        self.refused(self.db.sync(), ErrorKind::InvalidArgument)
    }

    pub fn begin_again(&mut self) -> Done {
        self.db = self.ok(options(&self.setup, &self.world).open(dir()))?;
        let report = self.db.recovery();
        if !report.clean || !report.torn.is_empty() || report.created {
            return Err(format!("the report of an open after a close: {report:?}").into());
        }
        TALLY.add("reopens", 1);
        self.history.open();
        Ok(self.compare()?)
    }

    /// F-42: a read-only handle sees all, writes nothing, and says so.
    fn read_only(&mut self) -> Done {
        self.end()?;
        let before = (self.world.calls(), self.world.fingerprint());
        let reading = options(&self.setup, &self.world).read_only(true);
        let reader = self.ok(reading.open(dir()))?;
        Shown::of(&reader)?.against(self.now())?;
        self.refused(reader.sync(), ErrorKind::ReadOnly)?;
        let busy = options(&self.setup, &self.world).open(dir()).err();
        if busy.as_ref().map(esker::Error::kind) != Some(ErrorKind::Busy) {
            return Err(format!("a second opener is told {busy:?}").into());
        }
        drop(reader);
        let lock_calls = 1;
        if self.world.calls() > before.0 + 2 * lock_calls || self.world.fingerprint() != before.1 {
            return Err("a read-only handle changed the disk".into());
        }
        TALLY.add("read-only opens", 1);
        self.begin_again()
    }

    /// The world ends; what is found then is a version that keeps all that was promised.
    pub fn crash(&mut self, loss: Loss) -> Result<(), String> {
        count(self);
        self.let_go();
        self.walkers.clear();
        let was_whole = !self.world.is_dead();
        let (mut loss, mut is_lost, mut again) = (loss, false, false);
        loop {
            is_lost |= loss != Loss::None;
            self.world = self.world.crash_with(loss, self.dice.next());
            self.setup.prepare(&self.world);
            if self.dice.one_in(6) {
                // It dies again, soon: mostly before it is open.
                loss = self.dice.pick(&Loss::MODELS);
                self.doom = loss;
                self.world.crash_at(1 + self.dice.below(20));
            }
            let repaired = self.repair_again();
            match repaired.and_then(|()| options(&self.setup, &self.world).open(dir())) {
                _ if self.world.is_dead() => again = true,
                Ok(db) => break self.db = db,
                Err(error) => return Err(text(error)),
            }
        }
        TALLY.add("crashes", 1);
        TALLY.add("crashes in a recovery", u64::from(again));
        if was_whole && !is_lost && !again {
            is_killed(self.db.recovery())?;
        }
        self.find_version(is_lost)?;
        self.find_backups(is_lost)
    }

    /// Finds out which version is there.
    fn find_version(&mut self, is_lost: bool) -> Result<(), String> {
        let shown = Shown::of(&self.db)?;
        let (floor, newest) = (self.history.floor(is_lost), self.history.version());
        let is_it = |version: &usize| shown.against(self.history.at(*version)).is_ok();
        let mut found = (floor..=newest).rev().filter(is_it);
        let Some(version) = found.next() else {
            if let Some(version) = (0..floor).rev().find(is_it) {
                return Err(format!("{version} of {newest} came back, {floor} was promised"));
            }
            let told = shown.against(self.history.at(newest)).unwrap_err();
            return Err(format!("no version from {floor} to {newest}; of the last: {told}"));
        };
        let state = self.history.at(version).clone();
        let is_other = |other: usize| !self.history.at(other).is_named_as(&state);
        let is_unsure = found.any(is_other);
        self.history.rewind(version);
        self.history.is_unsure |= is_unsure;
        Ok(())
    }

    /// What there is, what is replayed, and what all of it adds up to.
    pub fn finish(mut self) -> Result<(), String> {
        // What was still to come does not come.
        self.world.crash_at(u64::MAX);
        self.compare()?;
        let told = |stop| match stop {
            Stop::Wrong(told) => told,
            Stop::Died => "the world died at its end".into(),
        };
        let live = self.db.checksum().map_err(text)?;
        self.end().and_then(|()| self.begin_again()).map_err(told)?;
        let reopened = self.db.checksum().map_err(text)?;
        self.world = self.world.crash(Loss::None);
        self.setup.prepare(&self.world);
        self.db = options(&self.setup, &self.world).open(dir()).map_err(text)?;
        self.compare()?;
        let replayed = self.db.checksum().map_err(text)?;
        if live != reopened || live != replayed {
            return Err(format!("checksum {live}, reopened {reopened}, replayed {replayed}"));
        }
        self.world.settle();
        self.care(&Care::Verify).map_err(told)?;
        check_files(&self.world)?;
        if self.world.panics() > 0 {
            return Err("a worker panicked".into());
        }
        TALLY.add("segments at the end", self.db.stats().segments);
        Ok(())
    }
}

/// After the process alone has died.
fn is_killed(report: &RecoveryReport) -> Result<(), String> {
    if report.clean || !report.torn.is_empty() || report.created {
        return Err(format!("the report of an open after a kill: {report:?}"));
    }
    TALLY.add("kills", 1);
    Ok(())
}
