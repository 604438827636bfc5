use std::io::{BufRead, BufReader, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt, PermissionsExt};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use greenloop::fs::{File, FileTimes, OpenOptions, Permissions, TryLockError};
use greenloop::spawn;

use crate::support::{each_driver, leaves_nothing_open, within};
use crate::{Folder, LIMIT, is_nonblocking};

/// Case 144: reads and writes of every size, at every place.
#[test]
fn bytes_come_back_as_they_went() {
    within(LIMIT, || {
        let folder = Folder::new();
        let mut file = File::create_new(folder.join("file")).unwrap();
        // More than goes in one trip.
        let bytes: Vec<u8> = (0..3_000_000_u32).map(|number| number as u8).collect();
        file.write_all(&bytes).unwrap();
        assert_eq!(file.stream_position().unwrap(), 3_000_000);
        assert_eq!(file.read(&mut [0; 8]).unwrap(), 0);
        file.rewind().unwrap();
        let mut all = Vec::new();
        assert_eq!((&file).read_to_end(&mut all).unwrap(), 3_000_000);
        assert_eq!(all, bytes);
        file.seek(SeekFrom::End(-5)).unwrap();
        let mut some = [0; 5];
        file.read_exact(&mut some).unwrap();
        assert_eq!(some, bytes[2_999_995..]);
        assert_eq!(file.read_exact(&mut some).unwrap_err().kind(), ErrorKind::UnexpectedEof);
        assert_eq!(file.seek(SeekFrom::Current(-4_000_000)).unwrap_err().kind(), ErrorKind::InvalidInput);
        file.write_at(b"abc", 1).unwrap();
        file.read_exact_at(&mut some, 0).unwrap();
        assert_eq!(&some, &[0, b'a', b'b', b'c', 4]);
        assert_eq!(file.read(&mut []).unwrap(), 0);
        file.flush().unwrap();
    });
}

each_driver! {
    /// What the kernel has in memory, on a file system that can tell.
    fn what_is_in_memory_is_read_without_a_wait() {
        let folder = Folder::new();
        let path = folder.join("file");
        std::fs::write(&path, [7; 4096]).unwrap();
        let mut file = File::open(&path).unwrap();
        let mut bytes = [0; 100];
        let slices = &mut [std::io::IoSliceMut::new(&mut bytes)];
        if rustix::io::preadv2(&file, slices, 0, rustix::io::ReadWriteFlags::NOWAIT).is_err() {
            return;
        }
        let other = spawn(|| ());
        assert_eq!(file.read(&mut bytes).unwrap(), 100);
        assert_eq!(file.seek(SeekFrom::Start(3_996)).unwrap(), 3_996);
        assert_eq!(file.read(&mut bytes).unwrap(), 100);
        assert_eq!(file.read_at(&mut bytes, 4_000).unwrap(), 96);
        assert_eq!(bytes, [7; 100]);
        assert!(!other.is_finished(), "it has yielded");
        assert_eq!(file.read(&mut bytes).unwrap(), 0);
    }

    /// Whether it lies in memory or has to come from the disk, each byte goes to one of those who read at the same position.
    fn readers_share_a_position() {
        let folder = Folder::new();
        let path = folder.join("file");
        let bytes: Vec<u8> = (0..100_000).flat_map(u32::to_be_bytes).collect();
        std::fs::write(&path, &bytes).unwrap();
        let file = Arc::new(File::open(&path).unwrap());
        file.sync_all().unwrap();
        let readers: Vec<_> = (0..8)
            .map(|reader| {
                let file = file.clone();
                spawn(move || {
                    let mut parts = Vec::new();
                    loop {
                        let mut part = vec![0; 1000 + 4 * reader];
                        let count = (&*file).read(&mut part).unwrap();
                        part.truncate(count);
                        if part.is_empty() {
                            return parts;
                        }
                        // Now and then the rest has to come from the disk again.
                        if parts.len() % 16 == 5 {
                            rustix::fs::fadvise(&*file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
                        }
                        parts.push(part);
                        greenloop::yield_now();
                    }
                })
            })
            .collect();
        let mut parts: Vec<_> = readers.into_iter().flat_map(|reader| reader.join().unwrap()).collect();
        // By the numbers with which they begin: memory ends between pages.
        parts.sort_unstable();
        assert!(parts.concat() == bytes);
    }
}

#[test]
fn an_open_file_is_changed_as_stds_is() {
    within(LIMIT, || {
        let folder = Folder::new();
        let path = folder.join("file");
        let mut file = OpenOptions::new().write(true).create(true).mode(0o600).open(&path).unwrap();
        file.write_all(b"0123456789").unwrap();
        file.sync_all().unwrap();
        file.sync_data().unwrap();
        file.set_len(4).unwrap();
        assert_eq!(file.metadata().unwrap().len(), 4);
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        file.set_permissions(Permissions::from_mode(0o640)).unwrap();
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o640);
        let long_ago = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        file.set_modified(long_ago).unwrap();
        assert_eq!(file.metadata().unwrap().modified().unwrap(), long_ago);
        file.set_times(FileTimes::new().set_accessed(long_ago)).unwrap();
        assert_eq!(file.metadata().unwrap().accessed().unwrap(), long_ago);
        let again = File::create_new(&path).unwrap_err();
        assert_eq!(again.kind(), ErrorKind::AlreadyExists);
        assert_eq!(File::open(&path).unwrap().metadata().unwrap().len(), 4);
        assert_eq!(File::create(&path).unwrap().metadata().unwrap().len(), 0);
        assert_eq!(OpenOptions::new().open(&path).unwrap_err().kind(), ErrorKind::InvalidInput);
    });
}

