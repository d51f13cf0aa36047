//! Power loss at every file-system call of what looks after a database: checkpoints, backups,
//! restores, repairs.
//!
//! ```text
//!   a database ─▶ for each call n of the work: run it, die at n ─▶ images ─▶ nothing lost?
//!                                                                      └▶ the work, once more: whole?
//! ```
//!
//! 1. The database that is copied opens with all it had, whatever call was the last.
//! 2. What is copied to is no database, or the whole one: never another.
//! 3. A backup that was there stays, and is restored as it was; one that is there is whole.
//! 4. A repair that was cut short is begun again, and gives what one in one piece gives.
//!
//! `ESKER_LONG=n` and `ESKER_SEED` work as in the other harnesses.

#![expect(clippy::unwrap_used, reason = "a test stops where an answer is not what it wants")]

mod support;

use esker::env::Env;
use esker::env::sim::{Loss, Sim};
use esker::{Checksum, Db, ErrorKind};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use support::program::{Setup, dir};
use support::reference::Which;
use support::session::Session;
use support::{Dice, Tally, for_seeds};

const SLABS: [usize; 3] = [4 << 10, 8 << 10, 32 << 10];
const LOSSES: [Loss; 4] = [Loss::None, Loss::All, Loss::Pieces, Loss::Torn];

type Checked<T = ()> = Result<T, String>;

fn text(error: impl ToString) -> String {
    error.to_string()
}

/// Writes of every kind, flushed and compacted now and then, by chance.
fn fill(session: &Session, dice: &mut Dice, writes: usize) -> Checked {
    for _ in 0..writes {
        let c = session.collection(Which(dice.index(3) as u8)).map_err(text)?;
        let key = |dice: &mut Dice| [b'k', dice.index(40) as u8];
        let done = match dice.below(20) {
            0 => session.db.flush(),
            1 if dice.one_in(3) => session.db.compact(),
            2 => c.remove(key(dice)),
            3 => c.remove_range(key(dice)..[b'k', 255]),
            4..=7 => c.insert(key(dice), vec![dice.next() as u8; 300 + dice.index(3000)]),
            _ => c.insert(key(dice), vec![dice.next() as u8; dice.index(60)]),
        };
        done.map_err(text)?;
    }
    Ok(())
}

/// All pairs, by collection and key, but those that are written beside the work; and the checksum.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Contents {
    pairs: BTreeMap<(String, Vec<u8>), Vec<u8>>,
    checksum: Checksum,
}

/// The key that is written beside the work.
const LATER: &[u8] = b"later";

fn contents(db: &Db) -> Checked<Contents> {
    let damages = db.verify().map_err(text)?.damages;
    if !damages.is_empty() {
        return Err(format!("verify found {damages:?}"));
    }
    let mut pairs = BTreeMap::new();
    for name in db.collections().map_err(text)? {
        for pair in db.collection(&name).map_err(text)?.iter() {
            let (key, value) = pair.map_err(text)?;
            if *key != *LATER {
                pairs.insert((name.clone(), key.to_vec()), value.to_vec());
            }
        }
    }
    Ok(Contents { pairs, checksum: db.checksum().map_err(text)? })
}

/// A world in which a closed database lies, and what that holds.
fn some_database(setup: &Setup, dice: &mut Dice) -> Checked<(Arc<Sim>, Contents)> {
    let world = setup.world(dice.next());
    let session = Session::open(&world, setup).map_err(text)?;
    let writes = 20 + dice.index(100);
    fill(&session, dice, writes)?;
    session.db.close().map_err(text)?;
    let copy = world.snapshot();
    let db = setup.options(&copy).open(dir()).map_err(text)?;
    Ok((world, contents(&db)?))
}

/// What the database in `at` holds; none if no open takes the folder for one.
fn found(image: &Arc<Sim>, setup: &Setup, at: &Path) -> Checked<Option<Contents>> {
    let copy = image.snapshot();
    match setup.options(&copy).create_if_missing(false).open(at) {
        Ok(db) => contents(&db).map(Some),
        Err(error) if matches!(error.kind(), ErrorKind::Corruption | ErrorKind::NotFound) => {
            Ok(None)
        }
        Err(error) => Err(format!("{}: {error}", at.display())),
    }
}

