//! Edits as lines, and back.

use super::*;

fn everything() -> (Edit, Whole) {
    let meta = SegmentMeta {
        id: FileId(12),
        bytes: 9310,
        entries: 100,
        deletes: 3,
        range_deletes: 1,
        blob_bytes: 70_000,
        expiries: Expiries { count: 7, first: Time(8), half: Time::NEVER, last: Time(9) },
        smallest: (*b"\0\0\0\x01a b").into(),
        largest: (*b"\0\0\0\x01\xff").into(),
        seq_min: SeqNo(1),
        seq_max: SeqNo(99),
        setsum: Setsum(0xabc),
    };
    let balance = Balance {
        input: Setsum(3),
        output: Setsum(2),
        dropped: Setsum(5),
        created: Setsum(4),
        reason: Reason::Compaction,
    };
    let at = |file, offset| Address::new(FileId(file), offset).unwrap();
    let blob = BlobMeta {
        id: FileId(41),
        bytes: 67_108_864,
        values: 300,
        stored_bytes: 60_000_000,
        least: 2048,
        setsum: Setsum(0xdef),
        intervals: vec![(at(40, 5), at(40, 5)), (at(41, 0), at(41, 67_108_863))],
    };
    let dead = Dead {
        file: FileId(41),
        bytes: 9000,
        addresses: vec![at(40, 5), at(41, 77), at(41, 3077), at(41, 6077)],
    };
    let edit = Edit {
        add: vec![Placed { level: 1, run: 17, meta }],
        remove: vec![FileId(3), FileId(1_000_000)],
        add_blobs: vec![blob],
        remove_blobs: vec![FileId(38), FileId(39)],
        dead: vec![dead],
        add_log: None,
        log_min: Some(FileId(7)),
        flushed: Some(SeqNo(99)),
        next_file: Some(FileId(43)),
        balance: Some(balance),
        closed: Some(Closed { log: FileId(9), length: 1234, last: SeqNo(150) }),
        keep: vec![Closed { log: FileId(5), length: 77, last: SeqNo(60) }],
        forget: Some(SeqNo(40)),
    };
    let (all, dropped, created) = (Setsum(u128::MAX), Setsum(0), Setsum(6));
    let total = Some(Total { all, dropped, created });
    let logs = vec![FileId(7), FileId(9)];
    let ticks = vec![Ticks { file: FileId(41), up1: 9, up2: 7 }];
    let bulks = vec![(SeqNo(61), SeqNo(70))];
    (edit, Whole { total, logs, tick: Some(12), ticks, bulks, clean: Some(()) })
}

#[test]
fn an_edit_with_everything_reads_back_equal() {
    let (edit, whole) = everything();
    let (mut again, mut whole_again) = (Edit::default(), Whole::default());
    for line in edit.lines(&whole) {
        again.take(&line, &mut whole_again).unwrap();
    }
    assert_eq!((again, whole_again), (edit, whole));
}

/// Golden lines: they are a format.
#[test]
fn the_lines_read_as_documented() {
    let (edit, whole) = everything();
    let zeros = "0".repeat(31);
    let want = [
        "remove seg-000003".to_owned(),
        "remove seg-1000000".to_owned(),
        format!(
            "add level=1 run=17 seg-000012 bytes=9310 entries=100 deletes=3 range-deletes=1 \
             seq=1..99 setsum={}abc smallest=\\x00\\x00\\x00\\x01a\\x20b \
             largest=\\x00\\x00\\x00\\x01\\xff blob-bytes=70000 expiring=7 first=8 \
             half=18446744073709551615 last=9",
            "0".repeat(29)
        ),
        "remove-blob blob-000038".to_owned(),
        "remove-blob blob-000039".to_owned(),
        format!(
            "add-blob blob-000041 bytes=67108864 values=300 stored=60000000 least=2048 \
             setsum={}def intervals=000040:5..000040:5,000041:0..000041:67108863",
            "0".repeat(29)
        ),
        "dead blob-000041 bytes=9000 count=4 addresses=000040:5,000041:77,+3000*2".to_owned(),
        "ticks blob-000041 up1=9 up2=7".to_owned(),
        "tick 12".to_owned(),
        "log 000007".to_owned(),
        "new-log 000007".to_owned(),
        "new-log 000009".to_owned(),
        "flushed 99".to_owned(),
        "next-file 000043".to_owned(),
        format!("balance compaction in={zeros}3 out={zeros}2 dropped={zeros}5 created={zeros}4"),
        format!("total {} dropped={zeros}0 created={zeros}6", "f".repeat(32)),
        "closed log=000009 length=1234 last=150".to_owned(),
        "keep log=000005 length=77 last=60".to_owned(),
        "forget 40".to_owned(),
        "bulk 61..70".to_owned(),
        "clean".to_owned(),
    ];
    assert_eq!(edit.lines(&whole), want);
}

