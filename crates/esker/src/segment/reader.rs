//! An open segment: the pieces that point reads and cursors ask for.
//!
//! ```text
//! mapped       piece ─▶ slice of the map; checksum at first touch, one bit remembers
//! positioned   piece ─▶ at hand? ─▶ cache? ─▶ read, verify, unpack, cache
//! ```
//!
//! 1. A piece is bytes of the map, or a block of the cache that nobody else must keep.
//! 2. Compressed pieces of a mapped file go through the cache as well; raw ones never do.
//! 3. The bits are numbered: data blocks, then partitions, the top index, filter pieces.
//! 4. All pieces go through one cache, and it may drop any of them at any moment. Those of filter and
//!    index are at hand without asking it for as long as it keeps them: a weak pointer a piece. One
//!    read in [`ASKED_EVERY`] asks it all the same, so that it learns what is in use.
//! 5. Opening reads the footer and the properties, and nothing else. A file that is mapped is then
//!    closed: the map keeps it.

#![deny(clippy::indexing_slicing, clippy::as_conversions, clippy::unwrap_used)]

use super::ahead::Ahead;
use super::cursor::SegmentCursor;
use super::filter::Place;
use super::format::{
    Damage, FOOTER_BYTES, Layout, Sealed, TRAILER_BYTES, damaged, decode_footer, to_u64, to_usize,
};
use super::handle::{Asked, Counted};
use super::index::{Child, Index};
use super::properties::{Properties, Refusal, SegmentMeta};
use crate::base::coding::Decoder;
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::id::{FileId, SeqNo};
use crate::base::key::{Kind, unpack_tag};
use crate::base::value::Value;
use crate::cache::{Block, BlockCache};
use crate::env::names::{FileKind, FileName};
use crate::env::{Access, Env, File, Map, path_in, read_exact_at};
use arc_swap::ArcSwapWeak;
use std::borrow::Cow;
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

/// The whole file in memory that the kernel owns.
#[derive(Debug)]
pub(super) struct Pages(Arc<dyn Map>);

impl Pages {
    #[inline]
    pub(super) fn get(&self, range: Range<usize>) -> Option<&[u8]> {
        self.0.bytes().get(range)
    }
}

/// How the bytes of a file are reached.
#[derive(Debug)]
enum Source {
    Mapped(Arc<Pages>),
    Positioned(Arc<dyn File>),
}

/// An open segment. Share it in an [`Arc`]; any thread may read.
#[derive(Debug)]
pub struct SegmentReader {
    source: Source,
    cache: Arc<BlockCache>,
    /// A bit for each piece of the map whose checksum was verified.
    verified: Box<[AtomicU64]>,
    pub(super) layout: Layout,
    pub(super) properties: Properties,
    meta: SegmentMeta,
    counted: Option<Counted>,
    /// Partitions, top index and filter pieces of a file that is not mapped, while the cache has them.
    at_hand: Box<[ArcSwapWeak<Block>]>,
}

/// How seldom the cache is asked for what is at hand, by the hash of the key.
const ASKED_EVERY: u64 = 32;

/// The payload of a piece, verified.
#[derive(Debug)]
pub(super) enum Payload<'a> {
    /// In the map.
    Mapped(&'a [u8]),
    /// In memory of its own.
    Cached(Arc<Block>),
}

impl Payload<'_> {
    #[inline]
    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Self::Mapped(bytes) => bytes,
            Self::Cached(block) => block,
        }
    }
}

/// How a piece is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trust {
    /// A piece that was verified before is not verified again; others may use what is read.
    Remembered,
    /// The same, and the cache is told of each use.
    Asked,
    /// The bytes of the file are verified now, and nothing is kept: for rewriting and `verify`.
    Nothing,
}

/// A delete of the keys from `start` up to `end`, excluded; both full keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RangeTombstone {
    /// The first full key it covers.
    pub start: Box<[u8]>,
    /// The first full key above all that it covers.
    pub end: Box<[u8]>,
    /// Its number: it covers what is older.
    pub seq: SeqNo,
}

