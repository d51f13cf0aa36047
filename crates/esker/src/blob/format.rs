//! The bytes of a blob file with a table: values, then where they lie, then what proves both.
//!
//! ```text
//! value ×N │ table entry ×N │ interval ×M │ footer       ascending addresses, no gaps
//!
//! value     as stored, nothing around it
//! entry     | blob ref: 24 bytes | offset: u64 | xxh3-64 of the stored bytes, bound: u64 |
//! interval  | first address: u64 | last address: u64 |            both included
//!
//! footer    | values: u64 | intervals: u64 | xxh3-64 of the table, bound: u64 | of the intervals |
//!           | file number: u64 | reserved: u64 = 0 | xxh3-64 of these words and the version, bound |
//!           | major: u16 | minor: u16 | magic: "eskerBLB" |
//!
//! bound     xxh3-64 seeded with the xxh3-64 of ( file number: u64 ‖ offset: u64 )
//! ```
//!
//! Integers are little-endian.
//!
//! 1. Every byte is under a checksum that is bound to its file and place: nothing that was flipped,
//!    moved, swapped or taken from another file goes unseen (F-33, F-36).
//! 2. The counts fill the file exactly, which is checked before anything is allocated (F-39). The
//!    offsets of the table follow from its lengths, and are checked against them.
//! 3. Addresses ascend strictly, in the table and in the intervals; every value's lies in one.
//! 4. The last 12 bytes never change their meaning: a reader of any version finds the version.
//!
//! Golden bytes: `tests/golden/blob-v1.hex`. After mace's blob files (MACE-8 to MACE-10), which had
//! neither magic nor version, and trusted their counts.

use super::BlobMeta;
use crate::base::blob::{Address, BlobRef};
use crate::base::coding::Decoder;
pub(super) use crate::base::coding::{to_u64, to_usize};
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::id::FileId;
use crate::base::setsum::Setsum;
use crate::env::names::FileKind;
use std::fmt::Display;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// Bytes of an entry of the table.
pub(super) const ENTRY_BYTES: usize = BlobRef::BYTES + 8 + 8;
/// Bytes of an interval.
pub(super) const INTERVAL_BYTES: usize = 8 + 8;
/// Bytes of the footer.
pub(super) const FOOTER_BYTES: usize = 6 * 8 + 8 + TAIL_BYTES;
/// Bytes at the very end whose meaning never changes.
const TAIL_BYTES: usize = 2 + 2 + 8;
const _: () = assert!(ENTRY_BYTES == 40 && FOOTER_BYTES == 68);

const MAGIC: &[u8; 8] = b"eskerBLB";
/// Raised when older readers must refuse the file.
const MAJOR: u16 = 1;
/// Raised when older readers may still read the file.
const MINOR: u16 = 0;

/// The error for bytes of blob file `file` that are not what was written.
#[cold]
pub(super) fn damaged(file: FileId, at: u64, want: impl Display, found: impl Display) -> Error {
    Error::corruption(FileKind::Blob.name(file), at, want, found)
}

/// The checksum of bytes that lie at `at` in `file`.
pub(super) fn checksum(bytes: &[u8], file: FileId, at: u64) -> u64 {
    let mut place = [0; 16];
    let (first, second) = place.split_at_mut(8);
    first.copy_from_slice(&file.0.to_le_bytes());
    second.copy_from_slice(&at.to_le_bytes());
    xxh3_64_with_seed(bytes, xxh3_64(&place))
}

/// One value of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stored {
    pub(super) blob: BlobRef,
    /// Where it lies.
    pub(super) at: u64,
    /// [`checksum`] of its stored bytes.
    pub(super) sum: u64,
}

impl Stored {
    /// Appends it to the table.
    pub(super) fn put(&self, table: &mut Vec<u8>) {
        table.extend_from_slice(&self.blob.encode());
        table.extend_from_slice(&self.at.to_le_bytes());
        table.extend_from_slice(&self.sum.to_le_bytes());
    }

