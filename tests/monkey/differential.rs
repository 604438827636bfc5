//! The same code on an OS thread without a hub, where calls are the C library's own, and in main and green threads: what it sees is the
//! same, and the others run while it waits.

use std::ffi::CString;
use std::fmt::Debug;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::mem;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::ptr::null_mut;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use greenloop::{Builder, spawn};
use libc::{c_int, c_short, pollfd};

use crate::patched;
use crate::said::Said;

/// How long the others have to run before what is late comes all the same.
const PATIENCE: Duration = Duration::from_secs(10);

/// The others, who run while the code waits.
#[derive(Clone)]
struct Others {
    /// How often they have run; nobody counts without a hub.
    turns: Option<Arc<AtomicU32>>,
    stopped: Arc<AtomicU32>,
}

impl Others {
    /// Does `act` on an OS thread of its own when the others have run, or soon where there are none.
    fn late<T: Send + 'static>(&self, act: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
        let others = self.clone();
        thread::spawn(move || {
            others.wait();
            act()
        })
    }

    fn wait(&self) {
        thread::sleep(Duration::from_millis(5));
        let Some(turns) = &self.turns else { return };
        let (start, before) = (Instant::now(), turns.load(SeqCst));
        while turns.load(SeqCst) < before + 2 {
            if start.elapsed() > PATIENCE {
                self.stopped.fetch_add(1, SeqCst);
                return;
            }
            thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Asserts that `run` returns the same everywhere, and stops nobody else.
fn same_everywhere<T: PartialEq + Debug + Send + 'static>(run: fn(&Others) -> T) {
    let none = Others { turns: None, stopped: Arc::default() };
    let expected = thread::spawn(move || run(&none)).join().unwrap();
    for (place, isolated) in [("main", None), ("green", Some(false)), ("isolated", Some(true))] {
        let (seen, stopped) = patched(move || {
            let turns = Arc::new(AtomicU32::new(0));
            let counter = spawn({
                let turns = turns.clone();
                move || loop {
                    turns.fetch_add(1, SeqCst);
                    greenloop::sleep(Duration::from_millis(1));
                }
            });
            let others = Others { turns: Some(turns), stopped: Arc::default() };
            let stopped = others.stopped.clone();
            let seen = match isolated {
                None => run(&others),
                Some(isolated) => {
                    Builder::new().isolated(isolated).spawn(move || run(&others)).unwrap().join().unwrap()
                }
            };
            counter.kill();
            (seen, stopped.load(SeqCst))
        });
        assert_eq!(seen, expected, "{place}");
        assert_eq!(stopped, 0, "the OS thread was stopped: {place}");
    }
}

fn owned(fd: impl Into<i64>) -> OwnedFd {
    let fd = fd.into();
    assert!(fd >= 0, "{}", io::Error::last_os_error());
    // SAFETY: just made, and nobody else's.
    unsafe { OwnedFd::from_raw_fd(fd as RawFd) }
}

fn pipe() -> (File, File) {
    let (from, to) = io::pipe().unwrap();
    (OwnedFd::from(from).into(), OwnedFd::from(to).into())
}

fn tcp() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let one = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (one, listener.accept().unwrap().0)
}

fn path(name: &str) -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    std::env::temp_dir().join(format!(
        "greenloop-differential-{name}-{}-{}",
        std::process::id(),
        NEXT.fetch_add(1, SeqCst)
    ))
}

fn file_of(contents: &[u8]) -> File {
    let path = path("file");
    fs::write(&path, contents).unwrap();
    let file = OpenOptions::new().read(true).write(true).open(&path).unwrap();
    fs::remove_file(path).unwrap();
    file
}

fn fifo() -> PathBuf {
    let path = path("fifo");
    let name = CString::new(path.to_str().unwrap()).unwrap();
    // SAFETY: a C string.
    assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
    path
}

fn kinds<T>(result: io::Result<T>) -> Result<T, io::ErrorKind> {
    result.map_err(|error| error.kind())
}

fn read(fd: &impl AsRawFd, length: usize) -> (i64, c_int, Vec<u8>) {
    let mut buffer = vec![0_u8; length];
    let (count, errno) = said!(libc::read(fd.as_raw_fd(), buffer.as_mut_ptr().cast(), length));
    buffer.truncate(count.max(0) as usize);
    (count, errno, buffer)
}

