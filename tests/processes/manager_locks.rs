use std::time::{Duration, Instant};

use greenloop::process::{Process, pipe};
use greenloop::processes::manager::{Lock, Value};
use greenloop::processes::{Manager, ManagerError};
use greenloop::{joinall, sleep, spawn, with_timeout, yield_now};

use crate::managers::{elsewhere, managers};
use crate::support::Random;
use crate::{LIMIT, LONG, setting, tests, until};

tests! {
    n51_lock_try_and_timeout,
    n52_a_lock_that_is_locked_again,
    n53_semaphores_and_their_bound,
    n54_notify_one_some_and_all,
    n54_a_condition_s_timeout_and_predicate,
    n54_one_that_is_notified_has_the_lock,
    n55_an_event_with_a_hundred_waiters,
    n56_a_barrier_in_step,
    n56_a_barrier_broken_and_reset,
    n56_a_barrier_s_action tells "no action",
    n57_the_next_one_learns_of_a_killed_holder,
    n58_one_killed_while_it_waits_hinders_nobody,
    n60_no_acknowledged_increment_is_lost_by_kills,
    n69_what_a_killed_client_held_is_released,
    n70_waits_for_locks_of_a_killed_manager_end,
    a_kill_or_a_time_limit_takes_no_lock,
    a_child_does_not_hold_its_parent_s_lock,
}

const SHORT: Duration = Duration::from_millis(10);

/// Runs it in a process that is killed once it says that it is so far.
fn killed_when_ready(run: impl FnOnce() + 'static) {
    let (ours, theirs) = pipe::<(), ()>().unwrap();
    let child = Process::start(move || {
        run();
        theirs.send(&()).unwrap();
        sleep(LONG);
    })
    .unwrap();
    ours.recv().unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
}

fn n51_lock_try_and_timeout() {
    for manager in managers() {
        let lock = manager.lock().unwrap();
        let guard = lock.lock().unwrap();
        let theirs = lock.clone();
        elsewhere(move || {
            assert!(theirs.try_lock().unwrap().is_none());
            let begin = Instant::now();
            assert!(theirs.lock_timeout(SHORT).unwrap().is_none());
            assert!(begin.elapsed() >= SHORT);
        });
        let theirs = lock.clone();
        let waiter = Process::start(move || theirs.lock().unwrap().owner_died()).unwrap();
        guard.unlock().unwrap();
        assert!(!waiter.join().unwrap());
        // Of one process too, several at a time.
        let count = std::rc::Rc::new(std::cell::Cell::new(0));
        let threads: Vec<_> = (0..20)
            .map(|_| {
                let (lock, count) = (lock.clone(), count.clone());
                spawn(move || {
                    let _guard = lock.lock_timeout(LIMIT).unwrap().unwrap();
                    let before = count.get();
                    yield_now();
                    count.set(before + 1);
                })
            })
            .collect();
        joinall(&threads);
        assert_eq!(count.get(), 20);
        assert!(lock.lock_timeout(LIMIT).unwrap().is_some());
    }
}

fn n52_a_lock_that_is_locked_again() {
    for manager in managers() {
        let lock = manager.rlock().unwrap();
        let guards = [lock.lock().unwrap(), lock.try_lock().unwrap().unwrap()];
        // By another handle on it as well.
        let names = manager.namespace().unwrap();
        names.set("lock", &lock).unwrap();
        let same: greenloop::processes::manager::RLock = names.get("lock").unwrap().unwrap();
        let third = same.lock_timeout(LIMIT).unwrap();
        assert!(third.is_some());
        let free = |expected: bool| {
            let theirs = lock.clone();
            elsewhere(move || theirs.try_lock().unwrap().is_some()) == expected
        };
        assert!(free(false));
        // Another green thread is another owner.
        let here = lock.clone();
        assert!(spawn(move || here.try_lock().unwrap().is_none()).join().unwrap());
        let [first, second] = guards;
        drop((first, third));
        assert!(free(false));
        drop(second);
        until("it is free", || free(true));
        let here = lock.clone();
        let other = spawn(move || {
            let _guards = (here.lock().unwrap(), here.lock().unwrap());
            sleep(SHORT);
        });
        yield_now();
        other.join().unwrap();
        assert!(lock.lock_timeout(LIMIT).unwrap().is_some());
    }
}

