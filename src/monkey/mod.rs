//! Unmodified blocking code, made cooperative in one line.
//!
//! After [`patch_all`], std's sockets, sleeps, child processes, name lookups and locks yield to the hub instead of stopping the OS
//! thread, and so do the blocking crates that are built on them, and C libraries. This is gevent's `monkey.patch_all`.
//!
//! ```
//! use std::time::{Duration, Instant};
//!
//! greenloop::monkey::patch_all();
//! let start = Instant::now();
//! let sleepers: Vec<_> =
//!     (0..50).map(|_| greenloop::spawn(|| std::thread::sleep(Duration::from_millis(100)))).collect();
//! greenloop::joinall(&sleepers);
//! assert!(start.elapsed() < Duration::from_secs(2)); // and not 5 seconds
//! ```
//!
//! # How
//!
//! With the cargo feature `monkey` this crate defines functions with the names of the C library's: `recv`, `poll` and so on. The linker
//! binds the program to these, and shared libraries too. Until its part is patched, and on an OS thread that has no hub, each function
//! does what the C library's own does. A patched function tries the call without waiting. If the call would have to wait, the green
//! thread parks until the kernel reports the descriptor as ready.
//!
//! The order of imports does not matter: a patch is one flag that each call reads.
//!
//! # What is covered
//!
//! | part | functions | so in std |
//! |---|---|---|
//! | [`TIME`](Parts::TIME) | `nanosleep`, `clock_nanosleep`, `sleep`, `usleep`, `sched_yield` | `thread::sleep`, `yield_now` |
//! | [`TIME`](Parts::TIME), in a [world of a test](crate::testing) | `clock_gettime`, `gettimeofday`, `time` | `Instant::now`, `SystemTime::now` |
//! | [`SOCKET`](Parts::SOCKET) | `connect`, `accept`, `accept4`, `recv`, `recvfrom`, `recvmsg`, `recvmmsg`, `send`, `sendto`, `sendmsg`, `sendmmsg`, `sendfile`, `sendfile64`, `splice`, `tee`, `vmsplice`; `read`, `readv`, `write`, `writev`; `tcdrain` | `net`, Unix sockets, pipes, standard input |
//! | [`SELECT`](Parts::SELECT) | `poll`, `ppoll`, `select`, `pselect`, `epoll_wait`, `epoll_pwait` | `TcpStream::connect_timeout`, `Command::output` |
//! | [`DNS`](Parts::DNS) | `getaddrinfo`, `getnameinfo`, `gethostbyname`, `gethostbyname2`, `gethostbyaddr`, `gethostbyname_r`, `gethostbyname2_r`, `gethostbyaddr_r`, on another OS thread | `ToSocketAddrs`, `connect` to a name |
//! | [`PROCESS`](Parts::PROCESS) | `wait`, `wait3`, `wait4`, `waitpid`, `waitid`; `sigwait`, `sigwaitinfo`, `sigtimedwait`, `pause` | `Child::wait`, `Command::status` |
//! | [`FILES`](Parts::FILES) | `flock`, `lockf`, `lockf64`, and the locks of `fcntl` and `fcntl64`; a named pipe's `open`, `open64`, `openat`, `openat64`, on another OS thread; `pread`, `pread64`, `preadv`, `preadv64`, `copy_file_range`, `fsync`, `fdatasync`, `msync`, with `SOCKET` also `read`, `readv`, `write` and `writev` on regular files, and with `THREADS`, for isolated green threads, `pwrite`, `pwrite64`, `pwritev` and `pwritev64`: what would wait for the disk is done by another OS thread | `File`, `fs::read`, `fs::copy`, `FileExt::read_at`, `File::sync_all`, `File::lock` |
//! | [`THREADS`](Parts::THREADS) | the futex calls of `syscall`; `pthread_join`, and with a time limit `pthread_timedjoin_np` and `pthread_clockjoin_np`; `pthread_mutex_lock`, `pthread_mutex_trylock`, `pthread_mutex_timedlock`, `pthread_mutex_clocklock`, `pthread_mutex_unlock`; `pthread_cond_wait`, `pthread_cond_timedwait`, `pthread_cond_clockwait`, `pthread_cond_signal`, `pthread_cond_broadcast`; `pthread_rwlock_rdlock`, `pthread_rwlock_timedrdlock`, `pthread_rwlock_clockrdlock`, `pthread_rwlock_wrlock`, `pthread_rwlock_timedwrlock`, `pthread_rwlock_clockwrlock`, `pthread_rwlock_unlock`; `pthread_once`; `sem_wait`, `sem_timedwait`, `sem_clockwait`, `sem_post`; `pthread_barrier_wait`, which takes an OS thread for each that waits | `Mutex`, `RwLock`, `Condvar`, `Once`, `Barrier`, `park`, `JoinHandle::join` |
//! | [`THREAD_LOCALS`](Parts::THREAD_LOCALS) | none: see [isolation](#isolation) | `thread_local!` |
//! | [`SPAWN`](Parts::SPAWN), not in `ALL` | `pthread_create`: see [threads as green threads](#threads-as-green-threads) | `thread::spawn`, `thread::scope`, `thread::Builder` |
//! | any, for what `SPAWN` has made | `pthread_tryjoin_np`, `pthread_timedjoin_np`, `pthread_clockjoin_np`, `pthread_detach`, `pthread_exit`, `pthread_cancel`, `pthread_kill`, `pthread_setname_np`, `pthread_getname_np`, `pthread_getattr_np` | `JoinHandle` |
//! | any | `close`, `dup2`, `dup3`: green threads of this hub that wait for the descriptor get EBADF | dropping a socket |
//! | none, in a [world of a test](crate::testing) | `getrandom`, `getentropy`, and `SYS_getrandom` of `syscall`: the bytes are those of a seed | `HashMap`'s order |
//! | none | `pthread_key_create`, `pthread_key_delete`, `tss_create`, `tss_delete`: what is to be destroyed with an isolated green thread is noted from the beginning on | |
//! | none | `sigaction`, `__sigaction`, `signal`, `bsd_signal`, `ssignal`, `sysv_signal`, `__sysv_signal`, `sigset`, `vfork`: what runs in the midst of something is known as such | |
//!
//! With `_FORTIFY_SOURCE`, C code calls some of these by other names, which are covered too: `__read_chk`, `__pread_chk`, `__pread64_chk`,
//! `__recv_chk`, `__recvfrom_chk`, `__poll_chk`, `__ppoll_chk`, `__open_2`, `__open64_2`, `__openat_2`, `__openat64_2`.
//!
//! # Isolation
//!
//! After [`patch_all`] each green thread that is spawned has thread-local variables of its own, whoever declared them, in Rust, C or C++:
//! they begin as those of an OS thread do, and are destroyed when the green thread ends. So what keeps something per thread keeps it per
//! green thread: a runtime ([`block_on`](https://docs.rs/tokio), the crate postgres), the queue of a lock (parking_lot, std's `mpsc`), the
//! span or the context of a log, an error that is asked for later (OpenSSL's, `errno`), a C++ exception that is being handled. This is
//! gevent's patched `threading.local`, and the part is [`Parts::THREAD_LOCALS`].
//!
//! ```
//! use std::cell::RefCell;
//! use std::time::Duration;
//!
//! thread_local! {
//!     static CONTEXT: RefCell<Vec<u32>> = const { RefCell::new(Vec::new()) };
//! }
//!
//! greenloop::monkey::patch_all();
//! let tasks = (0..3).map(|number| {
//!     greenloop::spawn(move || {
//!         CONTEXT.with_borrow_mut(|context| {
//!             context.push(number); // borrowed across the sleep: the others have their own
//!             std::thread::sleep(Duration::from_millis(1));
//!         });
//!         CONTEXT.take()
//!     })
//! });
//! let contexts: Vec<_> = tasks.collect::<Vec<_>>().into_iter().map(|task| task.join().unwrap()).collect();
//! assert_eq!(contexts, [[0], [1], [2]]);
//! ```
//!
//! It costs half a microsecond for each green thread, and 9 KiB for each of those that live at once; a million that are parked take
//! 9 GB more. Without it, green threads share the variables of their hub's thread: `patch(Parts::ALL - Parts::THREAD_LOCALS)` for all, and
//! [`Builder::isolated`](crate::Builder::isolated) for one, which also tells the rules. Main's variables are the OS thread's: it waits as the
//! others do, for rayon or a lock of parking_lot, as long as nobody shares them. Where isolation does not work, the report says so, all else
//! is patched, and green threads share their variables.
//!
//! What shares them: several waiters of parking_lot's locks, or std's `mpsc` between two green threads of one hub, stop the OS thread,
//! which is reported to the [hook for what nobody can receive](crate::hub::set_uncaught_hook) after a second; and postgres panics. Three
//! thread-local variables of std itself are each green thread's own in any case: its handle, its id and whether it panics. So
//! `std::thread::park` works; [`Coverage::has_identities`] returns `false` if it does not.
//!
//! # Threads as green threads
//!
//! With [`Parts::SPAWN`], which `patch_all` leaves alone, a thread that is made on an OS thread with a hub, such as the one that has called
//! [`patch`], is a green thread of that hub, with thread-local variables of its own: std's, C's and C++'s. So a server that makes a thread
//! for each connection, such as tiny_http, holds ten thousand of them on one OS thread, unmodified. Where there is no
//! [isolation](self#isolation), it patches [`THREADS`](Parts::THREADS) alone.
//! This is gevent's patched `threading.Thread`.
//!
//! ```
//! use std::thread;
//! use std::time::Duration;
//!
//! use greenloop::monkey::{Parts, patch};
//!
//! patch(Parts::ALL | Parts::SPAWN); // from here on this OS thread has a hub
//! let threads: Vec<_> = (0..1000)
//!     .map(|number| {
//!         thread::spawn(move || {
//!             thread::sleep(Duration::from_millis(1));
//!             number
//!         })
//!     })
//!     .collect();
//! assert_eq!(threads.into_iter().map(|thread| thread.join().unwrap()).sum::<u32>(), 499_500);
//! ```
//!
//! It begins when its maker waits, and runs while nobody else of the hub does: what only computes, or waits in a loop without a call for
//! what a thread is to do, keeps all others from running. It ends with the OS thread of its hub, not with the process: join it before.
//!
//! | | |
//! |---|---|
//! | made on an OS thread without a hub, in a [hub callback](crate::hub#callbacks) or in the handler of a signal | an OS thread |
//! | attributes with processors, a scheduling class, a signal mask, or memory for the stack | an OS thread |
//! | made by `thrd_create`, by the C library itself, or by this crate | an OS thread |
//! | attributes with the size of the stack, or detached | as asked for; EAGAIN beyond 1 GiB |
//! | `pthread_join` and its siblings, `pthread_detach` | as in the C library, EDEADLK, EINVAL, EBUSY and ETIMEDOUT included. Nothing interrupts a join |
//! | a panic, a return, `pthread_exit` with its handlers | as in an OS thread; destructors of thread-local variables may wait, and come before the end of a join |
//! | `pthread_setname_np`, `pthread_getname_np` | its own name, which reports tell too. The OS thread keeps its own |
//! | `pthread_getattr_np` | its own stack |
//! | `pthread_cancel` | a [kill](#what-a-kill-or-a-time-limit-does): its calls fail, and a join gives `PTHREAD_CANCELED`. In `pthread_cond_wait` and its siblings it ends, and runs what `pthread_cleanup_push` has put there, unless it has forbidden that |
//! | `pthread_kill` | ESRCH, but for 0, and a signal to itself, which its OS thread gets |
//! | processors, scheduling class, clock of the thread | an error, ESRCH or EINVAL |
//! | `pthread_sigmask`, `gettid`, `prctl` | those of its OS thread, which others share |
//! | mutexes | its own; robust ones tell of its end |
//! | no stack is left when it is to begin | it never runs, as the hook for what nobody can receive is told |
//! | who joins one whose hub has ended | is told: std's `join` panics, `pthread_join` gives `PTHREAD_CANCELED` |
//!
//! A pool of threads that is to compute on several processors, such as rayon's, works, on one: that of its maker. Let it be made on an OS thread without a
//! hub, as by [`unblock`](crate::threadpool::unblock), and its threads are OS threads, for which green threads wait as ever.
//!
//! # How to see it
//!
//! [`patch_all`] returns a [`Coverage`]. Its lines say which parts are patched, how many of these names lead to greenloop from the
//! program's own code and from shared libraries, whether each green thread is a thread of its own to std, and whether it is isolated. It
//! looks at the running program:
//!
//! ```
//! let coverage = greenloop::monkey::patch_all();
//! assert!(coverage.is_complete() && coverage.has_identities());
//! let report = coverage.to_string();
//! let lines: Vec<&str> = report.lines().collect();
//! assert_eq!(lines[0], "patched: Parts(TIME | SOCKET | SELECT | DNS | PROCESS | FILES | THREADS | THREAD_LOCALS)");
//! assert!(lines[1].starts_with("calls of the program: "));
//! assert!(lines[2].starts_with("calls of shared libraries: "));
//! assert_eq!(lines[3], "std::thread::current: each green thread's own");
//! assert_eq!(lines[4], "thread-local variables: each green thread's own");
//! ```
//!
//! # What stays as it is
//!
//! - The flags of a descriptor, and what they mean: a call on a descriptor that the program has set O_NONBLOCK gives EAGAIN at once,
//!   SO_RCVTIMEO and SO_SNDTIMEO end a wait as they do unpatched, MSG_DONTWAIT does not wait, and a blocking write is finished before it
//!   returns.
//! - Standard output and error: a write to descriptor 1 or 2 stops the OS thread as before, since std holds a lock meanwhile that
//!   knows only OS threads.
//! - OS threads without a hub.
//!
//! # What changes
//!
//! - Other green threads run during a call that waits, and sometimes during one that does not. After the call you see their changes,
//!   as with OS threads.
//! - A patched call may switch to other green threads. If you call one while a `RefCell` is borrowed, the others find it borrowed.
//! - A signal does not interrupt a call that waits. `ppoll`, `pselect` and `epoll_pwait` with a signal mask other
//!   than the thread's own are the C library's, and stop the OS thread.
//! - In the handler of a signal all of these are the C library's own functions, from whatever part is patched: a handler is never
//!   switched out, and a call in it that waits stops the OS thread. That goes for handlers that were installed by `sigaction`, `signal`
//!   or a sibling of these, and for handlers that those call; one that was installed by a bare system call is not known as such.
//!   The same goes for the child of `vfork` (x86_64 and aarch64), which has its parent's memory. Of a thread that `SPAWN` has made,
//!   `pthread_kill` says there what it says elsewhere. The others know none: `pthread_cancel` and `pthread_getattr_np` say ESRCH,
//!   `pthread_join` and `pthread_detach` EINVAL, and a name is the OS thread's.
//! - A stream is O_NONBLOCK while its `connect` is tried, a listener while a connection is taken from it, and a descriptor that is no
//!   pipe while a `splice` is tried that need not wait. Other processes that share them see that. OS threads of this process wait in
//!   `accept` as ever.
//! - `sendfile` to a socket reads and sends, by way of memory.
//! - A robust mutex tells its next holder by EOWNERDEAD that a green thread has ended which has held it, isolated or not. To the kernel its
//!   OS thread holds it, and so one with PTHREAD_PRIO_INHERIT or PTHREAD_PRIO_PROTECT, whose priority it is that changes.
//! - A lock of C's that an OS thread or a green thread of another hub holds stops the OS thread, as it does without greenloop: it may be
//!   an allocator's, and who is inside one must not be switched out. No allocator's takes half a second. After that the others run while an
//!   isolated green thread waits, for the holder may wait for one of them; while one waits that is not, as the main
//!   greenlet, they do not.
//! - A wait for a part of a file that another process has locked (`lockf`, F_SETLKW) takes an OS thread. So the kernel knows of it, and
//!   says EDEADLK to whoever would close a circle of processes, as ever (it looks at one wait of each process, and so may miss one).
//!   Beyond 64 at once green threads ask for the lock again and again, and nobody is told of a circle in which they are. A kill or a
//!   time limit reaches the OS thread by a signal: the highest one for real time that the program does not use has a handler of
//!   greenloop's from the first such wait on. If the program gives that signal a handler of its own later, waits from then on use the next
//!   one, and those under way last until the lock is free. Who has the signal blocked asks again and again.
//! - A blocking write to a terminal other than standard output and error takes an OS thread in the same way, and so does a read of one that is to
//!   give several bytes or those before a pause (VMIN above 1), and a write of more than 1 to an eventfd. Who waits in a read as a terminal
//!   hangs up may be told its end, in place of EIO.
//! - The kernel does not announce some events, so greenloop polls for them: a free lock on an open file (`flock`, F_OFD_SETLKW), an empty
//!   queue of a terminal, what another process does with a futex or a semaphore, what the handler of a signal does with a semaphore, and the end
//!   of any child when a call waits for whichever ends first, at least every 20 ms; the stops of a child that is traced, in time as long
//!   again as the call has waited, at least every second; room at a Unix listener that is full, every 50 ms;
//!   urgent data for `poll`, every 5 ms.
//!
//! # What a kill or a time limit does
//!
//! Nothing may unwind through a call from C. So a [`kill`](crate::JoinHandle::kill) makes a patched call fail, and so does the end of a
//! [`with_timeout`](crate::with_timeout). Every further call that could have to wait fails too, until the green thread comes to a wait of
//! greenloop's own, which unwinds, or to the end of the scope of the time limit, which then gives [`Elapsed`](crate::Elapsed). Calls fail
//! with what their manual pages have, for code that is right takes anything else for a fault of its own:
//!
//! | call | says |
//! |---|---|
//! | `read`, `recv`, `write`, `send`, `accept`, `connect`, `sendfile` and their siblings | ECANCELED for a kill, but ECONNABORTED on a connected socket, which clients take for the end of a connection; ETIMEDOUT for a time limit; also where they would not wait |
//! | `poll`, `select`, `epoll_wait` and their siblings | EINTR first, and then that every descriptor is ready for what was asked, and has an error: the next call on it fails |
//! | the same on an eventfd, and reads and writes of one that is O_NONBLOCK | the truth: by these other OS threads wake an event loop |
//! | reads and writes of a pipe, a pair of sockets or a terminal that is O_NONBLOCK | the truth; but after five failed calls ECANCELED, ECONNABORTED or ETIMEDOUT where they would wait |
//! | `waitpid`, `waitid` and their siblings | EINTR first, and then ECHILD, unless a child has ended |
//! | `sem_wait` and its siblings | EINTR, unless the semaphore is free |
//! | `flock`, `lockf`, the locks of `fcntl` | EINTR first, and then ENOLCK, unless the lock is free |
//! | `tcdrain` | EINTR first, and then EIO, unless nothing is left to go out |
//! | `open` of a named pipe | ECANCELED for a kill, ETIMEDOUT for a time limit; what is opened for it later is closed again |
//! | `getaddrinfo`, `getnameinfo` | EAI_SYSTEM, with ECANCELED or ETIMEDOUT as errno |
//! | `gethostbyname` and its siblings | NETDB_INTERNAL as h_errno, with ECANCELED or ETIMEDOUT as errno |
//! | `sigwait`, `sigwaitinfo`, `sigtimedwait` | EINTR first, and then EINVAL, EINTR or EAGAIN, unless there is a signal |
//! | `nanosleep` and its siblings | that it is over |
//!
//! What the code makes of that is not what it was asked for. So a green thread that returns or panics after a call has failed for a
//! kill [counts as killed](crate::JoinError::is_killed), and a scope of `with_timeout` that is left so after its limit gives `Elapsed`.
//! (A panic is what leaves text, as `panic!` and `unwrap` do. Other payloads go on.) For instance, std's `Command::output` unwraps the
//! errors of its pipes. std's panic hook sees such a panic.
//!
//! Each such call lets the others run before it fails. Code that takes no failure for an answer, such as `loop { thread::sleep(second) }`,
//! an accept loop that skips what fails, or a pool that replaces its connections, gets slow: from the fifth failed call on, each pauses,
//! in the end for 10 ms. When it has gone on for a second, that is reported to the
//! [hook for what nobody can receive](crate::hub::set_uncaught_hook), with the place of its spawn. A `kill` waits for it, a
//! [`kill_timeout`](crate::JoinHandle::kill_timeout) returns `false`.
//!
//! [A page of the guide](crate::guide::blocking_crates) says of some twenty clients with which error of its own each ends so, a few
//! milliseconds after a limit or a kill, and whether it can be used again. A fetch by `reqwest::blocking` parks its thread, and ends with
//! its answer or the client's own time limit.
//!
//! Some waits cannot be interrupted: a wait for a lock of std's or of C's, and so for std's channels and `thread::park`, because it has no
//! error to return; and a wait for a disk or for the end of an OS thread, because the kernel or that thread still writes into the caller's
//! memory. `pread` of what is in memory does what it is asked to.
//!
//! # What is not covered
//!
//! - System calls that do not go through the C library (rustix's default backend, Go), and calls inside the C library (stdio, `system`,
//!   C11's threads and locks, its own resolver). A program that links the C library statically does not compile.
//! - A wait of an isolated green thread that holds a lock inside the C library: that of a stream (`flockfile`, or a stream of `fopencookie`
//!   that waits), or the loader's (a constructor or a destructor that waits as `dlopen` or `dlclose` runs it). Another one of the hub that asks
//!   for that lock stops the hub for ever, since the C library takes it by no function that could be another: to stand in for `flockfile`
//!   changes nothing for `fputs`. Load such libraries before.
//! - A robust mutex of processes with PTHREAD_PRIO_INHERIT, for which another process waits as the green thread ends that holds it: that one
//!   gets it without EOWNERDEAD, which whoever takes it next in this process gets.
//! - A green thread that is not isolated, and asks for a `pthread_rwlock_t` which it has got by `pthread_rwlock_trywrlock`, waits for ever,
//!   where a thread would be told EDEADLK.
//! - A waiting writer keeps no reader out, whatever the kind of the `pthread_rwlock_t` (PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP). A
//!   receive takes what is there, whatever SO_RCVLOWAT says.
//! - Allocators that wait by other means than a `pthread_mutex_t`, such as a futex or `sched_yield`, and are entered by a green thread
//!   that is not isolated. glibc's, jemalloc and mimalloc are none of these.
//! - `pwrite` in a green thread that is not isolated: it writes to memory that the kernel takes to the disk later, and SQLite holds a
//!   lock of C's across it. `fallocate`, `unlink`, `stat` and other calls that wait only for a disk. `recvmmsg` with a time limit.
//! - `preadv2` and `pwritev2` of what is no file; `epoll_pwait2`; `eventfd_read` and `eventfd_write`; `tcsetattr` that waits for what is
//!   to go out; `close` of a socket with SO_LINGER.
//! - `res_query` and its siblings; `sigsuspend`; message queues of POSIX, and message queues and semaphores of System V.
//! - A library with greenloop inside that a program loads while it runs: its own calls may find the C library first, which
//!   [`Coverage`] reports.
//! - Random bytes in the world of a test that come from `/dev/urandom`, `arc4random` or the processor.
//! - Two crates that define these names cannot be linked into one program.
//!
//! # What it is shown on
//!
//! `tests/clients` measures these: the calls at once, in green threads of one OS thread, and one after another, without a hub. The build
//! is an optimised one; clients and servers share two processors.
//!
//! | | at once | one after another |
//! |---|---|---|
//! | 200 fetches of 100 ms by ureq, http | 0.2 s | 20 s |
//! | the same, https | 0.3 s | 20 s |
//! | 200 fetches of 100 ms by reqwest, http | 0.2 s | 20 s |
//! | 50 fetches of 100 ms by libcurl, a shared library | 0.1 s | 5 s |
//! | 100 times SET, BLPOP of 100 ms and GET by the crate redis | 0.2 s | 14 s |
//! | 50 queries of 100 ms by the crate postgres | 0.3 s | 5.5 s |
//! | 50 fetches and queries of 100 ms each by ureq and postgres | 0.4 s | 10 s |
//! | 20 waits of 600 ms with a transaction each, in one file, by rusqlite | 1 s | 12 s |
//! | 20 pipelines of processes that take 1 s | 1.1 s | 20 s |
//!
//! More, beside the times of OS threads, are on [the page of the guide](crate::guide::blocking_crates).
//!
//! # From gevent
//!
//! | gevent | here |
//! |---|---|
//! | `patch_all()` | [`patch_all`] |
//! | `patch_all(dns=False)` | `patch(Parts::ALL - Parts::DNS)` |
//! | `patch_time()` | [`Parts::TIME`] |
//! | `patch_socket()` | [`Parts::SOCKET`] |
//! | `patch_ssl()` | nothing: TLS reads and writes by what `SOCKET` covers |
//! | `patch_dns()` | [`Parts::DNS`] |
//! | `patch_select()` | [`Parts::SELECT`]; `epoll_wait` yields too, and is not removed |
//! | `patch_os()`, `patch_subprocess()` | [`Parts::PROCESS`]; `fork` needs no patch, see [`process::fork`](crate::process::fork) |
//! | `patch_signal()` | nothing: no handler of greenloop's stands in the way of SIGCHLD, and handlers are [`signal`](crate::signal)'s affair |
//! | `patch_thread()` | [`Parts::THREADS`]: std's locks and the end of its threads; for `threading.local`, [`Parts::THREAD_LOCALS`]; for `Thread`, [`Parts::SPAWN`] |
//! | `patch_queue()` | not: [`channel`](crate::channel) and [`queue`](crate::queue) are greenloop's own |
//! | `patch_contextvars()` | not: [`greenlet_local!`](crate::greenlet_local) is greenloop's own |
//! | `patch_sys()` | not: standard output and error stop the OS thread |
//! | `patch_builtins()` | nothing: no import of Rust's waits |
//! | `is_module_patched`, `is_anything_patched` | [`is_patched`] |
//! | `is_object_patched` | [`Coverage::missed_by_program`], [`Coverage::missed_by_libraries`] |
//! | `get_original` | [`original`] |
//! | `python -m gevent.monkey program` | one line in `main` |