/// Both ends of a terminal, that of the program in raw mode with these.
fn terminal(raw: Option<(u8, u8)>) -> (File, File) {
    let (mut master, mut slave) = (0, 0);
    // SAFETY: two places to write to, and null for all else.
    assert_eq!(unsafe { libc::openpty(&mut master, &mut slave, null_mut(), null_mut(), null_mut()) }, 0);
    if let Some((least, tenths)) = raw {
        // SAFETY: zeros are a termios.
        let mut modes: libc::termios = unsafe { mem::zeroed() };
        // SAFETY: an open terminal, and a place to write to.
        assert_eq!(unsafe { libc::tcgetattr(slave, &mut modes) }, 0);
        // SAFETY: as above.
        unsafe { libc::cfmakeraw(&mut modes) };
        modes.c_cc[libc::VMIN] = least;
        modes.c_cc[libc::VTIME] = tenths;
        // SAFETY: as above.
        assert_eq!(unsafe { libc::tcsetattr(slave, libc::TCSANOW, &modes) }, 0);
    }
    (owned(master).into(), owned(slave).into())
}

#[test]
fn a_line_of_a_terminal_is_waited_for() {
    same_everywhere(|others| {
        let (master, slave) = terminal(None);
        let typed = others.late({
            let mut master = master.try_clone().unwrap();
            move || master.write_all(b"half a ").unwrap()
        });
        let rest = others.late({
            let (others, mut master) = (others.clone(), master.try_clone().unwrap());
            move || {
                typed.join().unwrap();
                others.wait();
                master.write_all(b"line\nmore\n\x04").unwrap();
            }
        });
        let first = read(&slave, 100);
        rest.join().unwrap();
        let next = [read(&slave, 2), read(&slave, 100), read(&slave, 100)];
        let echo = read(&master, 100).2;
        drop(slave);
        (first, next, echo, kinds((&master).read(&mut [0; 100])).map(|_| ()).is_ok())
    });
}

#[test]
fn a_terminal_that_hangs_up_ends_a_wait() {
    same_everywhere(|others| {
        let (master, slave) = terminal(None);
        let hang_up = others.late(move || drop(master));
        // EIO for who waits in it, and an end for who comes after it.
        let is_over = [read(&slave, 10).0 <= 0, read(&slave, 10).0 <= 0];
        hang_up.join().unwrap();
        (is_over, said!(libc::write(slave.as_raw_fd(), c"x".as_ptr().cast(), 1)))
    });
}

#[test]
fn a_raw_terminal_gives_what_its_modes_say() {
    same_everywhere(|others| {
        // Nothing, at once; nothing, after a while.
        let (_master, at_once) = terminal(Some((0, 0)));
        let (_other_master, after_a_while) = terminal(Some((0, 2)));
        let nothing = (read(&at_once, 10), read(&after_a_while, 10));
        // As many as are wanted at least.
        let (mut master, several) = terminal(Some((3, 0)));
        let typed = others.late({
            let others = others.clone();
            move || {
                master.write_all(b"a").unwrap();
                others.wait();
                master.write_all(b"bc").unwrap();
                master
            }
        });
        let three = read(&several, 10);
        drop(typed.join().unwrap());
        // What has come when nothing came for a tenth of a second.
        let (mut master, with_pauses) = terminal(Some((5, 1)));
        let typed = others.late(move || {
            master.write_all(b"ab").unwrap();
            master
        });
        let two = read(&with_pauses, 10);
        drop(typed.join().unwrap());
        (nothing, three, two)
    });
}

/// What waits for it on an OS thread is interrupted there.
#[test]
fn a_time_limit_ends_a_wait_for_a_terminal() {
    patched(|| {
        let (_master, several) = terminal(Some((3, 0)));
        let (_other_master, full) = terminal(Some((1, 0)));
        let limit = Duration::from_millis(30);
        let mut errno = [0; 2];
        let limited = [
            greenloop::with_timeout(limit, || errno[0] = read(&several, 10).1).is_err(),
            greenloop::with_timeout(limit, || {
                // Nobody reads it.
                while let (1.., _) = said!(libc::write(full.as_raw_fd(), [b'x'; 4096].as_ptr().cast(), 4096))
                {
                }
                errno[1] = crate::said::errno();
            })
            .is_err(),
        ];
        assert_eq!((limited, errno), ([true; 2], [libc::ETIMEDOUT; 2]));
    });
}

#[test]
fn much_goes_to_a_terminal() {
    same_everywhere(|others| {
        let (mut master, slave) = terminal(Some((1, 0)));
        let reader = others.late(move || {
            let (mut all, mut buffer) = (0, [0; 5000]);
            while let Ok(count @ 1..) = master.read(&mut buffer) {
                all += count;
            }
            all
        });
        let written = (&slave).write_all(&[b'x'; 100_000]).is_ok();
        drop(slave);
        (written, reader.join().unwrap())
    });
}

