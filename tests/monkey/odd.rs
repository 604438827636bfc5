//! Calls with odd arguments, and in an odd order, beside what the C library's own say on an OS thread without a hub.

use std::fmt::Debug;
use std::fs::File;
use std::io::{self, Write};
use std::mem;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::ptr::{null, null_mut, with_exposed_provenance_mut};
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use greenloop::{Builder, spawn, yield_now};
use libc::{c_int, c_long, iovec, msghdr, timespec};

use crate::said::Said;
use crate::{patched, yields};

/// Asserts that `run` says the same in main, in a green thread, and in an isolated one, as on an OS thread without a hub.
fn everywhere<T: PartialEq + Debug + Send + 'static>(run: fn() -> T) {
    let expected = thread::spawn(run).join().unwrap();
    assert_eq!(patched(run), expected, "in main");
    for isolated in [false, true] {
        let said = patched(move || Builder::new().isolated(isolated).spawn(run).unwrap().join().unwrap());
        assert_eq!(said, expected, "isolated: {isolated}");
    }
}

fn pipe() -> (OwnedFd, OwnedFd) {
    let (from, to) = io::pipe().unwrap();
    (from.into(), to.into())
}

fn owned(fd: i64) -> OwnedFd {
    assert_ne!(fd, -1);
    // SAFETY: just made, and nobody else's.
    unsafe { OwnedFd::from_raw_fd(fd as RawFd) }
}

fn pair(kind: c_int) -> (OwnedFd, OwnedFd) {
    let mut pair = [0; 2];
    assert_eq!(said!(libc::socketpair(libc::AF_UNIX, kind, 0, pair.as_mut_ptr())).0, 0);
    let [one, other] = pair.map(|fd| owned(fd.into()));
    (one, other)
}

fn message(first: *mut iovec, count: usize) -> msghdr {
    // SAFETY: zeros are a message of nothing.
    let nothing: msghdr = unsafe { mem::zeroed() };
    msghdr { msg_iov: first, msg_iovlen: count as _, ..nothing }
}

#[test]
fn slices_that_cannot_be_are_refused_as_ever() {
    everywhere(|| {
        let (from, to) = pipe();
        let (from, to) = (from.as_raw_fd(), to.as_raw_fd());
        let (socket, _peer) = pair(libc::SOCK_STREAM);
        let socket = socket.as_raw_fd();
        let mut one = iovec { iov_base: null_mut(), iov_len: 0 };
        let [mut none, mut many] = [message(null_mut(), 2), message(&raw mut one, 1025)];
        [
            said!(libc::readv(from, null(), 2)),
            said!(libc::readv(from, &raw const one, -1)),
            said!(libc::readv(from, &raw const one, 1025)),
            said!(libc::writev(to, null(), 2)),
            said!(libc::writev(to, &raw const one, -1)),
            said!(libc::preadv(from, null(), 2, 0)),
            said!(libc::pwritev(to, null(), 2, 0)),
            said!(libc::recvmsg(socket, &raw mut none, 0)),
            said!(libc::recvmsg(socket, &raw mut many, 0)),
            said!(libc::sendmsg(socket, &raw const none, 0)),
            said!(libc::sendmsg(socket, &raw const many, 0)),
        ]
    });
}

