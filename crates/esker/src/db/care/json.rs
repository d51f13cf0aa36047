//! Pairs as JSON Lines, out and in (HEST-24). Behind the feature `json`.
//!
//! ```text
//!   {"key":"alice","value":"1"}                 a line for each pair, in the order of keys
//!   {"key_base64":"/wA=","value":""}            bytes that are not UTF-8: standard alphabet, padded
//!   {"key":"bob","value":"2","expires":1700000000000}      milliseconds since the Unix epoch
//! ```
//!
//! 1. What was exported and is imported is equal, to the byte and to the millisecond of its expiry: text
//!    is text, all else is base64. A pair without an expiry is put as any other.
//! 2. A pair at a time: neither side holds more than one line, beside the batch that is gathered.
//! 3. A line that is not such a pair ends an import. What lies before it is stored, it and what lies
//!    behind it are not; the error says which line it is.

use crate::base::batch::Op;
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::key::Kind;
use crate::base::time::Time;
use crate::db::Db;
use crate::db::collections::collection::{Collection, View};
use crate::db::read::range::Range;
use crate::db::write::batch::WriteBatch;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::io::{self, BufRead, Write};

/// A batch is committed before it has more bytes, or more pairs.
const BATCH_BYTES: usize = 1 << 20;
const BATCH_PAIRS: usize = 1000;

/// So much of a bad line is shown.
const SHOWN_CHARS: usize = 60;

/// One line.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Line<'a> {
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    key: Option<Cow<'a, str>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    key_base64: Option<Cow<'a, str>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    value: Option<Cow<'a, str>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    value_base64: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires: Option<u64>,
}

impl Collection {
    /// Writes all pairs to `out` as JSON Lines, in the order of keys, as of now; answers how many.
    ///
    /// ```
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let db = esker::Db::open(folder.path())?;
    /// # let [users, others] = [db.collection("users")?, db.collection("others")?];
    /// users.insert("alice", "1")?;
    /// users.insert([255, 0], "")?;
    /// let mut lines = Vec::new();
    /// users.export_json(&mut lines)?;
    /// let text = "{\"key\":\"alice\",\"value\":\"1\"}\n{\"key_base64\":\"/wA=\",\"value\":\"\"}\n";
    /// assert_eq!(lines, text.as_bytes());
    /// assert_eq!(others.import_json(&lines[..])?, 2);
    /// # Ok::<(), esker::Error>(())
    /// ```
    ///
    /// Bytes that are not UTF-8 stand in base64 under `key_base64` or `value_base64`; of what expires
    /// there is `expires`, in milliseconds since the Unix epoch, and an import keeps that. Cost: one walk;
    /// memory for one line. Give it a buffered writer. Errors: those of reading; `Io` of `out`.
    pub fn export_json(&self, out: impl Write) -> Result<u64> {
        export(self.iter(), out)
    }

    /// Inserts the pairs that [`Collection::export_json`] wrote, in batches, as durable as the
    /// database's default says; answers how many there were. Of a key that comes twice, or is there
    /// already, the last value stays.
    ///
    /// Cost: an insert for each pair; memory for a line and a batch. Errors: `InvalidArgument` for a
    /// line that is no such pair, naming it: those before it are stored, it and those behind it are
    /// not; those of [`Collection::insert`]; `Io` of `input`. All tell how many pairs are stored.
    pub fn import_json(&self, mut input: impl BufRead) -> Result<u64> {
        let db = Db { handle: self.handle.clone() };
        let mut import = Import { to: self, batch: db.batch(), db, stored: 0 };
        let (mut line, mut number) = (Vec::new(), 0_u64);
        loop {
            line.clear();
            number += 1;
            let taken = match input.read_until(b'\n', &mut line) {
                Ok(0) => break,
                Ok(_) => parse(&line).map(|pair| import.take(&pair)),
                Err(error) => {
                    let stored = import.commit()?;
                    let doing = format!("read line {number} behind {stored} pairs that are stored");
                    return Err(Error::io(doing, error));
                }
            };
            let why = match taken {
                Ok(Ok(())) => continue,
                Ok(Err(error)) if error.kind() != ErrorKind::InvalidArgument => return Err(error),
                Ok(Err(error)) => error.message().to_owned(),
                Err(why) => why,
            };
            let stored = import.commit()?;
            let message = format!("line {number}: {why}; the {stored} pairs before it are stored");
            return Err(Error::invalid(message));
        }
        import.commit()
    }
}

