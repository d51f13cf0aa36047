//! Cuts, flips, zeros and foreign bytes: each gives the class that the table in the header promises.

use super::super::frame::{Layout, place, write};
use super::super::writer::tests::{ID, Log, map, put, read};
use super::*;
use crate::base::batch::Batch;
use crate::base::entry::put_entry_at_rest;
use crate::base::error::ErrorKind;
use crate::base::key::Entry;
use proptest::prelude::*;

const NONE: Promise = Promise { length: None, last: None };

type Values = Vec<(u64, Vec<u8>)>;

/// A short log; the ends of its frames, and how many values lie below each.
struct Sample {
    log: Log,
    ends: Vec<(u64, usize)>,
    values: Values,
}

impl Sample {
    /// `count` commits of one to three puts; a sync behind each whose number is in `synced`.
    fn new(count: usize, synced: &[usize]) -> Self {
        let mut sample = Self { log: Log::new(None), ends: vec![(0, 0)], values: Vec::new() };
        for n in 0..count {
            sample.commit(1 + n % 3, 5 + n);
            if synced.contains(&n) {
                sample.log.sync();
            }
        }
        sample
    }

    fn commit(&mut self, ops: usize, bytes: usize) {
        let mut batch = Batch::default();
        for n in 0..ops {
            let value = vec![u8::try_from(n + 1).unwrap(); bytes];
            batch.push(put(b"key", &value)).unwrap();
            self.values.push((self.log.next.0 + n as u64, value));
        }
        let end = self.log.commit(&batch).unwrap();
        self.ends.push((end, self.values.len()));
    }

    fn length(&self) -> u64 {
        self.log.tail.position()
    }

    fn promise(&self) -> Promise {
        let last = Some(SeqNo(self.log.next.0 - 1));
        Promise { length: Some(self.length()), last }
    }

    /// End and count of values of the last frame that ends at or below `at`.
    fn below(&self, at: u64) -> (u64, usize) {
        *self.ends.iter().rfind(|(end, _)| *end <= at).unwrap()
    }

    /// The values must be those up to `at`.
    fn assert_prefix(&self, values: &Values, at: u64) {
        assert!(*values == self.values[..self.below(at).1], "wrong data up to {at}");
    }
}

fn kind(end: &Result<End>) -> &'static str {
    match end {
        Ok(End::Clean { .. }) => "clean",
        Ok(End::Torn { .. }) => "torn",
        Err(error) if error.kind() == ErrorKind::Corruption => "damage",
        Err(_) => "another error",
    }
}

/// F-3, SST-10, SST-L6, SST-L12: cut anywhere, the whole batches below the cut are there, a half
/// one is dropped and reported.
#[test]
fn a_log_cut_at_any_byte_gives_its_whole_batches_and_says_what_it_dropped() {
    let sample = Sample::new(12, &[]);
    let bytes = sample.log.bytes();
    for cut in 0..=bytes.len() {
        let (values, end) = read(&bytes[..cut], NONE);
        let (good, count) = sample.below(cut as u64);
        sample.assert_prefix(&values, cut as u64);
        assert_eq!(values.len(), count);
        let end = end.unwrap();
        assert_eq!(end.length(), good);
        assert_eq!(matches!(end, End::Clean { .. }), good == cut as u64, "cut at {cut}");
        if let End::Torn { dropped, .. } = end {
            let part = &bytes[good as usize..cut];
            let zeros = part.iter().rev().take_while(|&&byte| byte == 0).count();
            assert_eq!(dropped as usize, part.len() - zeros);
        }
    }
}

/// F-16: behind a clean close any cut is damage, wherever it is.
#[test]
fn a_closed_log_cut_at_any_byte_is_damaged() {
    let sample = Sample::new(12, &[3]);
    let bytes = sample.log.bytes();
    assert_eq!(kind(&read(&bytes, sample.promise()).1), "clean");
    for cut in 0..bytes.len() {
        let (values, end) = read(&bytes[..cut], sample.promise());
        sample.assert_prefix(&values, cut as u64);
        assert_eq!(kind(&end), "damage", "cut at {cut}");
    }
}