    fn decode(entry: &[u8]) -> Option<Self> {
        let mut input = Decoder::new(entry);
        let blob = BlobRef::decode(input.bytes(BlobRef::BYTES)?)?;
        Some(Self { blob, at: input.u64()?, sum: input.u64()? })
    }

    /// Where it ends.
    pub(super) fn end(&self) -> u64 {
        self.at.saturating_add(u64::from(self.blob.stored))
    }
}

/// Entry number `index` of a table.
pub(super) fn entry(table: &[u8], index: usize) -> Option<Stored> {
    let start = index.checked_mul(ENTRY_BYTES)?;
    Stored::decode(table.get(start..start.checked_add(ENTRY_BYTES)?)?)
}

/// The entry of `address`: binary search over the addresses.
pub(super) fn find(table: &[u8], address: Address) -> Option<Stored> {
    let (mut low, mut high) = (0, table.len() / ENTRY_BYTES);
    while low < high {
        let middle = low + (high - low) / 2;
        let found = entry(table, middle)?;
        match found.blob.address.cmp(&address) {
            std::cmp::Ordering::Less => low = middle + 1,
            std::cmp::Ordering::Greater => high = middle,
            std::cmp::Ordering::Equal => return Some(found),
        }
    }
    None
}

/// Where the parts of a file lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) values: u64,
    pub(super) intervals: u64,
    /// Where the values end and the table begins.
    pub(super) table_at: u64,
    pub(super) table_sum: u64,
    pub(super) intervals_sum: u64,
}

impl Layout {
    pub(super) fn intervals_at(&self) -> u64 {
        self.table_at + self.values * to_u64(ENTRY_BYTES)
    }

    pub(super) fn footer_at(&self) -> u64 {
        self.intervals_at() + self.intervals * to_u64(INTERVAL_BYTES)
    }

    /// Table, intervals and footer of `file`, whose values end at `table_at`.
    pub(super) fn seal(
        file: FileId,
        table_at: u64,
        mut table: Vec<u8>,
        intervals: &[(Address, Address)],
    ) -> Vec<u8> {
        let values = to_u64(table.len() / ENTRY_BYTES);
        let table_sum = checksum(&table, file, table_at);
        let mut spans = Vec::with_capacity(intervals.len() * INTERVAL_BYTES);
        for (first, last) in intervals {
            spans.extend_from_slice(&first.0.to_le_bytes());
            spans.extend_from_slice(&last.0.to_le_bytes());
        }
        let intervals = to_u64(intervals.len());
        let mut layout = Self { values, intervals, table_at, table_sum, intervals_sum: 0 };
        layout.intervals_sum = checksum(&spans, file, layout.intervals_at());
        table.extend_from_slice(&spans);
        table.extend_from_slice(&layout.footer(file));
        table
    }

    fn footer(&self, file: FileId) -> Vec<u8> {
        let mut out = Vec::with_capacity(FOOTER_BYTES);
        let words = [self.values, self.intervals, self.table_sum, self.intervals_sum, file.0, 0];
        for word in words {
            out.extend_from_slice(&word.to_le_bytes());
        }
        let sum = footer_checksum(&out, MAJOR, MINOR, file, self.footer_at());
        out.extend_from_slice(&sum.to_le_bytes());
        out.extend_from_slice(&MAJOR.to_le_bytes());
        out.extend_from_slice(&MINOR.to_le_bytes());
        out.extend_from_slice(MAGIC);
        out
    }

    /// The number of the file whose last bytes these are, if they look like a footer.
    pub(super) fn file_of(last: &[u8]) -> Option<FileId> {
        let words = last.strip_suffix(MAGIC).filter(|_| last.len() == FOOTER_BYTES)?;
        let number = words.get(4 * 8..).map(Decoder::new)?.u64()?;
        Some(FileId(number))
    }

