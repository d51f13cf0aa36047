//! A log: reading any bytes ends, strictly and in salvage, as Esker's log and as the `sst` crate's.
//!
//! Bytes that a fuzzer makes have no valid checksum, so a second run seals them as the payload of a
//! frame: that reaches entries and marks.

#![no_main]

use esker::base::id::FileId;
use esker::env::Map;
use esker::log::frame::{Layout, place, write};
use esker::log::reader::{LogReader, Promise};
use libfuzzer_sys::fuzz_target;
use std::sync::Arc;

#[derive(Debug)]
struct Bytes(Vec<u8>);

impl Map for Bytes {
    fn bytes(&self) -> &[u8] {
        &self.0
    }
}

fn read(mut reader: LogReader, bytes: usize) {
    let mut frames = 0;
    loop {
        while let Ok(Some(frame)) = reader.next() {
            frames += 1;
            assert!(frame.at < frame.end && frame.entries().count() > 0);
        }
        assert!(frames <= bytes, "every frame takes bytes of its own");
        if reader.salvage().is_none() {
            break;
        }
    }
}

fuzz_target!(|data: &[u8]| {
    let mut sealed = Vec::new();
    write(&place(0, data.len() as u64, Layout::Whole), data, &mut sealed);
    for bytes in [data.to_vec(), sealed] {
        let len = bytes.len();
        let map = Arc::new(Bytes(bytes));
        read(LogReader::new(FileId(1), map.clone(), Promise::default()), len);
        read(LogReader::foreign("fuzzed", map), len);
    }
});
