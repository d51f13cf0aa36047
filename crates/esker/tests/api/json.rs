//! Pairs as JSON Lines: what goes out comes in again, and nothing else does.

use super::{folder, open, pairs};
use esker::ErrorKind;

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
    use std::io::{BufReader, Read};
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
    assert!(error.message().contains("line 2"), "{error}");
    assert_eq!(pairs(c.iter()), "a=1 ");
    let error = c.export_json(&mut [0_u8; 5][..]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io);
}
