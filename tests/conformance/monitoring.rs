//! What gevent's monitor and `gevent.util` tell. Numbers: see the table of this test binary.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use greenloop::greenlet::settrace;
use greenloop::inspect::{MemoryUse, assert_switches, detect};
use greenloop::{Builder, sleep, spawn};

use crate::support::{resident_bytes, run_child, within};
use crate::{LIMIT, raised};

const BLOCKED: Duration = Duration::from_millis(30);

#[test]
fn case_161_who_blocks_is_told_and_who_sleeps_is_not() {
    within(LIMIT, || {
        let (sender, reports) = mpsc::channel();
        let own = thread::current().name().unwrap().to_owned();
        let report = move |blocked: &greenloop::inspect::HubBlocked| {
            // Main may be late where the machine is.
            if blocked.thread() == own && blocked.name() != "main" {
                let _ = sender.send((blocked.name().to_owned(), blocked.backtrace().is_some()));
            }
        };
        let detector = detect(BLOCKED).on_report(report).start().unwrap();
        let sleeper = Builder::new().name("sleeps").spawn(|| sleep(3 * BLOCKED)).unwrap();
        sleeper.join().unwrap();
        // Until it is told, and nobody before.
        let blocker = Builder::new().name("blocks").spawn(move || reports.recv().unwrap()).unwrap();
        assert_eq!(blocker.join().unwrap(), ("blocks".to_owned(), true));
        detector.stop();
    });
}

#[test]
fn case_161_the_child_of_a_fork_may_watch_anew() {
    #[expect(unsafe_code, reason = "fork has no safe form")]
    let Some(child) = run_child(LIMIT, || {
        let detector = detect(BLOCKED).on_report(|_| ()).start().unwrap();
        let forked = spawn(move || {
            // SAFETY: what other threads of this process hold, the harness's, the child does not use.
            match unsafe { greenloop::process::fork() }.unwrap() {
                greenloop::process::Fork::Child => {
                    // It is the parent's.
                    detector.stop();
                    let (sender, reports) = mpsc::channel();
                    let report = move |blocked: &greenloop::inspect::HubBlocked| {
                        let _ = sender.send(blocked.name().to_owned());
                    };
                    let own = detect(BLOCKED).on_report(report).start().unwrap();
                    let blocker = Builder::new()
                        .name("in the child")
                        .spawn(move || reports.iter().any(|name| name == "in the child"));
                    let is_told = blocker.unwrap().join().unwrap();
                    own.stop();
                    std::process::exit(if is_told { 7 } else { 1 });
                }
                greenloop::process::Fork::Parent { child } => {
                    assert_eq!(greenloop::process::wait_pid(child).unwrap().code(), Some(7));
                    detector.stop();
                }
            }
        });
        forked.join().unwrap();
    }) else {
        return;
    };
    assert!(child.status.success(), "{child:?}");
}

#[test]
fn case_162_memory_is_told_when_it_grows_and_when_it_is_back() {
    const LARGE: usize = 64 << 20;
    let Some(child) = run_child(LIMIT, || {
        let (sender, reports) = mpsc::channel();
        let limit = resident_bytes() as u64 + LARGE as u64 / 2;
        let detector = detect(Duration::from_millis(5))
            .memory(limit, move |news| sender.send(news).unwrap())
            .start()
            .unwrap();
        let large = vec![1_u8; LARGE];
        assert!(matches!(reports.recv().unwrap(), MemoryUse::Exceeded(bytes) if bytes > limit));
        drop(std::hint::black_box(large));
        assert!(matches!(reports.recv().unwrap(), MemoryUse::Returned(bytes) if bytes <= limit));
        detector.stop();
    }) else {
        return;
    };
    assert!(child.status.success(), "{child:?}");
}

#[test]
fn case_163_a_test_fails_if_nothing_switches() {
    within(LIMIT, || {
        let told = Rc::new(Cell::new(0));
        let hook = told.clone();
        settrace(Some(Rc::new(move |_: &greenloop::greenlet::Trace| hook.set(hook.get() + 1))));
        let switch = || spawn(|| ()).join().unwrap();
        assert_switches(|| assert_switches(switch));
        assert!(told.take() > 0, "the hook of before is told");
        let outer = || assert_switches(|| raised(|| assert_switches(|| 2 + 2)));
        assert_eq!(raised(outer), "nothing has switched to another greenlet");
        let own = || assert_switches(|| crate::raise("its own"));
        assert_eq!(raised(own), "its own");
        told.set(0);
        switch();
        assert!(told.get() > 0, "the hook of before is back");
        assert!(settrace(None).is_some());
    });
}