    /// What the file says of itself; `tables` are its table and intervals, not checked yet.
    pub(super) fn describe(&self, tables: &[u8], id: FileId, bytes: u64) -> Result<BlobMeta> {
        let cut = to_usize(self.intervals_at() - self.table_at);
        let (table, spans) = tables.split_at_checked(cut).unwrap_or((tables, &[]));
        let mut totals = Totals::default();
        let entries = (0..).map_while(|index| entry(table, index));
        entries.for_each(|stored| totals.add(&stored.blob));
        let Totals { values, stored_bytes, setsum } = totals;
        let intervals = self.intervals_of(spans, id)?;
        Ok(BlobMeta { id, bytes, values, stored_bytes, least: 0, setsum, intervals })
    }

    /// The layout that the last bytes of a file of `length` bytes tell; `last` are those, as many as
    /// [`FOOTER_BYTES`] or all there are.
    ///
    /// Errors: `Unsupported` for a newer major version, `Corruption` for anything else.
    pub(super) fn decode(last: &[u8], length: u64, file: FileId) -> Result<Self> {
        let at = length.saturating_sub(to_u64(last.len()));
        let wrong = |want: &'static str| damaged(file, at, want, "other bytes");
        if last.len() != FOOTER_BYTES {
            let want = format_args!("a footer of {FOOTER_BYTES} bytes");
            return Err(damaged(file, at, want, format_args!("{} bytes", last.len())));
        }
        let mut input = Decoder::new(last);
        let words = input.bytes(6 * 8).unwrap_or_default();
        let (sum, major, minor) = (input.u64(), input.u16(), input.u16());
        if input.array() != Some(*MAGIC) {
            return Err(wrong("a footer that ends in eskerBLB"));
        }
        let (Some(major), Some(minor)) = (major, minor) else { return Err(wrong("a version")) };
        if major != MAJOR {
            let name = FileKind::Blob.name(file);
            let message = format!("{name}: format version {major}; this build reads {MAJOR}");
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        if sum != Some(footer_checksum(words, major, minor, file, at)) {
            return Err(wrong("a footer of this file with a valid checksum"));
        }
        let mut input = Decoder::new(words);
        let mut word = || input.u64().unwrap_or_default();
        let (values, intervals) = (word(), word());
        let (table_sum, intervals_sum) = (word(), word());
        let (number, reserved) = (FileId(word()), word());
        if number != file || reserved != 0 {
            return Err(damaged(file, at, format_args!("file number {file}"), number));
        }
        let table = values.checked_mul(to_u64(ENTRY_BYTES));
        let spans = intervals.checked_mul(to_u64(INTERVAL_BYTES));
        let tables = table.zip(spans).and_then(|(table, spans)| table.checked_add(spans));
        let Some(table_at) = tables.and_then(|tables| at.checked_sub(tables)) else {
            let found = format!("{values} and {intervals}");
            return Err(damaged(file, at, "counts of values and intervals that fit", found));
        };
        Ok(Self { values, intervals, table_at, table_sum, intervals_sum })
    }

    /// Checks table and intervals, given as one slice, against the footer, and the values' places,
    /// sums and bytes against what the manifest says.
    pub(super) fn check(&self, tables: &[u8], meta: &BlobMeta) -> Result<()> {
        let file = meta.id;
        let cut = to_usize(self.intervals_at() - self.table_at);
        let (table, spans) = tables.split_at_checked(cut).unwrap_or((tables, &[]));
        let parts = [
            ("table", table, self.table_at, self.table_sum),
            ("intervals", spans, self.intervals_at(), self.intervals_sum),
        ];
        for (part, bytes, at, want) in parts {
            let found = checksum(bytes, file, at);
            if found != want {
                let want = format_args!("{part} with checksum {want:#018x}");
                return Err(damaged(file, at, want, format_args!("{found:#018x}")));
            }
        }
        let intervals = self.intervals_of(spans, file)?;
        if intervals != meta.intervals {
            let want = "the intervals that the manifest has";
            return Err(damaged(file, self.intervals_at(), want, "others"));
        }
        self.check_values(table, meta)
    }

    /// The values lie back to back in order of addresses, and are those of the manifest.
    fn check_values(&self, table: &[u8], meta: &BlobMeta) -> Result<()> {
        let file = meta.id;
        let mut totals = Totals::default();
        let (mut end, mut last) = (0, None);
        for (index, bytes) in table.chunks_exact(ENTRY_BYTES).enumerate() {
            let at = self.table_at.saturating_add(to_u64(index * ENTRY_BYTES));
            let Some(stored) = Stored::decode(bytes) else {
                return Err(damaged(file, at, "a ref, an offset and a checksum", "other bytes"));
            };
            let address = stored.blob.address;
            if last.is_some_and(|last| last >= address) || !covers(&meta.intervals, address) {
                let want = "an address above the one before, in an interval";
                return Err(damaged(file, at, want, address));
            }
            if stored.at != end {
                return Err(damaged(file, at, format_args!("offset {end}"), stored.at));
            }
            (end, last) = (stored.end(), Some(address));
            totals.add(&stored.blob);
        }
        if end != self.table_at {
            let want = format_args!("values up to byte {}", self.table_at);
            return Err(damaged(file, self.table_at, want, format_args!("up to byte {end}")));
        }
        totals.check(meta)
    }

    fn intervals_of(&self, spans: &[u8], file: FileId) -> Result<Vec<(Address, Address)>> {
        let mut input = Decoder::new(spans);
        let mut intervals = Vec::with_capacity(spans.len() / INTERVAL_BYTES);
        while let (Some(first), Some(last)) = (input.u64(), input.u64()) {
            intervals.push((Address(first), Address(last)));
        }
        if !is_ascending(&intervals) {
            let want = "intervals that ascend";
            return Err(damaged(file, self.intervals_at(), want, "others"));
        }
        Ok(intervals)
    }
}

fn footer_checksum(words: &[u8], major: u16, minor: u16, file: FileId, at: u64) -> u64 {
    let version = [major.to_le_bytes(), minor.to_le_bytes()].concat();
    checksum(&[words, &version].concat(), file, at)
}

/// Whether these are intervals, ascending and disjoint.
pub(super) fn is_ascending(intervals: &[(Address, Address)]) -> bool {
    let mut before = None;
    intervals.iter().all(|&(first, last)| {
        let rises = before.is_none_or(|before| before < first);
        before = Some(last);
        rises && first <= last
    })
}

/// Whether one of these ascending intervals has this address.
pub(super) fn covers(intervals: &[(Address, Address)], address: Address) -> bool {
    let after = intervals.partition_point(|&(first, _)| first <= address);
    let before = after.checked_sub(1).and_then(|index| intervals.get(index));
    before.is_some_and(|&(_, last)| address <= last)
}

/// What a walk adds up, to be compared with the manifest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Totals {
    pub(super) values: u64,
    pub(super) stored_bytes: u64,
    pub(super) setsum: Setsum,
}

impl Totals {
    pub(super) fn add(&mut self, blob: &BlobRef) {
        self.values += 1;
        self.stored_bytes = self.stored_bytes.saturating_add(u64::from(blob.stored));
        self.setsum += Setsum::of_blob(blob);
    }

    /// Errors: `Corruption` if the manifest says otherwise.
    pub(super) fn check(&self, meta: &BlobMeta) -> Result<()> {
        let want =
            Self { values: meta.values, stored_bytes: meta.stored_bytes, setsum: meta.setsum };
        if *self == want {
            return Ok(());
        }
        let words = |totals: &Self| {
            let Self { values, stored_bytes, setsum } = totals;
            format!("{values} values of {stored_bytes} bytes with setsum {setsum}")
        };
        Err(damaged(meta.id, 0, words(&want), words(self)))
    }
}
