//! What may differ from collection to collection.
//!
//! ```text
//!   record    … ‖ field*         field = tag: u8 ‖ len: varint ‖ bytes          tags ascend
//!   tags      1 compression  2 blob threshold  3 merge operator  4 filter  5 prefix filter
//!             6 blob compression  7 time to live, in milliseconds
//! ```
//!
//! 1. What is not set is as the [`Options`] of the open say.
//! 2. Settings decide how things are written from then on, never how they are read: files of all
//!    settings lie side by side. The merge operator alone is asked at reads, too.
//! 3. A field of a newer version is `Unsupported`: what is not understood is not thrown away.

use crate::base::blob::BLOB_BYTES_MIN;
use crate::base::codec::Compression;
use crate::base::coding::{Decoder, put_varint, to_u64};
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::key::KEY_BYTES_MAX;
use crate::db::options::Options;
use crate::merge::Rule;
use std::fmt;
use std::time::Duration;

/// More bits would make a filter that is larger than its keys.
const FILTER_BITS_MAX: u32 = 64;

/// The longest name of an operator: a record of the catalog must never be long enough to lie out of
/// line, because it is read before there is anything to read such values with.
const OPERATOR_BYTES_MAX: usize = 128;

/// What holds for one collection; what is not set is as the [`Options`] say. See
/// [`Db::collection_with`](crate::Db::collection_with) and
/// [`Collection::configure`](crate::Collection::configure).
///
/// ```
/// # let folder = tempfile::tempdir().unwrap();
/// # let db = esker::Db::open(folder.path())?;
/// use esker::{Compression, Settings};
/// let settings = Settings::default().compression(Compression::Lz4).filter(14);
/// let logs = db.collection_with("logs", &settings)?;
/// let mut settings = logs.settings();
/// settings.filter = None;
/// logs.configure(&settings.prefix_filter(4))?;
/// assert_eq!(logs.settings().compression, Some(Compression::Lz4));
/// # Ok::<(), esker::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Settings {
    /// See [`Settings::compression`].
    pub compression: Option<Compression>,
    /// See [`Settings::blob_threshold`].
    pub blob_threshold: Option<usize>,
    /// See [`Settings::blob_compression`].
    pub blob_compression: Option<Compression>,
    /// See [`Settings::merge_operator`].
    pub merge_operator: Option<String>,
    /// See [`Settings::filter`].
    pub filter: Option<u32>,
    /// See [`Settings::prefix_filter`].
    pub prefix_filter: Option<usize>,
    /// See [`Settings::time_to_live`].
    pub time_to_live: Option<Duration>,
}

impl Settings {
    /// How blocks of segments are compressed, from the next flush or compaction on.
    #[must_use]
    pub fn compression(mut self, compression: Compression) -> Self {
        self.compression = Some(compression);
        self
    }

    /// Values of at least `bytes` bytes, and at least 256, are kept out of line; `usize::MAX` keeps all
    /// in line. See [`Options::blob_threshold`].
    #[must_use]
    pub fn blob_threshold(mut self, bytes: usize) -> Self {
        self.blob_threshold = Some(bytes.max(BLOB_BYTES_MIN));
        self
    }

    /// How values out of line are stored, packed where that saves an eighth. See
    /// [`Options::blob_compression`].
    #[must_use]
    pub fn blob_compression(mut self, compression: Compression) -> Self {
        self.blob_compression = Some(compression);
        self
    }

    /// What folds merge operands: the name of an operator that is registered, up to 128 bytes of it.
    /// Operands that another operator was meant for are handed to this one: change it only where
    /// there are none.
    #[must_use]
    pub fn merge_operator(mut self, name: impl Into<String>) -> Self {
        self.merge_operator = Some(name.into());
        self
    }

    /// Bits of the filter for each key, up to 64, at all levels; 0: no filter. Unset, 10 to 14 by level,
    /// of which 1 key in 100 to 1000 that is not there passes.
    #[must_use]
    pub fn filter(mut self, bits_per_key: u32) -> Self {
        self.filter = Some(bits_per_key);
        self
    }

    /// So many first bytes of each key are in the filter too: see [`Options::prefix_filter`].
    #[must_use]
    pub fn prefix_filter(mut self, bytes: usize) -> Self {
        self.prefix_filter = Some(bytes);
        self
    }

    /// What is put into the collection from now on expires so long after its commit; what was put
    /// before, and what [says itself](crate::Collection::insert_with_ttl) when it expires, keeps that.
    /// At least a millisecond; what is below one is cut off. See
    /// [`Collection::insert_with_ttl`](crate::Collection::insert_with_ttl) for what it means to expire.
    ///
    /// Pairs that are ingested or imported are put from now on, too. A collection cannot have both a
    /// time to live and a merge operator: an operand has no time of its own, and what it is folded
    /// into would live as long as somebody merges. Cost: 8 bytes a pair; once some collection has a
    /// time to live, each put in the database looks up whether its own has one.
    #[must_use]
    pub fn time_to_live(mut self, time: Duration) -> Self {
        self.time_to_live = Some(time);
        self
    }

