//! Memory, values, arrays and locks.

use std::cell::Cell;
use std::fs;
use std::os::fd::AsFd;
use std::rc::Rc;
use std::time::{Duration, Instant};

use greenloop::process::wait_pid;
use greenloop::processes::shared::{Array, Lock, Memory, Value};
use greenloop::{sleep, spawn, with_timeout};
use rustix::process::Signal;

use crate::children::{Forked, Word, for_ever, forked};
use crate::support::Random;

const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(30);

pub(crate) fn values_and_arrays_are_the_same_in_all_processes() {
    let sum = Value::new(0u64).expect("a value");
    let whole = Value::new([0u64; 4]).expect("a value");
    let bytes = Array::<u8>::zeroed(8).expect("an array");
    let children: Vec<_> = (0..8u8)
        .map(|number| {
            forked(|| {
                for round in 0..200u64 {
                    sum.update(|sum| sum + 1);
                    let _guard = whole.lock();
                    let seen = whole.get();
                    assert_eq!(seen, [seen[0]; 4], "a part of another's");
                    whole.set([round * 8 + u64::from(number); 4]);
                    drop(_guard);
                    // Neighbours in one word, without a lock.
                    bytes.set(usize::from(number), number + 1);
                }
            })
        })
        .collect();
    children.into_iter().for_each(Forked::succeeds);
    assert_eq!(sum.get(), 1600);
    assert_eq!(bytes.to_vec(), [1, 2, 3, 4, 5, 6, 7, 8]);
}

pub(crate) fn memory_is_in_pages_zeroed_and_bounded() {
    for length in [1, 4095, 4096, 4097, 1 << 20] {
        let memory = Memory::new(length).expect("memory");
        let size = memory.len();
        assert!(size >= length && size.is_multiple_of(4096) && size < length + 65536);
        let mut all = vec![1; size];
        memory.read_at(0, &mut all).expect("all of it");
        assert!(all.iter().all(|byte| *byte == 0));
        memory.write_at(size - 3, b"end").expect("room");
        assert!(memory.write_at(size - 3, b"ends").is_err() && memory.read_at(size + 1, &mut []).is_err());
        assert!(memory.read_at(usize::MAX, &mut [0; 2]).is_err());
        memory.read_at(0, &mut all).expect("all of it");
        assert!(all.ends_with(b"\0end"));
    }
    assert!(
        Memory::new(0).is_err() && Memory::new(usize::MAX).is_err() && Memory::new(usize::MAX / 2).is_err()
    );
    assert!(Array::<u64>::zeroed(usize::MAX / 2).is_err());
}

pub(crate) fn a_descriptor_is_enough_and_its_end_deletes_nothing() {
    let memory = Memory::new(10).expect("memory");
    let lock = Lock::new().expect("a lock");
    let again = || {
        let memory =
            Memory::from_descriptor(memory.as_fd().try_clone_to_owned().expect("a copy")).expect("it");
        let copies = lock.descriptors().map(|fd| fd.try_clone_to_owned().expect("a copy"));
        (memory, Lock::from_descriptors(copies).expect("it"))
    };
    forked(|| {
        let (memory, lock) = again();
        let _guard = lock.lock();
        memory.write_at(0, b"here").expect("room");
    })
    .succeeds();
    let mut bytes = [0; 4];
    memory.read_at(0, &mut bytes).expect("bytes");
    assert_eq!(&bytes, b"here");
    // Its guard was dropped.
    assert!(!lock.lock().owner_died());
    let other = lock.descriptors().map(|fd| fd.try_clone_to_owned().expect("a copy"));
    assert!(Value::<u64>::from_descriptors(other).is_err(), "a lock is no value");
}

/// What is in /dev/shm, and how many mappings of such memory this process has.
fn left_over() -> (Vec<String>, usize) {
    let entries = fs::read_dir("/dev/shm").into_iter().flatten().flatten();
    let mut names: Vec<_> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    let maps = fs::read_to_string("/proc/self/maps").expect("/proc is mounted");
    (names, maps.lines().filter(|line| line.contains("memfd:greenloop")).count())
}

