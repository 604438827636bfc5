//! Calls on files that wait for other processes, or for a disk.

use std::ffi::{CString, c_char};
use std::fs::{self, File};
use std::io::{Error, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::PathBuf;
use std::ptr;
use std::time::Duration;

use greenloop::monkey::original;
use greenloop::{Builder, sleep, spawn, yield_now};
use libc::c_int;

use crate::patched;

unsafe extern "C" {
    fn lockf64(fd: c_int, operation: c_int, length: i64) -> c_int;
    fn fcntl64(fd: c_int, operation: c_int, ...) -> c_int;
    fn __open_2(path: *const c_char, flags: c_int) -> c_int;
    fn __open64_2(path: *const c_char, flags: c_int) -> c_int;
    fn __openat_2(folder: c_int, path: *const c_char, flags: c_int) -> c_int;
    fn __openat64_2(folder: c_int, path: *const c_char, flags: c_int) -> c_int;
}

fn path(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("greenloop-monkey-{name}-{}", std::process::id()))
}

fn named_pipe(name: &str) -> (PathBuf, CString) {
    let path = path(name);
    let name = CString::new(path.to_str().unwrap()).unwrap();
    // SAFETY: a C string.
    assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
    (path, name)
}

/// What a call has said, with errno if that says more.
fn told(result: i64) -> (i64, Option<i32>) {
    (result, (result == -1).then(|| Error::last_os_error().raw_os_error()).flatten())
}

/// Another process, which has locked the file that `fd` names until it is let go.
struct Holder(libc::pid_t, OwnedFd);

impl Holder {
    fn of(fd: c_int) -> Holder {
        let (ready, tell) = std::io::pipe().unwrap();
        let (wait, go) = std::io::pipe().unwrap();
        // SAFETY: the child makes a few system calls, and ends.
        let child = unsafe { libc::fork() };
        if child == 0 {
            let mut byte = 0_u8;
            let place = ptr::from_mut(&mut byte).cast();
            drop(go);
            // SAFETY: takes no pointers.
            let locked = unsafe { original::lockf(fd, libc::F_TLOCK, 0) };
            // SAFETY: one byte, valid for reads.
            unsafe { original::write(tell.as_raw_fd(), place, 1) };
            // SAFETY: one byte, valid for writes.
            unsafe { original::read(wait.as_raw_fd(), place, 1) };
            // SAFETY: no pointers.
            unsafe { libc::_exit(locked) };
        }
        (&ready).read_exact(&mut [0]).unwrap();
        Holder(child, go.into())
    }

    fn let_go(self) {
        drop(self.1);
        // SAFETY: nothing is to be written.
        assert_eq!(unsafe { libc::waitpid(self.0, ptr::null_mut(), 0) }, self.0);
    }
}

#[test]
fn a_lock_on_a_part_of_a_file_is_waited_for() {
    type Lock = fn(c_int) -> c_int;
    fn whole() -> libc::flock {
        // SAFETY: zeros are a lock on the whole file.
        let mut lock: libc::flock = unsafe { std::mem::zeroed() };
        lock.l_type = libc::F_WRLCK as _;
        lock
    }
    const LOCKS: [Lock; 5] = [
        // SAFETY: takes no pointers.
        |fd| unsafe { libc::lockf(fd, libc::F_LOCK, 0) },
        // SAFETY: takes no pointers.
        |fd| unsafe { lockf64(fd, libc::F_LOCK, 0) },
        // SAFETY: a lock, valid for reads and writes.
        |fd| unsafe { libc::fcntl(fd, libc::F_SETLKW, &mut whole()) },
        // SAFETY: as above.
        |fd| unsafe { fcntl64(fd, libc::F_SETLKW, &mut whole()) },
        // SAFETY: as above.
        |fd| unsafe { libc::fcntl(fd, libc::F_OFD_SETLKW, &mut whole()) },
    ];
    patched(|| {
        let place = path("part");
        let file = File::create(&place).unwrap();
        fs::remove_file(place).unwrap();
        let fd = file.as_raw_fd();
        for lock in LOCKS {
            let holder = Holder::of(fd);
            let waiter = spawn(move || lock(fd));
            sleep(Duration::from_millis(5));
            assert!(!waiter.is_finished());
            let now = spawn(move || {
                // SAFETY: takes no pointers.
                told(unsafe { libc::lockf(fd, libc::F_TLOCK, 0) }.into())
            });
            assert_eq!(now.join().unwrap(), (-1, Some(libc::EAGAIN)));
            holder.let_go();
            assert_eq!(waiter.join().unwrap(), 0);
            for unlock in [libc::F_SETLK, libc::F_OFD_SETLK] {
                let mut lock = whole();
                lock.l_type = libc::F_UNLCK as _;
                // SAFETY: as above.
                assert_eq!(unsafe { libc::fcntl(fd, unlock, &mut lock) }, 0);
            }
        }
    });
}