/// Removes what lies in a folder, as a user would.
fn clear(world: &Sim, at: &Path) {
    for file in world.list(at).unwrap_or_default() {
        world.remove(&at.join(file.name)).unwrap();
    }
}

/// Runs `work` in a copy of `world` once for each call that it makes, dying at that call; gives
/// `check` each image that may be left. Answers how many there were.
fn at_every_call(
    world: &Arc<Sim>,
    setup: &Setup,
    dice: &mut Dice,
    work: impl Fn(&Arc<Sim>) -> esker::Result<()>,
    mut check: impl FnMut(&Arc<Sim>) -> Checked,
) -> Checked<u64> {
    let copy = || {
        let copy = world.snapshot();
        setup.prepare(&copy);
        copy
    };
    let whole = copy();
    work(&whole).map_err(text)?;
    let calls = whole.calls();
    drop(whole);
    for call in 1..=calls {
        let victim = copy();
        victim.crash_at(call);
        let done = work(&victim);
        if !victim.is_dead() {
            done.map_err(text)?;
            return Err(format!("fewer than {calls} calls the second time"));
        }
        for loss in LOSSES {
            let image = victim.crash_with(loss, dice.next());
            setup.prepare(&image);
            check(&image)
                .map_err(|failure| format!("call {call} of {calls}, {loss:?} lost: {failure}"))?;
        }
    }
    Ok(calls)
}

static CHECKPOINTS: Tally = Tally::new();

fn checkpoint_at(world: &Arc<Sim>, setup: &Setup, to: &Path) -> esker::Result<()> {
    let db = setup.options(world).open(dir())?;
    let c = db.collection(Which(0).name())?;
    db.checkpoint_with(to, &mut |_, _| {
        // A world that has died says so to the checkpoint, too.
        let _ = c.insert(LATER, vec![7; 600]).and_then(|()| db.flush());
    })?;
    Ok(())
}

fn checkpoints(seed: u64) -> Checked {
    let mut dice = Dice::new(seed);
    let setup = Setup::any(&mut dice, &SLABS);
    let (world, before) = some_database(&setup, &mut dice)?;
    let to = Path::new("/far/copy");
    let mut fork = dice.fork();
    let work = |world: &Arc<Sim>| checkpoint_at(world, &setup, to);
    let calls = at_every_call(&world, &setup, &mut dice, work, |image| {
        CHECKPOINTS.add("images", 1);
        let source = found(image, &setup, dir())?.ok_or("the source does not open")?;
        if source.pairs != before.pairs {
            return Err("the source lost something".into());
        }
        match found(image, &setup, to)? {
            Some(copy) if copy.pairs == before.pairs => CHECKPOINTS.add("whole", 1),
            Some(_) => return Err("the copy is another database".into()),
            None => CHECKPOINTS.add("refused", 1),
        }
        if fork.one_in(4) {
            clear(image, to);
            checkpoint_at(image, &setup, to).map_err(text)?;
            found(image, &setup, to)?.ok_or("the second try is no database")?;
        }
        Ok(())
    })?;
    CHECKPOINTS.add("calls", calls);
    Ok(())
}

/// A crash at any call of a checkpoint leaves the database as it was, and the copy whole or refused.
#[test]
fn a_checkpoint_that_was_cut_short_is_no_database_and_harms_none() {
    for_seeds("checkpoint", 5, checkpoints);
    CHECKPOINTS.print("checkpoint");
    CHECKPOINTS.must_have_seen(&["whole", "refused"]);
}

static BACKUPS: Tally = Tally::new();

/// Where backups lie.
fn backups() -> &'static Path {
    Path::new("/backups")
}

fn backup_at(world: &Arc<Sim>, setup: &Setup) -> esker::Result<Db> {
    let db = setup.options(world).open(dir())?;
    let c = db.collection(Which(0).name())?;
    (0..3).try_for_each(|turn| c.insert(LATER, vec![turn; 700]))?;
    db.backup_with(backups(), &mut |_, _| {
        // Takes files out of the manifest that are being copied.
        let _ = c.insert(LATER, vec![7; 600]).and_then(|()| db.compact());
    })?;
    Ok(db)
}