    /// Whether nothing is set.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Errors: `InvalidArgument` for a setting that cannot be, with `options`; `Unsupported` for a
    /// compression that this build lacks.
    pub(in crate::db) fn check(&self, options: &Options) -> Result<()> {
        let too_large = |what, found: u64, most: u64| {
            Err(Error::invalid(format!("setting {what}: want at most {most}, found {found}")))
        };
        if let Some(bits) = self.filter.filter(|bits| *bits > FILTER_BITS_MAX) {
            return too_large("filter", bits.into(), FILTER_BITS_MAX.into());
        }
        if let Some(bytes) = self.prefix_filter.filter(|bytes| *bytes > KEY_BYTES_MAX) {
            return too_large("prefix_filter", to_u64(bytes), to_u64(KEY_BYTES_MAX));
        }
        if let Some(name) = self.merge_operator.as_ref().filter(|it| it.len() > OPERATOR_BYTES_MAX)
        {
            return too_large("merge_operator", to_u64(name.len()), to_u64(OPERATOR_BYTES_MAX));
        }
        if self.time_to_live.is_some_and(|time| time < Duration::from_millis(1)) {
            return Err(Error::invalid("setting time_to_live: want at least 1 ms, found less"));
        }
        if self.time_to_live.is_some() && self.merge_operator.is_some() {
            return Err(Error::invalid(
                "settings time_to_live and merge_operator: want one of them: operands have no time \
                 of their own; keep what expires in another collection, or give single pairs a time \
                 with insert_with_ttl",
            ));
        }
        self.compression.unwrap_or_default().check()?;
        self.blob_compression.unwrap_or_default().check()?;
        match &self.merge_operator {
            Some(name) if options.operators.find(name).is_none() => {
                let message = format!("setting merge_operator: {name:?} is not registered");
                Err(Error::invalid(message))
            }
            _ => Ok(()),
        }
    }

    /// What they come to in a database that was opened with `options`.
    pub(in crate::db) fn rule(&self, options: &Options) -> Rule {
        let named = self.merge_operator.as_deref();
        let operator = named.and_then(|name| options.operators.find(name));
        Rule {
            missing: named.filter(|_| operator.is_none()).map(Into::into),
            operator,
            compression: self.compression,
            filter_bits_per_key: self.filter,
            prefix_filter: self.prefix_filter,
            blob_threshold: self.blob_threshold.map(|bytes| bytes.max(BLOB_BYTES_MIN)),
            blob_compression: self.blob_compression,
            time_to_live: self.time_to_live,
        }
    }

    /// The fields, as a record has them.
    pub(in crate::db) fn encode(&self, out: &mut Vec<u8>) {
        let Self { compression, blob_threshold, blob_compression, .. } = self;
        let Self { merge_operator, filter, prefix_filter, time_to_live, .. } = self;
        let mut field = |tag: u8, bytes: Option<Vec<u8>>| {
            if let Some(bytes) = bytes {
                out.push(tag);
                put_varint(out, to_u64(bytes.len()));
                out.extend(bytes);
            }
        };
        let number = |number: u64| {
            let mut bytes = Vec::new();
            put_varint(&mut bytes, number);
            bytes
        };
        field(1, compression.map(|compression| vec![compression_byte(compression)]));
        field(2, blob_threshold.map(|bytes| number(to_u64(bytes))));
        field(3, merge_operator.as_ref().map(|name| name.as_bytes().to_vec()));
        field(4, filter.map(|bits| number(bits.into())));
        field(5, prefix_filter.map(|bytes| number(to_u64(bytes))));
        field(6, blob_compression.map(|compression| vec![compression_byte(compression)]));
        field(7, time_to_live.map(|time| number(millis(time))));
    }

    /// The settings that [`Settings::encode`] wrote. Errors: `Unsupported` for what a newer version
    /// wrote; `Corruption` for what none does.
    pub(in crate::db) fn decode(mut input: Decoder<'_>) -> Result<Self> {
        let mut settings = Self::default();
        let mut last = 0;
        while !input.is_empty() {
            let field = input.u8().and_then(|tag| Some((tag, input.length_prefixed()?)));
            let (tag, bytes) = field.ok_or_else(|| odd("a whole setting"))?;
            if tag <= last {
                return Err(odd("settings in order"));
            }
            last = tag;
            settings.take(tag, bytes)?;
        }
        Ok(settings)
    }

