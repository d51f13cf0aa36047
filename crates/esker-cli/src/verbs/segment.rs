//! `esker segment FILE [--json]`: what a segment says of itself, after every byte of it was checked.
//!
//! ```text
//! text   NAME <tab> VALUE, one a line           JSON   one object with the same names
//! ```
//!
//! A damaged segment shows what could be read, then the error.

use crate::failure::{Outcome, Result};
use crate::output::{self, Object};
use clap::Args;
use esker::inspect;
use std::io::Write;
use std::path::PathBuf;

/// Fields whose values are text, even where they look like a number.
const TEXTS: [&str; 3] = ["smallest", "largest", "setsum"];

/// Check every byte of a segment file, and write its properties
#[derive(Args)]
pub(crate) struct Segment {
    /// The file: `seg-NNNNNN`
    file: PathBuf,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

impl Segment {
    pub(crate) fn run(self) -> Result<Outcome> {
        let mut out = output::stdout();
        let fields = inspect::segment(&self.file).map_err(|error| self.named(error))?;
        if self.json {
            let mut object = Object::default();
            for (name, value) in fields {
                object = match value.parse::<u64>() {
                    Ok(figure) if !TEXTS.contains(&name) => object.with(name, figure),
                    _ => object.with(name, value),
                };
            }
            object.write(&mut out)?;
        } else {
            for (name, value) in fields {
                writeln!(out, "{name}\t{value}")?;
            }
        }
        out.flush()?;
        inspect::verify_segment(&self.file).map_err(|error| self.named(error))?;
        Ok(Outcome::Done)
    }

    /// A file under a foreign name is called by its number in errors: says which file that is.
    fn named(&self, error: esker::Error) -> esker::Error {
        let name = self.file.file_name().unwrap_or_default().to_string_lossy();
        if error.message().contains(&*name) { error } else { error.context(self.file.display()) }
    }
}