#[cfg(any(target_feature = "crt-static", not(all(target_os = "linux", target_env = "gnu"))))]
compile_error!(
    "the feature `monkey` needs a C library that is linked dynamically and found by `dlsym(RTLD_NEXT)`, as glibc is by default; \
     with `-C target-feature=+crt-static`, or with musl, build greenloop without it"
);

// | part    | file            | names of C                                                                               |
// |---------|-----------------|------------------------------------------------------------------------------------------|
// | TIME    | `time.rs`       | nanosleep, clock_nanosleep, sleep, usleep, sched_yield                                   |
// |         | `clocks.rs`     | clock_gettime, gettimeofday, time                                                        |
// | SOCKET  | `connect.rs`    | connect, accept, accept4                                                                 |
// |         | `socket.rs`     | recv, recvfrom, recvmsg, recvmmsg, send, sendto, sendmsg, sendmmsg                       |
// |         | `sendfile.rs`   | sendfile, sendfile64, splice, tee, vmsplice                                              |
// |         | `read_write.rs` | read, readv, write, writev; with FILES on regular files too                              |
// |         | `terminal.rs`   | tcdrain                                                                                  |
// | SELECT  | `select.rs`     | poll, ppoll, select, pselect, epoll_wait, epoll_pwait                                    |
// | DNS     | `dns.rs`        | getaddrinfo                                                                              |
// |         | `hosts.rs`      | getnameinfo, gethostby*                                                                  |
// | PROCESS | `process.rs`    | wait, wait3, wait4, waitpid, waitid                                                      |
// |         | `sigwait.rs`    | sigwait, sigwaitinfo, sigtimedwait                                                       |
// | FILES   | `file.rs`       | pread*, pwrite*, copy_file_range, fsync, fdatasync, msync                                |
// |         | `flock.rs`      | flock, lockf, lockf64, fcntl, fcntl64                                                    |
// |         | `open.rs`       | open, open64, openat, openat64                                                           |
// | THREADS | `futex.rs`      | syscall                                                                                  |
// |         | `join.rs`       | pthread_join, pthread_tryjoin_np, pthread_timedjoin_np, pthread_clockjoin_np             |
// |         | `pthread.rs`    | pthread_mutex_lock, _trylock, _unlock, pthread_cond_*                                    |
// |         | `timed_mutex.rs`| pthread_mutex_timedlock, pthread_mutex_clocklock                                         |
// |         | `rwlock.rs`     | pthread_rwlock_*                                                                         |
// |         | `semaphore.rs`  | sem_wait, sem_timedwait, sem_clockwait, sem_post                                         |
// |         | `once.rs`       | pthread_once, pthread_barrier_wait                                                       |
// | SPAWN   | `spawn.rs`      | pthread_create, _exit, _detach, _cancel, _kill, _setname_np, _getname_np, _getattr_np    |
// |         | `stand_ins.rs`  | none: which green threads there are for them                                             |
// | any     | `close.rs`      | close, dup2, dup3                                                                        |
// |         | `handlers.rs`   | sigaction, signal and its siblings, vfork                                                |
// |         | `random.rs`     | getrandom, getentropy                                                                    |
// |         | `keys.rs`       | pthread_key_create, pthread_key_delete, tss_create, tss_delete                           |
//
// The others are what those have in common: the call, what it says when it is interrupted, its descriptors' memory, OS threads to do it
// on; the parts, the coverage.
mod amid_faults;
mod call;
mod clocks;
mod close;
mod connect;
mod contended;
mod coverage;
mod dns;
mod fd_sets;
mod file;
mod flock;
mod futex;
mod handlers;
mod holders;
mod hosts;
mod interruption;
mod join;
mod keys;
mod line;
mod off_hub;
mod once;
mod open;
mod parts;
mod pause;
mod pauses;
mod process;
mod pthread;
mod random;
mod read_write;
mod rwlock;
mod select;
mod semaphore;
mod sendfile;
mod sigwait;
mod slices;
mod socket;
mod spawn;
mod stand_ins;
mod stop;
mod terminal;
#[cfg(test)]
mod tests;
mod time;
mod timed_mutex;

