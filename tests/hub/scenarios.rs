//! What ends a process, or happens only while it has a single OS thread: each scenario runs on the main thread of a child
//! process, which is this program again. The test harness would bring threads of its own, hence `harness = false`.

#[path = "../support/mod.rs"]
mod support;

use std::cell::{Cell, RefCell};
use std::os::unix::process::ExitStatusExt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::time::{Duration, Instant};

use greenloop::channel::unbounded;
use greenloop::greenlet::{Generator, Greenlet, main as main_greenlet};
use greenloop::hub::Hub;
use greenloop::sync::Mutex;
use greenloop::{
    Builder, JoinHandle, LoopExit, block_on, joinall, scope, sleep, spawn, with_timeout, yield_now,
};
use support::Finished;

const LIMIT: Duration = Duration::from_secs(60);
const LONG: Duration = Duration::from_secs(3600);
/// What tells the child which scenario is its own.
const CHILD: &str = "--scenario";

/// A name, what the child does, and what the parent then asserts.
type Scenario = (&'static str, fn(), fn(&Finished));

/// Each scenario is named by the function that the child runs.
macro_rules! scenarios {
    ($($run:ident => $check:expr,)*) => {
        const SCENARIOS: &[Scenario] = &[$((stringify!($run), $run, $check)),*];
    };
}

scenarios! {
    a_deadlock_names_everybody => succeeds_and_reports_a_deadlock,
    the_hub_is_usable_after_a_deadlock => succeeds_and_reports_a_deadlock,
    who_joins_itself_is_a_deadlock_of_main => succeeds_and_reports_a_deadlock,
    a_deadlock_names_threads_that_are_green => succeeds_and_reports_a_deadlock,
    a_deadlock_while_main_is_in_a_switch => succeeds_and_reports_a_deadlock,
    a_child_that_catches_a_deadlock_is_killed_again => succeeds_and_reports_a_deadlock,
    a_scope_whose_children_are_immortal_aborts => |child| {
        assert_eq!(child.status.signal(), Some(6), "{child:?}");
        let last = "\nfatal runtime error: the green threads of a scope wait for ever, and so does the scope, aborting\n";
        assert!(child.stderr.ends_with(last), "{child:?}");
    },
    a_dump_on_a_signal_hides_no_deadlock => succeeds_and_reports_a_deadlock,
    a_detector_hides_no_deadlock => succeeds_and_reports_a_deadlock,
    a_detector_of_workers_hides_no_deadlock => succeeds_and_reports_a_deadlock,
    workers_that_sleep_hide_no_deadlock => |child| {
        succeeds_and_reports_a_deadlock(child);
        let elsewhere = "\nelsewhere: green thread '<unnamed>', spawned at tests/hub/scenarios.rs:";
        assert_eq!(child.stderr.matches(elsewhere).count(), 2, "{child:?}");
    },
    a_report_of_a_deadlock_has_a_dump_and_is_short => |child| {
        succeeds_and_reports_a_deadlock(child);
        let lines: Vec<_> = child.stderr.lines().collect();
        let has = |parts: &[&str]| assert!(lines.iter().any(|line| parts.iter().all(|part| line.contains(part))), "{child:?}");
        has(&["hub of the OS thread 'main' (", "1002 alive, 0 ready, 0 unstarted"]);
        has(&["  1000 green threads, spawned at ", ", parked, waiting on Receiver::recv"]);
        has(&["green thread 'left' (", ", parked, waiting on Mutex::lock, held by 'right' ("]);
        has(&["these wait for one another, for ever or until a time limit:"]);
        assert!(lines.len() < 15, "{child:?}");
    },
    a_worker_at_work_may_still_wake_main => succeeds_in_silence,
    an_isolated_one_hides_no_deadlock => succeeds_and_reports_a_deadlock,
    a_deadlock_is_raised_at_every_wait_of_main => succeeds_and_reports_a_deadlock,
    an_uncaught_deadlock_ends_the_process => |child| {
        assert_eq!(child.status.code(), Some(101), "{child:?}");
        assert_eq!(child.stderr.matches("this wait would block for ever").count(), 1, "{child:?}");
    },
    a_switch_into_main_while_it_waits_tells_of_itself => |child| {
        assert_eq!(child.status.code(), Some(101), "{child:?}");
        assert_eq!(child.stderr, "switched by hand into a greenlet that waits in the hub\n");
    },
    a_result_that_its_parent_cannot_take_tells_of_itself => |child| {
        assert_eq!(child.status.code(), Some(101), "{child:?}");
        assert_eq!(child.stderr, "the target greenlet waits for a value of another type\n");
    },
    joining_the_hub_ends_when_nobody_can_be_woken => succeeds_in_silence,
    an_os_thread_may_still_wake_main => succeeds_in_silence,
    a_descriptor_may_still_wake_main => succeeds_in_silence,
    a_time_limit_may_still_wake_main => succeeds_in_silence,
    the_end_of_main_does_not_run_what_is_pending => succeeds_in_silence,
    fifty_are_parked_at_the_end_of_main => succeeds_in_silence,
    a_panic_that_nobody_takes_is_told_once => |child| {
        assert!(child.status.success(), "{child:?}");
        let (hook, ours) = child.stderr.trim().rsplit_once('\n').expect("two reports");
        assert!(hook.contains("panicked at tests/hub/scenarios.rs:") && hook.contains("nobody takes this"));
        assert_eq!(hook.matches("nobody takes this").count(), 1, "{child:?}");
        assert!(ours.starts_with("green thread 'worker', spawned at tests/hub/scenarios.rs:"), "{child:?}");
        assert!(ours.ends_with(", panicked: nobody takes this"), "{child:?}");
    },
    a_panic_that_is_joined_is_told_by_the_panic_hook_alone => |child| {
        assert!(child.status.success(), "{child:?}");
        assert_eq!(child.stderr.matches("somebody takes this").count(), 1, "{child:?}");
        assert!(!child.stderr.contains("green thread"), "{child:?}");
    },
    a_green_thread_may_end_the_process => |child| {
        assert_eq!(child.status.code(), Some(7), "{child:?}");
        assert_eq!(child.stdout, "about to exit\n");
    },
    a_panic_in_main_ends_the_process_whoever_is_parked => |child| {
        assert_eq!(child.status.code(), Some(101), "{child:?}");
        assert_eq!(child.stderr.matches("main has enough").count(), 1, "{child:?}");
        assert_eq!(child.stdout, "");
    },
    a_thread_that_ends_with_parked_ones_says_so => |child| {
        assert!(child.status.success(), "{child:?}");
        let expected = "an OS thread ended with 3 parked green threads: they leak\n";
        assert_eq!(child.stderr, if cfg!(debug_assertions) { expected } else { "" });
    },
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [CHILD, name] = &arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        let (_, run, _) = SCENARIOS.iter().find(|(scenario, ..)| scenario == name).expect("a scenario");
        return run();
    }
    let chosen = SCENARIOS.iter().filter(|(name, ..)| support::is_chosen(&arguments, name));
    let failed = chosen.filter(|scenario| !passes(scenario)).count();
    assert_eq!(failed, 0, "scenarios failed");
}

