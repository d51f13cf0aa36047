//! The records of the system collection, as some moment has them.

use crate::base::error::Result;
use crate::base::id::{CollectionId, SeqNo};
use crate::base::key::split_full_key;
use crate::merge::visible::{Scope, Tombstones, Visible};
use crate::tree::view::View;
use std::ops::Bound;
use std::sync::Arc;

/// Shows each record of the system collection as of `at`: key, value and number.
pub(in crate::db) fn each_record(
    view: &Arc<View>,
    at: SeqNo,
    mut each: impl FnMut(&[u8], &[u8], SeqNo) -> Result<()>,
) -> Result<()> {
    let end = CollectionId(CollectionId::SYSTEM.0 + 1).0.to_be_bytes();
    let now = view.clock.now();
    let scope = Scope {
        seq: at,
        now,
        start: Bound::Unbounded,
        end: Bound::Excluded(end.into()),
        tombstones: Tombstones::Hidden,
    };
    let (view, cover) = (view.clone(), view.cover(at, now));
    let hidden = cover.clone();
    let open = Box::new(move || Ok(view.cursor(at, &hidden)));
    let mut records = Visible::new(open, scope).under(cover);
    while let Some(entry) = records.advance()? {
        if let Some((_, key)) = split_full_key(entry.key) {
            each(key, entry.value, entry.seq)?;
        }
    }
    Ok(())
}
