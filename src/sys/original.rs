//! The C library's own functions, where `monkey` has put others of the same names into the program.
//!
//! The dynamic linker looks a name up in the program first, and there finds the one of `monkey`. These are what it would have
//! found next.

use std::ffi::CStr;
use std::mem;
use std::sync::atomic::{AtomicPtr, Ordering};

use libc::{
    addrinfo, c_char, c_int, c_long, c_uint, c_void, clockid_t, epoll_event, fd_set, hostent, id_t, idtype_t,
    iovec, loff_t, mmsghdr, mode_t, msghdr, nfds_t, off_t, off64_t, pid_t, pollfd, pthread_attr_t,
    pthread_barrier_t, pthread_cond_t, pthread_mutex_t, pthread_once_t, pthread_rwlock_t, pthread_t, rusage,
    sem_t, sighandler_t, siginfo_t, sigset_t, size_t, sockaddr, socklen_t, ssize_t, time_t, timespec,
    timeval, useconds_t,
};

use super::thread_end::{Destructor, Key};
use super::thread_start::Start;

macro_rules! name {
    ($name:ident) => {
        const {
            match CStr::from_bytes_with_nul(concat!(stringify!($name), "\0").as_bytes()) {
                Ok(name) => name,
                Err(_) => panic!("a name has no zero byte"),
            }
        }
    };
}

/// The type of a function of C; `unwinding` if an exception of C++ may come out of it.
macro_rules! function {
    (($($type:ty),*) -> $result:ty) => { unsafe extern "C" fn($($type),*) -> $result };
    (($($type:ty),*) -> $result:ty, unwinding) => { unsafe extern "C-unwind" fn($($type),*) -> $result };
}

macro_rules! originals {
    ($(fn $name:ident($($argument:ident: $type:ty),*) -> $result:ty $(, $unwinding:ident)?;)*) => {
        $(
            #[doc = concat!("The C library's `", stringify!($name), "`.")]
            ///
            /// It knows nothing of green threads: where it waits, it stops its OS thread.
            ///
            /// # Safety
            ///
            /// As its manual page says.
            ///
            /// # Examples
            ///
            /// ```
            /// // The program's calls by this name lead to greenloop, this leads past it.
            /// unsafe extern "C" {
            #[doc = concat!("    fn ", stringify!($name), "();")]
            /// }
            #[doc = concat!("let patched = ", stringify!($name), " as *const ();")]
            #[doc = concat!(
                "assert_ne!(greenloop::monkey::original::", stringify!($name), " as *const (), patched);"
            )]
            /// ```
            #[inline]
            #[allow(clippy::too_many_arguments, reason = "as in C")]
            #[expect(clippy::disallowed_methods, reason = "a function of a name that is found while the program runs")]
            pub unsafe fn $name($($argument: $type),*) -> $result {
                let function = find(&found::$name, name!($name));
                // SAFETY: the C library's function of this name has this type, by its manual page.
                let function: function!(($($type),*) -> $result $(, $unwinding)?) = unsafe { mem::transmute(function) };
                // SAFETY: the caller keeps its contract.
                unsafe { function($($argument),*) }
            }
        )*

        /// What is found so far, by name.
        #[expect(non_upper_case_globals, reason = "the names are those of functions")]
        mod found {
            use std::ffi::c_void;
            use std::ptr;
            use std::sync::atomic::AtomicPtr;

            $(pub(super) static $name: AtomicPtr<c_void> = AtomicPtr::new(ptr::null_mut());)*
        }

        /// Looks for all of them, so that a handler of a signal finds them without looking.
        pub(crate) fn find_all() {
            $(
                // SAFETY: a C string.
                let function = unsafe { libc::dlsym(libc::RTLD_NEXT, name!($name).as_ptr()) };
                // Relaxed: as in `find`. One that an older C library has not is told when it is called.
                found::$name.store(function, Ordering::Relaxed);
            )*
        }

        /// Every name that `monkey` puts into the program, with the address that this crate was linked to.
        pub(crate) fn linked() -> Vec<(&'static CStr, *const c_void)> {
            vec![$({
                unsafe extern "C" {
                    fn $name($($argument: $type),*) -> $result;
                }
                (name!($name), $name as *const c_void)
            }),*]
        }
    };
}

