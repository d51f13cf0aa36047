//! Which edits are taken and which are refused.

use super::*;

pub(crate) fn meta(id: u64, keys: (&str, &str), seqs: (u64, u64)) -> SegmentMeta {
    let full = |key: &str| [b"\0\0\0\x01", key.as_bytes()].concat().into_boxed_slice();
    SegmentMeta {
        id: FileId(id),
        bytes: 1000 + id,
        entries: 10,
        deletes: 2,
        range_deletes: 1,
        blob_bytes: 0,
        expiries: Default::default(),
        smallest: full(keys.0),
        largest: full(keys.1),
        seq_min: SeqNo(seqs.0),
        seq_max: SeqNo(seqs.1),
        setsum: Setsum(u128::from(id) * 0x1_0001_0001),
    }
}

pub(crate) fn placed(level: u32, run: u64, meta: SegmentMeta) -> Placed {
    Placed { level, run, meta }
}

/// A flush of `add` that drops `dropped`.
pub(crate) fn flush(add: Vec<Placed>, dropped: u128) -> Edit {
    let output = add.iter().map(|placed| placed.meta.setsum).sum_up();
    let dropped = Setsum(dropped);
    let flushed = add.iter().map(|placed| placed.meta.seq_max).max();
    let next_file = add.iter().map(|placed| placed.meta.id.next()).max();
    let (input, created) = (output + dropped, Setsum::ZERO);
    let balance = Balance { input, output, dropped, created, reason: Reason::Flush };
    Edit { add, flushed, next_file, balance: Some(balance), ..Edit::default() }
}

/// A compaction of `remove` into `add`, dropping whatever is not in it.
pub(crate) fn compaction(state: &State, remove: &[u64], add: Vec<Placed>) -> Edit {
    let remove: Vec<_> = remove.iter().copied().map(FileId).collect();
    let gone = state.segments().filter(|meta| remove.contains(&meta.id));
    let input = gone.map(|meta| meta.setsum).sum_up();
    let output = add.iter().map(|placed| placed.meta.setsum).sum_up();
    let (dropped, reason) = (input - output, Reason::Compaction);
    let next_file = add.iter().map(|placed| placed.meta.id.next()).max();
    let next_file = next_file.filter(|next| *next > state.next_file);
    let balance = Some(Balance { input, output, dropped, created: Setsum::ZERO, reason });
    Edit { add, remove, next_file, balance, ..Edit::default() }
}

/// Three runs: 7 over 5 over the two segments 3 and 4.
pub(crate) fn three_runs() -> State {
    let mut state = State::default();
    let oldest =
        vec![placed(1, 1, meta(4, ("m", "z"), (2, 10))), placed(1, 1, meta(3, ("a", "l"), (1, 9)))];
    state.apply(&flush(oldest, 77)).unwrap();
    state.apply(&flush(vec![placed(0, 2, meta(5, ("c", "x"), (11, 20)))], 0)).unwrap();
    state.apply(&flush(vec![placed(0, 3, meta(7, ("a", "b"), (21, 30)))], 5)).unwrap();
    state
}

fn ids(state: &State) -> Vec<Vec<u64>> {
    let run = |run: &Arc<Run>| run.segments.iter().map(|meta| meta.id.0).collect();
    state.runs.iter().map(run).collect()
}

fn refuses(state: &State, edit: &Edit, why: &str) {
    let mut after = state.clone();
    let error = after.apply(edit).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corruption);
    assert!(error.message().contains(why), "want \"{why}\" in \"{error}\"");
    assert_eq!(after, *state, "a refused edit changed something");
}

#[test]
fn flushes_stack_newest_first_and_the_total_is_all_that_ever_came_in() {
    let state = three_runs();
    assert_eq!(ids(&state), [vec![7], vec![5], vec![3, 4]]);
    let present = [3, 4, 5, 7].map(|id| meta(id, ("", ""), (0, 0)).setsum).into_iter().sum_up();
    assert_eq!((state.present, state.dropped), (present, Setsum(82)));
    assert_eq!(state.total(), present + Setsum(82));
    assert_eq!((state.flushed, state.next_file), (SeqNo(30), FileId(8)));
}

/// SST-17: a compaction moves sums from present to dropped; the total stays.
#[test]
fn a_compaction_leaves_the_total_as_it_was() {
    let mut state = three_runs();
    let total = state.total();
    let output = vec![placed(1, 4, meta(8, ("a", "z"), (3, 20)))];
    let edit = compaction(&state, &[3, 4, 5], output);
    state.apply(&edit).unwrap();
    assert_eq!(ids(&state), [vec![7], vec![8]]);
    assert_eq!(state.total(), total);
    let edit = compaction(&state, &[7, 8], vec![]);
    state.apply(&edit).unwrap();
    assert!(state.runs.is_empty());
    assert_eq!((state.present, state.dropped), (Setsum::ZERO, total));
}

