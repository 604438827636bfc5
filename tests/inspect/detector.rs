use std::env;
use std::fs::{self, File};
use std::hint::black_box;
use std::io::{ErrorKind, Read};
use std::net::{TcpListener, TcpStream};
use std::panic::Location;
use std::path::PathBuf;
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use greenloop::inspect::{self, Detector, DetectorOptions, HubBlocked};
use greenloop::{Builder, JoinHandle, sleep, spawn, spawn_later, yield_now};

use crate::LIMIT;
use crate::support::{finish, this_program, within};

/// After so long a hub counts as kept here.
const LONG: Duration = Duration::from_millis(30);

/// Says that a test is in a process of its own.
const CHILD: &str = "GREENLOOP_TEST_OF_DETECTOR";

/// A process has one detector.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A detector, and its reports of green threads with this name.
fn watch(
    name: &'static str,
    set: impl FnOnce(DetectorOptions) -> DetectorOptions,
) -> (Detector, Receiver<HubBlocked>) {
    let (sender, reports) = mpsc::channel();
    let report = move |blocked: &HubBlocked| {
        if blocked.name() == name {
            let _ = sender.send(blocked.clone());
        }
    };
    (set(inspect::detect(LONG)).on_report(report).start().unwrap(), reports)
}

/// Whether there was a report.
pub(crate) type Reported = Arc<dyn Fn() -> bool + Send + Sync>;

/// The first report of a green thread that does `block`, which is to go on until the function that it is given says that it was reported.
#[track_caller]
pub(crate) fn report_of(name: &'static str, block: impl FnOnce(&Reported) + Send + 'static) -> HubBlocked {
    let place = Location::caller();
    let _alone = alone();
    let (blocked, spawned_at) = within(LIMIT, move || {
        let (detector, reports) = watch(name, |options| options);
        let first = Arc::new(Mutex::new(None));
        let seen = first.clone();
        let reports = Mutex::new(reports);
        let is_seen = move || {
            let mut seen = seen.lock().unwrap();
            *seen = seen.take().or_else(|| reports.lock().unwrap().try_recv().ok());
            seen.is_some()
        };
        let is_seen: Reported = Arc::new(is_seen);
        let task = Builder::new().name(name).spawn(move || block(&is_seen)).unwrap();
        let spawned_at = task.spawned_at();
        task.join().unwrap();
        detector.stop();
        let blocked = first.lock().unwrap().take();
        (blocked.expect("a report"), spawned_at)
    });
    assert_eq!(blocked.spawned_at(), Some(spawned_at), "{place}");
    assert!(blocked.lasts() >= LONG && blocked.id().is_some(), "{place}: {blocked}");
    blocked
}

/// Drops `what` on another OS thread when there was a report, which ends the block.
fn drop_once(is_reported: &Reported, what: impl Send + 'static) {
    let is_reported = is_reported.clone();
    thread::spawn(move || {
        while !is_reported() {
            thread::sleep(Duration::from_millis(1));
        }
        drop(what);
    });
}

#[inline(never)]
fn computes_until(is_reported: &Reported) -> u64 {
    let mut steps = 0;
    while !is_reported() {
        for _ in 0..1000 {
            steps = black_box(steps + 1);
        }
    }
    black_box(steps)
}

#[test]
fn a_computation_is_told_with_its_calls_and_with_who_waits() {
    let blocked = report_of("computes", |is_reported| {
        let waiting: Vec<JoinHandle<()>> = (0..3).map(|_| spawn(|| ())).collect();
        let timers: Vec<JoinHandle<()>> = (0..2).map(|_| spawn_later(Duration::ZERO, || ())).collect();
        computes_until(is_reported);
        greenloop::joinall(waiting.iter().chain(&timers));
    });
    assert!(blocked.is_computing(), "{blocked}");
    assert_eq!((blocked.ready(), blocked.due_timers()), (3, 2), "{blocked}");
    let frames = blocked.backtrace().unwrap().frames();
    assert!(frames.iter().any(|frame| frame.name().contains("computes_until")), "{blocked}");
    assert!(frames.iter().all(|frame| !frame.name().contains("libtest")), "{blocked}");
    let text = blocked.to_string();
    assert!(
        text.starts_with("green thread 'computes' (") && text.contains(" has kept the hub of the OS thread"),
        "{text}"
    );
    assert!(text.contains("\n  3 ready green threads and 2 due timers wait\n"), "{text}");
}

