//! Sorted cursors in, one sorted walk out.
//!
//! ```text
//!  memtable ─┐                         ┌─ Visible   what one snapshot sees, from both ends
//!  segment  ─┼─ Merged (loser tree) ───┤
//!  segment  ─┘                         └─ Retain    what a flush or compaction keeps and drops
//!                                         └ Folded   and what it makes of merge operands
//! ```
//!
//! 1. Sources come newest first. Order is that of entries; between equal entries the newer source
//!    comes first.
//! 2. Nothing here does I/O of its own, nor knows what a source is.
//! 3. Tombstones travel through the merge and are hidden only behind it: a source that hid its own
//!    would let an older version reappear (SST-K1).
//! 4. An error is sticky: no caller can take a broken walk for a complete one (F-28).

pub mod clip;
pub mod fold;
pub mod folded;
pub mod folds;
pub mod judge;
pub mod loser;
pub mod operator;
pub mod operators;
pub mod retain;
pub mod rewrite;
pub mod rules;
pub mod run;
pub mod visible;

pub use clip::Clip;
pub use folded::Folded;
pub use judge::{Judge, Judgement};
pub use loser::Merged;
pub use operator::{MergeOperator, Operators};
pub use retain::{Beneath, Judged, Keep, Retain, Tally, Verdict};
pub use rules::{Rule, Rules};
pub use visible::{Item, Scope, Tombstones, Visible};
