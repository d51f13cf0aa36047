//! Cuts, flips, zeros, moved lines, foreign files, hostile text.

use super::super::blobs::tests::{at, cleaned, cleaning, dead, kills, two_files};
use super::super::state::tests::{compaction, flush, meta, placed, three_runs};
use super::super::store::Store;
use super::*;
use crate::base::id::SeqNo;
use crate::env::sim::Sim;
use crate::manifest::Held;
use proptest::prelude::*;

const DIR: &str = "db";

fn dir() -> &'static Path {
    Path::new(DIR)
}

fn world() -> (Arc<Sim>, Arc<dyn Env>) {
    let sim = Sim::new(7);
    let env: Arc<dyn Env> = sim.clone();
    env.create_dir(dir()).unwrap();
    (sim, env)
}

fn path(id: u64) -> std::path::PathBuf {
    path_in(dir(), FileKind::Manifest.name(FileId(id)))
}

/// A manifest numbered 6 of four transactions: its bytes, and after each transaction its end and
/// the state.
fn sample() -> (Vec<u8>, Vec<(usize, State)>) {
    let (sim, env) = world();
    let mut store = Store::create(&env, dir(), FileId(6), &three_runs()).unwrap();
    let mut steps = Vec::new();
    let mut note = |store: &Store| {
        steps.push((usize::try_from(store.byte_count()).unwrap(), store.state().clone()));
    };
    note(&store);
    let merged = vec![placed(1, 4, meta(8, ("a", "z"), (3, 20)))];
    let edits = [
        compaction(store.state(), &[3, 4, 5], merged),
        Edit { next_file: Some(FileId(11)), add_log: Some(FileId(10)), ..Edit::default() },
        flush(
            (0..5)
                .map(|i| placed(0, 5, meta(11 + i, ("k", "k"), (31, 40))))
                .map(distinct)
                .collect(),
            3,
        ),
    ];
    for edit in edits {
        store.append(&edit).unwrap();
        note(&store);
    }
    (sim.read_file(&path(6)).unwrap(), steps)
}

/// The same segment with a key of its own.
fn distinct(mut placed: super::super::Placed) -> super::super::Placed {
    let key = [b"\0\0\0\x01k", placed.meta.id.to_string().as_bytes()].concat();
    placed.meta.smallest = key.clone().into();
    placed.meta.largest = key.into();
    placed
}

fn read_bytes(bytes: &[u8]) -> Result<Replayed> {
    replay(FileId(6), bytes, &mut |_| {})
}

/// SST-19, SST-K5: cut at every byte: the last whole transaction counts, the rest is torn.
#[test]
fn a_cut_at_every_byte_leaves_the_last_whole_transaction() {
    let (bytes, steps) = sample();
    for cut in 0..=bytes.len() {
        let read = read_bytes(&bytes[..cut]).unwrap();
        let want = steps.iter().rev().find(|(end, _)| *end <= cut);
        assert_eq!(read.state.as_ref(), want.map(|(_, state)| state), "cut at {cut}");
        assert_eq!(read.whole, want.map_or(0, |(end, _)| *end), "cut at {cut}");
    }
}

/// F-33. What is ambiguous is one zero byte beside a border of a sector, in the last transaction.
#[test]
fn every_flipped_bit_is_damage_or_one_of_the_few_that_look_like_a_tear() {
    let (bytes, steps) = sample();
    let last = steps[steps.len() - 2].0;
    let mut ambiguous = 0;
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        match read_bytes(&flipped) {
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Corruption, "bit {bit}: {error}");
                assert!(error.message().starts_with("manifest-000006 at byte "), "{error}");
            }
            Ok(read) => {
                assert!(bit / 8 >= last && flipped[bit / 8] == 0, "bit {bit}");
                assert_eq!(read.state.as_ref(), Some(&steps[steps.len() - 2].1));
                ambiguous += 1;
            }
        }
    }
    assert!(ambiguous <= 2 * bytes.len().div_ceil(512), "{ambiguous} ambiguous");
}

