//! What is left of them when their hub or the process ends.

use std::process::exit;
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use greenloop::process::{Fork, fork, wait_pid};
use greenloop::{sleep, yield_now};

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

/// As rayon does in who is not of its pool. Main's variables are those of the OS thread, so it cannot park there.
#[test]
fn main_that_waits_in_a_thread_local_is_told() {
    thread_local! {
        static LATCH: (Mutex<()>, Condvar) = const { (Mutex::new(()), Condvar::new()) };
    }
    let child = run_child(LIMIT, || {
        patch_threads();
        yield_now();
        greenloop::hub::set_uncaught_hook(Some(Arc::new(|told| {
            println!("\n{told}");
            exit(3);
        })));
        LATCH.with(|(mutex, condition)| drop(condition.wait(mutex.lock().unwrap())));
    });
    let Some(child) = child else { return };
    assert_eq!(child.status.code(), Some(3), "{child:?}");
    assert!(child.stdout.contains("has stopped its OS thread for a second"), "{child:?}");
}