    fn take(&mut self, tag: u8, bytes: &[u8]) -> Result<()> {
        let number = || {
            let mut input = Decoder::new(bytes);
            let number = input.minimal_varint().filter(|_| input.is_empty());
            number.ok_or_else(|| odd("a setting that is a number"))
        };
        let size = || usize::try_from(number()?).map_err(|_| odd("a length"));
        match tag {
            1 => self.compression = Some(compression_of(bytes)?),
            2 => self.blob_threshold = Some(size()?.max(BLOB_BYTES_MIN)),
            3 => {
                let name = std::str::from_utf8(bytes).map_err(|_| odd("a name in UTF-8"))?;
                self.merge_operator = Some(name.to_owned());
            }
            4 => {
                let bits = u32::try_from(number()?).ok().filter(|bits| *bits <= FILTER_BITS_MAX);
                self.filter = Some(bits.ok_or_else(|| odd("at most 64 bits"))?);
            }
            5 => {
                let bytes = Some(size()?).filter(|bytes| *bytes <= KEY_BYTES_MAX);
                self.prefix_filter = Some(bytes.ok_or_else(|| odd("a prefix of a key"))?);
            }
            6 => self.blob_compression = Some(compression_of(bytes)?),
            7 => {
                let millis = Some(number()?).filter(|millis| *millis > 0);
                let millis = millis.ok_or_else(|| odd("a time to live"))?;
                self.time_to_live = Some(Duration::from_millis(millis));
            }
            _ => return Err(newer(format_args!("setting {tag}"))),
        }
        Ok(())
    }
}

/// What is set, as `name=value`, with a space between.
impl fmt::Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { compression, blob_threshold, blob_compression, .. } = self;
        let Self { merge_operator, filter, prefix_filter, time_to_live, .. } = self;
        let name = |compression: &Compression| format!("{compression:?}").to_lowercase();
        let set = [
            compression.as_ref().map(|it| format!("compression={}", name(it))),
            blob_threshold.map(|bytes| format!("blob-threshold={bytes}")),
            blob_compression.as_ref().map(|it| format!("blob-compression={}", name(it))),
            merge_operator.as_ref().map(|name| format!("merge-operator={name}")),
            filter.map(|bits| format!("filter={bits}")),
            prefix_filter.map(|bytes| format!("prefix-filter={bytes}")),
            time_to_live.map(|time| format!("time-to-live={}ms", millis(time))),
        ];
        f.write_str(&set.into_iter().flatten().collect::<Vec<_>>().join(" "))
    }
}

/// As a record has it.
fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn compression_byte(compression: Compression) -> u8 {
    match compression {
        Compression::None => 0,
        Compression::Lz4 => 1,
        Compression::Zstd => 2,
    }
}

fn compression_of(bytes: &[u8]) -> Result<Compression> {
    match bytes {
        [0] => Ok(Compression::None),
        [1] => Ok(Compression::Lz4),
        [2] => Ok(Compression::Zstd),
        [byte] => Err(newer(format_args!("compression {byte}"))),
        _ => Err(odd("a compression of one byte")),
    }
}

fn newer(what: fmt::Arguments<'_>) -> Error {
    Error::new(ErrorKind::Unsupported, format!("{what}: of a newer version"))
}

fn odd(want: &str) -> Error {
    Error::new(ErrorKind::Corruption, format!("want {want}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Settings {
        let settings = Settings::default().compression(Compression::Lz4).blob_threshold(1000);
        let settings = settings.blob_compression(Compression::Lz4);
        settings.merge_operator("max").filter(12).prefix_filter(8)
    }

    fn encoded(settings: &Settings) -> Vec<u8> {
        let mut bytes = Vec::new();
        settings.encode(&mut bytes);
        bytes
    }

    /// The bytes, as `docs/format.md` has them.
    #[test]
    fn settings_come_back_from_their_bytes() {
        assert_eq!(
            encoded(&all()),
            b"\x01\x01\x01\x02\x02\xe8\x07\x03\x03max\x04\x01\x0c\x05\x01\x08\x06\x01\x01"
        );
        for settings in [all(), Settings::default(), Settings::default().blob_threshold(usize::MAX)]
        {
            let bytes = encoded(&settings);
            assert_eq!(Settings::decode(Decoder::new(&bytes)).unwrap(), settings);
        }
    }

    #[test]
    fn bytes_that_are_no_settings_are_errors() {
        let bytes = encoded(&all());
        for len in 0..bytes.len() {
            let whole = [0, 3, 7, 12, 15, 18].contains(&len);
            assert_eq!(Settings::decode(Decoder::new(&bytes[..len])).is_ok(), whole, "{len}");
        }
        let kind = |bytes: &[u8]| Settings::decode(Decoder::new(bytes)).unwrap_err().kind();
        let corrupt: [&[u8]; 5] =
            [b"\x01\x02\x00\x00", b"\x04\x01\x41", b"\x03\x01\xff", b"\0\0", b"\x02\x02\x80\x00"];
        for bytes in corrupt {
            assert_eq!(kind(bytes), ErrorKind::Corruption, "{bytes:?}");
        }
        let twice = [encoded(&all()), encoded(&all())].concat();
        assert_eq!(kind(&twice), ErrorKind::Corruption);
        assert_eq!(kind(b"\x7f\x00"), ErrorKind::Unsupported);
        assert_eq!(kind(b"\x01\x01\x07"), ErrorKind::Unsupported);
    }

    #[test]
    fn a_setting_that_cannot_be_is_refused() {
        let options = Options::default();
        all().check(&options).unwrap();
        let refused = [
            Settings::default().filter(65),
            Settings::default().prefix_filter(KEY_BYTES_MAX + 1),
            Settings::default().merge_operator("nobody knows it"),
        ];
        for settings in refused {
            let error = settings.check(&options).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{settings:?}");
        }
    }
}
