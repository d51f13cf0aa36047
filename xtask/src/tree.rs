//! Trees of files: what lies in them, and whether two hold the same.
//!
//! 1. Only ordinary files count; symbolic links are not followed, empty folders not seen.
//! 2. Files are compared in pieces, so that one larger than memory is fine.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

const PIECE_BYTES: u64 = 1 << 20;

/// The ordinary files below a folder, by path relative to it, sorted.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Tree {
    /// Relative path and length in bytes.
    pub(crate) files: Vec<(PathBuf, u64)>,
    /// The sum of the lengths.
    pub(crate) bytes: u64,
}

impl Tree {
    /// Walks `root`.
    pub(crate) fn of(root: &Path) -> Result<Self, String> {
        let mut tree = Self::default();
        let mut folders = vec![root.to_owned()];
        while let Some(folder) = folders.pop() {
            let failed = |error| format!("list {}: {error}", folder.display());
            for entry in fs::read_dir(&folder).map_err(failed)? {
                let entry = entry.map_err(failed)?;
                let (path, kind) = (entry.path(), entry.file_type().map_err(failed)?);
                if kind.is_dir() {
                    folders.push(path);
                } else if kind.is_file() {
                    let bytes = entry.metadata().map_err(failed)?.len();
                    let below = path.strip_prefix(root).map_err(|error| error.to_string())?;
                    tree.files.push((below.to_owned(), bytes));
                    tree.bytes += bytes;
                }
            }
        }
        tree.files.sort();
        Ok(tree)
    }
}

/// Fails with the first difference between the files below `left` and those below `right`.
pub(crate) fn compare(left: &Path, right: &Path) -> Result<Tree, String> {
    let (tree, other) = (Tree::of(left)?, Tree::of(right)?);
    if let Some((a, b)) = tree.files.iter().zip(&other.files).find(|(a, b)| a != b) {
        return Err(format!("the trees differ: {a:?} against {b:?}"));
    }
    if tree.files.len() != other.files.len() {
        return Err(format!("{} files against {}", tree.files.len(), other.files.len()));
    }
    for (path, _) in &tree.files {
        if !same_bytes(&left.join(path), &right.join(path))? {
            return Err(format!("{} differs", path.display()));
        }
    }
    Ok(tree)
}

fn same_bytes(left: &Path, right: &Path) -> Result<bool, String> {
    let open = |path: &Path| File::open(path).map_err(|e| format!("open {}: {e}", path.display()));
    let (mut left_file, mut right_file) = (open(left)?, open(right)?);
    let (mut a, mut b) = (Vec::new(), Vec::new());
    loop {
        piece(&mut left_file, &mut a).map_err(|e| format!("read {}: {e}", left.display()))?;
        piece(&mut right_file, &mut b).map_err(|e| format!("read {}: {e}", right.display()))?;
        if a != b {
            return Ok(false);
        }
        if a.is_empty() {
            return Ok(true);
        }
    }
}

fn piece(file: &mut File, buffer: &mut Vec<u8>) -> std::io::Result<()> {
    buffer.clear();
    file.take(PIECE_BYTES).read_to_end(buffer)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planted(name: &str, files: &[(&str, &[u8])]) -> PathBuf {
        let root = std::env::temp_dir().join(format!("xtask-{}-{name}", std::process::id()));
        for (path, bytes) in files {
            let path = root.join(path);
            fs::create_dir_all(path.parent().expect("below the root")).unwrap();
            fs::write(path, bytes).unwrap();
        }
        root
    }

    #[test]
    fn equal_trees_are_equal_and_a_changed_missing_or_added_file_is_not() {
        let left = planted("left", &[("a", b"1"), ("b/c", b"22")]);
        let same = planted("same", &[("a", b"1"), ("b/c", b"22")]);
        let changed = planted("changed", &[("a", b"1"), ("b/c", b"23")]);
        let missing = planted("missing", &[("a", b"1")]);
        assert_eq!(compare(&left, &same).unwrap().bytes, 3);
        for other in [&changed, &missing] {
            assert!(compare(&left, other).is_err());
            assert!(compare(other, &left).is_err());
        }
        for root in [left, same, changed, missing] {
            fs::remove_dir_all(root).unwrap();
        }
    }
}