use crate::fiber::identity;
use crate::fiber::is_ending;
use crate::fiber::isolation::why_not;
use crate::hub::hub;

pub use coverage::Coverage;
pub use parts::Parts;

/// The C library's own functions. One that waits stops its OS thread.
#[doc(alias = "get_original")]
pub mod original {
    pub use crate::sys::original::*;
}

/// Patches every part but [`Parts::SPAWN`]: [`patch`] with [`Parts::ALL`].
///
/// # Examples
///
/// ```
/// use greenloop::monkey::{Parts, is_patched, patch_all};
///
/// let coverage = patch_all();
/// assert!(coverage.is_complete(), "{coverage}");
/// assert!(is_patched(Parts::ALL));
/// ```
pub fn patch_all() -> Coverage {
    patch(Parts::ALL)
}

/// Makes the C library's functions of `parts` yield from now on, on every OS thread that has a hub. With [`Parts::THREAD_LOCALS`], green
/// threads that are spawned from now on are [isolated](self#isolation); with [`Parts::SPAWN`], threads that are made from now on are
/// [green threads](self#threads-as-green-threads). Returns which names lead to greenloop in this program.
///
/// You can call it at any time, from any thread, and again: it adds to what is patched. It does not yield. With `SPAWN` the calling OS
/// thread has a hub from then on; without it no hub is made.
///
/// # Examples
///
/// ```
/// use greenloop::monkey::{Parts, is_patched, patch};
///
/// let coverage = patch(Parts::TIME | Parts::SOCKET);
/// assert_eq!(coverage.parts(), Parts::TIME | Parts::SOCKET);
/// assert!(!is_patched(Parts::DNS));
/// ```
pub fn patch(parts: Parts) -> Coverage {
    let spawns = parts.contains(Parts::SPAWN);
    let mut parts = if spawns { parts | Parts::THREADS } else { parts };
    let identity = parts.contains(Parts::THREADS) && identity::enable();
    let shared = if spawns || parts.contains(Parts::THREAD_LOCALS) { why_not() } else { None };
    if shared.is_some() {
        parts = parts - Parts::THREAD_LOCALS - Parts::SPAWN;
    }
    if parts.contains(Parts::THREADS) {
        futex::look_after_forks();
    }
    parts::add(parts);
    if parts.contains(Parts::SPAWN) && !is_ending() {
        hub();
    }
    Coverage::look(identity, shared)
}