/// The shape of a segment, for tools.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// What the manifest keeps of it.
    pub meta: SegmentMeta,
    /// Entries that set a value.
    pub puts: u64,
    /// Puts of values that lie out of line.
    pub blobs: u64,
    /// Puts of values in line that expire.
    pub expiring: u64,
    /// Operands for a merge operator.
    pub merges: u64,
    /// Distinct keys.
    pub keys: u64,
    /// How many data blocks.
    pub data_blocks: u64,
    /// Their bytes in the file.
    pub data_bytes: u64,
    /// Their bytes before compression.
    pub raw_bytes: u64,
    /// Bytes of a data block that the writer aimed at.
    pub block_bytes: u64,
    /// Entries between keys that are stored whole.
    pub restart_interval: u64,
    /// How many index partitions.
    pub index_partitions: u64,
    /// Bytes of both levels of the index.
    pub index_bytes: u64,
    /// Bytes of the filter.
    pub filter_bytes: u64,
    /// Bits of the filter that a key sets.
    pub filter_probes: u32,
    /// Bytes of the list of range deletes.
    pub range_bytes: u64,
    /// Bytes of properties and footer.
    pub property_bytes: u64,
}

impl Trust {
    /// For a point read of a key with this hash.
    #[inline]
    pub(super) fn of_read(hash: u64) -> Self {
        if hash.is_multiple_of(ASKED_EVERY) { Self::Asked } else { Self::Remembered }
    }
}

impl SegmentReader {
    /// Opens the segment that the manifest describes as `meta`.
    ///
    /// Errors: `NotFound` if there is no such file, `Corruption` if it is another or damaged,
    /// `Unsupported` if its format is newer, `Io`.
    pub fn open(
        env: &Arc<dyn Env>,
        dir: &Path,
        meta: &SegmentMeta,
        access: Access,
        cache: &Arc<BlockCache>,
    ) -> Result<Self> {
        let path = path_in(dir, FileKind::Segment.name(meta.id));
        let reader = Self::open_file(env, &path, Some(meta.id), access, cache)?;
        if reader.meta != *meta {
            let at = reader.layout.properties_at();
            let (want, found) = (format!("{meta:?}"), format!("{:?}", reader.meta));
            return Err(damaged(meta.id, at, want, found));
        }
        Ok(reader)
    }

    /// Opens a segment without a manifest: for tools and for repair. A name that is a segment's
    /// must have its number; under any other name the file itself says its number.
    ///
    /// Errors: as [`SegmentReader::open`].
    pub fn open_alone(
        env: &Arc<dyn Env>,
        path: &Path,
        access: Access,
        cache: &Arc<BlockCache>,
    ) -> Result<(Self, SegmentMeta)> {
        let name = path.file_name().and_then(|name| FileName::parse(name.to_str()?));
        let expected = name.filter(|name| name.kind == FileKind::Segment).map(|name| name.id);
        let reader = Self::open_file(env, path, expected, access, cache)?;
        let meta = reader.meta.clone();
        Ok((reader, meta))
    }

    fn open_file(
        env: &Arc<dyn Env>,
        path: &Path,
        expected: Option<FileId>,
        access: Access,
        cache: &Arc<BlockCache>,
    ) -> Result<Self> {
        let name = path.file_name().unwrap_or(path.as_os_str()).display();
        let opened = env.open(path).and_then(|file| Ok((file.byte_count()?, file)));
        let (bytes, file) = opened.map_err(|error| {
            let is_missing = error.kind() == std::io::ErrorKind::NotFound;
            let error = Error::io(format_args!("open {name}"), error);
            if is_missing { error.with_kind(ErrorKind::NotFound) } else { error }
        })?;
        let id = expected.unwrap_or_default();
        let read = |at, len| {
            let mut bytes = vec![0; to_usize(len)];
            read_exact(&*file, id, &mut bytes, at).map(|()| bytes)
        };
        let footer_bytes = to_u64(FOOTER_BYTES);
        let footer_at = bytes.checked_sub(footer_bytes).ok_or_else(|| {
            damaged(id, 0, format_args!("a segment of at least {footer_bytes} bytes"), bytes)
        })?;
        let footer = read(footer_at, footer_bytes)?;
        let (layout, id) = decode_footer(&footer, footer_at, expected)?;
        let at = layout.properties_at();
        let piece = read(at, layout.properties)?;
        let payload = Sealed::verify(&piece, id, at)?.unpack(id, at)?;
        let properties =
            Properties::decode(&payload, &layout).map_err(|refusal| match refusal {
                Refusal::Damaged(damage) => damage.of(id, at),
                Refusal::Unknown(tag) => {
                    let message = format!("{name}: has property {tag}, which this build lacks");
                    Error::new(ErrorKind::Unsupported, message)
                }
            })?;
        let pages = match access {
            Access::Mapped => map(&*file, id, bytes)?,
            Access::Positioned => None,
        };
        let source = pages.map_or(Source::Positioned(file), Source::Mapped);
        let pieces =
            properties.data_blocks + properties.partitions + 1 + properties.filter.pieces();
        let is_mapped = matches!(source, Source::Mapped(_));
        let words = if is_mapped { pieces.div_ceil(64) } else { 0 };
        let kept = if is_mapped { 0 } else { pieces - properties.data_blocks };
        let at_hand = (0..kept).map(|_| ArcSwapWeak::from(Weak::new())).collect();
        let meta = properties.meta(id, bytes);
        let verified = (0..words).map(|_| AtomicU64::new(0)).collect();
        let cache = cache.clone();
        Ok(Self { source, cache, verified, layout, properties, meta, counted: None, at_hand })
    }