#[test]
fn an_eventfd_counts() {
    same_everywhere(|others| {
        let mut all = Vec::new();
        for flags in [0, libc::EFD_SEMAPHORE, libc::EFD_NONBLOCK] {
            let event = owned(said!(libc::eventfd(0, flags)).0);
            let add = |value: u64| {
                let fd = event.as_raw_fd();
                said!(libc::write(fd, (&raw const value).cast(), 8))
            };
            let late = others.late({
                let event = event.try_clone().unwrap();
                move || said!(libc::write(event.as_raw_fd(), (&raw const VALUE).cast(), 8))
            });
            if flags & libc::EFD_NONBLOCK != 0 {
                late.join().unwrap();
                all.push(read(&event, 8));
            } else {
                all.push(read(&event, 8));
                late.join().unwrap();
            }
            // Too short, which not every kernel says at once of an empty one.
            add(1);
            all.push(read(&event, 4));
            let (count, errno) = add(u64::MAX);
            all.push((count, errno, Vec::new()));
        }
        all
    });
    static VALUE: u64 = 3;
}

#[test]
fn a_full_eventfd_is_waited_for() {
    same_everywhere(|others| {
        let event = owned(said!(libc::eventfd(0, 0)).0);
        let add = |value: u64| said!(libc::write(event.as_raw_fd(), (&raw const value).cast(), 8));
        let first = add(u64::MAX - 5);
        let drained = others.late({
            let event = event.try_clone().unwrap();
            move || read(&event, 8)
        });
        // There is room for one, and so it is said to be writable.
        (first, add(100), drained.join().unwrap(), read(&event, 8))
    });
}

#[test]
fn a_timer_rings() {
    same_everywhere(|_| {
        let timer = owned(said!(libc::timerfd_create(libc::CLOCK_MONOTONIC, 0)).0);
        let time = |milliseconds: i64| libc::timespec { tv_sec: 0, tv_nsec: milliseconds * 1_000_000 };
        let setting = libc::itimerspec { it_interval: time(0), it_value: time(30) };
        let set = said!(libc::timerfd_settime(timer.as_raw_fd(), 0, &setting, null_mut()));
        let short = read(&timer, 4);
        (set, short, read(&timer, 8))
    });
}

#[test]
fn a_signal_comes_by_a_descriptor() {
    same_everywhere(|others| {
        // SAFETY: zeros are a set.
        let mut set: libc::sigset_t = unsafe { mem::zeroed() };
        said!(libc::sigaddset(&mut set, libc::SIGUSR2));
        said!(libc::pthread_sigmask(libc::SIG_BLOCK, &set, null_mut()));
        let signals = owned(said!(libc::signalfd(-1, &set, 0)).0);
        // SAFETY: takes nothing.
        let thread = unsafe { libc::gettid() };
        let sender = others
            .late(move || said!(libc::syscall(libc::SYS_tgkill, libc::getpid(), thread, libc::SIGUSR2)));
        let come = read(&signals, 128);
        (come.0, come.1, come.2[..4].to_vec(), sender.join().unwrap().0)
    });
}

#[test]
fn a_change_of_a_folder_is_told() {
    same_everywhere(|others| {
        let folder = path("folder");
        fs::create_dir(&folder).unwrap();
        let watch = owned(said!(libc::inotify_init1(0)).0);
        let name = CString::new(folder.to_str().unwrap()).unwrap();
        said!(libc::inotify_add_watch(watch.as_raw_fd(), name.as_ptr(), libc::IN_CREATE));
        let made = others.late({
            let file = folder.join("made");
            move || drop(File::create(file).unwrap())
        });
        let told = read(&watch, 1000);
        made.join().unwrap();
        let short = {
            drop(File::create(folder.join("another")).unwrap());
            read(&watch, 4)
        };
        fs::remove_dir_all(folder).unwrap();
        (told, short)
    });
}

fn add_to(set: &OwnedFd, fd: RawFd, events: c_int, data: u64) {
    let mut event = libc::epoll_event { events: events as u32, u64: data };
    assert_eq!(said!(libc::epoll_ctl(set.as_raw_fd(), libc::EPOLL_CTL_ADD, fd, &mut event)).0, 0);
}

