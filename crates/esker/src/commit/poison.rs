//! The first failed write or sync, kept for good.
//!
//! 1. Set once, never cleared: a sync that "succeeds" later may cover pages that the kernel dropped
//!    (F-19), so nothing may be acknowledged after the first failure (law 9).
//! 2. The call that failed, and those that waited for the same sync, get the error itself; later
//!    writes get `ReadOnly` with the same words. Reads never look here.

use crate::base::error::{Error, ErrorKind, Result};
use parking_lot::Mutex;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

/// See the module.
#[derive(Debug, Default)]
pub struct Poison {
    set: AtomicBool,
    error: Mutex<Option<Error>>,
}

impl Poison {
    /// Keeps `error` if it is the first.
    pub fn set(&self, error: &Error) {
        self.error.lock().get_or_insert_with(|| error.clone());
        self.set.store(true, SeqCst);
    }

    /// Whether a write or sync has failed.
    #[inline]
    pub fn is_set(&self) -> bool {
        self.set.load(SeqCst)
    }

    /// Errors: what failed first, as it was, if anything did.
    #[inline]
    pub fn check(&self) -> Result<()> {
        if !self.is_set() {
            return Ok(());
        }
        Err(self.first().unwrap_or_else(|| Error::new(ErrorKind::ReadOnly, "a write failed")))
    }

    /// Errors: `ReadOnly`, naming what failed first, if anything did.
    #[inline]
    pub fn refuse(&self) -> Result<()> {
        if !self.is_set() {
            return Ok(());
        }
        let cause = self.first().map_or_else(String::new, |error| error.to_string());
        Err(Error::new(
            ErrorKind::ReadOnly,
            format!("an earlier write failed, reopen the database to write again: {cause}"),
        ))
    }

    /// What failed first.
    pub fn first(&self) -> Option<Error> {
        self.error.lock().clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_failure_is_kept_and_later_writes_are_refused_with_it() {
        let poison = Poison::default();
        assert!(poison.refuse().is_ok());
        poison.set(&Error::io("sync log-000001", std::io::Error::other("first")));
        poison.set(&Error::io("sync log-000001", std::io::Error::other("second")));
        let refused = poison.refuse().unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ReadOnly);
        assert!(refused.message().contains("first"));
        assert_eq!(poison.check().unwrap_err().kind(), ErrorKind::Io);
    }
}