fn passes((name, _, check): &Scenario) -> bool {
    let mut command = support::this_program();
    command.args([CHILD, name]).env("RUST_BACKTRACE", "0");
    let passed = catch_unwind(AssertUnwindSafe(|| check(&support::finish(&mut command, LIMIT)))).is_ok();
    println!("scenario {name} ... {}", if passed { "ok" } else { "FAILED" });
    passed
}

fn succeeds_in_silence(child: &Finished) {
    assert!(child.status.success() && child.stdout.is_empty() && child.stderr.is_empty(), "{child:?}");
}

fn succeeds_and_reports_a_deadlock(child: &Finished) {
    assert!(child.status.success() && child.stdout.is_empty(), "{child:?}");
    assert!(
        child.stderr.starts_with("this wait would block for ever: nothing can wake the hub\n"),
        "{child:?}"
    );
}

/// What main gets from a wait that nothing can end.
fn deadlock<R>(wait: impl FnOnce() -> R) -> LoopExit {
    match catch_unwind(AssertUnwindSafe(wait)) {
        Ok(_) => panic!("the wait returned"),
        Err(payload) => *payload.downcast().expect("a LoopExit"),
    }
}

fn a_child_that_catches_a_deadlock_is_killed_again() {
    let (_sender, receiver) = unbounded::<()>();
    let ended = Cell::new(false);
    let exit = deadlock(|| {
        scope(|scope| {
            scope.spawn(|| {
                let _ = catch_unwind(AssertUnwindSafe(|| receiver.recv()));
                let _ = catch_unwind(AssertUnwindSafe(|| receiver.recv()));
                ended.set(true);
            });
        })
    });
    assert!(ended.get());
    assert_eq!(exit.parked().len(), 2);
    // What was put off meanwhile is over.
    assert_eq!(sleep(Duration::from_millis(1)), ());
}

