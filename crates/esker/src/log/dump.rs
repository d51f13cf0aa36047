//! Shows a log to a person: every frame with its entries, then how it ended or what is damaged.
//!
//! Works for Esker's own logs, for those of the `sst` crate, and for damaged ones, of which it
//! shows what lies before the damage. It takes a log for Esker's if its first frame carries an
//! origin.
//!
//! The crate's SHA3 setsum is not computed here: it would bring SHA3 into every program that embeds
//! the engine, for one figure of a tool. The entries are given in full, so a tool that wants the
//! figure adds them up with the `setsum` crate; `tests/oracle_log.rs` does so and proves it equal.

#![deny(clippy::indexing_slicing, clippy::as_conversions, clippy::unwrap_used)]

use super::locate::{Rules, locate};
use super::marks::{Mark, Says, is_mark};
use super::reader::{LogReader, Promise};
use crate::base::entry::Entries;
use crate::base::id::FileId;
use crate::env::Map;
use std::sync::Arc;

/// Whose log this is, as its first frame tells: the number of an Esker log, or none.
pub fn log_id(bytes: &[u8]) -> Option<FileId> {
    let first = locate(bytes, 0, Rules::Esker).ok()??;
    let mut payload = bytes.get(first.payload)?.to_vec();
    if let Some(second) = first.second {
        payload.extend_from_slice(bytes.get(second)?);
    }
    let mut marks = Entries::new(&payload).map_while(Result::ok).filter(|e| is_mark(e.key));
    let origin = marks.find_map(|entry| Mark::decode(&entry))?;
    matches!(origin.says, Says::Origin(_)).then_some(origin.identity.log)
}

/// A reader that suits `map`, whoever wrote it. `name` is for the messages of a foreign log.
pub fn reader_for(name: &str, map: Arc<dyn Map>) -> LogReader {
    match log_id(map.bytes()) {
        Some(id) => LogReader::new(id, map, Promise::default()),
        None => LogReader::foreign(name, map),
    }
}

#[cfg(test)]
mod tests {
    use super::super::writer::tests::{ID, Log, map};
    use super::*;

    /// A log of the database, one with a byte changed, and one that is no log of Esker's.
    #[test]
    fn a_log_is_shown_by_whoever_it_was_written_and_up_to_the_damage() {
        let mut log = Log::new(None);
        let first = log.put(b"k", b"v");
        log.sync();
        log.put(b"k", b"w");
        log.put(b"k", b"x");
        let mut bytes = log.bytes();
        let mut reader = reader_for("log", map(bytes.clone()));
        assert_eq!(log_id(&bytes), Some(ID));
        let mut entries = 0;
        while let Some(frame) = reader.next().unwrap() {
            entries += frame.entries().count();
        }
        assert_eq!(entries, 3 + 2, "three values, an origin, a mark");
        let mut damaged = bytes.clone();
        damaged[usize::try_from(first).unwrap() - 1] ^= 1;
        assert_eq!(log_id(&damaged), None);
        assert!(reader_for("log", map(damaged)).next().is_err());
        let rest = bytes.split_off(usize::try_from(first).unwrap());
        assert_eq!(log_id(&rest), None);
        assert!(reader_for("tail of a log", map(rest)).next().unwrap().is_some());
    }
}
