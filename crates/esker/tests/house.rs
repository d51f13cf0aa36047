//! The house rules that a compiler does not check, checked over the source of every crate.
//!
//! 1. Arrows point down: a room of `esker` imports only from a strictly lower floor. The floors are
//!    the `// Floor N:` comments over the `mod` lines of `lib.rs`; a `// Roof` comment ends them.
//! 2. Nothing inside imports through the crate root's re-exports.
//! 3. Every file opens with `//!`, and has at most 800 lines of code before its tests.
//! 4. `unsafe` stands only in the files that `ARCHITECTURE.md` names, and each of those needs it.
//! 5. `ARCHITECTURE.md` names every file of the crates that are published, tests apart.
//! 6. The rooms of `db` stand on floors of their own, listed in `db/mod.rs`, and keep rule 1 among
//!    themselves. Those under a `// Hall` comment are free: they import from all, and all from them.
//!
//! The rules are functions from text to a list of complaints, so that the tests at the end can
//! plant a breach of each.

#![expect(clippy::disallowed_methods, reason = "the test reads the source tree it checks")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

const CODE_LINES_MAX: usize = 800;
const UNSAFE_HEADING: &str = "## Files that may contain `unsafe`";

/// The rooms of the house, each with its floor.
#[derive(Debug, Default, PartialEq, Eq)]
struct Floors {
    rooms: BTreeMap<String, u32>,
    /// What stands on no floor, and may be used from all.
    hall: BTreeSet<String>,
    complaints: Vec<String>,
}

impl Floors {
    /// Reads the floor comments of a `lib.rs`, or of the `mod.rs` of a room with floors of its own.
    fn parse(lib: &str) -> Self {
        let mut floors = Self::default();
        let (mut floor, mut is_hall) = (None, false);
        for line in lib.lines().map(str::trim) {
            if line.starts_with("// Hall") {
                is_hall = true;
            } else if let Some(rest) = line.strip_prefix("// Floor ") {
                is_hall = false;
                let number = rest.split(':').next().and_then(|number| number.parse().ok());
                if number.is_none() || floor.is_some_and(|floor| number <= Some(floor)) {
                    floors.complaints.push(format!("floors must rise: {line}"));
                }
                floor = number;
            } else if line.starts_with("// Roof") {
                floor = Some(u32::MAX);
            } else if let Some(room) = declared_module(line) {
                match floor {
                    _ if is_hall => drop(floors.hall.insert(room.to_owned())),
                    Some(floor) => drop(floors.rooms.insert(room.to_owned(), floor)),
                    None => floors.complaints.push(format!("`mod {room}` stands on no floor")),
                }
            }
        }
        floors
    }
}

/// The `x` of a line `mod x;`, whatever its visibility.
fn declared_module(line: &str) -> Option<&str> {
    let rest = line.strip_suffix(';')?;
    let (before, room) = rest.rsplit_once("mod ")?;
    let visible = before.is_empty() || before.starts_with("pub");
    (visible && is_word(room)).then_some(room)
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.chars().all(is_word_char)
}

fn is_word_char(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// A word or a punctuation mark of source text; comments, strings and characters are left out.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Token {
    text: String,
    line: usize,
}