fn n53_semaphores_and_their_bound() {
    for manager in managers() {
        let room = manager.semaphore(2).unwrap();
        let permits = [room.acquire().unwrap(), room.acquire().unwrap()];
        let theirs = room.clone();
        elsewhere(move || {
            assert!(theirs.try_acquire().unwrap().is_none());
            assert!(theirs.acquire_timeout(SHORT).unwrap().is_none());
            assert_eq!(theirs.available_permits(), Ok(0));
        });
        let theirs = room.clone();
        let waiter = Process::start(move || theirs.acquire().unwrap().forget().unwrap()).unwrap();
        let [first, second] = permits;
        first.give_back().unwrap();
        waiter.join().unwrap();
        // It was kept for good, by a process that is gone.
        assert_eq!(room.available_permits(), Ok(0));
        second.give_back().unwrap();
        room.release(3).unwrap();
        assert_eq!(room.available_permits(), Ok(4));
        let bounded = manager.bounded_semaphore(2).unwrap();
        assert_eq!(bounded.release(1), Err(ManagerError::TooMany));
        let permit = bounded.acquire().unwrap();
        assert_eq!(bounded.release(2), Err(ManagerError::TooMany));
        permit.forget().unwrap();
        bounded.release(1).unwrap();
        assert_eq!(bounded.available_permits(), Ok(2));
    }
}

/// Children that wait for the condition, each of which tells in `woken` that it goes on.
fn waiters(
    manager: &Manager,
    lock: &Lock,
    woken: &Value<u32>,
    count: u32,
) -> (Vec<Process<()>>, greenloop::processes::manager::Condition) {
    let (condition, sleeping) = (manager.condition().unwrap(), manager.value(0_u32).unwrap());
    let children = (0..count)
        .map(|_| {
            let (lock, condition, sleeping, woken) =
                (lock.clone(), condition.clone(), sleeping.clone(), woken.clone());
            Process::start(move || {
                let guard = lock.lock().unwrap();
                sleeping.update(|before| before + 1).unwrap();
                let _guard = condition.wait(guard).unwrap();
                woken.update(|before| before + 1).unwrap();
            })
            .unwrap()
        })
        .collect();
    // With the lock one knows that those which have counted themselves wait.
    until("they wait", || {
        let _guard = lock.lock().unwrap();
        sleeping.get() == Ok(count)
    });
    (children, condition)
}

fn n54_notify_one_some_and_all() {
    for manager in managers() {
        let (lock, woken) = (manager.lock().unwrap(), manager.value(0_u32).unwrap());
        let (children, condition) = waiters(&manager, &lock, &woken, 6);
        assert_eq!((woken.get(), condition.notify_one()), (Ok(0), Ok(1)));
        until("one is woken", || woken.get() == Ok(1));
        assert_eq!(condition.notify(2), Ok(2));
        until("two more are", || woken.get() == Ok(3));
        assert_eq!(condition.notify_all(), Ok(3));
        children.into_iter().for_each(|child| child.join().unwrap());
        assert_eq!((woken.get(), condition.notify_all()), (Ok(6), Ok(0)));
    }
}

