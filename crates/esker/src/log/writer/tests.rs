//! What a log's writer promises: exact bytes, marks, and that the first failure is the last word.

use super::super::frame::Layout;
use super::super::reader::{End, LogReader, Promise};
use super::*;
use crate::base::batch::{Batch, Op};
use crate::base::id::CollectionId;
use crate::base::key::Kind;
use crate::env::sim::{Loss, Sim};
use crate::env::{Bytes, Claimed, Map};
use parking_lot::Mutex;

/// A file in memory that fails when told to.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    bytes: Vec<u8>,
    claimed: u64,
    fail_writes: bool,
    fail_syncs: bool,
    syncs: u64,
}

impl Append for Memory {
    fn claim(self: Arc<Self>, at: u64, len: u64) -> Span {
        let mut state = self.state.lock();
        assert!(at >= state.claimed, "claims in order");
        state.claimed = at + len;
        drop(state);
        Span::new(self, at, len)
    }

    fn fill(&self, bytes: &[u8], at: u64, _place: Claimed) -> io::Result<()> {
        let mut state = self.state.lock();
        if state.fail_writes {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let (start, end) = (at as usize, at as usize + bytes.len());
        if state.bytes.len() < end {
            state.bytes.resize(end, 0);
        }
        state.bytes[start..end].copy_from_slice(bytes);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.state.lock();
        state.syncs += 1;
        if state.fail_syncs { Err(io::ErrorKind::Other.into()) } else { Ok(()) }
    }

    fn finish(&self, bytes: u64) -> io::Result<()> {
        self.state.lock().bytes.resize(bytes as usize, 0);
        Ok(())
    }

    fn access(&self) -> Access {
        Access::Mapped
    }
}

/// A log in memory, with what a committer would keep beside it.
pub(crate) struct Log {
    pub(crate) memory: Arc<Memory>,
    pub(crate) file: Arc<LogFile>,
    pub(crate) tail: LogTail,
    pub(crate) next: SeqNo,
    scratch: Vec<u8>,
}

pub(crate) const ID: FileId = FileId(3);
pub(crate) const NONCE: u64 = 0xfeed_beef_0123_4567;

impl Log {
    pub(crate) fn new(previous: Option<Previous>) -> Self {
        let memory = Arc::new(Memory::default());
        let file = LogFile::over(memory.clone(), ID, NONCE);
        let tail = file.begin(previous);
        let next = previous.map_or(SeqNo(1), |previous| previous.last.next());
        Self { memory, file, tail, next, scratch: Vec::new() }
    }

    pub(crate) fn commit(&mut self, ops: &impl Ops) -> Result<u64> {
        let len = OpsLen::at(ops, self.next);
        let reservation = self.tail.reserve(&len, self.next, Layout::Blocks)?;
        self.next = reservation.last().next();
        let end = reservation.end();
        reservation.fill(ops, &mut self.scratch)?;
        Ok(end)
    }

    pub(crate) fn put(&mut self, key: &[u8], value: &[u8]) -> u64 {
        self.commit(&put(key, value)).unwrap()
    }

