//! The one way in which files become part of the database: recorded, then shown.
//!
//! 1. An edit is durable before anybody sees what it brings, and what it takes away is doomed only
//!    then (laws 5 and 7).
//! 2. What is recorded and cannot be shown is as final as a failed manifest: readers would go on
//!    with files that the next open does not know.

use super::ledger::Entry;
use crate::base::error::Result;
use crate::db::core::{Core, Writing};
use crate::manifest::Edit;
use crate::memtable::Memtable;
use crate::segment::handle::Segment;
use crate::tree::version::Version;
use std::sync::Arc;

impl Core {
    /// Records `edit` and shows the version that it makes, in which `fresh` are handles on segments
    /// that it adds, and which takes the place of the memtable `flushed`.
    ///
    /// Errors: as of [`Entry::record`]: nothing changed, or it is final; those of opening what the
    /// edit adds, which are final.
    pub(in crate::db) fn publish(
        &self,
        writing: &Writing,
        ledger: &mut Entry<'_>,
        edit: Edit,
        fresh: &[Arc<Segment>],
        flushed: Option<&Arc<Memtable>>,
    ) -> Result<()> {
        let removes = !edit.remove.is_empty() || !edit.remove_blobs.is_empty();
        let recorded = ledger.record(edit);
        recorded.inspect_err(|error| writing.committer.fail_if_poisoned(error))?;
        let before = self.views.load_full();
        let version = Version::of(ledger.state(), &before.version, fresh, &self.shelves)
            .inspect_err(|error| writing.committer.fail(error))?;
        if removes {
            before.version.doom_missing(&version);
        }
        self.views.publish(Arc::new(version), flushed);
        Ok(())
    }
}
