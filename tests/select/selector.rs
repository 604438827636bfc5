use std::fs::File;
use std::io::{ErrorKind, Read, Write, pipe};
use std::os::fd::AsRawFd;
use std::rc::Rc;
use std::time::{Duration, Instant};

use greenloop::io::Interest;
use greenloop::net::unix::UnixStream;
use greenloop::select::{Key, Selector};
use greenloop::{spawn, with_timeout, yield_now};

use super::support::each_driver;
use super::{LONG, SHORT};

/// The data of those that are ready, in order.
fn ready<D: Clone + Ord>(selector: &Selector<D>, timeout: Option<Duration>) -> Vec<D> {
    let ready = selector.select(timeout).unwrap();
    let mut data: Vec<_> = ready.into_iter().map(|(key, _)| key.data).collect();
    data.sort();
    data
}

each_driver! {
    fn it_tells_as_long_as_it_is_so() {
        let selector = Selector::new().unwrap();
        let (mut reader, mut writer) = pipe().unwrap();
        selector.register(&reader, Interest::READABLE, 1).unwrap();
        assert_eq!(ready(&selector, Some(Duration::ZERO)), []);
        writer.write_all(b"ab").unwrap();
        for _ in 0..3 {
            assert_eq!(ready(&selector, Some(LONG)), [1]);
        }
        reader.read_exact(&mut [0]).unwrap();
        assert_eq!(ready(&selector, None), [1], "one byte is left");
        reader.read_exact(&mut [0]).unwrap();
        let start = Instant::now();
        assert_eq!(ready(&selector, Some(SHORT)), []);
        assert!(start.elapsed() >= SHORT);
        drop(writer);
        assert_eq!(ready(&selector, None), [1], "the end");
        assert_eq!(ready(&selector, None), [1]);
    }

    fn it_parks_its_caller_alone() {
        let selector = Rc::new(Selector::new().unwrap());
        let (reader, mut writer) = pipe().unwrap();
        let other = spawn({
            let selector = selector.clone();
            move || {
                // Registered while another one waits.
                selector.register(&reader, Interest::READABLE, "late").unwrap();
                yield_now();
                writer.write_all(b"a").unwrap();
                (reader, writer)
            }
        });
        assert_eq!(ready(&selector, Some(LONG)), ["late"]);
        let _open = other.join().unwrap();
        selector.unregister(&_open.0).unwrap();
        assert!(with_timeout(SHORT, || selector.select(None)).is_err());
    }

    fn keys_come_and_go() {
        let selector = Selector::new().unwrap();
        let (one, other) = UnixStream::pair().unwrap();
        let kind = |result: std::io::Result<()>| result.unwrap_err().kind();
        assert_eq!(kind(selector.modify(&one, Interest::BOTH, 1)), ErrorKind::NotFound);
        assert_eq!(kind(selector.unregister(&one).map(drop)), ErrorKind::NotFound);
        assert_eq!(selector.get_key(&one), None);
        selector.register(&one, Interest::READABLE, 1).unwrap();
        selector.register(&other, Interest::BOTH, 2).unwrap();
        assert_eq!(kind(selector.register(&one, Interest::BOTH, 3)), ErrorKind::AlreadyExists);
        let key = Key { fd: one.as_raw_fd(), events: Interest::READABLE, data: 1 };
        assert_eq!(selector.get_key(&one), Some(key.clone()));
        assert_eq!(selector.keys().len(), 2);

        let told = selector.select(None).unwrap();
        let other_key = Key { fd: other.as_raw_fd(), events: Interest::BOTH, data: 2 };
        assert_eq!(told, [(other_key, Interest::WRITABLE)]);
        (&one).write_all(b"a").unwrap();
        assert_eq!(selector.select(None).unwrap()[0].1, Interest::BOTH);
        selector.modify(&one, Interest::WRITABLE, 4).unwrap();
        selector.modify(&other, Interest::READABLE, 5).unwrap();
        assert_eq!(ready(&selector, None), [4, 5]);
        // Only the data.
        selector.modify(&other, Interest::READABLE, 6).unwrap();
        assert_eq!(ready(&selector, None), [4, 6]);
        assert_eq!(selector.unregister(&one).unwrap(), Key { events: Interest::WRITABLE, data: 4, ..key });
        assert_eq!(ready(&selector, None), [6]);
        selector.unregister(&other.as_raw_fd()).unwrap();
        assert!(selector.is_empty() && selector.keys().is_empty());
        assert_eq!(ready(&selector, Some(SHORT)), []);
    }

    fn a_file_is_always_ready() {
        let selector = Selector::new().unwrap();
        let file = File::open("/proc/self/exe").unwrap();
        let (reader, mut writer) = pipe().unwrap();
        selector.register(&file, Interest::BOTH, 1).unwrap();
        selector.register(&reader, Interest::READABLE, 2).unwrap();
        assert_eq!(selector.select(None).unwrap()[0].1, Interest::BOTH);
        writer.write_all(b"a").unwrap();
        selector.modify(&file, Interest::READABLE, 3).unwrap();
        assert_eq!(ready(&selector, None), [2, 3]);
        selector.unregister(&file).unwrap();
        assert_eq!(ready(&selector, None), [2]);
    }

    /// Conformance 142.
    fn a_descriptor_that_is_closed_harms_nobody() {
        let selector = Rc::new(Selector::new().unwrap());
        let (one, other) = UnixStream::pair().unwrap();
        let (reader, mut writer) = pipe().unwrap();
        selector.register(&one, Interest::BOTH, 1).unwrap();
        selector.register(&reader, Interest::READABLE, 2).unwrap();
        let number = one.as_raw_fd();
        // Before: it is not heard of any more, and can be unregistered.
        one.close().unwrap();
        assert_eq!(ready(&selector, Some(SHORT)), []);
        assert!(selector.modify(&number, Interest::READABLE, 3).is_err());
        assert_eq!(selector.unregister(&number).unwrap_err().kind(), ErrorKind::NotFound, "modify took it out");
        assert!(selector.register(&one, Interest::READABLE, 3).is_err());
        // While somebody selects.
        selector.register(&other, Interest::READABLE, 4).unwrap();
        assert_eq!(ready(&selector, Some(SHORT)), [4], "the other end has gone");
        let closing = spawn(move || {
            other.close().unwrap();
            writer.write_all(b"a").unwrap();
        });
        selector.modify(&reader, Interest::READABLE, 5).unwrap();
        closing.join().unwrap();
        assert_eq!(ready(&selector, Some(LONG)), [5]);
        assert_eq!(selector.keys().len(), 2);
    }
}
