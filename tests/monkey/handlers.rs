//! Handlers of signals, errno, and the child of `vfork`: what runs in the middle of something.

use std::io::{Read, Write};
use std::mem;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::ptr;
use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use greenloop::{Builder, sleep, spawn, yield_now};
use libc::c_int;

use crate::shared_library::Library;
use crate::{patched, yields};

const SOURCE: &str = r#"
#define _GNU_SOURCE
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;
static sigjmp_buf place;

static void leave(int signal) {
    siglongjmp(place, signal);
}

/* A handler that is never returned from. */
int jump(int signal) {
    struct sigaction action = { .sa_handler = leave }, former;
    sigaction(signal, &action, &former);
    int jumped = sigsetjmp(place, 1);
    if (jumped == 0)
        raise(signal);
    sigaction(signal, &former, NULL);
    return jumped;
}

/* What a child of vfork does before it ends, on its parent's memory: 200 calls that do not wait, and one that does. */
int vfork_and_close(int fd) {
    int pipe_[2], status;
    if (pipe(pipe_) != 0)
        return -1;
    pid_t child = vfork();
    if (child == 0) {
        for (int i = 0; i < 200; i++)
            if (write(pipe_[1], "x", 1) != 1)
                _exit(1);
        usleep(20000);
        close(fd);
        dup2(pipe_[0], fd);
        _exit(7);
    }
    if (child < 0 || waitpid(child, &status, 0) != child)
        return -2;
    close(pipe_[0]);
    close(pipe_[1]);
    return WEXITSTATUS(status);
}

int spawn_and_close(int fd) {
    posix_spawn_file_actions_t actions;
    char *arguments[] = { "sh", "-c", "exit 7", NULL };
    pid_t child;
    int status;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addclose(&actions, fd);
    if (posix_spawn(&child, "/bin/sh", &actions, NULL, arguments, environ) != 0 || waitpid(child, &status, 0) != child)
        return -2;
    return WEXITSTATUS(status);
}
"#;

/// Installs `handler`, and returns the address of the former one.
fn install(signal: c_int, handler: usize, flags: c_int) -> usize {
    // SAFETY: zeros are an action: the default one.
    let mut action: libc::sigaction = unsafe { mem::zeroed() };
    (action.sa_sigaction, action.sa_flags) = (handler, flags);
    // SAFETY: as above.
    let mut former: libc::sigaction = unsafe { mem::zeroed() };
    // SAFETY: valid for reads and for writes; the handlers of this file are async-signal-safe.
    assert_eq!(unsafe { libc::sigaction(signal, &action, &mut former) }, 0);
    former.sa_sigaction
}

fn raise(signal: c_int) {
    // SAFETY: takes no pointers.
    assert_eq!(unsafe { libc::raise(signal) }, 0);
}

static PIPE: AtomicI32 = AtomicI32::new(-1);
static CALLS: AtomicUsize = AtomicUsize::new(0);

/// Does what others would be let in for: many calls that do not wait, and some that do.
extern "C" fn busy(_signal: c_int) {
    for _ in 0..200 {
        // SAFETY: one byte that is valid for reads.
        let written = unsafe { libc::write(PIPE.load(SeqCst), [0_u8].as_ptr().cast(), 1) };
        CALLS.fetch_add(usize::from(written == 1), SeqCst);
    }
    // SAFETY: takes no pointers.
    unsafe { libc::usleep(20_000) };
    // SAFETY: as above.
    unsafe { libc::sched_yield() };
    // SAFETY: no descriptors.
    unsafe { libc::poll(ptr::null_mut(), 0, 20) };
}

extern "C" fn busy_with_information(
    signal: c_int,
    information: *mut libc::siginfo_t,
    _context: *mut libc::c_void,
) {
    // SAFETY: the kernel passes a valid record.
    assert_eq!(unsafe { (*information).si_signo }, signal);
    busy(signal);
}

