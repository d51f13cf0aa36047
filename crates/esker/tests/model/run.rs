//! A program under way: the database, the reference beside it, and all that is held of either.
//!
//! ```text
//!   a write    judged by the reference ─▶ proposed ─▶ called ─ well ──────▶ acknowledged
//!                       │                               └ world dead ─▶ crash: it may be there
//!                       └ refused ─▶ called ─▶ refused in the same way
//! ```
//!
//! 1. Whatever the world dies in, what is found then is one of the versions since the last promise.

use super::copies::Kept;
use super::feed::Follower;
use super::history::{Draft, History};
use super::past::Look;
use super::state::{Number, State};
use super::steps::{Path, Step, Style, Turn};
use super::txns::Client;
use super::walks::Walker;
use crate::TALLY;
use crate::support::Dice;
use crate::support::program::{Setup, dir};
use crate::support::session::text;
use esker::env::Env;
use esker::env::sim::{Loss, Sim};
use esker::{Collection, Db, Durability, Error, ErrorKind, Options};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Why a step did not come to its end.
pub enum Stop {
    /// The world died, as it was told to.
    Died,
    Wrong(String),
}

impl From<String> for Stop {
    fn from(told: String) -> Self {
        Self::Wrong(told)
    }
}

impl From<&str> for Stop {
    fn from(told: &str) -> Self {
        Self::Wrong(told.to_owned())
    }
}

pub type Done<T = ()> = Result<T, Stop>;

/// See the module.
pub struct Run {
    pub setup: Setup,
    pub dice: Dice,
    pub world: Arc<Sim>,
    pub db: Db,
    pub history: History,
    /// Of the collections that are there.
    pub handles: BTreeMap<Number, Collection>,
    /// Of some that are not there any more, or never were.
    pub gone: Vec<(Collection, Number)>,
    pub snapshots: Vec<Look>,
    pub walkers: Vec<Walker>,
    pub clients: Vec<Client>,
    pub kept: Kept,
    /// They outlive crashes: a feed gives only what is durable.
    pub followers: Vec<Follower>,
    /// What the world will lose when it dies.
    pub doom: Loss,
    /// The folder is to be repaired before it can be opened.
    pub is_damaged: bool,
}

/// Those of the setup, with logs kept for who follows, as many at each open.
pub fn options(setup: &Setup, world: &Arc<Sim>) -> Options {
    let bytes = [0, 6 << 10, 60 << 10, 1 << 30][(setup.large % 4) as usize];
    setup.options(world).keep_logs(bytes)
}

impl Run {
    pub fn start(setup: Setup, seed: u64) -> Result<Self, String> {
        let world = setup.world(seed);
        let db = options(&setup, &world).open(dir()).map_err(text)?;
        let run = Self {
            setup,
            dice: Dice::new(seed),
            world,
            db,
            history: History::new(),
            handles: BTreeMap::new(),
            gone: Vec::new(),
            snapshots: Vec::new(),
            walkers: Vec::new(),
            clients: Vec::new(),
            kept: Kept::default(),
            followers: Vec::new(),
            doom: Loss::None,
            is_damaged: false,
        };
        run.tell_time();
        Ok(run)
    }

    /// Has the reference know what time it is.
    pub fn tell_time(&self) {
        self.now().now.clock.set(self.world.unix_time());
    }

    /// Does a step, and what it leads to.
    pub fn turn(&mut self, Turn { luck, step }: &Turn) -> Result<(), String> {
        self.dice = Dice::new(*luck);
        let done = match step {
            Step::Write(step) => self.write(step),
            Step::Batch(step) => self.batch(step),
            Step::Tree(step) => self.tree(step),
            Step::Atomic(step) => self.atomic(step),
            Step::Read(step) => self.read(step),
            Step::Held(step) => self.held(step),
            Step::Past(step) => self.past(step),
            Step::Txn(step) => self.txn(step),
            Step::Copies(step) => self.copies(step),
            Step::Feed(step) => self.feed(step),
            Step::Care(step) => self.care(step),
        };
        if self.dice.one_in(4) {
            self.help();
        }
        if self.world.is_dead() {
            // Whatever the step found then, as a read that fails in a dead world.
            TALLY.add("worlds that died in a step", 1);
            return self.crash(self.doom);
        }
        match done {
            Ok(()) => Ok(()),
            Err(Stop::Wrong(told)) => Err(told),
            Err(Stop::Died) => Err("the world lives, and a step ended as if it had died".into()),
        }
    }