/// Whatever else `fcntl` and `lockf` do, and refuse.
#[test]
fn what_is_no_wait_for_a_lock_is_the_c_librarys() {
    type Call = fn(c_int) -> (i64, Option<i32>);
    const CALLS: [(Call, Call); 6] = [
        (
            // SAFETY: takes no pointers.
            |fd| told(unsafe { libc::fcntl(fd, libc::F_GETFL) }.into()),
            // SAFETY: as above.
            |fd| told(unsafe { original::fcntl(fd, libc::F_GETFL, ptr::null_mut()) }.into()),
        ),
        (
            // SAFETY: takes no pointers.
            |fd| told(unsafe { libc::fcntl(fd, -1) }.into()),
            // SAFETY: as above.
            |fd| told(unsafe { original::fcntl(fd, -1, ptr::null_mut()) }.into()),
        ),
        (
            // SAFETY: no lock is named, which the kernel finds.
            |fd| told(unsafe { libc::fcntl(fd, libc::F_SETLKW, ptr::null::<libc::flock>()) }.into()),
            // SAFETY: as above.
            |fd| told(unsafe { original::fcntl(fd, libc::F_SETLKW, ptr::null_mut()) }.into()),
        ),
        (
            // SAFETY: takes no pointers.
            |fd| told(unsafe { libc::lockf(fd, 77, 0) }.into()),
            // SAFETY: as above.
            |fd| told(unsafe { original::lockf(fd, 77, 0) }.into()),
        ),
        (
            // SAFETY: takes no pointers.
            |fd| told(unsafe { libc::lockf(fd, libc::F_LOCK, i64::MIN) }.into()),
            // SAFETY: as above.
            |fd| told(unsafe { original::lockf(fd, libc::F_LOCK, i64::MIN) }.into()),
        ),
        (
            // SAFETY: takes no pointers.
            |fd| told(unsafe { libc::tcdrain(fd) }.into()),
            // SAFETY: as above.
            |fd| told(unsafe { original::tcdrain(fd) }.into()),
        ),
    ];
    patched(|| {
        let (reader, _writer) = std::io::pipe().unwrap();
        let read_only = File::open("/dev/null").unwrap();
        for fd in [-1, 1_000_000, reader.as_raw_fd(), read_only.as_raw_fd()] {
            for (number, (ours, unpatched)) in CALLS.into_iter().enumerate() {
                assert_eq!(spawn(move || ours(fd)).join().unwrap(), unpatched(fd), "{number} of {fd}");
            }
        }
        use rustix::pty::{OpenptFlags, grantpt, openpt, unlockpt};
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let fd = master.as_raw_fd();
        // SAFETY: takes no pointers.
        assert_eq!(spawn(move || unsafe { libc::tcdrain(fd) }).join().unwrap(), 0);
    });
}

