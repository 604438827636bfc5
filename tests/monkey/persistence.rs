//! Code that calls again whatever it is told: the hub runs on, and the processor is idle.

use std::cell::Cell;
use std::fs::File;
use std::io::Read;
use std::net::{TcpListener, TcpStream, ToSocketAddrs, UdpSocket};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::rc::Rc;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use greenloop::hub::set_uncaught_hook;
use greenloop::{Builder, sleep, spawn, with_timeout, yield_now};

use crate::{in_a_child, patched};

const LONG: Duration = Duration::from_secs(1000);

/// How long each call lasts in the end, at least.
const PAUSE: Duration = Duration::from_millis(10);

/// Kills a green thread that goes on with calls until it is told to end, and has another one take its steps meanwhile. `prepare`
/// makes the call.
fn goes_on_slowly<C: FnMut()>(prepare: impl FnOnce() -> C + Send + 'static) {
    patched(|| {
        let (calls, done) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(false)));
        let stubborn = spawn({
            let (calls, done) = (calls.clone(), done.clone());
            move || {
                let mut call = prepare();
                std::thread::sleep(LONG);
                while !done.get() {
                    call();
                    calls.set(calls.get() + 1);
                }
                "the value"
            }
        });
        yield_now();
        // Longer than until the pauses have grown.
        let start = Instant::now();
        assert!(!stubborn.kill_timeout(Duration::from_millis(100)));
        assert!(start.elapsed() >= Duration::from_millis(100));
        let (start, before) = (Instant::now(), calls.get());
        for _ in 0..20 {
            sleep(Duration::from_millis(5));
        }
        let made = calls.get() - before;
        let most = start.elapsed().as_millis() / PAUSE.as_millis() + 1;
        assert!((1..=most).contains(&made), "{made} calls where {most} have time");
        done.set(true);
        assert!(stubborn.kill_timeout(LONG));
        assert!(stubborn.join().unwrap_err().is_killed());
    });
}

#[test]
fn a_loop_of_sleeps() {
    goes_on_slowly(|| || std::thread::sleep(LONG));
}

#[test]
fn a_loop_of_accepts() {
    goes_on_slowly(|| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        move || assert_eq!(listener.accept().unwrap_err().raw_os_error(), Some(libc::ECANCELED))
    });
}

#[test]
fn a_loop_of_accepts_that_do_not_wait() {
    goes_on_slowly(|| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        move || assert_eq!(listener.accept().unwrap_err().raw_os_error(), Some(libc::ECANCELED))
    });
}

#[test]
fn a_loop_of_receives() {
    goes_on_slowly(|| {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        move || assert_eq!(socket.recv(&mut [0]).unwrap_err().raw_os_error(), Some(libc::ECANCELED))
    });
}

#[test]
fn a_loop_of_receives_that_do_not_wait() {
    goes_on_slowly(|| {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        move || {
            let mut byte = 0_u8;
            // SAFETY: `byte` is valid for writes of one byte.
            let come =
                unsafe { libc::recv(socket.as_raw_fd(), (&raw mut byte).cast(), 1, libc::MSG_DONTWAIT) };
            assert_eq!(come, -1);
            assert_eq!(std::io::Error::last_os_error().raw_os_error(), Some(libc::ECANCELED));
        }
    });
}

#[test]
fn a_loop_of_connects() {
    goes_on_slowly(|| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        move || {
            let error = TcpStream::connect(address).unwrap_err();
            assert_eq!((error.raw_os_error(), listener.as_raw_fd() > 0), (Some(libc::ECANCELED), true));
        }
    });
}

/// Each is a connect that does not wait, which fails already.
#[test]
fn a_loop_of_connects_with_a_time_limit_of_their_own() {
    goes_on_slowly(|| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        move || {
            let error = TcpStream::connect_timeout(&address, LONG).unwrap_err();
            assert_eq!((error.raw_os_error(), listener.as_raw_fd() > 0), (Some(libc::ECANCELED), true));
        }
    });
}

#[test]
fn a_loop_of_polls() {
    goes_on_slowly(|| {
        let (one, other) = UnixStream::pair().unwrap();
        move || {
            let mut asked = libc::pollfd { fd: one.as_raw_fd(), events: libc::POLLIN, revents: 0 };
            // SAFETY: `asked` is valid for reads and writes as the one element that it is said to be.
            let ready = unsafe { libc::poll(&mut asked, 1, 0) };
            assert_eq!((ready, asked.revents), (1, libc::POLLIN | libc::POLLERR | libc::POLLHUP));
            assert!(other.as_raw_fd() > 0);
        }
    });
}

/// std repeats a wait that was interrupted.
#[test]
fn a_loop_of_waits() {
    goes_on_slowly(|| {
        let mut child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let input = child.stdin.take();
        move || {
            assert_eq!(child.wait().unwrap_err().raw_os_error(), Some(libc::ECHILD));
            assert!(input.is_some());
        }
    });
}

#[test]
fn a_loop_of_file_reads() {
    goes_on_slowly(|| {
        let mut file = File::open("/proc/self/exe").unwrap();
        move || assert_eq!(file.read(&mut [0]).unwrap_err().raw_os_error(), Some(libc::ECANCELED))
    });
}