/// What a wait of at most that long finds.
fn wait_in(set: &OwnedFd, room: c_int, timeout: c_int) -> (i64, c_int, Vec<(u32, u64)>) {
    let mut events = vec![libc::epoll_event { events: 0, u64: 0 }; 16];
    let (count, errno) = said!(libc::epoll_wait(set.as_raw_fd(), events.as_mut_ptr(), room, timeout));
    events.truncate(count.max(0) as usize);
    (count, errno, events.iter().map(|event| (event.events, event.u64)).collect())
}

#[test]
fn sets_in_sets_are_waited_for() {
    same_everywhere(|others| {
        let set = || owned(said!(libc::epoll_create1(0)).0);
        let (inner, middle, outer) = (set(), set(), set());
        let (from, to) = pipe();
        add_to(&inner, from.as_raw_fd(), libc::EPOLLIN | libc::EPOLLONESHOT, 1);
        add_to(&middle, inner.as_raw_fd(), libc::EPOLLIN, 2);
        add_to(&outer, middle.as_raw_fd(), libc::EPOLLIN | libc::EPOLLET, 3);
        let write = |text: &'static [u8]| {
            let mut to = to.try_clone().unwrap();
            others.late(move || to.write_all(text).unwrap())
        };
        let mut seen = Vec::new();
        let written = write(b"a");
        seen.push(wait_in(&outer, 16, -1));
        written.join().unwrap();
        seen.push(wait_in(&outer, 16, 10));
        seen.push(wait_in(&middle, 16, -1));
        seen.push(wait_in(&inner, 16, -1));
        seen.push(wait_in(&inner, 16, 10));
        seen.push(wait_in(&middle, 16, 10));
        let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: 4 };
        let again =
            said!(libc::epoll_ctl(inner.as_raw_fd(), libc::EPOLL_CTL_MOD, from.as_raw_fd(), &mut event));
        seen.push(wait_in(&outer, 16, -1));
        seen.push(wait_in(&inner, 1, -1));
        let mut asked = pollfd { fd: outer.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        let polled = said!(libc::poll(&mut asked, 1, 20));
        let odd = [
            said!(libc::epoll_wait(inner.as_raw_fd(), null_mut(), 0, -1)),
            said!(libc::epoll_wait(inner.as_raw_fd(), null_mut(), -1, -1)),
            said!(libc::epoll_wait(from.as_raw_fd(), null_mut(), 1, -1)),
            said!(libc::epoll_wait(-1, null_mut(), 1, -1)),
            said!(libc::epoll_wait(inner.as_raw_fd(), null_mut(), 1, -1)),
        ];
        (seen, again, polled, asked.revents, odd)
    });
}

#[test]
fn a_poll_of_many_kinds_says_of_each_what_it_is() {
    same_everywhere(|others| {
        let (from, to) = pipe();
        let (gone_from, gone_to) = pipe();
        drop(gone_from);
        let (one, other) = tcp();
        let (near, far) = UnixStream::pair().unwrap();
        let file = file_of(b"text");
        let event = owned(said!(libc::eventfd(0, 0)).0);
        let asked = |fd: RawFd, events: c_short| pollfd { fd, events, revents: 77 };
        let all = libc::POLLIN | libc::POLLOUT | libc::POLLPRI | libc::POLLRDHUP;
        let mut set = [
            asked(-1, all),
            asked(1_000_000, all),
            asked(from.as_raw_fd(), libc::POLLIN),
            asked(from.as_raw_fd(), libc::POLLIN),
            asked(to.as_raw_fd(), 0),
            asked(gone_to.as_raw_fd(), 0),
            asked(one.as_raw_fd(), all),
            asked(near.as_raw_fd(), libc::POLLIN | libc::POLLRDHUP),
            asked(file.as_raw_fd(), all),
            asked(event.as_raw_fd(), all),
        ];
        let mut seen = Vec::new();
        let mut poll = |set: &mut [pollfd], timeout: c_int| {
            let said = said!(libc::poll(set.as_mut_ptr(), set.len() as _, timeout));
            seen.push((said, set.iter().map(|asked| asked.revents).collect::<Vec<_>>()));
        };
        poll(&mut set, -1);
        // One after another becomes ready.
        let mut quiet = [
            asked(-7, all),
            asked(from.as_raw_fd(), libc::POLLIN),
            asked(near.as_raw_fd(), libc::POLLRDHUP),
            asked(one.as_raw_fd(), libc::POLLPRI),
            asked(event.as_raw_fd(), libc::POLLIN),
            asked(from.as_raw_fd(), libc::POLLOUT),
        ];
        poll(&mut quiet, 20);
        let urgent = others.late(move || {
            said!(libc::send(other.as_raw_fd(), c"!".as_ptr().cast(), 1, libc::MSG_OOB));
            other
        });
        poll(&mut quiet, -1);
        let _other = urgent.join().unwrap();
        let late = others.late(move || drop(far));
        poll(&mut quiet[..3], -1);
        late.join().unwrap();
        let late = others.late(move || drop(to));
        poll(&mut quiet[..2], -1);
        late.join().unwrap();
        // Only its end is waited for.
        let (near, far) = UnixStream::pair().unwrap();
        let late = others.late(move || drop(far));
        poll(&mut [asked(near.as_raw_fd(), 0)], -1);
        late.join().unwrap();
        poll(&mut [], 10);
        seen
    });
}

