//! Holds the shape of the crate: rooms stand on floors and import downwards only, files import never in a circle, the kernel and
//! the stack switch each have one room, `unsafe` stays where it is argued, the library depends on four crates, and its package is
//! whole.
//!
//! The checks read the source as text, with comments and strings blanked out. Each is a function of `(path, text)` pairs
//! and is shown to fail below on a small bad input.

// The source is the same with optimisation and a sanitizer.
#![cfg(all(debug_assertions, not(address_sanitizer)))]

use std::collections::VecDeque;
use std::fs;
use std::path::Path;

/// Each room and its floor. A room imports from lower floors only; so neighbours never import each other.
const FLOORS: &[(&str, u8)] = &[
    ("error", 0),
    ("sys", 0),
    ("fiber", 1),
    ("hub", 2),
    ("greenlet", 3),
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
    ("processes", 7),
    ("inspect", 7),
    ("testing", 7),
    ("workers", 8),
    ("monkey", 8),
];

/// Files beside the rooms: the front door, and pages that are all prose.
const PAGES: &[&str] = &["lib", "guide", "design"];

/// A crate that only some rooms may name.
const CONFINED: &[(&str, &[&str])] = &[("libc", &["sys", "monkey"]), ("corosensei", &["fiber"])];

/// Rooms that may be unsafe throughout; `lib.rs` says why at their declaration.
const UNSAFE_ROOMS: &[&str] = &["sys", "fiber", "greenlet", "monkey"];

/// Floors where even a single leaf file may not be unsafe.
const SAFE_FLOORS: &[u8] = &[0, 6];

/// What the library depends on, no more and no less.
const DEPENDENCIES: &[&str] = &["corosensei", "libc", "slab", "thiserror"];

/// Public enums that are matched in full: what they can say is all that there is, or they have crossbeam's and std's names and do as
/// those, or they are no values but parameters.
const CLOSED_ENUMS: &[&str] = &[
    "Fork",
    "GetError",
    "PutError",
    "RecvTimeoutError",
    "SendTimeoutError",
    "TryRecvError",
    "TrySendError",
    "Fifo",
    "Lifo",
    "Priority",
];

/// Names that say nothing of what a file holds.
const UNOWNED_NAMES: &[&str] = &["util", "utils", "common", "helper", "helpers", "misc"];

#[test]
fn imports_point_down() {
    assert_none(imports(&library()));
}