/// The name of a file that is locked. std repeats what was interrupted.
#[test]
fn a_loop_of_locks_on_files() {
    goes_on_slowly(|| {
        let name = format!("greenloop-persistence-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let (holder, waiter) = (File::create(&path).unwrap(), File::open(&path).unwrap());
        std::fs::remove_file(path).unwrap();
        holder.lock().unwrap();
        move || {
            assert_eq!(waiter.lock().unwrap_err().raw_os_error(), Some(libc::ENOLCK));
            assert!(holder.as_raw_fd() > 0);
        }
    });
}

/// Nothing of these fails: each lasts as long as it says.
#[test]
fn a_loop_of_locks() {
    goes_on_slowly(|| {
        let lock = Arc::new((Mutex::new(()), Condvar::new()));
        move || {
            let guard = lock.0.lock().unwrap();
            let (_guard, result) = lock.1.wait_timeout(guard, PAUSE).unwrap();
            assert!(result.timed_out());
        }
    });
}

#[test]
fn a_loop_of_look_ups() {
    goes_on_slowly(|| || assert!(("localhost", 80).to_socket_addrs().is_err()));
}

/// Of what is in memory: it is read all the same, and the others run.
#[test]
fn a_loop_of_reads_at_a_place() {
    use std::os::unix::fs::FileExt;
    patched(|| {
        let done = Rc::new(Cell::new(false));
        let stubborn = spawn({
            let done = done.clone();
            move || {
                let file = File::open("/proc/self/exe").unwrap();
                std::thread::sleep(LONG);
                let mut rounds = 0_u32;
                while !done.get() {
                    file.read_exact_at(&mut [0], 1).unwrap();
                    rounds += 1;
                }
                sleep(LONG);
                unreachable!("the kill is raised after {rounds} rounds");
            }
        });
        yield_now();
        assert!(!stubborn.try_kill());
        for _ in 0..100 {
            yield_now();
        }
        assert!(!stubborn.is_finished());
        done.set(true);
        assert!(stubborn.kill_timeout(LONG));
        assert!(stubborn.join().unwrap_err().is_killed());
    });
}

/// The first few come at once, for a program that goes through several calls until it ends.
#[test]
fn the_first_four_calls_fail_at_once_and_the_fifth_after_a_pause() {
    patched(|| {
        let seen = Rc::new(Cell::new(0));
        let task = spawn({
            let seen = seen.clone();
            move || {
                let (mut one, _other) = UnixStream::pair().unwrap();
                for number in 1..=5 {
                    assert!(one.read(&mut [0]).is_err());
                    seen.set(number);
                }
            }
        });
        yield_now();
        assert!(!task.try_kill());
        let mut after_each_turn = Vec::new();
        for _ in 0..8 {
            yield_now();
            after_each_turn.push(seen.get());
        }
        // It yields before each.
        assert_eq!(after_each_turn, [0, 1, 2, 3, 4, 4, 4, 4]);
        task.wait();
        assert!(task.join().unwrap_err().is_killed());
    });
}

/// A loop that opens a connection for each that fails.
#[test]
fn connections_that_are_replaced_are_few() {
    patched(|| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let start = Instant::now();
        let opened = spawn(move || {
            let mut opened = 0;
            let late = with_timeout(Duration::from_millis(20), || {
                std::thread::sleep(LONG);
                while start.elapsed() < Duration::from_millis(300) {
                    // A pool opens them on OS threads of its own.
                    let stream = std::thread::spawn(move || TcpStream::connect(address).unwrap());
                    let mut stream = stream.join().unwrap();
                    opened += 1;
                    assert_eq!(stream.read(&mut [0]).unwrap_err().raw_os_error(), Some(libc::ETIMEDOUT));
                }
            });
            assert_eq!(late.unwrap_err().limit(), Duration::from_millis(20));
            opened
        });
        let most = 4 + 6 + 30;
        let opened = opened.join().unwrap();
        assert!((1..=most).contains(&opened), "{opened} connections");
        drop(listener);
    });
}

#[test]
fn who_does_not_end_within_a_second_is_told_once() {
    let name = "persistence::who_does_not_end_within_a_second_is_told_once";
    in_a_child(name, || {
        patched(|| {
            let told = Arc::new(Mutex::new(Vec::new()));
            let log = told.clone();
            set_uncaught_hook(Some(Arc::new(move |uncaught| log.lock().unwrap().push(uncaught.to_string()))));
            let done = Rc::new(Cell::new(false));
            let sleeps = {
                let done = done.clone();
                move || {
                    while !done.get() {
                        std::thread::sleep(LONG);
                    }
                }
            };
            let line = line!() + 1;
            let killed = Builder::new().name("killed").spawn(sleeps).unwrap();
            yield_now();
            let start = Instant::now();
            assert!(!killed.kill_timeout(Duration::from_millis(500)));
            assert_eq!(*told.lock().unwrap(), [""; 0]);
            while told.lock().unwrap().is_empty() {
                sleep(Duration::from_millis(5));
            }
            assert!(start.elapsed() >= Duration::from_secs(1));
            sleep(Duration::from_millis(200));
            done.set(true);
            assert!(killed.kill_timeout(LONG));
            let place = format!("{}:{line}:", file!());
            let told = told.lock().unwrap();
            let [only] = &told[..] else { panic!("{told:?}") };
            let (who, what) = only.split_once(&place).unwrap_or_else(|| panic!("{only} has no {place}"));
            assert_eq!(who, "green thread 'killed', spawned at ");
            let (_column, what) = what.split_once(", ").unwrap();
            let text = "was killed a second ago and does not end: each of its calls that could wait fails, and it tries the next";
            assert_eq!(what, text);
        });
    });
}