/// Cuts `source` into tokens. `::` is one token, all other punctuation is one character each.
fn tokens(source: &str) -> Vec<Token> {
    let chars: Vec<char> = source.chars().collect();
    let at = |i: usize| chars.get(i).copied().unwrap_or('\0');
    let mut found = Vec::new();
    let (mut i, mut line) = (0, 1);
    while i < chars.len() {
        let start = i;
        match at(i) {
            '/' if at(i + 1) == '/' => i = skip_until(&chars, i, |c| c == '\n'),
            '/' if at(i + 1) == '*' => i = skip_block_comment(&chars, i),
            '"' => i = skip_string(&chars, i),
            'r' if at(i + 1) == '"' || (at(i + 1) == '#' && matches!(at(i + 2), '"' | '#')) => {
                i = skip_raw_string(&chars, i + 1);
            }
            '\'' if at(i + 1) == '\\' => {
                i = skip_until(&chars, i + 3, |c| c == '\'') + 1;
            }
            '\'' if at(i + 2) == '\'' => i += 3,
            ':' if at(i + 1) == ':' => {
                found.push(Token { text: "::".to_owned(), line });
                i += 2;
            }
            c if is_word_char(c) => {
                i = skip_until(&chars, i, |c| !is_word_char(c));
                let text: String = chars.get(start..i).unwrap_or_default().iter().collect();
                let raw = matches!(text.as_str(), "b" | "br" | "c" | "cr")
                    && (at(i) == '"' || at(i) == '#' && matches!(at(i + 1), '"' | '#'));
                if raw {
                    i = skip_raw_or_plain(&chars, i, text.ends_with('r'));
                } else if text == "b" && at(i) == '\'' {
                    i = skip_until(&chars, i + if at(i + 1) == '\\' { 3 } else { 2 }, |c| {
                        c == '\''
                    });
                    i += 1;
                } else {
                    found.push(Token { text, line });
                }
            }
            c => {
                if !c.is_whitespace() {
                    found.push(Token { text: c.to_string(), line });
                }
                i += 1;
            }
        }
        let passed = chars.get(start..i.min(chars.len())).unwrap_or_default();
        line += passed.iter().filter(|&&c| c == '\n').count();
    }
    found
}

fn skip_until(chars: &[char], from: usize, stop: impl Fn(char) -> bool) -> usize {
    let rest = chars.get(from..).unwrap_or_default();
    rest.iter().position(|&c| stop(c)).map_or(chars.len(), |n| from + n)
}

fn skip_block_comment(chars: &[char], from: usize) -> usize {
    let (mut depth, mut i) = (0, from);
    while let Some(pair) = chars.get(i..i + 2) {
        match pair {
            ['/', '*'] => (depth, i) = (depth + 1, i + 2),
            ['*', '/'] => (depth, i) = (depth - 1, i + 2),
            _ => i += 1,
        }
        if depth == 0 {
            return i;
        }
    }
    chars.len()
}

/// From the opening quote to behind the closing one.
fn skip_string(chars: &[char], from: usize) -> usize {
    let mut i = from + 1;
    while let Some(&c) = chars.get(i) {
        match c {
            '\\' => i += 2,
            '"' => return i + 1,
            _ => i += 1,
        }
    }
    chars.len()
}

/// From the first `#` or quote of a raw string to behind its end.
fn skip_raw_string(chars: &[char], from: usize) -> usize {
    let open = skip_until(chars, from, |c| c != '#');
    let hashes = open - from;
    let mut i = open + 1;
    while i < chars.len() {
        let quote = chars.get(i) == Some(&'"');
        let tail = chars.get(i + 1..i + 1 + hashes).unwrap_or_default();
        if quote && tail.len() == hashes && tail.iter().all(|&c| c == '#') {
            return i + 1 + hashes;
        }
        i += 1;
    }
    chars.len()
}

fn skip_raw_or_plain(chars: &[char], from: usize, raw: bool) -> usize {
    if raw { skip_raw_string(chars, from) } else { skip_string(chars, from) }
}

/// The module path of a file below `src`: `log/reader.rs` is `[log, reader]`.
fn module_path(file: &Path) -> Vec<String> {
    let parts = file.with_extension("");
    let mut path: Vec<String> =
        parts.iter().map(|part| part.to_string_lossy().into_owned()).collect();
    if path.last().is_some_and(|last| last == "mod") {
        path.pop();
    }
    path
}

/// A path that source text names, resolved from the crate root, and the line where it stands.
#[derive(Debug, PartialEq, Eq)]
struct Import {
    path: Vec<String>,
    line: usize,
}

