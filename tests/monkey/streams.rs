//! Pipes, files, terminals.

use std::fs::{self, File};
use std::io::{Error, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::FileExt;

use greenloop::{spawn, yield_now};

use crate::{in_a_child, patched};

/// Conformance 143: more than a pipe holds, to a reader that comes late.
#[test]
fn a_megabyte_goes_through_a_pipe() {
    patched(|| {
        let (mut reader, mut writer) = std::io::pipe().unwrap();
        let sent: Vec<u8> = (0..1_000_000_u32).map(|number| (number / 3) as u8).collect();
        let expected = sent.clone();
        let producer = spawn(move || assert_eq!(writer.write(&sent).unwrap(), sent.len()));
        yield_now();
        assert!(!producer.is_finished());
        let mut received = Vec::new();
        reader.read_to_end(&mut received).unwrap();
        producer.join().unwrap();
        assert!(received == expected);
    });
}

#[test]
fn a_reader_of_a_pipe_waits_beside_others() {
    patched(|| {
        let (mut reader, mut writer) = std::io::pipe().unwrap();
        let word = spawn(move || {
            let mut word = [0; 5];
            reader.read_exact(&mut word).unwrap();
            word
        });
        yield_now();
        assert!(!word.is_finished());
        writer.write_all(b"hello").unwrap();
        assert_eq!(&word.join().unwrap(), b"hello");
    });
}

/// A FIFO and a terminal, for which the kernel has no call that promises not to wait.
#[test]
fn what_the_kernel_must_be_asked_about_first_works_too() {
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    patched(|| {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        let terminal = File::options().read(true).write(true).open(name.to_str().unwrap()).unwrap();
        let mut master = File::from(master);
        let reader = spawn(move || {
            let mut line = [0; 6];
            (&terminal).read_exact(&mut line).unwrap();
            (line, terminal)
        });
        yield_now();
        assert!(!reader.is_finished());
        master.write_all(b"typed\n").unwrap();
        assert_eq!(&reader.join().unwrap().0, b"typed\n");
    });
}

#[test]
fn a_file_is_read_and_written_whole() {
    patched(|| {
        let path = std::env::temp_dir().join(format!("greenloop-monkey-file-{}", std::process::id()));
        let contents: Vec<u8> = (0..300_000_u32).map(|number| (number / 7) as u8).collect();
        let (expected, place) = (contents.clone(), path.clone());
        spawn(move || {
            let mut file =
                File::options().read(true).write(true).create(true).truncate(true).open(&place).unwrap();
            assert_eq!(file.write(&contents).unwrap(), contents.len());
            file.seek(SeekFrom::Start(0)).unwrap();
            let mut read = vec![0; 400_000];
            assert_eq!(file.read(&mut read).unwrap(), expected.len());
            assert!(read[..expected.len()] == expected);
            assert_eq!(file.read(&mut read).unwrap(), 0);
            drop(file);
            assert!(fs::read(&place).unwrap() == expected);
        })
        .join()
        .unwrap();
        fs::remove_file(path).unwrap();
    });
}

/// What `pread` and its siblings say is what the C library's say: at a place, up to the end, in several slices, and refused.
#[test]
fn a_file_is_read_at_a_place() {
    patched(|| {
        let path = std::env::temp_dir().join(format!("greenloop-monkey-place-{}", std::process::id()));
        let contents: Vec<u8> = (0..300_000_u32).map(|number| (number / 7) as u8).collect();
        fs::write(&path, &contents).unwrap();
        let file = File::open(&path).unwrap();
        spawn(move || {
            let mut read = vec![0; 200_000];
            file.read_exact_at(&mut read, 50_000).unwrap();
            assert!(read == contents[50_000..250_000]);
            assert_eq!(file.read_at(&mut read, 250_000).unwrap(), 50_000);
            assert!(read[..50_000] == contents[250_000..]);
            assert_eq!(file.read_at(&mut read, 300_000).unwrap(), 0);

            let (mut first, mut second) = ([0_u8; 10], [0_u8; 20]);
            let slices = [&mut first[..], &mut second[..]]
                .map(|slice| libc::iovec { iov_base: slice.as_mut_ptr().cast(), iov_len: slice.len() });
            // SAFETY: two slices that live on.
            let come = unsafe { libc::preadv64(file.as_raw_fd(), slices.as_ptr(), 2, 1000) };
            assert_eq!(come, 30);
            assert!([&first[..], &second[..]].concat() == contents[1000..1030]);

            // SAFETY: as above.
            let refused = unsafe { libc::preadv64(file.as_raw_fd(), slices.as_ptr(), 2, -1) };
            assert_eq!((refused, Error::last_os_error().raw_os_error()), (-1, Some(libc::EINVAL)));
            let (pipe, _writer) = std::io::pipe().unwrap();
            let error = File::from(OwnedFd::from(pipe)).read_at(&mut first, 0).unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::ESPIPE));
        })
        .join()
        .unwrap();
        fs::remove_file(path).unwrap();
    });
}