fn n54_a_condition_s_timeout_and_predicate() {
    for manager in managers() {
        let (lock, condition) = (manager.lock().unwrap(), manager.condition().unwrap());
        let begin = Instant::now();
        let (guard, is_notified) = condition.wait_timeout(lock.lock().unwrap(), SHORT).unwrap();
        assert!(!is_notified && begin.elapsed() >= SHORT);
        assert!(lock.try_lock().unwrap().is_none(), "it is locked again");
        let (guard, still) = condition.wait_timeout_while(guard, SHORT, || true).unwrap();
        assert!(still);
        drop(guard);
        let state = manager.value(0_u32).unwrap();
        let theirs = (lock.clone(), condition.clone(), state.clone());
        let child = Process::start(move || {
            let (lock, condition, state) = theirs;
            for _ in 0..4 {
                let guard = lock.lock().unwrap();
                state.update(|before| before + 1).unwrap();
                condition.notify_all().unwrap();
                guard.unlock().unwrap();
            }
        })
        .unwrap();
        let guard = condition.wait_while(lock.lock().unwrap(), || state.get().unwrap() < 4).unwrap();
        drop(guard);
        child.join().unwrap();
        assert_eq!(state.get(), Ok(4));
    }
}

fn n54_one_that_is_notified_has_the_lock() {
    let manager = Manager::new().unwrap();
    let (lock, condition) = (manager.lock().unwrap(), manager.condition().unwrap());
    let guard = lock.lock().unwrap();
    // A child does not hold it, so it has nothing to give up.
    assert!(elsewhere(|| condition.wait(guard).map(drop).unwrap_err() == ManagerError::NotHeld));
    let woken = manager.value(0).unwrap();
    let (children, condition) = waiters(&manager, &lock, &woken, 3);
    let guard = lock.lock().unwrap();
    assert_eq!(condition.notify_all(), Ok(3));
    sleep(SHORT);
    assert_eq!(woken.get(), Ok(0), "the lock is held");
    drop(guard);
    children.into_iter().for_each(|child| child.join().unwrap());
    assert_eq!(woken.get(), Ok(3));
}

fn n55_an_event_with_a_hundred_waiters() {
    for manager in managers() {
        let event = manager.event().unwrap();
        let theirs = event.clone();
        assert!(!elsewhere(move || theirs.is_set().unwrap() || theirs.wait_timeout(SHORT).unwrap()));
        let children: Vec<_> = (0..4)
            .map(|_| {
                let event = event.clone();
                Process::start(move || {
                    let threads: Vec<_> = (0..25)
                        .map(|_| {
                            spawn({
                                let event = event.clone();
                                move || event.wait()
                            })
                        })
                        .collect();
                    threads.into_iter().all(|thread| thread.join().unwrap().is_ok())
                })
                .unwrap()
            })
            .collect();
        sleep(SHORT);
        let theirs = event.clone();
        elsewhere(move || theirs.set().unwrap());
        assert!(children.into_iter().all(|child| child.join().unwrap()));
        assert_eq!((event.wait(), event.wait_timeout(SHORT)), (Ok(()), Ok(true)));
        event.clear().unwrap();
        assert_eq!((event.is_set(), event.wait_timeout(SHORT)), (Ok(false), Ok(false)));
    }
}

fn n56_a_barrier_in_step() {
    for manager in managers() {
        for (parties, rounds) in [(3, 50), (1, 10)] {
            let (barrier, steps) =
                (manager.barrier(parties).unwrap(), manager.array(vec![0_u32; parties]).unwrap());
            let children: Vec<_> = (0..parties)
                .map(|number| {
                    let (barrier, steps) = (barrier.clone(), steps.clone());
                    Process::start(move || {
                        let mut places = Vec::new();
                        for round in 1..=rounds {
                            steps.set(number, &round).unwrap();
                            places.push(barrier.wait().unwrap() as u32);
                            // Nobody is a round behind, or more than one ahead.
                            let all = steps.to_vec().unwrap();
                            assert!(
                                all.iter().all(|step| (round..=round + 1).contains(step)),
                                "{all:?} in {round}"
                            );
                        }
                        places
                    })
                    .unwrap()
                })
                .collect();
            let places: Vec<Vec<u32>> = children.into_iter().map(|child| child.join().unwrap()).collect();
            for round in 0..rounds as usize {
                let mut in_round: Vec<u32> = places.iter().map(|of_one| of_one[round]).collect();
                in_round.sort_unstable();
                assert!(in_round.into_iter().eq(0..parties as u32));
            }
            assert_eq!(
                (barrier.waiting(), barrier.parties(), barrier.is_broken()),
                (Ok(0), Ok(parties), Ok(false))
            );
        }
    }
}