/// Whether `pattern`, of letters that may each have a `?`, matches all of `text`: by trying one after another, as many a regular expression
/// is matched.
#[inline(never)]
fn matches(pattern: &[u8], text: &[u8]) -> bool {
    match (pattern, text) {
        ([], rest) => rest.is_empty(),
        ([letter, b'?', rest @ ..], _) => {
            text.first() == Some(letter) && matches(rest, &text[1..]) || matches(rest, text)
        }
        ([letter, rest @ ..], [first, others @ ..]) => letter == first && matches(rest, others),
        ([_, ..], []) => false,
    }
}

#[test]
fn a_regular_expression_is_told() {
    let blocked = report_of("validates", |is_reported| {
        // Each more doubles the time.
        let pattern = ["a?".repeat(16), "a".repeat(16)].concat();
        while !is_reported() {
            assert!(matches(pattern.as_bytes(), "a".repeat(16).as_bytes()));
        }
    });
    assert!(blocked.is_computing(), "{blocked}");
    let frames = blocked.backtrace().unwrap().frames();
    assert!(frames.iter().any(|frame| frame.name().contains("matches")), "{blocked}");
}

/// No test but where it is asked for: it can never end.
#[test]
fn guard_child() {
    if env::var_os(CHILD).is_none() {
        return;
    }
    let report = |blocked: &HubBlocked| {
        if blocked.name() == "second" {
            println!("{blocked}");
            std::process::exit(0);
        }
    };
    let _detector = inspect::detect(LONG).on_report(report).start().unwrap();
    let lock = Arc::new(Mutex::new(()));
    let first = lock.clone();
    let holds = Builder::new().name("first").spawn(move || {
        let _guard = first.lock().unwrap();
        sleep(LONG);
    });
    yield_now();
    let second = Builder::new().name("second").spawn(move || drop(lock.lock().unwrap()));
    greenloop::joinall([&holds.unwrap(), &second.unwrap()]);
}

#[test]
fn a_guard_of_std_that_is_held_across_a_wait_is_told() {
    let text = in_a_process("detector::guard_child");
    assert!(text.contains("green thread 'second' ("), "{text}");
    assert!(text.contains("it is in the system call futex, and has computed for "), "{text}");
    assert!(text.contains("detector::guard_child"), "{text}");
}

#[test]
fn a_lock_of_std_is_told() {
    let lock = Arc::new(Mutex::new(()));
    let blocked = report_of("locks", move |is_reported| {
        let (sender, locked) = mpsc::channel();
        let (held, is_reported) = (lock.clone(), is_reported.clone());
        let holder = thread::spawn(move || {
            let _guard = held.lock().unwrap();
            sender.send(()).unwrap();
            while !is_reported() {
                thread::sleep(Duration::from_millis(1));
            }
        });
        locked.recv().unwrap();
        drop(lock.lock().unwrap());
        holder.join().unwrap();
    });
    assert_eq!((blocked.system_call(), blocked.is_computing()), (Some("futex"), false), "{blocked}");
}

#[test]
fn a_sleep_of_std_is_told() {
    let blocked = report_of("sleeps", |is_reported| {
        while !is_reported() {
            thread::sleep(2 * LONG);
        }
    });
    let call = blocked.system_call().unwrap();
    assert!(call.ends_with("nanosleep") && !blocked.is_computing(), "{blocked}");
}

#[test]
fn a_file_lock_is_told_with_its_file() {
    let path = std::env::temp_dir().join(format!("greenloop-flock-{}", std::process::id()));
    let file = path.clone();
    let blocked = report_of("locks a file", move |is_reported| {
        let (first, second) = (File::create(&file).unwrap(), File::open(&file).unwrap());
        first.lock().unwrap();
        drop_once(is_reported, first);
        second.lock().unwrap();
        std::fs::remove_file(&file).unwrap();
    });
    let call = blocked.system_call().unwrap();
    assert!(call.starts_with("flock of fd ") && call.contains(path.to_str().unwrap()), "{blocked}");
}

#[test]
fn a_socket_of_std_is_told() {
    let blocked = report_of("reads", |is_reported| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (peer, _) = listener.accept().unwrap();
        drop_once(is_reported, peer);
        assert_eq!(client.read(&mut [0]).unwrap(), 0);
    });
    let call = blocked.system_call().unwrap();
    assert!(call.starts_with("recvfrom of fd ") && call.contains("socket:"), "{blocked}");
}

#[test]
fn slices_below_the_limit_are_no_reason() {
    let _alone = alone();
    within(LIMIT, || {
        let (detector, reports) = watch("in slices", |options| options);
        let slice = || {
            for _ in 0..20 {
                let end = Instant::now() + LONG / 10;
                while Instant::now() < end {}
                yield_now();
            }
        };
        // They begin on the same stack, one after another, and go on in turn: together they take ten times the limit.
        let tasks: Vec<_> = (0..5).map(|_| Builder::new().name("in slices").spawn(slice).unwrap()).collect();
        greenloop::joinall(&tasks);
        detector.stop();
        assert_eq!(
            reports.try_iter().map(|blocked| blocked.to_string()).collect::<Vec<_>>(),
            [] as [String; 0]
        );
    });
}