    pub fn help(&self) -> bool {
        self.world.help()
    }

    pub fn now(&self) -> &Arc<State> {
        self.history.now()
    }

    /// What a call gave, unless the world died in it.
    pub fn ok<T>(&self, result: Result<T, Error>) -> Done<T> {
        result.map_err(|error| match self.world.is_dead() {
            true => Stop::Died,
            false => Stop::Wrong(text(error)),
        })
    }

    /// That a call gave this kind of error, unless the world died in it.
    pub fn refused<T>(&self, result: Result<T, Error>, kind: ErrorKind) -> Done {
        match result {
            Err(error) if error.kind() == kind => Ok(()),
            Err(_) if self.world.is_dead() => Err(Stop::Died),
            Err(error) => Err(format!("want {kind:?}, but: {error}").into()),
            Ok(_) => Err(format!("want {kind:?}, but it went well").into()),
        }
    }

    pub fn durability(&self, how: Option<Durability>) -> Durability {
        how.unwrap_or_else(|| self.db.durability())
    }

    /// A write: `draft` is what the reference makes of it. Answers what the call gave, if it was to go
    /// well.
    pub fn commit<T>(
        &mut self,
        draft: Result<Draft, ErrorKind>,
        how: Option<Durability>,
        call: impl FnOnce(&Db) -> esker::Result<T>,
    ) -> Done<Option<T>> {
        let draft = match draft {
            Ok(draft) => draft,
            Err(kind) => {
                TALLY.add("writes refused", 1);
                return self.refused(call(&self.db), kind).map(|()| None);
            }
        };
        self.history.propose(draft);
        let answer = self.ok(call(&self.db))?;
        self.history.acknowledge(self.durability(how));
        self.sort_handles();
        Ok(Some(answer))
    }

    /// Puts handles of what has gone to those of what is gone.
    fn sort_handles(&mut self) {
        let state = self.history.now().clone();
        let is_gone = |number: &Number| state.now.path(*number).is_none();
        let gone: Vec<Number> = self.handles.keys().copied().filter(is_gone).collect();
        for number in gone {
            let handle = self.handles.remove(&number).expect("it was listed");
            self.gone.push((handle, number));
        }
    }

    /// The collection of a path, if there is one.
    pub fn existing(&mut self, path: Path) -> Done<Option<(Number, Collection)>> {
        let found = self.ok(self.db.existing_collection(path))?;
        let Some(number) = self.now().now.number(path) else {
            return match found {
                None => Ok(None),
                Some(found) => Err(format!("{found:?} should not be there").into()),
            };
        };
        let found = found.ok_or_else(|| format!("{path:?} is not there"))?;
        Ok(Some((number, self.handles.entry(number).or_insert(found).clone())))
    }

    /// The collection of a path, made if it is not there.
    pub fn collection(&mut self, path: Path, style: Style) -> Done<(Number, Collection)> {
        if let Some(found) = self.existing(path)? {
            return Ok(found);
        }
        let (mut draft, settings) = (self.history.draft(), style.settings());
        let number = draft.state.fresh();
        let judged = draft.state.create(path, number, &settings).map(|()| draft);
        let made = self.commit(judged, None, |db| db.collection_with(path, &settings))?;
        let made = made.ok_or("a collection that is not there can be made")?;
        self.handles.insert(number, made.clone());
        Ok((number, made))
    }

    /// Lets go of all that does not outlive a database.
    pub fn let_go(&mut self) {
        self.clients.clear();
        self.snapshots.clear();
        self.walkers.retain(|walker| !walker.fails_fast());
        self.handles.clear();
        self.gone.clear();
    }
}
