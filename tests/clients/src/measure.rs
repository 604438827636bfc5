//! The same work at once on one OS thread, one after another, and on an OS thread each.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use greenloop::Builder;
use greenloop::event::Event;
use greenloop::monkey::patch_all;

use crate::support::within;

/// For each third of a comparison.
pub const LIMIT: Duration = Duration::from_secs(120);

/// How many times the work is done one after another. More would tell no more.
const SERIAL: u32 = 5;

/// What a server takes to answer. Without optimisation its clients take the processor for long, but waiting is what counts.
pub const DELAY: Duration = Duration::from_millis(if cfg!(debug_assertions) { 500 } else { 100 });

/// How many times a comparison of `count` at once does its work in all.
pub const fn runs(count: u32) -> u32 {
    2 * count + SERIAL
}

/// Does `work` in `count` green threads of one OS thread, as it is after `patch_all`, and on threads without a hub, where nothing is
/// patched: some times one after another, and on `count` at once. The numbers go from 0 to [`runs`], the green threads' first.
///
/// # Panics
///
/// Panics unless all at once take less than a third of the time that they would take one after another.
pub fn compare(what: &str, count: u32, work: impl Fn(u32) + Send + Sync + 'static) {
    assert_cooperative(measure(what, count, Builder::new, work));
}

/// [`compare`], with thread-local variables that all have in common.
///
/// # Panics
///
/// As [`compare`].
pub fn compare_shared(what: &str, count: u32, work: impl Fn(u32) + Send + Sync + 'static) {
    assert_cooperative(measure(what, count, || Builder::new().isolated(false), work));
}

fn assert_cooperative((together, serial): (Duration, Duration)) {
    assert!(together < serial / 3, "{together:?} at once, {serial:?} one after another");
}

/// What [`compare`] compares: the time of `count` at once, and of as many one after another.
pub fn measure(
    what: &str,
    count: u32,
    builder: fn() -> Builder,
    work: impl Fn(u32) + Send + Sync + 'static,
) -> (Duration, Duration) {
    measure_each(what, count, builder, move |number, _| work(number))
}

/// Makes `count` clients by `prepare`, and then does `call` with all of them at once, each with its number: in green threads of one OS
/// thread, as [`compare`] does. There each call has begun before the first one has ended, which a call that kept the OS thread would
/// not let happen, however long or short it took.
///
/// # Panics
///
/// Panics if one has ended before all have begun.
pub fn at_once<C>(
    what: &str,
    count: u32,
    prepare: impl Fn(u32) -> C + Send + Sync + 'static,
    call: impl Fn(u32, &mut C) + Send + Sync + 'static,
) {
    measure_each(what, count, Builder::new, move |number, start| {
        let mut client = prepare(number);
        start.begin();
        call(number, &mut client);
        start.end();
    });
}

/// How the clients of a comparison begin their calls.
enum Start {
    Alone,
    OnThreads(Arc<Barrier>),
    InGreenThreads(Rc<Gate>),
}

/// Before the calls of green threads: opened when all are there, so that all are ready in one pass of the hub, which looks for answers
/// after it.
struct Gate {
    count: u32,
    prepared: Cell<u32>,
    begun: Cell<u32>,
    open: Event,
}

impl Start {
    fn begin(&self) {
        match self {
            Start::Alone => {}
            Start::OnThreads(barrier) => drop(barrier.wait()),
            Start::InGreenThreads(gate) => {
                gate.prepared.set(gate.prepared.get() + 1);
                if gate.prepared.get() == gate.count {
                    gate.open.set();
                }
                gate.open.wait();
                gate.begun.set(gate.begun.get() + 1);
            }
        }
    }

    fn end(&self) {
        if let Start::InGreenThreads(gate) = self {
            assert_eq!(gate.begun.get(), gate.count, "it has ended before all have begun");
        }
    }
}

fn measure_each(
    what: &str,
    count: u32,
    builder: fn() -> Builder,
    work: impl Fn(u32, &Start) + Send + Sync + 'static,
) -> (Duration, Duration) {
    let work = Arc::new(work);
    let again = Arc::clone(&work);
    let numbers = count..count + SERIAL;
    let serial = within(LIMIT, move || timed(|| numbers.for_each(|number| again(number, &Start::Alone))));
    let serial = serial * count / SERIAL;
    let again = Arc::clone(&work);
    let threads = within(LIMIT, move || timed(move || on_threads(count, &again)));
    let together = patched(move || timed(move || in_green_threads(count, builder, &work)));
    let ratio = serial.as_secs_f64() / together.as_secs_f64();
    println!(
        "{what}: {count} at once {together:.2?}, one after another {serial:.2?}, {ratio:.1} times that; on OS threads {threads:.2?}"
    );
    (together, serial)
}

fn on_threads(count: u32, work: &Arc<impl Fn(u32, &Start) + Send + Sync + 'static>) {
    let barrier = Arc::new(Barrier::new(count as usize));
    let task = |number| {
        let (work, barrier) = (Arc::clone(work), Arc::clone(&barrier));
        thread::spawn(move || work(number, &Start::OnThreads(barrier)))
    };
    let tasks: Vec<_> = (count + SERIAL..runs(count)).map(task).collect();
    tasks.into_iter().for_each(|task| task.join().expect("it does its work"));
}

fn in_green_threads(
    count: u32,
    builder: fn() -> Builder,
    work: &Arc<impl Fn(u32, &Start) + Send + Sync + 'static>,
) {
    let gate = Rc::new(Gate { count, prepared: Cell::new(0), begun: Cell::new(0), open: Event::new() });
    let task = |number| {
        let (work, start) = (Arc::clone(work), Start::InGreenThreads(Rc::clone(&gate)));
        builder().spawn(move || work(number, &start)).expect("a green thread")
    };
    let tasks: Vec<_> = (0..count).map(task).collect();
    tasks.into_iter().for_each(|task| task.join().expect("it does its work"));
}

/// Runs `run` on an OS thread of its own, patched.
pub fn patched<T: Send + 'static>(run: impl FnOnce() -> T + Send + 'static) -> T {
    patch_all();
    within(LIMIT, run)
}

fn timed(run: impl FnOnce()) -> Duration {
    let start = Instant::now();
    run();
    start.elapsed()
}