/// An import under way.
struct Import<'a> {
    to: &'a Collection,
    db: Db,
    batch: WriteBatch,
    /// Pairs that are committed.
    stored: u64,
}

impl Import<'_> {
    /// Takes in a pair. What was gathered is committed first if it is enough, or would be too much with
    /// the pair: so what fits into a batch fits, whatever comes before it.
    ///
    /// Errors: `InvalidArgument` for a key or value that is too long; those of [`Self::commit`].
    fn take(&mut self, pair: &Pair) -> Result<()> {
        let Pair { key, value, expires } = pair;
        let bytes = self.batch.byte_count() + key.len() + value.len();
        if bytes > BATCH_BYTES || self.batch.len() >= BATCH_PAIRS {
            self.commit()?;
        }
        let (collection, expires) = (self.to.id, *expires);
        self.batch.push_op(self.to, Op { kind: Kind::Put, collection, key, value, expires })
    }

    /// Commits what was gathered; answers how many pairs are stored by now. Errors: those of the commit.
    fn commit(&mut self) -> Result<u64> {
        let batch = std::mem::replace(&mut self.batch, self.db.batch());
        let count = batch.len() as u64;
        let committed = batch.commit();
        committed.map_err(|error| error.context(format!("import behind {} pairs", self.stored)))?;
        self.stored += count;
        Ok(self.stored)
    }
}

impl View {
    /// [`Collection::export_json`] of what the snapshot sees.
    pub fn export_json(&self, out: impl Write) -> Result<u64> {
        export(self.iter(), out)
    }
}

fn export(mut pairs: Range, mut out: impl Write) -> Result<u64> {
    let mut count = 0;
    while let Some((key, value, expiry)) = pairs.next_lent_closely()? {
        let ((key, key_base64), (value, value_base64)) = (text(key), text(value));
        let expires = expiry.map(|Time(millis)| millis);
        let line = Line { key, key_base64, value, value_base64, expires };
        let written = serde_json::to_writer(&mut out, &line).map_err(io::Error::from);
        written.and_then(|()| out.write_all(b"\n")).map_err(failed)?;
        count += 1;
    }
    out.flush().map_err(failed)?;
    Ok(count)
}

fn failed(error: io::Error) -> Error {
    Error::io("write the export", error)
}

/// Bytes as text, or else as base64.
fn text(bytes: &[u8]) -> (Option<Cow<'_, str>>, Option<Cow<'_, str>>) {
    match std::str::from_utf8(bytes) {
        Ok(text) => (Some(text.into()), None),
        Err(_) => (None, Some(STANDARD.encode(bytes).into())),
    }
}

/// What a line says.
struct Pair {
    key: Vec<u8>,
    value: Vec<u8>,
    expires: Option<Time>,
}

/// The pair of a line, or what is wrong with it: what was wanted, and what was found.
fn parse(line: &[u8]) -> Result<Pair, String> {
    let shown = || {
        let text = String::from_utf8_lossy(line);
        text.trim_end().chars().take(SHOWN_CHARS).collect::<String>()
    };
    let parsed: Line<'_> = serde_json::from_slice(line).map_err(|error| {
        let (at, why) = (error.column(), error.to_string());
        let why = why.split(" at line ").next().unwrap_or_default();
        format!("want a pair as one JSON object, found {:?} ({why} at column {at})", shown())
    })?;
    let key = bytes("key", parsed.key, parsed.key_base64)?;
    let value = bytes("value", parsed.value, parsed.value_base64)?;
    Ok(Pair { key, value, expires: parsed.expires.map(Time) })
}

fn bytes(
    name: &str,
    text: Option<Cow<'_, str>>,
    base64: Option<Cow<'_, str>>,
) -> Result<Vec<u8>, String> {
    match (text, base64) {
        (Some(text), None) => Ok(text.into_owned().into_bytes()),
        (None, Some(base64)) => STANDARD
            .decode(base64.as_bytes())
            .map_err(|error| format!("want base64 in {name}_base64, found other text ({error})")),
        (None, None) => Err(format!("want {name} or {name}_base64, found neither")),
        (Some(_), Some(_)) => Err(format!("want {name} or {name}_base64, found both")),
    }
}