#[test]
fn a_select_of_odd_sets() {
    same_everywhere(|others| {
        let (from, mut to) = pipe();
        let (one, other) = tcp();
        let set = |fds: &[RawFd]| {
            // SAFETY: zeros are a set.
            let mut set: libc::fd_set = unsafe { mem::zeroed() };
            for fd in fds {
                // SAFETY: a set, and a number below its size.
                unsafe { libc::FD_SET(*fd, &mut set) };
            }
            set
        };
        let members = |set: &libc::fd_set| -> Vec<bool> {
            [from.as_raw_fd(), one.as_raw_fd()]
                .iter()
                .map(|fd| said!(libc::FD_ISSET(*fd, set)).0 != 0)
                .collect()
        };
        let time = |microseconds| libc::timeval { tv_sec: 0, tv_usec: microseconds };
        let most = from.as_raw_fd().max(one.as_raw_fd()) + 1;
        let mut seen = Vec::new();
        // Urgent data only.
        let urgent = others.late(move || {
            said!(libc::send(other.as_raw_fd(), c"!".as_ptr().cast(), 1, libc::MSG_OOB));
            other
        });
        let (mut readable, mut exceptional) = (set(&[from.as_raw_fd()]), set(&[one.as_raw_fd()]));
        seen.push(said!(libc::select(most, &mut readable, null_mut(), &mut exceptional, null_mut())));
        let _other = urgent.join().unwrap();
        let first = (members(&readable), members(&exceptional));
        // No more is looked at than the number says.
        let late = others.late(move || {
            to.write_all(b"x").unwrap();
            to
        });
        let mut readable = set(&[from.as_raw_fd(), 900]);
        seen.push(said!(libc::select(most, &mut readable, null_mut(), null_mut(), null_mut())));
        let _to = late.join().unwrap();
        let second = members(&readable);
        let mut left = time(20_000);
        seen.push(said!(libc::select(0, null_mut(), null_mut(), null_mut(), &mut left)));
        let mut negative = time(-1);
        seen.push(said!(libc::select(0, null_mut(), null_mut(), null_mut(), &mut negative)));
        seen.push(said!(libc::select(-1, null_mut(), null_mut(), null_mut(), null_mut())));
        (seen, first, second, left.tv_sec, left.tv_usec)
    });
}

