//! `esker put DB C KEY [VALUE]`: stores a value, from the command line or, piece by piece, from standard
//! input.

use crate::failure::{Failure, Outcome, Result};
use crate::open;
use clap::Args;
use std::ffi::OsString;
use std::io::{Read, Write};
use std::path::PathBuf;

/// Store a value under a key; without VALUE, all of standard input is the value
#[derive(Args)]
pub(crate) struct Put {
    /// The database's folder; created if there is none
    db: PathBuf,
    /// The collection; created if there is none
    #[arg(value_name = "C")]
    collection: String,
    key: OsString,
    value: Option<OsString>,
}

/// How much of standard input is read at once. What is shorter is read before the database is opened:
/// nobody waits for whoever types it.
const PIECE_BYTES: usize = 1 << 20;

impl Put {
    pub(crate) fn run(self) -> Result<Outcome> {
        let mut input = std::io::stdin().lock();
        let (first, mut is_all) = match self.value {
            Some(value) => (value.into_encoded_bytes(), true),
            None => piece(&mut input)?,
        };
        let db = open::create(&self.db)?;
        let mut writer = db.collection(&self.collection)?.writer(self.key.as_encoded_bytes());
        // Why it took something no more is told by the finish.
        let mut is_taken = writer.write_all(&first).is_ok();
        while is_taken && !is_all {
            let next;
            (next, is_all) = piece(&mut input)?;
            is_taken = writer.write_all(&next).is_ok();
        }
        writer.finish()?;
        db.close()?;
        Ok(Outcome::Done)
    }
}

/// The next piece of `input`, and whether it is the last.
fn piece(input: &mut impl Read) -> Result<(Vec<u8>, bool)> {
    let mut bytes = Vec::with_capacity(PIECE_BYTES);
    let read = input.take(PIECE_BYTES as u64).read_to_end(&mut bytes);
    read.map_err(|error| Failure::new(format!("read standard input: {error}")))?;
    let is_last = bytes.len() < PIECE_BYTES;
    Ok((bytes, is_last))
}