#[test]
fn what_never_waits_is_told_at_once() {
    everywhere(|| {
        let event = owned(said!(libc::eventfd(0, 0)).0);
        let folder = File::open("/").unwrap();
        let (listener, udp) =
            (TcpListener::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let mut place = 0_u64;
        let place = (&raw mut place).cast();
        [
            said!(libc::read(event.as_raw_fd(), place, 0)),
            said!(libc::write(event.as_raw_fd(), place, 0)),
            said!(libc::pread(folder.as_raw_fd(), place, 0, 0)),
            said!(libc::write(udp.as_raw_fd(), place, 0)),
            said!(libc::accept4(listener.as_raw_fd(), null_mut(), null_mut(), 12_345)),
            said!(libc::recv(udp.as_raw_fd(), place, 8, libc::MSG_ERRQUEUE)),
            said!(libc::recv(stream.as_raw_fd(), place, 8, libc::MSG_OOB)),
            said!(libc::pthread_join(libc::pthread_self(), null_mut())),
        ]
    });
}

#[test]
fn what_cannot_be_spliced_is_refused_at_once() {
    everywhere(|| {
        let ((from, to), (other_from, other_to)) = (pipe(), pipe());
        let (socket, _peer) = pair(libc::SOCK_STREAM);
        let event = owned(said!(libc::eventfd(0, 0)).0);
        let [from, to, other_from, other_to, socket, event] =
            [from, to, other_from, other_to, socket, event].each_ref().map(AsRawFd::as_raw_fd);
        let file = File::open("/dev/null").unwrap();
        let mut offset = 0;
        let offset = &raw mut offset;
        let splice = |from, from_offset, to, to_offset, length, flags| {
            said!(libc::splice(from, from_offset, to, to_offset, length, flags))
        };
        [
            splice(from, null_mut(), socket, null_mut(), 0, 0),
            splice(from, null_mut(), socket, null_mut(), 1, 0x80),
            splice(socket, null_mut(), socket, null_mut(), 1, 0),
            splice(to, null_mut(), socket, null_mut(), 1, 0),
            splice(socket, null_mut(), from, null_mut(), 1, 0),
            splice(from, offset, socket, null_mut(), 1, 0),
            splice(socket, null_mut(), to, offset, 1, 0),
            splice(-1, null_mut(), to, null_mut(), 1, 0),
            splice(from, null_mut(), -1, null_mut(), 1, 0),
            splice(from, null_mut(), to, null_mut(), 1, 0),
            splice(from, null_mut(), event, null_mut(), 1, 0),
            said!(libc::sendfile(other_to, from, null_mut(), 1)),
            said!(libc::sendfile(socket, file.as_raw_fd(), null_mut(), 1)),
            said!(libc::sendfile(socket, -1, null_mut(), 0)),
            said!(libc::sendfile(to, other_from, offset, 1)),
        ]
    });
}

#[test]
fn a_pipe_gets_what_a_socket_has() {
    everywhere(|| {
        let (socket, peer) = pair(libc::SOCK_STREAM);
        let (_from, to) = pipe();
        File::from(peer.try_clone().unwrap()).write_all(b"abcdef").unwrap();
        said!(libc::sendfile(to.as_raw_fd(), socket.as_raw_fd(), null_mut(), 100))
    });
}

#[test]
fn a_clock_that_nobody_can_wait_for_is_refused() {
    everywhere(|| {
        let until = |clock| {
            let mut now = timespec { tv_sec: 0, tv_nsec: 0 };
            said!(libc::clock_gettime(clock, &mut now));
            let later = timespec { tv_sec: now.tv_sec + 60, ..now };
            said!(libc::clock_nanosleep(clock, libc::TIMER_ABSTIME, &later, null_mut()))
        };
        [libc::CLOCK_THREAD_CPUTIME_ID, libc::CLOCK_MONOTONIC_RAW, libc::CLOCK_REALTIME_COARSE, -1].map(until)
    });
}

#[test]
fn a_select_waits_though_no_descriptor_can_be_as_high() {
    everywhere(|| {
        // SAFETY: zeros are an empty set.
        let mut set: libc::fd_set = unsafe { mem::zeroed() };
        // SAFETY: it has room for that one.
        unsafe { libc::FD_SET(1023, &mut set) };
        let start = Instant::now();
        let mut time = libc::timeval { tv_sec: 0, tv_usec: 20_000 };
        let said = said!(libc::select(1024, &mut set, null_mut(), null_mut(), &mut time));
        (said, start.elapsed() >= Duration::from_millis(19))
    });
}

/// A wait that goes well leaves errno alone, whatever it has tried.
#[test]
fn a_wait_leaves_errno() {
    everywhere(|| {
        let events = owned(said!(libc::epoll_create1(0)).0);
        let mut event = libc::epoll_event { events: 0, u64: 0 };
        let waited = said!(libc::epoll_wait(events.as_raw_fd(), &mut event, 1, 5));
        let polled = said!(libc::poll(
            &mut libc::pollfd { fd: events.as_raw_fd(), events: libc::POLLIN, revents: 0 },
            1,
            5
        ));

        // SAFETY: zeros are bytes of a semaphore, which is initialised below.
        let mut semaphore: libc::sem_t = unsafe { mem::zeroed() };
        said!(libc::sem_init(&mut semaphore, 0, 0));
        let place = (&raw mut semaphore).expose_provenance();
        let poster = thread::spawn(move || {
            thread::sleep(Duration::from_millis(5));
            said!(libc::sem_post(with_exposed_provenance_mut(place)))
        });
        let taken = said!(libc::sem_wait(&mut semaphore));
        poster.join().unwrap();

        let child = Command::new("sleep").arg("0.01").spawn().unwrap().id();
        let mut status = 0;
        let ended = said!(libc::waitpid(child as c_int, &mut status, 0));

        let (socket, peer) = pair(libc::SOCK_STREAM);
        let limit = libc::timeval { tv_sec: 0, tv_usec: 5_000 };
        said!(libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_RCVTIMEO,
            (&raw const limit).cast(),
            size_of_val(&limit) as u32,
        ));
        File::from(peer.try_clone().unwrap()).write_all(b"ab").unwrap();
        let mut buffer = [0_u8; 8];
        let place = buffer.as_mut_ptr().cast();
        let partial = said!(libc::recv(socket.as_raw_fd(), place, 8, libc::MSG_WAITALL));

        let pieces = File::open("/proc/self/stat").unwrap();
        let read = said!(libc::pread(pieces.as_raw_fd(), place, 8, 0));
        assert_eq!(ended.0, i64::from(child));
        [waited, polled, taken, (0, ended.1), partial, read]
    });
}

