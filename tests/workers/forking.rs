use std::io::{Read, Write};

use greenloop::net::TcpListener;
use greenloop::process::{Fork, fork, wait_pid};
use greenloop::workers::{Balance, Sharded};
use greenloop::{joinall, yield_now};

use crate::support::{until, within};
use crate::{GRACE, LIMIT, workers};

/// Runs `run` in a child; whether that said yes.
fn in_child(run: impl FnOnce() -> bool) -> bool {
    // SAFETY: the child allocates, as it may, and relies on no other OS thread.
    match unsafe { fork() }.unwrap() {
        // SAFETY: takes no pointers, and runs nothing of the parent's.
        Fork::Child => unsafe { libc::_exit(i32::from(!run())) },
        Fork::Parent { child } => wait_pid(child).unwrap().success(),
    }
}

#[test]
fn workers_of_the_parent_count_as_stopped_and_new_ones_work() {
    within(LIMIT, || {
        let workers = workers(2);
        workers.spawn(|| ()).join().unwrap();
        let child = || {
            let is_killed = workers.spawn(|| 1).join().is_err_and(|error| error.is_killed());
            let in_scope = workers.scope(|scope| scope.spawn(|| 1).join());
            workers.stop(GRACE);
            drop(workers.clone());
            let own = super::workers(2);
            let works = own.spawn(|| 5).join().is_ok_and(|five| five == 5);
            own.stop(GRACE);
            is_killed && in_scope.is_err() && workers.resize(3).is_err() && works
        };
        assert!(in_child(child));
        assert_eq!(workers.spawn(|| 2).join().unwrap(), 2);
    });
}

#[test]
fn what_workers_of_the_parent_keep_or_serve_makes_nobody_wait() {
    within(LIMIT, || {
        let workers = workers(2);
        let counts = Sharded::new(&workers, || 0_u32);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let servers = workers.serve(listener, Balance::default(), |_stream, _peer| Ok(())).unwrap();
        let child = || {
            let is_killed = counts.on(&1, |count| *count).is_err_and(|error| error.is_killed());
            let all = counts.on_all(|count| *count);
            let idle = servers.handlers();
            servers.stoppers().for_each(|stopper| stopper.stop(LIMIT));
            servers.stop(LIMIT);
            servers.wait();
            let is_over = servers.stoppers().all(|stopper| {
                stopper.wait();
                stopper.is_stopping() && stopper.stopping().recv().is_err()
            });
            is_over && is_killed && all.len() == 2 && all.iter().all(Result::is_err) && idle == [0, 0]
        };
        assert!(in_child(child));
        assert_eq!(counts.on(&1, |count| *count).unwrap(), 0);
        servers.stop(GRACE);
    });
}

#[test]
fn a_job_that_forks_takes_nothing_along_that_its_worker_has_not_begun() {
    within(LIMIT, || {
        let workers = workers(1);
        let (mut told, tell) = std::io::pipe().unwrap();
        let parent = std::process::id();
        let inner = workers.clone();
        let job = workers.spawn(move || {
            let jobs = [(); 5].map(|()| {
                let mut tell = tell.try_clone().unwrap();
                inner.spawn(move || {
                    if std::process::id() != parent {
                        tell.write_all(b"begun in the child").unwrap();
                    }
                })
            });
            let child = || {
                let mut turns = 0;
                until(|| {
                    turns += 1;
                    yield_now();
                    turns > 10
                });
                inner.current().is_none() && greenloop::spawn(|| 1).join().is_ok()
            };
            let is_well = in_child(child);
            joinall(&jobs);
            is_well
        });
        assert!(job.join().unwrap());
        let mut text = String::new();
        told.read_to_string(&mut text).unwrap();
        assert_eq!(text, "");
    });
}
