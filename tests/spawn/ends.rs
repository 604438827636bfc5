//! What is left of them when their hub or the process ends.

use std::process::exit;
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use greenloop::greenlet::Greenlet;
use greenloop::process::{Fork, fork, wait_pid};
use greenloop::{Builder, sleep, spawn, yield_now};

use crate::support::run_child;
use crate::{LIMIT, os_thread, patch_threads, patched};

#[test]
fn a_process_ends_with_its_main_function() {
    let child = run_child(LIMIT, || {
        patch_threads();
        yield_now();
        let _asleep = thread::spawn(|| thread::sleep(Duration::MAX));
        let _unstarted = thread::spawn(|| println!("never"));
        yield_now();
        let _unstarted = thread::spawn(|| println!("never"));
    });
    let Some(child) = child else { return };
    assert!(child.status.success(), "{child:?}");
    assert_eq!(child.stdout.matches("never").count(), 1, "{child:?}");
}

/// As green threads, they end with the OS thread whose hub they are of.
#[test]
fn who_waits_for_one_whose_hub_has_ended_is_told() {
    patch_threads();
    let threads = thread::spawn(|| {
        yield_now();
        let parked = thread::spawn(|| thread::sleep(Duration::MAX));
        yield_now();
        [parked, thread::spawn(|| ())]
    });
    for thread in threads.join().unwrap() {
        let waits = thread::spawn(|| thread.join());
        let payload = waits.join().unwrap_err();
        // std's words.
        let told = payload.downcast_ref::<&str>().copied().map(str::to_owned);
        let told = told.or_else(|| payload.downcast_ref::<String>().cloned());
        assert!(told.unwrap().contains("terminate unexpectedly"));
    }
}

#[test]
fn a_fork_in_one_goes_on_in_the_child() {
    patched(|| {
        let own = os_thread();
        // SAFETY: the child uses no lock that another OS thread may hold.
        let forks = thread::spawn(move || match unsafe { fork() }.unwrap() {
            Fork::Child => {
                let ok = thread::spawn(|| {
                    thread::sleep(Duration::from_millis(1));
                    os_thread()
                });
                exit(if ok.join().unwrap() == os_thread() && os_thread() != own { 7 } else { 1 });
            }
            Fork::Parent { child } => child,
        });
        let other = thread::spawn(|| sleep(Duration::from_millis(1)));
        let child = forks.join().unwrap();
        assert_eq!(wait_pid(child).unwrap().code(), Some(7));
        other.join().unwrap();
    });
}

thread_local! {
    /// As rayon has one for who is not of its pool.
    static LATCH: (Mutex<bool>, Condvar) = const { (Mutex::new(false), Condvar::new()) };
}

/// Waits as long as nobody opens it.
fn wait_at((open, opened): &(Mutex<bool>, Condvar)) {
    drop(opened.wait_while(open.lock().unwrap(), |open| !*open));
}

fn open((open, opened): &(Mutex<bool>, Condvar)) {
    *open.lock().unwrap() = true;
    opened.notify_all();
}

/// Main's variables are those of the OS thread, but nobody else has them as long as all others are isolated.
#[test]
fn main_waits_in_a_thread_local_while_others_run() {
    patched(|| {
        LATCH.with(|latch| {
            let others = thread::scope(|scope| {
                let opens = scope.spawn(move || {
                    let plain = Builder::new()
                        .isolated(false)
                        .spawn(|| LATCH.with(|own| (&raw const *own).addr()))
                        .unwrap();
                    thread::sleep(Duration::from_millis(1));
                    let seen = plain.join().unwrap();
                    open(latch);
                    seen
                });
                wait_at(latch);
                opens.join().unwrap()
            });
            assert_ne!(others, (&raw const *latch).addr(), "who begins meanwhile has its own");
        });
        // And again when nobody waits in there any more.
        let plain =
            Builder::new().isolated(false).spawn(|| LATCH.with(|own| (&raw const *own).addr())).unwrap();
        assert_eq!(plain.join().unwrap(), LATCH.with(|latch| (&raw const *latch).addr()));
    });
}

/// Nobody can end otherwise.
fn exit_when_told() {
    greenloop::hub::set_uncaught_hook(Some(Arc::new(|told| {
        println!("\n{told}");
        // SAFETY: takes no pointers.
        unsafe { libc::_exit(3) };
    })));
}

#[test]
fn main_that_waits_in_a_thread_local_which_others_have_is_told() {
    let child = run_child(LIMIT, || {
        patch_threads();
        let _other = Builder::new().isolated(false).spawn(|| sleep(Duration::MAX));
        yield_now();
        exit_when_told();
        LATCH.with(wait_at);
    });
    let Some(child) = child else { return };
    assert_eq!(child.status.code(), Some(3), "{child:?}");
    assert!(child.stdout.contains("has stopped its OS thread for a second"), "{child:?}");
}

/// A greenlet that an isolated green thread switches to has main's variables.
#[test]
fn who_waits_where_main_waits_is_told() {
    let child = run_child(LIMIT, || {
        patch_threads();
        yield_now();
        exit_when_told();
        let _second = spawn(|| Greenlet::new(|()| LATCH.with(wait_at)).switch(()));
        LATCH.with(wait_at);
    });
    let Some(child) = child else { return };
    assert_eq!(child.status.code(), Some(3), "{child:?}");
    assert!(child.stdout.contains("an OS thread has stopped for ever"), "{child:?}");
}
