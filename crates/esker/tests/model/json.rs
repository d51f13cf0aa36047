//! Pairs as JSON Lines, written and read without the engine: what an export must say, and what an
//! import must make of it.
//!
//! ```text
//!   {"key":"a","value_base64":"/w==","expires":1700000000000}
//! ```
//!
//! 1. What goes out is what is there, in order, each pair with the time at which it expires (HEST-24).
//! 2. What comes in is put line by line: a crash leaves what stands before some line, and so does a line
//!    that is no pair.

use super::run::{Done, Run};
use super::state::{Change, Expiry, Moment, Number};
use super::steps::{Author, Path, Style};
use super::writes::Write;
use crate::TALLY;
use crate::support::reference::{KeyBytes, Val};
use crate::support::session::text;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use esker::ErrorKind;
use serde_json::{Map, Value};

/// A key, its value, and when that expires.
type Line = (Vec<u8>, Vec<u8>, Expiry);

impl Author {
    pub fn import(&mut self, path: Path, style: Style) -> Write {
        let keys = self.some_keys();
        let line = |key| {
            let val = self.val();
            let expires = self.expires && self.dice.one_in(4);
            if expires { self.put_for(key, val) } else { Change::Put(key, val) }
        };
        let lines: Vec<Change> = keys.into_iter().map(line).collect();
        let bad = self.dice.one_in(4).then(|| self.dice.index(lines.len() + 1));
        Write::Import { path, style, lines, bad }
    }
}

/// A text, or bytes that are none, under the name for that.
fn set(line: &mut Map<String, Value>, name: &str, bytes: Vec<u8>) {
    match String::from_utf8(bytes) {
        Ok(text) => line.insert(name.to_owned(), text.into()),
        Err(odd) => line.insert(format!("{name}_base64"), STANDARD.encode(odd.as_bytes()).into()),
    };
}

/// The bytes under a name; as text if they are text.
fn bytes(line: &Map<String, Value>, name: &str) -> Result<Vec<u8>, String> {
    let odd = line.get(&format!("{name}_base64")).and_then(Value::as_str);
    match (line.get(name).and_then(Value::as_str), odd) {
        (Some(text), None) => Ok(text.as_bytes().to_vec()),
        (None, Some(odd)) => match STANDARD.decode(odd).map(String::from_utf8) {
            Ok(Err(bytes)) => Ok(bytes.into_bytes()),
            other => Err(format!("bytes that are not text are {other:?}")),
        },
        other => Err(format!("{name} is {other:?}")),
    }
}

fn written((key, value, expires): Line) -> Result<String, String> {
    let mut line = Map::new();
    set(&mut line, "key", key);
    set(&mut line, "value", value);
    line.extend(expires.map(|expires| ("expires".to_owned(), expires.into())));
    serde_json::to_string(&line).map_err(|error| error.to_string())
}

fn parsed(line: &str) -> Result<Line, String> {
    let line: Map<String, Value> = serde_json::from_str(line).map_err(|error| error.to_string())?;
    let expires = line.get("expires").map(|at| at.as_u64().ok_or("a time is no number"));
    Ok((bytes(&line, "key")?, bytes(&line, "value")?, expires.transpose()?))
}

/// Whether an export says what a collection shows.
pub fn check(
    export: impl FnOnce(&mut Vec<u8>) -> esker::Result<u64>,
    (moment, number): (&Moment, Number),
) -> Result<(), String> {
    let mut out = Vec::new();
    let count = export(&mut out).map_err(text)?;
    let out = String::from_utf8(out).map_err(|error| error.to_string())?;
    let found = out.lines().map(parsed).collect::<Result<Vec<Line>, _>>()?;
    let pairs = moment.pairs(number);
    let line =
        |(key, val): (&KeyBytes, &Val)| (key.0.to_vec(), val.bytes(), moment.expiry(number, key));
    let want: Vec<Line> = pairs.iter().map(line).collect();
    TALLY.add("pairs exported", count);
    if found == want && count == want.len() as u64 {
        return Ok(());
    }
    let brief = |(key, value, expires): &Line| {
        format!("{}={} bytes until {expires:?}", key.escape_ascii(), value.len())
    };
    let lists = [&found, &want].map(|lines| lines.iter().map(brief).collect::<Vec<_>>());
    Err(format!("{count} pairs were exported: {:?}, want {:?}", lists[0], lists[1]))
}

/// The pair that a change puts, and when it expires; none for changes of other kinds.
fn line_of(change: &Change) -> Option<Line> {
    match change {
        Change::Put(key, val) => Some((key.0.to_vec(), val.bytes(), None)),
        Change::PutUntil(key, val, expires) => Some((key.0.to_vec(), val.bytes(), *expires)),
        _ => None,
    }
}

impl Run {
    /// Imports lines; the one at `bad`, if there is one, is no pair.
    pub fn import(&mut self, to: (Path, Style), lines: &[Change], bad: Option<usize>) -> Done {
        let now = self.now().now.clock.now();
        // What never expires is a line without a time, and so a put as any other.
        let begun = |line: &Change| match line.begun(now) {
            Change::PutUntil(key, val, None) => Change::Put(key, val),
            begun => begun,
        };
        let lines: Vec<Change> = lines.iter().map(begun).collect();
        let pairs = lines.iter().filter_map(line_of);
        let mut text = pairs.map(written).collect::<Result<Vec<String>, _>>()?;
        if let Some(bad) = bad {
            text.insert(bad, "{\"key\":1}".to_owned());
        }
        self.store(to, &lines, bad, text.join("\n").as_bytes())
    }

    /// HEST-24: imports what is exported.
    pub fn pour(&mut self, from: Path, to: (Path, Style)) -> Done {
        let Some((number, collection)) = self.existing(from)? else { return Ok(()) };
        let moment = self.now().now.clone();
        let pair = |(key, val)| match moment.expiry(number, &key) {
            None => Change::Put(key, val),
            expires => Change::PutUntil(key, val, expires),
        };
        let lines: Vec<Change> = moment.pairs(number).into_iter().map(pair).collect();
        let mut text = Vec::new();
        self.ok(collection.export_json(&mut text))?;
        self.store(to, &lines, None, &text)
    }

    /// Imports a text that has these lines, and a bad one at `bad`.
    fn store(
        &mut self,
        (path, style): (Path, Style),
        lines: &[Change],
        bad: Option<usize>,
        text: &[u8],
    ) -> Done {
        let (number, collection) = self.collection(path, style)?;
        let stored = &lines[..bad.unwrap_or(lines.len())];
        for line in stored {
            let draft = self.changed(number, std::slice::from_ref(line));
            let draft = draft.map_err(|kind| format!("a put is refused: {kind:?}"))?;
            self.history.propose(draft);
        }
        let answer = collection.import_json(text);
        if let Some(bad) = bad {
            let told = format!("line {}: ", bad + 1);
            if answer.as_ref().is_err_and(|error| !error.message().contains(&told)) {
                return Err(format!("want {told:?}, but: {answer:?}").into());
            }
            self.refused(answer, ErrorKind::InvalidArgument)?;
        } else if self.ok(answer)? != lines.len() as u64 {
            return Err(format!("want {} pairs imported", lines.len()).into());
        }
        if !stored.is_empty() {
            self.history.acknowledge(self.durability(None));
        }
        TALLY.add("pairs imported", stored.len() as u64);
        Ok(())
    }
}
