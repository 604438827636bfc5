//! Calls from where little may be done: before `main`, after it, in a signal's handler, between fork and exec.

use std::io::{Read, Write};
use std::os::fd::IntoRawFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use greenloop::{spawn, yield_now};

use crate::{in_a_child, patched};

/// Runs before `main` of this program, before std has set anything up.
#[used]
#[unsafe(link_section = ".init_array")]
static BEFORE_MAIN: extern "C" fn() = before_main;

static SLEPT: AtomicUsize = AtomicUsize::new(0);

extern "C" fn before_main() {
    // SAFETY: no pointers.
    let slept = unsafe { libc::usleep(1) };
    // SAFETY: an empty set.
    let polled = unsafe { libc::poll(std::ptr::null_mut(), 0, 0) };
    SLEPT.fetch_add(usize::from(slept == 0 && polled == 0), Ordering::SeqCst);
}

#[test]
fn before_main_calls_are_the_c_librarys() {
    assert_eq!(SLEPT.load(Ordering::SeqCst), 1);
}

#[test]
fn after_main_calls_go_on() {
    extern "C" fn at_exit() {
        // SAFETY: no pointers.
        unsafe { libc::usleep(10) };
        println!("at exit");
        // SAFETY: no pointers. The harness would say 0 otherwise.
        unsafe { libc::_exit(0) };
    }
    let printed = in_a_child("early::after_main_calls_go_on", || {
        greenloop::monkey::patch_all();
        // SAFETY: the function may be called at any time.
        assert_eq!(unsafe { libc::atexit(at_exit) }, 0);
        spawn(|| thread::sleep(Duration::from_millis(1))).join().unwrap();
        println!("in main");
        std::process::exit(1);
    });
    if printed.is_empty() {
        return; // The child.
    }
    let printed = String::from_utf8(printed).unwrap();
    assert!(printed.ends_with("in main\nat exit\n"), "{printed}");
}

/// A thousand signals amid switches, sleeps and locks; each handler writes a byte.
#[test]
fn a_handler_may_write() {
    static PIPE: AtomicI32 = AtomicI32::new(-1);
    static HANDLED: AtomicUsize = AtomicUsize::new(0);
    extern "C" fn handle(_: libc::c_int) {
        // SAFETY: one byte that is valid for reads; the pipe stays open.
        if unsafe { libc::write(PIPE.load(Ordering::SeqCst), c"x".as_ptr().cast(), 1) } == 1 {
            HANDLED.fetch_add(1, Ordering::SeqCst);
        }
    }
    const SIGNALS: usize = 1000;
    patched(|| {
        let (mut reader, writer) = std::io::pipe().unwrap();
        PIPE.store(writer.into_raw_fd(), Ordering::SeqCst);
        let handler: extern "C" fn(libc::c_int) = handle;
        // SAFETY: the handler does what one may do.
        unsafe { libc::signal(libc::SIGUSR2, handler as libc::sighandler_t) };
        // SAFETY: no arguments.
        let this = unsafe { libc::pthread_self() };
        let sender = thread::spawn(move || {
            for count in 0..SIGNALS {
                // SAFETY: that thread waits for this one.
                unsafe { libc::pthread_kill(this, libc::SIGUSR2) };
                while HANDLED.load(Ordering::SeqCst) <= count {
                    thread::yield_now();
                }
            }
        });
        let busy: Vec<_> = (0..10)
            .map(|_| {
                spawn(|| {
                    while HANDLED.load(Ordering::SeqCst) < SIGNALS {
                        yield_now();
                        greenloop::sleep(Duration::from_micros(1));
                        spawn(|| ()).join().unwrap();
                    }
                })
            })
            .collect();
        let bytes = spawn(move || {
            let mut bytes = vec![0; SIGNALS];
            reader.read_exact(&mut bytes).unwrap();
            bytes
        });
        assert_eq!(bytes.join().unwrap(), vec![b'x'; SIGNALS]);
        busy.into_iter().for_each(|one| one.join().unwrap());
        sender.join().unwrap();
        // SAFETY: no handler runs any more, and nobody else has these numbers.
        unsafe { libc::signal(libc::SIGUSR2, libc::SIG_DFL) };
        // SAFETY: it was made above, and belongs to nobody else.
        unsafe { libc::close(PIPE.load(Ordering::SeqCst)) };
    });
}

#[test]
fn between_fork_and_exec_calls_are_the_c_librarys() {
    patched(|| {
        let mut command = Command::new("cat");
        let asks = || {
            thread::sleep(Duration::from_millis(1));
            // SAFETY: an empty set.
            unsafe { libc::poll(std::ptr::null_mut(), 0, 1) };
            Ok(())
        };
        // SAFETY: the closure only sleeps and polls.
        unsafe { command.pre_exec(asks) };
        let child = spawn(move || {
            let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
            child.stdin.take().unwrap().write_all(b"through").unwrap();
            child.wait_with_output().unwrap()
        });
        assert_eq!(child.join().unwrap().stdout, b"through");
    });
}
