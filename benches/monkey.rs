//! What a function of the C library's costs by way of greenloop, and what an echo costs through it.
//!
//!     cargo bench --features monkey --bench monkey
//!     cargo bench --features monkey --bench monkey -- --short
//!
//! A call: `recv` on a number that is not open, the plain one, and the one in the program before and after `patch_all` on a
//! thread without a hub. An echo: 64 bytes there and back over TCP, by greenloop's own streams, by std's under
//! `patch_all`, and between two OS threads. A switch: two green threads that yield in turn, and a hundred, plain ones and isolated
//! ones; beside that a write to the register that thread-local variables are relative to. And one that is spawned, runs and is
//! joined. Medians of several rounds, in nanoseconds of processor time of the whole process.

#![expect(unsafe_code, reason = "calls of C's functions")]

#[path = "support/table.rs"]
mod table;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

use greenloop::monkey::{Parts, original, patch_all, unpatch};
use greenloop::{Builder, net, spawn, yield_now};
use rustix::time::{ClockId, clock_gettime};
use table::{median, number};

/// A name, and what measures it: nanoseconds of one, of so many.
type Way = (&'static str, fn(u32) -> f64);

fn main() {
    let has = |flag: &str| std::env::args().any(|argument| argument == flag);
    let short = has("--short");
    if !short && !has("--bench") {
        return println!("nothing to do: cargo bench runs this with --bench, --short makes it quick");
    }
    let (times, rounds) = if short { (10_000, 1) } else { (200_000, 9) };
    let ways: [Way; 13] = [
        ("call, the C library's", |times| calls(times, original_recv)),
        ("call, not patched", |times| calls(times, recv)),
        ("call, patched, no hub", |times| {
            patch_all();
            let each = calls(times, recv);
            unpatch(Parts::ALL);
            each
        }),
        ("echo, greenloop's streams", |times| {
            let (one, other) = pair();
            let [one, other] = [one, other].map(net::TcpStream::from);
            echo(times / 10, one, other, |serve, ask| {
                let server = spawn(serve);
                ask();
                server.join().expect("no panic");
            })
        }),
        ("echo, std's streams, patched", |times| {
            patch_all();
            let (one, other) = pair();
            let each = echo(times / 10, one, other, |serve, ask| {
                let server = spawn(serve);
                ask();
                server.join().expect("no panic");
            });
            unpatch(Parts::ALL);
            each
        }),
        ("echo, two OS threads", |times| {
            let (one, other) = pair();
            echo(times / 10, one, other, |serve, ask| {
                let server = thread::spawn(serve);
                ask();
                server.join().expect("no panic");
            })
        }),
        ("switch, plain", |times| yields(2, times, false)),
        ("switch, isolated", |times| yields(2, times, true)),
        ("switch, plain, of a hundred", |times| yields(100, times / 50, false)),
        ("switch, isolated, of a hundred", |times| yields(100, times / 50, true)),
        ("a write to the register", write_the_register),
        ("spawn and join, plain", |times| spawns(times / 100, false)),
        ("spawn and join, isolated", |times| spawns(times / 100, true)),
    ];
    let mut values = ways.map(|_| Vec::new());
    for _ in 0..rounds {
        for ((_, way), values) in ways.iter().zip(&mut values) {
            // On a thread of its own: the calls want none that has a hub.
            let way = *way;
            values.push(thread::spawn(move || way(times)).join().expect("no panic"));
        }
    }
    let middle = values.map(|mut values| median(&mut values).unwrap_or(f64::NAN));
    let rows = (0..ways.len()).map(|index| {
        let first = middle[[0, 0, 0, 3, 3, 3, 6, 6, 8, 8, 6, 11, 11][index]];
        vec![ways[index].0.to_owned(), number(middle[index]), number(middle[index] / first)]
    });
    table::print(&["", "ns", "ratio"], &rows.collect::<Vec<_>>());
}

/// Processor time of this process, in nanoseconds.
fn now() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 * 1e9 + time.tv_nsec as f64
}

fn recv() -> isize {
    // SAFETY: nothing is received from a number that is not open, into nothing.
    unsafe { libc::recv(-1, std::ptr::null_mut(), 0, 0) }
}

fn original_recv() -> isize {
    // SAFETY: as above.
    unsafe { original::recv(-1, std::ptr::null_mut(), 0, 0) }
}

fn calls(times: u32, call: fn() -> isize) -> f64 {
    let times = times * 10;
    let start = now();
    for _ in 0..times {
        assert_eq!(std::hint::black_box(call)(), -1);
    }
    (now() - start) / f64::from(times)
}

/// So many green threads yield in turn.
fn yields(count: u32, times: u32, isolated: bool) -> f64 {
    let each = move || (0..times).for_each(|_| yield_now());
    let start = now();
    let spawned = (0..count).map(|_| Builder::new().isolated(isolated).spawn(each).expect("an OS thread"));
    let all: Vec<_> = spawned.collect();
    all.into_iter().for_each(|one| one.join().expect("no panic"));
    (now() - start) / f64::from(count * times)
}

/// Writes what is there.
fn write_the_register(times: u32) -> f64 {
    match Builder::new().isolated(true).spawn(|| ()) {
        Ok(isolated) => isolated.join().expect("no panic"),
        Err(_) => return f64::NAN,
    }
    let start = now();
    for _ in 0..times {
        // SAFETY: a program may do so where green threads can be isolated; and nothing changes by it.
        #[cfg(target_arch = "x86_64")]
        unsafe {
            std::arch::asm!("rdfsbase {0}", "wrfsbase {0}", out(reg) _, options(nostack, preserves_flags));
        }
        // SAFETY: as above.
        #[cfg(target_arch = "aarch64")]
        unsafe {
            std::arch::asm!("mrs {0}, tpidr_el0", "msr tpidr_el0, {0}", out(reg) _, options(nostack, preserves_flags));
        }
    }
    (now() - start) / f64::from(times)
}

fn spawns(times: u32, isolated: bool) -> f64 {
    let start = now();
    for _ in 0..times {
        let spawned = Builder::new().isolated(isolated).spawn(|| ()).expect("an OS thread");
        spawned.join().expect("no panic");
    }
    (now() - start) / f64::from(times)
}

/// Two ends of a connection.
fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let one = TcpStream::connect(listener.local_addr().expect("bound")).expect("room for one");
    let (other, _) = listener.accept().expect("one has come");
    [&one, &other].into_iter().for_each(|end| end.set_nodelay(true).expect("a socket"));
    (one, other)
}

fn echo<S: Read + Write + Send + 'static>(
    times: u32,
    mut one: S,
    mut other: S,
    run: impl FnOnce(Box<dyn FnOnce() + Send>, Box<dyn FnOnce()>),
) -> f64 {
    let serve = move || {
        let mut message = [0; 64];
        while other.read_exact(&mut message).is_ok() {
            other.write_all(&message).expect("somebody listens");
        }
    };
    let ask = move || {
        let mut message = [7; 64];
        for _ in 0..times {
            one.write_all(&message).expect("somebody listens");
            one.read_exact(&mut message).expect("an answer");
        }
    };
    let start = now();
    run(Box::new(serve), Box::new(ask));
    (now() - start) / f64::from(times)
}