fn n56_a_barrier_broken_and_reset() {
    for manager in managers() {
        let barrier = manager.barrier(3).unwrap();
        let broken = Err(ManagerError::BrokenBarrier);
        let one_waits = |run: &dyn Fn()| {
            let theirs = barrier.clone();
            let child = Process::start(move || theirs.wait() == Err(ManagerError::BrokenBarrier)).unwrap();
            until("it waits", || barrier.waiting() == Ok(1));
            run();
            assert!(child.join().unwrap());
        };
        one_waits(&|| barrier.abort().unwrap());
        assert_eq!((barrier.wait(), barrier.is_broken()), (broken.clone(), Ok(true)));
        barrier.reset().unwrap();
        one_waits(&|| assert_eq!(barrier.wait_timeout(SHORT), broken));
        assert_eq!(barrier.is_broken(), Ok(true));
        barrier.reset().unwrap();
        one_waits(&|| barrier.reset().unwrap());
        assert_eq!(barrier.is_broken(), Ok(false));
        // One that is killed while it waits.
        one_waits(&|| {
            let theirs = barrier.clone();
            let child = Process::start(move || drop(theirs.wait())).unwrap();
            until("two wait", || barrier.waiting() == Ok(2));
            child.kill().unwrap();
            child.wait().unwrap();
        });
        assert_eq!(barrier.is_broken(), Ok(true));
    }
}

fn n56_a_barrier_s_action() {
    for manager in managers() {
        let (barrier, count) = (manager.barrier(3).unwrap(), manager.value(0).unwrap());
        let children = [(); 3].map(|()| {
            let (barrier, count) = (barrier.clone(), count.clone());
            Process::start(move || {
                for round in 1..=20 {
                    let action = || assert_eq!(count.update(|before| before + 1), Ok(round));
                    barrier.wait_with(action).unwrap();
                    // It was called once, before anybody went on; the next one is not before all have come again.
                    assert_eq!(count.get(), Ok(round));
                    barrier.wait().unwrap();
                }
            })
            .unwrap()
        });
        children.into_iter().for_each(|child| child.join().unwrap());
        assert_eq!(count.get(), Ok(20));
    }
    let manager = Manager::new().unwrap();
    let barrier = manager.barrier(2).unwrap();
    let waiting = spawn({
        let barrier = barrier.clone();
        move || barrier.wait()
    });
    until("it waits", || barrier.waiting() == Ok(1));
    let theirs = barrier.clone();
    let child = Process::start(move || drop(theirs.wait_with(|| panic!("no action")))).unwrap();
    assert!(child.join().is_err());
    assert_eq!(waiting.join().unwrap(), Err(ManagerError::BrokenBarrier));
}

fn n57_the_next_one_learns_of_a_killed_holder() {
    for manager in managers() {
        let (lock, again) = (manager.lock().unwrap(), manager.rlock().unwrap());
        let theirs = (lock.clone(), again.clone());
        killed_when_ready(move || {
            std::mem::forget((theirs.0.lock().unwrap(), theirs.1.lock().unwrap(), theirs.1.lock().unwrap()));
            std::mem::forget(theirs);
        });
        assert!(lock.lock_timeout(LIMIT).unwrap().unwrap().owner_died());
        assert!(again.lock_timeout(LIMIT).unwrap().unwrap().owner_died());
        let theirs = lock.clone();
        assert!(elsewhere(move || theirs.is_poisoned().unwrap() && theirs.lock().unwrap().owner_died()));
        lock.clear_poison().unwrap();
        assert!(!lock.lock().unwrap().owner_died());
        // One that ends in order, and has dropped nothing.
        let theirs = lock.clone();
        elsewhere(move || {
            std::mem::forget(theirs.lock().unwrap());
            std::mem::forget(theirs);
        });
        assert!(lock.lock_timeout(LIMIT).unwrap().unwrap().owner_died());
        lock.clear_poison().unwrap();
        // One that has unlocked has left nothing.
        let theirs = lock.clone();
        killed_when_ready(move || drop(theirs.lock().unwrap()));
        assert!(!lock.lock_timeout(LIMIT).unwrap().unwrap().owner_died());
    }
}