/// Nobody waits for what is in memory, as far as the file system can tell.
#[test]
fn a_read_of_what_is_in_memory_does_not_yield() {
    patched(|| {
        let path = std::env::temp_dir().join(format!("greenloop-monkey-memory-{}", std::process::id()));
        fs::write(&path, vec![7; 100_000]).unwrap();
        let file = File::open(&path).unwrap();
        fs::remove_file(path).unwrap();
        let mut read = vec![0; 150_000];
        let slice = libc::iovec { iov_base: read.as_mut_ptr().cast(), iov_len: read.len() };
        // SAFETY: one slice that lives on.
        let at_once = unsafe { libc::preadv2(file.as_raw_fd(), &slice, 1, 0, libc::RWF_NOWAIT) };
        let other = spawn(|| ());
        assert_eq!(file.read_at(&mut read, 0).unwrap(), 100_000);
        assert!(at_once != 100_000 || !other.is_finished());
        other.join().unwrap();
    });
}

#[test]
fn a_disk_is_waited_for_beside_others() {
    patched(|| {
        let path = std::env::temp_dir().join(format!("greenloop-monkey-sync-{}", std::process::id()));
        fs::write(&path, b"kept").unwrap();
        let file = File::open(&path).unwrap();
        fs::remove_file(path).unwrap();
        for sync in [File::sync_all, File::sync_data] {
            let other = spawn(|| ());
            // Now and then the other OS thread is so quick that nobody waits for it.
            while !other.is_finished() {
                sync(&file).unwrap();
            }
        }
        let (pipe, _writer) = std::io::pipe().unwrap();
        let error = File::from(OwnedFd::from(pipe)).sync_all().unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EINVAL));
    });
}

#[test]
fn a_lock_on_a_file_is_waited_for() {
    patched(|| {
        let path = std::env::temp_dir().join(format!("greenloop-monkey-lock-{}", std::process::id()));
        let (first, second) = (File::create(&path).unwrap(), File::create(&path).unwrap());
        first.lock().unwrap();
        let waiter = spawn(move || second.lock().unwrap());
        yield_now();
        assert!(!waiter.is_finished());
        first.unlock().unwrap();
        waiter.join().unwrap();
        fs::remove_file(path).unwrap();
    });
}

/// Conformance 173.
#[test]
fn many_print_at_once_through_a_full_pipe() {
    let printed = in_a_child("streams::many_print_at_once_through_a_full_pipe", || {
        greenloop::monkey::patch_all();
        let printers: Vec<_> = (0..10)
            .map(|number| {
                spawn(move || {
                    for _ in 0..20 {
                        println!("{}", format!("{number}").repeat(1000));
                        yield_now();
                    }
                })
            })
            .collect();
        printers.into_iter().for_each(|printer| printer.join().unwrap());
    });
    if printed.is_empty() {
        return; // The child.
    }
    let printed = String::from_utf8(printed).unwrap();
    for number in 0..10 {
        // The test harness has begun the first line.
        let line = format!("{number}").repeat(1000);
        assert_eq!(printed.lines().filter(|printed| printed.ends_with(&line)).count(), 20);
    }
}