#[test]
fn no_files_name_each_other_in_a_circle() {
    assert_none(circles(&library(), &[]));
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
fn an_enum_that_may_grow_says_so() {
    assert_none(closed_enums(&library()));
}

#[test]
fn every_public_error_is_seen_to_go_anywhere() {
    let asserted = fs::read_to_string(root().join("tests/front_door/errors.rs")).expect("the assertions");
    assert_none(unasserted_errors(&library(), &asserted));
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

/// Files that name each other's items in a circle, but for the `excused`, and those of these that are in none.
///
/// A file names another where it imports or spells out the path of an item in there. A name that a parent only re-exports counts
/// as a name of the file that has it, so a `mod.rs` is part of a circle only if its own items are used from below, and its own
/// items use what is below. What tests name does not count.
fn circles(files: &[File], excused: &[&str]) -> Vec<String> {
    let files = files.iter().filter(|(path, _)| !path.ends_with("/tests.rs") && !path.contains("/tests/"));
    let sources: Vec<Source> =
        files.map(|(path, text)| Source::read(path, without_tests(&code(text)))).collect();
    let named = named(&sources);
    let mut unused = excused.to_vec();
    let mut violations = Vec::new();
    for (start, source) in sources.iter().enumerate() {
        let Some(way) = shortest_way_back(start, &named) else { continue };
        let excuses = |excused: &&str| {
            source.path == *excused || excused.ends_with('/') && source.path.starts_with(excused)
        };
        if excused.iter().any(excuses) {
            unused.retain(|excused| !excuses(excused));
        } else {
            let way: Vec<&str> = way.into_iter().map(|file| sources[file].path).collect();
            violations.push(format!("a circle: {}", way.join(" -> ")));
        }
    }
    violations.extend(unused.into_iter().map(|path| format!("{path}: in no circle any more: strike it out")));
    violations
}

/// Of each file, the files whose items it names.
fn named(sources: &[Source]) -> Vec<Vec<usize>> {
    let targets = |(from, source): (usize, &Source)| {
        let mut targets = Vec::new();
        for (_, path) in source.paths.iter().filter(|(re_export, _)| !re_export) {
            owners(sources, path, MOST_RE_EXPORTS, &mut targets);
        }
        targets.retain(|&to| to != from);
        targets.sort_unstable();
        targets.dedup();
        targets
    };
    sources.iter().enumerate().map(targets).collect()
}

/// How often a name is handed on at most before it is there.
const MOST_RE_EXPORTS: usize = 4;

/// Adds the file that has the item at `path`: the deepest module on the way, or where that has the name from.
fn owners(sources: &[Source], path: &[String], left: usize, found: &mut Vec<usize>) {
    let deepest = |source: &&Source| path.starts_with(&source.module);
    let Some(source) = sources.iter().filter(deepest).max_by_key(|source| source.module.len()) else {
        return;
    };
    let handed_on = path.get(source.module.len()).and_then(|name| {
        let has_name = |(re_export, path): &&(bool, Vec<String>)| *re_export && path.last() == Some(name);
        source.paths.iter().find(has_name)
    });
    match handed_on {
        Some((_, path)) if left > 0 => owners(sources, path, left - 1, found),
        _ => found.extend(sources.iter().position(|other| other.path == source.path)),
    }
}

fn shortest_way_back(start: usize, named: &[Vec<usize>]) -> Option<Vec<usize>> {
    let mut from = vec![None; named.len()];
    let mut open = VecDeque::from([start]);
    while let Some(file) = open.pop_front() {
        for &next in &named[file] {
            if next == start {
                let mut way = vec![start];
                let mut at = file;
                while at != start {
                    way.push(at);
                    at = from[at].expect("it was reached from somewhere");
                }
                way.push(start);
                way.reverse();
                return Some(way);
            }
            if from[next].is_none() {
                from[next] = Some(file);
                open.push_back(next);
            }
        }
    }
    None
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

fn closed_enums(files: &[File]) -> Vec<String> {
    let closed = public_items(files, &["enum"]).into_iter().filter(|item| {
        !item.attributes.contains("non_exhaustive") && !CLOSED_ENUMS.contains(&item.name.as_str())
    });
    closed.map(|item| format!("{}: `{}` is not `non_exhaustive`", item.path, item.name)).collect()
}

fn unasserted_errors(files: &[File], asserted: &str) -> Vec<String> {
    let mut errors: Vec<_> = public_items(files, &["enum", "struct"])
        .into_iter()
        .filter(|item| {
            let derived = words(&item.attributes).iter().any(|(_, word)| *word == "Error");
            let by_hand = format!("Error for {}", item.name);
            derived || files.iter().any(|(_, text)| text.contains(&by_hand))
        })
        .collect();
    errors.retain(|item| !asserted.contains(&format!("goes_anywhere::<{}", item.name)));
    errors.into_iter().map(|item| format!("{}: `{}` is not asserted", item.path, item.name)).collect()
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

/// An item that is declared `pub`.
struct Item {
    path: String,
    name: String,
    /// What stands before it, since the last line without an attribute.
    attributes: String,
}

fn public_items(files: &[File], kinds: &[&str]) -> Vec<Item> {
    let mut found = Vec::new();
    for (path, text) in files {
        let mut attributes = String::new();
        for line in code(text).lines().map(str::trim) {
            let declared = line.strip_prefix("pub ").and_then(|item| item.split_once(' '));
            if let Some((_, rest)) = declared.filter(|(kind, _)| kinds.contains(kind)) {
                let name = rest.chars().take_while(|character| character.is_alphanumeric()).collect();
                found.push(Item { path: path.clone(), name, attributes: attributes.clone() });
            }
            // An attribute may take several lines, and ends with a bracket.
            let attribute = line.starts_with("#[") || (!attributes.is_empty() && !attributes.ends_with(']'));
            match attribute {
                true => attributes.push_str(line),
                false if line.is_empty() => {}
                false => attributes.clear(),
            }
        }
    }
    found
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

/// The room that each path begins with which starts at the crate's root, with its line.
fn imported(path: &str, code: &str) -> Vec<(usize, String)> {
    let paths = paths(path, code).into_iter();
    let mut rooms: Vec<_> = paths
        .filter(|found| found.from_root)
        .map(|found| (line_of(code, found.at), found.names.into_iter().next().unwrap_or_default()))
        .collect();
    rooms.dedup();
    rooms
}

/// A file, as the paths in it have it.
struct Source<'a> {
    path: &'a str,
    /// Where its items are: `["hub", "timers"]`.
    module: Vec<String>,
    /// Each path that it names, from the root of the crate, and whether it only hands that on.
    paths: Vec<(bool, Vec<String>)>,
}

impl<'a> Source<'a> {
    fn read(path: &'a str, code: &str) -> Source<'a> {
        let paths = paths(path, code).into_iter().map(|found| (is_re_export(&code[..found.at]), found.names));
        Source { path, module: module(path), paths: paths.collect() }
    }
}

/// The names of the modules that a file is in: `["hub", "timers"]` for `src/hub/timers.rs`, none for `src/lib.rs`.
fn module(path: &str) -> Vec<String> {
    let path = path.trim_start_matches("src/").trim_end_matches(".rs").trim_end_matches("/mod");
    if path == "lib" { Vec::new() } else { path.split('/').map(str::to_owned).collect() }
}

/// Whether what follows `before` is handed on by `pub use`, under any visibility.
fn is_re_export(before: &str) -> bool {
    let statement = before.rsplit(';').next().unwrap_or_default();
    let words: Vec<&str> = statement.split_whitespace().collect();
    let is_use = |at: &usize| words[*at] == "use";
    (0..words.len()).find(is_use).is_some_and(|at| {
        at > 0 && words[at - 1].starts_with("pub") || at > 1 && words[at - 1].ends_with(')')
    })
}

/// A path that code names.
struct Found {
    at: usize,
    /// From the root of the crate.
    names: Vec<String>,
    /// Whether it is written from there.
    from_root: bool,
}

/// Each path that begins with `crate::`, `super::`, or the name of a module that `code` declares. Macros are left out, since all
/// exported ones live at the root.
fn paths(path: &str, code: &str) -> Vec<Found> {
    let mut found = Vec::new();
    let mut add = |at: usize, rest: &str, start: &[String], from_root| {
        let mut names = Vec::new();
        spell_out(rest, start, &mut names);
        found.extend(names.into_iter().map(|names| Found { at, names, from_root }));
    };
    let own_word = |at: usize| {
        !code[..at].ends_with(|character: char| character.is_alphanumeric() || "_$:".contains(character))
    };
    for (at, _) in code.match_indices("crate::") {
        // `$crate::item` in a macro is a path of the caller's, `pub(in crate::room)` is no import.
        if own_word(at) && !code[..at].trim_end().ends_with("(in") {
            add(at, &code[at + "crate::".len()..], &[], true);
        }
    }
    let module = module(path);
    for (at, _) in code.match_indices("super::").filter(|(at, _)| own_word(*at)) {
        let mut rest = &code[at..];
        let mut climbed = 0;
        while let Some(next) = rest.strip_prefix("super::") {
            rest = next;
            climbed += 1;
        }
        // Out of the modules within the file first.
        let climbed = usize::saturating_sub(climbed, inline_modules(&code[..at]));
        let start = &module[..module.len().saturating_sub(climbed)];
        add(at, rest, start, start.is_empty());
    }
    for child in declared(code) {
        let start: Vec<String> = module.iter().cloned().chain([child.to_owned()]).collect();
        let prefix = format!("{child}::");
        for (at, _) in code.match_indices(&prefix).filter(|(at, _)| own_word(*at)) {
            add(at, &code[at + prefix.len()..], &start, false);
        }
    }
    found
}

/// `code` up to its module of tests, which is the last of it.
fn without_tests(code: &str) -> &str {
    let opens_module =
        |rest: &str| rest.lines().nth(1).is_some_and(|line| line.contains("mod ") && line.ends_with('{'));
    let module = code.match_indices("#[cfg(test)]\n").find(|(at, _)| opens_module(&code[*at..]));
    module.map_or(code, |(at, _)| &code[..at])
}

/// The modules that `code` says are in files of their own.
fn declared(code: &str) -> Vec<&str> {
    let words: Vec<&str> = code.split_whitespace().collect();
    words.windows(2).filter(|pair| pair[0] == "mod").filter_map(|pair| pair[1].strip_suffix(';')).collect()
}

fn line_of(code: &str, at: usize) -> usize {
    code[..at].matches('\n').count() + 1
}

/// Adds each path of `rest`, a tree of imports or a path in an expression, that continues `start`.
fn spell_out(rest: &str, start: &[String], found: &mut Vec<Vec<String>>) {
    let mut names = start.to_vec();
    let mut rest = rest.trim_start();
    while !rest.starts_with('{') {
        let end = rest.find(|character: char| !character.is_alphanumeric() && character != '_');
        let (name, remaining) = rest.split_at(end.unwrap_or(rest.len()));
        match name {
            _ if remaining.starts_with('!') => return,
            "self" => {}
            "" => names.push("*".to_owned()),
            name => names.push(name.to_owned()),
        }
        let Some(next) = remaining.strip_prefix("::").filter(|next| !next.starts_with('<')) else {
            found.push(names);
            return;
        };
        rest = next;
    }
    let group = &rest[1..];
    let mut nested = 0;
    let mut from = 0;
    for (at, character) in group.char_indices() {
        match character {
            '{' => nested += 1,
            '}' if nested > 0 => nested -= 1,
            ',' | '}' if nested == 0 => {
                let item = group[from..at].trim();
                if !item.is_empty() {
                    spell_out(item, &names, found);
                }
                from = at + 1;
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

    fn circles_of(files: &[(&str, &str)], excused: &[&str]) -> Vec<String> {
        let files: Vec<File> =
            files.iter().map(|(path, text)| (path.to_string(), text.to_string())).collect();
        circles(&files, excused)
    }

    #[test]
    fn files_in_a_circle() {
        let two = [
            ("src/hub/ready.rs", "use super::timers::Timers;"),
            ("src/hub/timers.rs", "fn f() { crate::hub::ready::x() }"),
        ];
        let complaint = "a circle: src/hub/ready.rs -> src/hub/timers.rs -> src/hub/ready.rs";
        let complaints = circles_of(&two, &[]);
        assert!(matches!(&complaints[..], [first, _] if first == complaint), "{complaints:?}");
        assert_eq!(circles_of(&two, &["src/hub/ready.rs", "src/hub/timers.rs"]), [""; 0]);
        assert_eq!(circles_of(&two, &["src/hub/"]), [""; 0]);

        let by_the_parents_names = [
            (
                "src/task/mod.rs",
                "mod body; mod local; pub use body::{Body, spawn}; pub(crate) use local::Local;",
            ),
            ("src/task/body.rs", "use super::{Local, local};"),
            ("src/task/local.rs", "fn f() { super::spawn() }"),
        ];
        assert_eq!(circles_of(&by_the_parents_names, &[]).len(), 2);

        let by_the_parents_items = [
            ("src/hub/mod.rs", "mod run; use run::run; pub(crate) struct Hub;"),
            ("src/hub/run.rs", "use super::{Hub as Ours};"),
        ];
        assert_eq!(circles_of(&by_the_parents_items, &[]).len(), 2);
    }

    #[test]
    fn but_not_files_in_a_line() {
        let files = [
            ("src/lib.rs", "mod hub; pub use hub::Hub;"),
            (
                "src/hub/mod.rs",
                "mod hub; mod ready; mod timers; pub use hub::Hub; pub(in crate::hub) use timers::Timers;",
            ),
            ("src/hub/hub.rs", "use super::{Timers, ready::{self, Ready}};"),
            ("src/hub/ready.rs", "use super::Timers; #[cfg(test)] mod tests;"),
            ("src/hub/ready/tests.rs", "use super::*;"),
            (
                "src/hub/timers.rs",
                "// super::ready::Ready\n#[cfg(test)]\nmod tests {\n use super::{*, super::ready::X}; }",
            ),
        ];
        assert_eq!(circles_of(&files, &[]), [""; 0]);
        let complaint = "src/hub/ready.rs: in no circle any more: strike it out";
        assert_eq!(circles_of(&files, &["src/hub/ready.rs"]), [complaint]);
        assert_eq!(circles_of(&files, &["src/hub/"]).len(), 1);
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
    fn an_enum_that_does_not_say_that_it_may_grow() {
        let good = "#[derive(Debug)]\n#[non_exhaustive]\n/// A page.\npub enum Driver {\n}";
        assert_eq!(complaints(closed_enums, "src/hub/mod.rs", good), [""; 0]);
        for bad in
            ["#[non_exhaustive]\nstruct Other;\npub enum Driver {", "#[derive(\nDebug\n)]\npub enum Driver {"]
        {
            assert_eq!(complaints(closed_enums, "src/hub/mod.rs", bad).len(), 1, "{bad}");
        }
    }

    #[test]
    fn an_error_that_is_not_asserted() {
        let rule =
            |text: &str, asserted| unasserted_errors(&[("src/error.rs".into(), text.into())], asserted);
        let derived = "#[derive(Debug, Error)]\n#[error(\"no\")]\npub struct Refused<T>(pub T);";
        assert_eq!(rule(derived, "goes_anywhere::<Refused<u32>>();"), [""; 0]);
        assert_eq!(rule(derived, "goes_anywhere::<Other>();").len(), 1);
        assert_eq!(rule("pub struct Refused;\nimpl std::error::Error for Refused {}", "").len(), 1);
        assert_eq!(rule("#[derive(Debug)]\npub struct Other;", ""), [""; 0]);
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