#[test]
fn a_receive_that_waits_for_all_knows_where_a_message_ends() {
    everywhere(|| {
        let (socket, peer) = pair(libc::SOCK_SEQPACKET);
        let mut peer = File::from(peer);
        peer.write_all(b"abc").unwrap();
        peer.write_all(b"de").unwrap();
        let mut buffer = [0_u8; 8];
        let place = buffer.as_mut_ptr();
        let packet = said!(libc::recv(socket.as_raw_fd(), place.cast(), 8, libc::MSG_WAITALL));

        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let sender = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (receiver, _) = listener.accept().unwrap();
        for (text, flags) in [(c"ab", 0), (c"c", libc::MSG_OOB), (c"de", 0)] {
            let length = text.count_bytes();
            assert_eq!(
                said!(libc::send(sender.as_raw_fd(), text.as_ptr().cast(), length, flags)).0,
                length as i64
            );
        }
        let urgent = said!(libc::recv(receiver.as_raw_fd(), place.cast(), 4, libc::MSG_WAITALL));
        [packet, urgent]
    });
}

/// Sends `text`, with a descriptor.
fn pass(socket: RawFd, text: &[u8], passed: RawFd) {
    let mut slice = iovec { iov_base: text.as_ptr().cast_mut().cast(), iov_len: text.len() };
    let mut control = [0_u64; 3];
    let mut message = message(&raw mut slice, 1);
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = size_of_val(&control) as _;
    // SAFETY: a message with control memory.
    let header = unsafe { libc::CMSG_FIRSTHDR(&raw const message) };
    // SAFETY: it has room for a header and a descriptor.
    let header = unsafe { &mut *header };
    header.cmsg_level = libc::SOL_SOCKET;
    header.cmsg_type = libc::SCM_RIGHTS;
    // SAFETY: takes no pointers.
    header.cmsg_len = unsafe { libc::CMSG_LEN(4) } as _;
    // SAFETY: as above.
    let place = unsafe { libc::CMSG_DATA(header) };
    // SAFETY: as above.
    unsafe { place.cast::<RawFd>().write(passed) };
    assert_eq!(said!(libc::sendmsg(socket, &raw const message, 0)).0, text.len() as i64);
}

