//! Holds the shape of the crate: rooms stand on floors and import downwards only, the kernel and the stack switch each
//! have one room, `unsafe` stays where it is argued, the library depends on four crates, and its package is whole.
//!
//! The checks read the source as text, with comments and strings blanked out. Each is a function of `(path, text)` pairs
//! and is shown to fail below on a small bad input.

use std::fs;
use std::path::Path;

/// Each room and its floor. A room imports from lower floors only; so neighbours never import each other.
const FLOORS: &[(&str, u8)] = &[
    ("error", 0),
    ("sys", 0),
    ("greenlet", 1),
    ("hub", 2),
    ("task", 3),
    ("sync", 4),
    ("channel", 4),
    ("threadpool", 4),
    ("io", 5),
    ("net", 6),
    ("fs", 6),
    ("process", 6),
    ("signal", 6),
    ("select", 6),
    ("event", 6),
    ("queue", 6),
    ("pool", 6),
    ("server", 7),
    ("workers", 7),
    ("inspect", 7),
    ("monkey", 8),
];

/// Files beside the rooms: the front door, and pages that are all prose.
const PAGES: &[&str] = &["lib", "guide", "design"];

/// A crate that only some rooms may name.
const CONFINED: &[(&str, &[&str])] = &[("libc", &["sys", "monkey"]), ("corosensei", &["greenlet"])];

/// Rooms that may be unsafe throughout; `lib.rs` says why at their declaration.
const UNSAFE_ROOMS: &[&str] = &["sys", "greenlet", "monkey"];

/// Floors where even a single leaf file may not be unsafe.
const SAFE_FLOORS: &[u8] = &[0, 6];

/// What the library depends on, no more and no less.
const DEPENDENCIES: &[&str] = &["corosensei", "libc", "slab", "thiserror"];

/// Names that say nothing of what a file holds.
const UNOWNED_NAMES: &[&str] = &["util", "utils", "common", "helper", "helpers", "misc"];

#[test]
fn imports_point_down() {
    assert_none(imports(&library()));
}

#[test]
fn the_kernel_and_the_switch_have_one_room_each() {
    assert_none(confinement(&library()));
}

#[test]
fn unsafe_code_stays_where_it_is_argued() {
    assert_none(unsafety(&library()));
}

#[test]
fn every_file_is_named_for_what_it_holds() {
    assert_none(names(&files(&["src", "tests", "examples", "benches"])));
}

#[test]
fn nothing_is_unfinished() {
    assert_none(unfinished(&files(&["src", "tests", "examples", "benches"])));
}

#[test]
fn the_library_depends_on_four_crates() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).expect("the manifest");
    assert_none(dependencies(&manifest));
}

#[test]
fn the_readme_is_whole_where_the_package_is_unpacked() {
    let read = |name| fs::read_to_string(root().join(name)).expect("a file beside the manifest");
    assert_none(unpackaged(&read("README.md"), &read("Cargo.toml")));
}

/// A file, by its path from the crate's root.
type File = (String, String);

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn library() -> Vec<File> {
    let library = files(&["src"]);
    assert!(library.len() > 3, "the sources were not found");
    library
}

fn files(folders: &[&str]) -> Vec<File> {
    let mut found = Vec::new();
    let mut open: Vec<_> =
        folders.iter().map(|folder| root().join(folder)).filter(|path| path.exists()).collect();
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(
                fs::read_dir(path).expect("a readable folder").map(|entry| entry.expect("an entry").path()),
            );
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).expect("a readable file");
            let path = path.strip_prefix(root()).expect("below the root");
            found.push((path.to_str().expect("a path in UTF-8").to_owned(), text));
        }
    }
    found.sort();
    found
}

fn assert_none(violations: Vec<String>) {
    assert!(violations.is_empty(), "\n{}", violations.join("\n"));
}

// ---- the rules ------------------------------------------------------------------------------------------------------