fn n58_one_killed_while_it_waits_hinders_nobody() {
    for manager in managers() {
        let lock = manager.lock().unwrap();
        for _ in 0..5 {
            let guard = lock.lock().unwrap();
            let children = [(); 3].map(|()| {
                let lock = lock.clone();
                Process::start(move || drop(lock.lock())).unwrap()
            });
            // Stopped, one of them may be given the lock and not know it.
            children[0].send_signal(libc::SIGSTOP).unwrap();
            drop(guard);
            children[0].kill().unwrap();
            for child in children {
                child.wait().unwrap();
            }
            let guard = lock.lock_timeout(LIMIT).unwrap().unwrap();
            drop(guard);
            lock.clear_poison().unwrap();
        }
    }
}

/// For more, or others: see `tests/README.md`.
fn n60_no_acknowledged_increment_is_lost_by_kills() {
    for manager in managers() {
        let (lock, count) = (manager.lock().unwrap(), manager.value(0_u64).unwrap());
        let told = manager.array([0_u64; 4]).unwrap();
        let start = |place: usize| {
            let (lock, count, told) = (lock.clone(), count.clone(), told.clone());
            Process::start(move || {
                while told.is_empty() != Ok(true) {
                    let guard = lock.lock().unwrap();
                    let before = count.get().unwrap();
                    count.set(&(before + 1)).unwrap();
                    guard.unlock().unwrap();
                    told.update(place, |before| before + 1).unwrap();
                }
            })
            .unwrap()
        };
        let (mut random, most) = (Random::new(setting("SEED", 60)), setting("KILLS", 40));
        let mut children: Vec<_> = (0..4).map(start).collect();
        let mut kills = 0;
        while kills < most {
            sleep(Duration::from_millis(random.below(4) as u64));
            let place = random.below(4);
            children[place].kill().unwrap();
            children[place].wait().unwrap();
            kills += 1;
            children[place] = start(place);
        }
        for child in children {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        let guard = lock.lock_timeout(LIMIT).unwrap();
        assert!(guard.is_some());
        let (count, told) = (count.get().unwrap(), told.to_vec().unwrap().iter().sum::<u64>());
        // Each killed one may have made one more than it has told.
        assert!(count >= told && count <= told + kills + 4, "{count} and {told}");
    }
}

fn n69_what_a_killed_client_held_is_released() {
    for manager in managers() {
        let (lock, room) = (manager.lock().unwrap(), manager.semaphore(3).unwrap());
        let theirs = (lock.clone(), room.clone());
        killed_when_ready(move || {
            std::mem::forget((
                theirs.0.lock().unwrap(),
                theirs.1.acquire().unwrap(),
                theirs.1.acquire().unwrap(),
            ));
            std::mem::forget(theirs);
        });
        assert!(lock.lock_timeout(LIMIT).unwrap().is_some());
        until("all permits are back", || room.available_permits() == Ok(3));
        // One that waits for a condition does not hold its lock, and is forgotten.
        let condition = manager.condition().unwrap();
        let theirs = (lock.clone(), condition.clone());
        let child = Process::start(move || drop(theirs.1.wait(theirs.0.lock().unwrap()))).unwrap();
        sleep(SHORT);
        child.kill().unwrap();
        child.wait().unwrap();
        let guard = lock.lock_timeout(LIMIT).unwrap();
        assert!(guard.is_some());
        until("nobody is notified", || condition.notify_all() == Ok(0));
    }
}

fn n70_waits_for_locks_of_a_killed_manager_end() {
    let manager = Manager::start().unwrap();
    let (lock, event) = (manager.lock().unwrap(), manager.event().unwrap());
    let (room, barrier, condition) =
        (manager.semaphore(0).unwrap(), manager.barrier(2).unwrap(), manager.condition().unwrap());
    let _guard = lock.lock().unwrap();
    let ended = Err(ManagerError::Ended);
    let waits: Vec<_> = [0, 1, 2, 3, 4]
        .into_iter()
        .map(|which| {
            let (lock, event, room) = (lock.clone(), event.clone(), room.clone());
            let (barrier, condition, other) = (barrier.clone(), condition.clone(), manager.lock().unwrap());
            spawn(move || match which {
                0 => lock.lock().map(drop),
                1 => event.wait(),
                2 => room.acquire().map(drop),
                3 => barrier.wait().map(drop),
                _ => other.lock().and_then(|guard| condition.wait(guard).map(drop)),
            })
        })
        .collect();
    until("one waits at the barrier", || barrier.waiting() == Ok(1));
    // SAFETY: takes no pointers; the number is that of this test's manager.
    unsafe { libc::kill(manager.server_id().unwrap() as libc::pid_t, libc::SIGKILL) };
    for wait in waits {
        assert_eq!(with_timeout(LIMIT, || wait.join().unwrap()).unwrap(), ended);
    }
    manager.shutdown();
}

fn a_kill_or_a_time_limit_takes_no_lock() {
    for manager in managers() {
        let (lock, room) = (manager.lock().unwrap(), manager.semaphore(1).unwrap());
        let condition = manager.condition().unwrap();
        for round in 0..20 {
            let (theirs, entry) = (lock.clone(), room.clone());
            let killed = spawn(move || {
                let _guards = (theirs.lock(), entry.acquire());
                sleep(LONG);
            });
            for _ in 0..round % 7 {
                yield_now();
            }
            killed.kill();
            drop(with_timeout(Duration::from_micros(200), || lock.lock().map(drop)));
            drop(with_timeout(Duration::from_micros(200), || room.acquire().map(drop)));
            let waited =
                with_timeout(Duration::from_millis(1), || condition.wait(lock.lock().unwrap()).map(drop));
            assert!(waited.is_err());
            let guard = lock.lock_timeout(LIMIT).unwrap().expect("nobody holds it");
            assert!(room.acquire_timeout(LIMIT).unwrap().is_some());
            guard.unlock().unwrap();
        }
        until("the permit is there", || room.available_permits() == Ok(1));
    }
}

fn a_child_does_not_hold_its_parent_s_lock() {
    for manager in managers() {
        let (lock, again) = (manager.lock().unwrap(), manager.rlock().unwrap());
        let guards = (lock.lock().unwrap(), again.lock().unwrap());
        let theirs = (lock.clone(), again.clone());
        elsewhere(|| {
            let (lock, again) = theirs;
            assert!(lock.try_lock().unwrap().is_none() && again.try_lock().unwrap().is_none());
        });
        drop(guards);
        let (first, second) = (again.lock().unwrap(), again.lock().unwrap());
        let theirs = again.clone();
        let child = Process::start(move || {
            // Those of the parent's are dropped with the parent's copy of the closure; these unlock nothing.
            let own = theirs.lock().unwrap();
            drop((first, second));
            let other = theirs.clone();
            let is_kept = spawn(move || other.try_lock().unwrap().is_none()).join().unwrap();
            drop(own);
            is_kept
        });
        assert!(child.unwrap().join().unwrap());
        assert!(!again.lock_timeout(LIMIT).unwrap().unwrap().owner_died());
        assert!(!lock.lock_timeout(LIMIT).unwrap().unwrap().owner_died());
    }
}