    pub(crate) fn sync(&self) {
        self.file.sync().unwrap();
        self.file.note_durable(self.tail.position());
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.memory.state.lock().bytes.clone()
    }
}

pub(crate) fn put<'a>(key: &'a [u8], value: &'a [u8]) -> Op<'a> {
    Op { kind: Kind::Put, collection: CollectionId(1), key, value, expires: None }
}

pub(crate) fn map(bytes: impl Into<Vec<u8>>) -> Arc<dyn Map> {
    Arc::new(Bytes(bytes.into()))
}

pub(crate) fn read(bytes: &[u8], promise: Promise) -> (Vec<(u64, Vec<u8>)>, Result<End>) {
    let mut reader = LogReader::new(ID, map(bytes), promise);
    let mut found = Vec::new();
    loop {
        match reader.next() {
            Ok(Some(frame)) => {
                found.extend(frame.operations().map(|entry| (entry.seq.0, entry.value.to_vec())));
            }
            Ok(None) => return (found, Ok(reader.end().unwrap())),
            Err(error) => return (found, Err(error)),
        }
    }
}

#[test]
fn what_was_committed_is_read_in_order_and_the_end_is_clean() {
    let mut log = Log::new(None);
    for n in 0..100u8 {
        log.put(&[n], &[n; 50]);
        if n % 7 == 0 {
            log.sync();
        }
    }
    let length = log.tail.position();
    let (found, end) = read(&log.bytes(), Promise::default());
    assert_eq!(found.len(), 100);
    assert!(found.iter().zip(0u8..).all(|((_, value), n)| *value == [n; 50]));
    assert_eq!(end.unwrap(), End::Clean { length, last: SeqNo(log.next.0 - 1) });
}

/// SST-5: a batch above 1 MiB is one WHOLE frame; its large values are written from where they are.
#[test]
fn large_batches_are_one_frame_whose_pieces_are_those_of_the_buffer() {
    for count in 1..4 {
        let mut batch = Batch::default();
        for n in 0..count {
            batch.push(put(b"small", &[n; 10])).unwrap();
            batch.push(put(b"large", &vec![n; 900_000 + usize::from(n)])).unwrap();
            batch.push(put(b"medium", &vec![n; 50_000])).unwrap();
        }
        let mut log = Log::new(None);
        log.put(b"k", b"v");
        log.commit(&batch).unwrap();
        log.put(b"k", b"w");
        let (found, end) = read(&log.bytes(), Promise::default());
        assert_eq!(found.len(), 2 + 3 * usize::from(count));
        assert!(found.iter().any(|(_, value)| value.len() == 900_000));
        assert_eq!(end.unwrap().length(), log.tail.position());
    }
}

/// SST-L1: what is refused leaves no trace; SST-L4, F-17, F-18: and the first failure is for ever.
#[test]
fn after_a_failed_write_every_call_gives_that_error_and_no_sync_is_tried() {
    let mut log = Log::new(None);
    log.put(b"k", b"v");
    log.memory.state.lock().fail_writes = true;
    let first = log.commit(&put(b"k", b"w")).unwrap_err();
    log.memory.state.lock().fail_writes = false;
    let position = log.tail.position();
    for error in [log.commit(&put(b"k", b"x")).unwrap_err(), log.file.sync().unwrap_err()] {
        assert_eq!(error.to_string(), first.to_string());
        assert_eq!(error.io_kind(), Some(io::ErrorKind::StorageFull));
    }
    assert_eq!(log.memory.state.lock().syncs, 0);
    assert_eq!(log.tail.position(), position);
}

/// F-19: a sync that failed once is never tried again, so it cannot "succeed" with pages dropped.
#[test]
fn a_failed_sync_is_final() {
    let mut log = Log::new(None);
    log.put(b"k", b"v");
    log.memory.state.lock().fail_syncs = true;
    let first = log.file.sync().unwrap_err();
    log.memory.state.lock().fail_syncs = false;
    assert_eq!(log.file.sync().unwrap_err().to_string(), first.to_string());
    assert!(log.commit(&put(b"k", b"w")).is_err());
    assert!(log.file.finish(0).is_err());
    assert_eq!(log.memory.state.lock().syncs, 1);
}

/// Law 1, SST-L11: a panic between reservation and fill must not leave a silent hole.
#[test]
fn a_reservation_that_is_dropped_ends_the_log() {
    let mut log = Log::new(None);
    let len = OpsLen::at(&put(b"k", b"v"), log.next);
    drop(log.tail.reserve(&len, log.next, Layout::Blocks).unwrap());
    assert!(log.commit(&put(b"k", b"v")).unwrap_err().message().contains("nothing was written"));
}

#[test]
fn a_mark_is_owed_once_for_each_sync_that_covers_operations() {
    let mut log = Log::new(None);
    assert!(!log.tail.owes_mark());
    log.put(b"k", b"v");
    log.sync();
    assert!(log.tail.owes_mark());
    let reservation = log.tail.reserve(&OpsLen::EMPTY, log.next, Layout::Blocks).unwrap();
    assert_eq!((reservation.numbers(), reservation.last()), (1, log.next));
    log.next = log.next.next();
    reservation.fill(&Batch::default(), &mut Vec::new()).unwrap();
    log.sync();
    assert!(!log.tail.owes_mark(), "a mark is not worth a mark");
    log.put(b"k", b"w");
    let (found, end) = read(&log.bytes(), Promise::default());
    assert_eq!(found.iter().map(|(seq, _)| *seq).collect::<Vec<_>>(), [1, 4]);
    assert!(end.is_ok());
}

/// The bytes of a log with its origin and a mark: `tests/golden/log-marks.txt`.
#[test]
fn origin_and_marks_have_their_golden_bytes() {
    let mut log = Log::new(Some(Previous { log: FileId(2), length: 4096, last: SeqNo(77) }));
    log.put(b"k", b"v");
    log.sync();
    log.put(b"k", b"w");
    let hex: String = log.bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    let golden = include_str!("../../../tests/golden/log-marks.txt");
    let want: String = golden.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(hex, want);
}

/// SST-L7, F-7: a log that exists can be relied on, its name too.
#[test]
fn the_name_of_a_new_log_is_durable_before_anything_is_in_it() {
    let env = Sim::new(7);
    let dir = Path::new("/db");
    env.create_dir(dir).unwrap();
    env.sync_dir(Path::new("/")).unwrap();
    let file = LogFile::create(&*env, dir, ID, 1 << 16, Access::Mapped).unwrap();
    let mut tail = file.begin(None);
    let op = put(b"k", b"v");
    let len = OpsLen::at(&op, SeqNo(1));
    tail.reserve(&len, SeqNo(1), Layout::Blocks).unwrap().fill(&op, &mut Vec::new()).unwrap();
    file.sync().unwrap();
    let after = env.crash(Loss::All);
    let bytes = after.read_file(&path_in(dir, file.name())).unwrap();
    assert_eq!(read(&bytes, Promise::default()).0, [(1, b"v".to_vec())]);
}