/// Takes a patch back: calls of `parts` stop their OS threads again. Calls that wait already go on as they began.
///
/// # Examples
///
/// ```
/// use greenloop::monkey::{Parts, is_patched, patch_all, unpatch};
///
/// patch_all();
/// unpatch(Parts::FILES);
/// assert!(!is_patched(Parts::ALL));
/// ```
pub fn unpatch(parts: Parts) {
    parts::remove(parts);
}

/// Sets whether green threads that are spawned from now on, on any OS thread, have thread-local variables of their own: patches
/// [`Parts::THREAD_LOCALS`], or takes that back.
///
/// A [`Builder`](crate::Builder::isolated) can say otherwise for one green thread. Where isolation does not work, nothing changes;
/// [`patch`] tells that.
///
/// # Examples
///
/// ```
/// use std::cell::Cell;
///
/// thread_local! {
///     static COUNT: Cell<u32> = const { Cell::new(0) };
/// }
///
/// COUNT.set(7);
/// greenloop::monkey::isolate(true);
/// assert_eq!(greenloop::spawn(|| COUNT.get()).join().unwrap(), 0);
/// greenloop::monkey::isolate(false);
/// assert_eq!(greenloop::spawn(|| COUNT.get()).join().unwrap(), 7);
/// ```
pub fn isolate(isolated: bool) {
    if !isolated {
        parts::remove(Parts::THREAD_LOCALS);
    } else if why_not().is_none() {
        parts::add(Parts::THREAD_LOCALS);
    }
}

/// Returns `true` if all of `parts` are patched.
///
/// # Examples
///
/// ```
/// use greenloop::monkey::{Parts, is_patched};
///
/// assert!(!is_patched(Parts::TIME)); // nothing is, before `patch`
/// ```
#[doc(alias("is_module_patched", "is_object_patched"))]
pub fn is_patched(parts: Parts) -> bool {
    parts::patched().contains(parts)
}
