use std::hint::black_box;
use std::rc::Rc;
use std::time::Duration;

use greenloop::channel::{bounded, unbounded};
use greenloop::event::Event;
use greenloop::inspect;
use greenloop::sync::{Condvar, Mutex, RwLock, Semaphore};
use greenloop::{JoinHandle, idle, killall, spawn, spawn_later};

use crate::LIMIT;
use crate::detector::{Reported, report_of};
use crate::support::within;

const PAGE: &str = include_str!("../../src/guide/when_something_hangs.md");

/// Each mistake of the page is made, and the dump says of it what the page says.
#[test]
fn the_page_for_when_something_hangs_has_the_words_of_the_dump() {
    within(LIMIT, || {
        let (kept_sender, receiver) = unbounded::<u32>();
        let (sender, kept_receiver) = bounded::<u32>(1);
        let (mutex, lock) = (Rc::new(Mutex::new(())), Rc::new(RwLock::new(())));
        let reads = lock.read().unwrap();
        let (event, permits) = (Event::new(), Semaphore::new(0));
        let condition = (Mutex::new(()), Condvar::new());
        let mistakes: [(&str, JoinHandle<()>); 7] = [
            ("Receiver::recv", spawn(move || assert!(receiver.recv().is_err()))),
            (
                "Sender::send",
                spawn(move || {
                    sender.send(1).unwrap();
                    let _ = sender.send(2);
                }),
            ),
            (
                "Mutex::lock",
                spawn(move || {
                    let _first = mutex.lock().unwrap();
                    drop(mutex.lock());
                }),
            ),
            (
                "RwLock::write",
                spawn({
                    let lock = lock.clone();
                    move || drop(lock.write())
                }),
            ),
            ("Event::wait", spawn(move || event.wait())),
            ("Semaphore::acquire", spawn(move || drop(permits.acquire()))),
            (
                "Condvar::wait",
                spawn(move || {
                    let (mutex, condition) = condition;
                    drop(condition.wait(mutex.lock().unwrap()));
                }),
            ),
        ];
        idle();
        let dump = inspect::dump();
        for (words, task) in &mistakes {
            let place = task.spawned_at();
            let thread = dump.green_threads().find(|thread| thread.spawned_at() == Some(place)).unwrap();
            assert_eq!(thread.waits_on().as_deref(), Some(*words));
            let row = format!("| `waiting on {words}`");
            assert!(PAGE.lines().any(|line| line.starts_with(&row)), "{row}");
        }
        killall(mistakes.iter().map(|(_, task)| task));
        drop((kept_sender, kept_receiver, reads));
    });
}

/// What does not depend on the machine, nor on where a program stands: with numbers, places and the OS thread left out, and of calls the
/// names of functions alone.
fn normalised(report: &str) -> Vec<String> {
    let calls_of = |line: &str| {
        let name = line.trim().split(" at ").next().unwrap();
        // The older way to mangle names adds a hash.
        let is_hash = |part: &&str| part.len() == 17 && part.starts_with('h');
        name.rsplit("::").find(|part| !is_hash(part)).unwrap().to_owned()
    };
    let without_numbers = |line: &str| {
        let mut words = String::new();
        for character in line.chars() {
            match character {
                digit if digit.is_ascii_digit() => {
                    if !words.ends_with('N') {
                        words.push('N');
                    }
                }
                other => words.push(other),
            }
        }
        words
    };
    let cut = |line: String, before: &str, after: &str| match line.split_once(before) {
        Some((start, rest)) => {
            let (_, end) = rest.split_once(after).unwrap();
            format!("{start}{before}{after}{end}")
        }
        None => line,
    };
    let line = |line: &str| match line.starts_with("      ") {
        true => calls_of(line),
        false => cut(cut(without_numbers(line), "spawned at ", ","), "OS thread '", "'"),
    };
    report.lines().map(line).filter(|line| !line.contains("closure")).collect()
}

#[inline(never)]
fn longest_match(is_reported: &Reported) -> u64 {
    let mut steps = 0;
    while !is_reported() {
        (0..1000).for_each(|_| steps = black_box(steps + 1));
    }
    black_box(steps)
}

#[inline(never)]
fn report(is_reported: &Reported) {
    let waiting: Vec<_> = (0..3).map(|_| spawn(|| ())).collect();
    let timers: Vec<_> = (0..2).map(|_| spawn_later(Duration::ZERO, || ())).collect();
    black_box(longest_match(is_reported));
    greenloop::joinall(waiting.iter().chain(&timers));
}

/// The sample of a detector's report is one.
#[test]
fn the_page_for_when_something_hangs_has_a_report_as_it_comes() {
    let sample = PAGE.split("```text\n").nth(1).unwrap().split("```").next().unwrap();
    let blocked = report_of("report", report);
    let (sample, text) = (normalised(sample), blocked.to_string());
    let told = normalised(&text);
    assert!(sample.len() == 5 && told.len() >= 5, "{sample:?} {text}");
    // Behind those calls stands what begins the test's green thread.
    assert_eq!(told[..3], sample[..3]);
    let position = |name: &String| told[3..].iter().position(|call| call == name);
    assert!(
        position(&sample[3]) < position(&sample[4]) && position(&sample[3]).is_some(),
        "{sample:?} {text}"
    );
}