fn imports(files: &[File]) -> Vec<String> {
    let mut violations = Vec::new();
    for (path, text) in files {
        let room = room(path);
        let floor = floor(room);
        if PAGES.contains(&room) {
            continue;
        }
        let Some(floor) = floor else {
            violations.push(format!("{path}: `{room}` stands on no floor"));
            continue;
        };
        let code = code(text);
        for (line, target) in imported(path, &code) {
            let complaint = match self::floor(&target) {
                _ if target == room => continue,
                Some(_) if target == "monkey" => "nobody imports `monkey`".to_owned(),
                Some(below) if below < floor => continue,
                Some(_) => format!("`{room}` on floor {floor} imports `{target}`, which is not below it"),
                None => format!("`{target}` is no room: name the room that has the item"),
            };
            violations.push(format!("{path}:{line}: {complaint}"));
        }
    }
    violations
}

fn confinement(files: &[File]) -> Vec<String> {
    let mut violations = Vec::new();
    for (path, text) in files {
        for (line, word) in words(&code(text)) {
            if CONFINED.iter().any(|(name, rooms)| *name == word && !rooms.contains(&room(path))) {
                violations.push(format!("{path}:{line}: names `{word}`, which is for other rooms"));
            }
        }
    }
    violations
}

fn unsafety(files: &[File]) -> Vec<String> {
    let mut violations = Vec::new();
    for (path, text) in files {
        let room = room(path);
        if UNSAFE_ROOMS.contains(&room) {
            continue;
        }
        let safe_floor = floor(room).is_some_and(|floor| SAFE_FLOORS.contains(&floor));
        let argued = text.split_whitespace().collect::<String>().contains("#![expect(unsafe_code,reason=\"");
        for (line, _) in words(&code(text)).into_iter().filter(|(_, word)| *word == "unsafe") {
            if safe_floor {
                violations.push(format!("{path}:{line}: `{room}` has no `unsafe`"));
            } else if !argued {
                violations.push(format!("{path}:{line}: the file does not open by saying why it is unsafe"));
            }
        }
    }
    violations
}

fn names(files: &[File]) -> Vec<String> {
    let unowned =
        |path: &&str| path.split('/').any(|part| UNOWNED_NAMES.contains(&part.trim_end_matches(".rs")));
    let paths = files.iter().map(|(path, _)| path.as_str()).filter(unowned);
    paths.map(|path| format!("{path}: a name that says nothing")).collect()
}

fn unfinished(files: &[File]) -> Vec<String> {
    // In halves, since this file is read too.
    let marks = [
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("#[", "ignore"),
        concat!("to", "do!("),
        concat!("unimple", "mented!("),
    ];
    let mut violations = Vec::new();
    for (path, text) in files {
        for (number, line) in text.lines().enumerate() {
            if let Some(mark) = marks.iter().find(|mark| line.contains(**mark)) {
                violations.push(format!("{path}:{}: `{mark}`", number + 1));
            }
        }
    }
    violations
}

fn dependencies(manifest: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut violations = Vec::new();
    let mut section = "";
    for line in manifest.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some(header) = line.strip_prefix('[') {
            section = header.trim_end_matches(']');
            let other = section.contains("dependencies")
                && !matches!(section, "dependencies" | "dev-dependencies" | "workspace.dependencies");
            if other {
                violations
                    .push(format!("Cargo.toml: [{section}]: one plain table of dependencies is enough"));
            }
        } else if section == "dependencies" {
            found.push(line.split(['=', '.', ' ']).next().unwrap_or_default());
        }
    }
    found.sort_unstable();
    if found != DEPENDENCIES {
        violations.push(format!("Cargo.toml: depends on {found:?} and not on {DEPENDENCIES:?}"));
    }
    violations
}

/// Links of `readme` to what `cargo package` leaves out: what is not there, what `manifest` excludes, and other packages.
fn unpackaged(readme: &str, manifest: &str) -> Vec<String> {
    let excluded = manifest.lines().find_map(|line| line.strip_prefix("exclude = [")).unwrap_or_default();
    let excluded: Vec<&str> = excluded.split('"').skip(1).step_by(2).collect();
    let packaged = |link: &str| {
        let path = Path::new(link);
        let other_package =
            path.ancestors().any(|folder| folder != "" && root().join(folder).join("Cargo.toml").exists());
        root().join(path).exists()
            && !other_package
            && !excluded.iter().any(|folder| path.starts_with(folder))
    };
    // `](target)` within a line of text, `]: target` at the end of a page.
    let inline = readme.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let by_name = readme
        .lines()
        .filter_map(|line| line.strip_prefix('[')?.split_once("]: "))
        .map(|(_name, target)| target);
    let links = inline.chain(by_name).filter(|link| !link.starts_with("https://"));
    links.filter(|link| !packaged(link)).map(|link| format!("README.md: `{link}` is not packaged")).collect()
}