/// F-35: a zeroed or stale sector anywhere before the last transaction.
#[test]
fn a_lost_sector_is_damage_unless_it_lies_in_the_last_transaction() {
    let (bytes, steps) = sample();
    let last = steps[steps.len() - 2].0;
    assert!(bytes.len() - last > 512, "the last transaction must outlive a sector");
    for start in (0..bytes.len()).step_by(512) {
        let end = bytes.len().min(start + 512);
        let mut lost = bytes.clone();
        lost[start..end].fill(0);
        match read_bytes(&lost) {
            Err(error) => assert!(start < last, "{error}"),
            Ok(read) => {
                assert!(start >= last, "sector at {start}");
                assert_eq!(read.whole, last);
            }
        }
        let mut stale = bytes.clone();
        let older: Vec<u8> = bytes[..end - start].to_vec();
        stale[start..end].copy_from_slice(&older);
        assert!(start == 0 || read_bytes(&stale).is_err(), "stale sector at {start}");
    }
}

/// F-36: lines and transactions lost, doubled, exchanged.
#[test]
fn a_line_that_is_not_where_it_was_written_is_damage() {
    let (bytes, _) = sample();
    let lines: Vec<&[u8]> = bytes.split_inclusive(|&byte| byte == b'\n').collect();
    let damaged = |lines: Vec<&[u8]>, what: &str| {
        let read = read_bytes(&lines.concat());
        assert!(read.is_err(), "{what}");
    };
    for i in 0..lines.len() - 1 {
        let mut lost = lines.clone();
        lost.remove(i);
        damaged(lost, &format!("line {i} lost"));
        let mut swapped = lines.clone();
        swapped.swap(i, i + 1);
        damaged(swapped, &format!("line {i} moved"));
    }
    for i in 0..lines.len() {
        let mut doubled = lines.clone();
        doubled.insert(i, lines[i]);
        damaged(doubled, &format!("line {i} doubled"));
    }
}

#[test]
fn zeros_behind_the_last_transaction_are_a_tear_but_not_before_another_one() {
    let (bytes, steps) = sample();
    let padded = [&bytes[..], &[0; 700]].concat();
    let read = read_bytes(&padded).unwrap();
    assert_eq!((read.whole, read.state.as_ref()), (bytes.len(), Some(&steps[3].1)));
    // The second transaction zeroed: the ends of the third and fourth show that it was acknowledged.
    let mut holed = bytes;
    holed[steps[0].0..steps[1].0].fill(0);
    let error = read_bytes(&holed).map(|_| ()).unwrap_err();
    assert!(error.message().contains("another transaction"), "{error}");
}

/// F-2: the last line feed alone in its sector, and that sector lost. Found by the crash harness.
#[test]
fn a_lost_sector_that_held_the_last_line_feed_alone_is_a_tear() {
    let manifest = |key_bytes: usize| {
        let (sim, env) = world();
        let mut store = Store::create(&env, dir(), FileId(6), &three_runs()).unwrap();
        let before = store.state().clone();
        let mut added = distinct(placed(0, 5, meta(8, ("k", "k"), (31, 40))));
        added.meta.largest = [&*added.meta.smallest, &vec![b'x'; key_bytes]].concat().into();
        store.append(&flush(vec![added], 0)).unwrap();
        (sim.read_file(&path(6)).unwrap(), before)
    };
    let alone = (1..=SECTOR_BYTES).map(manifest).find(|(b, _)| b.len() % SECTOR_BYTES == 1);
    let (mut bytes, before) = alone.unwrap();
    assert!(read_bytes(&bytes).unwrap().state.is_some_and(|state| state != before));
    *bytes.last_mut().unwrap() = 0;
    assert_eq!(read_bytes(&bytes).unwrap().state, Some(before));
    // Any other byte there is damage.
    *bytes.last_mut().unwrap() = b'x';
    assert!(read_bytes(&bytes).is_err());
}

fn sealed(file: u64, texts: &[&str]) -> Vec<u8> {
    let (mut chain, mut bytes) = (Chain::new(FileId(file)), Vec::new());
    texts.iter().for_each(|text| chain.seal(text, &mut bytes));
    bytes
}