    /// The same, counted.
    pub(super) fn counted(self, counted: Counted) -> Self {
        Self { counted: Some(counted), ..self }
    }

    /// What the manifest keeps of it.
    pub fn meta(&self) -> &SegmentMeta {
        &self.meta
    }

    pub(super) fn id(&self) -> FileId {
        self.meta.id
    }

    /// Counts what the filter said to a point read.
    #[inline]
    pub(super) fn count(&self, asked: Asked) {
        if let Some(counted) = &self.counted {
            counted.count(asked);
        }
    }

    /// The map, if there is one.
    #[inline]
    pub(super) fn pages(&self) -> Option<&Arc<Pages>> {
        match &self.source {
            Source::Mapped(pages) => Some(pages),
            Source::Positioned(_) => None,
        }
    }

    /// The length of the file now, if it is still open.
    pub(super) fn byte_count_now(&self) -> Option<u64> {
        match &self.source {
            Source::Mapped(_) => None,
            Source::Positioned(file) => file.byte_count().ok(),
        }
    }

    /// Its shape. Reads nothing.
    pub fn describe(&self) -> Description {
        let (properties, layout) = (&self.properties, &self.layout);
        let [puts, _, merges, _, blobs, expiring] = properties.kinds;
        Description {
            meta: self.meta.clone(),
            puts,
            blobs,
            expiring,
            merges,
            keys: properties.keys,
            data_blocks: properties.data_blocks,
            data_bytes: layout.data,
            raw_bytes: properties.raw_bytes,
            block_bytes: properties.block_bytes,
            restart_interval: properties.restart_interval,
            index_partitions: properties.partitions,
            index_bytes: layout.partitions + layout.top,
            filter_bytes: layout.filter,
            filter_probes: properties.filter.probes,
            range_bytes: layout.ranges,
            property_bytes: layout.properties + to_u64(FOOTER_BYTES),
        }
    }

    /// Walks the entries. Verifies what it reads as a point read does, and may use the cache.
    pub fn cursor(self: &Arc<Self>) -> SegmentCursor {
        SegmentCursor::new(self.clone(), Trust::Remembered)
    }

    /// Walks the entries for a rewrite: every block is verified again as it is read, and none is
    /// cached.
    pub fn rewrite_cursor(self: &Arc<Self>) -> SegmentCursor {
        SegmentCursor::new(self.clone(), Trust::Nothing)
    }

    /// The deletes of ranges, in the order of entries. Reads their list anew at each call.
    pub fn range_tombstones(&self) -> Result<Vec<RangeTombstone>> {
        if self.layout.ranges == 0 {
            return Ok(Vec::new());
        }
        let at = self.layout.ranges_at();
        let payload = self.unremembered(at, self.layout.ranges)?;
        let mut input = Decoder::new(payload.bytes());
        let mut tombstones = Vec::new();
        while !input.is_empty() {
            let tombstone = read_tombstone(&mut input).ok_or_else(|| {
                let offset = payload.bytes().len() - input.rest().len();
                Damage::new(offset, "a delete of a range").of(self.id(), at)
            })?;
            tombstones.push(tombstone);
        }
        Ok(tombstones)
    }

