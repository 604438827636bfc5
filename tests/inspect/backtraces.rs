#![expect(unsafe_code, reason = "a function of C that calls back")]

use std::cell::Cell;
use std::ffi::c_void;
use std::rc::Rc;
use std::time::Duration;

use greenloop::channel::{Receiver, unbounded};
use greenloop::event::Event;
use greenloop::greenlet::Generator;
use greenloop::inspect::{Dump, DumpOptions, Frame, Standing};
use greenloop::sync::{Mutex, Semaphore};
use greenloop::{Builder, idle, joinall, killall, sleep, spawn, with_timeout, yield_now};
use serde_json::json;

use crate::support::{OnDrop, read_byte, readable, settle, within};
use crate::{LIMIT, LONG, named, parsed};

fn take() -> Dump {
    DumpOptions::new().backtraces(true).patience(LIMIT).take()
}

/// The names of the functions, the innermost first.
fn calls(dump: &Dump, name: &str) -> Vec<String> {
    let backtrace = named(dump, name).backtrace().unwrap_or_else(|| panic!("{name} has none: {dump}"));
    backtrace.frames().iter().map(|frame| frame.name().to_owned()).collect()
}

#[inline(never)]
fn waits_here<T>(wait: impl FnOnce() -> T) -> T {
    let value = wait();
    std::hint::black_box(());
    value
}

#[inline(never)]
fn down(depth: u32, wait: &dyn Fn()) -> u32 {
    if depth == 0 {
        waits_here(wait);
        return 0;
    }
    std::hint::black_box(down(depth - 1, wait)) + 1
}

/// Calls `wait` from C.
#[inline(never)]
fn through_c(wait: fn()) {
    extern "C" fn compare(_one: *const c_void, other: *const c_void) -> i32 {
        // SAFETY: the elements are such functions.
        let wait = unsafe { *other.cast::<fn()>() };
        wait();
        0
    }

    unsafe extern "C" {
        fn qsort(
            base: *mut c_void,
            count: usize,
            size: usize,
            compare: extern "C" fn(*const c_void, *const c_void) -> i32,
        );
    }
    let mut pair = [wait, wait];
    // SAFETY: two elements of that size, and a function that compares them.
    unsafe { qsort(pair.as_mut_ptr().cast(), 2, size_of::<fn()>(), compare) };
}

#[inline(never)]
fn waits_in_c() {
    waits_here(|| IN_C.wait());
    std::hint::black_box(());
}

/// What that waits for: a kill could not unwind through C.
static IN_C: Semaphore = Semaphore::new(0);

