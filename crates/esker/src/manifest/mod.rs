//! Which files are live, and the proof that none of them lost anything.
//!
//! ```text
//!  crc-32c   text                                                   a line: 8 hex digits ‖ ' ' ‖ text ‖ LF
//!  7b1c02e9 esker manifest 1 000042                                 its format, its own number
//!  59ab3f10 add level=0 run=17 seg-000012 bytes=9310 entries=100 …  a live segment
//!  0e77a3c1 add-blob blob-000014 bytes=… values=… stored=… …        a live blob file
//!  d21f8e05 dead blob-000014 bytes=… count=2 addresses=000014:9,+88 values in it that are dead
//!  02c41a77 log 000007                                              logs below are not needed
//!  5c09a7d1 new-log 000041                                          a live log
//!  e8d0b154 flushed 99                                              every number up to it is in segments
//!  30f1a9c2 next-file 000043                                        every number from here on is free
//!  1d5e8870 total 0c5f…e1 dropped=31aa…07                           setsum of every operation ever flushed
//!  a94c77d3 end 1                                                   the first transaction is whole
//!  …
//!  6e20b5f8 remove seg-000012                                       a later edit
//!  c8174d3b balance compaction in=… out=… dropped=… [created=…]     why, and the proof
//!  40d9ee12 end 2
//! ```
//!
//! 1. The CRC of a line also covers the line before it, and the first is seeded with the file's
//!    number: a line lost, repeated, moved or taken from another file is seen (F-36).
//! 2. A file is complete when its first transaction has its `end`. The highest complete one wins;
//!    an incomplete one is what a crash during a roll-over leaves (F-8).
//! 3. Every later transaction is appended in one write and synced before the next. So only the
//!    last can be torn, and a tear shows as a cut or as zeros: it is dropped and reported. Anything
//!    else that is wrong, anywhere, is damage (F-33): the ordinal after `end` shows when a
//!    transaction is followed by another one.
//! 4. A clean close writes a fresh file with everything in one transaction: any later cut of it
//!    leaves no complete manifest, which is damage, not a torn tail (F-16).
//! 5. An edit that changes segments carries a balance, and is refused unless its figures hold (law
//!    6); the first transaction carries the total. So reading a manifest checks the chain of
//!    balances from the empty database to now (SST-17).
//! 6. What dies in a blob file is recorded by address, in the edit that killed it (MACE-17).
//! 7. A failed append is final for this file: nothing is ever written behind its remnant (F-22).
//!
//! The idea of a text manifest with an edit a transaction is lsmtk's (SST-19).

mod addresses;
pub mod blobs;
pub mod edit;
pub mod held;
pub mod line;
pub mod read;
pub mod state;
pub mod store;

pub use blobs::{Blobs, LiveBlob};
pub use edit::{Balance, Closed, Dead, Edit, Placed, Reason};
pub use held::Held;
pub use read::{ReadReport, Step, audit, describe};
pub use state::{Run, State};
pub use store::Store;