// ---- reading source as text -----------------------------------------------------------------------------------------

fn floor(room: &str) -> Option<u8> {
    FLOORS.iter().find(|(name, _)| *name == room).map(|(_, floor)| *floor)
}

/// The room of `src/room.rs` and of everything in `src/room/`.
fn room(path: &str) -> &str {
    path.trim_start_matches("src/").split('/').next().unwrap_or_default().trim_end_matches(".rs")
}

/// How many modules deep a file is: `src/hub/mod.rs` and `src/error.rs` 1, `src/hub/timers.rs` 2.
fn depth(path: &str) -> usize {
    path.split('/').count() - 1 - usize::from(path.ends_with("/mod.rs"))
}

/// `text` with comments, strings and character literals blanked out, line for line.
fn code(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let literal = literal_length(rest, code.chars().next_back());
        let length = literal.unwrap_or(first.len_utf8());
        let (taken, remaining) = rest.split_at(length);
        match literal {
            Some(_) => code.extend(taken.chars().filter(|character| *character == '\n')),
            None => code.push_str(taken),
        }
        if literal.is_some() {
            code.push(' ');
        }
        rest = remaining;
    }
    code
}

/// The length of the comment, string or character literal that `rest` begins with.
fn literal_length(rest: &str, before: Option<char>) -> Option<usize> {
    if rest.starts_with("//") {
        return Some(rest.find('\n').unwrap_or(rest.len()));
    }
    if rest.starts_with("/*") {
        return Some(rest.find("*/").map_or(rest.len(), |end| end + 2));
    }
    if rest.starts_with('"') {
        return Some(quoted(rest, '"'));
    }
    let in_word = before.is_some_and(|character| character.is_alphanumeric() || "_$".contains(character));
    if !in_word && let Some(raw) = rest.strip_prefix("br").or_else(|| rest.strip_prefix('r')) {
        let hashes = raw.len() - raw.trim_start_matches('#').len();
        if raw[hashes..].starts_with('"') {
            let end = format!("\"{}", "#".repeat(hashes));
            let prefix = rest.len() - raw.len() + hashes + 1;
            return Some(rest[prefix..].find(&end).map_or(rest.len(), |at| prefix + at + end.len()));
        }
    }
    if rest.starts_with('\'') {
        // A lifetime has no closing quote after its first character.
        let mut characters = rest.chars().skip(1);
        let escaped = characters.next() == Some('\\');
        if escaped || characters.next() == Some('\'') {
            return Some(quoted(rest, '\''));
        }
    }
    None
}

fn quoted(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, character) in rest.char_indices().skip(1) {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if character == quote => return at + quote.len_utf8(),
            _ => {}
        }
    }
    rest.len()
}

/// Every identifier and keyword with its line.
fn words(code: &str) -> Vec<(usize, &str)> {
    let boundary = |character: char| !character.is_alphanumeric() && character != '_';
    let lines = code.lines().enumerate();
    lines.flat_map(|(number, line)| line.split(boundary).map(move |word| (number + 1, word))).collect()
}

/// What follows `crate::`, and `super::` where that reaches the crate's root: the first name of each path, with its line.
/// Macros are left out, since all exported ones live at the root.
fn imported(path: &str, code: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let own_word =
            !code[..at].ends_with(|character: char| character.is_alphanumeric() || "_$".contains(character));
        // `$crate::item` in a macro is a path of the caller's, `pub(in crate::room)` is no import.
        if own_word && !code[..at].trim_end().ends_with("(in") {
            first_names(&code[at + "crate::".len()..], line_of(code, at), &mut found);
        }
    }
    for (at, _) in code.match_indices("super::") {
        if code[..at].ends_with("super::") {
            continue;
        }
        let mut rest = &code[at..];
        let mut climbed = 0;
        while let Some(next) = rest.strip_prefix("super::") {
            rest = next;
            climbed += 1;
        }
        if climbed >= depth(path) + inline_modules(&code[..at]) {
            first_names(rest, line_of(code, at), &mut found);
        }
    }
    found
}