    /// The top index.
    #[inline]
    pub(super) fn top(&self, trust: Trust) -> Result<Payload<'_>> {
        let ordinal = self.properties.data_blocks + self.properties.partitions;
        let child = Child { ordinal, at: self.layout.top_at(), len: self.layout.top };
        self.piece(child, trust)
    }

    #[inline]
    pub(super) fn index<'a>(&self, payload: &'a Payload<'_>, at: u64) -> Result<Index<'a>> {
        Index::of(payload.bytes()).map_err(|damage| damage.of(self.id(), at))
    }

    /// A partition of the index.
    #[inline]
    pub(super) fn partition(&self, child: Child, trust: Trust) -> Result<Payload<'_>> {
        let layout = &self.layout;
        let first = self.properties.data_blocks;
        let ordinals = first..first + self.properties.partitions;
        self.check_child(child, layout.partitions_at()..layout.top_at(), ordinals)?;
        self.piece(child, trust)
    }

    /// A data block.
    #[inline]
    pub(super) fn data_block(&self, child: Child, trust: Trust) -> Result<Payload<'_>> {
        self.check_child(child, 0..self.layout.data, 0..self.properties.data_blocks)?;
        self.piece(child, trust)
    }

    /// A data block that a walk has come to: [`Ahead`] says what is fetched with it.
    pub(super) fn data_block_ahead(
        &self,
        child: Child,
        trust: Trust,
        ahead: &mut Ahead,
    ) -> Result<Payload<'_>> {
        ahead.step(child);
        let file = match &self.source {
            Source::Mapped(pages) => {
                if let Some(range) = ahead.advise(child, self.layout.data) {
                    pages.0.will_need(to_usize(range.start)..to_usize(range.end));
                }
                return self.data_block(child, trust);
            }
            Source::Positioned(file) => file,
        };
        self.check_child(child, 0..self.layout.data, 0..self.properties.data_blocks)?;
        let (id, at) = (self.id(), child.at);
        if trust != Trust::Nothing
            && let Some(block) = self.cache.get(id, at)
        {
            return Ok(Payload::Cached(block));
        }
        if let Some(range) = ahead.want(child, self.layout.data)
            && read_exact(&**file, id, ahead.room(&range), range.start).is_err()
        {
            // Somewhere behind this block, perhaps: then it must still be found.
            ahead.forget();
        }
        let bytes = match ahead.piece(child) {
            Some(piece) => Sealed::verify(piece, id, at)?.unpack(id, at)?,
            None => self.load(at, child.len)?,
        };
        let block = Arc::new(Block::new(bytes));
        if trust != Trust::Nothing {
            self.cache.insert(id, at, block.clone());
        }
        Ok(Payload::Cached(block))
    }

    /// A piece of the filter.
    #[inline]
    pub(super) fn filter_piece(&self, place: Place, trust: Trust) -> Result<Payload<'_>> {
        let before = self.properties.data_blocks + self.properties.partitions + 1;
        let at = self.layout.filter_at.saturating_add(place.piece_at);
        self.piece(Child { ordinal: before + place.piece, at, len: place.piece_len }, trust)
    }

    /// Refuses a child that is not one of its region.
    #[inline]
    fn check_child(&self, child: Child, region: Range<u64>, ordinals: Range<u64>) -> Result<()> {
        let end = child.at.checked_add(child.len);
        let is_inside = child.at >= region.start && end.is_some_and(|end| end <= region.end);
        if is_inside && ordinals.contains(&child.ordinal) {
            return Ok(());
        }
        let want = format_args!("a piece within bytes {region:?}");
        let found = format_args!("{} bytes, number {}", child.len, child.ordinal);
        Err(damaged(self.id(), child.at, want, found))
    }

    #[inline]
    fn piece(&self, child: Child, trust: Trust) -> Result<Payload<'_>> {
        let Child { ordinal, at, len } = child;
        if trust == Trust::Nothing {
            return self.unremembered(at, len);
        }
        let Some(pages) = self.pages() else { return self.at_hand(child, trust) };
        let piece = self.mapped(pages, at, len)?;
        let bit = 1 << (ordinal % 64);
        let word = self.verified.get(to_usize(ordinal / 64));
        let sealed = match word {
            Some(word) if word.load(Ordering::Relaxed) & bit != 0 => {
                Sealed::split(piece, self.id(), at)?.0
            }
            _ => {
                let sealed = Sealed::verify(piece, self.id(), at)?;
                if let Some(word) = word {
                    word.fetch_or(bit, Ordering::Relaxed);
                }
                sealed
            }
        };
        match sealed.raw() {
            Some(payload) => Ok(Payload::Mapped(payload)),
            None => self.cached(at, len),
        }
    }

    #[inline]
    fn mapped<'a>(&self, pages: &'a Pages, at: u64, len: u64) -> Result<&'a [u8]> {
        let range = to_usize(at)..to_usize(at.saturating_add(len));
        pages.get(range).ok_or_else(|| {
            damaged(self.id(), at, format_args!("a piece of {len} bytes"), "the end of the file")
        })
    }

    /// A piece of a file that is not mapped.
    #[inline]
    fn at_hand(&self, child: Child, trust: Trust) -> Result<Payload<'_>> {
        let Child { ordinal, at, len } = child;
        let slot = ordinal.checked_sub(self.properties.data_blocks);
        let Some(slot) = slot.and_then(|slot| self.at_hand.get(to_usize(slot))) else {
            return self.cached(at, len);
        };
        if trust == Trust::Remembered
            && let Some(block) = slot.load().upgrade()
        {
            return Ok(Payload::Cached(block));
        }
        let payload = self.cached(at, len)?;
        if let Payload::Cached(block) = &payload {
            slot.store(Arc::downgrade(block));
        }
        Ok(payload)
    }

    /// A piece through the cache.
    fn cached(&self, at: u64, len: u64) -> Result<Payload<'_>> {
        if let Some(block) = self.cache.get(self.id(), at) {
            return Ok(Payload::Cached(block));
        }
        let block = Arc::new(Block::new(self.load(at, len)?));
        self.cache.insert(self.id(), at, block.clone());
        Ok(Payload::Cached(block))
    }

    /// Bytes of the file, whatever they are.
    pub(super) fn bytes_at(&self, at: u64, len: u64) -> Result<Cow<'_, [u8]>> {
        match &self.source {
            Source::Mapped(pages) => Ok(Cow::Borrowed(self.mapped(pages, at, len)?)),
            Source::Positioned(file) => {
                let mut bytes = vec![0; to_usize(len)];
                read_exact(&**file, self.id(), &mut bytes, at)?;
                Ok(Cow::Owned(bytes))
            }
        }
    }

    /// A piece as it lies in the file now.
    pub(super) fn unremembered(&self, at: u64, len: u64) -> Result<Payload<'_>> {
        if let Some(pages) = self.pages() {
            let piece = self.mapped(pages, at, len)?;
            if let Some(payload) = Sealed::verify(piece, self.id(), at)?.raw() {
                return Ok(Payload::Mapped(payload));
            }
        }
        Ok(Payload::Cached(Arc::new(Block::new(self.load(at, len)?))))
    }

    /// Reads, verifies and unpacks a piece.
    fn load(&self, at: u64, len: u64) -> Result<Vec<u8>> {
        let id = self.id();
        let mut piece = match self.bytes_at(at, len)? {
            Cow::Borrowed(piece) => return Sealed::verify(piece, id, at)?.unpack(id, at),
            Cow::Owned(piece) => piece,
        };
        let sealed = Sealed::verify(&piece, id, at)?;
        if sealed.raw().is_none() {
            return sealed.unpack(id, at);
        }
        piece.truncate(piece.len().saturating_sub(TRAILER_BYTES));
        Ok(piece)
    }

    /// The value at `range` of the payload of the piece at `at`, pinned.
    pub(super) fn value(&self, payload: &Payload<'_>, at: u64, range: Range<usize>) -> Value {
        match (payload, self.pages()) {
            (Payload::Cached(block), _) => {
                Value::lent(block.clone(), |block| block.get(range).unwrap_or_default())
            }
            (Payload::Mapped(_), Some(pages)) => {
                let at = to_usize(at);
                let range = at.saturating_add(range.start)..at.saturating_add(range.end);
                Value::lent(pages.clone(), |pages| pages.get(range).unwrap_or_default())
            }
            (Payload::Mapped(bytes), None) => Value::copied(bytes.get(range).unwrap_or_default()),
        }
    }
}