pub(crate) fn nothing_is_left_when_all_are_killed() {
    let before = left_over();
    let files = || fs::read_dir("/proc/self/fd").expect("/proc is mounted").count();
    let open = files();
    let family = forked(|| {
        let value = Value::new(1u32).expect("a value");
        let _guard = value.lock();
        let _children = [(); 3].map(|()| forked(|| drop(value.lock())));
        for_ever();
    });
    sleep(SHORT);
    // Its children are told by the lock that it is gone, and end.
    family.kill();
    let value = Value::new(1u32).expect("a value");
    let array = Array::from_slice(&[1, 2]).expect("an array");
    drop((value, array));
    assert_eq!(left_over(), before);
    // The hub's own, which it has made for the wait.
    assert!(files() <= open + 3, "{} and {open}", files());
}

pub(crate) fn a_lock_excludes_between_processes_and_within_one() {
    let lock = Lock::new().expect("a lock");
    let inside = Value::new(0u32).expect("a value");
    let children: Vec<_> = (0..4)
        .map(|_| {
            forked(|| {
                let green: Vec<_> = (0..4)
                    .map(|_| {
                        let (lock, inside) = (lock.clone(), inside.clone());
                        spawn(move || {
                            for round in 0..50 {
                                let _guard = lock.lock();
                                assert_eq!(inside.get(), 0, "two at a time");
                                inside.set(1);
                                if round % 10 == 0 {
                                    sleep(Duration::from_micros(100));
                                }
                                inside.set(0);
                            }
                        })
                    })
                    .collect();
                green.into_iter().for_each(|thread| thread.join().expect("it returns"));
            })
        })
        .collect();
    children.into_iter().for_each(Forked::succeeds);
    assert!(lock.try_lock().is_some() && !lock.is_poisoned());
}

/// A child that holds the lock until it is told otherwise, or killed.
fn holding(lock: &Lock, until: &Word) -> Forked {
    let held = Word::new();
    let child = forked(|| {
        let guard = lock.lock();
        held.say();
        until.hear();
        drop(guard);
    });
    held.hear();
    child
}

pub(crate) fn a_wait_stops_nobody_else() {
    let (lock, end) = (Lock::new().expect("a lock"), Word::new());
    let child = holding(&lock, &end);
    let waiting = spawn({
        let lock = lock.clone();
        move || drop(lock.lock())
    });
    let ticks = Rc::new(Cell::new(0));
    let ticking = spawn({
        let ticks = Rc::clone(&ticks);
        move || loop {
            sleep(Duration::from_millis(1));
            ticks.set(ticks.get() + 1);
        }
    });
    while ticks.get() < 20 {
        sleep(Duration::from_millis(1));
    }
    assert!(!waiting.is_finished());
    end.say();
    waiting.join().expect("it is woken");
    ticking.kill();
    child.succeeds();
}

pub(crate) fn a_wait_ends_by_its_time_a_kill_and_a_limit() {
    let (lock, end) = (Lock::new().expect("a lock"), Word::new());
    let child = holding(&lock, &end);
    assert!(lock.try_lock().is_none());
    let began = Instant::now();
    assert!(lock.lock_timeout(SHORT).is_none() && began.elapsed() >= SHORT);
    assert!(lock.lock_timeout(Duration::ZERO).is_none());
    assert!(lock.lock_deadline(Instant::now() - Duration::from_secs(1).min(began.elapsed())).is_none());
    assert!(with_timeout(SHORT, || drop(lock.lock())).is_err());
    let waiting = [(); 3].map(|()| {
        let lock = lock.clone();
        spawn(move || drop(lock.lock()))
    });
    sleep(SHORT);
    let [one, two, three] = waiting;
    one.kill();
    two.kill();
    end.say();
    three.join().expect("it gets it");
    child.succeeds();
    assert!(lock.try_lock().is_some());
}

