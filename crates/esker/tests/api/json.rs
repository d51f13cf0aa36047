//! Pairs as JSON Lines: what goes out comes in again, and nothing else does.

use super::{folder, open, pairs, small};
use esker::{Change, Db, ErrorKind};
use std::io::{BufReader, Read};

fn exported(c: &esker::Collection) -> String {
    let mut out = Vec::new();
    let count = c.export_json(&mut out).unwrap();
    let text = String::from_utf8(out).unwrap();
    assert_eq!(text.lines().count() as u64, count);
    text
}

/// HEST-24: export, import, compare.
#[test]
fn what_is_exported_and_imported_is_equal_to_the_byte() {
    let (from, to) = (folder(), folder());
    let (_db, c) = open(from.path());
    let (_other, d) = open(to.path());
    c.insert("", "").unwrap();
    let odd = ["\0\n\r\t\"\\/\u{7f}\u{80}\u{2028}", "grüße \u{1f600}", "{\"key\":1}"];
    odd.iter().for_each(|text| c.insert(text, text).unwrap());
    for byte in 0..=255_u8 {
        c.insert([byte], [byte, 0xc3, byte]).unwrap();
        c.insert([b'k', byte], vec![byte; usize::from(byte) * 40]).unwrap();
    }
    (0..3000_u32).for_each(|n| c.insert(n.to_be_bytes(), n.to_string()).unwrap());
    let text = exported(&c);
    assert_eq!(d.import_json(text.as_bytes()).unwrap(), text.lines().count() as u64);
    assert_eq!(exported(&d), text);
    let all = |c: &esker::Collection| {
        let pairs = c.iter().map(|pair| pair.unwrap());
        pairs.map(|(key, value)| (key.to_vec(), value.to_vec())).collect::<Vec<_>>()
    };
    assert!(all(&c) == all(&d));
}

#[test]
fn an_export_is_of_one_moment_and_lines_are_short() {
    let folder = folder();
    let (db, c) = open(folder.path());
    c.insert("alice", "1").unwrap();
    c.insert([255, 0], [0xff]).unwrap();
    let snapshot = db.snapshot();
    c.clear().unwrap();
    let mut out = Vec::new();
    assert_eq!(c.at(&snapshot).export_json(&mut out).unwrap(), 2);
    let want = "{\"key\":\"alice\",\"value\":\"1\"}\n{\"key_base64\":\"/wA=\",\"value_base64\":\"/w==\"}\n";
    assert_eq!(String::from_utf8(out).unwrap(), want);
    assert_eq!(exported(&c), "");
}

#[test]
fn a_bad_line_is_named_and_only_what_lies_before_it_is_stored() {
    let good = "{\"key\":\"a\",\"value\":\"1\"}\n{\"value\":\"2\", \"key_base64\":\"Yg==\"}\n";
    let long = format!("{{\"key\":\"{}\",\"value\":\"\"}}", "k".repeat(70_000));
    for (bad, why) in [
        ("", "want a pair as one JSON object"),
        ("[1]", "want a pair as one JSON object"),
        ("{\"key\":\"c\",\"value\":\"3\"} x", "want a pair as one JSON object"),
        ("{\"key\":\"c\",\"value\":3}", "found \"{\\\"key\\\":\\\"c\\\",\\\"value\\\":3}\""),
        ("{\"key\":\"c\",\"key\":\"c\",\"value\":\"3\"}", "duplicate field"),
        ("{\"key\":\"c\",\"value\":\"3\",\"time\":\"\"}", "unknown field `time`"),
        ("{\"key\":\"c\"}", "want value or value_base64, found neither"),
        ("{\"key\":\"c\",\"key_base64\":\"Yw==\",\"value\":\"\"}", "found both"),
        ("{\"key_base64\":\"Y\",\"value\":\"3\"}", "want base64 in key_base64"),
        ("{\"key\":\"\\ud800\",\"value\":\"\"}", "want a pair as one JSON object"),
        (&long, "key"),
    ] {
        let folder = folder();
        let (_db, c) = open(folder.path());
        let text = format!("{good}{bad}\n{{\"key\":\"z\",\"value\":\"9\"}}\n");
        let error = c.import_json(text.as_bytes()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        let message = error.message();
        assert!(message.starts_with("line 3: ") && message.contains(why), "{message}");
        assert!(message.ends_with("the 2 pairs before it are stored"), "{message}");
        assert_eq!(pairs(c.iter()), "a=1 b=2 ");
    }
}

/// An error of the input in the middle of it, and one of the output.
#[test]
fn errors_of_input_and_output_are_told_as_such() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::ConnectionReset.into())
        }
    }
    let folder = folder();
    let (_db, c) = open(folder.path());
    let input = "{\"key\":\"a\",\"value\":\"1\"}\n".as_bytes().chain(Broken);
    let error = c.import_json(BufReader::new(input)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io);
    assert!(error.message().contains("line 2 behind 1 pairs that are stored"), "{error}");
    assert_eq!(pairs(c.iter()), "a=1 ");
    let error = c.export_json(&mut [0_u8; 5][..]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io);
}