/// Every path in `source` that starts at `crate`, or at `super`, resolved.
fn imports(file: &Path, source: &str) -> Vec<Import> {
    let tokens = tokens(source);
    let text = |i: usize| tokens.get(i).map_or("", |token: &Token| token.text.as_str());
    let mut found = Vec::new();
    let mut here = module_path(file);
    // Depth of braces, and at which depths inline modules were opened.
    let (mut depth, mut opened) = (0usize, Vec::new());
    let mut i = 0;
    while i < tokens.len() {
        match text(i) {
            "mod" if text(i + 2) == "{" => {
                here.push(text(i + 1).to_owned());
                opened.push(depth);
                depth += 1;
                i += 3;
                continue;
            }
            "{" => depth += 1,
            "}" => {
                depth = depth.saturating_sub(1);
                if opened.last() == Some(&depth) {
                    opened.pop();
                    here.pop();
                }
            }
            "crate" | "super" if text(i + 1) == "::" && (i == 0 || text(i - 1) != "::") => {
                i = resolve(&tokens, i, here.clone(), &mut found);
                continue;
            }
            _ => {}
        }
        i += 1;
    }
    found
}

/// Follows one path, or every path of a group, from token `i`; returns the token behind it.
fn resolve(tokens: &[Token], i: usize, base: Vec<String>, found: &mut Vec<Import>) -> usize {
    let text = |i: usize| tokens.get(i).map_or("", |token: &Token| token.text.as_str());
    let line = tokens.get(i).map_or(0, |token| token.line);
    let (mut path, mut i) = (base, i);
    loop {
        match text(i) {
            "{" => {
                i += 1;
                while !matches!(text(i), "}" | "") {
                    i = resolve(tokens, i, path.clone(), found);
                    while !matches!(text(i), "," | "}" | "") {
                        i += 1;
                    }
                    if text(i) == "," {
                        i += 1;
                    }
                }
                return i + 1;
            }
            "crate" => path.clear(),
            "self" => {}
            // Above the root there is nothing: rustc says so better than this test could.
            "super" => drop(path.pop()),
            other => path.push(other.to_owned()),
        }
        if text(i + 1) != "::" {
            found.push(Import { path, line });
            return i + 1;
        }
        i += 2;
    }
}

/// Rules 1 and 2: what a file of the engine imports that it must not.
fn upward_imports(floors: &Floors, file: &Path, source: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    let Some(own) = module_path(file).into_iter().next().filter(|room| room != "lib") else {
        return complaints;
    };
    let Some(&own_floor) = floors.rooms.get(&own) else {
        return vec![format!("{}: room `{own}` stands on no floor of lib.rs", file.display())];
    };
    for Import { path, line } in imports(file, source) {
        let room = path.first().map_or("", String::as_str);
        let at = format!("{}:{line}", file.display());
        match floors.rooms.get(room) {
            _ if room == own => {}
            Some(&floor) if floor < own_floor => {}
            Some(&floor) if floor == own_floor => {
                complaints.push(format!("{at}: {own} imports {room}, on its own floor"));
            }
            Some(_) => complaints.push(format!("{at}: {own} imports {room}, a floor above")),
            None => complaints.push(format!("{at}: `{room}` comes through the crate root")),
        }
    }
    complaints
}

/// Rule 6: what a file of `db`, named from `src`, imports from another room of it that it must not.
fn upward_in_db(floors: &Floors, file: &Path, source: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    let Some(own) = module_path(file).into_iter().nth(1).filter(|own| !floors.hall.contains(own))
    else {
        return complaints;
    };
    let Some(own_floor) = floors.rooms.get(&own) else {
        return vec![format!("{}: room `{own}` stands on no floor of db/mod.rs", file.display())];
    };
    for Import { path, line } in imports(file, source) {
        let Some(room) = path.get(1).filter(|room| path[0] == "db" && **room != own) else {
            continue;
        };
        // What is neither a room nor of the hall is a name of `db/mod.rs` itself.
        if floors.rooms.get(room).is_some_and(|floor| floor >= own_floor) {
            let at = format!("{}:{line}", file.display());
            complaints.push(format!("{at}: {own} imports {room}, not from a lower floor"));
        }
    }
    complaints
}