#[test]
fn a_flush_may_drop_everything_but_must_say_so() {
    let mut state = three_runs();
    let silent = Edit { flushed: Some(SeqNo(40)), ..Edit::default() };
    refuses(&state, &silent, "balance");
    let spoken = Edit { flushed: Some(SeqNo(40)), ..flush(vec![], 9) };
    state.apply(&spoken).unwrap();
    assert_eq!((state.flushed, state.dropped), (SeqNo(40), Setsum(91)));
}

#[test]
fn a_segment_can_move_to_another_run_but_not_change_on_the_way() {
    let mut state = three_runs();
    let same = placed(1, 9, meta(5, ("c", "x"), (11, 20)));
    let mut other = same.clone();
    other.meta.bytes += 1;
    let edit = compaction(&state, &[5], vec![other]);
    refuses(&state, &edit, "seg-000005");
    let edit = compaction(&state, &[5], vec![same]);
    state.apply(&edit).unwrap();
    assert_eq!(state.runs.iter().map(|run| run.number).collect::<Vec<_>>(), [3, 9, 1]);
}

/// Law 6, SST-17: an entry dropped, doubled or altered changes a sum, and every sum is compared.
#[test]
fn an_edit_that_does_not_balance_is_refused() {
    let state = three_runs();
    let good = compaction(&state, &[3, 4], vec![placed(1, 4, meta(8, ("a", "z"), (1, 9)))]);
    state.clone().apply(&good).unwrap();
    let total = state.total();
    let with = |change: &dyn Fn(&mut Balance)| {
        let mut edit = good.clone();
        change(edit.balance.as_mut().unwrap());
        edit
    };
    refuses(&state, &with(&|b| b.input += Setsum(1)), "out + dropped");
    refuses(&state, &with(&|b| b.output += Setsum(1)), "what it adds");
    refuses(&state, &with(&|b| b.dropped += Setsum(1)), "out + dropped");
    let both = with(&|b| {
        b.input += Setsum(1);
        b.dropped += Setsum(1);
    });
    refuses(&state, &both, "what it removes");
    refuses(&state, &with(&|b| b.created += Setsum(1)), "out + dropped - created");
    // What operands were folded to changes nothing of what was ever committed.
    let folds = with(&|b| {
        b.created += Setsum(1);
        b.dropped += Setsum(1);
    });
    let mut folded = state.clone();
    folded.apply(&folds).unwrap();
    assert_eq!((folded.total(), folded.created), (total, Setsum(1)));
    let (edit, whole) = folded.as_edit();
    assert_eq!(State::restore(&edit, &whole).unwrap().total(), total);
    refuses(&state, &with(&|b| b.reason = Reason::Flush), "nothing removed");
    refuses(&state, &Edit { balance: None, ..good.clone() }, "balance");
    refuses(&state, &Edit { remove: vec![FileId(3)], ..good }, "what it removes");
}

/// Law 3.
#[test]
fn what_comes_in_is_newer_than_all_and_lies_above_all_that_may_hold_its_keys() {
    let state = three_runs();
    let overlapping = flush(vec![placed(0, 4, meta(8, ("p", "q"), (30, 31)))], 0);
    refuses(&state, &overlapping, "want above 30");
    let deep = flush(vec![placed(2, 4, meta(8, ("p", "q"), (31, 40)))], 0);
    refuses(&state, &deep, "no such key above it");
    let older = flush(vec![placed(0, 1, meta(8, ("p", "q"), (31, 40)))], 0);
    refuses(&state, &older, "no such key above it");
    let mixed = flush(vec![placed(0, 9, meta(8, ("zz", "zz"), (31, 40)))], 0);
    let mut free = state.clone();
    free.apply(&mixed).unwrap();
    // Keys that nothing above holds may go as deep as they like: sorted data that is ingested.
    let mut free = state;
    free.apply(&flush(vec![placed(6, 9, meta(8, ("zz", "zz"), (31, 40)))], 0)).unwrap();
}

/// Law 3.
#[test]
fn what_moves_down_passes_nothing_that_may_hold_its_keys() {
    let mut state = three_runs();
    state.apply(&flush(vec![placed(0, 4, meta(8, ("b", "d"), (31, 40)))], 0)).unwrap();
    // Run 2 with its keys c to x lies between runs 4 and 1.
    let output = vec![placed(1, 1, meta(9, ("a", "l"), (1, 40)))];
    refuses(&state, &compaction(&state, &[3, 7, 8], output), "seg-000008");
    let apart = compaction(&state, &[7], vec![placed(1, 6, meta(7, ("a", "b"), (21, 30)))]);
    let mut moved = state.clone();
    moved.apply(&apart).unwrap();
    // Into a run that keeps a segment with such keys.
    let below = compaction(&state, &[5], vec![placed(1, 1, meta(9, ("m", "n"), (11, 20)))]);
    refuses(&state, &below, "which stays");
    let up = compaction(&state, &[3], vec![placed(0, 9, meta(9, ("a", "l"), (1, 9)))]);
    refuses(&state, &up, "which stays");
    let split =
        vec![placed(1, 6, meta(9, ("a", "b"), (1, 9))), placed(1, 5, meta(10, ("c", "d"), (1, 9)))];
    refuses(&state, &compaction(&state, &[3], split), "run 6");
}

