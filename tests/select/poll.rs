use std::fs::File;
use std::io::{Write, pipe};
use std::time::Instant;

use greenloop::net::unix::UnixStream;
use greenloop::select::{self, PollFd, PollFlags};
use greenloop::{spawn, with_timeout, yield_now};

use super::support::each_driver;
use super::{LONG, SHORT};

each_driver! {
    fn it_parks_its_caller_alone() {
        let (reader, mut writer) = pipe().unwrap();
        let writing = spawn(move || {
            yield_now();
            writer.write_all(b"a").unwrap();
            writer
        });
        let mut fds = [PollFd::new(&reader, PollFlags::IN)];
        assert_eq!(select::poll(&mut fds, Some(LONG)).unwrap(), 1);
        assert_eq!((fds[0].events(), fds[0].revents()), (PollFlags::IN, PollFlags::IN));
        drop(writing.join().unwrap());
        assert_eq!(select::poll(&mut fds, Some(LONG)).unwrap(), 1);
        assert!(fds[0].revents().contains(PollFlags::IN | PollFlags::HUP), "level, not edge: {fds:?}");
    }

    fn the_time_is_over() {
        let (reader, _writer) = pipe().unwrap();
        let mut fds = [PollFd::new(&reader, PollFlags::IN), PollFd::new(&reader, PollFlags::empty())];
        let start = Instant::now();
        assert_eq!(select::poll(&mut fds, Some(SHORT)).unwrap(), 0);
        assert!(start.elapsed() >= SHORT);
        assert_eq!(select::poll(&mut fds, Some(std::time::Duration::ZERO)).unwrap(), 0);
        assert_eq!(select::poll(&mut [], Some(SHORT)).unwrap(), 0);
        assert!(with_timeout(SHORT, || select::poll(&mut fds, None)).is_err());
        assert_eq!(fds.map(|fd| fd.revents()), [PollFlags::empty(); 2]);
    }

    fn several_in_several_directions() {
        let (one, other) = UnixStream::pair().unwrap();
        let (reader, writer) = pipe().unwrap();
        let file = File::open("/proc/self/exe").unwrap();
        let mut fds = [
            PollFd::new(&one, PollFlags::IN | PollFlags::OUT),
            PollFd::new(&reader, PollFlags::IN),
            PollFd::new(&file, PollFlags::IN),
            PollFd::new(&writer, PollFlags::OUT),
            PollFd::new(&one, PollFlags::IN),
        ];
        assert_eq!(select::poll(&mut fds, None).unwrap(), 3);
        let ready = fds.map(|fd| fd.revents());
        let nothing = PollFlags::empty();
        assert_eq!(ready, [PollFlags::OUT, nothing, PollFlags::IN, PollFlags::OUT, nothing]);
        // Twice the same descriptor, in one wait.
        let mut fds = [PollFd::new(&one, PollFlags::IN), PollFd::new(&one, PollFlags::IN)];
        let writing = spawn(move || (&other).write_all(b"a").map(|()| other));
        assert_eq!(select::poll(&mut fds, None).unwrap(), 2);
        writing.join().unwrap().unwrap();
    }

    /// Conformance 142.
    fn a_descriptor_that_is_closed_harms_nobody() {
        let (one, _other) = UnixStream::pair().unwrap();
        let one = std::rc::Rc::new(one);
        let closing = spawn({
            let one = one.clone();
            move || one.close().unwrap()
        });
        // Closed under the wait: it is told.
        let mut fds = [PollFd::new(&one, PollFlags::IN)];
        let ready = select::poll(&mut fds, Some(LONG)).unwrap();
        assert!(closing.is_finished());
        assert_eq!((ready, fds[0].revents()), (1, PollFlags::NVAL));
        // Closed before.
        assert_eq!(select::poll(&mut fds, Some(LONG)).unwrap(), 1);
        fds[0].set_events(PollFlags::OUT);
        assert_eq!(select::poll(&mut fds, None).unwrap(), 1);
        assert_eq!(format!("{:?}", fds[0].revents()), "PollFlags(NVAL)");
    }
}