#[test]
fn who_goes_on_blocking_is_told_again_after_twice_the_time() {
    let _alone = alone();
    within(LIMIT, || {
        let (detector, reports) = watch("again", |options| options);
        let task = Builder::new().name("again").spawn(move || {
            // No wait of this crate in between.
            (0..3).map(|_| reports.recv().unwrap().lasts()).collect::<Vec<_>>()
        });
        let lasts = task.unwrap().join().unwrap();
        detector.stop();
        for (report, lasts) in lasts.into_iter().enumerate() {
            assert!(lasts >= LONG * (1 << report), "{report}: {lasts:?}");
        }
    });
}

#[test]
fn a_flood_is_cut_and_counted() {
    let _alone = alone();
    within(LIMIT, || {
        let own = thread::current().name().unwrap().to_owned();
        let (sender, kept) = mpsc::channel();
        let count = move |blocked: &HubBlocked| {
            let is_own = blocked.thread() == own;
            is_own && sender.send(()).is_ok()
        };
        let (detector, reports) = watch("flood", |options| options.most_per_minute(2).only_if(count));
        Builder::new()
            .name("flood")
            .spawn(move || (0..4).for_each(|_| kept.recv().unwrap()))
            .unwrap()
            .join()
            .unwrap();
        detector.stop();
        assert_eq!(reports.try_iter().count(), 2);
    });
}

#[test]
fn who_is_allowed_to_block_is_not_told() {
    let _alone = alone();
    within(LIMIT, || {
        let (detector, reports) = watch("allowed", |options| options);
        let task = Builder::new().name("allowed").spawn(|| {
            for _ in 0..2 {
                let nested = || inspect::allow_blocking(|| thread::sleep(LONG));
                inspect::allow_blocking(|| {
                    nested();
                    thread::sleep(LONG);
                });
            }
            // What was allowed does not count.
            thread::sleep(LONG / 10);
        });
        task.unwrap().join().unwrap();
        assert_eq!(reports.try_iter().count(), 0);
        let task = Builder::new().name("allowed").spawn(move || {
            inspect::allow_blocking(|| sleep(Duration::from_nanos(1)));
            reports.recv().unwrap();
        });
        task.unwrap().join().unwrap();
        detector.stop();
    });
}

#[test]
fn a_filter_comes_before_the_signal() {
    let _alone = alone();
    within(LIMIT, || {
        let (sender, asked) = mpsc::channel();
        let filter = move |blocked: &HubBlocked| {
            let _ = sender.send((blocked.thread().to_owned(), blocked.backtrace().is_none()));
            false
        };
        let (detector, reports) = watch("filtered", |options| options.only_if(filter));
        let own = thread::current().name().unwrap().to_owned();
        let task = Builder::new()
            .name("filtered")
            .spawn(move || while asked.recv().unwrap() != (own.clone(), true) {});
        task.unwrap().join().unwrap();
        detector.stop();
        assert_eq!(reports.try_iter().count(), 0);
    });
}

#[test]
fn without_signals_it_is_the_place_that_is_told() {
    let _alone = alone();
    within(LIMIT, || {
        let (detector, reports) = watch("<unnamed>", |options| options.signals(false));
        let own = thread::current().name().unwrap().to_owned();
        let is_own = move |blocked: &HubBlocked| blocked.thread() == own;
        let task = spawn(move || reports.iter().find(is_own).unwrap());
        let (id, place) = (task.id().to_string(), task.spawned_at());
        let blocked = task.join().unwrap();
        detector.stop();
        assert_eq!(blocked.spawned_at(), Some(place));
        assert_eq!(blocked.id().map(|id| id.to_string()), Some(id));
        assert!(blocked.backtrace().is_none());
    });
}

#[test]
fn main_and_a_callback_are_told_as_such() {
    let _alone = alone();
    within(LIMIT, || {
        let (sender, reports) = mpsc::channel();
        let own = thread::current().name().unwrap().to_owned();
        let report = move |blocked: &HubBlocked| {
            if blocked.thread() == own {
                let _ = sender.send(blocked.name().to_owned());
            }
        };
        let detector = inspect::detect(LONG).on_report(report).start().unwrap();
        yield_now(); // there is a hub
        assert_eq!(reports.recv().unwrap(), "main");
        sleep(Duration::from_nanos(1));
        let event = greenloop::event::Event::new();
        let (done, told) = mpsc::channel();
        let _link = event.rawlink(move || {
            while !reports.try_iter().any(|name| name == "<hub>") {
                thread::sleep(Duration::from_millis(1));
            }
            done.send(()).unwrap();
        });
        event.set();
        while told.try_recv().is_err() {
            yield_now();
        }
        detector.stop();
    });
}

