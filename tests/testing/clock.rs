use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use greenloop::sync::Mutex;
use greenloop::testing::{self, World};
use greenloop::threadpool::unblock;
use greenloop::{Interval, LoopExit, channel, idle, joinall, select, sleep, spawn, with_timeout, yield_now};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

#[test]
fn an_hour_of_sleeps_takes_no_time() {
    let real = Instant::now();
    testing::run(|world| {
        for _ in 0..60 {
            sleep(HOUR / 60);
        }
        assert_eq!(world.elapsed(), HOUR);
    });
    assert!(real.elapsed() < Duration::from_secs(20));
}

#[test]
fn timers_ring_in_their_order_each_at_its_time() {
    testing::run(|world| {
        let rung = Rc::new(Cell::new(0));
        let sleeps: Vec<_> = (0..10_000_u64)
            .map(|number| {
                let (world, rung) = (world.clone(), rung.clone());
                // Backwards, and many at one time.
                let delay = Duration::from_micros((10_000 - number) / 7 * 360_001);
                spawn(move || {
                    sleep(delay);
                    assert_eq!(world.elapsed(), delay);
                    rung.set(rung.get() + 1);
                })
            })
            .collect();
        joinall(&sleeps);
        assert_eq!(rung.get(), 10_000);
    });
}

#[test]
fn every_time_limit_is_exact() {
    testing::run(|world| {
        let (_sender, receiver) = channel::bounded::<()>(0);
        let limits: [(&str, &dyn Fn(Duration)); 5] = [
            ("with_timeout", &|limit| assert!(with_timeout(limit, || sleep(Duration::MAX)).is_err())),
            ("recv_timeout", &|limit| assert!(receiver.recv_timeout(limit).is_err())),
            ("recv_deadline", &|limit| assert!(receiver.recv_deadline(world.now() + limit).is_err())),
            ("after", &|limit| assert!(channel::after(limit).recv().is_ok())),
            ("select", &|limit| select! { recv(receiver) -> _ => unreachable!(), default(limit) => {} }),
        ];
        for (name, wait) in limits {
            let before = world.elapsed();
            wait(SECOND * 7);
            assert_eq!(world.elapsed() - before, SECOND * 7, "{name}");
        }
    });
}

#[test]
fn intervals_and_ticks_keep_their_time() {
    testing::run(|world| {
        let mut interval = Interval::new(SECOND);
        let ticks = channel::tick(SECOND);
        for second in 1..=100 {
            interval.tick();
            assert_eq!(world.elapsed(), SECOND * second);
            ticks.recv().unwrap();
            assert_eq!(world.elapsed(), SECOND * second);
        }
        sleep(SECOND * 5 / 2);
        // Two have passed by.
        interval.tick();
        assert_eq!(world.elapsed(), SECOND * 205 / 2);
        interval.tick();
        assert_eq!(world.elapsed(), SECOND * 103);
    });
}

#[test]
fn settle_waits_for_whoever_can_run_and_for_nobody_else() {
    testing::run(|world| {
        let steps = Rc::new(Cell::new(0));
        let (sender, receiver) = channel::bounded(0);
        let stepping = |sleeps: bool| {
            let steps = steps.clone();
            move || {
                for _ in 0..1_000 {
                    yield_now();
                    steps.set(steps.get() + 1);
                }
                if sleeps {
                    sleep(SECOND);
                }
            }
        };
        let tasks = [spawn(stepping(false)), spawn(stepping(true))];
        let waiting = spawn(move || receiver.recv());
        world.settle();
        assert_eq!((steps.get(), world.elapsed()), (2_000, Duration::ZERO));
        assert!(tasks[0].is_finished() && !tasks[1].is_finished() && !waiting.is_finished());
        world.advance(SECOND);
        assert!(tasks[1].is_finished());
        sender.send(()).unwrap();
        waiting.join().unwrap().unwrap();
    });
}

