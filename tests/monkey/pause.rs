//! Waiting for any signal that has a handler.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use greenloop::{sleep, spawn, with_timeout};
use libc::c_int;

use crate::patched;

/// By a handler on the thread of the hub: while the hub sleeps, and amid other work. By nothing else.
#[test]
fn a_pause_ends_with_the_handler_of_a_signal() {
    static HANDLED: AtomicUsize = AtomicUsize::new(0);
    extern "C" fn handle(_: c_int) {
        HANDLED.fetch_add(1, SeqCst);
    }
    patched(|| {
        let handler: extern "C" fn(c_int) = handle;
        // SAFETY: the handler does what one may do.
        unsafe { libc::signal(libc::SIGPROF, handler as libc::sighandler_t) };
        // SAFETY: no arguments.
        let this = unsafe { libc::pthread_self() };
        let pause = || {
            // SAFETY: no arguments.
            let result = unsafe { libc::pause() };
            (result, std::io::Error::last_os_error().raw_os_error(), HANDLED.load(SeqCst))
        };
        for round in 1..=2 {
            let pauses = [spawn(pause), spawn(pause)];
            sleep(Duration::from_millis(30));
            assert!(pauses.iter().all(|pause| !pause.is_finished()));
            match round {
                // SAFETY: the calling thread.
                1 => assert_eq!(unsafe { libc::pthread_kill(this, libc::SIGPROF) }, 0),
                _ => {
                    // Most likely while the hub sleeps.
                    let sender = std::thread::spawn(move || {
                        std::thread::sleep(Duration::from_millis(20));
                        // SAFETY: that thread waits for this one.
                        unsafe { libc::pthread_kill(this, libc::SIGPROF) };
                    });
                    sender.join().unwrap();
                }
            }
            for pause in pauses {
                assert_eq!(pause.join().unwrap(), (-1, Some(libc::EINTR), round));
            }
        }
        spawn(move || {
            let limited = with_timeout(Duration::from_millis(20), || assert_eq!(pause().0, -1));
            assert!(limited.is_err());
        })
        .join()
        .unwrap();
        // SAFETY: no handler runs any more.
        unsafe { libc::signal(libc::SIGPROF, libc::SIG_DFL) };
    });
}