#[test]
fn one_that_is_stopped_by_who_goes_before_others_leaves_no_hub_watched() {
    let _alone = alone();
    within(LIMIT, || {
        let (former, _) = watch("former", |options| options);
        let stops = move || {
            // Both are ready when the pass begins.
            yield_now();
            former.stop();
        };
        let tasks = [spawn(stops), spawn(|| (0..3).for_each(|_| yield_now()))];
        tasks.into_iter().for_each(|task| task.join().unwrap());
        let (detector, reports) = watch("goes on", |options| options);
        let goes_on = || {
            let end = Instant::now() + 4 * LONG;
            while Instant::now() < end {
                yield_now();
            }
        };
        Builder::new().name("goes on").spawn(goes_on).unwrap().join().unwrap();
        detector.stop();
        assert_eq!(reports.iter().map(|blocked| blocked.to_string()).next(), None);
    });
}

#[test]
fn a_process_has_one_at_a_time() {
    let _alone = alone();
    within(LIMIT, || {
        let first = inspect::detect(LONG).on_report(|_| ()).start().unwrap();
        assert_eq!(inspect::detect(LONG).start().unwrap_err().kind(), ErrorKind::AlreadyExists);
        first.stop();
        inspect::detect(LONG).on_report(|_| ()).start().unwrap().stop();
    });
}

#[test]
fn a_report_may_stop_it() {
    let _alone = alone();
    within(LIMIT, || {
        let running = Arc::new(Mutex::new(None::<Detector>));
        let (stops, is_stopped) = mpsc::channel();
        let of_report = running.clone();
        let report = move |_: &HubBlocked| {
            if let Some(detector) = of_report.lock().unwrap().take() {
                detector.stop();
                stops.send(()).unwrap();
            }
        };
        *running.lock().unwrap() = Some(inspect::detect(LONG).on_report(report).start().unwrap());
        spawn(move || is_stopped.recv().unwrap()).join().unwrap();
        inspect::detect(LONG).on_report(|_| ()).start().unwrap().stop();
    });
}

/// How often the detector's OS thread has gone to sleep.
fn sleeps_of_the_detector() -> u64 {
    let mut tasks = fs::read_dir("/proc/self/task").unwrap().map(|task| task.unwrap().path());
    let is_it = |path: &PathBuf| {
        fs::read_to_string(path.join("comm")).is_ok_and(|name| name.trim() == "greenloop-watch")
    };
    let status = fs::read_to_string(tasks.find(is_it).unwrap().join("status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    line.unwrap().trim().parse().unwrap()
}

/// No test but where it is asked for: other hubs of the process would have the detector look.
#[test]
fn idle_child() {
    if env::var_os(CHILD).is_none() {
        return;
    }
    let (detector, reports) = watch("afterwards", |options| options);
    sleep(LONG);
    let before = sleeps_of_the_detector();
    sleep(40 * LONG);
    let more = sleeps_of_the_detector() - before;
    // It would be a hundred.
    assert!(more < 10, "{more}");
    // It sees at once who goes on, and also a callback before.
    let task = Builder::new().name("afterwards").spawn(move || {
        sleep(4 * LONG);
        reports.recv().unwrap()
    });
    assert!(task.unwrap().join().unwrap().lasts() >= LONG);
    let (sender, reports) = mpsc::channel();
    detector.stop();
    let detector = inspect::detect(LONG).on_report(move |blocked| drop(sender.send(blocked.clone()))).start();
    let event = Arc::new(greenloop::event::Event::new());
    let (done, told) = mpsc::channel();
    let _link = event.rawlink(move || done.send(reports.recv().unwrap().name().to_owned()).unwrap());
    let setter = thread::spawn(move || {
        // When all sleep.
        thread::sleep(4 * LONG);
        event.set();
    });
    while told.try_recv().map(|name| assert_eq!(name, "<hub>")).is_err() {
        sleep(40 * LONG);
    }
    setter.join().unwrap();
    detector.unwrap().stop();
}

/// What a test prints that runs in a process of its own.
fn in_a_process(test: &str) -> String {
    let mut child = this_program();
    child.args(["--exact", test, "--nocapture", "--test-threads", "1"]).env(CHILD, "1");
    let finished = finish(&mut child, LIMIT);
    assert!(finished.status.success(), "{finished:?}");
    finished.stdout
}

#[test]
fn a_detector_sleeps_while_all_hubs_do() {
    let text = in_a_process("detector::idle_child");
    assert!(text.contains("1 passed"), "{text}");
}