/// F-38, F-39: what a newer build wrote is refused by name; what nobody wrote is damage.
#[test]
fn newer_and_hostile_lines_with_good_checksums() {
    let header = "esker manifest 1 000006";
    let total = format!("total {0} dropped={0}", "0".repeat(32));
    let cases: [(&[&str], ErrorKind, &str); 12] = [
        (&["esker manifest 2 000006"], ErrorKind::Unsupported, "version 2"),
        (&["esker manifest 99 000006 colour"], ErrorKind::Unsupported, "version 99"),
        (&["esker manifest 1 000007"], ErrorKind::Corruption, "000006"),
        (&["esker manifest x"], ErrorKind::Corruption, "esker manifest 1"),
        (&["hello"], ErrorKind::Corruption, "esker manifest 1"),
        (&[header, "colour red", "end 1"], ErrorKind::Unsupported, "colour"),
        (&[header, "log 000002 colour=red", "end 1"], ErrorKind::Unsupported, "colour"),
        (&[header, "end 1"], ErrorKind::Corruption, "total"),
        (&[header, &total, "end 2"], ErrorKind::Corruption, "end 1"),
        (&[header, &total, "end 1", &total, "end 2"], ErrorKind::Corruption, "first transaction"),
        (&[header, &total, "end 1", "clean", "end 2"], ErrorKind::Corruption, "first transaction"),
        (&[header, &total, "remove seg-000001", "end 1"], ErrorKind::Corruption, "whole state"),
    ];
    for (texts, kind, named) in cases {
        let error = read_bytes(&sealed(6, texts)).map(|_| ()).unwrap_err();
        assert_eq!(error.kind(), kind, "{texts:?}: {error}");
        assert!(error.message().contains(named), "{texts:?}: {error}");
        assert!(error.message().contains("manifest-000006"), "{texts:?}: {error}");
    }
}

/// F-39: a long hostile file is read in time that grows with its length.
#[test]
fn a_megabyte_of_one_line_edits_or_zeros_or_lines_is_read_at_once() {
    let total = format!("total {0} dropped={0}", "0".repeat(32));
    let mut texts = vec!["esker manifest 1 000006".to_owned(), total, "end 1".to_owned()];
    texts.extend((2..40_000).flat_map(|n| ["flushed 0".to_owned(), format!("end {n}")]));
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let bytes = sealed(6, &texts);
    assert_eq!(read_bytes(&bytes).unwrap().transactions, 39_999);
    assert!(read_bytes(&vec![0; 1 << 20]).unwrap().state.is_none());
    assert!(read_bytes(&vec![b'\n'; 1 << 20]).is_err());
    assert!(read_bytes(&b"\0\n".repeat(1 << 19)).unwrap().state.is_none());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = read_bytes(&bytes);
    }

    #[test]
    fn no_printable_lines_make_it_panic(texts in prop::collection::vec("[ -~]{0,40}", 0..12)) {
        let mut all = vec!["esker manifest 1 000006"];
        all.extend(texts.iter().map(String::as_str));
        let _ = read_bytes(&sealed(6, &all));
    }
}

fn list(env: &Arc<dyn Env>) -> Vec<Listed> {
    env.list(dir()).unwrap()
}

fn read_dir(env: &Arc<dyn Env>) -> Result<Option<(State, ReadReport)>> {
    Store::read(env, dir(), &list(env))
}

/// F-8, F-32, F-37: which file wins, and when there is no database.
#[test]
fn the_highest_complete_manifest_wins() {
    let (sim, env) = world();
    assert_eq!(read_dir(&env).unwrap(), None, "nothing");
    let (whole, steps) = sample();
    let put = |id: u64, bytes: &[u8]| sim.write_file(&path(id), bytes).unwrap();
    put(9, &sealed(9, &["esker manifest 1 000009", "log 000002"])[..40]);
    assert_eq!(read_dir(&env).unwrap(), None, "only a torn first creation");
    assert_eq!(next_file(&list(&env)).unwrap(), FileId(10));
    sim.write_file(&dir().join("seg-000008"), b"x").unwrap();
    let error = read_dir(&env).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corruption);
    assert!(error.message().contains("manifest-000009 at byte 40"), "{error}");

    put(6, &whole);
    let (state, report) = read_dir(&env).unwrap().unwrap();
    assert_eq!((report.file, &report.others[..]), (FileId(6), &[FileId(9)][..]));
    assert_eq!((report.transactions, report.torn_bytes), (4, 0));
    assert_eq!(state, steps[3].1);
    // A stray file's number is never used again (F-11).
    sim.write_file(&dir().join("log-000030"), b"").unwrap();
    assert_eq!(read_dir(&env).unwrap().unwrap().0.next_file, FileId(31));
    // An older copy under a newer number (F-36), and damage in the highest, are not passed over.
    put(12, &whole);
    assert_eq!(read_dir(&env).unwrap_err().kind(), ErrorKind::Corruption);
    sim.remove_file(&path(12)).unwrap();
    sim.remove_file(&path(9)).unwrap();
    sim.remove_file(&path(6)).unwrap();
    assert_eq!(read_dir(&env).unwrap_err().kind(), ErrorKind::Corruption, "a missing manifest");
}

