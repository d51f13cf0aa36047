//! What users' handles share. When the last one goes, the database closes.

use super::core::Core;
use crate::txn::snapshot::Pin;
use std::sync::Arc;

/// Shared by a database, its collections and its batches.
pub struct Handle {
    pub(super) core: Arc<Core>,
}

impl Handle {
    /// Pins what is visible now.
    pub(super) fn pin(&self) -> Pin {
        self.core.snapshots.pin(|| self.core.visible())
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        if let Err(error) = self.core.close() {
            tracing::error!("close: {error}");
        }
    }
}