#[test]
fn the_handler_of_a_signal_is_never_switched_out() {
    patched(|| {
        let (mut reader, writer) = UnixStream::pair().unwrap();
        PIPE.store(writer.as_raw_fd(), SeqCst);
        let plain = busy as *const () as usize;
        let with_information = busy_with_information as *const () as usize;
        let ways: [(c_int, usize, c_int); 3] = [
            (libc::SIGPROF, plain, libc::SA_RESTART),
            (libc::SIGXFSZ, with_information, libc::SA_SIGINFO | libc::SA_ONSTACK),
            (libc::SIGVTALRM, plain, -1),
        ];
        for (signal, handler, flags) in ways {
            let former = match flags {
                // SAFETY: the handler is async-signal-safe.
                -1 => unsafe { libc::signal(signal, handler) },
                flags => install(signal, handler, flags),
            };
            assert_eq!(former, libc::SIG_DFL);
            let others = spawn(|| {
                let mut turns = 0;
                while CALLS.load(SeqCst) < 200 {
                    turns += 1;
                    yield_now();
                }
                turns
            });
            yield_now();
            let raising = spawn(move || raise(signal));
            raising.join().unwrap();
            // It runs in turn with the one that raises, not in the midst of the handler.
            assert!(others.join().unwrap() <= 3, "switched out within a handler");
            assert_eq!(CALLS.swap(0, SeqCst), 200);
            reader.read_exact(&mut [0; 200]).unwrap();
            assert_eq!(install(signal, libc::SIG_DFL, 0), handler, "what was installed is told");
        }
        // Afterwards calls wait as ever.
        yields(|| thread::sleep(Duration::from_millis(20)));
    });
}

#[test]
fn a_handler_that_is_jumped_out_of_is_over() {
    let jump = Library::new("c", "jump", SOURCE).function("jump");
    patched(move || {
        // SAFETY: the library stays loaded.
        let jumped = spawn(move || unsafe { jump(libc::SIGXCPU) }).join().unwrap();
        assert_eq!(jumped, libc::SIGXCPU);
        yields(|| thread::sleep(Duration::from_millis(20)));
    });
}

fn errno() -> c_int {
    std::io::Error::last_os_error().raw_os_error().unwrap()
}

fn set_errno(errno: c_int) {
    // SAFETY: takes nothing, and returns a valid pointer.
    let place = unsafe { libc::__errno_location() };
    // SAFETY: as above.
    unsafe { *place = errno };
}

/// Those who are not isolated have one errno between them.
#[test]
fn errno_is_kept_over_every_wait() {
    let plain = || Builder::new().isolated(false);
    patched(move || {
        let (mut one, mut other) = UnixStream::pair().unwrap();
        let waiter = plain()
            .spawn(move || {
                set_errno(77);
                one.read_exact(&mut [0]).unwrap();
                let received = errno();
                set_errno(78);
                thread::sleep(Duration::from_millis(5));
                let slept = errno();
                set_errno(79);
                sleep(Duration::from_millis(5));
                yield_now();
                (received, slept, errno())
            })
            .unwrap();
        let disturber = plain()
            .spawn(move || {
                loop {
                    set_errno(1);
                    yield_now();
                }
            })
            .unwrap();
        yield_now();
        other.write_all(b"x").unwrap();
        assert_eq!(waiter.join().unwrap(), (77, 78, 79));
        disturber.kill();
    });
}

#[test]
fn the_child_of_vfork_touches_nothing_of_its_parent() {
    children_leave_the_parent_alone("vfork", "vfork_and_close");
}

#[test]
fn a_spawned_child_touches_nothing_of_its_parent() {
    children_leave_the_parent_alone("spawn", "spawn_and_close");
}

fn children_leave_the_parent_alone(library: &str, name: &str) {
    let child = Library::new("c", library, SOURCE).function(name);
    for isolated in [false, true] {
        patched(move || {
            let (mut one, mut other) = UnixStream::pair().unwrap();
            let fd = one.as_raw_fd();
            let reader = spawn(move || {
                let mut byte = [0];
                one.read(&mut byte).map(|count| (count, byte))
            });
            yield_now();
            let run = move || {
                // SAFETY: the library stays loaded; the descriptor is closed in the child alone.
                unsafe { child(fd) }
            };
            let forker = Builder::new().isolated(isolated).spawn(run).unwrap();
            assert_eq!(forker.join().unwrap(), 7);
            assert!(!reader.is_finished());
            other.write_all(b"x").unwrap();
            assert_eq!(reader.join().unwrap().unwrap(), (1, *b"x"));
        });
    }
}
