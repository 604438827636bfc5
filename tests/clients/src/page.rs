//! The page of the guide that says what each client needs and how its calls end: its table, read by the tests of the clients.

const PAGE: &str = include_str!("../../../src/guide/blocking_crates.md");

/// The column of what a time limit gives.
pub const LIMIT: usize = 2;
/// The column of what a kill gives.
pub const KILL: usize = 3;

/// Asserts that the page has a row for `client`, and that `told`, an error of it, is what the row says in `column`.
///
/// # Panics
///
/// Panics if it is not so, with what the row should have.
pub fn assert_told(client: &str, column: usize, told: &str) {
    let expected =
        row(client)[column].split('`').nth(1).unwrap_or_else(|| panic!("the row of {client} names no error"));
    assert!(told.contains(expected), "the page has `{expected}` for {client}, but it is {told}");
}

/// Asserts that the page has a row for `client`, and says there that nothing interrupts it.
///
/// # Panics
///
/// Panics if it is not so.
pub fn assert_uninterrupted(client: &str) {
    let told = row(client)[LIMIT];
    assert!(told.starts_with("goes on"), "the page has `{told}` for {client}");
}

/// The cells of the row of `client`: its name, what it needs, what a time limit gives, and a kill, and what comes after.
fn row(client: &str) -> Vec<&'static str> {
    let rows = PAGE.lines().filter(|line| line.starts_with('|'));
    let mut rows = rows.map(|line| line.trim_matches('|').split(" | ").map(str::trim).collect::<Vec<_>>());
    let row = rows.find(|cells| cells[0] == client);
    row.unwrap_or_else(|| panic!("the page `blocking_crates` has no row for {client}"))
}
