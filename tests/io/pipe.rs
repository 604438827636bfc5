use std::fs;
use std::io::{self, ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use greenloop::io::{PipeReader, PipeWriter, pipe};
use greenloop::{JoinHandle, sleep, spawn, yield_now};

use crate::support::{each_driver, leaves_nothing_open};
use crate::{put, read_byte, readable, readable_as, settle, until_the_number_is_free};

const MEGABYTE: usize = 1 << 20;

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|index| (index * 7 + index / 251) as u8).collect()
}

/// Whether the open file behind `fd` is in nonblocking mode, as the kernel tells it.
fn is_nonblocking(fd: &impl AsRawFd) -> bool {
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", fd.as_raw_fd())).expect("fdinfo");
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:")).expect("a line of flags");
    u32::from_str_radix(flags.trim(), 8).expect("an octal number") & 0o4000 != 0
}

fn reading(reader: &Arc<PipeReader>, count: usize) -> JoinHandle<Vec<u8>> {
    let reader = Arc::clone(reader);
    spawn(move || (0..count).map(|_| read_byte(&reader)).collect())
}

each_driver! {
    fn bytes_arrive_and_the_end_after_them() {
        let (mut reader, mut writer) = pipe().unwrap();
        let text = spawn(move || io::read_to_string(&mut reader).unwrap());
        for word in ["green ", "threads ", "wait"] {
            yield_now();
            writer.write_all(word.as_bytes()).unwrap();
        }
        settle();
        assert!(!text.is_finished(), "the end has not come");
        drop(writer);
        assert_eq!(text.join().unwrap(), "green threads wait");
    }

    fn a_writer_without_reader_has_a_broken_pipe() {
        let (reader, mut writer) = pipe().unwrap();
        let blocked = spawn(move || writer.write_all(&pattern(MEGABYTE)).unwrap_err().kind());
        settle();
        assert!(!blocked.is_finished(), "the pipe holds less than a megabyte");
        drop(reader);
        assert_eq!(blocked.join().unwrap(), ErrorKind::BrokenPipe);
    }

    /// Conformance 143.
    fn a_megabyte_goes_through_to_a_reader_that_comes_late() {
        let (mut reader, mut writer) = pipe().unwrap();
        let writing = spawn(move || writer.write_all(&pattern(MEGABYTE)).unwrap());
        sleep(Duration::from_millis(20));
        assert!(!writing.is_finished());
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes, pattern(MEGABYTE));
        writing.join().unwrap();
    }

    fn slices_are_filled_in_order() {
        let (mut reader, mut writer) = pipe().unwrap();
        let (mut head, mut tail) = ([0; 3], [0; 10]);
        let written = spawn(move || writer.write_vectored(&[IoSlice::new(b"ab"), IoSlice::new(b"cdef")]).unwrap());
        let read = reader.read_vectored(&mut [IoSliceMut::new(&mut head), IoSliceMut::new(&mut tail)]).unwrap();
        assert_eq!((written.join().unwrap(), read), (6, 6));
        assert_eq!((&head, &tail[..3]), (b"abc", &b"def"[..]));
    }

    /// Bytes that stay behind a read are read without a new word from the kernel.
    fn readiness_lasts_until_all_is_read() {
        let (reader, writer) = readable();
        let first = spawn({
            let reader = reader.try_clone().unwrap();
            move || read_byte(&reader)
        });
        settle();
        put(&writer, b"abc");
        assert_eq!(first.join().unwrap(), b'a');
        assert_eq!([read_byte(&reader), read_byte(&reader)], *b"bc");
        let last = spawn(move || read_byte(&reader));
        settle();
        assert!(!last.is_finished());
        put(&writer, b"d");
        assert_eq!(last.join().unwrap(), b'd');
    }

    /// Readers in different hubs wait for one source.
    fn two_hubs_read_one_pipe() {
        let (reader, writer) = readable();
        let reader = Arc::new(reader);
        let here = reading(&reader, 500);
        let there = std::thread::spawn(move || (0..500).map(|_| read_byte(&reader)).collect::<Vec<u8>>());
        let bytes = pattern(1_000);
        for chunk in bytes.chunks(10) {
            put(&writer, chunk);
            yield_now();
        }
        let mut received = [here.join().unwrap(), there.join().unwrap()].concat();
        let mut sent = bytes;
        received.sort_unstable();
        sent.sort_unstable();
        assert_eq!(received, sent);
    }

    /// The source goes to another hub after this one came to know it, and ends where there is none.
    fn a_reader_moves_to_another_thread() {
        until_the_number_is_free(|| {
            let (reader, writer) = readable();
            let reader = Arc::new(reader);
            let first = reading(&reader, 1);
            settle();
            put(&writer, b"a");
            assert_eq!(first.join().unwrap(), b"a");
            let there = std::thread::spawn({
                let reader = reader.clone();
                move || [read_byte(&reader), read_byte(&reader)]
            });
            put(&writer, b"bc");
            assert_eq!(there.join().unwrap(), *b"bc");
            let number = reader.as_raw_fd();
            std::thread::spawn(move || drop(reader)).join().unwrap();
            // The next one with that number waits and reads here as if there had been none before.
            let (next, writer) = readable_as(number)?;
            let byte = reading(&Arc::new(next), 1);
            settle();
            assert!(!byte.is_finished());
            put(&writer, b"z");
            assert_eq!(byte.join().unwrap(), b"z");
            Some(())
        });
    }

    /// Conformance 174.
    fn a_number_that_is_used_again_starts_afresh() {
        until_the_number_is_free(|| {
            let (old, old_writer) = readable();
            let (number, duplicate) = (old.as_raw_fd(), old.as_fd().try_clone_to_owned().unwrap());
            let waiting = reading(&Arc::new(old), 1);
            settle();
            put(&old_writer, b"ab");
            assert_eq!(waiting.join().unwrap(), b"a");
            let (new, new_writer) = readable_as(number)?;
            let waiting = reading(&Arc::new(new), 1);
            settle();
            // The old file still exists, and becomes ready again.
            put(&old_writer, b"c");
            settle();
            assert!(!waiting.is_finished());
            put(&new_writer, b"n");
            assert_eq!(waiting.join().unwrap(), b"n");
            drop(duplicate);
            Some(())
        });
    }

    fn the_mode_is_as_it_was_found() {
        let (reader, writer) = pipe().unwrap();
        assert!(is_nonblocking(&reader) && is_nonblocking(&writer));
        let (mut reader, mut writer) = (io::PipeReader::from(reader), io::PipeWriter::from(writer));
        assert!(!is_nonblocking(&reader) && !is_nonblocking(&writer));
        writer.write_all(b"a").unwrap();
        reader.read_exact(&mut [0]).unwrap();

        let witness = reader.try_clone().unwrap();
        let ours = PipeReader::from(reader);
        assert!(is_nonblocking(&witness));
        let clone = ours.try_clone().unwrap();
        drop(ours);
        assert!(is_nonblocking(&witness));
        drop(clone);
        assert!(!is_nonblocking(&witness));

        let (kept, _writer) = pipe().unwrap();
        let found_nonblocking = kept.as_fd().try_clone_to_owned().unwrap();
        assert!(is_nonblocking(&OwnedFd::from(PipeReader::from(found_nonblocking))));
    }

    /// One clone of a writer goes to a child, which needs it blocking: the other one still stops nobody.
    fn a_clone_given_away_does_not_make_the_hub_block() {
        let (mut reader, mut writer) = pipe().unwrap();
        let given: io::PipeWriter = writer.try_clone().unwrap().into();
        assert!(!is_nonblocking(&writer));
        let writing = spawn(move || writer.write_all(&pattern(MEGABYTE)).unwrap());
        settle();
        assert!(!writing.is_finished());
        drop(given);
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes, pattern(MEGABYTE));

        let (reader, mut writer) = pipe().unwrap();
        let _given: io::PipeReader = reader.try_clone().unwrap().into();
        let byte = spawn(move || read_byte(&reader));
        settle();
        assert!(!byte.is_finished());
        writer.write_all(b"x").unwrap();
        assert_eq!(byte.join().unwrap(), b'x');
    }

    fn a_child_process_writes_into_it() {
        let (mut reader, writer) = pipe().unwrap();
        let mut command = Command::new("echo");
        command.arg("from a child").stderr(writer.try_clone().unwrap()).stdout(writer);
        let mut child = command.spawn().unwrap();
        drop(command);
        assert_eq!(io::read_to_string(&mut reader).unwrap(), "from a child\n");
        assert!(child.wait().unwrap().success());
    }
}

#[test]
fn nothing_stays_open() {
    leaves_nothing_open(Duration::from_secs(60), || {
        let (mut reader, writer) = pipe().unwrap();
        let clone = writer.try_clone().unwrap();
        let writing = spawn(move || (&clone).write_all(b"a").unwrap());
        reader.read_exact(&mut [0]).unwrap();
        writing.join().unwrap();
        let parked = spawn(move || read_byte(&reader));
        settle();
        parked.kill();
        drop(writer);
    });
}

#[test]
fn the_ends_go_to_other_threads() {
    fn is_send_and_sync<T: Send + Sync>() {}
    is_send_and_sync::<PipeReader>();
    is_send_and_sync::<PipeWriter>();
}