/// Rule 3.
fn untidy(file: &Path, source: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    if !source.starts_with("//!") {
        complaints.push(format!("{}: no `//!` at its head", file.display()));
    }
    let lines = code_lines(source);
    if lines > CODE_LINES_MAX {
        complaints.push(format!(
            "{}: {lines} lines of code, want at most {CODE_LINES_MAX}",
            file.display()
        ));
    }
    complaints
}

/// Lines before the tests that hold more than a comment.
fn code_lines(source: &str) -> usize {
    let code = source.lines().map(str::trim).take_while(|line| *line != "#[cfg(test)]");
    code.filter(|line| !line.is_empty() && !line.starts_with("//")).count()
}

/// Rule 4: the files that a list in `ARCHITECTURE.md` allows `unsafe`.
fn unsafe_files(architecture: &str) -> Vec<String> {
    let section = architecture.split(UNSAFE_HEADING).nth(1).unwrap_or_default();
    let section = section.split("\n## ").next().unwrap_or_default();
    let items = section.lines().filter_map(|line| line.strip_prefix("- `"));
    items.filter_map(|item| item.split('`').next()).map(str::to_owned).collect()
}

/// Rule 4, for one file.
fn misplaced_unsafe(allowed: &[String], file: &Path, source: &str) -> Vec<String> {
    let listed = allowed.iter().any(|name| Path::new(name) == file);
    let first = tokens(source).into_iter().find(|token| token.text == "unsafe");
    match (listed, first) {
        (false, Some(token)) => {
            vec![format!("{}:{}: `unsafe` outside the list", file.display(), token.line)]
        }
        (true, None) => vec![format!("{}: listed, but has no `unsafe`", file.display())],
        _ => Vec::new(),
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the workspace")
}

/// Every `.rs` file below `dir`, relative to the workspace, with its text; sorted.
fn sources(dir: &str) -> Vec<(PathBuf, String)> {
    let root = root();
    let mut found = Vec::new();
    let mut folders = vec![root.join(dir)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of the workspace") {
            let path = entry.expect("an entry of it").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).expect("a source file");
                found.push((path.strip_prefix(&root).expect("below the root").to_owned(), text));
            }
        }
    }
    found.sort();
    assert!(!found.is_empty(), "no source below {dir}");
    found
}

fn everything() -> Vec<(PathBuf, String)> {
    ["crates", "xtask/src", "fuzz/fuzz_targets"].into_iter().flat_map(sources).collect()
}

fn architecture() -> String {
    fs::read_to_string(root().join("ARCHITECTURE.md")).expect("ARCHITECTURE.md")
}

fn assert_none(complaints: Vec<String>) {
    assert!(complaints.is_empty(), "\n  {}\n", complaints.join("\n  "));
}

#[test]
fn arrows_point_down() {
    let engine = sources("crates/esker/src");
    let lib = engine.iter().find(|(path, _)| path.ends_with("src/lib.rs")).expect("lib.rs");
    let floors = Floors::parse(&lib.1);
    let mut complaints = floors.complaints.clone();
    for (path, text) in &engine {
        let file = path.strip_prefix("crates/esker/src").expect("below src");
        complaints.extend(upward_imports(&floors, file, text));
    }
    assert_none(complaints);
}

#[test]
fn arrows_between_the_rooms_of_db_point_down() {
    let rooms = sources("crates/esker/src/db");
    let root = rooms.iter().find(|(path, _)| path.ends_with("db/mod.rs")).expect("db/mod.rs");
    let floors = Floors::parse(&root.1);
    let mut complaints = floors.complaints.clone();
    assert!(!floors.hall.is_empty());
    for (path, text) in &rooms {
        let file = path.strip_prefix("crates/esker/src").expect("below src");
        complaints.extend(upward_in_db(&floors, file, text));
    }
    assert_none(complaints);
}

#[test]
fn every_file_has_a_header_and_a_bounded_length() {
    assert_none(everything().iter().flat_map(|(path, text)| untidy(path, text)).collect());
}