/// SST-10: the vector that is cut in its FIRST frame, its padding, its SECOND, and behind.
#[test]
fn a_split_batch_cut_at_any_byte_is_torn_at_its_beginning() {
    let mut sample = Sample::new(1, &[]);
    let filler = (1 << 20) - 60 - sample.length();
    sample.commit(1, filler as usize - 33);
    let from = sample.length();
    assert_eq!(from, (1 << 20) - 60, "the filler is as long as it must be");
    sample.commit(1, 76);
    sample.commit(1, 3);
    let bytes = sample.log.bytes();
    for cut in from as usize..=bytes.len() {
        let (values, end) = read(&bytes[..cut], NONE);
        sample.assert_prefix(&values, cut as u64);
        let good = sample.below(cut as u64).0;
        assert_eq!(end.as_ref().unwrap().length(), good);
        assert_eq!(kind(&end), if good == cut as u64 { "clean" } else { "torn" }, "{cut}");
    }
}

/// F-33: one flipped bit anywhere in a closed log is damage, with the offset, or has no effect.
#[test]
fn a_bit_flipped_anywhere_in_a_closed_log_is_damage_or_harmless() {
    let mut sample = Sample::new(8, &[2, 5]);
    sample.commit(1, (1 << 20) - 300 - sample.length() as usize);
    let spared = sample.ends[sample.ends.len() - 2].0 + 40..sample.length() - 1;
    sample.commit(1, 100);
    sample.commit(1, 200);
    let bytes = sample.log.bytes();
    let mut harmless = 0;
    for at in (0..bytes.len()).filter(|at| !spared.contains(&(*at as u64)) || at % 65_537 == 0) {
        for bit in 0..8 {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << bit;
            let (values, end) = read(&flipped, sample.promise());
            match end {
                Ok(end) => {
                    assert_eq!((&values, end.length()), (&sample.values, sample.length()));
                    harmless += 1;
                }
                Err(error) => {
                    sample.assert_prefix(&values, sample.below(at as u64).0);
                    assert_eq!(error.kind(), ErrorKind::Corruption);
                    assert!(error.message().starts_with("log-000003 at byte "), "{error}");
                }
            }
        }
    }
    assert!((1..=8 * 19).contains(&harmless), "only padding may be harmless: {harmless}");
}

/// F-33, F-34: without a clean close, what a later mark promised is damage, the rest is torn, and
/// never is wrong data returned, or anything behind the flip.
#[test]
fn a_bit_flipped_below_a_mark_is_damage_and_above_it_a_torn_tail() {
    let sample = Sample::new(14, &[4, 9]);
    let bytes = sample.log.bytes();
    // The last mark rides with the 11th frame and promises all up to its beginning.
    let promised = sample.ends[10].0;
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << bit;
            let (values, end) = read(&flipped, NONE);
            let good = sample.below(at as u64).0;
            sample.assert_prefix(&values, good);
            if (at as u64) < promised {
                assert_eq!(kind(&end), "damage", "byte {at} bit {bit}");
            } else if end.as_ref().is_ok_and(|end| end.length() != good) {
                panic!("torn elsewhere than at byte {good}, flipped at {at}");
            }
        }
    }
}

/// F-34 with the mark itself gone: the marks before it still hold.
#[test]
fn a_log_cut_above_its_last_mark_but_flipped_below_it_is_damaged() {
    let sample = Sample::new(14, &[4, 9]);
    let bytes = sample.log.bytes();
    for cut in sample.ends[11].0 as usize..bytes.len() {
        let mut flipped = bytes[..cut].to_vec();
        flipped[sample.ends[2].0 as usize + 30] ^= 4;
        assert_eq!(kind(&read(&flipped, NONE).1), "damage");
    }
}

/// F-2, F-35, SST-10: any 64 bytes zeroed. Below a mark that is damage; above it the log ends, but
/// no frame behind the hole is ever replayed.
#[test]
fn a_hole_of_zeros_is_never_read_across() {
    let sample = Sample::new(30, &[9]);
    let bytes = sample.log.bytes();
    let promised = sample.ends[10].0;
    for at in 0..bytes.len() - 64 {
        let mut holed = bytes.clone();
        holed[at..at + 64].fill(0);
        let (values, end) = read(&holed, NONE);
        let good = sample.below(at as u64).0;
        sample.assert_prefix(&values, good);
        // A hole that takes the mark as well leaves nothing that promises the frame before it.
        match (at + 64 <= promised as usize, at < promised as usize) {
            (true, _) => assert_eq!(kind(&end), "damage", "{at}"),
            (false, true) => assert_ne!(kind(&end), "clean", "{at}"),
            (false, false) => assert_eq!(kind(&end), "torn", "{at}"),
        }
    }
}