originals! {
    fn recv(fd: c_int, buffer: *mut c_void, length: size_t, flags: c_int) -> ssize_t;
    fn recvfrom(
        fd: c_int, buffer: *mut c_void, length: size_t, flags: c_int, address: *mut sockaddr,
        address_length: *mut socklen_t
    ) -> ssize_t;
    fn recvmsg(fd: c_int, message: *mut msghdr, flags: c_int) -> ssize_t;
    fn send(fd: c_int, buffer: *const c_void, length: size_t, flags: c_int) -> ssize_t;
    fn sendto(
        fd: c_int, buffer: *const c_void, length: size_t, flags: c_int, address: *const sockaddr,
        address_length: socklen_t
    ) -> ssize_t;
    fn sendmsg(fd: c_int, message: *const msghdr, flags: c_int) -> ssize_t;
    fn recvmmsg(
        fd: c_int, messages: *mut mmsghdr, count: c_uint, flags: c_int, timeout: *mut timespec
    ) -> c_int;
    fn sendmmsg(fd: c_int, messages: *mut mmsghdr, count: c_uint, flags: c_int) -> c_int;
    fn sendfile(to: c_int, from: c_int, offset: *mut off_t, length: size_t) -> ssize_t;
    fn sendfile64(to: c_int, from: c_int, offset: *mut off64_t, length: size_t) -> ssize_t;
    fn tee(from: c_int, to: c_int, length: size_t, flags: c_uint) -> ssize_t;
    fn vmsplice(pipe: c_int, slices: *const iovec, count: size_t, flags: c_uint) -> ssize_t;
    fn splice(
        from: c_int, from_offset: *mut loff_t, to: c_int, to_offset: *mut loff_t, length: size_t, flags: c_uint
    ) -> ssize_t;
    fn open(path: *const c_char, flags: c_int, mode: mode_t) -> c_int;
    fn open64(path: *const c_char, flags: c_int, mode: mode_t) -> c_int;
    fn openat(folder: c_int, path: *const c_char, flags: c_int, mode: mode_t) -> c_int;
    fn openat64(folder: c_int, path: *const c_char, flags: c_int, mode: mode_t) -> c_int;
    fn flock(fd: c_int, operation: c_int) -> c_int;
    fn lockf(fd: c_int, operation: c_int, length: off_t) -> c_int;
    fn lockf64(fd: c_int, operation: c_int, length: off64_t) -> c_int;
    fn fcntl(fd: c_int, operation: c_int, argument: *mut c_void) -> c_int;
    fn fcntl64(fd: c_int, operation: c_int, argument: *mut c_void) -> c_int;
    fn pread(fd: c_int, buffer: *mut c_void, length: size_t, offset: off_t) -> ssize_t;
    fn pread64(fd: c_int, buffer: *mut c_void, length: size_t, offset: off64_t) -> ssize_t;
    fn preadv(fd: c_int, slices: *const iovec, count: c_int, offset: off_t) -> ssize_t;
    fn preadv64(fd: c_int, slices: *const iovec, count: c_int, offset: off64_t) -> ssize_t;
    fn pwrite(fd: c_int, buffer: *const c_void, length: size_t, offset: off_t) -> ssize_t;
    fn pwrite64(fd: c_int, buffer: *const c_void, length: size_t, offset: off64_t) -> ssize_t;
    fn pwritev(fd: c_int, slices: *const iovec, count: c_int, offset: off_t) -> ssize_t;
    fn pwritev64(fd: c_int, slices: *const iovec, count: c_int, offset: off64_t) -> ssize_t;
    fn copy_file_range(
        from: c_int, from_offset: *mut off64_t, to: c_int, to_offset: *mut off64_t, length: size_t, flags: c_uint
    ) -> ssize_t;
    fn fsync(fd: c_int) -> c_int;
    fn fdatasync(fd: c_int) -> c_int;
    fn msync(address: *mut c_void, length: size_t, flags: c_int) -> c_int;
    fn tcdrain(fd: c_int) -> c_int;
    fn read(fd: c_int, buffer: *mut c_void, length: size_t) -> ssize_t;
    fn readv(fd: c_int, slices: *const iovec, count: c_int) -> ssize_t;
    fn write(fd: c_int, buffer: *const c_void, length: size_t) -> ssize_t;
    fn writev(fd: c_int, slices: *const iovec, count: c_int) -> ssize_t;
    fn connect(fd: c_int, address: *const sockaddr, address_length: socklen_t) -> c_int;
    fn accept(fd: c_int, address: *mut sockaddr, address_length: *mut socklen_t) -> c_int;
    fn accept4(fd: c_int, address: *mut sockaddr, address_length: *mut socklen_t, flags: c_int) -> c_int;
    fn poll(set: *mut pollfd, count: nfds_t, timeout: c_int) -> c_int;
    fn ppoll(set: *mut pollfd, count: nfds_t, timeout: *const timespec, mask: *const sigset_t) -> c_int;
    fn select(
        count: c_int, readable: *mut fd_set, writable: *mut fd_set, exceptional: *mut fd_set, timeout: *mut timeval
    ) -> c_int;
    fn pselect(
        count: c_int, readable: *mut fd_set, writable: *mut fd_set, exceptional: *mut fd_set,
        timeout: *const timespec, mask: *const sigset_t
    ) -> c_int;
    fn epoll_wait(set: c_int, events: *mut epoll_event, count: c_int, timeout: c_int) -> c_int;
    fn epoll_pwait(
        set: c_int, events: *mut epoll_event, count: c_int, timeout: c_int, mask: *const sigset_t
    ) -> c_int;
    fn nanosleep(duration: *const timespec, left: *mut timespec) -> c_int;
    fn clock_nanosleep(
        clock: clockid_t, flags: c_int, duration: *const timespec, left: *mut timespec
    ) -> c_int;
    fn usleep(microseconds: useconds_t) -> c_int;
    fn sleep(seconds: c_uint) -> c_uint;
    fn sched_yield() -> c_int;
    fn clock_gettime(clock: clockid_t, time: *mut timespec) -> c_int;
    fn gettimeofday(time: *mut timeval, zone: *mut c_void) -> c_int;
    fn time(seconds: *mut time_t) -> time_t;
    fn getaddrinfo(
        node: *const c_char, service: *const c_char, hints: *const addrinfo, found: *mut *mut addrinfo
    ) -> c_int;
    fn getnameinfo(
        address: *const sockaddr, length: socklen_t, host: *mut c_char, host_length: socklen_t,
        service: *mut c_char, service_length: socklen_t, flags: c_int
    ) -> c_int;
    fn gethostbyname(name: *const c_char) -> *mut hostent;
    fn gethostbyname2(name: *const c_char, family: c_int) -> *mut hostent;
    fn gethostbyaddr(address: *const c_void, length: socklen_t, family: c_int) -> *mut hostent;
    fn gethostbyname_r(
        name: *const c_char, host: *mut hostent, buffer: *mut c_char, length: size_t, found: *mut *mut hostent,
        h_errno: *mut c_int
    ) -> c_int;
    fn gethostbyname2_r(
        name: *const c_char, family: c_int, host: *mut hostent, buffer: *mut c_char, length: size_t,
        found: *mut *mut hostent, h_errno: *mut c_int
    ) -> c_int;
    fn gethostbyaddr_r(
        address: *const c_void, size: socklen_t, family: c_int, host: *mut hostent, buffer: *mut c_char,
        length: size_t, found: *mut *mut hostent, h_errno: *mut c_int
    ) -> c_int;
    fn sigwait(set: *const sigset_t, signal: *mut c_int) -> c_int;
    fn sigwaitinfo(set: *const sigset_t, information: *mut siginfo_t) -> c_int;
    fn sigtimedwait(set: *const sigset_t, information: *mut siginfo_t, timeout: *const timespec) -> c_int;
    fn wait(status: *mut c_int) -> pid_t;
    fn wait3(status: *mut c_int, options: c_int, usage: *mut rusage) -> pid_t;
    fn wait4(child: pid_t, status: *mut c_int, options: c_int, usage: *mut rusage) -> pid_t;
    fn pause() -> c_int;
    fn waitpid(child: pid_t, status: *mut c_int, options: c_int) -> pid_t;
    fn waitid(kind: idtype_t, child: id_t, information: *mut siginfo_t, options: c_int) -> c_int;
    fn close(fd: c_int) -> c_int;
    fn dup2(from: c_int, to: c_int) -> c_int;
    fn dup3(from: c_int, to: c_int, flags: c_int) -> c_int;
    fn pthread_mutex_lock(mutex: *mut pthread_mutex_t) -> c_int;
    fn pthread_mutex_trylock(mutex: *mut pthread_mutex_t) -> c_int;
    fn pthread_mutex_unlock(mutex: *mut pthread_mutex_t) -> c_int;
    fn pthread_cond_wait(condition: *mut pthread_cond_t, mutex: *mut pthread_mutex_t) -> c_int;
    fn pthread_cond_timedwait(
        condition: *mut pthread_cond_t, mutex: *mut pthread_mutex_t, until: *const timespec
    ) -> c_int;
    fn pthread_cond_clockwait(
        condition: *mut pthread_cond_t, mutex: *mut pthread_mutex_t, clock: clockid_t, until: *const timespec
    ) -> c_int;
    fn pthread_mutex_timedlock(mutex: *mut pthread_mutex_t, until: *const timespec) -> c_int;
    fn pthread_mutex_clocklock(mutex: *mut pthread_mutex_t, clock: clockid_t, until: *const timespec) -> c_int;
    fn pthread_cond_signal(condition: *mut pthread_cond_t) -> c_int;
    fn pthread_cond_broadcast(condition: *mut pthread_cond_t) -> c_int;
    fn pthread_rwlock_rdlock(lock: *mut pthread_rwlock_t) -> c_int;
    fn pthread_rwlock_wrlock(lock: *mut pthread_rwlock_t) -> c_int;
    fn pthread_rwlock_timedrdlock(lock: *mut pthread_rwlock_t, until: *const timespec) -> c_int;
    fn pthread_rwlock_timedwrlock(lock: *mut pthread_rwlock_t, until: *const timespec) -> c_int;
    fn pthread_rwlock_clockrdlock(lock: *mut pthread_rwlock_t, clock: clockid_t, until: *const timespec) -> c_int;
    fn pthread_rwlock_clockwrlock(lock: *mut pthread_rwlock_t, clock: clockid_t, until: *const timespec) -> c_int;
    fn pthread_rwlock_unlock(lock: *mut pthread_rwlock_t) -> c_int;
    fn pthread_once(
        control: *mut pthread_once_t, initialise: Option<unsafe extern "C-unwind" fn()>
    ) -> c_int, unwinding;
    fn pthread_barrier_wait(barrier: *mut pthread_barrier_t) -> c_int;
    fn sem_wait(semaphore: *mut sem_t) -> c_int;
    fn sem_timedwait(semaphore: *mut sem_t, until: *const timespec) -> c_int;
    fn sem_clockwait(semaphore: *mut sem_t, clock: clockid_t, until: *const timespec) -> c_int;
    fn sem_post(semaphore: *mut sem_t) -> c_int;
    fn pthread_key_create(key: *mut Key, destructor: Option<Destructor>) -> c_int;
    fn pthread_key_delete(key: Key) -> c_int;
    fn tss_create(key: *mut Key, destructor: Option<Destructor>) -> c_int;
    fn tss_delete(key: Key) -> ();
    fn pthread_create(
        thread: *mut pthread_t, attributes: *const pthread_attr_t, start: Option<Start>, argument: *mut c_void
    ) -> c_int;
    fn pthread_exit(value: *mut c_void) -> (), unwinding;
    fn pthread_detach(thread: pthread_t) -> c_int;
    fn pthread_cancel(thread: pthread_t) -> c_int;
    fn pthread_kill(thread: pthread_t, signal: c_int) -> c_int;
    fn pthread_setname_np(thread: pthread_t, name: *const c_char) -> c_int;
    fn pthread_getname_np(thread: pthread_t, name: *mut c_char, length: size_t) -> c_int;
    fn pthread_getattr_np(thread: pthread_t, attributes: *mut pthread_attr_t) -> c_int;
    fn pthread_join(thread: pthread_t, result: *mut *mut c_void) -> c_int;
    fn pthread_tryjoin_np(thread: pthread_t, result: *mut *mut c_void) -> c_int;
    fn pthread_timedjoin_np(thread: pthread_t, result: *mut *mut c_void, until: *const timespec) -> c_int;
    fn pthread_clockjoin_np(
        thread: pthread_t, result: *mut *mut c_void, clock: clockid_t, until: *const timespec
    ) -> c_int;
    fn sigaction(signal: c_int, action: *const libc::sigaction, former: *mut libc::sigaction) -> c_int;
    fn __sigaction(signal: c_int, action: *const libc::sigaction, former: *mut libc::sigaction) -> c_int;
    fn signal(signal: c_int, handler: sighandler_t) -> sighandler_t;
    fn bsd_signal(signal: c_int, handler: sighandler_t) -> sighandler_t;
    fn ssignal(signal: c_int, handler: sighandler_t) -> sighandler_t;
    fn sysv_signal(signal: c_int, handler: sighandler_t) -> sighandler_t;
    fn __sysv_signal(signal: c_int, handler: sighandler_t) -> sighandler_t;
    fn sigset(signal: c_int, handler: sighandler_t) -> sighandler_t;
    fn syscall(
        number: c_long, first: c_long, second: c_long, third: c_long, fourth: c_long, fifth: c_long, sixth: c_long
    ) -> c_long;
    fn getrandom(buffer: *mut c_void, length: size_t, flags: c_uint) -> ssize_t;
    fn getentropy(buffer: *mut c_void, length: size_t) -> c_int;
    fn __read_chk(fd: c_int, buffer: *mut c_void, length: size_t, room: size_t) -> ssize_t;
    fn __pread_chk(fd: c_int, buffer: *mut c_void, length: size_t, offset: off_t, room: size_t) -> ssize_t;
    fn __pread64_chk(fd: c_int, buffer: *mut c_void, length: size_t, offset: off64_t, room: size_t) -> ssize_t;
    fn __open_2(path: *const c_char, flags: c_int) -> c_int;
    fn __open64_2(path: *const c_char, flags: c_int) -> c_int;
    fn __openat_2(folder: c_int, path: *const c_char, flags: c_int) -> c_int;
    fn __openat64_2(folder: c_int, path: *const c_char, flags: c_int) -> c_int;
    fn __recv_chk(fd: c_int, buffer: *mut c_void, length: size_t, room: size_t, flags: c_int) -> ssize_t;
    fn __recvfrom_chk(
        fd: c_int, buffer: *mut c_void, length: size_t, room: size_t, flags: c_int, address: *mut sockaddr,
        address_length: *mut socklen_t
    ) -> ssize_t;
    fn __poll_chk(set: *mut pollfd, count: nfds_t, timeout: c_int, room: size_t) -> c_int;
    fn __ppoll_chk(
        set: *mut pollfd, count: nfds_t, timeout: *const timespec, mask: *const sigset_t, room: size_t
    ) -> c_int;
}

