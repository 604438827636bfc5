use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus};
use std::sync::atomic::{AtomicPtr, Ordering};
use std::sync::{Arc, Barrier};
use std::time::Duration;
use std::{env, hint, thread};

use super::*;

/// Names the test whose body a child process runs.
const CHILD: &str = "GREENLOOP_TEST_CHILD";

/// How long a child may take; it ends itself then, with this exit status.
const BOUND: Duration = Duration::from_secs(60);
const OUT_OF_TIME: i32 = 124;

/// How a child process ended, and what it wrote to standard error.
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) stderr: String,
}

impl Ended {
    /// Whether an address sanitizer has ended it: that needs much address space, and reports all faults itself.
    pub(crate) fn by_sanitizer(&self) -> bool {
        self.stderr.contains("Sanitizer")
    }

    #[track_caller]
    pub(crate) fn assert_signal(&self, signal: i32) {
        assert_eq!(self.status.signal(), Some(signal), "{}: {}", self.status, self.stderr);
    }

    #[track_caller]
    pub(crate) fn assert_success(&self) {
        assert!(self.status.success(), "{}: {}", self.status, self.stderr);
    }
}

/// Runs `body` in a process of its own: for what ends a process, or changes it. `prelude` are shell commands to run
/// first. The closure stands in the test function itself, since its type tells the test's name.
#[track_caller]
pub(crate) fn in_child_after<B: FnOnce()>(prelude: &str, body: B) -> Ended {
    if env::var_os(CHILD).is_some() {
        // It has all that a thread maps at its start before the body looks at mappings.
        let started = Arc::new(Barrier::new(2));
        thread::spawn({
            let started = Arc::clone(&started);
            move || {
                started.wait();
                thread::sleep(BOUND);
                std::process::exit(OUT_OF_TIME);
            }
        });
        started.wait();
        body();
        std::process::exit(0);
    }
    let (_crate_name, path) = std::any::type_name::<B>().split_once("::").expect("a closure has a path");
    let test = path.trim_end_matches("::{{closure}}");
    let output = Command::new("sh")
        .args([
            "-c",
            &format!(
                "{prelude}; exec $GREENLOOP_TEST_EMULATOR \"$0\" --exact --nocapture --test-threads=1 \"$1\""
            ),
        ])
        .arg(env::current_exe().unwrap())
        .arg(test)
        .env(CHILD, test)
        .output()
        .unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    let mut stderr = String::from_utf8(output.stderr).unwrap();
    // An emulator adds a line of its own.
    if let Some(own) = stderr.find("qemu: uncaught target signal") {
        stderr.truncate(own);
    }
    let ended = Ended { status: output.status, stderr };
    let ran = stdout.contains("running 1 test") || ended.by_sanitizer();
    assert!(ran, "{test} is not the name of the test: {stdout}");
    ended
}

/// As [`in_child_after`], with no prelude but that no core file is left behind.
#[track_caller]
pub(crate) fn in_child<B: FnOnce()>(body: B) -> Ended {
    in_child_after("ulimit -c 0", body)
}

/// Uses up whatever stack it runs on.
#[expect(unconditional_recursion, reason = "that is its purpose")]
pub(crate) fn overflow(depth: usize) -> usize {
    hint::black_box([depth; 64]);
    overflow(depth + 1) + hint::black_box(1)
}

fn current() -> libc::stack_t {
    let mut current = MaybeUninit::uninit();
    // SAFETY: a null pointer only asks; `current` is valid to write to.
    assert_eq!(unsafe { libc::sigaltstack(ptr::null(), current.as_mut_ptr()) }, 0);
    // SAFETY: the call has succeeded.
    unsafe { current.assume_init() }
}

/// Runs the function on a thread that the standard library knows nothing of, and waits for its end.
fn on_foreign_thread(run: extern "C" fn(*mut libc::c_void) -> *mut libc::c_void) {
    let mut thread = MaybeUninit::uninit();
    // SAFETY: `thread` is valid to write to, null asks for the default attributes, and `run` ignores its argument.
    let code = unsafe { libc::pthread_create(thread.as_mut_ptr(), ptr::null(), run, ptr::null_mut()) };
    assert_eq!(code, 0);
    // SAFETY: the thread has been created.
    let thread = unsafe { thread.assume_init() };
    // SAFETY: it is joined once, and null asks for no result.
    assert_eq!(unsafe { libc::pthread_join(thread, ptr::null_mut()) }, 0);
}

#[test]
fn the_alternate_stack_of_a_std_thread_stays() {
    let before = current();
    assert_eq!(before.ss_flags & libc::SS_DISABLE, 0);
    ensure_alternate_stack().unwrap();
    assert_eq!(current().ss_sp, before.ss_sp);
}

#[test]
fn a_foreign_thread_gets_one_alternate_stack_until_it_ends() {
    static START: AtomicPtr<libc::c_void> = AtomicPtr::new(ptr::null_mut());
    extern "C" fn run(_: *mut libc::c_void) -> *mut libc::c_void {
        assert_ne!(current().ss_flags & libc::SS_DISABLE, 0);
        ensure_alternate_stack().unwrap();
        START.store(current().ss_sp, Ordering::SeqCst);
        ensure_alternate_stack().unwrap();
        assert_eq!(current().ss_sp, START.load(Ordering::SeqCst));
        ptr::null_mut()
    }
    let sanitizer_gives_none = "export ASAN_OPTIONS=detect_leaks=0:use_sigaltstack=0";
    in_child_after(sanitizer_gives_none, || {
        on_foreign_thread(run);
        let start = START.load(Ordering::SeqCst).addr();
        assert!(memory::resident(start, &mut [0]).is_err(), "still mapped");
    })
    .assert_success();
}

#[test]
fn a_foreign_thread_survives_its_overflow_long_enough_to_tell() {
    extern "C" fn run(_: *mut libc::c_void) -> *mut libc::c_void {
        ensure_alternate_stack().unwrap();
        overflow(0);
        ptr::null_mut()
    }
    let ended = in_child(|| {
        let last_word = |_| {
            write_to_stderr(&[IoSlice::new(b"last "), IoSlice::new(b"word")]);
            std::process::abort();
        };
        // SAFETY: a write and an abort are async-signal-safe.
        unsafe { catch_faults(last_word) }.unwrap();
        on_foreign_thread(run);
    });
    ended.assert_signal(libc::SIGABRT);
    assert_eq!(ended.stderr, "last word");
}

#[test]
fn an_earlier_handler_is_called_for_what_is_not_ours() {
    extern "C" fn earlier(signal: libc::c_int) {
        assert_eq!(signal, libc::SIGBUS);
        write_to_stderr(&[IoSlice::new(b"earlier")]);
        std::process::exit(0);
    }
    let ended = in_child(|| {
        let mut action = NO_ACTION;
        action.sa_sigaction = earlier as *const () as usize;
        // SAFETY: without SA_SIGINFO a handler takes the number of the signal only.
        assert_eq!(unsafe { libc::sigaction(libc::SIGBUS, &action, ptr::null_mut()) }, 0);
        // SAFETY: does nothing.
        unsafe { catch_faults(|_| ()) }.unwrap();
        // SAFETY: takes no pointers.
        unsafe { libc::raise(libc::SIGBUS) };
        unreachable!("the handler exits");
    });
    ended.assert_success();
    assert_eq!(ended.stderr, "earlier");
}