/// What a backup holds, restored in a copy of the world.
fn restored(image: &Arc<Sim>, setup: &Setup, number: u64) -> Checked<Contents> {
    let copy = image.snapshot();
    let (options, to) = (setup.options(&copy), Path::new("/restored"));
    let restored = options.restore_with(backups(), Some(number), to, &mut |_, _| {});
    let restored = restored.map_err(text)?;
    let found = found(&copy, setup, to)?.ok_or("a restore is no database")?;
    if found.checksum != restored.checksum {
        return Err(format!("backup {number} noted another checksum than it has"));
    }
    Ok(found)
}

fn backed_up(seed: u64) -> Checked {
    let mut dice = Dice::new(seed);
    let setup = Setup::any(&mut dice, &SLABS);
    let (world, before) = some_database(&setup, &mut dice)?;
    drop(backup_at(&world, &setup).map_err(text)?);
    let first = restored(&world, &setup, 1)?;
    if first.pairs != before.pairs {
        return Err("the first backup lacks something".into());
    }
    let session = Session::open(&world, &setup).map_err(text)?;
    fill(&session, &mut dice, 20)?;
    let now = contents(&session.db)?;
    session.db.close().map_err(text)?;
    let mut fork = dice.fork();
    let work = |world: &Arc<Sim>| backup_at(world, &setup).map(drop);
    let calls = at_every_call(&world, &setup, &mut dice, work, |image| {
        BACKUPS.add("images", 1);
        let source = found(image, &setup, dir())?.ok_or("the source does not open")?;
        if source.pairs != now.pairs {
            return Err("the source lost something".into());
        }
        let listed = setup.options(image).backups(backups()).map_err(text)?;
        if restored(image, &setup, 1)? != first {
            return Err("the first backup is another now".into());
        }
        match listed.len() {
            1 => BACKUPS.add("cut short", 1),
            _ => {
                BACKUPS.add("whole", 1);
                if restored(image, &setup, 2)?.pairs != now.pairs {
                    return Err("the second backup is another database".into());
                }
            }
        }
        if fork.one_in(4) {
            let report = backup_at(image, &setup).and_then(|db| db.backup(backups()));
            let report = report.map_err(text)?;
            if !report.damages.is_empty()
                || restored(image, &setup, report.number)?.pairs != now.pairs
            {
                return Err(format!("the next backup is not whole: {report:?}"));
            }
        }
        Ok(())
    })?;
    BACKUPS.add("calls", calls);
    Ok(())
}

/// A crash at any call of a backup leaves the database and the backups before it as they were, and a
/// new backup whole or none.
#[test]
fn a_backup_that_was_cut_short_is_none_and_harms_none() {
    for_seeds("backup", 3, backed_up);
    BACKUPS.print("backup");
    BACKUPS.must_have_seen(&["whole", "cut short"]);
}

static RESTORES: Tally = Tally::new();

fn restores(seed: u64) -> Checked {
    let mut dice = Dice::new(seed);
    let setup = Setup::any(&mut dice, &SLABS);
    let (world, _) = some_database(&setup, &mut dice)?;
    drop(backup_at(&world, &setup).map_err(text)?);
    let want = restored(&world, &setup, 1)?;
    let to = Path::new("/far/away");
    let mut fork = dice.fork();
    let work = |world: &Arc<Sim>| setup.options(world).restore(backups(), to).map(drop);
    let calls = at_every_call(&world, &setup, &mut dice, work, |image| {
        RESTORES.add("images", 1);
        match found(image, &setup, to)? {
            Some(found) if found == want => RESTORES.add("whole", 1),
            Some(_) => return Err("what was restored is another database".into()),
            None => RESTORES.add("refused", 1),
        }
        if fork.one_in(4) {
            clear(image, to);
            work(image).map_err(text)?;
            found(image, &setup, to)?
                .filter(|found| *found == want)
                .ok_or("not the second time")?;
        }
        Ok(())
    })?;
    RESTORES.add("calls", calls);
    Ok(())
}

/// A crash at any call of a restore leaves a whole database or none, and the backups as they were.
#[test]
fn a_restore_that_was_cut_short_is_no_database() {
    for_seeds("restore", 12, restores);
    RESTORES.print("restore");
    RESTORES.must_have_seen(&["whole", "refused"]);
}