fn a_scope_whose_children_are_immortal_aborts() {
    let (_sender, receiver) = unbounded::<()>();
    scope(|scope| {
        scope.spawn(|| {
            loop {
                let _ = catch_unwind(AssertUnwindSafe(|| receiver.recv()));
            }
        });
    });
}

fn workers_that_sleep_hide_no_deadlock() {
    let workers = greenloop::workers::Builder::new().number(3).build().unwrap();
    // Two jobs wait for each other, and main for one of them: nobody of the three can ever go on.
    let [(first, seconds), (second, firsts)] = [(); 2].map(|()| unbounded::<()>());
    let [one, _other] = [(second, seconds), (first, firsts)].map(|(sender, receiver)| {
        workers.spawn(move || {
            let _held = sender;
            receiver.recv()
        })
    });
    let exit = deadlock(|| one.join());
    let places: Vec<_> = exit.parked().iter().map(|parked| parked.name()).collect();
    assert_eq!(places, ["main", "<unnamed>", "<unnamed>"]);
    assert!(exit.parked()[1..].iter().all(|parked| parked.waits_on() == "Receiver::recv"));
    // Main goes on, and so do the workers.
    assert_eq!(workers.spawn(|| 1).join().unwrap(), 1);
}

fn a_report_of_a_deadlock_has_a_dump_and_is_short() {
    let (_sender, receiver) = unbounded::<()>();
    let spawn_one = |_| {
        let receiver = receiver.clone();
        spawn(move || receiver.recv())
    };
    let _parked: Vec<_> = (0..1000).map(spawn_one).collect();
    let tools = [(); 2].map(|()| Rc::new(Mutex::new(())));
    let both = [("left", 0, 1), ("right", 1, 0)].map(|(name, first, second)| {
        let (first, second) = (tools[first].clone(), tools[second].clone());
        let takes_both = move || {
            let _first = first.lock();
            yield_now();
            drop(second.lock());
        };
        Builder::new().name(name).spawn(takes_both).unwrap()
    });
    assert_eq!(deadlock(|| joinall(&both).len()).parked().len(), 1003);
}

fn a_worker_at_work_may_still_wake_main() {
    let workers = greenloop::workers::Builder::new().number(3).build().unwrap();
    let sleeper = workers.spawn(|| sleep(Duration::from_millis(200)));
    sleeper.join().unwrap();
    let computes = workers.spawn(|| {
        let start = std::time::Instant::now();
        while start.elapsed() < Duration::from_millis(200) {}
    });
    computes.join().unwrap();
    let (sender, receiver) = unbounded();
    let relay: Vec<_> = (0..50)
        .map(|_| {
            let (sender, receiver) = (sender.clone(), receiver.clone());
            workers.spawn(move || {
                receiver.recv().unwrap();
                sender.send(()).unwrap();
            })
        })
        .collect();
    sleep(Duration::from_millis(50));
    sender.send(()).unwrap();
    joinall(&relay);
    workers.stop(LIMIT);
}