#[test]
fn a_receive_that_waits_for_all_gets_descriptors_that_come_later() {
    everywhere(|| {
        let (socket, peer) = pair(libc::SOCK_STREAM);
        File::from(peer.try_clone().unwrap()).write_all(b"ab").unwrap();
        pass(peer.as_raw_fd(), b"cd", peer.as_raw_fd());
        File::from(peer.try_clone().unwrap()).write_all(b"ef").unwrap();
        let mut buffer = [0_u8; 6];
        let mut slice = iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
        let mut control = [0_u64; 3];
        let mut message = message(&raw mut slice, 1);
        message.msg_control = control.as_mut_ptr().cast();
        message.msg_controllen = size_of_val(&control) as _;
        let received = said!(libc::recvmsg(socket.as_raw_fd(), &raw mut message, libc::MSG_WAITALL));
        // SAFETY: the call has written the control memory, which has a header and a descriptor.
        let header = unsafe { libc::CMSG_FIRSTHDR(&raw const message) };
        // SAFETY: as above.
        let place = unsafe { libc::CMSG_DATA(header) };
        // SAFETY: as above.
        let passed = unsafe { place.cast::<RawFd>().read() };
        drop(owned(passed.into()));
        (received, message.msg_controllen, message.msg_flags)
    });
}

#[test]
fn nothing_is_written_as_a_message_of_nothing() {
    everywhere(|| {
        let (socket, peer) = pair(libc::SOCK_DGRAM);
        let written = said!(libc::write(socket.as_raw_fd(), null(), 0));
        let mut byte = 0_u8;
        let received = said!(libc::recv(peer.as_raw_fd(), (&raw mut byte).cast(), 1, libc::MSG_DONTWAIT));
        (written, received)
    });
}

fn connect(socket: &OwnedFd, to: &TcpListener) -> Said {
    let address = to.local_addr().unwrap();
    // SAFETY: zeros are an address.
    let mut name: libc::sockaddr_in = unsafe { mem::zeroed() };
    name.sin_family = libc::AF_INET as _;
    name.sin_addr.s_addr = u32::from_ne_bytes([127, 0, 0, 1]);
    name.sin_port = address.port().to_be();
    said!(libc::connect(socket.as_raw_fd(), (&raw const name).cast(), size_of_val(&name) as u32))
}

fn stream() -> OwnedFd {
    owned(said!(libc::socket(libc::AF_INET, libc::SOCK_STREAM, 0)).0)
}

#[test]
fn a_socket_that_was_refused_can_be_connected_after_all() {
    everywhere(|| {
        let (listener, gone) =
            (TcpListener::bind("127.0.0.1:0").unwrap(), TcpListener::bind("127.0.0.1:0").unwrap());
        let socket = stream();
        said!(libc::shutdown(gone.as_raw_fd(), libc::SHUT_RD));
        [
            connect(&socket, &gone),
            connect(&socket, &gone),
            connect(&socket, &listener),
            connect(&socket, &listener),
        ]
    });
}

#[test]
fn a_connect_goes_on_with_what_another_has_begun() {
    everywhere(|| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let socket = stream();
        said!(libc::fcntl(socket.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK));
        let begun = connect(&socket, &listener);
        said!(libc::fcntl(socket.as_raw_fd(), libc::F_SETFL, 0));
        [begun, connect(&socket, &listener), connect(&socket, &listener)]
    });
}

