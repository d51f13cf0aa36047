//! Files of a folder as keys, and keys as files of a folder.
//!
//! ```text
//! FOLDER/src/main.rs    <->    key  src/main.rs
//! ```
//!
//! 1. A key is the file's path below the folder, its parts joined by `/`. On Unix the parts are the
//!    bytes of the names, UTF-8 or not; elsewhere they are UTF-8.
//! 2. A key becomes a path only if every part is a plain name: not empty, not `.` or `..`, without
//!    NUL (and, on Windows, without `\` and `:`). So no key leads out of the folder.

#![expect(clippy::disallowed_methods, reason = "the user's files are compared with values")]

use crate::failure::{Failure, Result};
use crate::output;
use esker::ValueReader;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{BufRead, Read};
use std::path::{Component, Path, PathBuf};

/// The key of the file at `below`, a path relative to its folder.
pub(crate) fn key_of(below: &Path) -> Result<Vec<u8>> {
    let mut key = Vec::new();
    for part in below.components() {
        let Component::Normal(name) = part else {
            return Err(Failure::new(format!("{}: not a path below a folder", below.display())));
        };
        if !key.is_empty() {
            key.push(b'/');
        }
        key.extend_from_slice(name_bytes(name, below)?);
    }
    Ok(key)
}

/// The path, relative to its folder, of the file that `key` names.
pub(crate) fn path_of(key: &[u8]) -> Result<PathBuf> {
    let parts = key.split(|&byte| byte == b'/').map(|part| {
        let refused = || {
            Failure::new(format!(
                "invalid argument: key \"{}\" names no file below a folder",
                output::text(key)
            ))
        };
        let plain = !matches!(part, b"" | b"." | b"..") && !part.contains(&0);
        let plain = plain && !(cfg!(windows) && part.iter().any(|b| matches!(b, b'\\' | b':')));
        if plain { bytes_name(part).ok_or_else(refused) } else { Err(refused()) }
    });
    parts.collect()
}

/// Whether the file `path` holds `value` and nothing else, piece by piece; a file that cannot be read
/// holds something else. The value is then somewhere in its middle.
pub(crate) fn holds(path: &Path, value: &mut ValueReader) -> Result<bool> {
    let Ok(mut file) = File::open(path) else { return Ok(false) };
    let mut held = vec![0; 64 << 10];
    let mut left = value.len();
    let mut equal = true;
    while equal && left > 0 {
        let piece = value.fill_buf().map_err(|error| Failure::new(error.to_string()))?;
        let bytes = piece.len().min(held.len());
        let (held, piece) = (&mut held[..bytes], &piece[..bytes]);
        equal = file.read_exact(held).is_ok() && held == piece;
        value.consume(bytes);
        left -= bytes as u64;
    }
    Ok(equal && file.read(&mut held).is_ok_and(|bytes| bytes == 0))
}

/// Whether `inner` is `outer` or lies in it, links resolved; `inner` need not exist.
pub(crate) fn lies_in(inner: &Path, outer: &Path) -> bool {
    let Ok(outer) = outer.canonicalize() else { return false };
    let absolute = std::path::absolute(inner).unwrap_or_else(|_| inner.to_owned());
    let known = absolute.ancestors().find_map(|path| path.canonicalize().ok());
    known.is_some_and(|path| path.starts_with(outer))
}

#[cfg(unix)]
#[expect(clippy::unnecessary_wraps, reason = "on other systems a name may have no bytes")]
fn name_bytes<'a>(name: &'a OsStr, _below: &Path) -> Result<&'a [u8]> {
    use std::os::unix::ffi::OsStrExt;
    Ok(name.as_bytes())
}

#[cfg(unix)]
#[expect(clippy::unnecessary_wraps, reason = "on other systems bytes may be no name")]
fn bytes_name(bytes: &[u8]) -> Option<&OsStr> {
    use std::os::unix::ffi::OsStrExt;
    Some(OsStr::from_bytes(bytes))
}

#[cfg(not(unix))]
fn name_bytes<'a>(name: &'a OsStr, below: &Path) -> Result<&'a [u8]> {
    let text = name.to_str().map(str::as_bytes);
    text.ok_or_else(|| Failure::new(format!("{}: the name is not Unicode", below.display())))
}

#[cfg(not(unix))]
fn bytes_name(bytes: &[u8]) -> Option<&OsStr> {
    std::str::from_utf8(bytes).ok().map(OsStr::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_and_its_key_round_trip() {
        for path in ["a", "a/b", "a b/ü.txt", "..a/b..", "a/.hidden"] {
            let key = key_of(Path::new(path)).unwrap();
            assert_eq!(key, path.as_bytes());
            assert_eq!(path_of(&key).unwrap(), Path::new(path));
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_name_that_is_not_utf8_keeps_its_bytes() {
        let path = path_of(b"a/\xff\xfe").unwrap();
        assert_eq!(key_of(&path).unwrap(), b"a/\xff\xfe");
    }

    /// F-41: no key leads out of the folder.
    #[test]
    fn keys_that_would_escape_are_refused() {
        let escapes: [&[u8]; 10] =
            [b"", b"/", b"/etc", b"a/", b"a//b", b".", b"..", b"a/../b", b"../a", b"a\0b"];
        for key in escapes {
            let error = path_of(key).unwrap_err().to_string();
            assert!(error.contains("names no file below a folder"), "{error}");
        }
    }

    #[test]
    fn a_folder_lies_in_itself_and_in_those_above() {
        let here = std::env::current_dir().unwrap();
        assert!(lies_in(&here.join("no/such/folder"), &here));
        assert!(lies_in(&here, &here));
        assert!(!lies_in(&here, &here.join("src")));
    }
}