fn map(file: &dyn File, id: FileId, bytes: u64) -> Result<Option<Arc<Pages>>> {
    let name = FileKind::Segment.name(id);
    let map = file.map().map_err(|error| Error::io(format_args!("map {name}"), error))?;
    match map {
        Some(map) if to_u64(map.bytes().len()) != bytes => {
            Err(damaged(id, 0, format_args!("a map of {bytes} bytes"), map.bytes().len()))
        }
        map => Ok(map.map(|map| Arc::new(Pages(map)))),
    }
}

/// Reads into the whole of `buffer`. A file that ends before is damaged (F-25).
fn read_exact(file: &dyn File, id: FileId, buffer: &mut [u8], at: u64) -> Result<()> {
    read_exact_at(file, buffer, at).map_err(|error| {
        let len = buffer.len();
        if error.kind() == std::io::ErrorKind::UnexpectedEof {
            return damaged(id, at, format_args!("{len} bytes"), "the end of the file");
        }
        let name = FileKind::Segment.name(id);
        Error::io(format_args!("read {len} bytes of {name} at byte {at}"), error)
    })
}

pub(super) fn read_tombstone(input: &mut Decoder<'_>) -> Option<RangeTombstone> {
    let start = input.length_prefixed()?.into();
    let end = input.length_prefixed()?.into();
    let (seq, kind) = unpack_tag(input.u64()?)?;
    (kind == Kind::RangeDelete).then_some(RangeTombstone { start, end, seq })
}
