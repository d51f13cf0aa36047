//! What one backup consists of, as text: its files, then the manifest that names them.
//!
//! ```text
//!  crc-32c   text                                                a line: as in a manifest
//!  0b71f6c2 esker backup 1 000003                                its format, its own number
//!  9d04c1aa checksum 0c5f…e1 sequence=1204                       of every operation ever flushed
//!  41e07b33 file seg-000012 bytes=9310 xxh3=77ab…09              each file, in the manifest's order
//!  88c2f014 manifest 000050 bytes=2210                           how long the rest is
//!  5b17d9e8 esker manifest 1 000050                              a complete manifest
//!  …
//! ```
//!
//! 1. Every byte is under a checksum, and the lines are a chain: none can be lost or repeated.
//! 2. The files are those that the manifest names, all of them, in its order.
//! 3. The digest is the xxh3-128 of all bytes of the file. A stored file's name has it, too.

use super::super::checkpoint::files_of;
use crate::base::coding::to_u64;
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::id::FileId;
use crate::base::setsum::Setsum;
use crate::db::files::copy::Digest;
use crate::env::names::{FileKind, FileName};
use crate::env::{Access, Env, path_in, read_whole};
use crate::manifest::line::{Chain, canonical};
use crate::manifest::{State, Store};
use std::path::Path;

const HEADER: &str = "esker backup 1";
const PREFIX: &str = "backup-";

/// The name of a backup's text.
pub(super) fn backup_name(number: FileId) -> String {
    format!("{PREFIX}{number}")
}

/// The number in the name of a backup's text.
pub(super) fn number_of(name: &str) -> Option<FileId> {
    let number = FileId(name.strip_prefix(PREFIX)?.parse().ok()?);
    // There must be one above it.
    (backup_name(number) == name && number.0 < u64::MAX).then_some(number)
}

/// A file of a database in a folder of backups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stored {
    /// Its name in the database.
    pub(super) file: FileName,
    /// Its length.
    pub(super) bytes: u64,
    /// Of all of them.
    pub(super) digest: Digest,
}

impl Stored {
    /// Its name among the backups.
    pub(super) fn name(&self) -> String {
        format!("{}-{}", self.file, self.digest)
    }

    /// The file and digest that a name among the backups says.
    pub(super) fn parse(name: &str) -> Option<(FileName, Digest)> {
        let (file, digest) = name.rsplit_once('-')?;
        let file = FileName::parse(file)?;
        let digest = Digest(Setsum::from_hex(digest)?.0);
        let is_ours = matches!(file.kind, FileKind::Segment | FileKind::Blob);
        (is_ours && format!("{file}-{digest}") == name).then_some((file, digest))
    }
}

/// What a backup consists of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Listing {
    /// Its number.
    pub(super) number: FileId,
    /// Its files, in the order of [`files_of`].
    pub(super) files: Vec<Stored>,
    /// What its manifest says.
    pub(super) state: State,
}

impl Listing {
    /// Its text. Errors: `InvalidArgument` if its state breaks an invariant.
    pub(super) fn encode(&self) -> Result<Vec<u8>> {
        let mut state = self.state.clone();
        let id = state.next_file;
        state.next_file = id.next();
        let manifest = Store::encode(id, &state)?;
        let (mut chain, mut text) = (Chain::new(self.number), Vec::new());
        let mut line = |line: String| chain.seal(&line, &mut text);
        line(format!("{HEADER} {}", self.number));
        line(format!("checksum {} sequence={}", state.total(), state.flushed));
        for Stored { file, bytes, digest } in &self.files {
            line(format!("file {file} bytes={bytes} xxh3={digest}"));
        }
        line(format!("manifest {id} bytes={}", manifest.len()));
        text.extend(manifest);
        Ok(text)
    }

    /// Reads the text of backup `number`.
    ///
    /// Errors: `NotFound`; `Corruption` if a byte is not as it was written; `Unsupported` for a
    /// newer format; `Io`.
    pub(super) fn read(env: &dyn Env, dir: &Path, number: FileId) -> Result<Self> {
        let name = backup_name(number);
        let read = env
            .open(&path_in(dir, &name))
            .and_then(|file| read_whole(&*file, Access::Positioned))
            .map_err(|error| Error::io(format!("read {name}"), error))?;
        Self::decode(number, read.bytes()).map_err(|error| error.context(name))
    }

    fn decode(number: FileId, bytes: &[u8]) -> Result<Self> {
        let mut lines = Lines { chain: Chain::new(number), bytes, at: 0 };
        let header = lines.next()?;
        if header != format!("{HEADER} {number}") {
            let message = format!("is \"{header}\", want \"{HEADER} {number}\"");
            let is_other = header.starts_with("esker backup ") && !header.starts_with(HEADER);
            let kind = if is_other { ErrorKind::Unsupported } else { ErrorKind::Corruption };
            return Err(Error::new(kind, message));
        }
        let said = lines.next()?.to_owned();
        let mut files = Vec::new();
        let state = loop {
            let at = lines.at;
            let line = lines.next()?;
            if let Some(stored) = parse_file(line) {
                files.push(stored);
                continue;
            }
            let rest = bytes.get(lines.at..).unwrap_or_default();
            match parse_manifest(line) {
                Some((id, len)) if len == to_u64(rest.len()) => break Store::decode(id, rest)?,
                Some((_, len)) => {
                    let want = format!("{len} bytes of manifest");
                    return Err(Error::corruption("it", to_u64(at), want, rest.len()));
                }
                None => return Err(Error::corruption("it", to_u64(at), "a file", line)),
            }
        };
        let want = format!("checksum {} sequence={}", state.total(), state.flushed);
        let named = files.iter().map(|stored| (stored.file, stored.bytes));
        if said != want || !named.eq(files_of(&state)) {
            let message = "its files or its checksum are not those of its manifest";
            return Err(Error::new(ErrorKind::Corruption, message));
        }
        Ok(Self { number, files, state })
    }
}