fn a_deadlock_names_everybody() {
    let (_sender, receiver) = unbounded::<u32>();
    let consumer = Builder::new().name("consumer").spawn(move || receiver.recv()).unwrap();
    let lock = Rc::new(Mutex::new(()));
    let held = lock.lock().unwrap();
    let waits_for_the_lock = spawn({
        let lock = lock.clone();
        move || drop(lock.lock())
    });
    let unwoken = spawn(|| block_on(std::future::pending::<()>()));
    let switched = spawn(|| {
        let greenlet = Greenlet::new(|()| block_on(std::future::pending::<()>()));
        greenlet.switch(()).unwrap();
    });
    let ended = spawn(|| ());
    let exit = deadlock(|| consumer.wait());
    let parked: Vec<_> =
        exit.parked().iter().map(|parked| (parked.name(), parked.spawned_at(), parked.waits_on())).collect();
    let join = format!("the end of green thread {}", consumer.id());
    assert_eq!(parked[0], ("main", None, &*join));
    assert_eq!(parked[1], ("consumer", Some(consumer.spawned_at()), "Receiver::recv"));
    assert_eq!(parked[2], ("<unnamed>", Some(waits_for_the_lock.spawned_at()), "Mutex::lock"));
    assert_eq!(parked[3], ("<unnamed>", Some(unwoken.spawned_at()), "block_on"));
    assert_eq!(parked[4], ("<unnamed>", Some(switched.spawned_at()), "a switch by hand"));
    assert_eq!((parked[5].0, parked[5].2), ("<unnamed>", "block_on"), "the greenlet");
    assert_eq!(parked.len(), 6);
    let text = exit.to_string();
    let place = consumer.spawned_at();
    assert!(text.contains(&format!("\n  green thread 'main' waits on {join}")), "{text}");
    let line = format!("\n  green thread 'consumer', spawned at {place}, waits on Receiver::recv");
    assert!(text.contains(&line), "{text}");
    assert!(ended.is_finished());
    drop(held);
}

fn the_hub_is_usable_after_a_deadlock() {
    let (sender, receiver) = unbounded();
    let consumer = spawn(move || receiver.recv());
    for _ in 0..3 {
        let exit = deadlock(|| consumer.wait());
        assert_eq!(exit.parked().len(), 2);
        sleep(Duration::from_millis(1));
        assert_eq!(spawn(|| 7).join().unwrap(), 7);
    }
    sender.send(5).unwrap();
    assert_eq!(consumer.join().unwrap(), Ok(5));
}

fn a_dump_on_a_signal_hides_no_deadlock() {
    greenloop::inspect::dump_on(greenloop::signal::SIGUSR1, |_| ()).unwrap();
    let (_sender, receiver) = unbounded::<()>();
    let exit = deadlock(|| receiver.recv());
    assert_eq!(exit.parked().len(), 1);
}

fn a_detector_hides_no_deadlock() {
    let detector = greenloop::inspect::detect(Duration::from_millis(20)).start().unwrap();
    let (_sender, receiver) = unbounded::<()>();
    for _ in 0..2 {
        let exit = deadlock(|| receiver.recv());
        assert_eq!(exit.parked().len(), 1);
    }
    detector.stop();
    deadlock(|| receiver.recv());
}

fn a_detector_of_workers_hides_no_deadlock() {
    let _detector = greenloop::inspect::detect(Duration::from_millis(20)).start().unwrap();
    workers_that_sleep_hide_no_deadlock();
}

fn who_joins_itself_is_a_deadlock_of_main() {
    let own: Rc<RefCell<Option<Rc<JoinHandle<()>>>>> = Rc::default();
    let seen = own.clone();
    let task = Rc::new(spawn(move || {
        let own = seen.take().expect("put there before it began");
        own.wait();
    }));
    *own.borrow_mut() = Some(task.clone());
    let exit = deadlock(|| task.wait());
    let join = format!("the end of green thread {}", task.id());
    assert!(exit.parked().iter().all(|parked| parked.waits_on() == join));
    assert!(!task.is_finished());
    task.kill();
    assert!(task.is_finished());
}

