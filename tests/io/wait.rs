use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::{Duration, Instant};

use greenloop::io::{Interest, PipeReader, wait_fd, wait_readable, wait_writable};
use greenloop::{JoinHandle, spawn, yield_now};
use rustix::event::{EventfdFlags, eventfd};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use crate::support::each_driver;
use crate::{put, read_byte, readable, settle};

const SOON: Option<Duration> = Some(Duration::from_millis(2));

fn waiting(fd: impl AsFd + 'static, interest: Interest) -> JoinHandle<Interest> {
    spawn(move || wait_fd(fd, interest, None).unwrap())
}

/// Fills a stream whose writes do not block.
fn fill(mut stream: &UnixStream) {
    stream.set_nonblocking(true).unwrap();
    while stream.write(&[0; 4096]).is_ok() {}
}

each_driver! {
    fn a_pipe_that_is_not_ours_is_waited_for() {
        let (mut reader, mut writer) = std::io::pipe().unwrap();
        let byte = spawn(move || {
            wait_readable(&reader).unwrap();
            let mut byte = [0];
            reader.read_exact(&mut byte).unwrap();
            (byte[0], reader)
        });
        settle();
        assert!(!byte.is_finished());
        writer.write_all(b"x").unwrap();
        let (byte, reader) = byte.join().unwrap();
        assert_eq!(byte, b'x');
        // And again by the same number.
        let again = waiting(reader, Interest::READABLE);
        settle();
        writer.write_all(b"y").unwrap();
        assert_eq!(again.join().unwrap(), Interest::READABLE);
    }

    fn readiness_is_not_used_up_by_waiting() {
        let (reader, writer) = std::io::pipe().unwrap();
        put(&writer, b"x");
        for _ in 0..3 {
            assert_eq!(wait_fd(&reader, Interest::BOTH, None).unwrap(), Interest::READABLE);
        }
        assert_eq!(wait_fd(&writer, Interest::BOTH, None).unwrap(), Interest::WRITABLE);
    }

    fn a_time_limit_is_kept() {
        let (reader, _writer) = std::io::pipe().unwrap();
        for limit in [Duration::ZERO, Duration::from_millis(3)] {
            let start = Instant::now();
            let error = wait_fd(&reader, Interest::READABLE, Some(limit)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::TimedOut);
            assert!(start.elapsed() >= limit);
        }
    }

    fn an_eventfd() {
        let event = Rc::new(eventfd(0, EventfdFlags::CLOEXEC).unwrap());
        assert_eq!(wait_fd(&event, Interest::BOTH, None).unwrap(), Interest::WRITABLE);
        let rung = spawn({
            let event = event.clone();
            move || {
                wait_readable(&event).unwrap();
                let mut count = [0; 8];
                rustix::io::read(&event, &mut count).unwrap();
                u64::from_ne_bytes(count)
            }
        });
        settle();
        rustix::io::write(&event, &5u64.to_ne_bytes()).unwrap();
        assert_eq!(rung.join().unwrap(), 5);
    }

    fn a_terminal() {
        let controller = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&controller).unwrap();
        unlockpt(&controller).unwrap();
        let path = ptsname(&controller, Vec::new()).unwrap();
        let terminal = File::options().read(true).write(true).open(path.to_str().unwrap()).unwrap();
        let line = spawn(move || {
            wait_readable(&terminal).unwrap();
            let mut line = [0; 100];
            let count = (&terminal).read(&mut line).unwrap();
            String::from_utf8_lossy(&line[..count]).into_owned()
        });
        settle();
        assert!(!line.is_finished());
        rustix::io::write(&controller, b"a line\n").unwrap();
        assert_eq!(line.join().unwrap(), "a line\n");
    }

    fn a_regular_file_is_always_ready() {
        let mut file = tempfile();
        assert_eq!(wait_fd(&file, Interest::BOTH, None).unwrap(), Interest::BOTH);
        file.write_all(b"text").unwrap();
        file.seek(SeekFrom::End(0)).unwrap();
        wait_readable(&file).unwrap();
        wait_readable(File::open("/dev/null").unwrap()).unwrap();
    }

    fn a_reader_and_a_writer_wait_independently() {
        let (one, mut other) = UnixStream::pair().unwrap();
        fill(&one);
        let one = Rc::new(one);
        let reading = waiting(one.clone(), Interest::READABLE);
        let writing = waiting(one.clone(), Interest::WRITABLE);
        let any = waiting(one.clone(), Interest::BOTH);
        settle();
        assert!(!reading.is_finished() && !writing.is_finished() && !any.is_finished());
        other.write_all(b"x").unwrap();
        settle();
        assert!(reading.is_finished() && !writing.is_finished());
        assert_eq!(any.join().unwrap(), Interest::READABLE);
        other.set_nonblocking(true).unwrap();
        while other.read(&mut [0; 65_536]).is_ok() {}
        assert_eq!(writing.join().unwrap(), Interest::WRITABLE);
    }

    fn all_who_wait_for_one_descriptor_go_on() {
        let (reader, writer) = std::io::pipe().unwrap();
        let reader = Rc::new(reader);
        let waiting: Vec<_> = (0..20).map(|_| waiting(reader.clone(), Interest::READABLE)).collect();
        settle();
        put(&writer, b"x");
        assert_eq!(greenloop::joinall(&waiting).len(), 20);
    }

    fn one_who_gives_up_leaves_the_others_waiting() {
        let (reader, writer) = std::io::pipe().unwrap();
        let reader = Rc::new(reader);
        let [first, second] = [(); 2].map(|()| waiting(reader.clone(), Interest::READABLE));
        settle();
        first.kill();
        assert!(wait_fd(&reader, Interest::READABLE, SOON).is_err());
        settle();
        assert!(!second.is_finished());
        put(&writer, b"x");
        second.join().unwrap();
    }

    /// The number is registered with the hub for good already.
    fn what_greenloop_owns_can_be_waited_for() {
        let (reader, writer) = readable();
        let reader = Rc::new(reader);
        let byte = spawn({ let reader = reader.clone(); move || read_byte(&reader) });
        settle();
        let watching = waiting(reader.clone(), Interest::READABLE);
        settle();
        assert!(!watching.is_finished());
        put(&writer, b"ab");
        assert_eq!(watching.join().unwrap(), Interest::READABLE);
        assert_eq!(byte.join().unwrap(), b'a');
        wait_readable(&reader).unwrap();
        assert_eq!(read_byte(&reader), b'b');
        let error = wait_fd(&reader, Interest::READABLE, SOON).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        // Still in the hub's hands.
        let byte = spawn(move || read_byte(&reader));
        settle();
        put(&writer, b"c");
        assert_eq!(byte.join().unwrap(), b'c');
    }

    /// Somebody waits by hand before the number is registered for good.
    fn what_is_waited_for_can_become_greenloops() {
        let (reader, writer) = std::io::pipe().unwrap();
        let reader = Rc::new(PipeReader::from(reader));
        let watching = waiting(reader.clone(), Interest::READABLE);
        settle();
        let byte = spawn({
            let reader = reader.clone();
            move || read_byte(&reader)
        });
        settle();
        assert!(!watching.is_finished() && !byte.is_finished());
        put(&writer, b"ab");
        assert_eq!(watching.join().unwrap(), Interest::READABLE);
        assert_eq!((byte.join().unwrap(), read_byte(&reader)), (b'a', b'b'));
        // And stops being that: the number is waited for by hand again.
        let reader = OwnedFd::from(Rc::into_inner(reader).unwrap());
        let watching = waiting(reader, Interest::READABLE);
        settle();
        put(&writer, b"c");
        watching.join().unwrap();
    }

    fn the_end_and_an_error_count_as_ready() {
        let (reader, writer) = std::io::pipe().unwrap();
        let (at_reader, at_writer) = std::io::pipe().unwrap();
        let mut filled = at_writer.try_clone().unwrap();
        filled.write_all(&[0; 65_536]).unwrap();
        let end = waiting(reader, Interest::READABLE);
        let broken = spawn(move || wait_writable(&at_writer).unwrap());
        settle();
        assert!(!end.is_finished() && !broken.is_finished());
        drop(writer);
        drop(at_reader);
        assert_eq!(end.join().unwrap(), Interest::READABLE);
        broken.join().unwrap();
    }

    /// Conformance 142: the hub takes no harm, and the next with that number is waited for as if nothing had been.
    fn a_descriptor_closed_under_the_wait_harms_nobody() {
        let (reader, writer) = std::io::pipe().unwrap();
        let duplicate = reader.try_clone().unwrap();
        let slot = reader.as_raw_fd();
        let stranded = spawn(move || wait_fd(crate::closed::number(slot), Interest::READABLE, Some(Duration::from_millis(50))));
        settle();
        let (next, next_writer) = std::io::pipe().unwrap();
        // In one step: the old pipe is closed, and its number means the new one.
        let mut reader = OwnedFd::from(reader);
        rustix::io::dup2(&next, &mut reader).unwrap();
        drop(next);
        let reader = Rc::new(reader);
        let on_next = waiting(reader.clone(), Interest::READABLE);
        settle();
        put(&next_writer, b"x");
        assert_eq!(on_next.join().unwrap(), Interest::READABLE);
        rustix::io::read(&reader, &mut [0; 1]).unwrap();
        // The old file still exists, and becomes ready.
        let on_next = waiting(reader, Interest::READABLE);
        settle();
        put(&writer, b"for the duplicate");
        settle();
        assert!(!on_next.is_finished());
        put(&next_writer, b"y");
        assert_eq!(on_next.join().unwrap(), Interest::READABLE);
        // Whoever waited for the old one has a word from the new one, or no word at all.
        let _ = stranded.join().unwrap();
        drop(duplicate);
        yield_now();
    }

    fn a_descriptor_that_is_not_open_gives_ebadf() {
        let (reader, _writer) = std::io::pipe().unwrap();
        let free = crate::closed::free_number();
        for interest in [Interest::READABLE, Interest::WRITABLE, Interest::BOTH] {
            let error = wait_fd(crate::closed::number(free), interest, SOON).unwrap_err();
            assert_eq!(error.raw_os_error(), Some(rustix::io::Errno::BADF.raw_os_error()));
        }
        drop(reader);
    }
}

fn tempfile() -> File {
    let fd = rustix::fs::memfd_create("regular", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
    fd.into()
}

#[test]
fn interests_are_sets() {
    assert_eq!(Interest::READABLE | Interest::WRITABLE, Interest::BOTH);
    assert_eq!(Interest::READABLE | Interest::READABLE, Interest::READABLE);
    assert!(Interest::READABLE.is_readable() && !Interest::READABLE.is_writable());
    assert_eq!(format!("{:?} {:?}", Interest::BOTH, Interest::WRITABLE), "Interest::BOTH Interest::WRITABLE");
}
