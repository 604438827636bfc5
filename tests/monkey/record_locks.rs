//! Locks on parts of files, which belong to processes, in a circle: what the kernel says to threads of processes without a hub, it says to
//! green threads.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use greenloop::monkey::original;
use greenloop::{JoinHandle, sleep, spawn, with_timeout, yield_now};
use libc::c_int;

use crate::{in_a_child, patched};

/// What it is told: 0, or errno.
type Lock = fn(c_int, c_int, c_int, i64) -> c_int;

fn region(kind: c_int, byte: i64) -> libc::flock {
    // SAFETY: zeros are a lock on a file, from its beginning.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    lock.l_type = kind as _;
    lock.l_start = byte;
    lock.l_len = 1;
    lock
}

fn told(result: c_int) -> c_int {
    if result == -1 { io::Error::last_os_error().raw_os_error().unwrap() } else { result }
}

fn ours(fd: c_int, operation: c_int, kind: c_int, byte: i64) -> c_int {
    // SAFETY: a lock, valid for reads and writes.
    told(unsafe { libc::fcntl(fd, operation, &mut region(kind, byte)) })
}

fn unpatched(fd: c_int, operation: c_int, kind: c_int, byte: i64) -> c_int {
    // SAFETY: as above.
    told(unsafe { original::fcntl(fd, operation, ptr::from_mut(&mut region(kind, byte)).cast()) })
}

fn file(name: &str) -> (File, std::path::PathBuf) {
    let path = std::env::temp_dir().join(format!("greenloop-record-{name}-{}", std::process::id()));
    (File::create(&path).unwrap(), path)
}

const WAIT: u8 = 0;
const END: u8 = 1;

/// Another process, which has byte 1 of the file, and waits for byte 0 when it is told to. It says what it was told.
struct Other {
    process: libc::pid_t,
    orders: io::PipeWriter,
    answers: io::PipeReader,
}

impl Other {
    fn begin(fd: c_int) -> Other {
        let (mut answers, mut answer) = io::pipe().unwrap();
        let (mut order, orders) = io::pipe().unwrap();
        // SAFETY: the child makes system calls, and ends.
        let process = unsafe { libc::fork() };
        if process == 0 {
            // Calls by these names are the C library's where there is no hub, as on this thread.
            let mut say = |byte: c_int| answer.write_all(&[byte as u8]).unwrap();
            say(unpatched(fd, libc::F_SETLK, libc::F_WRLCK, 1));
            let mut told = [END];
            while order.read(&mut told).unwrap() == 1 && told == [WAIT] {
                say(unpatched(fd, libc::F_SETLKW, libc::F_WRLCK, 0));
            }
            // SAFETY: no pointers.
            unsafe { libc::_exit(0) };
        }
        let mut first = [1];
        answers.read_exact(&mut first).unwrap();
        assert_eq!(first, [0]);
        Other { process, orders, answers }
    }

    /// Has it wait for byte 0, which this process has.
    fn wait_for_this(&mut self) {
        self.orders.write_all(&[WAIT]).unwrap();
    }

    fn answer(&mut self) -> c_int {
        let mut byte = [0];
        self.answers.read_exact(&mut byte).unwrap();
        byte[0].into()
    }

    fn end(mut self) {
        self.orders.write_all(&[END]).unwrap();
        // SAFETY: nothing is to be written.
        assert_eq!(unsafe { original::waitpid(self.process, ptr::null_mut(), 0) }, self.process);
    }
}

/// Until the kernel knows of a thread of `process` that waits for that byte of the file.
fn until_it_waits(process: u32, file: &File, byte: i64) {
    let process = format!("-> POSIX  ADVISORY  WRITE {process} ");
    let place = format!(":{} {byte} {byte}", file.metadata().unwrap().ino());
    let waits = |line: &str| line.contains(&process) && line.ends_with(&place);
    while !fs::read_to_string("/proc/locks").unwrap().lines().any(waits) {
        thread::sleep(Duration::from_millis(1));
    }
}