fn line_of(code: &str, at: usize) -> usize {
    code[..at].matches('\n').count() + 1
}

fn first_names(rest: &str, line: usize, found: &mut Vec<(usize, String)>) {
    let Some(group) = rest.strip_prefix('{') else {
        let name: String =
            rest.chars().take_while(|character| character.is_alphanumeric() || *character == '_').collect();
        if !rest[name.len()..].starts_with('!') {
            found.push((line, if name.is_empty() { "*".to_owned() } else { name }));
        }
        return;
    };
    let mut nested = 0;
    let mut start = 0;
    for (at, character) in group.char_indices() {
        match character {
            '{' => nested += 1,
            '}' if nested > 0 => nested -= 1,
            ',' | '}' if nested == 0 => {
                let item = group[start..at].trim_start();
                if !item.trim().is_empty() {
                    first_names(item, line, found);
                }
                start = at + 1;
                if character == '}' {
                    return;
                }
            }
            _ => {}
        }
    }
}

/// How many `mod name { .. }` blocks are open at the end of `before`.
fn inline_modules(before: &str) -> usize {
    let mut open = Vec::new();
    let mut statement = 0;
    for (at, character) in before.char_indices() {
        match character {
            '{' => {
                let head: Vec<&str> = before[statement..at].split_whitespace().collect();
                open.push(matches!(head.as_slice(), [.., "mod", _]));
            }
            '}' => drop(open.pop()),
            ';' => {}
            _ => continue,
        }
        statement = at + 1;
    }
    open.into_iter().filter(|module| *module).count()
}

// ---- each rule seen to fail -----------------------------------------------------------------------------------------

mod seen_to_fail {
    use super::*;

    fn complaints(rule: fn(&[File]) -> Vec<String>, path: &str, text: &str) -> Vec<String> {
        rule(&[(path.to_owned(), text.to_owned())])
    }

    #[test]
    fn an_import_upwards_or_sideways() {
        let bad = [
            (
                "src/hub/mod.rs",
                "use crate::task::spawn;",
                "src/hub/mod.rs:1: `hub` on floor 2 imports `task`",
            ),
            (
                "src/net/tcp.rs",
                "\nuse crate::process::Command;",
                "src/net/tcp.rs:2: `net` on floor 6 imports `process`",
            ),
            ("src/error.rs", "use crate::sys::clock::Time;", "`error` on floor 0 imports `sys`"),
            ("src/sync/mutex.rs", "use crate::{hub::{waiter, ready}, channel::Sender};", "imports `channel`"),
            ("src/hub/mod.rs", "fn run() { crate::task::spawn(|| ()) }", "imports `task`"),
            ("src/server.rs", "use crate::monkey;", "nobody imports `monkey`"),
            ("src/io/mod.rs", "use crate::spawn;", "`spawn` is no room"),
            ("src/io/mod.rs", "use crate::*;", "`*` is no room"),
            ("src/error.rs", "use super::task;", "imports `task`"),
            ("src/hub/timers.rs", "use super::super::task;", "imports `task`"),
            ("src/hub/timers.rs", "mod tests { use super::super::super::task; }", "imports `task`"),
            ("src/rubbish/mod.rs", "", "`rubbish` stands on no floor"),
        ];
        for (path, text, expected) in bad {
            let complaints = complaints(imports, path, text);
            assert!(matches!(&complaints[..], [only] if only.contains(expected)), "{text}: {complaints:?}");
        }
    }

