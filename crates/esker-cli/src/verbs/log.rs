//! `esker log FILE [--json]`: every entry of a log, then how the log ends.
//!
//! ```text
//! text   AT  SEQUENCE  KIND  COLLECTION  KEY  VALUE       a mark's words stand for its value
//! JSON   {"at": …, "sequence": …, "kind": …, "collection": …, "key": …, "value": …}
//!        of a large value that is stored packed also {"codec": …, "stored": …}
//!        at the end {"native": …, "frames": …, "entries": …, "length": …, "torn_bytes": …}
//! ```
//!
//! Works on logs of a live database, on damaged ones (what lies before the damage is shown, then
//! the error) and on logs that the `sst` crate wrote.

use crate::failure::{Failure, Outcome, Result};
use crate::output::{self, Object};
use clap::Args;
use esker::inspect::{self, Entry, LogSummary};
use std::io::Write;
use std::path::PathBuf;

/// Write every entry of a log file, then how the log ends
#[derive(Args)]
pub(crate) struct Log {
    /// The file: one of Esker's `log-NNNNNN`, or a log of the `sst` crate
    file: PathBuf,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

impl Log {
    pub(crate) fn run(self) -> Result<Outcome> {
        let mut out = output::stdout();
        let mut stopped = None;
        let summary = inspect::log(&self.file, &mut |entry| {
            let written =
                if self.json { write_json(entry, &mut out) } else { write_text(entry, &mut out) };
            stopped = written.err();
            Ok(stopped.is_none())
        });
        if let Some(failure) = stopped {
            return Err(failure);
        }
        // What is whole is told before the damage behind it.
        out.flush()?;
        write_summary(&summary?, self.json, &mut out)?;
        out.flush()?;
        Ok(Outcome::Done)
    }
}

fn write_text(entry: &Entry<'_>, out: &mut impl Write) -> Result<(), Failure> {
    let value = entry.note.clone().unwrap_or_else(|| output::text(entry.value));
    let collection = entry.collection.map_or_else(|| "-".to_owned(), |id| id.to_string());
    writeln!(
        out,
        "{}\t{}\t{}\t{collection}\t{}\t{value}",
        entry.at,
        entry.sequence,
        entry.kind,
        output::text(entry.key)
    )?;
    Ok(())
}

fn write_json(entry: &Entry<'_>, out: &mut impl Write) -> Result<(), Failure> {
    let object = Object::default()
        .with("at", entry.at)
        .with("sequence", entry.sequence)
        .with("kind", entry.kind)
        .with("collection", entry.collection)
        .bytes("key", entry.key)
        .bytes("value", entry.value);
    let object = match entry.codec {
        "raw" => object,
        codec => object.with("codec", codec).with("stored", entry.stored),
    };
    let object = match entry.expires {
        Some(millis) => object.with("expires", millis),
        None => object,
    };
    match &entry.note {
        Some(note) => object.with("note", note.as_str()).write(out),
        None => object.write(out),
    }
}

fn write_summary(summary: &LogSummary, json: bool, out: &mut impl Write) -> Result<(), Failure> {
    if json {
        return Object::default()
            .with("native", summary.native)
            .with("frames", summary.frames)
            .with("entries", summary.entries)
            .with("length", summary.length)
            .with("torn_bytes", summary.torn_bytes)
            .write(out);
    }
    let whose = if summary.native { "a log of Esker's" } else { "a log of the sst crate" };
    write!(
        out,
        "{whose}: {} entries in {} frames, {} bytes",
        summary.entries, summary.frames, summary.length
    )?;
    if summary.torn_bytes > 0 {
        write!(out, "; then a torn tail of {} bytes", summary.torn_bytes)?;
    }
    writeln!(out)?;
    Ok(())
}