/// White space, escapes and times at their ends; and no bytes that only look like a pair.
#[test]
fn lines_that_others_write_are_taken_and_nothing_that_is_no_pair() {
    let folder = folder();
    let (_db, c) = open(folder.path());
    let good = "{\"key\":\"a\",\"value\":\"1\"}\r\n \t{ \"value\" : \"\\u0032\", \"key\" : \"b\" } \n\
        {\"key\":\"c\",\"value\":\"3\",\"expires\":18446744073709551615}\n\
        {\"key\":\"d\",\"value\":\"4\",\"expires\":0}";
    assert_eq!(c.import_json(good.as_bytes()).unwrap(), 4);
    assert_eq!(pairs(c.iter()), "a=1 b=2 c=3 ");
    assert!(!exported(&c).contains("expires"), "{}", exported(&c));
    let line = |rest: &[u8]| [b"{\"key\":\"x\",", rest, b"}\n"].concat();
    let bad = [
        "\u{feff}{\"key\":\"x\",\"value\":\"\"}\n".as_bytes().to_vec(),
        b"\n".to_vec(),
        line(b"\"value\":\"\xff\""),
        line(b"\"value\":null"),
        line(b"\"value\":\"\",\"expires\":-1"),
        line(b"\"value\":\"\",\"expires\":1.5"),
        line(b"\"value\":\"\",\"expires\":18446744073709551616"),
        line(b"\"value\":\"\"}{\"key\":\"y\",\"value\":\"\""),
    ];
    for bad in bad {
        let error = c.import_json(&bad[..]).unwrap_err();
        let text = String::from_utf8_lossy(&bad);
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{text}");
        assert!(error.message().starts_with("line 1: "), "{error}");
        assert!(error.message().ends_with("the 0 pairs before it are stored"), "{error}");
        assert_eq!(pairs(c.iter()), "a=1 b=2 c=3 ", "{text}");
    }
}

/// A collection that is deleted beside its import: how far it came is told.
#[test]
fn a_commit_that_fails_tells_how_many_pairs_are_stored() {
    struct Deletes(Option<Db>);
    impl Read for Deletes {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            let deleted =
                self.0.take().map(|db| db.delete_collection(&db.collection("c").unwrap()));
            deleted.transpose().map(|_| 0).map_err(std::io::Error::other)
        }
    }
    let folder = folder();
    let (db, c) = open(folder.path());
    let lines = (0..1500).map(|n| format!("{{\"key\":\"{n}\",\"value\":\"\"}}\n"));
    let lines: String = lines.collect();
    let input = BufReader::new(lines.as_bytes().chain(Deletes(Some(db.clone()))));
    let error = c.import_json(input).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    assert!(error.message().starts_with("import behind 1000 pairs: "), "{error}");
}

/// What fits into a batch alone fits, whatever lies before it: so a long value begins a batch.
#[test]
fn a_long_value_is_not_put_beside_what_was_gathered() {
    let folder = folder();
    let db = small().keep_logs(1 << 30).open(folder.path()).unwrap();
    let c = db.collection("c").unwrap();
    let from = db.snapshot().sequence() + 1;
    let line = |(key, len): &(u8, usize)| {
        format!("{{\"key\":\"{key}\",\"value\":\"{}\"}}\n", "v".repeat(*len))
    };
    let lines = [(0, 10), (1, 10), (2, 2 << 20), (3, 10), (4, 900 << 10), (5, 200 << 10)];
    let text: String = lines.iter().map(line).collect();
    assert_eq!(c.import_json(text.as_bytes()).unwrap(), 6);
    db.sync().unwrap();
    let mut changes = db.changes(from).unwrap();
    let mut counts = Vec::new();
    while let Some(change) = changes.try_next().unwrap() {
        let Change::Batch { operations, .. } = change else { panic!("{change:?}") };
        counts.push(operations.len());
    }
    assert_eq!(counts, [2, 1, 2, 1]);
}
