//! A segment: opening, getting, walking and verifying any bytes ends.
//!
//! The first two bytes of the input say which byte of a good segment to replace by the rest: so the
//! footer and the pieces in front of the change stay readable.

#![no_main]

use esker::base::cursor::Cursor;
use esker::base::id::{CollectionId, FileId, SeqNo};
use esker::base::key::{Entry, Kind, Lookup};
use esker::cache::BlockCache;
use esker::env::names::FileKind;
use esker::env::sim::Sim;
use esker::env::{Access, Env, path_in};
use esker::segment::{SegmentReader, SegmentWriter, WriterOptions};
use libfuzzer_sys::fuzz_target;
use std::path::Path;
use std::sync::{Arc, OnceLock};

const ID: FileId = FileId(1);

/// The bytes of a small segment.
fn good() -> &'static [u8] {
    static GOOD: OnceLock<Vec<u8>> = OnceLock::new();
    GOOD.get_or_init(|| {
        let sim = Sim::new(1);
        let env: Arc<dyn Env> = sim.clone();
        let dir = Path::new("db");
        env.create_dir(dir).expect("a folder");
        let mut writer =
            SegmentWriter::create(&env, dir, ID, WriterOptions::default()).expect("a file");
        for i in 0..200u32 {
            let key = [&[0, 0, 0, 1][..], format!("key-{i:05}").as_bytes()].concat();
            let entry =
                Entry { key: &key, seq: SeqNo(u64::from(i) + 1), kind: Kind::Put, value: &key };
            writer.add(&entry).expect("room");
        }
        writer.finish().expect("a segment");
        sim.read_file(&path_in(dir, FileKind::Segment.name(ID))).expect("its bytes")
    })
}

fn read(bytes: Vec<u8>) {
    let sim = Sim::new(1);
    let dir = Path::new("db");
    let path = path_in(dir, FileKind::Segment.name(ID));
    let env: Arc<dyn Env> = sim.clone();
    env.create_dir(dir).expect("a folder");
    sim.write_file(&path, bytes).expect("a file");
    let cache = Arc::new(BlockCache::new(1 << 20));
    let Ok((reader, _)) = SegmentReader::open_alone(&env, &path, Access::Mapped, &cache) else {
        return;
    };
    let reader = Arc::new(reader);
    let _ = reader.get(&Lookup::new(CollectionId(1), b"key-00100"), SeqNo::MAX);
    let _ = reader.verify(&mut |_| {});
    let mut cursor = reader.cursor();
    let mut moved = cursor.seek_first();
    while moved.is_ok() && cursor.entry().is_some() {
        moved = cursor.next();
    }
    let mut moved = cursor.seek_last();
    while moved.is_ok() && cursor.entry().is_some() {
        moved = cursor.prev();
    }
}

fuzz_target!(|data: &[u8]| {
    read(data.to_vec());
    let Some(([a, b], change)) = data.split_first_chunk::<2>() else { return };
    let mut bytes = good().to_vec();
    let at = usize::from(u16::from_le_bytes([*a, *b])) % bytes.len();
    for (place, byte) in bytes.iter_mut().skip(at).zip(change) {
        *place = *byte;
    }
    read(bytes);
});