/// Who closes the circle is told, whichever side that is; the other one goes on waiting.
fn circle(lock: Lock, file: &File) -> [c_int; 2] {
    let fd = file.as_raw_fd();
    // This side closes it.
    let mut other = Other::begin(fd);
    assert_eq!(lock(fd, libc::F_SETLKW, libc::F_WRLCK, 0), 0);
    other.wait_for_this();
    until_it_waits(other.process.cast_unsigned(), file, 0);
    let first = lock(fd, libc::F_SETLKW, libc::F_WRLCK, 1);
    assert_eq!(lock(fd, libc::F_SETLK, libc::F_UNLCK, 0), 0);
    assert_eq!(other.answer(), 0);
    other.end();
    // The other side does, and then gives way.
    let mut other = Other::begin(fd);
    assert_eq!(lock(fd, libc::F_SETLKW, libc::F_WRLCK, 0), 0);
    let second = thread::scope(|scope| {
        let helper = scope.spawn(|| {
            until_it_waits(std::process::id(), file, 1);
            other.wait_for_this();
            let second = other.answer();
            other.end();
            second
        });
        assert_eq!(lock(fd, libc::F_SETLKW, libc::F_WRLCK, 1), 0);
        helper.join().unwrap()
    });
    assert_eq!(lock(fd, libc::F_SETLK, libc::F_UNLCK, 0), 0);
    assert_eq!(lock(fd, libc::F_SETLK, libc::F_UNLCK, 1), 0);
    [first, second]
}

/// In a process of its own: the kernel looks at one wait of each process, and other tests wait too.
#[test]
fn who_closes_a_circle_of_processes_is_told_so() {
    in_a_child("record_locks::who_closes_a_circle_of_processes_is_told_so", || {
        println!("begins");
        let (file, path) = file("circle");
        // Apart, where no hub is.
        let (file, expected) = thread::spawn(move || {
            let expected = circle(unpatched, &file);
            (file, expected)
        })
        .join()
        .unwrap();
        assert_eq!(expected, [libc::EDEADLK; 2]);
        patched(move || assert_eq!(spawn(move || circle(ours, &file)).join().unwrap(), expected));
        fs::remove_file(path).unwrap();
    });
}

/// Both have the lock, for it is their process's; and so for threads.
#[test]
fn two_of_one_process_are_not_in_each_others_way() {
    let (file, path) = file("one-process");
    let fd = file.as_raw_fd();
    let takes = move |lock: Lock| move || [0, 1].map(|byte| lock(fd, libc::F_SETLKW, libc::F_WRLCK, byte));
    assert_eq!(takes(unpatched)(), [0, 0]);
    assert_eq!(thread::spawn(takes(unpatched)).join().unwrap(), [0, 0]);
    patched(move || {
        let tasks = [0, 1].map(|_| spawn(takes(ours)));
        tasks.into_iter().for_each(|task| assert_eq!(task.join().unwrap(), [0, 0]));
    });
    fs::remove_file(path).unwrap();
}

/// The kernel finds no circle of those that belong to open files, not even of one thread with two.
#[test]
fn a_circle_of_open_files_is_waited_for() {
    let (one, path) = file("open-files");
    let two = File::options().write(true).open(&path).unwrap();
    let fds = [one.as_raw_fd(), two.as_raw_fd()];
    patched(move || {
        let tasks = [0, 1].map(|number| {
            spawn(move || {
                let (mine, others) = (number as i64, 1 - number as i64);
                let fd = fds[number];
                assert_eq!(ours(fd, libc::F_OFD_SETLKW, libc::F_WRLCK, mine), 0);
                yield_now();
                let limit = Duration::from_millis(30);
                let result = with_timeout(limit, || ours(fd, libc::F_OFD_SETLKW, libc::F_WRLCK, others));
                assert!(result.is_err(), "{result:?}");
            })
        });
        tasks.into_iter().for_each(|task| task.join().unwrap());
    });
    fs::remove_file(path).unwrap();
}

/// Of those that wait on OS threads and of those for which there is none, by a kill and by a time limit. Nobody has the lock then.
#[test]
fn a_wait_for_a_part_of_a_file_is_interrupted() {
    let (file, path) = file("interrupted");
    let fd = file.as_raw_fd();
    patched(move || {
        let other = Other::begin(fd);
        let wait = move || ours(fd, libc::F_SETLKW, libc::F_WRLCK, 1);
        let (tell, told) = std::sync::mpsc::channel();
        let waiters: Vec<_> = (0..70)
            .map(|_| {
                let tell = tell.clone();
                spawn(move || {
                    tell.send([wait(), wait()]).unwrap();
                    sleep(Duration::from_secs(1000));
                })
            })
            .collect();
        until_it_waits(std::process::id(), &file, 1);
        assert!(with_timeout(Duration::from_millis(10), wait).is_err());
        for waiter in waiters {
            assert!(!waiter.is_finished());
            waiter.kill();
            assert!(waiter.join().unwrap_err().is_killed());
            assert_eq!(told.recv().unwrap(), [libc::EINTR, libc::ENOLCK]);
        }
        other.end();
        assert_eq!(wait(), 0);
    });
    fs::remove_file(path).unwrap();
}