/// The lines of a text, each held against the chain.
struct Lines<'a> {
    chain: Chain,
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Lines<'a> {
    fn next(&mut self) -> Result<&'a str> {
        let at = to_u64(self.at);
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let Some(len) = rest.iter().position(|&byte| byte == b'\n') else {
            return Err(Error::corruption("it", at, "a line", "the end of the file"));
        };
        self.at += len + 1;
        let line = rest.get(..len).unwrap_or_default();
        let checked = self.chain.check(line);
        checked.map_err(|bad| Error::corruption("it", at, bad.want, bad.found))
    }
}

/// The number behind `name=`.
fn number(field: &str, name: &str) -> Option<u64> {
    canonical(field.strip_prefix(name)?.strip_prefix('=')?)
}

fn parse_file(line: &str) -> Option<Stored> {
    let mut fields = line.strip_prefix("file ")?.split(' ');
    let file = FileName::parse(fields.next()?)?;
    let bytes = number(fields.next()?, "bytes")?;
    let digest = Digest(Setsum::from_hex(fields.next()?.strip_prefix("xxh3=")?)?.0);
    let stored = Stored { file, bytes, digest };
    (fields.next().is_none()).then_some(stored)
}

/// Number and length of the manifest that follows.
fn parse_manifest(line: &str) -> Option<(FileId, u64)> {
    let (id, bytes) = line.strip_prefix("manifest ")?.split_once(' ')?;
    Some((FileId(id.parse().ok()?), number(bytes, "bytes")?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::id::SeqNo;
    use crate::manifest::{Balance, Edit, Placed, Reason};
    use crate::segment::SegmentMeta;

    fn some() -> Listing {
        let setsum = Setsum(0x0c5f);
        let meta = SegmentMeta {
            id: FileId(12),
            bytes: 9310,
            entries: 2,
            deletes: 0,
            range_deletes: 0,
            blob_bytes: 0,
            expiries: Default::default(),
            smallest: (*b"\0\0\0\x01a").into(),
            largest: (*b"\0\0\0\x01b").into(),
            seq_min: SeqNo(1),
            seq_max: SeqNo(2),
            setsum,
        };
        let (dropped, created, reason) = (Setsum::ZERO, Setsum::ZERO, Reason::Flush);
        let balance = Balance { input: setsum, output: setsum, dropped, created, reason };
        let edit = Edit {
            add: vec![Placed { level: 0, run: 13, meta }],
            flushed: Some(SeqNo(2)),
            forget: Some(SeqNo(2)),
            next_file: Some(FileId(50)),
            balance: Some(balance),
            ..Edit::default()
        };
        let mut state = State::default();
        state.apply(&edit).unwrap();
        let file = FileKind::Segment.name(FileId(12));
        let files = vec![Stored { file, bytes: 9310, digest: Digest(0x77ab) }];
        Listing { number: FileId(3), files, state }
    }

    #[test]
    fn a_text_says_what_was_written_and_is_that_of_the_page() {
        let listing = some();
        let text = listing.encode().unwrap();
        let read = Listing::decode(FileId(3), &text).unwrap();
        assert_eq!((read.number, &read.files), (listing.number, &listing.files));
        assert!(read.state.segments().eq(listing.state.segments()));
        let shown = include_str!("../../../../../../docs/format.md");
        let text = String::from_utf8(text).unwrap();
        assert!(shown.contains(&text), "{text}");
    }

    #[test]
    fn every_flipped_bit_and_every_cut_of_a_text_is_an_error() {
        let text = some().encode().unwrap();
        for bit in 0..text.len() * 8 {
            let mut flipped = text.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            Listing::decode(FileId(3), &flipped).unwrap_err();
        }
        for cut in 0..text.len() {
            Listing::decode(FileId(3), &text[..cut]).unwrap_err();
        }
        let error = Listing::decode(FileId(4), &text).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corruption);
    }

    #[test]
    fn names_are_read_as_they_are_written_and_no_others() {
        let [stored] = some().files[..] else { panic!("one file") };
        assert_eq!(Stored::parse(&stored.name()), Some((stored.file, stored.digest)));
        assert_eq!(number_of("backup-000003"), Some(FileId(3)));
        for odd in [
            "backup-3",
            "backup-",
            "backup-0000003",
            "backup-000003.part",
            "part",
            "backup-18446744073709551615",
        ] {
            assert_eq!(number_of(odd), None, "{odd}");
        }
        let zeros = "0".repeat(32);
        for odd in ["seg-000012", "log-000012-", "seg-12-", "manifest-000012-", "seg-000012--"] {
            assert_eq!(Stored::parse(&format!("{odd}{zeros}")), None, "{odd}");
        }
    }
}
