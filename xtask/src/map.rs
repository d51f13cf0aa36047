//! `cargo xtask map`: writes the list of files in `ARCHITECTURE.md`, from what each file says first.
//!
//! 1. Rooms come in the order of `lib.rs`, or of the `mod.rs` above them, lowest first, behind the files
//!    beside them; in a room, `mod.rs` is first. Tests are left out: they lie beside what they test.
//! 2. Only the lines between the two marks are changed.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

const BEGIN: &str = "<!-- written by `cargo xtask map` -->\n";
const END: &str = "<!-- end of the map -->\n";
const CRATES: [&str; 4] =
    ["crates/esker/src", "crates/esker-cli/src", "crates/esker-kvdb/src", "xtask/src"];

/// Rewrites the map.
pub(crate) fn write() -> Result<(), String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let page = root.join("ARCHITECTURE.md");
    let text = read(&page)?;
    let (before, rest) = text.split_once(BEGIN).ok_or("ARCHITECTURE.md has no mark to begin at")?;
    let (_, after) = rest.split_once(END).ok_or("ARCHITECTURE.md has no mark to end at")?;
    let mut map = String::new();
    for folder in CRATES {
        map.push_str(&table(folder, &root.join(folder))?);
    }
    fs::write(&page, [before, BEGIN, &map, END, after].concat())
        .map_err(|error| format!("write {}: {error}", page.display()))
}

fn table(title: &str, folder: &Path) -> Result<String, String> {
    let mut files = Vec::new();
    find(folder, Path::new(""), &mut files)?;
    let mut places = BTreeMap::new();
    files.sort_by_cached_key(|file| place(folder, file, &mut places));
    let mut table = format!("\n### `{title}`\n| file | what |\n|---|---|\n");
    for file in files {
        let says = first_sentence(&read(&folder.join(&file))?);
        table.push_str(&format!("| `{}` | {says} |\n", file.display()));
    }
    table.push('\n');
    Ok(table)
}

/// Where a file comes: its folders, then itself, each in the order in which the one above names them;
/// files before folders.
fn place(folder: &Path, file: &Path, names: &mut BTreeMap<PathBuf, String>) -> Vec<Place> {
    let mut at = folder.to_path_buf();
    let parts = file.components().map(|part| {
        let above = names.entry(at.clone()).or_insert_with(|| {
            let roots = ["mod.rs", "lib.rs"].map(|root| fs::read_to_string(at.join(root)));
            roots.into_iter().flatten().collect()
        });
        let name = part.as_os_str().to_string_lossy().into_owned();
        at.push(&name);
        let module = name.strip_suffix(".rs");
        let line = format!("mod {};\n", module.unwrap_or(&name));
        // `mod.rs` and `lib.rs` name all others, and not themselves.
        (module.is_none(), above.find(&line), name)
    });
    parts.collect()
}

/// Whether it is a folder, where it is named, and how it is called.
type Place = (bool, Option<usize>, String);

fn find(folder: &Path, below: &Path, files: &mut Vec<PathBuf>) -> Result<(), String> {
    let listed = folder.join(below);
    let failed = |error| format!("list {}: {error}", listed.display());
    for entry in fs::read_dir(&listed).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let path = below.join(entry.file_name());
        if path.file_stem().is_some_and(|stem| stem == "tests") {
            continue;
        }
        if entry.file_type().map_err(failed)?.is_dir() {
            find(folder, &path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    Ok(())
}

/// The first sentence of a file's `//!`, without links.
fn first_sentence(source: &str) -> String {
    let lines = source.lines().map_while(|line| line.strip_prefix("//!"));
    let head: Vec<_> = lines.map(str::trim).take_while(|line| !line.is_empty()).collect();
    let head = head.join(" ");
    let end = head.find(". ").unwrap_or(head.len());
    let says = head.get(..end).unwrap_or_default().trim_end_matches('.');
    says.replace("[`", "`").replace("`]", "`").replace('|', "\\|")
}

fn read(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("read {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_told_by_its_first_sentence() {
        let source = "//! One [`Frame`]: the smallest\n//! thing. And more.\n//!\n//! Else.\n";
        assert_eq!(first_sentence(source), "One `Frame`: the smallest thing");
        assert_eq!(first_sentence("//! Short.\nfn f() {}\n"), "Short");
    }
}