#[test]
fn they_tell_where_each_waits() {
    within(LIMIT, || {
        let (sender, receiver) = unbounded::<u32>();
        let mutex = Rc::new(Mutex::new(()));
        let (reader, writer) = readable();
        let held = mutex.lock().unwrap();
        let event = Rc::new(Event::new());
        let joined = Rc::new(spawn(|| sleep(LONG)));
        let named_task = |name: &str, run: Box<dyn FnOnce()>| {
            Builder::new().name(name).spawn(move || waits_here(run)).unwrap()
        };
        let tasks = [
            named_task("sleeper", Box::new(|| sleep(LONG))),
            named_task("receiver", Box::new(move || assert!(receiver.recv().is_err()))),
            named_task(
                "locker",
                Box::new({
                    let mutex = mutex.clone();
                    move || drop(mutex.lock())
                }),
            ),
            named_task("reader", Box::new(move || assert_eq!(read_byte(&reader), 7))),
            named_task("listener", Box::new(move || event.wait())),
            named_task(
                "joiner",
                Box::new({
                    let joined = joined.clone();
                    move || joined.wait()
                }),
            ),
            named_task("deep", Box::new(|| assert_eq!(down(40, &|| sleep(LONG)), 40))),
            named_task("in C", Box::new(|| through_c(waits_in_c))),
        ];
        settle();
        let dump = take();
        for name in ["sleeper", "receiver", "locker", "reader", "listener", "joiner", "deep", "in C"] {
            let calls = calls(&dump, name);
            assert!(calls.iter().any(|call| call.contains("waits_here")), "{name}: {calls:#?}");
            assert!(calls.iter().all(|call| !call.starts_with("greenloop::")), "{name}: {calls:#?}");
            assert!(calls.iter().all(|call| !call.contains("bounded")), "not the hub's: {name}: {calls:#?}");
        }
        assert_eq!(calls(&dump, "deep").iter().filter(|call| call.contains("down")).count(), 41);
        let in_c = calls(&dump, "in C");
        let place =
            |part| in_c.iter().position(|call| call.contains(part)).unwrap_or_else(|| panic!("{in_c:#?}"));
        assert!(place("waits_in_c") < place("through_c"));
        assert!(dump.green_threads().next().unwrap().backtrace().is_none());
        // Without debugging information there are names only.
        for place in
            named(&dump, "sleeper").backtrace().unwrap().frames()[..1].iter().filter_map(Frame::place)
        {
            assert!(place.contains("tests/inspect/backtraces.rs:"), "{place}");
        }
        drop((held, sender));
        let [.., in_c] = &tasks;
        // AddressSanitizer's qsort compares once more.
        IN_C.release(2);
        in_c.wait();
        killall(&tasks);
        joined.kill();
        drop(writer);
    });
}

#[inline(never)]
fn waits_for_an_answer(depth: u32, answers: &Receiver<u32>) -> u32 {
    if depth == 0 {
        return answers.recv().unwrap();
    }
    std::hint::black_box(waits_for_an_answer(depth - 1, answers)) + 1
}

#[test]
fn all_go_on_as_ever_and_those_in_the_same_calls_are_told_together() {
    within(LIMIT, || {
        let (sender, receiver) = unbounded();
        let tasks: Vec<_> = (0..300)
            .map(|number| {
                let receiver = receiver.clone();
                spawn(move || waits_for_an_answer(number % 3 * 5, &receiver))
            })
            .collect();
        let naps: Vec<_> = (0..50).map(|_| spawn(|| sleep(Duration::from_millis(2)))).collect();
        idle();
        for _ in 0..5 {
            let dump = take();
            let text = dump.to_string();
            assert_eq!(text.matches("\n  100 green threads, spawned at").count(), 3, "{text}");
            assert_eq!(text.matches("waits_for_an_answer").count(), 1 + 6 + 11, "{text}");
        }
        let dump = take();
        let json = parsed(&dump);
        let hub = &json["hubs"][0];
        assert_eq!(hub["green_threads"][0]["backtrace"], json!(null));
        let number = hub["green_threads"][1]["backtrace"].as_u64().unwrap();
        let frames = hub["backtraces"][usize::try_from(number).unwrap()].as_array().unwrap();
        assert!(frames[0]["name"].as_str().unwrap().contains("waits_for_an_answer"));
        for answer in 0..300 {
            sender.send(answer).unwrap();
        }
        assert_eq!(joinall(&naps).len(), 50);
        let total: u32 = tasks.into_iter().map(|task| task.join().unwrap()).sum();
        assert_eq!(total, (0..300).sum::<u32>() + 100 * (5 + 10));
    });
}