/// Its thread-local variables are those of another OS thread, which wakes nobody. (Without the feature it is a plain one.)
fn an_isolated_one_hides_no_deadlock() {
    let builder = Builder::new();
    #[cfg(feature = "monkey")]
    let builder = builder.isolated(true);
    let (_sender, receiver) = unbounded::<u32>();
    let waits = builder.spawn(move || receiver.recv()).unwrap();
    assert_eq!(deadlock(|| waits.wait()).parked().len(), 2);
}

fn a_deadlock_names_threads_that_are_green() {
    let (_sender, receiver) = unbounded::<u32>();
    let waits = {
        let receiver = receiver.clone();
        move || receiver.recv()
    };
    yield_now();
    #[cfg(feature = "monkey")]
    let _handle = {
        use greenloop::monkey::{Parts, patch};
        patch(Parts::ALL | Parts::SPAWN);
        std::thread::Builder::new().name("the one".to_owned()).spawn(waits).unwrap()
    };
    #[cfg(not(feature = "monkey"))]
    let _handle = Builder::new().name("the one").spawn(waits).unwrap();
    let exit = deadlock(|| receiver.recv());
    assert_eq!(exit.parked().iter().map(|parked| parked.name()).collect::<Vec<_>>(), ["main", "the one"]);
}

fn a_deadlock_while_main_is_in_a_switch() {
    let greenlet = Greenlet::new(|()| block_on(std::future::pending::<()>()));
    let exit = deadlock(|| greenlet.switch(()));
    assert_eq!(exit.parked()[0].waits_on(), "a switch by hand");
    let mut generator = Generator::new(|generator, ()| {
        generator.yield_(1);
        block_on(std::future::pending::<()>());
    });
    assert_eq!(generator.send(()), Some(1));
    deadlock(|| generator.send(()));
}

fn a_deadlock_is_raised_at_every_wait_of_main() {
    let (_sender, receiver) = unbounded::<u32>();
    let parked = spawn({
        let receiver = receiver.clone();
        move || receiver.recv()
    });
    yield_now();
    deadlock(|| receiver.recv());
    deadlock(|| parked.wait());
    deadlock(|| joinall([&parked]));
    deadlock(|| scope(|scope| scope.spawn(|| receiver.recv()).join()));
    deadlock(|| block_on(std::future::pending::<()>()));
    // One that can be woken is no deadlock, whatever else there is.
    sleep(Duration::from_millis(1));
}

fn an_uncaught_deadlock_ends_the_process() {
    spawn(|| block_on(std::future::pending::<()>())).wait();
}

fn a_switch_into_main_while_it_waits_tells_of_itself() {
    let doubler = || Greenlet::new(|value: u32| main_greenlet().switch(value * 2).unwrap());
    spawn(move || doubler().switch(1).is_ok()).wait();
}

fn a_result_that_its_parent_cannot_take_tells_of_itself() {
    let parent = Greenlet::new(|text: String| main_greenlet().switch(text).unwrap());
    parent.switch("hello".to_owned()).unwrap();
    let child = Greenlet::new(|number: u32| number + 100);
    child.set_parent(&parent).unwrap();
    child.switch(1).unwrap();
}

fn joining_the_hub_ends_when_nobody_can_be_woken() {
    let parked = spawn(|| block_on(std::future::pending::<()>()));
    let ends = spawn(|| sleep(Duration::from_millis(1)));
    for _ in 0..2 {
        Hub::current().join();
        assert!(ends.is_finished() && !parked.is_finished());
    }
    assert_eq!(Hub::current().alive(), 1);
}

fn an_os_thread_may_still_wake_main() {
    let (sender, receiver) = unbounded();
    let thread = std::thread::spawn(move || {
        // Longer than the hub sleeps before it first looks whether it is alone.
        std::thread::sleep(Duration::from_millis(150));
        sender.send(7).unwrap();
    });
    assert_eq!(receiver.recv(), Ok(7));
    thread.join().unwrap();
}

