//! Esker: an embedded, ordered, log-structured key-value engine.

// Floor 0: values only.
pub mod base;
// Floor 1: the operating system, real or simulated.
pub mod env;
// Floor 2: framed appends and replay; bytes kept under a budget.
pub mod cache;
pub mod log;
// Floor 3: newest writes; sorted files.
pub mod memtable;
pub mod segment;
// Floor 4: which files are live; sorted cursors in, files out.
pub mod manifest;
pub mod merge;
// Floor 5: the levels; choosing and rewriting.
pub mod compaction;
pub mod tree;
// Floor 6: batch to log to memtable to visible.
pub mod commit;
// Floor 8: open, recover, run the workers; the handles users hold.
pub mod db;
