//! The steps of the tour, each announced, timed and checked.

use crate::tree::{self, Tree};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// How often the growing database is looked at.
const LOOK: Duration = Duration::from_millis(2);

/// What the caller asked for.
pub(crate) struct Tour {
    folder: PathBuf,
    work: PathBuf,
    kills: u64,
    keep: bool,
}

impl Tour {
    /// Reads the command line behind the verb.
    pub(crate) fn parse(args: impl Iterator<Item = OsString>) -> Result<Self, String> {
        let (mut folder, mut work, mut kills, mut keep) = (None, None, 1, false);
        let mut args = args.peekable();
        while let Some(arg) = args.next() {
            match arg.to_str() {
                Some("--keep") => keep = true,
                Some("--at") => work = Some(PathBuf::from(args.next().ok_or(crate::USAGE)?)),
                Some("--kills") => {
                    let number = args.next().and_then(|number| number.to_str()?.parse().ok());
                    kills = number.ok_or(crate::USAGE)?;
                }
                Some(option) if option.starts_with('-') => return Err(crate::USAGE.to_owned()),
                _ if folder.is_some() => return Err(crate::USAGE.to_owned()),
                _ => folder = Some(PathBuf::from(arg)),
            }
        }
        let folder = folder.map_or_else(toolchain, Ok)?;
        let work = work.map_or_else(|| Ok(target_folder()?.join("tour")), Ok::<_, String>)?;
        Ok(Self { folder, work, kills, keep })
    }

    /// Does all steps; fails at the first that does not do what it must.
    pub(crate) fn run(self) -> Result<(), String> {
        let started = Instant::now();
        let esker = build()?;
        let before = Tree::of(&self.folder)?;
        if before.files.is_empty() {
            return Err(format!("no ordinary file in {}", self.folder.display()));
        }
        clear(&self.work)?;
        fs::create_dir_all(&self.work)
            .map_err(|error| format!("create {}: {error}", self.work.display()))?;
        let (db, copy) = (self.work.join("db"), self.work.join("copy"));
        println!(
            "the input: {} holds {} files, {}",
            self.folder.display(),
            before.files.len(),
            mebibytes(before.bytes)
        );

        let loader = Steps { esker: &esker, db: &db };
        for kill in 1..=self.kills {
            loader.load_and_kill(&self.folder, before.bytes / (self.kills + 1) * kill)?;
            loader.step("what the killed loader left", ["verify"], None)?;
            loader.step("files that are in it", ["count"], Some(OsStr::new("default")))?;
        }
        loader.step("load again", ["load"], Some(self.folder.as_os_str()))?;
        loader.step("verify the whole", ["verify"], None)?;
        loader.step("unload", ["unload"], Some(copy.as_os_str()))?;

        println!("\n== compare");
        let compared = Instant::now();
        let same = tree::compare(&self.folder, &copy)?;
        println!(
            "   identical: {} files, {}, read twice in {:.1} s",
            same.files.len(),
            mebibytes(same.bytes),
            compared.elapsed().as_secs_f64()
        );
        let used = Tree::of(&db)?;
        println!("   the database: {} files, {}", used.files.len(), mebibytes(used.bytes));
        if self.keep {
            println!("   kept: {}", self.work.display());
        } else {
            clear(&self.work)?;
        }
        println!("\nnothing was lost. {:.1} s in all", started.elapsed().as_secs_f64());
        Ok(())
    }
}

/// Runs verbs of the command against one database.
struct Steps<'a> {
    esker: &'a Path,
    db: &'a Path,
}

impl Steps<'_> {
    fn command(&self, verb: &str, last: Option<&OsStr>) -> Command {
        let mut command = Command::new(self.esker);
        command.arg(verb).arg(self.db).args(last);
        command
    }

    /// Runs one verb to its end; its own output is shown.
    fn step(&self, title: &str, [verb]: [&str; 1], last: Option<&OsStr>) -> Result<(), String> {
        println!("\n== {title}: esker {verb}");
        let started = Instant::now();
        let status = self.command(verb, last).status().map_err(|error| start_failed(&error))?;
        if !status.success() {
            return Err(format!("esker {verb}: {status}"));
        }
        println!("   {:.1} s", started.elapsed().as_secs_f64());
        Ok(())
    }

    /// Starts the loader, and kills it when the database holds `enough` bytes.
    fn load_and_kill(&self, folder: &Path, enough: u64) -> Result<(), String> {
        println!("\n== load, and kill the loader at {}: esker load", mebibytes(enough));
        let started = Instant::now();
        let mut loader = self
            .command("load", Some(folder.as_os_str()))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| start_failed(&error))?;
        let held = wait_for(&mut loader, self.db, enough)?;
        loader.kill().map_err(|error| format!("kill the loader: {error}"))?;
        let status = loader.wait().map_err(|error| format!("wait for the loader: {error}"))?;
        let seconds = started.elapsed().as_secs_f64();
        if status.success() {
            println!("   the loader was done in {seconds:.2} s, before it could be killed");
        } else {
            println!("   killed after {seconds:.2} s ({status}), {} on disk", mebibytes(held));
        }
        Ok(())
    }
}

/// Waits until the folder `db` holds `enough` bytes or the loader has ended.
fn wait_for(loader: &mut Child, db: &Path, enough: u64) -> Result<u64, String> {
    loop {
        // Logs are allocated ahead, so the blocks in use are counted where the system tells.
        let held = used_bytes(db);
        let ended = loader.try_wait().map_err(|error| format!("wait for the loader: {error}"))?;
        if held >= enough || ended.is_some() {
            return Ok(held);
        }
        thread::sleep(LOOK);
    }
}

/// The bytes in a database's files; files that vanish meanwhile count as nothing.
fn used_bytes(db: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(db) else { return 0 };
    entries.filter_map(|entry| entry.ok()?.metadata().ok()).map(|about| about.len()).sum()
}

/// Builds the command and says where it is.
fn build() -> Result<PathBuf, String> {
    println!("== build: cargo build --release --package esker-cli");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args(["build", "--release", "--locked", "--quiet", "--package", "esker-cli"])
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."))
        .status()
        .map_err(|error| format!("start cargo: {error}"))?;
    if !status.success() {
        return Err(format!("cargo build: {status}"));
    }
    let esker =
        target_folder()?.join("release").join(format!("esker{}", std::env::consts::EXE_SUFFIX));
    if esker.is_file() { Ok(esker) } else { Err(format!("no {}", esker.display())) }
}

/// The folder that cargo builds into: this program lies two levels below it.
fn target_folder() -> Result<PathBuf, String> {
    let own = std::env::current_exe().map_err(|error| format!("own path: {error}"))?;
    let target = own.parent().and_then(Path::parent);
    target.map(Path::to_owned).ok_or_else(|| format!("{} lies in no target folder", own.display()))
}

/// The folder of the Rust toolchain.
fn toolchain() -> Result<PathBuf, String> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc).args(["--print", "sysroot"]).output();
    let output = output.map_err(|error| format!("start rustc: {error}"))?;
    let path = String::from_utf8(output.stdout).map_err(|error| format!("rustc: {error}"))?;
    Ok(PathBuf::from(path.trim_end()))
}

fn clear(work: &Path) -> Result<(), String> {
    match fs::remove_dir_all(work) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(format!("remove {}: {error}", work.display()))
        }
        _ => Ok(()),
    }
}

fn start_failed(error: &std::io::Error) -> String {
    format!("start esker: {error}")
}

#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
fn mebibytes(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}
