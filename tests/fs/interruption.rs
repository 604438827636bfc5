use std::io::{Read, Write};
use std::sync::mpsc::channel;
use std::time::Duration;

use greenloop::fs::{self, File, TryLockError};
use greenloop::hub::{Config, Driver, configure};
use greenloop::threadpool::unblock;
use greenloop::{spawn, with_timeout, yield_now};

use crate::support::{run_child, within};
use crate::{Folder, LIMIT, until};

/// All threads of the shared pool are busy, so that nothing begins: in a process of its own, on a driver that leaves all to them.
#[test]
fn what_has_not_begun_is_not_done() {
    let child = run_child(LIMIT, || {
        configure(Config::new().driver(Driver::Epoll)).unwrap();
        let folder = Folder::new();
        let path = folder.join("file");
        fs::write(&path, "before").unwrap();
        let file = File::options().read(true).write(true).open(&path).unwrap();
        let (open, gate) = channel::<()>();
        let gate = std::sync::Arc::new(std::sync::Mutex::new(gate));
        let busy: Vec<_> = (0..64)
            .map(|_| {
                let gate = gate.clone();
                spawn(move || unblock(move || gate.lock().unwrap().recv().is_err()))
            })
            .collect();
        yield_now();
        let soon = Duration::from_millis(5);
        assert!(with_timeout(soon, || fs::write(&path, "after")).is_err());
        assert!(with_timeout(soon, || fs::remove_file(&path)).is_err());
        assert!(with_timeout(soon, || (&file).write_all(b"after")).is_err());
        let mut buffer = vec![0; 6];
        assert!(with_timeout(soon, || (&file).read(&mut buffer)).is_err());
        assert!(with_timeout(soon, || file.try_lock()).is_err());
        let killed = spawn({
            let path = path.clone();
            move || fs::rename(&path, "elsewhere")
        });
        yield_now();
        killed.kill();
        drop(open);
        assert!(busy.into_iter().all(|task| task.join().unwrap()));
        assert_eq!(fs::read(&path).unwrap(), b"before");
        assert_eq!(buffer, [0; 6]);
        File::open(&path).unwrap().try_lock().unwrap();
    });
    let Some(child) = child else { return };
    assert!(child.status.success(), "{child:?}");
}

/// At every moment: a lock that nobody got is free, and a read or a write is done as a whole or not at all.
#[test]
fn kills_at_any_moment_leave_no_lock() {
    within(LIMIT, || {
        let folder = Folder::new();
        let path = folder.join("file");
        fs::write(&path, "").unwrap();
        for micros in 0..200 {
            let file = File::open(&path).unwrap();
            let locker = spawn(move || {
                let result = file.try_lock();
                (result, file)
            });
            greenloop::sleep(Duration::from_micros(micros % 50));
            locker.kill();
            drop(locker);
            // A lock on its way to nobody is undone soon.
            let other = File::open(&path).unwrap();
            until(|| match other.try_lock() {
                Ok(()) => true,
                Err(TryLockError::WouldBlock) => false,
                Err(TryLockError::Error(error)) => panic!("{error}"),
            });
        }
    });
}

#[test]
fn buffers_that_are_gone_are_not_written_to() {
    within(LIMIT, || {
        let folder = Folder::new();
        let path = folder.join("file");
        fs::write(&path, vec![7; 1 << 20]).unwrap();
        for micros in 0..100 {
            let reader = spawn({
                let path = path.clone();
                move || {
                    let mut buffer = vec![0; 1 << 20];
                    let mut file = File::open(path).unwrap();
                    let count = file.read(&mut buffer).unwrap();
                    assert!(buffer[..count].iter().all(|&byte| byte == 7));
                }
            });
            greenloop::sleep(Duration::from_micros(micros));
            reader.kill();
            if let Err(error) = reader.join() {
                assert!(error.is_killed());
            }
        }
    });
}

#[test]
fn an_operation_in_a_destructor_is_done() {
    struct Removes(std::path::PathBuf);
    impl Drop for Removes {
        fn drop(&mut self) {
            fs::remove_file(&self.0).unwrap();
        }
    }
    within(LIMIT, || {
        let folder = Folder::new();
        let path = folder.join("file");
        fs::write(&path, "").unwrap();
        let task = spawn({
            let removes = Removes(path.clone());
            move || {
                let _removes = removes;
                greenloop::sleep(LIMIT);
            }
        });
        yield_now();
        task.kill();
        assert!(!fs::exists(&path).unwrap());
    });
}
