use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::time::Duration;

use greenloop::fs::{File, OpenOptions};
use greenloop::hub::Driver;
use greenloop::{idle, spawn, with_timeout};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use crate::support::{each_driver, run_child, with_driver, within};
use crate::{Folder, LIMIT, is_nonblocking};

each_driver! {
    /// Cases 143 and 144.
    fn a_named_pipe_lets_others_run() {
        let folder = Folder::new();
        let path = folder.fifo();
        // Each opens when the other does.
        let reader = spawn({
            let path = path.clone();
            move || File::open(path).unwrap()
        });
        let mut writer = OpenOptions::new().write(true).open(&path).unwrap();
        let mut reader = reader.join().unwrap();
        assert!(!is_nonblocking(&reader) && !is_nonblocking(&writer));
        let sum = spawn(move || {
            let mut bytes = Vec::new();
            reader.read_to_end(&mut bytes).map(|_| bytes.len())
        });
        idle();
        assert!(!sum.is_finished());
        // More than the pipe holds.
        writer.write_all(&[7; 1_000_000]).unwrap();
        drop(writer);
        assert_eq!(sum.join().unwrap().unwrap(), 1_000_000);
    }

    fn a_terminal_lets_others_run() {
        let main = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&main).unwrap();
        unlockpt(&main).unwrap();
        let name = ptsname(&main, Vec::new()).unwrap().into_string().unwrap();
        let noctty = rustix::fs::OFlags::NOCTTY.bits() as i32;
        let terminal = OpenOptions::new().read(true).write(true).custom_flags(noctty).open(name).unwrap();
        let line = spawn(move || {
            let mut line = String::new();
            BufReader::new(&terminal).read_line(&mut line).map(|_| (line, terminal))
        });
        idle();
        assert!(!line.is_finished());
        let mut main = File::from(main);
        main.write_all(b"typed\n").unwrap();
        let (line, terminal) = line.join().unwrap().unwrap();
        assert_eq!(line, "typed\n");
        assert!(!is_nonblocking(&terminal) && !is_nonblocking(&main));
    }

    fn a_time_limit_ends_a_read_and_leaves_the_bytes() {
        let (reader, mut writer) = std::io::pipe().unwrap();
        let mut file = File::from(std::os::fd::OwnedFd::from(reader));
        let mut bytes = [0; 3];
        assert!(with_timeout(Duration::from_millis(2), || file.read(&mut bytes)).is_err());
        writer.write_all(b"abc").unwrap();
        file.read_exact(&mut bytes).unwrap();
        assert_eq!(&bytes, b"abc");
    }
}

#[test]
fn devices_are_read_and_written() {
    within(LIMIT, || {
        let mut bytes = [1; 100];
        File::open("/dev/zero").unwrap().read_exact(&mut bytes).unwrap();
        assert_eq!(bytes, [0; 100]);
        File::open("/dev/urandom").unwrap().read_exact(&mut bytes).unwrap();
        assert_ne!(bytes, [0; 100]);
        let mut null = File::options().read(true).write(true).open("/dev/null").unwrap();
        null.write_all(&bytes).unwrap();
        assert_eq!(null.read(&mut bytes).unwrap(), 0);
        assert!(!std::fs::read("/proc/self/stat").unwrap().is_empty());
        assert!(!greenloop::fs::read_to_string("/proc/self/stat").unwrap().is_empty());
    });
}

#[test]
fn who_asked_not_to_wait_is_told() {
    within(LIMIT, || {
        let folder = Folder::new();
        let nonblocking = rustix::fs::OFlags::NONBLOCK.bits() as i32;
        let path = folder.fifo();
        let mut reader = OpenOptions::new().read(true).custom_flags(nonblocking).open(&path).unwrap();
        let _writer = OpenOptions::new().write(true).open(&path).unwrap();
        assert_eq!(reader.read(&mut [0]).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    });
}

/// In a process of its own: what another test's child has of this process until it runs its program would be a reader.
#[test]
fn opening_a_named_pipe_ends_in_time_with_io_uring() {
    let scenario = || {
        with_driver(Driver::IoUring, || {
            let folder = Folder::new();
            let path = folder.fifo();
            assert!(with_timeout(Duration::from_millis(5), || File::open(&path)).is_err());
            let opener = spawn({
                let path = path.clone();
                move || File::open(path)
            });
            idle();
            opener.kill();
            // Nobody is left who would read.
            let nonblocking = rustix::fs::OFlags::NONBLOCK.bits() as i32;
            let refused = OpenOptions::new().write(true).custom_flags(nonblocking).open(&path).unwrap_err();
            assert_eq!(refused.raw_os_error(), Some(rustix::io::Errno::NXIO.raw_os_error()));
        });
    };
    let Some(child) = run_child(LIMIT, scenario) else { return };
    assert!(child.status.success(), "{child:?}");
}