#[inline]
fn find(found: &AtomicPtr<c_void>, name: &'static CStr) -> *mut c_void {
    // Relaxed: every thread that looks finds the same address, and the code there was mapped before any of them began.
    let function = found.load(Ordering::Relaxed);
    if function.is_null() { look_up(found, name) } else { function }
}

#[cold]
fn look_up(found: &AtomicPtr<c_void>, name: &'static CStr) -> *mut c_void {
    // SAFETY: `name` is a C string.
    let function = unsafe { libc::dlsym(libc::RTLD_NEXT, name.as_ptr()) };
    if function.is_null() {
        // There is no error that each of these calls could return, and nothing may unwind into C.
        // SAFETY: takes nothing.
        unsafe { libc::abort() };
    }
    // Relaxed: as above.
    found.store(function, Ordering::Relaxed);
    function
}

/// The address that shared libraries are linked to under this name.
pub(crate) fn found_by_libraries(name: &CStr) -> *const c_void {
    // SAFETY: `name` is a C string.
    unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) }
}

/// Whether `address` lies in the program or library that this code is in.
pub(crate) fn is_ours(address: *const c_void) -> bool {
    let base = |address: *const c_void| {
        let mut information = mem::MaybeUninit::<libc::Dl_info>::uninit();
        // SAFETY: `information` is valid for writes; any address may be asked for.
        let found = unsafe { libc::dladdr(address, information.as_mut_ptr()) } != 0;
        // SAFETY: the call has filled it.
        found.then(|| unsafe { information.assume_init() }.dli_fbase)
    };
    base(address).is_some_and(|found| Some(found) == base(is_ours as *const c_void))
}