#[test]
fn what_is_moved_within_the_kernel_is_waited_for() {
    same_everywhere(|others| {
        let mut seen = Vec::new();
        let text = b"ten bytes!";
        // From a pipe that is empty to one that is not read.
        let ((from, to), (next_from, next_to)) = (pipe(), pipe());
        let late = others.late({
            let mut to = to.try_clone().unwrap();
            move || to.write_all(text).unwrap()
        });
        seen.push(said!(libc::tee(from.as_raw_fd(), next_to.as_raw_fd(), 100, 0)));
        late.join().unwrap();
        seen.push(said!(libc::splice(from.as_raw_fd(), null_mut(), next_to.as_raw_fd(), null_mut(), 4, 0)));
        let both = (read(&from, 100), read(&next_from, 100));
        // A full pipe takes no more.
        let capacity = said!(libc::fcntl(next_to.as_raw_fd(), libc::F_SETPIPE_SZ, 4096)).0 as usize;
        (&next_to).write_all(&vec![1; capacity]).unwrap();
        (&to).write_all(text).unwrap();
        let drained = others.late({
            let next_from = next_from.try_clone().unwrap();
            move || read(&next_from, 5000).0
        });
        seen.push(said!(libc::tee(from.as_raw_fd(), next_to.as_raw_fd(), 100, 0)));
        seen.push((drained.join().unwrap(), 0));
        (&next_to).write_all(&vec![1; capacity - 4096]).unwrap();
        let memory = vec![7_u8; 6000];
        let drained = others.late({
            let next_from = next_from.try_clone().unwrap();
            move || {
                let mut all = 0;
                while all < text.len() + 6000 {
                    all += read(&next_from, 5000).0 as usize;
                }
                all
            }
        });
        let slice = libc::iovec { iov_base: memory.as_ptr().cast_mut().cast(), iov_len: memory.len() };
        let mut given = 0;
        while given < memory.len() {
            let rest = libc::iovec {
                iov_base: slice.iov_base.wrapping_byte_add(given),
                iov_len: slice.iov_len - given,
            };
            given += said!(libc::vmsplice(next_to.as_raw_fd(), &rest, 1, 0)).0 as usize;
        }
        seen.push((drained.join().unwrap() as i64, 0));
        drop(to);
        seen.push(said!(libc::tee(from.as_raw_fd(), next_to.as_raw_fd(), 100, 0)));
        seen.push((read(&next_from, 100).0, 0));
        let rest = read(&from, 100);
        seen.push(said!(libc::tee(from.as_raw_fd(), next_to.as_raw_fd(), 100, 0)));
        seen.push(said!(libc::tee(from.as_raw_fd(), from.as_raw_fd(), 100, 0)));
        seen.push(said!(libc::tee(-1, next_to.as_raw_fd(), 100, 0)));
        seen.push(said!(libc::tee(from.as_raw_fd(), next_to.as_raw_fd(), 100, libc::SPLICE_F_NONBLOCK)));
        (seen, both, rest)
    });
}

#[test]
fn a_file_is_sent_to_whatever_there_is() {
    same_everywhere(|others| {
        let contents: Vec<u8> = (0..200_000_u32).map(|number| number as u8).collect();
        let file = file_of(&contents);
        let mut seen = Vec::new();
        let mut offset = 5;
        // Datagrams.
        let (one, other) = UnixDatagram::pair().unwrap();
        seen.push(said!(libc::sendfile(one.as_raw_fd(), file.as_raw_fd(), &mut offset, 100)));
        let message = read(&other, 1000);
        let (udp, receiver) =
            (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
        udp.connect(receiver.local_addr().unwrap()).unwrap();
        seen.push(said!(libc::sendfile(udp.as_raw_fd(), file.as_raw_fd(), &mut offset, 1000)));
        let datagram = read(&receiver, 70_000);
        // A stream whose reader is late, from where the file stands.
        let (mut one, other) = tcp();
        let received = others.late(move || {
            let mut all = Vec::new();
            one.read_to_end(&mut all).unwrap();
            all
        });
        seen.push(said!(libc::sendfile(other.as_raw_fd(), file.as_raw_fd(), null_mut(), 1_000_000)));
        seen.push(said!(libc::lseek(file.as_raw_fd(), 0, libc::SEEK_CUR)));
        seen.push(said!(libc::sendfile(other.as_raw_fd(), file.as_raw_fd(), null_mut(), 1_000_000)));
        drop(other);
        let is_whole = received.join().unwrap() == contents;
        // A pipe whose reader is late; a file; a socket that has no peer; numbers that are not open.
        let (mut from, to) = pipe();
        offset = 0;
        let received = others.late(move || {
            let mut all = Vec::new();
            from.read_to_end(&mut all).unwrap();
            all.len()
        });
        let mut gone = 0;
        while gone < 150_000 {
            gone += said!(libc::sendfile(to.as_raw_fd(), file.as_raw_fd(), &mut offset, 150_000 - gone)).0
                as usize;
        }
        drop(to);
        let piped = received.join().unwrap();
        let target = file_of(b"");
        seen.push(said!(libc::sendfile(target.as_raw_fd(), file.as_raw_fd(), &mut offset, 100)));
        let unconnected = owned(said!(libc::socket(libc::AF_UNIX, libc::SOCK_DGRAM, 0)).0);
        seen.push(said!(libc::sendfile(unconnected.as_raw_fd(), file.as_raw_fd(), &mut offset, 100)));
        seen.push(said!(libc::sendfile(-1, file.as_raw_fd(), &mut offset, 100)));
        seen.push(said!(libc::sendfile(unconnected.as_raw_fd(), -1, &mut offset, 100)));
        let mut negative = -5;
        let (connected, _peer) = tcp();
        seen.push(said!(libc::sendfile(connected.as_raw_fd(), file.as_raw_fd(), &mut negative, 100)));
        let mut behind = 1_000_000;
        seen.push(said!(libc::sendfile(connected.as_raw_fd(), file.as_raw_fd(), &mut behind, 100)));
        (seen, offset, negative, behind, message, datagram, is_whole, gone, piped)
    });
}

#[test]
fn several_messages_come_one_after_another() {
    same_everywhere(|others| {
        let mut seen = Vec::new();
        for flags in [
            0,
            libc::MSG_WAITFORONE,
            libc::MSG_DONTWAIT,
            libc::MSG_WAITFORONE | libc::MSG_PEEK,
            libc::MSG_TRUNC,
        ] {
            let (one, other) = UnixDatagram::pair().unwrap();
            let send_late = || {
                let other = other.try_clone().unwrap();
                let others_too = others.clone();
                others.late(move || {
                    for text in ["first", "a longer second one", ""] {
                        other.send(text.as_bytes()).unwrap();
                        if others_too.turns.is_none() || text.is_empty() {
                            continue;
                        }
                    }
                })
            };
            let late = send_late();
            if flags & libc::MSG_DONTWAIT != 0 || flags & libc::MSG_WAITFORONE != 0 {
                late.join().unwrap();
                receive_several(&one, 3, flags, &mut seen);
            } else {
                receive_several(&one, 3, flags, &mut seen);
                late.join().unwrap();
            }
            receive_several(&one, 0, flags, &mut seen);
            receive_several(&one, 2, flags | libc::MSG_DONTWAIT, &mut seen);
        }
        seen
    });
}

type Messages = (i64, c_int, Vec<(u32, c_int, Vec<u8>)>);

fn receive_several(from: &impl AsRawFd, count: usize, flags: c_int, seen: &mut Vec<Messages>) {
    let mut buffers = vec![[0_u8; 8]; count];
    let mut slices: Vec<_> = buffers
        .iter_mut()
        .map(|buffer| libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() })
        .collect();
    let mut messages: Vec<libc::mmsghdr> = slices
        .iter_mut()
        .map(|slice| {
            // SAFETY: zeros are a message of nothing.
            let mut message: libc::mmsghdr = unsafe { mem::zeroed() };
            message.msg_hdr.msg_iov = slice;
            message.msg_hdr.msg_iovlen = 1;
            message
        })
        .collect();
    let (come, errno) =
        said!(libc::recvmmsg(from.as_raw_fd(), messages.as_mut_ptr(), count as _, flags as _, null_mut()));
    let messages = messages.iter().take(come.max(0) as usize).zip(&buffers);
    let told = messages.map(|(message, buffer)| {
        let length = (message.msg_len as usize).min(8);
        (message.msg_len, message.msg_hdr.msg_flags, buffer[..length].to_vec())
    });
    seen.push((come, errno, told.collect()));
}