#[test]
fn a_named_pipe_opens_with_its_other_end() {
    type Open = unsafe fn(*const c_char, c_int) -> c_int;
    const OPENS: [Open; 8] = [
        // SAFETY: the caller's contract, in each of these.
        |path, flags| unsafe { libc::open(path, flags) },
        // SAFETY: as above.
        |path, flags| unsafe { libc::open64(path, flags) },
        // SAFETY: as above.
        |path, flags| unsafe { libc::openat(libc::AT_FDCWD, path, flags) },
        // SAFETY: as above.
        |path, flags| unsafe { libc::openat64(libc::AT_FDCWD, path, flags) },
        // SAFETY: as above.
        |path, flags| unsafe { __open_2(path, flags) },
        // SAFETY: as above.
        |path, flags| unsafe { __open64_2(path, flags) },
        // SAFETY: as above.
        |path, flags| unsafe { __openat_2(libc::AT_FDCWD, path, flags) },
        // SAFETY: as above.
        |path, flags| unsafe { __openat64_2(libc::AT_FDCWD, path, flags) },
    ];
    patched(|| {
        for open in OPENS {
            for flags in [[libc::O_RDONLY, libc::O_WRONLY], [libc::O_WRONLY, libc::O_RDONLY]] {
                // A new one each time: a child that another test forks has the former one open.
                let (place, name) = named_pipe("pipe");
                let [first, second] = flags.map(|flags| {
                    let name = name.clone();
                    move || {
                        // SAFETY: a C string.
                        let fd = unsafe { open(name.as_ptr(), flags | libc::O_CLOEXEC) };
                        assert!(fd >= 0, "{}", Error::last_os_error());
                        // SAFETY: it is new, and nobody else's.
                        File::from(unsafe { OwnedFd::from_raw_fd(fd) })
                    }
                });
                let first = spawn(first);
                sleep(Duration::from_millis(2));
                assert!(!first.is_finished());
                let second = spawn(second).join().unwrap();
                let first = first.join().unwrap();
                let (mut reader, mut writer) =
                    if flags[0] == libc::O_RDONLY { (first, second) } else { (second, first) };
                writer.write_all(b"x").unwrap();
                drop(writer);
                assert_eq!(reader.read(&mut [0; 9]).unwrap(), 1);
                fs::remove_file(place).unwrap();
            }
        }
    });
}

/// A kill ends the wait; what is opened for it later is closed again.
#[test]
fn a_kill_ends_the_opening_of_a_named_pipe() {
    patched(|| {
        let (place, _) = named_pipe("killed-pipe");
        // What is made once is made before.
        spawn(|| ()).join().unwrap();
        let reader = spawn({
            let place = place.clone();
            move || {
                let refused = File::open(place).unwrap_err().raw_os_error();
                assert!(refused.is_some());
                sleep(Duration::from_secs(1000));
            }
        });
        sleep(Duration::from_millis(20));
        assert!(!reader.is_finished());
        reader.kill();
        assert!(reader.join().unwrap_err().is_killed());
        // The other OS thread is still there, and makes way for a writer; unless it was so late that it has not begun, and never will.
        match File::options().write(true).custom_flags(libc::O_NONBLOCK).open(&place) {
            Ok(mut writer) => loop {
                match writer.write_all(b"x") {
                    Ok(()) => sleep(Duration::from_millis(1)),
                    Err(error) => break assert_eq!(error.raw_os_error(), Some(libc::EPIPE)),
                }
            },
            Err(error) => assert_eq!(error.raw_os_error(), Some(libc::ENXIO)),
        }
        fs::remove_file(place).unwrap();
    });
}