pub(crate) fn who_holds_it_and_is_killed_leaves_it() {
    let (lock, never) = (Lock::new().expect("a lock"), Word::new());
    // One that comes after the end, and one that waits when it comes.
    holding(&lock, &never).kill();
    let guard = lock.try_lock().expect("its holder has ended");
    assert!(guard.owner_died());
    drop(guard);
    assert!(lock.lock().owner_died(), "until it is in order again");
    lock.clear_poison();
    assert!(!lock.lock().owner_died());
    let child = holding(&lock, &never);
    let waiting = [(); 3].map(|()| {
        let lock = lock.clone();
        spawn(move || lock.lock().owner_died())
    });
    sleep(SHORT);
    child.kill();
    assert!(waiting.map(|waiting| waiting.join().expect("it gets it")) == [true; 3]);
    // Nobody waits for it to be waited for by its parent.
    lock.clear_poison();
    let child = holding(&lock, &never);
    child.signal(Signal::KILL);
    assert!(lock.lock_timeout(LONG).expect("a zombie holds nothing").owner_died());
    let _ = wait_pid(child.id);
    std::mem::forget(child);
}

pub(crate) fn who_returns_from_main_leaves_it() {
    let lock = Lock::new().expect("a lock");
    forked(|| std::mem::forget(lock.lock())).succeeds();
    assert!(lock.lock_timeout(LONG).expect("its holder has ended").owner_died());
}

/// The word of the holder, as `src/processes/shared/lock.rs` has it.
fn word(lock: &Lock) -> Memory {
    Memory::from_descriptor(lock.descriptors()[0].try_clone_to_owned().expect("a copy")).expect("its memory")
}

pub(crate) fn who_is_killed_before_it_rings_leaves_nobody_waiting() {
    for _ in 0..10 {
        let lock = Lock::new().expect("a lock");
        let (held, end) = (Word::new(), Word::new());
        let child = forked(|| {
            std::mem::forget(lock.lock());
            held.say();
            end.hear();
            // It gives the lock back, and dies before it rings.
            word(&lock).write_at(0, &[0; 8]).expect("room");
            rustix::process::kill_process(rustix::process::getpid(), Signal::KILL).expect("this process");
            for_ever();
        });
        held.hear();
        let waiting = spawn({
            let lock = lock.clone();
            move || lock.lock().owner_died()
        });
        sleep(Duration::from_millis(2));
        end.say();
        assert!(!waiting.join().expect("it gets it"), "it was given back");
        drop(child);
    }
}

pub(crate) fn who_waits_and_is_killed_takes_nothing_along() {
    let (lock, end) = (Lock::new().expect("a lock"), Word::new());
    let child = holding(&lock, &end);
    let waiting = [(); 4].map(|()| forked(|| drop(lock.lock())));
    sleep(SHORT);
    let [one, two, three, four] = waiting;
    one.kill();
    end.say();
    two.kill();
    three.succeeds();
    four.succeeds();
    child.succeeds();
    drop(lock.lock_timeout(LONG).expect("nobody holds it"));
}

pub(crate) fn a_number_that_was_given_again_is_not_the_holder() {
    let (lock, end) = (Lock::new().expect("a lock"), Word::new());
    let child = holding(&lock, &end);
    let mut holder = [0; 8];
    word(&lock).read_at(0, &mut holder).expect("a word");
    // The same number, of a process that began a tick before.
    let earlier = u64::from_ne_bytes(holder) - (1 << 23);
    word(&lock).write_at(0, &earlier.to_ne_bytes()).expect("room");
    assert!(lock.lock_timeout(LONG).expect("that one has ended").owner_died());
    end.say();
    // It does not give back what it does not hold.
    child.succeeds();
    assert!(lock.try_lock().is_some());
}

pub(crate) fn a_stopped_holder_keeps_it() {
    let (lock, end) = (Lock::new().expect("a lock"), Word::new());
    let child = holding(&lock, &end);
    child.signal(Signal::STOP);
    assert!(lock.lock_timeout(Duration::from_millis(100)).is_none());
    end.say();
    assert!(lock.lock_timeout(SHORT).is_none());
    child.signal(Signal::CONT);
    assert!(!lock.lock_timeout(LONG).expect("it goes on").owner_died());
    child.succeeds();
}

