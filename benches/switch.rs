//! What a switch costs. First two greenlets that switch to each other and a generator's item, beside one bare stack swap, which is half of
//! corosensei's resume and suspend. Then many in turn: the bare resume and suspend, a greenlet's switch, and a green thread's yield.
//!
//!     cargo bench --bench switch
//!     cargo bench --bench switch -- --short
//!
//! And a yield while its hub times the slices, and while it records them, with what a recording takes.
//!
//! Each figure is the median of several rounds, in nanoseconds of processor time; the ratio is to the bare one of the same row. All have
//! been resumed once before the clock starts. The bare ones stand 64 KiB apart in one mapping, without guards.
//!
//! The first table has the least of many short rounds too. Who shares a core with another, as in most virtual machines, finds half of
//! it gone for seconds, and code that keeps all of a core busy then takes twice as long: the least tells what it takes alone.

#[path = "support/slab.rs"]
mod slab;
#[path = "support/table.rs"]
mod table;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::hint::black_box;
use std::rc::Rc;

use corosensei::{Coroutine, Yielder};
use greenloop::greenlet::{Generator, Greenlet};
use greenloop::inspect::{self, Recorder};
use rustix::time::{ClockId, clock_gettime};
use slab::SlabStack;
use table::{median, number};

type Bare = Coroutine<(), (), (), SlabStack>;

fn main() {
    let has = |flag: &str| std::env::args().any(|argument| argument == flag);
    let short = has("--short");
    if !short && !has("--bench") {
        return println!("nothing to do: cargo bench runs this with --bench, --short makes it quick");
    }
    let (switches, rounds) = if short { (200_000, 1) } else { (4_000_000, 5) };
    table::print(&["", "ns", "bare swaps", "least ns", "bare swaps"], &by_hand(switches / 80, rounds * 80));
    println!();
    let rows: Vec<_> =
        [2, 3, 10, 100, 10_000, 100_000].into_iter().map(|count| row(count, switches, rounds)).collect();
    let head = ["in turn", "bare ns", "greenlet ns", "ratio", "green thread ns", "ratio"];
    table::print(&head, &rows);
    println!();
    table::print(&["yield of two", "ns", "more", "least ns", "more"], &watched(switches / 80, rounds * 80));
    let [event, json, perfetto] = recorded(switches / 40).map(number);
    println!(
        "a recording: {event} events a yield, an event takes {json} bytes as JSON, {perfetto} in Perfetto's format"
    );
}

/// What it costs to time the slices, and to record them, beside one look at the clock.
fn watched(switches: usize, rounds: usize) -> Vec<Vec<String>> {
    let names = ["not watched", "timed", "recorded", "timed and recorded", "a look at the clock"];
    let mut figures = names.map(|_| Vec::new());
    for _ in 0..rounds {
        for (way, figures) in figures.iter_mut().enumerate() {
            let (times, records) = (way & 1 == 1 && way < 4, way & 2 == 2);
            inspect::time_slices(times);
            let recorder = records.then(|| Recorder::start(1 << 20).expect("none other"));
            figures.push(if way == 4 { clock_looks(switches) } else { green_threads(2, switches / 2) });
            drop(recorder);
        }
    }
    inspect::time_slices(false);
    let both = figures.map(|mut figures| {
        let median = median(&mut figures).unwrap_or(f64::NAN);
        [median, figures.into_iter().fold(f64::INFINITY, f64::min)]
    });
    let row = |(name, each): (&&str, &[f64; 2])| {
        let more = |place: usize| match *name {
            "a look at the clock" => String::new(),
            _ => number(each[place] - both[0][place]),
        };
        vec![(*name).into(), number(each[0]), more(0), number(each[1]), more(1)]
    };
    names.iter().zip(&both).map(row).collect()
}

fn clock_looks(times: usize) -> f64 {
    let start = now();
    for _ in 0..times {
        black_box(clock_gettime(ClockId::Monotonic));
    }
    each(start, times)
}

/// Events of a yield, and bytes of an event.
fn recorded(yields: usize) -> [f64; 3] {
    let recorder = Recorder::start(64 * yields).expect("none other");
    green_threads(2, yields / 2);
    let recording = recorder.snapshot();
    let (mut json, mut perfetto) = (Vec::new(), Vec::new());
    recording.write_json(&mut json).expect("room in memory");
    recording.write_perfetto(&mut perfetto).expect("room in memory");
    let events = recording.events() as f64;
    [events / yields as f64, json.len() as f64 / events, perfetto.len() as f64 / events]
}