#[test]
fn named_pipes_are_files() {
    same_everywhere(|others| {
        let path = fifo();
        let mut seen = Vec::new();
        let written = others.late({
            let (path, others) = (path.clone(), others.clone());
            move || {
                let mut to = File::options().write(true).open(path).unwrap();
                others.wait();
                to.write_all(b"by name").unwrap();
            }
        });
        seen.push(kinds(fs::read(&path)));
        written.join().unwrap();
        let read = others.late({
            let path = path.clone();
            move || fs::read(path).unwrap().len()
        });
        seen.push(kinds(fs::write(&path, vec![7; 200_000])).map(|()| Vec::new()));
        let length = read.join().unwrap();
        // A copy from it, by the kernel where that can.
        let target = path.with_extension("copy");
        let written = others.late({
            let path = path.clone();
            move || fs::write(path, vec![8; 100_000]).is_ok()
        });
        let copied = (kinds(fs::copy(&path, &target)), written.join().unwrap());
        let both = File::options().read(true).write(true).open(&path).is_ok();
        let name = CString::new(path.to_str().unwrap()).unwrap();
        let none = said!(libc::open(name.as_ptr(), libc::O_WRONLY | libc::O_NONBLOCK));
        let copy = fs::read(&target).map(|all| all.len()).unwrap_or(0);
        let _ = fs::remove_file(target);
        fs::remove_file(path).unwrap();
        (seen, length, copied, copy, both, none)
    });
}

