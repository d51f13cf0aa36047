//! The examples in `docs/format.md` are what the engine reads and writes.

use esker::base::batch::Op;
use esker::base::blob::BlobRef;
use esker::base::codec::Compression;
use esker::base::entry::{Entries, put_entry};
use esker::base::id::{CollectionId, FileId, SeqNo};
use esker::base::key::Kind;
use esker::base::time::Time;
use esker::commit::outline::pack;
use esker::env::Map;
use esker::log::reader::LogReader;
use esker::manifest::line::Chain;
use std::path::{Path, PathBuf};
use std::sync::Arc;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn page() -> String {
    std::fs::read_to_string(root().join("docs/format.md")).expect("docs/format.md")
}

/// The fenced examples of one kind.
fn examples(kind: &str) -> Vec<String> {
    let page = page();
    let open = format!("```{kind}\n");
    let bodies = page
        .split(&open)
        .skip(1)
        .map(|rest| rest.split("```").next().expect("a closed fence").to_owned());
    let bodies: Vec<_> = bodies.collect();
    assert!(!bodies.is_empty(), "no example of kind {kind}");
    bodies
}

/// The bytes at the beginnings of lines, up to the first wide gap or word that is none.
fn bytes(text: &str) -> Vec<u8> {
    let line = |line: &str| -> Vec<u8> {
        let line = line.split("    ").next().unwrap_or_default();
        let words = line.split_whitespace().filter(|&word| word != "‖");
        let byte = |word: &str| u8::from_str_radix(word, 16).ok().filter(|_| word.len() == 2);
        words.map_while(byte).collect()
    };
    let is_bytes = |line: &&str| !line.starts_with([' ', '│', '└', '├']);
    text.lines().filter(is_bytes).flat_map(line).collect()
}

#[derive(Debug)]
struct Bytes(Vec<u8>);

impl Map for Bytes {
    fn bytes(&self) -> &[u8] {
        &self.0
    }
}

#[test]
fn the_frame_holds_the_put_that_the_page_says() {
    let map = Arc::new(Bytes(bytes(&examples("frame")[0])));
    let mut log = LogReader::foreign("the page's example", map);
    let frame = log.next().expect("whole").expect("a frame");
    let entry = frame.entries().next().expect("an entry");
    assert_eq!((entry.key, entry.seq.0, entry.value), (&b"\0\0\0\x07alice"[..], 5, &b"1"[..]));
}

#[test]
fn the_entries_decode_to_what_the_page_says() {
    let put_and_delete = bytes(&examples("entries")[0]);
    let entries: Vec<_> = Entries::new(&put_and_delete).map(|e| e.expect("an entry")).collect();
    let shown: Vec<_> = entries.iter().map(|e| (e.key, e.seq.0, e.value)).collect();
    assert_eq!(
        shown,
        [(&b"\0\0\0\x07alice"[..], 5, &b"1"[..]), (&b"\0\0\0\x07bob"[..], 6, &b""[..])]
    );
}

#[test]
fn the_first_block_and_the_footer_are_those_of_the_golden_segment() {
    let golden = root().join("crates/esker/tests/golden/segment-v1.hex");
    let golden = std::fs::read_to_string(golden).expect("the golden segment");
    let golden: String = golden.split_whitespace().collect();
    let hex = |bytes: Vec<u8>| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let examples = examples("hex");
    let (block, footer) = (hex(bytes(&examples[0])), hex(bytes(&examples[1])));
    assert_eq!(golden.get(..block.len()), Some(block.as_str()));
    assert_eq!(golden.get(golden.len() - footer.len()..), Some(footer.as_str()));
}

#[test]
fn the_blob_file_is_the_golden_one() {
    let golden = root().join("crates/esker/tests/golden/blob-v1.hex");
    let golden = std::fs::read_to_string(golden).expect("the golden blob file");
    let shown = bytes(&examples("hex")[2]);
    let shown: String = shown.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(shown, golden.split_whitespace().collect::<String>());
}

#[test]
fn every_line_of_the_manifest_fits_the_chain() {
    let mut chain = Chain::new(FileId(1));
    for line in examples("manifest")[0].lines() {
        chain.check(line.as_bytes()).expect(line);
    }
}

#[test]
fn the_put_that_expires_is_what_is_written() {
    let (kind, collection) = (Kind::Put, CollectionId(7));
    let expires = Some(Time(1_700_000_000_000));
    let mut written = Vec::new();
    put_entry(&mut written, &Op { kind, collection, key: b"eve", value: b"1", expires }, SeqNo(8));
    assert_eq!(written, bytes(&examples("expires")[0]));
}

#[test]
fn the_packed_put_is_what_is_written() {
    let (mut packed, value) = (vec![0; BlobRef::BYTES], [b'e'; 300]);
    let blob = pack(&value, Compression::Lz4, &mut packed);
    packed[..BlobRef::BYTES].copy_from_slice(&blob.encode());
    let (kind, collection) = (Kind::Blob, CollectionId(7));
    let mut written = Vec::new();
    put_entry(
        &mut written,
        &Op { kind, collection, key: b"eve", value: &packed, expires: None },
        SeqNo(7),
    );
    assert_eq!(bytes(&examples("packed")[0]), written, "{written:02x?}");
}
