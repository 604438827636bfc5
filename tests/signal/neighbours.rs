use std::sync::atomic::{AtomicI32, Ordering};

use greenloop::signal::{self, SIGCHLD, SIGTERM, SIGUSR1, Signals};

use crate::{alone, dies, raise, until};

/// Without anybody who listens, the default action is taken.
#[test]
fn a_handler_that_is_gone_leaves_what_was_before() {
    dies(SIGTERM, || {
        let handler = signal::on(SIGTERM, || ()).unwrap();
        raise(SIGTERM);
        greenloop::yield_now();
        handler.cancel();
        raise(SIGTERM);
        unreachable!("it has ended the process");
    });
}

#[test]
fn the_end_of_a_thread_ends_its_handlers() {
    dies(SIGUSR1, || {
        std::thread::spawn(|| signal::on(SIGUSR1, || ()).unwrap().detach()).join().unwrap();
        raise(SIGUSR1);
        unreachable!("it has ended the process");
    });
}

#[test]
fn a_handler_can_be_installed_again() {
    alone(|| {
        for _ in 0..3 {
            let mut signals = Signals::new([SIGCHLD]).unwrap();
            raise(SIGCHLD);
            assert_eq!(signals.next(), Some(SIGCHLD));
            drop(signals);
            // The default action, which is to do nothing, and which takes our handler out.
            raise(SIGCHLD);
        }
    });
}

#[test]
fn an_earlier_handler_is_still_called() {
    static SEEN: AtomicI32 = AtomicI32::new(0);
    extern "C" fn earlier(signal: libc::c_int) {
        SEEN.fetch_add(signal, Ordering::SeqCst);
    }
    alone(|| {
        let handler = earlier as extern "C" fn(libc::c_int) as libc::sighandler_t;
        // SAFETY: the handler has the signature that signal(2) asks for, and adds to an atomic number.
        let before = unsafe { libc::signal(SIGUSR1, handler) };
        assert_eq!(before, libc::SIG_DFL);
        let mut signals = Signals::new([SIGUSR1]).unwrap();
        raise(SIGUSR1);
        assert_eq!(signals.next(), Some(SIGUSR1));
        assert_eq!(SEEN.load(Ordering::SeqCst), SIGUSR1);
        drop(signals);
        raise(SIGUSR1);
        until(|| SEEN.load(Ordering::SeqCst) == 2 * SIGUSR1);
    });
}

#[test]
fn children_are_not_told_of_the_handlers() {
    alone(|| {
        let _handler = signal::on(SIGTERM, || ()).unwrap();
        let mut child = greenloop::process::Command::new("sleep").arg("1000").spawn().unwrap();
        child.send_signal(SIGTERM).unwrap();
        let status = child.wait().unwrap();
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(SIGTERM));
    });
}
