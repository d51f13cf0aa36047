//! Where a feed could tell what is not so: names of long ago, numbers not reached yet, ends that were
//! never cut, an open that ends in the middle.

use super::{MANY, all_words, from, open};
use esker::env::sim::{Calls, Errno, Fault, Sim};

/// A log that was sealed after its last sync, and not flushed before the close, ends where it says too.
#[test]
fn a_log_that_a_close_has_not_flushed_is_kept_cut() {
    for n in 1..=2 {
        let world = Sim::new(33);
        let db = open(&world, 0);
        let c = db.collection("c").unwrap();
        c.insert("a", "1").unwrap();
        db.sync().unwrap();
        world.fail_from(
            world.count(Calls::CREATE) + n,
            Fault::refuse(Errno::NoSpace, Calls::CREATE),
        );
        db.flush().unwrap_err();
        world.heal();
        drop(c);
        db.close().unwrap();
        let db = open(&world, MANY);
        db.flush().unwrap();
        let report = db.verify().unwrap();
        assert!(report.is_whole(), "{n}: {:?}", report.damages);
        assert_eq!(all_words(&from(&db, 1))[1..], ["c:a=1"]);
    }
}