fn a_descriptor_may_still_wake_main() {
    use std::io::{Read, Write};
    let (mut reader, mut writer) = greenloop::io::pipe().unwrap();
    let task = spawn(move || {
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes).map(|_| bytes)
    });
    // Nobody in this process will write; for as long as there is a descriptor to wait for, who knows?
    assert!(!task.wait_timeout(Duration::from_millis(150)));
    writer.write_all(b"7").unwrap();
    drop(writer);
    assert_eq!(task.join().unwrap().unwrap(), b"7");
}

fn a_time_limit_may_still_wake_main() {
    let start = Instant::now();
    let limit = Duration::from_millis(150);
    assert!(with_timeout(limit, || block_on(std::future::pending::<()>())).is_err());
    let parked = spawn(|| block_on(std::future::pending::<()>()));
    assert!(!parked.wait_timeout(limit));
    assert!(!Hub::current().join_timeout(limit));
    assert!(start.elapsed() >= 3 * limit);
}

fn the_end_of_main_does_not_run_what_is_pending() {
    let print = || println!("this must not run");
    drop(spawn(print));
    drop(spawn(move || {
        yield_now();
        print();
    }));
    let parked = spawn(move || {
        sleep(LONG);
        print();
    });
    let late = spawn(move || {
        let _unwound = OnDrop(print);
        sleep(LONG);
    });
    drop((parked, late));
}

/// Calls a function when it is dropped.
struct OnDrop(fn());

impl Drop for OnDrop {
    fn drop(&mut self) {
        (self.0)();
    }
}

fn fifty_are_parked_at_the_end_of_main() {
    let fifty: Vec<_> = (0..50).map(|_| spawn(|| sleep(LONG))).collect();
    let handler = spawn(|| {
        let caught = catch_unwind(|| sleep(LONG));
        // Parked while it handles a kill, whose payload it still owns.
        block_on(std::future::pending::<()>());
        drop(caught);
    });
    let nest = spawn(|| {
        fn nest(depth: u32) {
            if depth == 0 {
                return sleep(LONG);
            }
            scope(|scope| drop(scope.spawn(|| nest(depth - 1))));
        }
        nest(10);
    });
    let by_hand = spawn(|| {
        let greenlet = Greenlet::new(|()| block_on(std::future::pending::<()>()));
        drop(greenlet.switch(()));
    });
    yield_now();
    handler.try_kill();
    (0..20).for_each(|_| yield_now());
    assert!(fifty.iter().all(|task| !task.is_finished()));
    assert!(!handler.is_finished() && !nest.is_finished() && !by_hand.is_finished());
}

fn a_panic_that_nobody_takes_is_told_once() {
    drop(Builder::new().name("worker").spawn(|| panic!("nobody takes this")).unwrap());
    yield_now();
    // A kill, a time limit that is caught, and an ordinary end are nothing to report.
    let parked = spawn(|| sleep(LONG));
    yield_now();
    parked.kill();
    drop(parked);
    assert!(with_timeout(Duration::from_millis(1), || sleep(LONG)).is_err());
}

fn a_panic_that_is_joined_is_told_by_the_panic_hook_alone() {
    let task = spawn(|| panic!("somebody takes this"));
    assert!(task.join().unwrap_err().is_panic());
    drop(spawn(|| resume_unwind(Box::new("this passes by the panic hook"))).join());
}

fn a_green_thread_may_end_the_process() {
    let parked = spawn(|| sleep(LONG));
    let ends = spawn(|| {
        let _never_dropped = OnDrop(|| println!("this must not run"));
        yield_now();
        println!("about to exit");
        std::process::exit(7)
    });
    joinall([&parked, &ends]);
}

fn a_panic_in_main_ends_the_process_whoever_is_parked() {
    let parked: Vec<_> = (0..50)
        .map(|_| {
            spawn(|| {
                let _never_dropped = OnDrop(|| println!("this must not run"));
                sleep(LONG);
            })
        })
        .collect();
    yield_now();
    assert!(parked.is_empty(), "main has enough");
}

fn a_thread_that_ends_with_parked_ones_says_so() {
    let thread = std::thread::spawn(|| {
        (0..3).for_each(|_| drop(spawn(|| sleep(LONG))));
        drop(spawn(|| ()));
        yield_now();
    });
    thread.join().unwrap();
}