    #[test]
    fn but_not_an_import_downwards() {
        let good = [
            ("src/lib.rs", "pub use crate::task::spawn;"),
            ("src/task/mod.rs", "use crate::{error::Elapsed, hub::{self, waiter::Waiter}, task::scope};"),
            ("src/task/local.rs", "crate::greenlet_local!(static X: u32 = 1);"),
            (
                "src/hub/timers.rs",
                "use super::ready; mod tests { use super::super::waiter; fn f() { if a { super::x() } } }",
            ),
            (
                "src/hub/mod.rs",
                "// crate::task::spawn\n/* crate::task */ const S: &str = \"crate::task \\\" crate::task\";",
            ),
            (
                "src/hub/mod.rs",
                "const R: &str = r#\"\"crate::task\"#; fn f<'a>(x: &'a str) -> char { '\"' } const T: char = '\\'';",
            ),
        ];
        for (path, text) in good {
            assert_eq!(complaints(imports, path, text), [""; 0], "{text}");
        }
    }

    #[test]
    fn a_crate_outside_its_room() {
        assert_eq!(complaints(confinement, "src/hub/mod.rs", "use libc::c_int;").len(), 1);
        assert_eq!(complaints(confinement, "src/hub/mod.rs", "fn f() { ::corosensei::x() }").len(), 1);
        assert_eq!(complaints(confinement, "src/sys/mod.rs", "use corosensei::Coroutine;").len(), 1);
        assert_eq!(complaints(confinement, "src/sys/mod.rs", "use libc::c_int; // corosensei").len(), 0);
    }

    #[test]
    fn unsafe_code_without_an_argument() {
        let argued = "#![expect(unsafe_code, reason = \"a slot is written once\")]\nunsafe { x() }";
        assert_eq!(complaints(unsafety, "src/sync/once.rs", "fn f() { unsafe { x() } }").len(), 1);
        assert_eq!(complaints(unsafety, "src/sync/once.rs", argued).len(), 0);
        assert_eq!(complaints(unsafety, "src/net/tcp.rs", argued).len(), 1);
        assert_eq!(complaints(unsafety, "src/net/tcp.rs", "#![forbid(unsafe_code)] // unsafe").len(), 0);
    }

    #[test]
    fn a_name_that_says_nothing() {
        assert_eq!(complaints(names, "src/hub/util.rs", "").len(), 1);
        assert_eq!(complaints(names, "tests/common/mod.rs", "").len(), 1);
        assert_eq!(complaints(names, "src/hub/utility_room.rs", "").len(), 0);
    }

    #[test]
    fn unfinished_work() {
        let mark = concat!("// TO", "DO: later");
        assert_eq!(complaints(unfinished, "src/hub/mod.rs", mark), [concat!("src/hub/mod.rs:1: `TO", "DO`")]);
    }

    #[test]
    fn a_fifth_dependency_or_a_hidden_one() {
        let four = "[dependencies]\ncorosensei = { version = \"0.3\" }\nlibc = \"0.2\"\nslab.version = \"0.4\"\nthiserror = \"2\"\n";
        assert_eq!(dependencies(four), [""; 0]);
        assert_eq!(dependencies(&format!("{four}[dev-dependencies]\ndivan = \"0.1\"\n")), [""; 0]);
        assert_eq!(dependencies(&format!("{four}[workspace.dependencies]\nureq = \"3\"\n")), [""; 0]);
        assert_eq!(dependencies(&format!("{four}log = \"0.4\"\n")).len(), 1);
        assert_eq!(dependencies(&four.replace("libc", "# libc")).len(), 1);
        assert_eq!(
            dependencies(&format!("{four}[target.'cfg(unix)'.dependencies]\nlog = \"0.4\"\n")).len(),
            1
        );
        assert_eq!(dependencies(&format!("{four}[dependencies.log]\nversion = \"1\"\n")).len(), 1);
        assert_eq!(dependencies(&format!("{four}[build-dependencies]\ncc = \"1\"\n")).len(), 1);
    }

    #[test]
    fn a_link_to_what_is_not_packaged() {
        let complaints = |readme| unpackaged(readme, "[package]\nexclude = [\".ci\", \"model\"]\n");
        for good in
            ["[a](CHANGELOG.md) [b](examples)", "![c](benches/cost.svg)", "[d]: https://docs.rs/greenloop"]
        {
            assert_eq!(complaints(good), [""; 0]);
        }
        for bad in
            ["[a](NOWHERE.md)", "[b](.ci/run)", "[c](examples/crawler/src/main.rs)", "[d]: model/main.rs"]
        {
            assert_eq!(complaints(bad).len(), 1, "{bad}");
        }
    }
}