/// What does not wait for another end opens, or is refused, as ever.
#[test]
fn other_openings_are_the_c_librarys() {
    patched(|| {
        let (place, name) = named_pipe("open-pipe");
        let folder = CString::new(std::env::temp_dir().to_str().unwrap()).unwrap();
        let missing = c"/nowhere/at/all".to_owned();
        let cases = [
            (name.clone(), libc::O_WRONLY | libc::O_NONBLOCK),
            (name.clone(), libc::O_RDONLY | libc::O_NONBLOCK),
            (name.clone(), libc::O_RDWR),
            (name.clone(), libc::O_PATH),
            (name.clone(), libc::O_RDONLY | libc::O_DIRECTORY),
            (name, libc::O_CREAT | libc::O_EXCL | libc::O_WRONLY),
            (folder.clone(), libc::O_RDONLY),
            (folder, libc::O_WRONLY),
            (missing, libc::O_RDONLY),
        ];
        for (name, flags) in cases {
            let ours = spawn({
                let name = name.clone();
                move || {
                    // SAFETY: a C string.
                    let (fd, errno) = told(unsafe { libc::open64(name.as_ptr(), flags, 0o600) }.into());
                    // SAFETY: it is nobody else's, or -1.
                    unsafe { libc::close(fd as c_int) };
                    (fd >= 0, errno)
                }
            });
            // SAFETY: as above.
            let (fd, errno) = told(unsafe { original::open64(name.as_ptr(), flags, 0o600) }.into());
            // SAFETY: as above.
            unsafe { libc::close(fd as c_int) };
            assert_eq!(ours.join().unwrap(), (fd >= 0, errno), "{name:?}, {flags:#o}");
        }
        // SAFETY: not a C string: null, which the kernel refuses.
        let null = spawn(|| told(unsafe { libc::open(ptr::null(), libc::O_RDONLY) }.into()));
        assert_eq!(null.join().unwrap(), (-1, Some(libc::EFAULT)));
        let made = path("made");
        let mut options = File::options();
        let file = options.write(true).create_new(true).mode(0o640).open(&made).unwrap();
        assert_eq!(
            std::os::unix::fs::PermissionsExt::mode(&file.metadata().unwrap().permissions()) & 0o777,
            0o640
        );
        fs::remove_file(made).unwrap();
        fs::remove_file(place).unwrap();
    });
}

#[test]
fn a_file_is_copied_beside_others() {
    patched(|| {
        let (from, to) = (path("copied-from"), path("copied-to"));
        let contents: Vec<u8> = (0..300_000_u32).map(|number| (number / 7) as u8).collect();
        fs::write(&from, &contents).unwrap();
        let other = spawn(|| ());
        // Now and then the other OS thread is so quick that nobody waits for it.
        while !other.is_finished() {
            assert_eq!(fs::copy(&from, &to).unwrap(), 300_000);
        }
        assert!(fs::read(&to).unwrap() == contents);
        let (source, target) = (File::open(&from).unwrap(), File::create(&to).unwrap());
        spawn(move || {
            let (mut at, mut place) = (1000, 5);
            let (source, target) = (source.as_raw_fd(), target.as_raw_fd());
            // SAFETY: two offsets, valid for reads and writes.
            let copied = unsafe { libc::copy_file_range(source, &mut at, target, &mut place, 100, 0) };
            assert_eq!((copied, at, place), (100, 1100, 105));
            for (source, target, flags) in [(-1, target, 0), (source, source, 77), (target, source, 0)] {
                // SAFETY: as above.
                let ours =
                    told(unsafe { libc::copy_file_range(source, &mut at, target, &mut place, 9, flags) }
                        as i64);
                // SAFETY: as above.
                let unpatched =
                    unsafe { original::copy_file_range(source, &mut at, target, &mut place, 9, flags) };
                assert_eq!(ours, told(unpatched as i64));
            }
        })
        .join()
        .unwrap();
        fs::remove_file(from).unwrap();
        fs::remove_file(to).unwrap();
    });
}

