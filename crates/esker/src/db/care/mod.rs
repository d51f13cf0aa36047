//! Looking after databases: proving them, copying them, making them whole again, looking into their files.
//!
//! ```text
//!   verify      every byte of a live database, and the balance of its values
//!   checkpoint  a second database of the same files      backup   a folder that has each file once
//!   repair      a database of all that can be read       json     pairs out, and in
//!   inspect     single files, without a database
//! ```
//!
//! Nothing here is on the way of a read or a write.

pub(crate) mod backup;
pub(crate) mod checkpoint;
pub mod inspect;
#[cfg(feature = "json")]
mod json;
pub(crate) mod repair;
mod verify;