/// F-41: links, folders and odd names are not manifests.
#[test]
fn strangers_in_the_folder_are_ignored() {
    let (sim, env) = world();
    sim.write_file(&path(6), sample().0).unwrap();
    let mut names = list(&env);
    let stranger = |name: &str, is_file| Listed { name: name.into(), is_file, bytes: 0 };
    names.push(stranger("manifest-000099", false));
    names.push(stranger("manifest-99", true));
    names.push(stranger("manifest-000099.tmp", true));
    let (_, report) = Store::read(&env, dir(), &names).unwrap().unwrap();
    assert_eq!((report.file, report.others), (FileId(6), vec![]));
    names.push(stranger("seg-18446744073709551615", true));
    assert_eq!(Store::read(&env, dir(), &names).unwrap_err().kind(), ErrorKind::Corruption);
}

#[test]
fn a_person_can_read_it_and_its_chain() {
    let (sim, env) = world();
    let (bytes, steps) = sample();
    sim.write_file(&path(6), &bytes[..bytes.len() - 1]).unwrap();
    let text = describe(&env, dir(), &list(&env)).unwrap().join("\n");
    for part in [
        "manifest-000006: ",
        "transaction 1 at byte 0: everything",
        ": compaction\n  removed  seg-000003",
        "added    seg-000008: level 1, run 4, 10 entries (2 deletes), 1008 bytes, numbers 3 to 20",
        &format!("total {}", steps[2].1.total()),
        "torn tail at byte",
    ] {
        assert!(text.contains(part), "{part} in\n{text}");
    }
    let (mut ordinals, mut texts) = (Vec::new(), String::new());
    let mut each = |step: &Step<'_>| {
        assert_eq!(*step.state, steps[ordinals.len()].1);
        ordinals.push(step.ordinal);
        texts.push_str(step.text);
    };
    audit(&env, dir(), &list(&env), &mut each).unwrap().unwrap();
    assert_eq!(ordinals, [1, 2, 3]);
    assert_eq!(texts.as_bytes(), &bytes[..steps[2].0]);
}

/// MACE-17: who came, who died, who went.
#[test]
fn a_person_can_read_of_blob_files() {
    let (_, env) = world();
    let mut store = Store::create(&env, dir(), FileId(6), &two_files()).unwrap();
    store.append(&kills(vec![dead(42, &[at(42, 3000), at(42, 4000)])])).unwrap();
    let late = vec![dead(60, &[at(42, 3000), at(42, 4000)])];
    let edit = cleaning(store.state(), &[41, 42], vec![cleaned(60)], late);
    store.append(&edit).unwrap();
    let text = describe(&env, dir(), &list(&env)).unwrap().join("\n");
    for part in [
        "added    blob-000041: 10 values of 3000 bytes, 10000 bytes, addresses 000041:0 to \
         000041:9999 in 1 interval\n",
        "died     2 values of 600 bytes in blob-000041, 8 of 10 live\n",
        "2 blob files, 5400 of 6000 stored bytes live\n",
        "transaction 2 at byte ",
        "died     2 values of 600 bytes in blob-000042, 8 of 10 live\n",
        ": clean\n  removed  blob-000041\n  removed  blob-000042\n  added    blob-000060: 18 values",
        "1 blob file, 4800 of 5400 stored bytes live\n",
    ] {
        assert!(text.contains(part), "{part} in\n{text}");
    }
    assert_eq!(read_dir(&env).unwrap().unwrap().0, *store.state());
}

