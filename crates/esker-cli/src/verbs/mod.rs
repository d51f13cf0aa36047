//! The verbs: one a file, none knows another.

mod audit;
mod backup;
mod blob;
mod checkpoint;
mod collections;
mod count;
mod export;
mod get;
mod import;
mod load;
mod log;
mod manifest;
mod put;
mod repair;
mod restore;
mod revert;
mod rm;
mod scan;
mod segment;
mod snapshot;
mod snapshots;
mod stats;
mod unload;
mod verify;
mod watch;

use crate::failure::{Outcome, Result};
use clap::Subcommand;

/// What to do.
#[derive(Subcommand)]
pub(crate) enum Verb {
    Load(load::Load),
    Unload(unload::Unload),
    Put(put::Put),
    Get(get::Get),
    Rm(rm::Rm),
    Scan(scan::Scan),
    Export(export::Export),
    Import(import::Import),
    Count(count::Count),
    Collections(collections::Collections),
    Snapshot(snapshot::Snapshot),
    Snapshots(snapshots::Snapshots),
    Revert(revert::Revert),
    Watch(watch::Watch),
    Stats(stats::Stats),
    Verify(verify::Verify),
    Audit(audit::Audit),
    Checkpoint(checkpoint::Checkpoint),
    Backup(backup::Backup),
    Restore(restore::Restore),
    Repair(repair::Repair),
    Log(log::Log),
    Segment(segment::Segment),
    Blob(blob::Blob),
    Manifest(manifest::Manifest),
}

/// Does it.
pub(crate) fn run(verb: Verb) -> Result<Outcome> {
    match verb {
        Verb::Load(verb) => verb.run(),
        Verb::Unload(verb) => verb.run(),
        Verb::Put(verb) => verb.run(),
        Verb::Get(verb) => verb.run(),
        Verb::Rm(verb) => verb.run(),
        Verb::Scan(verb) => verb.run(),
        Verb::Export(verb) => verb.run(),
        Verb::Import(verb) => verb.run(),
        Verb::Count(verb) => verb.run(),
        Verb::Collections(verb) => verb.run(),
        Verb::Snapshot(verb) => verb.run(),
        Verb::Snapshots(verb) => verb.run(),
        Verb::Revert(verb) => verb.run(),
        Verb::Watch(verb) => verb.run(),
        Verb::Stats(verb) => verb.run(),
        Verb::Verify(verb) => verb.run(),
        Verb::Audit(verb) => verb.run(),
        Verb::Checkpoint(verb) => verb.run(),
        Verb::Backup(verb) => verb.run(),
        Verb::Restore(verb) => verb.run(),
        Verb::Repair(verb) => verb.run(),
        Verb::Log(verb) => verb.run(),
        Verb::Segment(verb) => verb.run(),
        Verb::Blob(verb) => verb.run(),
        Verb::Manifest(verb) => verb.run(),
    }
}