#[test]
fn unsafe_stands_only_where_architecture_md_says() {
    let allowed = unsafe_files(&architecture());
    assert!(!allowed.is_empty(), "ARCHITECTURE.md has no list under {UNSAFE_HEADING:?}");
    let files = everything();
    let missing = allowed.iter().filter(|name| !files.iter().any(|(p, _)| p == Path::new(name)));
    let mut complaints: Vec<_> = missing.map(|name| format!("{name}: listed, not there")).collect();
    complaints.extend(files.iter().flat_map(|(p, text)| misplaced_unsafe(&allowed, p, text)));
    assert_none(complaints);
}

#[test]
fn architecture_md_names_every_file_of_the_published_crates() {
    let map = architecture();
    let crates = ["crates/esker/src", "crates/esker-cli/src", "crates/esker-kvdb/src"];
    let files = crates.into_iter().flat_map(|dir| {
        let strip = move |(path, _): (PathBuf, _)| path.strip_prefix(dir).map(Path::to_owned);
        sources(dir).into_iter().flat_map(strip)
    });
    let unnamed = files.filter(|file| {
        let is_test = file.iter().any(|part| part == "tests" || part == "tests.rs");
        !is_test && !map.contains(&format!("`{}`", file.display()))
    });
    let complaint = |file: PathBuf| format!("{}: run `cargo xtask map`", file.display());
    assert_none(unnamed.map(complaint).collect());
}

mod planted {
    //! A breach of each rule, and what the rule says to it.

    use super::*;

    const LIB: &str = "\
        //! A house.\n\
        // Floor 0: values.\n\
        pub mod base;\n\
        // Floor 2: bytes.\n\
        pub(crate) mod cache;\n\
        mod log;\n\
        // Floor 5: the levels.\n\
        mod tree;\n\
        pub use tree::Tree;\n";

    fn complaints(file: &str, source: &str) -> Vec<String> {
        upward_imports(&Floors::parse(LIB), Path::new(file), source)
    }

    #[test]
    fn floors_are_read_from_the_comments() {
        let floors = Floors::parse(LIB);
        let rooms = [("base", 0), ("cache", 2), ("log", 2), ("tree", 5)];
        assert_eq!(floors.rooms, rooms.map(|(room, floor)| (room.to_owned(), floor)).into());
        assert_eq!(floors.complaints, Vec::<String>::new());
    }

    #[test]
    fn floors_out_of_order_and_homeless_rooms_are_caught() {
        assert_eq!(Floors::parse("// Floor 2: x\nmod a;\n// Floor 1: y\n").complaints.len(), 1);
        assert_eq!(Floors::parse("mod a;\n").complaints, ["`mod a` stands on no floor"]);
    }

    #[test]
    fn a_planted_upward_import_is_caught() {
        let planted = "//! A log.\nuse crate::base::id;\nuse crate::tree::Level;\n";
        assert_eq!(
            complaints("log/mod.rs", planted),
            ["log/mod.rs:3: log imports tree, a floor above"]
        );
    }

    #[test]
    fn a_planted_sideways_import_is_caught() {
        let planted = "fn f() { crate::cache::Cache::new(); }";
        let want = ["log/reader.rs:1: log imports cache, on its own floor"];
        assert_eq!(complaints("log/reader.rs", planted), want);
    }

    #[test]
    fn upward_imports_through_super_groups_and_inline_modules_are_caught() {
        for planted in [
            "use super::super::tree::Level;",
            "use super::{reader, super::tree};",
            "use crate::{base::{id, key}, tree::{self, Level}};",
            "mod tests { use super::super::super::tree; }",
            "mod a { mod b { } } use super::super::tree;",
            "macro_rules! m { () => { $crate::tree::f() } }",
            "fn f(c: char) -> bool { c == '\"' || crate::tree::g('\\'') }",
            "const S: &[u8] = br#\"\"#; use crate::tree;",
        ] {
            let found = complaints("log/writer.rs", planted);
            assert!(
                found.iter().any(|c| c.ends_with("log imports tree, a floor above")),
                "{planted}"
            );
        }
    }