/// Runs `run` with a mutex of this kind that another thread, or another green thread, holds.
fn with_held_mutex<T>(
    kind: c_int,
    isolated: Option<bool>,
    run: impl FnOnce(*mut libc::pthread_mutex_t) -> T,
) -> T {
    // SAFETY: zeros are bytes of both, which are initialised below.
    let (mut attributes, mut mutex): (libc::pthread_mutexattr_t, libc::pthread_mutex_t) =
        unsafe { mem::zeroed() };
    said!(libc::pthread_mutexattr_init(&mut attributes));
    said!(libc::pthread_mutexattr_settype(&mut attributes, kind));
    said!(libc::pthread_mutex_init(&mut mutex, &attributes));
    let place = (&raw mut mutex).expose_provenance();
    let (is_held, is_done) = (AtomicU32::new(0), AtomicU32::new(0));
    let words = [&is_held, &is_done].map(|word| std::ptr::from_ref(word).expose_provenance());
    let hold = move || {
        let [is_held, is_done] = words.map(|word| {
            // SAFETY: they are there until this has ended.
            unsafe { &*std::ptr::with_exposed_provenance::<AtomicU32>(word) }
        });
        assert_eq!(said!(libc::pthread_mutex_lock(with_exposed_provenance_mut(place))).0, 0);
        is_held.store(1, SeqCst);
        while is_done.load(SeqCst) == 0 {
            thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(said!(libc::pthread_mutex_unlock(with_exposed_provenance_mut(place))).0, 0);
    };
    let end: Box<dyn FnOnce()> = match isolated {
        None => {
            let holder = thread::spawn(hold);
            Box::new(|| holder.join().unwrap())
        }
        Some(isolated) => {
            let holder = Builder::new().isolated(isolated).spawn(hold).unwrap();
            Box::new(move || holder.join().unwrap())
        }
    };
    while is_held.load(SeqCst) == 0 {
        thread::sleep(Duration::from_millis(1));
    }
    let value = run(with_exposed_provenance_mut(place));
    is_done.store(1, SeqCst);
    end();
    value
}

unsafe extern "C" {
    fn pthread_mutex_timedlock(mutex: *mut libc::pthread_mutex_t, until: *const timespec) -> c_int;
    fn pthread_mutex_clocklock(
        mutex: *mut libc::pthread_mutex_t,
        clock: libc::clockid_t,
        until: *const timespec,
    ) -> c_int;
}

/// What is said to who asks until a time for a mutex that another one has, and of what is no time.
fn asked_until_a_time(mutex: *mut libc::pthread_mutex_t) -> [Said; 5] {
    let until = |tv_sec, tv_nsec| said!(pthread_mutex_timedlock(mutex, &timespec { tv_sec, tv_nsec }));
    let by = |clock| said!(pthread_mutex_clocklock(mutex, clock, &timespec { tv_sec: 1, tv_nsec: 0 }));
    [until(1, 0), until(1, -1), until(1, 1_000_000_000), by(libc::CLOCK_MONOTONIC), by(77)]
}

#[test]
fn a_mutex_of_any_kind_is_not_got_while_another_has_it() {
    for kind in [libc::PTHREAD_MUTEX_NORMAL, libc::PTHREAD_MUTEX_RECURSIVE, libc::PTHREAD_MUTEX_ERRORCHECK] {
        let ask = move |isolated| move || with_held_mutex(kind, isolated, asked_until_a_time);
        let expected = thread::spawn(ask(None)).join().unwrap();
        for isolated in [false, true] {
            let said =
                patched(move || Builder::new().isolated(isolated).spawn(ask(Some(isolated))).unwrap().join());
            assert_eq!(said.unwrap(), expected, "{kind} {isolated}");
        }
    }
}

#[test]
fn who_has_a_mutex_and_asks_until_a_time_is_told_what_its_kind_has() {
    everywhere(|| {
        [libc::PTHREAD_MUTEX_RECURSIVE, libc::PTHREAD_MUTEX_ERRORCHECK].map(|kind| {
            // SAFETY: zeros are bytes of both, which are initialised below.
            let (mut attributes, mut mutex): (libc::pthread_mutexattr_t, libc::pthread_mutex_t) =
                unsafe { mem::zeroed() };
            said!(libc::pthread_mutexattr_init(&mut attributes));
            said!(libc::pthread_mutexattr_settype(&mut attributes, kind));
            said!(libc::pthread_mutex_init(&mut mutex, &attributes));
            let never = timespec { tv_sec: i64::MAX, tv_nsec: 0 };
            [
                said!(libc::pthread_mutex_lock(&mut mutex)),
                said!(pthread_mutex_timedlock(&mut mutex, &never)),
                said!(pthread_mutex_clocklock(&mut mutex, libc::CLOCK_MONOTONIC, &never)),
                said!(libc::pthread_mutex_unlock(&mut mutex)),
                said!(libc::pthread_mutex_unlock(&mut mutex)),
            ]
        })
    });
}

/// A futex call that wakes by way of two words finds who waits here.
#[test]
fn calls_with_two_words_wake_green_threads() {
    static WORDS: [AtomicU32; 2] = [const { AtomicU32::new(0) }; 2];
    fn futex(word: usize, operation: c_int, value: u32, second: c_long, last: u32) -> i64 {
        let operation = operation | libc::FUTEX_PRIVATE_FLAG;
        said!(libc::syscall(
            libc::SYS_futex,
            WORDS[word].as_ptr(),
            operation,
            value,
            second,
            WORDS[1 - word].as_ptr(),
            last
        ))
        .0
    }
    patched(|| {
        let wait = |word| spawn(move || futex(word, libc::FUTEX_WAIT, 0, 0, 0));
        let waiters = [wait(0), wait(0)];
        yield_now();
        assert_eq!(futex(0, libc::FUTEX_CMP_REQUEUE, 1, 1, 5), -1, "the word is another one");
        assert_eq!(futex(0, libc::FUTEX_CMP_REQUEUE, 1, 1, 0), 2);
        assert_eq!(waiters.map(|waiter| waiter.join().unwrap()), [0, 0]);

        let waiters = [wait(0), wait(1)];
        yield_now();
        // Sets the second word to 0, and wakes there if it was 0.
        assert_eq!(futex(0, libc::FUTEX_WAKE_OP, 1, 1, 0), 2);
        assert_eq!(waiters.map(|waiter| waiter.join().unwrap()), [0, 0]);
    });
}

/// A tracer waits for the stops of its child by the same call as for its end.
#[test]
fn who_traces_a_child_is_told_of_its_stops() {
    patched(|| {
        yields(|| {
            let mut command = Command::new("sh");
            command.args(["-c", "sleep 0.3; kill -USR1 $$; exit 3"]);
            let trace = || match said!(libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0)).0 {
                0 => Ok(()),
                _ => Err(io::Error::last_os_error()),
            };
            // SAFETY: one system call.
            let child = unsafe { command.pre_exec(trace) }.spawn().unwrap().id() as c_int;
            let mut status = 0;
            let mut wait = || {
                assert_eq!(said!(libc::waitpid(child, &mut status, 0)).0, i64::from(child));
                status
            };
            let begun = wait();
            assert!(libc::WIFSTOPPED(begun) && libc::WSTOPSIG(begun) == libc::SIGTRAP);
            let go_on = || assert_eq!(said!(libc::ptrace(libc::PTRACE_CONT, child, 0, 0)).0, 0);
            go_on();
            let mut stopped = wait();
            while libc::WIFSTOPPED(stopped) && libc::WSTOPSIG(stopped) == libc::SIGCHLD {
                go_on();
                stopped = wait();
            }
            assert!(libc::WIFSTOPPED(stopped) && libc::WSTOPSIG(stopped) == libc::SIGUSR1);
            go_on();
            assert_eq!(libc::WEXITSTATUS(wait()), 3);
        });
    });
}

#[test]
fn who_wants_to_know_nothing_of_a_child_waits_for_it_all_the_same() {
    patched(|| {
        yields(|| {
            let child = Command::new("sleep").arg("1").spawn().unwrap().id();
            assert_eq!(said!(libc::waitid(libc::P_PID, child, null_mut(), libc::WEXITED)).0, 0);
        });
    });
}