pub(crate) fn a_child_does_not_hold_what_its_parent_holds() {
    let lock = Lock::new().expect("a lock");
    let (tried, got) = (Word::new(), Word::new());
    let mut guard = Some(lock.lock());
    let child = forked(|| {
        drop(guard.take());
        assert!(lock.try_lock().is_none(), "the parent's");
        tried.say();
        assert!(!lock.lock().owner_died());
        got.say();
    });
    tried.hear();
    assert!(lock.try_lock().is_none());
    drop(guard.take());
    got.hear();
    child.succeeds();
}

pub(crate) fn a_child_does_not_stand_in_its_parents_line() {
    let lock = Lock::new().expect("a lock");
    let guard = lock.lock();
    let waiting = [(); 3].map(|()| {
        let lock = lock.clone();
        spawn(move || drop(lock.lock()))
    });
    sleep(SHORT);
    // In the midst of a line, whose first waits for the word.
    let child = forked(|| {
        for _ in 0..3 {
            drop(lock.lock_timeout(LONG).expect("it is given back"));
        }
    });
    sleep(SHORT);
    drop(guard);
    child.succeeds();
    waiting.into_iter().for_each(|waiting| waiting.join().expect("it gets it"));
}

pub(crate) fn who_comes_back_at_once_lets_others_in() {
    let lock = Lock::new().expect("a lock");
    let stop = Value::new(0u8).expect("a value");
    let greedy = forked(|| {
        while stop.get() == 0 {
            let _guard = lock.lock();
            std::hint::black_box((0..2000).sum::<u64>());
        }
    });
    for _ in 0..50 {
        drop(lock.lock_timeout(LONG).expect("a turn"));
    }
    stop.set(1);
    greedy.succeeds();
}

/// 8 processes count under a lock, and tell each what it has counted after that; one of them is killed at random moments.
pub(crate) fn nothing_acknowledged_is_lost_by_random_kills() {
    const PROCESSES: usize = 8;
    let argument = |place| std::env::args().nth(place).and_then(|number| number.parse().ok());
    let kills: u64 = argument(3).unwrap_or(if cfg!(debug_assertions) { 300 } else { 3000 });
    let seed = argument(4).unwrap_or(1);
    let lock = Lock::new().expect("a lock");
    let (count, half) = (Value::new(0u64).expect("a value"), Value::new([0u64; 2]).expect("a value"));
    let told = Array::<u64>::zeroed(PROCESSES).expect("an array");
    let start = |number: usize| {
        forked(|| {
            loop {
                let guard = lock.lock();
                if guard.owner_died() {
                    // What a process has left half done is seen, and put in order.
                    half.set([half.get()[0]; 2]);
                    lock.clear_poison();
                }
                let [one, other] = half.get();
                assert_eq!(one, other, "half done, and not told");
                half.set([one + 1; 2]);
                count.set(count.get() + 1);
                drop(guard);
                told.set(number, told.get(number).expect("its place") + 1);
            }
        })
    };
    let mut random = Random::new(seed);
    let mut children: Vec<_> = (0..PROCESSES).map(|number| Some(start(number))).collect();
    for _ in 0..kills {
        sleep(Duration::from_micros(random.below(1500) as u64));
        let number = random.below(PROCESSES);
        let child = children[number].take().expect("it runs");
        child.kill();
        children[number] = Some(start(number));
    }
    // Each goes on.
    let before = told.to_vec();
    let deadline = Instant::now() + LONG;
    while told.to_vec().iter().zip(&before).any(|(now, before)| now == before) {
        assert!(Instant::now() < deadline, "somebody waits for ever");
        sleep(Duration::from_millis(1));
    }
    children.into_iter().flatten().for_each(Forked::kill);
    let _guard = lock.lock_timeout(LONG).expect("nobody is left");
    let (counted, told): (u64, u64) = (count.get(), told.to_vec().iter().sum());
    // One that was killed has counted once at most without telling.
    let untold = kills + PROCESSES as u64;
    assert!((told..=told + untold).contains(&counted), "{counted} counted, {told} told");
    println!("{kills} kills: {counted} counted, {told} told");
}