/// F-38, F-39: lines of blob files, with good checksums.
#[test]
fn newer_and_hostile_lines_of_blob_files() {
    let header = "esker manifest 1 000006";
    let total = format!("total {0} dropped={0}", "0".repeat(32));
    let blob = format!(
        "add-blob blob-000004 bytes=18446744073709551615 values=18446744073709551610 \
         stored=18446744073709551615 least=0 setsum={} intervals=000004:0..000004:17179869183",
        "0".repeat(32)
    );
    let dead = |list: &str| format!("dead blob-000004 bytes=7 count=2 addresses={list}");
    let tick = "ticks blob-000004 up1=18446744073709551615 up2=0";
    let last = "tick 18446744073709551615";
    let read = |lines: &[&str]| {
        let mut texts = vec![header, &total, "next-file 000005", &blob];
        texts.extend(lines);
        read_bytes(&sealed(6, &texts))
    };
    // Figures at their limits are no damage, and the clock stops there.
    let good = [tick, last, "end 1", &dead("000004:5,+9"), "end 2"];
    let state = read(&good).unwrap().state.unwrap();
    assert_eq!((state.tick, state.blobs.iter().next().unwrap().dead_values), (u64::MAX, 2));
    let run = dead("000004:0,+1*1152921504606846976");
    let cases: [(&[&str], ErrorKind, &str); 9] = [
        (&["end 1"], ErrorKind::Corruption, "ticks"),
        (&[tick, "end 1"], ErrorKind::Corruption, "ascend"),
        (&[tick, last, &run, "end 1"], ErrorKind::Corruption, "a line of dead"),
        (&[tick, last, &dead("000004:5"), "end 1"], ErrorKind::Corruption, "a line of dead"),
        (&[tick, last, &dead("000005:5,+9"), "end 1"], ErrorKind::Corruption, "its intervals"),
        (&[tick, last, "end 1", tick, "end 2"], ErrorKind::Corruption, "first transaction"),
        (&[tick, last, "end 1", last, "end 2"], ErrorKind::Corruption, "first transaction"),
        (
            &[tick, last, "end 1", "dead blob-000004 colour=1", "end 2"],
            ErrorKind::Unsupported,
            "colour",
        ),
        (
            &[tick, last, "end 1", "remove-blob blob-000004", "end 2"],
            ErrorKind::Corruption,
            "live values",
        ),
    ];
    for (texts, kind, named) in cases {
        let error = read(texts).map(|_| ()).unwrap_err();
        assert_eq!(error.kind(), kind, "{texts:?}: {error}");
        assert!(error.message().contains(named), "{texts:?}: {error}");
        assert!(error.message().contains("manifest-000006"), "{texts:?}: {error}");
    }
}

/// Golden bytes: the format.
#[test]
fn a_small_manifest_reads_as_documented() {
    let (sim, env) = world();
    let mut state = State::default();
    state.apply(&flush(vec![placed(0, 2, meta(3, ("a", "b"), (1, 9)))], 1)).unwrap();
    (state.next_file, state.held) = (FileId(7), Held::nothing(SeqNo(9)));
    let mut store = Store::create(&env, dir(), FileId(6), &state).unwrap();
    let edit = Edit { flushed: Some(SeqNo(9)), log_min: Some(FileId(4)), ..Edit::default() };
    store.append(&edit).unwrap();
    let text = String::from_utf8(sim.read_file(&path(6)).unwrap()).unwrap();
    assert_eq!(text, GOLDEN);
}

const GOLDEN: &str = concat!(
    "85a9106c esker manifest 1 000006\n",
    "407838b6 add level=0 run=2 seg-000003 bytes=1003 entries=10 deletes=2 range-deletes=1 ",
    "seq=1..9 setsum=00000000000000000000000300030003 ",
    r"smallest=\x00\x00\x00\x01a largest=\x00\x00\x00\x01b",
    "\nedf22355 tick 1\n",
    "9024924f log 000000\n",
    "da626cd9 flushed 9\n",
    "b164588b next-file 000007\n",
    "19c41b99 total 00000000000000000000000300030004 dropped=00000000000000000000000000000001\n",
    "f8bac6d1 end 1\n",
    "b003c807 log 000004\n",
    "58acbe68 flushed 9\n",
    "cfa56c7b end 2\n",
);
