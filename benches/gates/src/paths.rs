//! What is counted, all of it with public calls at default settings.

use std::cell::RefCell;
use std::hint::black_box;
use std::io::{Read, Write};
use std::rc::Rc;
use std::time::Duration;

use greenloop::channel::bounded;
use greenloop::greenlet::{Generator, Greenlet};
use greenloop::net::unix::UnixStream;
use greenloop::sync::Mutex;
use greenloop::{sleep, spawn, with_timeout, yield_now};

pub(crate) struct Path {
    pub(crate) name: &'static str,
    /// Does so many operations, in whole batches.
    pub(crate) run: fn(usize),
}

pub(crate) const PATHS: [Path; 16] = [
    Path { name: "yield", run: yields },
    Path { name: "yield_100", run: yields_100 },
    Path { name: "yield_deep", run: deep_yields },
    Path { name: "switch", run: switches },
    Path { name: "switch_ring_3", run: |times| ring(times, 3) },
    Path { name: "switch_ring_10", run: |times| ring(times, 10) },
    Path { name: "switch_ring_100", run: |times| ring(times, 100) },
    Path { name: "generator", run: items },
    Path { name: "spawn_one", run: |times| spawns(times, 1) },
    Path { name: "spawn_batch", run: |times| spawns(times, 1_000) },
    Path { name: "channel_pingpong", run: round_trips },
    Path { name: "channel_stream", run: stream },
    Path { name: "mutex_contended", run: contended_locks },
    Path { name: "timer_cancel", run: time_limits },
    Path { name: "timer_fire", run: sleeps },
    Path { name: "stream_echo", run: echo },
];

/// Two green threads yield in turn; an operation is a yield.
fn yields(times: usize) {
    let both = [(); 2].map(|()| spawn(move || (0..times / 2).for_each(|_| yield_now())));
    both.into_iter().for_each(|one| one.join().unwrap());
}

/// A hundred do.
fn yields_100(times: usize) {
    let all: Vec<_> = (0..100).map(|_| spawn(move || (0..times / 100).for_each(|_| yield_now()))).collect();
    all.into_iter().for_each(|one| one.join().unwrap());
}

/// The same, four calls further down, as most code yields.
fn deep_yields(times: usize) {
    #[inline(never)]
    fn yield_below(depth: usize) -> usize {
        if depth == 1 {
            yield_now();
            return depth;
        }
        black_box(yield_below(black_box(depth - 1))) + 1
    }
    let both = [(); 2].map(|()| spawn(move || (0..times / 2).for_each(|_| assert_eq!(yield_below(4), 4))));
    both.into_iter().for_each(|one| one.join().unwrap());
}

/// Two greenlets switch to each other; an operation is a switch.
fn switches(times: usize) {
    let partner: Rc<RefCell<Option<Greenlet<usize>>>> = Rc::default();
    let one = Greenlet::new({
        let partner = partner.clone();
        move |mut value| {
            let other = partner.borrow_mut().take().unwrap();
            for _ in 0..times / 2 {
                value = other.switch(value + 1).unwrap();
            }
            value
        }
    });
    let back = one.clone();
    *partner.borrow_mut() = Some(Greenlet::new(move |mut value| {
        loop {
            value = back.switch(value + 1).unwrap();
        }
    }));
    assert_eq!(one.switch(0).unwrap(), times);
}

/// So many greenlets switch each to the next; an operation is a switch.
fn ring(times: usize, count: usize) {
    let greenlets: Rc<RefCell<Vec<Greenlet<usize>>>> = Rc::default();
    for place in 0..count {
        let ring = greenlets.clone();
        greenlets.borrow_mut().push(Greenlet::new(move |mut value| {
            let next = ring.borrow()[(place + 1) % count].clone();
            while value < times {
                value = next.switch(value + 1).unwrap();
            }
            value
        }));
    }
    let first = greenlets.borrow()[0].clone();
    assert_eq!(first.switch(0).unwrap(), times);
    // Each has the next on its stack, and so keeps it.
    for greenlet in greenlets.take() {
        greenlet.switch(times).unwrap();
    }
}

/// A generator is asked for values; an operation is a value.
fn items(times: usize) {
    let mut numbers =
        Generator::new(move |generator, ()| (0..times).for_each(|number| generator.yield_(number)));
    (0..times).for_each(|number| assert_eq!(numbers.next(), Some(number)));
}

/// Green threads that do nothing are spawned and then joined, so many at a time.
fn spawns(times: usize, batch: usize) {
    let mut handles = Vec::with_capacity(batch);
    for _ in 0..times / batch {
        handles.extend((0..batch).map(|number| spawn(move || number)));
        for (number, handle) in handles.drain(..).enumerate() {
            assert_eq!(handle.join().unwrap(), number);
        }
    }
}

/// Through a channel of one there and one back; an operation is a message.
fn round_trips(times: usize) {
    let (there, arrives_there) = bounded(1);
    let (back, arrives_back) = bounded(1);
    let responder = spawn(move || arrives_there.iter().for_each(|number: usize| back.send(number).unwrap()));
    let caller = spawn(move || {
        for number in 0..times / 2 {
            there.send(number).unwrap();
            assert_eq!(arrives_back.recv().unwrap(), number);
        }
    });
    caller.join().unwrap();
    responder.join().unwrap();
}

/// Through a channel of 128; an operation is a message.
fn stream(times: usize) {
    let (sender, receiver) = bounded(128);
    let source = spawn(move || (0..times).for_each(|number| sender.send(number).unwrap()));
    let sink = spawn(move || (0..times).for_each(|number| assert_eq!(receiver.recv().unwrap(), number)));
    source.join().unwrap();
    sink.join().unwrap();
}

/// Sixteen green threads lock a mutex in turn, each of which yields while it holds it; an operation is a lock.
fn contended_locks(times: usize) {
    let mutex = Rc::new(Mutex::new(0));
    let contenders: Vec<_> = (0..16)
        .map(|_| {
            let mutex = mutex.clone();
            spawn(move || {
                for _ in 0..times / 16 {
                    let mut count = mutex.lock().unwrap();
                    yield_now();
                    *count += 1;
                }
            })
        })
        .collect();
    contenders.into_iter().for_each(|contender| contender.join().unwrap());
    assert_eq!(*mutex.lock().unwrap(), times);
}

/// A time limit that is not reached: a timer is armed and cancelled.
fn time_limits(times: usize) {
    let limit = Duration::from_secs(3600);
    for _ in 0..times {
        with_timeout(limit, || black_box(())).unwrap();
    }
}

/// A hundred green threads sleep for so short that all are due when the hub looks; an operation is a sleep.
fn sleeps(times: usize) {
    let sleep_all = move || (0..times / 100).for_each(|_| sleep(Duration::from_nanos(1)));
    let sleepers: Vec<_> = (0..100).map(|_| spawn(sleep_all)).collect();
    sleepers.into_iter().for_each(|sleeper| sleeper.join().unwrap());
}

/// A byte there and back over a pair of Unix sockets; an operation is a round trip.
fn echo(times: usize) {
    let (mut near, mut far) = UnixStream::pair().unwrap();
    let server = spawn(move || {
        let mut byte = [0];
        while far.read(&mut byte).unwrap() > 0 {
            far.write_all(&byte).unwrap();
        }
    });
    for number in 0..times {
        let mut byte = [number as u8];
        near.write_all(&byte).unwrap();
        near.read_exact(&mut byte).unwrap();
        assert_eq!(byte[0], number as u8);
    }
    drop(near);
    server.join().unwrap();
}