#[test]
fn readers_of_numbers_go_on_after_copies() {
    same_everywhere(|others| {
        let (mut from, to) = pipe();
        let (mut one, other) = tcp();
        let late = others.late({
            let others = others.clone();
            move || {
                let mut to = to;
                to.write_all(&[1; 70_000]).unwrap();
                others.wait();
                to.write_all(&[2; 70_000]).unwrap();
            }
        });
        let received = thread::spawn(move || {
            let mut all = Vec::new();
            one.read_to_end(&mut all).unwrap();
            all.len()
        });
        let copied = kinds(io::copy(&mut from, &mut &other));
        drop(other);
        late.join().unwrap();
        let positioned = [
            said!(libc::pread(from.as_raw_fd(), [0_u8; 4].as_mut_ptr().cast(), 4, 0)),
            said!(libc::preadv2(from.as_raw_fd(), std::ptr::null(), 0, -1, 0)),
        ];
        (copied, received.join().unwrap(), positioned)
    });
}

#[test]
fn commands_in_all_forms() {
    same_everywhere(|_| {
        let shell = |script: &str| {
            let mut command = Command::new("sh");
            command.args(["-c", script]).stdin(Stdio::null());
            command
        };
        let mut seen = Vec::new();
        let output = shell("yes | head -c 300000; yes no | head -c 300000 >&2; exit 3").output().unwrap();
        seen.push(format!("{} {} {}", output.status, output.stdout.len(), output.stderr.len()));
        // Much both ways at once.
        let mut child =
            shell("cat; sleep 0.02; exit 4").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let writer = thread::spawn(move || stdin.write_all(&[b'x'; 500_000]).is_ok());
        let output = child.wait_with_output().unwrap();
        seen.push(format!("{} {} {}", output.status, output.stdout.len(), writer.join().unwrap()));
        let mut child = shell("sleep 60").spawn().unwrap();
        seen.push(format!("{:?}", child.try_wait().unwrap()));
        child.kill().unwrap();
        seen.push(format!("{} {:?}", child.wait().unwrap(), child.wait().map(|status| status.to_string())));
        seen.push(format!("{:?}", Command::new("/nowhere/at-all").output().map_err(|error| error.kind())));
        seen.push(format!(
            "{:?}",
            shell("true").current_dir("/nowhere").status().map_err(|error| error.kind())
        ));
        let mut refused = shell("true");
        // SAFETY: it only makes an error of a number.
        unsafe { refused.pre_exec(|| Err(io::Error::from_raw_os_error(libc::EDOM))) };
        seen.push(format!("{:?}", refused.status().map_err(|error| error.raw_os_error())));
        let mut prepared = shell("sleep 0.02; exit 5");
        // SAFETY: it does nothing.
        unsafe { prepared.pre_exec(|| Ok(())) };
        prepared.process_group(0);
        seen.push(format!("{}", prepared.status().unwrap()));
        let output = shell("kill -9 $$").env_clear().output().unwrap();
        seen.push(format!("{}", output.status));
        seen.push(format!(
            "{:?}",
            kinds(
                shell("exec 1>&-; sleep 0.02; exit 6")
                    .stdout(Stdio::piped())
                    .status()
                    .map(|status| status.code())
            )
        ));
        seen
    });
}

#[test]
fn streams_of_c() {
    same_everywhere(|_| {
        let mut seen = Vec::new();
        let from =
            stream(said!(libc::popen(c"sleep 0.02; echo one; echo two; exit 7".as_ptr(), c"r".as_ptr())));
        let mut line = [0; 100];
        while said!(libc::fgets(line.as_mut_ptr(), 100, from)).0 != 0 {
            seen.push(i64::from(line[0]));
        }
        seen.push(said!(libc::pclose(from)).0);
        let to = stream(said!(libc::popen(c"cat >/dev/null; sleep 0.02; exit 8".as_ptr(), c"w".as_ptr())));
        seen.push(said!(libc::fprintf(to, c"%d %s %.3f\n".as_ptr(), 42, c"text".as_ptr(), 1.5_f64)).0);
        seen.push(said!(libc::pclose(to)).0);
        seen.push(said!(libc::system(std::ptr::null())).0);
        for command in [c"sleep 0.02; exit 9", c"kill -9 $$", c"/nowhere/at-all 2>/dev/null"] {
            seen.push(said!(libc::system(command.as_ptr())).0);
        }
        let (from, to) = pipe();
        let to = stream(said!(libc::fdopen(OwnedFd::from(to).into_raw_fd(), c"w".as_ptr())));
        seen.push(said!(libc::fputs(c"buffered".as_ptr(), to)).0);
        seen.push(said!(libc::fclose(to)).0);
        seen.push(read(&from, 100).0);
        seen
    });
}

fn stream((address, _): Said) -> *mut libc::FILE {
    std::ptr::with_exposed_provenance_mut(address as usize)
}
