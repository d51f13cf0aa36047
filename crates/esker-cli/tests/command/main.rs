//! The command as scripts use it: every test runs the program and looks at what it printed, how it
//! exited, and what lies on disk.

#![expect(clippy::disallowed_methods, reason = "the tests make the folders that they load")]

mod audit;
mod bench;
mod copies;
mod damage;
mod history;
mod kill;
mod large;
mod pairs;
mod trees;