extern "C" fn programs(_: c_int) {}

/// The program's from then on: in a process of its own, since signals are the process's.
#[test]
fn a_kill_ends_a_wait_though_the_program_has_taken_the_signal() {
    in_a_child("record_locks::a_kill_ends_a_wait_though_the_program_has_taken_the_signal", || {
        println!("begins");
        let (file, path) = file("signal");
        let fd = file.as_raw_fd();
        patched(move || {
            let other = Other::begin(fd);
            for _ in 0..2 {
                let waiter = spawn(move || ours(fd, libc::F_SETLKW, libc::F_WRLCK, 1));
                until_it_waits(std::process::id(), &file, 1);
                waiter.kill();
                assert!(waiter.join().unwrap_err().is_killed());
                take_signals();
            }
            other.end();
        });
        fs::remove_file(path).unwrap();
    });
}

/// Installs a handler for each signal for real time that has any, as greenloop's own do.
fn take_signals() {
    for signal in libc::SIGRTMIN()..=libc::SIGRTMAX() {
        // SAFETY: zeros are the default action.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        // SAFETY: a place that is valid for writes.
        assert_eq!(unsafe { libc::sigaction(signal, ptr::null(), &mut action) }, 0);
        if action.sa_sigaction != libc::SIG_DFL {
            action.sa_sigaction = programs as *const () as usize;
            // SAFETY: a handler that does nothing.
            assert_eq!(unsafe { libc::sigaction(signal, &action, ptr::null_mut()) }, 0);
        }
    }
}

/// Waits amid its unwinding: no wait is to let others run then.
struct WaitsInDrop(c_int);

impl Drop for WaitsInDrop {
    fn drop(&mut self) {
        let turns = TURNS.load(SeqCst);
        for expected in [libc::EINTR, libc::ENOLCK] {
            assert_eq!(ours(self.0, libc::F_SETLKW, libc::F_WRLCK, 1), expected);
        }
        assert_eq!(TURNS.load(SeqCst), turns);
    }
}

static TURNS: AtomicUsize = AtomicUsize::new(0);

#[test]
fn nobody_else_runs_while_one_that_unwinds_asks_for_a_lock() {
    let (file, path) = file("unwinding");
    let fd = file.as_raw_fd();
    patched(move || {
        let other = Other::begin(fd);
        let counter = spawn(|| {
            loop {
                TURNS.fetch_add(1, SeqCst);
                yield_now();
            }
        });
        yield_now();
        let panics = spawn(move || {
            let _waits = WaitsInDrop(fd);
            std::panic::resume_unwind(Box::new("on purpose"));
        });
        assert!(panics.join().unwrap_err().is_panic());
        counter.kill();
        other.end();
        drop(file);
    });
    fs::remove_file(path).unwrap();
}

/// None of its parent's waits is in its way.
#[test]
fn the_child_of_a_fork_waits_on_os_threads_of_its_own() {
    in_a_child("record_locks::the_child_of_a_fork_waits_on_os_threads_of_its_own", || {
        println!("begins");
        let (file, path) = file("fork");
        let fd = file.as_raw_fd();
        patched(move || {
            let other = Other::begin(fd);
            let wait = move || ours(fd, libc::F_SETLKW, libc::F_WRLCK, 1);
            let waiters: Vec<_> = (0..64).map(|_| spawn(wait)).collect();
            until_it_waits(std::process::id(), &file, 1);
            // SAFETY: the child waits for a lock, and ends.
            let child = unsafe { libc::fork() };
            if child == 0 {
                spawn(wait);
                let waits = || until_it_waits(std::process::id(), &file, 1);
                let result = with_timeout(Duration::from_secs(20), waits);
                // SAFETY: no pointers.
                unsafe { libc::_exit(result.is_err().into()) };
            }
            let mut status = -1;
            // SAFETY: valid for writes.
            assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
            assert_eq!(status, 0);
            waiters.iter().for_each(JoinHandle::kill);
            greenloop::joinall(&waiters);
            other.end();
        });
        fs::remove_file(path).unwrap();
    });
}
