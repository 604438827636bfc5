//! The table in `README.md` is complete and true: it has every case, and every test that it names exists.

use std::collections::BTreeSet;
use std::fs;
use std::ops::RangeInclusive;
use std::path::Path;

/// All cases there are.
const CASES: RangeInclusive<u32> = 1..=175;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every line of the sources of all tests.
fn sources(folder: &Path, lines: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).expect("a folder of tests") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            sources(&path, lines);
        } else if path.extension().is_some_and(|end| end == "rs") {
            let text = fs::read_to_string(&path).expect("a source");
            lines.extend(text.lines().map(|line| line.trim().to_owned()));
        }
    }
}

/// What is wrong with the table: cases that it lacks, and tests and files that are not there.
fn complaints(table: &str, lines: &BTreeSet<String>) -> Vec<String> {
    let mut complaints = Vec::new();
    let mut missing: BTreeSet<u32> = CASES.collect();
    for row in table.lines().filter_map(|line| line.strip_prefix("| ")) {
        let cells: Vec<_> = row.split(" | ").map(|cell| cell.trim_end_matches('|').trim()).collect();
        let [numbers, what, held_by] = cells[..] else {
            complaints.push(format!("not three cells: {row}"));
            continue;
        };
        let Some(numbers) =
            numbers.split(", ").map(|number| number.parse().ok()).collect::<Option<Vec<u32>>>()
        else {
            continue; // A heading.
        };
        if what.is_empty() || held_by.is_empty() {
            complaints.push(format!("an empty cell: {row}"));
        }
        for number in numbers {
            if !missing.remove(&number) {
                complaints.push(format!("twice, or none of ours: {number}"));
            }
        }
        let names = held_by.split('`').skip(1).step_by(2).filter(|name| !exists(name, lines));
        complaints.extend(names.map(|name| format!("there is no {name}")));
        let awaited =
            held_by.split("with the room ").nth(1).and_then(|rest| rest.split([',', ';', ' ']).next());
        if let Some(room) = awaited.filter(|room| has_come(room)) {
            complaints.push(format!("the room {room} has come: name the tests of {row}"));
        }
    }
    complaints.extend(missing.iter().map(|number| format!("{number} is missing")));
    complaints
}

fn exists(name: &str, lines: &BTreeSet<String>) -> bool {
    if name.contains('/') {
        return root().join(name).exists();
    }
    let function = format!("fn {name}(");
    lines.range(function.clone()..).next().is_some_and(|line| line.starts_with(&function))
}

/// Whether the library has this room.
fn has_come(room: &str) -> bool {
    let source = root().join("src").join(room);
    source.is_dir() || source.with_extension("rs").exists()
}

#[test]
fn the_table_names_every_case_and_tests_that_exist() {
    let table = fs::read_to_string(root().join("tests/conformance/README.md")).expect("the table");
    let mut lines = BTreeSet::new();
    sources(&root().join("tests"), &mut lines);
    let complaints = complaints(&table, &lines);
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

#[test]
fn a_table_with_gaps_is_noticed() {
    let lines = BTreeSet::from(["fn case_1() {".to_owned()]);
    let table = "| case | what | held by |\n|---|---|---|\n| 1, 2 | first | `case_1` |\n\
                 | 3 | second | `case_3` |\n| 3 | again | `tests/nowhere.rs` |\n| 4 | empty | |\n| 5 | short |\n\
                 | 6 | late | comes with the room task |\n";
    let complaints = complaints(table, &lines);
    let expected = [
        "there is no case_3",
        "twice, or none of ours: 3",
        "there is no tests/nowhere.rs",
        "an empty cell: 4 | empty | |",
        "not three cells: 5 | short |",
        "the room task has come: name the tests of 6 | late | comes with the room task |",
        "5 is missing",
    ];
    assert_eq!(complaints[..expected.len()], expected);
    assert!(!complaints.iter().any(|complaint| complaint == "4 is missing"));
}