    #[test]
    fn an_import_through_the_crate_root_is_caught() {
        let want = ["tree/get.rs:1: `Error` comes through the crate root"];
        assert_eq!(complaints("tree/get.rs", "use crate::Error;"), want);
        assert_eq!(complaints("tree/get.rs", "use crate::*;").len(), 1);
    }

    #[test]
    fn imports_downward_and_within_the_room_are_fine() {
        for fine in [
            "use crate::base::id::SeqNo; use crate::log::reader; use super::reader::Frame;",
            "mod tests { use super::*; use super::super::frame; use crate::base; }",
            "// use crate::tree\n/* crate::tree /* nested */ */ const S: &str = \"crate::tree\";",
            "const R: &str = r#\"crate::tree \" \"#; fn f<'a>(x: &'a u8) -> &'a u8 { x }",
            "const B: &[u8] = b\"crate::tree\"; const C: u8 = b'\\''; pub(crate) fn f() {}",
        ] {
            assert_eq!(complaints("log/writer.rs", fine), Vec::<String>::new(), "{fine}");
        }
    }

    #[test]
    fn an_upward_import_between_rooms_of_db_is_caught() {
        let floors = "// Hall: all.\nmod core;\n// Floor 1: below.\nmod read;\nmod files;\n\
            // Floor 2: above.\npub(crate) mod write;\n";
        let floors = Floors::parse(floors);
        assert_eq!(floors.complaints, Vec::<String>::new());
        let complaints = |file, source| upward_in_db(&floors, Path::new(file), source);
        let planted =
            "//! Reads.\nuse crate::db::write::batch;\nuse super::super::files::Ledger;\n";
        let want = [
            "db/read/get.rs:2: read imports write, not from a lower floor",
            "db/read/get.rs:3: read imports files, not from a lower floor",
        ];
        assert_eq!(complaints("db/read/get.rs", planted), want);
        let fine = "use crate::db::read::get; use crate::db::{Db, core::Core}; use super::slot;";
        assert_eq!(complaints("db/write/batch.rs", fine), Vec::<String>::new());
        assert_eq!(complaints("db/core.rs", "use super::write::batch;"), Vec::<String>::new());
        assert_eq!(complaints("db/attic/mod.rs", "").len(), 1);
    }

    #[test]
    fn a_room_that_lib_rs_does_not_list_is_caught() {
        assert_eq!(complaints("attic/mod.rs", "").len(), 1);
    }

    #[test]
    fn a_missing_header_and_an_endless_file_are_caught() {
        assert_eq!(untidy(Path::new("a.rs"), "use std::fmt;\n").len(), 1);
        let long = format!("//! Long.\n{}", "fn f() {}\n".repeat(CODE_LINES_MAX + 1));
        assert_eq!(untidy(Path::new("a.rs"), &long).len(), 1);
        let tested =
            format!("//! Fine.\n#[cfg(test)]\n{}", "fn f() {}\n".repeat(CODE_LINES_MAX + 1));
        assert_eq!(untidy(Path::new("a.rs"), &tested), Vec::<String>::new());
    }

    #[test]
    fn unsafe_outside_the_list_and_a_stale_list_are_caught() {
        let map = format!(
            "# Map\n{UNSAFE_HEADING}\n\n- `a.rs`: why\n- `b.rs`: why\n\n## More\n- `c.rs`\n"
        );
        let allowed = unsafe_files(&map);
        assert_eq!(allowed, ["a.rs", "b.rs"]);
        let block = "fn f() { unsafe { g() } }";
        assert_eq!(misplaced_unsafe(&allowed, Path::new("a.rs"), block), Vec::<String>::new());
        assert_eq!(misplaced_unsafe(&allowed, Path::new("c.rs"), block).len(), 1);
        assert_eq!(misplaced_unsafe(&allowed, Path::new("b.rs"), "// unsafe").len(), 1);
    }
}