static REPAIRS: Tally = Tally::new();

/// Damages the database as it lies there: files are lost, cut, or have other bytes.
fn damage(world: &Sim, dice: &mut Dice) {
    let mut files: Vec<_> = world.list(dir()).unwrap();
    files.retain(|file| file.is_file && file.name != "LOCK" && file.bytes > 0);
    let without_manifest = dice.coin();
    for file in files {
        let path = dir().join(&file.name);
        let mut bytes = world.read_file(&path).unwrap();
        let at = dice.index(bytes.len());
        if file.name.starts_with("manifest-") {
            match dice.below(3) {
                _ if !without_manifest => continue,
                0 => world.remove(&path).unwrap(),
                1 => world.write_file(&path, &bytes[..at]).unwrap(),
                _ => {
                    bytes[at] ^= 1;
                    world.write_file(&path, bytes).unwrap();
                }
            }
        } else if dice.one_in(3) {
            match dice.below(8) {
                0 => world.remove(&path).unwrap(),
                1 => world.write_file(&path, &bytes[..at]).unwrap(),
                _ => {
                    bytes[at] ^= 1 << dice.below(8);
                    world.write_file(&path, bytes).unwrap();
                }
            }
        }
    }
    world.sync_dir(dir()).unwrap();
}

fn repairs(seed: u64) -> Checked {
    let mut dice = Dice::new(seed);
    let setup = Setup::any(&mut dice, &SLABS);
    let (world, before) = some_database(&setup, &mut dice)?;
    damage(&world, &mut dice);
    let copy = world.snapshot();
    let report = match setup.options(&copy).repair(dir()) {
        Ok(report) => report,
        // A flipped version says that a newer program wrote the file: it is left alone.
        Err(error) if error.kind() == ErrorKind::Unsupported => return Ok(()),
        // All files are gone.
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(text(error)),
    };
    let want = found(&copy, &setup, dir())?.ok_or("what was repaired does not open")?;
    if want.checksum != report.checksum {
        return Err("the report has another checksum than the database".into());
    }
    REPAIRS.add("repaired", u64::from(report.repaired));
    REPAIRS.add("whole again", u64::from(report.repaired && want.pairs == before.pairs));
    REPAIRS.add("files set aside", report.moved.len() as u64);
    REPAIRS.add("keys lost", report.lost_keys.len() as u64);
    if !report.repaired {
        return Ok(());
    }
    let again = setup.options(&copy).repair(dir()).map_err(text)?;
    if again.repaired || again.checksum != want.checksum {
        return Err(format!("a second repair found something: {again:?}"));
    }
    // What an open decides by the calls that were made is decided once.
    let options = |world: &Arc<Sim>| setup.options(world).blob_threshold(1000);
    let in_one = world.snapshot();
    options(&in_one).repair(dir()).map_err(text)?;
    let want = found(&in_one, &setup, dir())?.ok_or("what was repaired does not open")?;
    let work = |world: &Arc<Sim>| options(world).repair(dir()).map(drop);
    let mut fork = dice.fork();
    let calls = at_every_call(&world, &setup, &mut dice, work, |image| {
        // Where indexes are damaged a repair searches byte by byte: of the images some are enough.
        if support::long() == 1 && !fork.one_in(6) {
            return Ok(());
        }
        REPAIRS.add("images", 1);
        let report = options(image).repair(dir()).map_err(text)?;
        REPAIRS.add("begun again", u64::from(report.repaired));
        let left = found(image, &setup, dir())?.ok_or("what was repaired does not open")?;
        if left.pairs != want.pairs {
            let lost = want.pairs.iter().filter(|(key, value)| left.pairs.get(*key) != Some(value));
            return Err(format!("a repair begun again lost {} pairs: {report:?}", lost.count()));
        }
        Ok(())
    })?;
    REPAIRS.add("calls", calls);
    Ok(())
}

/// HEST-17, SST-21: a crash at any call of a repair loses nothing that a repair in one piece finds.
#[test]
fn a_repair_that_was_cut_short_is_begun_again_and_loses_nothing() {
    for_seeds("repair", 2, repairs);
    REPAIRS.print("repair");
    REPAIRS.must_have_seen(&["repaired", "begun again"]);
}