/// Law 3: the numbers of one level's runs say their age, and level 0 is checked besides.
#[test]
fn runs_of_level_0_are_disjoint_in_numbers_and_levels_of_a_run_agree() {
    let state = three_runs();
    let odd = placed(1, 3, meta(5, ("c", "x"), (11, 20)));
    refuses(&state, &compaction(&state, &[5], vec![odd]), "level of run 3");
    let (mut edit, whole) = state.as_edit();
    for placed in &mut edit.add {
        if placed.run == 3 {
            placed.run = 1;
            placed.level = 0;
        } else if placed.run == 1 {
            placed.run = 9;
        }
    }
    assert!(State::restore(&edit, &whole).unwrap_err().message().contains("disjoint numbers"));
}

#[test]
fn segments_of_a_run_share_no_key() {
    let state = three_runs();
    let touching = vec![
        placed(0, 4, meta(8, ("a", "k"), (31, 40))),
        placed(0, 4, meta(9, ("k", "z"), (31, 40))),
    ];
    refuses(&state, &flush(touching, 0), "a key in both");
}

#[test]
fn numbers_only_rise_and_segments_stay_below_them() {
    let state = three_runs();
    let default = Edit::default;
    refuses(&state, &Edit { flushed: Some(SeqNo(29)), ..default() }, "flushed");
    refuses(&state, &Edit { next_file: Some(FileId(7)), ..default() }, "next-file");
    let mut later = state.clone();
    let edit = Edit { log_min: Some(FileId(6)), ..default() };
    later.apply(&edit).unwrap();
    refuses(&later, &Edit { log_min: Some(FileId(5)), ..default() }, "log");

    let fresh = || flush(vec![placed(0, 4, meta(8, ("a", "b"), (31, 40)))], 0);
    refuses(&state, &Edit { next_file: None, ..fresh() }, "seg-000008");
    refuses(&state, &Edit { flushed: Some(SeqNo(39)), ..fresh() }, "seg-000008");
    let twice = flush(vec![placed(0, 4, meta(5, ("a", "b"), (31, 40)))], 0);
    refuses(&state, &Edit { next_file: None, ..twice }, "a live one");
    refuses(&state, &compaction(&state, &[6], vec![]), "remove");
    let doubled = Edit { remove: vec![FileId(5), FileId(5)], ..compaction(&state, &[5], vec![]) };
    refuses(&state, &doubled, "remove");
}

#[test]
fn a_segment_that_contradicts_itself_is_refused() {
    let state = three_runs();
    let with = |change: &dyn Fn(&mut SegmentMeta)| {
        let mut odd = meta(8, ("a", "b"), (31, 40));
        change(&mut odd);
        let edit = flush(vec![placed(0, 4, odd)], 0);
        Edit { flushed: Some(SeqNo(50)), ..edit }
    };
    state.clone().apply(&with(&|_| {})).unwrap();
    refuses(&state, &with(&|m| m.smallest = (*b"\0\0\0\x01c").into()), "keys");
    refuses(&state, &with(&|m| m.largest = vec![9; KEY_BYTES_MAX + 5].into()), "longest");
    refuses(&state, &with(&|m| m.seq_min = SeqNo(41)), "numbers");
    refuses(&state, &with(&|m| m.deletes = 10), "tombstones");
    refuses(&state, &with(&|m| m.deletes = u64::MAX), "tombstones");
}

#[test]
fn logs_ascend_and_leave_from_below_and_take_their_promise_along() {
    let mut state = State { next_file: FileId(20), ..State::default() };
    let add = |log| Edit { add_log: Some(FileId(log)), ..Edit::default() };
    state.apply(&add(3)).unwrap();
    state.apply(&add(9)).unwrap();
    for odd in [3, 9, 8, 20] {
        refuses(&state, &add(odd), "new-log");
    }
    let closed = Closed { log: FileId(3), length: 100, last: SeqNo(5) };
    state.apply(&Edit { closed: Some(closed), ..Edit::default() }).unwrap();
    state.clean = true;
    state.apply(&add(10)).unwrap();
    assert_eq!((state.closed, state.clean), (Some(closed), false));
    state.apply(&Edit { log_min: Some(FileId(4)), ..Edit::default() }).unwrap();
    assert_eq!((&state.logs[..], state.closed), (&[FileId(9), FileId(10)][..], None));
}

#[test]
fn a_whole_state_is_restored_equal_and_its_total_is_checked() {
    let mut state = three_runs();
    state.log_min = FileId(2);
    state.logs = vec![FileId(2), FileId(6)];
    state.closed = Some(Closed { log: FileId(6), length: 9, last: SeqNo(33) });
    state.clean = true;
    let (edit, mut whole) = state.as_edit();
    assert_eq!(State::restore(&edit, &whole).unwrap(), state);
    whole.total.as_mut().unwrap().all += Setsum(1);
    assert!(State::restore(&edit, &whole).unwrap_err().message().contains("chain"));
    whole.total = None;
    assert!(State::restore(&edit, &whole).is_err());
}
