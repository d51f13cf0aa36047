//! Copies of files that never change, and what proves them.
//!
//! ```text
//!   from ─ a chunk at a time ─▶ digest ─▶ to ─▶ synced      its name is the caller's to sync
//! ```
//!
//! 1. A copy is a new file: nothing is written over.
//! 2. The digest is of the bytes that were read, all of them, in order: xxh3-128.
//! 3. After an error a part of the copy may lie there, under a name that nothing relies on.

use crate::base::coding::to_u64;
use crate::base::error::{Error, Result};
use crate::env::{Env, File, read_exact_at, write_all_at};
use std::fmt;
use std::io;
use std::path::Path;
use xxhash_rust::xxh3::Xxh3Default;

/// How much is read and written at once.
const CHUNK_BYTES: usize = 1 << 20;

/// The hash of all bytes of a file, in order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::db) struct Digest(pub(in crate::db) u128);

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// Copies the file `from` to the new file `to`, and syncs that; answers how long it is, and its
/// digest. `progress` is told of each chunk.
///
/// Errors: `Io`, naming the file that failed.
pub(in crate::db) fn copy(
    env: &dyn Env,
    from: &Path,
    to: &Path,
    progress: &mut dyn FnMut(u64),
) -> Result<(u64, Digest)> {
    let failed = |doing: &str, path: &Path| {
        let doing = format!("{doing} {}", path.display());
        move |error| Error::io(doing, error)
    };
    let source = env.open(from).map_err(failed("open", from))?;
    let target = env.create(to).map_err(failed("create", to))?;
    let mut copied = Ok(());
    let read = digest(&*source, &mut |chunk, at| {
        copied = write_all_at(&*target, chunk, at);
        progress(to_u64(chunk.len()));
        copied.is_ok()
    });
    copied.map_err(failed("write", to))?;
    let read = read.map_err(failed("read", from))?;
    target.sync().map_err(failed("sync", to))?;
    Ok(read)
}

/// Copies the first `bytes` bytes of the file `from` to the new file `to`, and syncs that.
///
/// Errors: `Io`, naming the file that failed, also if `from` is shorter.
pub(super) fn copy_front(env: &dyn Env, from: &Path, to: &Path, bytes: u64) -> Result<()> {
    let failed = |doing: &str, path: &Path| {
        let doing = format!("{doing} {}", path.display());
        move |error| Error::io(doing, error)
    };
    let source = env.open(from).map_err(failed("open", from))?;
    let target = env.create(to).map_err(failed("create", to))?;
    let (mut at, mut buffer) = (0, vec![0; CHUNK_BYTES]);
    while at < bytes {
        let len = usize::try_from(bytes - at).unwrap_or(usize::MAX).min(CHUNK_BYTES);
        let chunk = buffer.get_mut(..len).unwrap_or_default();
        read_exact_at(&*source, chunk, at).map_err(failed("read", from))?;
        write_all_at(&*target, chunk, at).map_err(failed("write", to))?;
        at += to_u64(len);
    }
    target.sync().map_err(failed("sync", to))
}

/// Gives `each` every chunk of a file with its place, until that says no; answers how many bytes
/// there were, and their digest.
pub(in crate::db) fn digest(
    file: &dyn File,
    each: &mut dyn FnMut(&[u8], u64) -> bool,
) -> io::Result<(u64, Digest)> {
    let (mut at, mut hash) = (0, Xxh3Default::new());
    let mut buffer = vec![0; CHUNK_BYTES];
    loop {
        let len = match file.read_at(&mut buffer, at) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            len => len?,
        };
        let chunk = buffer.get(..len).unwrap_or_default();
        if chunk.is_empty() || !each(chunk, at) {
            return Ok((at, Digest(hash.digest128())));
        }
        hash.update(chunk);
        at += to_u64(len);
    }
}
