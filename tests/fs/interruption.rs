use std::io::Read;
use std::time::Duration;

use greenloop::fs::{self, File, TryLockError};
use greenloop::{spawn, yield_now};

use crate::support::within;
use crate::{Folder, LIMIT, until};

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
