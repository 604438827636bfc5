//! A bank account: what a lock is for when green threads never run at the same time.
//!
//! Run it with `cargo run --example bank_account`. One green thread runs until it waits, so a count that is read and written
//! with no wait in between needs no lock. A deposit that asks the bank's books in between does: without one, each of ten
//! depositors reads the same old balance, and all writes but the last are lost.
//!
//! Expected output:
//!
//!     10 deposits of 100 into an account of 500
//!     without a lock: 600, so 9 deposits are lost
//!     with a lock: 1500, so 0 deposits are lost
//!     without a lock, but with no wait between read and write: 1500, so 0 deposits are lost

use std::cell::Cell;
use std::time::Duration;

use greenloop::sync::Mutex;
use greenloop::{scope, sleep};
use tool::say;

mod tool;

const DEPOSITORS: i64 = 10;
const AMOUNT: i64 = 100;
const BEFORE: i64 = 500;

fn main() {
    tool::takes_no_arguments(include_str!("bank_account.rs"));
    say!("{DEPOSITORS} deposits of {AMOUNT} into an account of {BEFORE}");

    let balance = Cell::new(BEFORE);
    deposit_at_once(|| {
        let read = balance.get();
        ask_the_books();
        balance.set(read + AMOUNT);
    });
    report("without a lock", balance.get());

    // Its guard may be held across a wait. One of std's may not: whoever locks next would stop the whole OS thread, and
    // with it the one that is to unlock.
    let balance = Mutex::new(BEFORE);
    deposit_at_once(|| {
        let mut balance = balance.lock().expect("no depositor panics");
        let read = *balance;
        ask_the_books();
        *balance = read + AMOUNT;
    });
    report("with a lock", balance.into_inner().expect("no depositor panics"));

    let balance = Cell::new(BEFORE);
    deposit_at_once(|| {
        ask_the_books();
        balance.set(balance.get() + AMOUNT);
    });
    report("without a lock, but with no wait between read and write", balance.get());
}

/// Runs `deposit` in a green thread for each depositor, and returns when all are done.
fn deposit_at_once(deposit: impl Fn()) {
    scope(|scope| (0..DEPOSITORS).for_each(|_| drop(scope.spawn(&deposit))));
}

/// A while in which other depositors run.
fn ask_the_books() {
    sleep(Duration::from_millis(20));
}

fn report(how: &str, balance: i64) {
    let lost = DEPOSITORS - (balance - BEFORE) / AMOUNT;
    say!("{how}: {balance}, so {lost} deposits are lost");
}
