//! The drawing with which `src/design.md` begins has the rooms and floors of that page's table, and files and functions that are there.

use super::source::root;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;

#[test]
fn the_drawing_shows_what_is_there() {
    let page = fs::read_to_string(root().join("src/design.md")).expect("the page");
    let wrong = false_lines(&page, |path| fs::read_to_string(root().join(path)).ok());
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// What is wrong with the drawing of `page`, where `read` gives the text of a file.
fn false_lines(page: &str, read: impl Fn(&str) -> Option<String>) -> Vec<String> {
    let (before, rest) = page.split_once("```text\n").expect("a drawing");
    let (drawing, after) = rest.split_once("\n```\n").expect("its end");
    let mut wrong = Vec::new();
    if before.contains('#') {
        wrong.push("the page does not begin with its drawing".to_owned());
    }
    for line in drawing.lines().filter(|line| line.chars().count() > 100) {
        wrong.push(format!("wider than 100 columns: {line}"));
    }
    let (drawn, table) = (drawn_floors(drawing), table_of_floors(after));
    if drawn != table {
        wrong.push(format!("the drawing has {drawn:?}\nand the table {table:?}"));
    }
    let steps = steps(drawing);
    if steps.is_empty() {
        wrong.push("there is no way of a read".to_owned());
    }
    for (expected, (number, path, function)) in (1..).zip(steps) {
        let has = |text: &str| ["(", "<"].iter().any(|end| text.contains(&format!("fn {function}{end}")));
        if number != expected {
            wrong.push(format!("step {number} comes in place of step {expected}"));
        }
        match read(path) {
            None => wrong.push(format!("step {number}: there is no file `{path}`")),
            Some(text) if !has(&text) => {
                wrong.push(format!("step {number}: there is no function `{function}` in `{path}`"));
            }
            Some(_) => {}
        }
    }
    wrong
}

type Floors = BTreeMap<u8, BTreeSet<String>>;

/// A line that begins with a floor has rooms behind it, and so has one below without a number. The way of the read stands to their
/// right, after two blanks.
fn drawn_floors(drawing: &str) -> Floors {
    let mut floors = Floors::new();
    let mut floor = None;
    for line in drawing.lines().take_while(|line| !line.contains("the kernel")) {
        let (number, rest) = line.split_at_checked(3).unwrap_or_default();
        floor = number.trim().parse().ok().or(floor);
        if let Some(floor) = floor {
            let rooms = rest.split("  ").next().unwrap_or_default();
            floors.entry(floor).or_default().extend(rooms.split_whitespace().map(str::to_owned));
        }
    }
    floors
}

/// The rows of the form ``| 4 | `sync`, `channel` | primitives that park |``.
fn table_of_floors(page: &str) -> Floors {
    let mut floors = Floors::new();
    for line in page.lines() {
        let mut cells = line.split('|').skip(1).map(str::trim);
        if let (Some(Ok(floor)), Some(rooms)) = (cells.next().map(str::parse), cells.next()) {
            floors.entry(floor).or_default().extend(rooms.split('`').skip(1).step_by(2).map(str::to_owned));
        }
    }
    floors
}

/// The number, the file and the function of each step.
fn steps(drawing: &str) -> Vec<(usize, &str, &str)> {
    let mut steps = Vec::new();
    for line in drawing.lines() {
        let mut words = line.split_whitespace();
        if let (Some(Ok(number)), Some(path), Some(function)) =
            (words.next().map(str::parse), words.next(), words.next())
            && path.starts_with("src/")
        {
            steps.push((number, path, function.trim_end_matches("()")));
        }
    }
    steps
}

#[test]
fn a_drawing_that_is_false() {
    let good = "Why.\n\n```text\nfloors\n\n2  hub io       1───┐\n   net          │\n0  sys          2\n   the kernel\n\n \
                1  src/a.rs  go()  goes\n2  src/a.rs  go()  comes\n```\n\n# Floors\n\n\
                | 2 | `hub`, `io` | waits |\n| 2 | `net` | shows |\n| 0 | `sys` | calls |\n";
    let complaints = |from: &str, to: &str| {
        let page = good.replace(from, to);
        false_lines(&page, |path| (path == "src/a.rs").then(|| "pub fn go<T>() {}".to_owned()))
    };
    assert_eq!(complaints("", ""), [""; 0]);
    let floors = "the drawing has {0: {\"sys\"}, 2: {\"hub\", \"net\"}}\nand the table {0: {\"sys\"}, 2: {\"hub\", \"io\", \"net\"}}";
    assert_eq!(complaints("hub io ", "hub    "), [floors]);
    assert_eq!(complaints("1  src/a.rs", "1  src/b.rs"), ["step 1: there is no file `src/b.rs`"]);
    assert_eq!(complaints("go()  comes", "stop()"), ["step 2: there is no function `stop` in `src/a.rs`"]);
    assert_eq!(complaints("2  src", "3  src"), ["step 3 comes in place of step 2"]);
    assert_eq!(complaints("src", "lib"), ["there is no way of a read"]);
    assert_eq!(complaints("Why.", "# Why"), ["the page does not begin with its drawing"]);
    let wide = "─".repeat(101);
    assert_eq!(complaints("floors\n", &format!("{wide}\n")), [format!("wider than 100 columns: {wide}")]);
}
