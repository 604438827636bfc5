use std::cell::OnceCell;
use std::hint::black_box;
use std::rc::Rc;
use std::time::Duration;

use greenloop::channel::{bounded, unbounded};
use greenloop::event::Event;
use greenloop::inspect;
use greenloop::sync::{Condvar, Mutex, RwLock, Semaphore};
use greenloop::{Builder, JoinHandle, idle, killall, sleep, spawn, spawn_later, yield_now};

use crate::detector::{Reported, report_of};
use crate::support::{read_byte, readable, within};
use crate::{LIMIT, LONG};

const PAGE: &str = include_str!("../../src/guide/when_something_hangs.md");

/// One that makes the mistake of that name.
fn mistaken(name: &str, mistake: impl FnOnce() + 'static) -> JoinHandle<()> {
    Builder::new().name(name).spawn(mistake).unwrap()
}

/// Each mistake of the page is made, and the dump says of it what the page says.
#[test]
fn the_page_for_when_something_hangs_has_what_the_dump_says() {
    within(LIMIT, || {
        let (kept_sender, receiver) = unbounded::<u32>();
        let (sender, kept_receiver) = bounded::<u32>(1);
        let (mutex, lock) = (Rc::new(Mutex::new(())), Rc::new(RwLock::new(())));
        let read = lock.clone();
        let (event, permits) = (Event::new(), Semaphore::new(0));
        let condition = (Mutex::new(()), Condvar::new());
        let [from, to]: [Rc<Mutex<()>>; 2] = Default::default();
        let (silent, _peer) = readable();
        let transfers = |name, first: &Rc<Mutex<()>>, second: &Rc<Mutex<()>>| {
            let (first, second) = (first.clone(), second.clone());
            mistaken(name, move || {
                let _first = first.lock().unwrap();
                yield_now();
                drop(second.lock());
            })
        };
        let later: Rc<OnceCell<JoinHandle<()>>> = Rc::default();
        let joined = later.clone();
        let sooner = mistaken("sooner", move || joined.get().unwrap().wait());
        let waits = move || drop(sooner.join());
        later.set(mistaken("later", waits)).unwrap();
        let mistakes = [
            mistaken("consumer", move || while receiver.recv().is_ok() {}),
            mistaken("producer", move || while sender.send(0).is_ok() {}),
            mistaken("twice", move || {
                let _first = mutex.lock().unwrap();
                drop(mutex.lock());
            }),
            transfers("there", &from, &to),
            transfers("back", &to, &from),
            mistaken("reader", move || {
                let _guard = read.read().unwrap();
                sleep(LONG);
            }),
            mistaken("writer", move || drop(lock.write())),
            mistaken("listener", move || event.wait()),
            mistaken("fourth", move || drop(permits.acquire())),
            mistaken("unnoticed", move || {
                let (mutex, condition) = condition;
                drop(condition.wait(mutex.lock().unwrap()));
            }),
            mistaken("client", move || assert_eq!(read_byte(&silent), 7)),
        ];
        idle();
        let dump = inspect::dump().to_string();
        killall(mistakes.iter().chain(later.get()));
        drop((kept_sender, kept_receiver));
        let told = normalised(&dump);
        let (_, mistakes) = PAGE.split_once("# The commonest mistakes").unwrap();
        let (mistakes, _) = mistakes.split_once("# Who keeps the hub").unwrap();
        let samples: Vec<_> = mistakes.split("```text\n").skip(1).collect();
        assert_eq!(samples.len(), 10);
        for sample in samples {
            let sample = normalised(sample.split("```").next().unwrap());
            assert!(told.windows(sample.len()).any(|lines| lines == sample), "{sample:#?} in {dump}");
        }
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
    let sample = PAGE.split("```text\n").last().unwrap().split("```").next().unwrap();
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