/// SST-10, SST-11: the tail that was allocated ahead is no damage, however long.
#[test]
fn zeros_behind_the_last_frame_are_the_end() {
    let sample = Sample::new(5, &[1]);
    for zeros in [1, 19, 20, 21, 5000, 3 << 20] {
        let mut bytes = sample.log.bytes();
        bytes.resize(bytes.len() + zeros, 0);
        for promise in [NONE, sample.promise()] {
            let (values, end) = read(&bytes, promise);
            assert_eq!(values, sample.values);
            assert_eq!((kind(&end), end.unwrap().length()), ("clean", sample.length()));
        }
    }
}

/// F-5, SST-10: what lies behind the tail is never replayed; nothing valid is dropped.
#[test]
fn foreign_bytes_behind_the_tail_end_the_log() {
    let sample = Sample::new(6, &[1]);
    let older = Sample::new(3, &[]);
    let frame = |from: usize| older.log.bytes()[older.ends[from].0 as usize..].to_vec();
    let tails = [frame(0), frame(1), frame(2), b"not a frame".to_vec(), vec![0xff; 100]];
    for tail in tails {
        for gap in [0, 5] {
            let bytes = [sample.log.bytes(), vec![0; gap], tail.clone()].concat();
            let (values, end) = read(&bytes, NONE);
            assert_eq!(values, sample.values);
            assert_eq!((kind(&end), end.unwrap().length()), ("torn", sample.length()));
            let (values, end) = read(&bytes, sample.promise());
            assert_eq!((values, kind(&end)), (sample.values.clone(), "torn"));
        }
    }
}

/// F-36: a log that goes on behind its promised end belongs to a newer manifest.
#[test]
fn a_log_that_goes_on_behind_its_promised_end_is_damaged() {
    let mut sample = Sample::new(4, &[]);
    let promise = sample.promise();
    sample.commit(1, 10);
    assert_eq!(kind(&read(&sample.log.bytes(), promise).1), "damage");
    let wrong = Promise { last: Some(SeqNo(1)), ..sample.promise() };
    assert_eq!(kind(&read(&sample.log.bytes(), wrong).1), "damage");
}

/// F-36: two files swapped.
#[test]
fn a_log_under_another_name_is_damaged() {
    let bytes = Sample::new(4, &[]).log.bytes();
    let error = LogReader::new(FileId(8), map(bytes), NONE).next().unwrap_err();
    assert!(error.message().contains("want a mark of log 000008, found 000003"), "{error}");
}

/// Design section 5: a mark that was copied into a value does not count, wherever it lies.
#[test]
fn marks_inside_a_stored_value_promise_nothing() {
    let inner = Sample::new(14, &[4, 9]).log.bytes();
    let mut sample = Sample::new(2, &[]);
    let from = sample.length();
    sample.log.put(b"copy of a log", &inner);
    let mut bytes = sample.log.bytes();
    bytes[from as usize + 20] ^= 1;
    let (values, end) = read(&bytes, NONE);
    assert_eq!((values, kind(&end)), (sample.values.clone(), "torn"));
}

/// F-10: what a log says of its predecessor is there to compare.
#[test]
fn the_first_frame_tells_how_the_log_before_it_ended() {
    let previous = Previous { log: FileId(2), length: 12_345, last: SeqNo(77) };
    let mut log = Log::new(Some(previous));
    log.put(b"k", b"v");
    log.sync();
    log.put(b"k", b"w");
    let mut reader = LogReader::new(ID, map(log.bytes()), NONE);
    assert_eq!(reader.previous(), None);
    assert_eq!(reader.next().unwrap().unwrap().first, SeqNo(78));
    assert_eq!((reader.previous(), reader.durable()), (Some(previous), 0));
    let at = reader.position();
    reader.next().unwrap();
    assert_eq!(reader.durable(), at);
}

