//! `esker blob FILE [--values] [--json]`: what a file of large values holds, after every byte of it was
//! checked.
//!
//! ```text
//! text   with --values  ADDRESS  OFFSET  LENGTH  STORED  CODEC  DIGEST  live|dead|-      one a line
//!        NAME <tab> VALUE, one a line
//! JSON   with --values  {"address": …, "offset": …, …}; at the end one object with the same names
//! ```
//!
//! 1. If a manifest in the same folder names the file, it is held against that, and what is dead in it
//!    is known. A log that no manifest names is taken for one with values of the usual size.
//! 2. A damaged file shows the values before the damage, then the error.

use crate::failure::{Failure, Outcome, Result};
use crate::output::{self, Object};
use clap::Args;
use esker::inspect::{self, BlobSummary, BlobValue};
use std::io::Write;
use std::path::PathBuf;

/// Check every byte of a file of large values, and write what it holds
#[derive(Args)]
pub(crate) struct Blob {
    /// The file: `blob-NNNNNN`
    file: PathBuf,
    /// Each value, too
    #[arg(long)]
    values: bool,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

impl Blob {
    pub(crate) fn run(self) -> Result<Outcome> {
        let mut out = output::stdout();
        let mut stopped = None;
        let summary = inspect::blob(&self.file, &mut |value| {
            if self.values {
                let json = self.json;
                let written =
                    if json { object(value).write(&mut out) } else { line(value, &mut out) };
                if let Err(failure) = written {
                    stopped = Some(failure);
                    return Err(esker::Error::new(esker::ErrorKind::Io, "stopped"));
                }
            }
            Ok(())
        });
        if let Some(failure) = stopped {
            return Err(failure);
        }
        // What is whole is told before the damage behind it.
        out.flush()?;
        let summary = summary.map_err(|error| self.named(error))?;
        if self.json {
            summary_object(&summary).write(&mut out)?;
        } else {
            write_summary(&summary, &mut out)?;
        }
        out.flush()?;
        Ok(Outcome::Done)
    }

    /// A file under a foreign name is called by its number in errors: says which file that is.
    fn named(&self, error: esker::Error) -> Failure {
        let name = self.file.file_name().unwrap_or_default().to_string_lossy();
        let error = if error.message().contains(&*name) {
            error
        } else {
            error.context(self.file.display())
        };
        error.into()
    }
}

fn line(value: &BlobValue, out: &mut impl Write) -> Result<()> {
    let BlobValue { address, offset, length, stored, codec, digest, .. } = value;
    let fate = match value.dead {
        Some(true) => "dead",
        Some(false) => "live",
        None => "-",
    };
    writeln!(out, "{address}\t{offset}\t{length}\t{stored}\t{codec}\t{digest:016x}\t{fate}")?;
    Ok(())
}

fn object(value: &BlobValue) -> Object {
    Object::default()
        .with("address", value.address.as_str())
        .with("offset", value.offset)
        .with("length", value.length)
        .with("stored", value.stored)
        .with("codec", value.codec)
        .with("digest", format!("{:016x}", value.digest))
        .with("dead", value.dead)
}

fn write_summary(summary: &BlobSummary, out: &mut impl Write) -> Result<()> {
    writeln!(out, "file\t{}", summary.file)?;
    writeln!(out, "kind\t{}", summary.kind)?;
    writeln!(out, "bytes\t{}", summary.bytes)?;
    writeln!(out, "values\t{}", summary.values)?;
    writeln!(out, "stored_bytes\t{}", summary.stored_bytes)?;
    writeln!(out, "least\t{}", summary.least)?;
    writeln!(out, "setsum\t{}", summary.checksum)?;
    let figure =
        |figure: Option<u64>| figure.map_or_else(|| "-".to_owned(), |figure| figure.to_string());
    writeln!(out, "dead_values\t{}", figure(summary.dead_values))?;
    writeln!(out, "dead_bytes\t{}", figure(summary.dead_bytes))?;
    for (first, last) in &summary.intervals {
        writeln!(out, "interval\t{first}..{last}")?;
    }
    Ok(())
}

fn summary_object(summary: &BlobSummary) -> Object {
    let intervals = summary.intervals.iter();
    let intervals = intervals.map(|(first, last)| format!("{first}..{last}"));
    Object::default()
        .with("file", summary.file.as_str())
        .with("kind", summary.kind)
        .with("bytes", summary.bytes)
        .with("values", summary.values)
        .with("stored_bytes", summary.stored_bytes)
        .with("least", summary.least)
        .with("setsum", summary.checksum.to_string())
        .with("dead_values", summary.dead_values)
        .with("dead_bytes", summary.dead_bytes)
        .with("intervals", intervals.collect::<Vec<_>>())
}