#[test]
fn clones_and_conversions_share_the_open_file() {
    within(LIMIT, || {
        let folder = Folder::new();
        let path = folder.join("file");
        let mut file =
            File::options().read(true).write(true).create(true).truncate(true).open(&path).unwrap();
        file.write_all(b"one\ntwo\nthree\n").unwrap();
        let mut clone = file.try_clone().unwrap();
        clone.seek(SeekFrom::Start(4)).unwrap();
        let lines: Vec<_> = BufReader::new(&file).lines().map(Result::unwrap).collect();
        assert_eq!(lines, ["two", "three"]);
        let fd = OwnedFd::from(file);
        let mut file = File::from(std::fs::File::from(fd));
        file.rewind().unwrap();
        drop(clone);
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        assert_eq!(text, "one\ntwo\nthree\n");
        file.write_all_at(&[0xff], 0).unwrap();
        file.rewind().unwrap();
        let kept = text.clone();
        assert_eq!(file.read_to_string(&mut text).unwrap_err().kind(), ErrorKind::InvalidData);
        assert_eq!(text, kept);
        let output = greenloop_output(file);
        assert_eq!(output, "");
    });
}

/// What a child that has the file as its standard input reads of it.
fn greenloop_output(file: File) -> String {
    let output = greenloop::process::Command::new("cat").stdin(file).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn locks_keep_others_out_and_make_them_wait() {
    within(LIMIT, || {
        let folder = Folder::new();
        let open = || File::create(folder.join("file")).unwrap();
        let (one, other, third) = (open(), open(), open());
        one.lock_shared().unwrap();
        other.try_lock_shared().unwrap();
        assert!(matches!(third.try_lock(), Err(TryLockError::WouldBlock)));
        other.unlock().unwrap();
        one.lock().unwrap();
        assert!(matches!(other.try_lock_shared(), Err(TryLockError::WouldBlock)));
        let waiter = spawn(move || other.lock().map(|()| other));
        greenloop::sleep(Duration::from_millis(5));
        assert!(!waiter.is_finished());
        one.unlock().unwrap();
        let other = waiter.join().unwrap().unwrap();
        assert!(matches!(one.try_lock(), Err(TryLockError::WouldBlock)));
        // It goes with the file.
        drop(other);
        one.lock().unwrap();
    });
}

#[test]
fn nothing_stays_open() {
    leaves_nothing_open(LIMIT, || {
        let folder = Folder::new();
        let file = File::create_new(folder.join("file")).unwrap();
        assert!(!is_nonblocking(&file));
        let clone = file.try_clone().unwrap();
        drop(file);
        (&clone).write_all(b"x").unwrap();
        drop(clone);
        assert_eq!(greenloop::fs::read_dir(&folder).unwrap().count(), 1);
    });
}