/// Where nothing was created the lines are those of manifests from before there was folding.
#[test]
fn nothing_created_is_not_written() {
    let (mut edit, mut whole) = everything();
    let without = |lines: &[String]| lines.iter().all(|line| !line.contains("created"));
    edit.balance.as_mut().unwrap().created = Setsum::ZERO;
    whole.total.as_mut().unwrap().created = Setsum::ZERO;
    let lines = edit.lines(&whole);
    assert!(without(&lines));
    let (mut again, mut whole_again) = (Edit::default(), Whole::default());
    for line in &lines {
        again.take(line, &mut whole_again).unwrap();
    }
    assert_eq!((again, whole_again), (edit, whole));
}

/// F-38.
#[test]
fn unknown_words_and_fields_are_unsupported_and_named() {
    let (edit, whole) = everything();
    let mut lines = edit.lines(&whole);
    lines.iter_mut().for_each(|line| line.push_str(" colour=red"));
    let mut odd = Vec::new();
    for field in ["length", "blob-bytes", "stored", "intervals", "addresses", "up2", "created"] {
        let renamed = lines.iter().filter(|line| line.contains(&format!(" {field}=")));
        odd.extend(renamed.map(|line| line.replace(field, "colour")));
    }
    assert_eq!(odd.len(), 9);
    odd.extend(lines);
    odd.push("colour red".into());
    odd.push("balance colour in=0".into());
    for line in odd {
        let error = Edit::default().take(&line, &mut Whole::default()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{line}: {error}");
        assert!(error.message().contains("colour"), "{line}: {error}");
    }
}

/// F-39: bad values, cut lines and repeated words are damage, never a panic.
#[test]
fn bad_values_are_corruption() {
    let (edit, whole) = everything();
    for line in edit.lines(&whole) {
        for cut in 0..line.len() {
            let cut = &line[..cut];
            let (mut edit, mut whole) = <(Edit, Whole)>::default();
            if edit.take(cut, &mut whole).is_ok() {
                // A shorter key, or a shorter number at the end, is one too.
                assert_eq!(edit.lines(&whole), [cut]);
                let last = cut.rsplit(['=', ' ']).next().unwrap();
                let number = last.ends_with(|digit: char| digit.is_ascii_digit());
                assert!(number || cut.starts_with("add level="), "{cut}");
            }
        }
    }
    let blob = |from: &str, to: &str| edit.lines(&whole)[5].replace(from, to);
    let dead = |from: &str, to: &str| edit.lines(&whole)[6].replace(from, to);
    let odd = [
        "flushed 72057594037927936".to_owned(),
        "forget 72057594037927936".into(),
        "bulk 61".into(),
        "bulk 61..".into(),
        "keep log=5 length=77 last=60".into(),
        "log 7".into(),
        "remove log-000003".into(),
        "total zz dropped=0".into(),
        edit.lines(&whole)[14].replace(&format!("created={}4", "0".repeat(31)), "created=4"),
        edit.lines(&whole)[14].replace("4", "0"),
        edit.lines(&whole)[2].replace("blob-bytes=70000", "blob-bytes=0"),
        "remove-blob seg-000003".into(),
        "tick 0".into(),
        "tick 01".into(),
        "ticks blob-41 up1=1 up2=1".into(),
        "ticks blob-000041 up1=1 up2=-1".into(),
        blob("blob-000041", "log-000041"),
        blob("values=300", "values=0300"),
        blob("least=2048", "least=4294967296"),
        blob("000041:0..", "000041:0."),
        blob("67108863", "17179869184"),
        dead("count=4", "count=3"),
        dead("count=4", "count=18446744073709551616"),
        dead("bytes=9000", "bytes="),
        dead("+3000*2", "+3000,+3000"),
        dead("+3000*2", "+3000*1152921504606846976"),
        dead("count=4 addresses=000040:5,000041:77,+3000*2", "count=0 addresses="),
    ];
    for line in odd {
        let error = Edit::default().take(&line, &mut Whole::default()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corruption, "{line}");
    }
    let mut twice = Edit::default();
    twice.take("flushed 1", &mut Whole::default()).unwrap();
    assert_eq!(
        twice.take("flushed 1", &mut Whole::default()).unwrap_err().kind(),
        ErrorKind::Corruption
    );
}