#[test]
fn memory_is_written_to_its_file_beside_others() {
    patched(|| {
        let place = path("mapped");
        let file = File::options().read(true).write(true).create(true).truncate(true).open(&place).unwrap();
        fs::remove_file(place).unwrap();
        file.set_len(4096).unwrap();
        let (read_write, fd) = (libc::PROT_READ | libc::PROT_WRITE, file.as_raw_fd());
        // SAFETY: new memory, wherever there is room.
        let memory = unsafe { libc::mmap(ptr::null_mut(), 4096, read_write, libc::MAP_SHARED, fd, 0) };
        assert_ne!(memory, libc::MAP_FAILED);
        let other = spawn(|| ());
        while !other.is_finished() {
            // SAFETY: a page that was mapped above.
            unsafe { memory.cast::<u8>().write(7) };
            // SAFETY: as above.
            assert_eq!(unsafe { libc::msync(memory, 4096, libc::MS_SYNC) }, 0);
        }
        let mut byte = [0];
        file.read_exact_at(&mut byte, 0).unwrap();
        assert_eq!(byte, [7]);
        let address = memory.expose_provenance();
        for (offset, flags) in
            [(0, libc::MS_ASYNC), (1, libc::MS_SYNC), (0, libc::MS_SYNC | libc::MS_ASYNC), (0, 1 << 9)]
        {
            let ours = spawn(move || {
                // SAFETY: an address, whatever is there.
                told(
                    unsafe { libc::msync(ptr::with_exposed_provenance_mut(address + offset), 64, flags) }
                        .into(),
                )
            });
            // SAFETY: as above.
            let unpatched = unsafe { original::msync(memory.wrapping_byte_add(offset), 64, flags) };
            assert_eq!(ours.join().unwrap(), told(unpatched.into()));
        }
        // SAFETY: nobody uses it any more.
        assert_eq!(unsafe { libc::munmap(memory, 4096) }, 0);
    });
}

/// Isolated ones only, and not amid what a lock of C's guards for all others of the hub.
#[test]
fn a_write_at_a_place_waits_for_the_disk_beside_others() {
    patched(|| {
        let place = path("written");
        let options = |sync: bool| {
            let mut options = File::options();
            options.read(true).write(true).create(true).custom_flags(if sync { libc::O_DSYNC } else { 0 });
            options.open(&place).unwrap()
        };
        let (file, synced) = (options(false), options(true));
        fs::remove_file(&place).unwrap();
        let write = move || {
            let contents: Vec<u8> = (0..300_000_u32).map(|number| (number / 7) as u8).collect();
            file.write_all_at(&contents, 7).unwrap();
            let other = spawn(|| ());
            for round in 0..10_000 {
                synced.write_all_at(b"ab", 100_000 + round).unwrap();
                if other.is_finished() {
                    break;
                }
            }
            let others_ran = other.is_finished();
            other.join().unwrap();
            let slices = [&b"cd"[..], b"efg"].map(|slice| libc::iovec {
                iov_base: slice.as_ptr().cast_mut().cast(),
                iov_len: slice.len(),
            });
            // SAFETY: two slices that live on.
            assert_eq!(unsafe { libc::pwritev64(file.as_raw_fd(), slices.as_ptr(), 2, 1) }, 5);
            let mut read = vec![0; 300_007];
            file.read_exact_at(&mut read, 0).unwrap();
            assert!(read[1..6] == *b"cdefg" && read[7..50_000] == contents[..49_993]);
            for offset in [-1, i64::MIN] {
                // SAFETY: as above.
                let ours =
                    told(unsafe { libc::pwritev64(file.as_raw_fd(), slices.as_ptr(), 2, offset) } as i64);
                assert_eq!(ours, (-1, Some(libc::EINVAL)));
            }
            let (_reader, writer) = std::io::pipe().unwrap();
            let error = File::from(OwnedFd::from(writer)).write_at(b"x", 0).unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::ESPIPE));
            others_ran
        };
        assert!(Builder::new().isolated(true).spawn(write).unwrap().join().unwrap());
    });
}

#[test]
fn a_plain_green_thread_writes_to_memory_at_once() {
    patched(|| {
        let place = path("at-once");
        let file = File::create(&place).unwrap();
        fs::remove_file(place).unwrap();
        let plain = Builder::new().isolated(false).spawn(move || {
            let other = spawn(|| ());
            (0..100).for_each(|round| file.write_all_at(b"ab", round).unwrap());
            assert!(!other.is_finished());
            yield_now();
            assert!(other.is_finished());
        });
        plain.unwrap().join().unwrap();
    });
}
