//! A blob file: opening, reading and walking any bytes ends, and gives no value that was not written.
//!
//! The first byte of the input says whether it is a log that was taken over; the two behind it, which
//! byte of a good file to replace by the rest.

#![no_main]

use esker::base::blob::{Address, BlobRef, digest};
use esker::base::id::FileId;
use esker::blob::{BlobMeta, BlobReader, BlobWriter};
use esker::env::names::FileKind;
use esker::env::sim::Sim;
use esker::env::{Access, Env, path_in};
use libfuzzer_sys::fuzz_target;
use std::path::Path;
use std::sync::{Arc, OnceLock};

const ID: FileId = FileId(1);

fn dir() -> &'static Path {
    Path::new("/db")
}

/// A small file, what the manifest says of it, and what it holds.
fn good() -> &'static (Vec<u8>, BlobMeta, Vec<BlobRef>) {
    static GOOD: OnceLock<(Vec<u8>, BlobMeta, Vec<BlobRef>)> = OnceLock::new();
    GOOD.get_or_init(|| {
        let sim = Sim::new(1);
        let env: Arc<dyn Env> = sim.clone();
        env.create_dir(dir()).expect("a folder");
        let mut writer = BlobWriter::create(&env, dir(), ID).expect("a file");
        let mut refs = Vec::new();
        for i in 0..50u64 {
            let value = vec![i as u8; 10 + i as usize];
            let blob = BlobRef::raw(Address::new(FileId(7), i * 100).expect("small"), &value);
            writer.add(&blob, &value).expect("room");
            refs.push(blob);
        }
        let last = Address::new(FileId(7), 9999).expect("small");
        let meta = writer.finish(vec![(refs[0].address, last)]).expect("a blob file");
        let bytes = sim.read_file(&path_in(dir(), FileKind::Blob.name(ID))).expect("its bytes");
        (bytes, meta, refs)
    })
}

fn read(bytes: Vec<u8>, meta: &BlobMeta, refs: &[BlobRef]) {
    let sim = Sim::new(1);
    let env: Arc<dyn Env> = sim.clone();
    env.create_dir(dir()).expect("a folder");
    sim.write_file(&path_in(dir(), FileKind::Blob.name(ID)), bytes).expect("a file");
    let Ok(reader) = BlobReader::open(&env, dir(), meta, Access::Mapped) else { return };
    for blob in refs {
        if let Ok(value) = reader.read(blob) {
            assert_eq!(digest(&value), blob.digest);
        }
    }
    let _ = reader.walk(|blob, stored| {
        assert_eq!(stored.len(), blob.stored as usize);
        Ok(())
    });
}

fuzz_target!(|data: &[u8]| {
    let Some((&kind, data)) = data.split_first() else { return };
    let (whole, meta, refs) = good();
    let length = data.len() as u64;
    let any = if kind % 2 == 1 {
        BlobMeta::adopted(ID, length, 256, &[])
    } else {
        BlobMeta { bytes: length, ..meta.clone() }
    };
    read(data.to_vec(), &any, refs);
    let Some(([a, b], change)) = data.split_first_chunk::<2>() else { return };
    let mut bytes = whole.clone();
    let at = usize::from(u16::from_le_bytes([*a, *b])) % bytes.len();
    for (place, byte) in bytes.iter_mut().skip(at).zip(change) {
        *place = *byte;
    }
    read(bytes, meta, refs);
});