/// SST-L3: errors stay, whatever is called next.
#[test]
fn an_error_is_given_for_ever_and_nothing_behind_it() {
    let sample = Sample::new(3, &[]);
    let mut bytes = sample.log.bytes();
    bytes[sample.ends[1].0 as usize + 20] ^= 1;
    let mut reader = LogReader::new(ID, map(bytes), sample.promise());
    assert!(reader.next().unwrap().is_some());
    let first = reader.next().unwrap_err().to_string();
    for _ in 0..3 {
        assert_eq!(reader.next().unwrap_err().to_string(), first);
    }
    assert_eq!((reader.end(), reader.position()), (None, sample.ends[1].0));
}

#[test]
fn salvage_goes_on_at_the_next_good_frame_and_says_what_it_skipped() {
    let sample = Sample::new(6, &[3]);
    let mut bytes = sample.log.bytes();
    for frame in [0, 3] {
        bytes[sample.ends[frame].0 as usize + 20] ^= 1;
    }
    let mut reader = LogReader::new(ID, map(bytes), sample.promise());
    let (mut frames, mut skipped) = (Vec::new(), Vec::new());
    loop {
        match reader.next() {
            Ok(Some(frame)) => frames.push(frame.at),
            Ok(None) | Err(_) => match reader.salvage() {
                Some(skip) => skipped.push((skip.from, skip.to)),
                None => break,
            },
        }
    }
    let at = |n: usize| sample.ends[n].0;
    assert_eq!(frames, [at(1), at(2), at(4), at(5)]);
    assert_eq!(skipped, [(at(0), at(1)), (at(3), at(4))]);
}

fn foreign_log(ops: &[(&[u8], u64)]) -> Vec<u8> {
    let mut log = Vec::new();
    for (key, seq) in ops {
        let mut payload = Vec::new();
        let entry = Entry { key, seq: SeqNo(*seq), kind: Kind::Put, value: b"value" };
        put_entry_at_rest(&mut payload, &entry);
        let place = place(log.len() as u64, payload.len() as u64, Layout::Blocks);
        write(&place, &payload, &mut log);
    }
    log
}

/// SST-1, SST-8: timestamps of a plain log come in any order; SST-15: every tear has its cut.
#[test]
fn a_plain_log_is_read_strictly_and_says_where_to_cut_it() {
    let log = foreign_log(&[(b"b", 9), (b"a", 3), (b"", u64::MAX)]);
    for cut in 0..=log.len() {
        let mut reader = LogReader::foreign("plain", map(&log[..cut]));
        let mut ends = vec![0];
        let failed = loop {
            match reader.next() {
                Ok(Some(frame)) => ends.push(frame.end),
                Ok(None) => break false,
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Corruption);
                    break true;
                }
            }
        };
        assert_eq!(reader.position(), *ends.last().unwrap());
        assert_eq!(failed, reader.position() != cut as u64);
        assert!(!failed || reader.end().is_none());
    }
    assert_eq!(kind(&read(&log, NONE).1), "damage", "it is no log of a database");
}

/// An operation of a later version must not be taken for a torn tail and dropped.
#[test]
fn a_whole_frame_with_an_unknown_entry_is_damage_although_nothing_promised_it() {
    let sample = Sample::new(2, &[]);
    let mut bytes = sample.log.bytes();
    let payload = b"\x7a\x01x behind an unknown tag";
    write(&place(bytes.len() as u64, payload.len() as u64, Layout::Blocks), payload, &mut bytes);
    let (values, end) = read(&bytes, NONE);
    assert_eq!((values, kind(&end)), (sample.values.clone(), "damage"));
    assert!(end.unwrap_err().message().contains("an entry tag"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// F-39: any bytes, and any mixture of frames and damage, end in bounded time and without a
    /// panic; salvage too.
    #[test]
    fn hostile_bytes_end_as_something(
        seed in proptest::collection::vec(any::<u8>(), 0..300),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..20),
        real in any::<bool>(),
    ) {
        let mut bytes = if real { Sample::new(9, &[2, 4]).log.bytes() } else { seed };
        for (at, byte) in changes {
            if !bytes.is_empty() {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
        }
        let own = LogReader::new(ID, map(bytes.clone()), NONE);
        for mut reader in [own, LogReader::foreign("f", map(bytes.clone()))] {
            for _ in 0..bytes.len() + 2 {
                if !matches!(reader.next(), Ok(Some(_))) && reader.salvage().is_none() {
                    break;
                }
            }
        }
    }
}
