//! `esker audit DB [--json]`: the proof, edit by edit, and once more from the bytes.
//!
//! ```text
//! text   edit N at byte AT: REASON             then its files, its sums, what is present; ok or BROKEN
//!        one line for each damage              FILE: MESSAGE
//!        one line of figures                   holds: … or BROKEN: …
//! JSON   an object for each edit, one for each damage, one of figures at the end
//! ```
//!
//! 1. Exit 0: the proof holds. 1: it does not. 2: it could not be checked.

use crate::failure::{Outcome, Result};
use crate::output::{self, Object};
use clap::Args;
use esker::inspect::{self, AuditReport, Link, Placed, PlacedBlob};
use serde_json::{Value, json};
use std::io::Write;
use std::path::PathBuf;

/// Write the proof that nothing was lost, edit by edit, and check it against the bytes; exit 1 if
/// it does not hold
#[derive(Args)]
pub(crate) struct Audit {
    /// The database's folder
    db: PathBuf,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

impl Audit {
    pub(crate) fn run(self) -> Result<Outcome> {
        let mut out = output::stdout();
        let mut failed = None;
        let report = inspect::audit(&self.db, &mut |link| {
            if failed.is_none() {
                let written = if self.json {
                    link_object(link).write(&mut out)
                } else {
                    write(link, &mut out)
                };
                failed = written.err();
            }
            Ok(())
        })?;
        if let Some(failure) = failed {
            return Err(failure);
        }
        let holds = report.damages.is_empty();
        if self.json {
            for damage in &report.damages {
                Object::default()
                    .with("file", damage.file.as_str())
                    .with("message", damage.message.as_str())
                    .write(&mut out)?;
            }
            figures(&report, holds).write(&mut out)?;
        } else {
            for damage in &report.damages {
                writeln!(out, "{}: {}", damage.file, damage.message)?;
            }
            let verdict = if holds { "holds" } else { "BROKEN" };
            let AuditReport { edits, segments, bytes, present, total, .. } = report;
            write!(out, "{verdict}: {edits} edits, {segments} segments of {bytes} bytes, ")?;
            if report.blobs > 0 {
                write!(out, "{} blob files of {} bytes, ", report.blobs, report.blob_bytes)?;
            }
            writeln!(out, "present {present}, total {total}")?;
        }
        out.flush()?;
        Ok(if holds { Outcome::Done } else { Outcome::No })
    }
}

fn write(link: &Link, out: &mut impl Write) -> Result<()> {
    writeln!(out, "edit {} at byte {}: {}", link.number, link.at, link.reason)?;
    for (what, files) in [("in", &link.removed), ("out", &link.added)] {
        for Placed { file, level, run, checksum, .. } in files {
            writeln!(out, "  {what:<8}{file} level {level} run {run} sum {checksum}")?;
        }
    }
    for (what, files) in [("in", &link.blobs_removed), ("out", &link.blobs_added)] {
        for PlacedBlob { file, values, stored_bytes, checksum, .. } in files {
            write!(out, "  {what:<8}{file} {values} values of {stored_bytes} bytes")?;
            match checksum {
                Some(checksum) => writeln!(out, " sum {checksum}")?,
                None => writeln!(out)?,
            }
        }
    }
    for PlacedBlob { file, values, stored_bytes, .. } in &link.blobs_died {
        writeln!(out, "  {:<8}{values} values of {stored_bytes} bytes in {file}", "died")?;
    }
    if let Some([input, output, dropped]) = link.balance {
        write!(out, "  balance in {input} = out {output} + dropped {dropped}")?;
        if let Some(created) = link.created {
            write!(out, " - created {created}")?;
        }
        writeln!(out)?;
    }
    writeln!(out, "  present {} of total {}", link.present, link.total)?;
    match &link.broken {
        None => writeln!(out, "  ok")?,
        Some(message) => writeln!(out, "  BROKEN: {message}")?,
    }
    Ok(())
}

fn link_object(link: &Link) -> Object {
    let files = |all: &[Placed]| -> Value {
        let file = |one: &Placed| {
            json!({
                "file": one.file, "level": one.level, "run": one.run,
                "checksum": one.checksum.to_string(),
            })
        };
        all.iter().map(file).collect()
    };
    let blobs = |all: &[PlacedBlob]| -> Value {
        let file = |one: &PlacedBlob| {
            json!({
                "file": one.file, "values": one.values, "stored_bytes": one.stored_bytes,
                "checksum": one.checksum.map(|checksum| checksum.to_string()),
            })
        };
        all.iter().map(file).collect()
    };
    let sums = link.balance.map(|sums| sums.map(|sum| sum.to_string()));
    let sum = |place: usize| sums.as_ref().and_then(|sums| sums.get(place).cloned());
    Object::default()
        .with("edit", link.number)
        .with("offset", link.at)
        .with("reason", link.reason)
        .with("removed", files(&link.removed))
        .with("added", files(&link.added))
        .with("blobs_removed", blobs(&link.blobs_removed))
        .with("blobs_added", blobs(&link.blobs_added))
        .with("blobs_died", blobs(&link.blobs_died))
        .with("in", sum(0))
        .with("out", sum(1))
        .with("dropped", sum(2))
        .with("created", link.created.map(|sum| sum.to_string()))
        .with("present", link.present.to_string())
        .with("total", link.total.to_string())
        .with("broken", link.broken.clone())
}

fn figures(report: &AuditReport, holds: bool) -> Object {
    Object::default()
        .with("holds", holds)
        .with("edits", report.edits)
        .with("segments", report.segments)
        .with("bytes", report.bytes)
        .with("blobs", report.blobs)
        .with("blob_bytes", report.blob_bytes)
        .with("present", report.present.to_string())
        .with("total", report.total.to_string())
}
