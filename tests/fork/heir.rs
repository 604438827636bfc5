use std::panic::catch_unwind;
use std::time::Duration;

use greenloop::greenlet::Greenlet;
use greenloop::process::{Fork, fork, wait_pid};
use greenloop::{LoopExit, event::Event, idle, scope, sleep, spawn, with_timeout, yield_now};

use crate::{LONG, alone, end};

/// What a child ends with that was forked in a green thread, and runs `run` there.
fn status_of(run: impl FnOnce() + Send + 'static) -> Option<i32> {
    let pending = spawn(|| sleep(Duration::from_millis(5)));
    let forker = spawn(move || {
        yield_now();
        // SAFETY: what other threads of this process hold, the harness's, the child does not use.
        match unsafe { fork() }.unwrap() {
            Fork::Parent { child } => child,
            Fork::Child => {
                run();
                0
            }
        }
    });
    // Parked here in the parent, main never goes on in the child.
    let child = forker.join().unwrap();
    assert_ne!(child, 0, "main goes on in the child");
    pending.join().unwrap();
    wait_pid(child).unwrap().code()
}

#[test]
fn the_green_thread_goes_on_and_the_process_ends_with_it() {
    alone(|| {
        assert_eq!(status_of(|| ()), Some(0));
        assert_eq!(status_of(|| end(9)), Some(9));
        assert_eq!(status_of(|| std::panic::resume_unwind(Box::new("broken"))), Some(101));
        let busy = || {
            let tasks: Vec<_> = (0..10).map(|_| spawn(|| sleep(Duration::from_millis(1)))).collect();
            tasks.into_iter().for_each(|task| task.join().unwrap());
            idle();
            assert!(with_timeout(Duration::from_millis(1), || sleep(LONG)).is_err());
            assert!(greenloop::fs::exists("/proc").unwrap());
        };
        assert_eq!(status_of(busy), Some(0));
    });
}

/// One that returns to main does so in the child too; one of a green thread ends the process with that.
#[test]
fn a_plain_greenlet_returns_to_where_it_would() {
    alone(|| {
        // SAFETY: as above.
        let forker = || Greenlet::new(|_: Option<Fork>| Some(unsafe { fork() }.unwrap()));
        match forker().switch(None).unwrap().unwrap() {
            Fork::Child => {
                sleep(Duration::from_millis(1));
                end(5)
            }
            Fork::Parent { child } => assert_eq!(wait_pid(child).unwrap().code(), Some(5)),
        }
        let child = spawn(move || match forker().switch(None).unwrap().unwrap() {
            Fork::Child => {
                sleep(Duration::from_millis(1));
                0
            }
            Fork::Parent { child } => child,
        });
        assert_eq!(wait_pid(child.join().unwrap()).unwrap().code(), Some(0));
    });
}

#[test]
fn a_deadlock_is_raised_in_the_green_thread_that_forked() {
    alone(|| {
        let status = status_of(|| {
            let deadlock = catch_unwind(|| Event::new().wait()).unwrap_err();
            assert!(deadlock.is::<LoopExit>());
            end(4);
        });
        assert_eq!(status, Some(4));
    });
}

#[test]
fn its_time_limits_and_its_scope_are_the_parents() {
    alone(|| {
        let forker = spawn(|| {
            let limited = with_timeout(LONG, || {
                scope(|scope| {
                    let beside = scope.spawn(|| sleep(Duration::from_millis(5)));
                    yield_now();
                    // SAFETY: as above.
                    match unsafe { fork() }.unwrap() {
                        Fork::Parent { child } => {
                            beside.join().unwrap();
                            child
                        }
                        Fork::Child => {
                            sleep(Duration::from_millis(20));
                            end(3);
                        }
                    }
                })
            });
            limited.unwrap()
        });
        let child = forker.join().unwrap();
        assert_eq!(wait_pid(child).unwrap().code(), Some(3));
    });
}