#[test]
fn kills_time_limits_and_wakes_come_after_a_visit_as_before() {
    within(LIMIT, || {
        let dropped = Rc::new(Cell::new(0));
        let (sender, receiver) = unbounded::<u32>();
        let tasks: Vec<_> = (0..60)
            .map(|number| {
                let (dropped, receiver) = (dropped.clone(), receiver.clone());
                spawn(move || {
                    let _counts = OnDrop(|| dropped.set(dropped.get() + 1));
                    match number % 3 {
                        0 => sleep(LONG),
                        1 => assert!(with_timeout(Duration::from_millis(5), || sleep(LONG)).is_err()),
                        _ => drop(receiver.recv()),
                    }
                })
            })
            .collect();
        yield_now();
        while tasks.iter().skip(1).step_by(3).any(|task| !task.is_finished()) {
            take();
        }
        let killed: Vec<_> = tasks.iter().step_by(3).collect();
        let fed: Vec<_> = tasks.iter().skip(2).step_by(3).collect();
        assert!(killed.iter().all(|task| !task.is_finished()));
        take();
        killall(killed);
        take();
        fed.iter().for_each(|_| sender.send(7).unwrap());
        fed.iter().for_each(|task| task.wait());
        assert_eq!(dropped.get(), 60);
        assert_eq!(take().green_threads().count(), 1);
    });
}

#[test]
fn a_stack_without_room_is_left_alone() {
    within(LIMIT, || {
        #[inline(never)]
        fn fill(left: &dyn Fn(usize) -> bool) -> u8 {
            let page = std::hint::black_box([1_u8; 1024]);
            if left(page.as_ptr().addr()) {
                return fill(left) + page[7];
            }
            sleep(LONG);
            page[3]
        }
        let tasks = [150, 200, 225, 236, 237, 238, 239, 240, 241].map(|filled| {
            // The sanitizer's frames are larger.
            let length = if cfg!(address_sanitizer) { filled - 12 } else { filled } << 10;
            let task =
                Builder::new().name(format!("filled {filled}")).stack_size(240 << 10).spawn(move || {
                    let start = [0_u8];
                    let start = std::hint::black_box(&start).as_ptr().addr();
                    fill(&move |at| start - at < length)
                });
            task.unwrap()
        });
        settle();
        let dump = take();
        for task in &tasks {
            let filled = named(&dump, task.name().unwrap());
            assert_eq!(filled.standing(), Standing::Parked);
            let left = filled.stack_size().unwrap() - filled.stack_used().unwrap();
            assert_eq!(filled.backtrace().is_some(), left >= 12 << 10, "{left} in {dump}");
        }
        assert!(named(&dump, "filled 150").backtrace().is_some());
        killall(&tasks);
    });
}

#[test]
fn who_was_left_by_a_switch_has_none() {
    within(LIMIT, || {
        let mut generator = Generator::new(|generator, ()| generator.yield_(1));
        assert_eq!(generator.next(), Some(1));
        let dump = take();
        let left: Vec<_> =
            dump.green_threads().filter(|thread| thread.standing() == Standing::SwitchedOut).collect();
        assert_eq!((left.len(), left[0].backtrace().is_none()), (1, true));
        assert_eq!(generator.next(), None);
    });
}

#[cfg(feature = "monkey")]
#[test]
fn an_isolated_one_has_one_and_goes_on_with_its_own_variables() {
    thread_local! {
        static OWN: Cell<u32> = const { Cell::new(0) };
    }
    within(LIMIT, || {
        let (sender, receiver) = unbounded::<u32>();
        let tasks: Vec<_> = (1..5)
            .map(|number| {
                let receiver = receiver.clone();
                let builder = Builder::new().name(format!("isolated {number}"));
                let task = builder.isolated(true).spawn(move || {
                    OWN.set(number);
                    waits_here(|| receiver.recv().unwrap());
                    OWN.get()
                });
                task.unwrap()
            })
            .collect();
        settle();
        OWN.set(77);
        for _ in 0..3 {
            let dump = take();
            for number in 1..5 {
                let name = format!("isolated {number}");
                assert!(named(&dump, &name).is_isolated());
                let calls = calls(&dump, &name);
                assert!(calls.iter().any(|call| call.contains("waits_here")), "{calls:#?}");
            }
        }
        assert_eq!(OWN.get(), 77);
        (0..4).for_each(|number| sender.send(number).unwrap());
        let own: Vec<_> = tasks.into_iter().map(|task| task.join().unwrap()).collect();
        assert_eq!(own, [1, 2, 3, 4]);
    });
}