/// Both stop Go's clock for good.
#[test]
fn a_lock_held_across_a_wait_lets_time_pass() {
    testing::run(|world| {
        let mutex = Rc::new(Mutex::new(()));
        let tasks: Vec<_> = (0..3)
            .map(|_| {
                let mutex = mutex.clone();
                spawn(move || {
                    let _held = mutex.lock().unwrap();
                    sleep(SECOND);
                })
            })
            .collect();
        joinall(&tasks);
        assert_eq!(world.elapsed(), SECOND * 3);
    });
}

#[test]
fn work_of_a_pool_stops_the_time() {
    testing::run(|world| {
        let sleeper = spawn(|| sleep(SECOND));
        let work = || {
            std::thread::sleep(Duration::from_millis(5));
            7
        };
        assert_eq!(with_timeout(Duration::from_nanos(1), || unblock(work)), Ok(7));
        assert_eq!(world.elapsed(), Duration::ZERO);
        assert!(!sleeper.is_finished());
        sleeper.join().unwrap();
    });
}

#[test]
fn a_hold_stops_the_time_and_settle_waits_for_its_end() {
    testing::run(|world| {
        let hold = world.hold();
        let (sender, receiver) = channel::bounded(1);
        let task = spawn(move || {
            receiver.recv().unwrap();
            drop(hold);
        });
        let other = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(5));
            sender.send(()).unwrap();
        });
        world.settle();
        assert!(task.is_finished());
        assert_eq!(world.elapsed(), Duration::ZERO);
        other.join().unwrap();
    });
}

#[test]
fn who_can_wait_for_nothing_is_told_at_once() {
    let exit = std::panic::catch_unwind(|| {
        testing::run(|_| {
            let (sender, receiver) = channel::bounded::<()>(0);
            let _waiting = spawn(move || receiver.recv());
            let (_own, own_receiver) = channel::bounded::<()>(0);
            let deadlock = std::panic::catch_unwind(|| own_receiver.recv()).unwrap_err();
            drop(sender);
            std::panic::resume_unwind(deadlock);
        });
    })
    .unwrap_err();
    let exit = exit.downcast::<LoopExit>().unwrap();
    assert_eq!(exit.parked().len(), 2);
    assert!(exit.parked()[1].spawned_at().unwrap().file().ends_with("clock.rs"));
}

#[test]
fn worlds_know_nothing_of_each_other_nor_of_real_time() {
    let worlds: Vec<_> = (1..=8)
        .map(|number| {
            std::thread::spawn(move || {
                testing::run(|world| {
                    sleep(HOUR * number);
                    let inner = testing::run(|inner: &World| {
                        sleep(SECOND);
                        inner.elapsed()
                    });
                    (world.elapsed(), inner)
                })
            })
        })
        .collect();
    for (number, world) in (1..).zip(worlds) {
        assert_eq!(world.join().unwrap(), (HOUR * number, SECOND));
    }
    // This thread's own hub.
    let real = Instant::now();
    sleep(Duration::from_millis(2));
    idle();
    assert!(real.elapsed() >= Duration::from_millis(2));
}

/// The kernel tells nobody of the end of a lock on a file: it is tried again after pauses, which end though the time stands.
#[test]
fn pauses_end_while_the_time_stands() {
    let path = std::env::temp_dir().join(format!("greenloop-pauses-{}", std::process::id()));
    let theirs = std::fs::File::create(&path).unwrap();
    theirs.lock().unwrap();
    testing::run(|world| {
        let (tried, unlock) = std::sync::mpsc::channel();
        let other = std::thread::spawn(move || {
            unlock.recv().unwrap();
            theirs.unlock().unwrap();
        });
        let ours = greenloop::fs::File::open(&path).unwrap();
        let hold = world.hold();
        // It runs when the lock has been tried.
        spawn(move || tried.send(()).unwrap());
        ours.lock().unwrap();
        drop(hold);
        assert_eq!(world.elapsed(), Duration::ZERO);
        other.join().unwrap();
    });
    std::fs::remove_file(path).unwrap();
}