fn by_hand(switches: usize, rounds: usize) -> Vec<Vec<String>> {
    type Way = (&'static str, fn(usize) -> f64);
    let ways: [Way; 3] = [
        ("bare swap", |switches| bare_pair(switches) / 2.0),
        ("greenlet's switch, of a pair", |switches| greenlets(2, switches / 2)),
        ("generator's item", items),
    ];
    let mut figures = ways.map(|_| Vec::new());
    for _ in 0..rounds {
        ways.iter().zip(&mut figures).for_each(|((_, way), figures)| figures.push(way(switches)));
    }
    let both = figures.map(|mut figures| {
        let median = median(&mut figures).unwrap_or(f64::NAN);
        [median, figures.into_iter().fold(f64::INFINITY, f64::min)]
    });
    let row = |((name, _), each): (&(&str, _), &[f64; 2])| {
        let columns = each.iter().zip(both[0]).flat_map(|(each, bare)| [number(*each), number(each / bare)]);
        [(*name).into()].into_iter().chain(columns).collect()
    };
    ways.iter().zip(&both).map(row).collect()
}

fn row(count: usize, switches: usize, rounds: usize) -> Vec<String> {
    let laps = (switches / count).max(4);
    let ways = [bare, greenlets, green_threads];
    let mut values = ways.map(|_| Vec::new());
    for _ in 0..rounds {
        for (way, values) in ways.iter().zip(&mut values) {
            values.push(way(count, laps));
        }
    }
    let [bare, greenlet, green] = values.map(|mut values| median(&mut values).unwrap_or(f64::NAN));
    vec![
        count.to_string(),
        number(bare),
        number(greenlet),
        number(greenlet / bare),
        number(green),
        number(green / bare),
    ]
}

/// Processor time of this thread, in nanoseconds: what others run meanwhile does not count.
fn now() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Nanoseconds of each of `steps` since `start`.
fn each(start: u64, steps: usize) -> f64 {
    (now() - start) as f64 / steps as f64
}

/// One coroutine that is resumed and suspends, with nothing on top.
fn bare_pair(laps: usize) -> f64 {
    let over = Rc::new(Cell::new(false));
    let mut coroutine = slab::stacks(1)
        .map(|stack| {
            let over = over.clone();
            Bare::with_stack(stack, move |yielder: &Yielder<(), ()>, ()| {
                while !over.get() {
                    yielder.suspend(());
                }
            })
        })
        .next()
        .expect("one was asked for");
    coroutine.resume(());
    let start = now();
    for _ in 0..laps {
        black_box(coroutine.resume(()));
    }
    let figure = each(start, laps);
    over.set(true);
    coroutine.resume(());
    figure
}

/// A generator that is asked for so many values.
fn items(count: usize) -> f64 {
    let mut numbers = Generator::new(move |generator, ()| {
        for number in 0..=count {
            generator.yield_(number);
        }
    });
    assert_eq!(numbers.next(), Some(0));
    let start = now();
    for number in 1..=count {
        assert_eq!(numbers.next(), Some(number));
    }
    each(start, count)
}

/// Coroutines resumed from one ring, with nothing on top.
fn bare(count: usize, laps: usize) -> f64 {
    let over = Rc::new(Cell::new(false));
    let mut coroutines: Vec<_> = slab::stacks(count)
        .map(|stack| {
            let over = over.clone();
            Bare::with_stack(stack, move |yielder: &Yielder<(), ()>, ()| {
                while !over.get() {
                    yielder.suspend(());
                }
            })
        })
        .collect();
    let mut ring: VecDeque<usize> = (0..count).collect();
    let mut turn = |steps| {
        for _ in 0..steps {
            let index = ring.pop_front().expect("nobody leaves the ring");
            black_box(coroutines[index].resume(()));
            ring.push_back(index);
        }
    };
    turn(count);
    let start = now();
    turn(count * laps);
    let figure = each(start, count * laps);
    over.set(true);
    turn(count);
    figure
}

/// Greenlets that switch each to the next.
fn greenlets(count: usize, laps: usize) -> f64 {
    /// Ends who receives it.
    const STOP: usize = usize::MAX;
    let ring: Rc<RefCell<Vec<Greenlet<usize>>>> = Rc::default();
    let next = |index: usize| {
        let ring = ring.clone();
        move || ring.borrow()[(index + 1) % count].clone()
    };
    let figure = Rc::new(Cell::new(f64::NAN));
    let leader = Greenlet::new({
        let (next, figure) = (next(0), figure.clone());
        move |lap| {
            let next = next();
            // This lap starts the others.
            next.switch(lap).unwrap();
            let start = now();
            for lap in 0..laps {
                next.switch(lap).unwrap();
            }
            figure.set(each(start, count * laps));
            STOP
        }
    });
    ring.borrow_mut().push(leader.clone());
    for index in 1..count {
        let next = next(index);
        ring.borrow_mut().push(Greenlet::new(move |mut lap| {
            let next = next();
            while lap != STOP {
                lap = next.switch(lap).unwrap();
            }
            STOP
        }));
    }
    leader.switch(0).unwrap();
    for follower in ring.take().into_iter().skip(1) {
        follower.switch(STOP).unwrap();
    }
    figure.get()
}

/// Green threads that yield.
fn green_threads(count: usize, laps: usize) -> f64 {
    let start = Rc::new(Cell::new(None));
    let warm = Rc::new(Cell::new(0));
    let handles: Vec<_> = (0..count)
        .map(|_| {
            let (start, warm) = (start.clone(), warm.clone());
            greenloop::spawn(move || {
                warm.set(warm.get() + 1);
                if warm.get() == count {
                    start.set(Some(now()));
                }
                while warm.get() < count {
                    greenloop::yield_now();
                }
                for _ in 0..laps {
                    greenloop::yield_now();
                }
            })
        })
        .collect();
    for handle in handles {
        handle.join().unwrap();
    }
    each(start.get().expect("all have begun"), count * laps)
}
