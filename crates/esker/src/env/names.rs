//! The names of a database's files: `log-000042`, `kept-000042`, `seg-000042`,
//! `blob-000042`, `manifest-000042`.
//!
//! 1. The number has at least six digits, decimal, and no more zeros in front than that needs.
//! 2. A name that is not exactly so is not Esker's, and is left alone (F-41).

use crate::base::id::FileId;
use std::fmt;

/// The advisory lock of a database folder.
pub const LOCK: &str = "LOCK";

/// What a numbered file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FileKind {
    /// Appended frames.
    Log,
    /// A sorted segment.
    Segment,
    /// Large values.
    Blob,
    /// Which files are live.
    Manifest,
    /// A log all of which is flushed, for the change feed.
    Kept,
}

/// A file's name: what it holds, and its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileName {
    /// What it holds.
    pub kind: FileKind,
    /// Its number.
    pub id: FileId,
}

const KINDS: [(FileKind, &str); 5] = [
    (FileKind::Log, "log-"),
    (FileKind::Segment, "seg-"),
    (FileKind::Blob, "blob-"),
    (FileKind::Manifest, "manifest-"),
    (FileKind::Kept, "kept-"),
];

impl FileKind {
    /// The name of file `id` of this kind.
    pub const fn name(self, id: FileId) -> FileName {
        FileName { kind: self, id }
    }
}

impl FileName {
    /// The file that `name` names, if it is one of Esker's.
    pub fn parse(name: &str) -> Option<Self> {
        let (kind, digits) =
            KINDS.iter().find_map(|(kind, prefix)| Some((*kind, name.strip_prefix(prefix)?)))?;
        let id = FileId(digits.parse().ok()?);
        let parsed = Self { kind, id };
        (parsed.to_string() == name).then_some(parsed)
    }
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let prefix = match self.kind {
            FileKind::Log => "log-",
            FileKind::Segment => "seg-",
            FileKind::Blob => "blob-",
            FileKind::Manifest => "manifest-",
            FileKind::Kept => "kept-",
        };
        write!(f, "{prefix}{}", self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for (kind, _) in KINDS {
            for id in [FileId(0), FileId(42), FileId(1_234_567)] {
                let name = kind.name(id);
                assert_eq!(FileName::parse(&name.to_string()), Some(name));
            }
        }
    }

    /// F-41: odd names are not ours.
    #[test]
    fn odd_names_are_not_files_of_a_database() {
        for odd in ["log-42", "log-0000042", "log-+00042", "log-000042.tmp", "seg-", "LOCK", ""] {
            assert_eq!(FileName::parse(odd), None, "{odd}");
        }
    }
}
