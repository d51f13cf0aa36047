//! F-31: a background job that panics. The next write says so, flush and close return, what was
//! acknowledged is there after reopening.
//!
//! The world is the simulator, behind a door that panics when a segment is created.

use esker::env::sim::Sim;
use esker::env::{Access, Append, Env, File, Job, Listed, Lock, Worker};
use esker::{Db, ErrorKind};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

#[derive(Debug)]
struct Door(Arc<Sim>);

impl Env for Door {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        assert!(!path.to_string_lossy().contains("seg-"), "a job that panics");
        self.0.create(path)
    }
    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        self.0.open(path)
    }
    fn create_append(&self, path: &Path, bytes: u64, how: Access) -> io::Result<Arc<dyn Append>> {
        self.0.create_append(path, bytes, how)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.rename(from, to)
    }
    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.link(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        self.0.remove(path)
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<Listed>> {
        self.0.list(dir)
    }
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        self.0.create_dir(dir)
    }
    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.0.exists(path)
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.0.sync_dir(dir)
    }
    fn lock(&self, path: &Path, note: &str) -> io::Result<Box<dyn Lock>> {
        self.0.lock(path, note)
    }
    fn lock_shared(&self, path: &Path) -> io::Result<Box<dyn Lock>> {
        self.0.lock_shared(path)
    }
    fn now(&self) -> Duration {
        self.0.now()
    }
    fn unix_time(&self) -> Duration {
        self.0.unix_time()
    }
    fn random(&self) -> u64 {
        self.0.random()
    }
    fn spawn(&self, name: &str, job: Job) -> io::Result<Worker> {
        self.0.spawn(name, job)
    }
    fn help(&self) -> bool {
        self.0.help()
    }
    fn has_threads(&self) -> bool {
        self.0.has_threads()
    }
    fn process_id(&self) -> u32 {
        self.0.process_id()
    }
}

/// F-31.
#[test]
fn after_a_job_has_panicked_the_next_write_says_so_and_nothing_is_lost() {
    let sim = Sim::new(31);
    let db = Db::options().env(Arc::new(Door(sim.clone()))).open("/db").unwrap();
    let c = db.collection("c").unwrap();
    c.insert("a", "1").unwrap();
    assert!(db.flush().is_err());
    let error = c.insert("b", "2").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ReadOnly);
    assert!(error.message().contains("panicked"), "{error}");
    assert_eq!(c.get("a").unwrap().unwrap(), b"1");
    drop(c);
    assert!(db.close().is_err());

    let db = Db::options().env(sim).open("/db").unwrap();
    let c = db.collection("c").unwrap();
    assert_eq!(c.get("a").unwrap().unwrap(), b"1");
    assert!(c.get("b").unwrap().is_none());
    c.insert("b", "3").unwrap();
    db.flush().unwrap();
    assert!(db.verify().unwrap().is_whole());
}
