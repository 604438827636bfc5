use std::fs;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, Once};
use std::time::{Duration, Instant};

use greenloop::net::{
    TcpListener, TcpStream, ToSocketAddrs, UdpSocket, lookup_host, set_lookup, system_lookup,
};
use greenloop::threadpool::unblock;
use greenloop::{spawn, with_timeout, yield_now};

use crate::support::{each_driver, run_child};

type Answer = io::Result<Vec<SocketAddr>>;

/// A name whose lookup runs on an OS thread until `answer` is called.
struct SlowName {
    name: String,
    answer: Sender<Answer>,
}

static SLOW_NAMES: Mutex<Vec<(String, std::sync::mpsc::Receiver<Answer>)>> = Mutex::new(Vec::new());

fn slow_name() -> SlowName {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    static SET: Once = Once::new();
    SET.call_once(|| {
        set_lookup(Some(Arc::new(|host, port| {
            let found = {
                let mut names = SLOW_NAMES.lock().unwrap();
                names.iter().position(|(name, _)| name == host).map(|index| names.remove(index))
            };
            match found {
                None => system_lookup(host, port),
                Some((_, answer)) => unblock(move || answer.recv().unwrap_or_else(|_| Ok(Vec::new()))),
            }
        })));
    });
    let name = format!("slow-{}", NUMBER.fetch_add(1, Ordering::SeqCst));
    let (answer, receiver) = channel();
    SLOW_NAMES.lock().unwrap().push((name.clone(), receiver));
    SlowName { name, answer }
}

fn is_known(name: &str) -> bool {
    SLOW_NAMES.lock().unwrap().iter().any(|(known, _)| known == name)
}

each_driver! {
    /// Conformance 147.
    fn a_time_limit_frees_the_caller_of_a_slow_lookup() {
        let slow = slow_name();
        let limit = Duration::from_millis(5);
        let start = Instant::now();
        let elapsed = with_timeout(limit, || TcpStream::connect((slow.name.as_str(), 80)).map(drop)).unwrap_err();
        assert_eq!(elapsed.limit(), limit);
        assert!(start.elapsed() >= limit);
        let slow = slow_name();
        let error = TcpStream::connect_within((slow.name.as_str(), 80), limit).unwrap_err();
        assert_eq!((error.kind(), error.to_string()), (ErrorKind::TimedOut, "connection timed out".to_owned()));
        drop(slow.answer);
    }

    fn others_run_during_a_lookup_and_a_kill_ends_it() {
        let slow = slow_name();
        let name = slow.name.clone();
        let looking = spawn(move || lookup_host((name, 80)).map(drop));
        while is_known(&slow.name) {
            yield_now();
        }
        assert!(!looking.is_finished());
        looking.kill();
        assert!(looking.join().unwrap_err().is_killed());
    }

    fn what_the_lookup_says_is_used() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let slow = slow_name();
        slow.answer.send(Ok(vec![crate::deaf(), address])).unwrap();
        let stream = TcpStream::connect(format!("{}:80", slow.name)).unwrap();
        assert_eq!(stream.peer_addr().unwrap(), address);
        let slow = slow_name();
        slow.answer.send(Ok(vec![address])).unwrap();
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect((slow.name, 1)).unwrap();
        assert_eq!(socket.peer_addr().unwrap(), address);
        let slow = slow_name();
        slow.answer.send(Err(ErrorKind::Unsupported.into())).unwrap();
        assert_eq!(TcpListener::bind((slow.name, 1)).unwrap_err().kind(), ErrorKind::Unsupported);
        let slow = slow_name();
        slow.answer.send(Ok(Vec::new())).unwrap();
        assert_eq!(TcpStream::connect((slow.name, 1)).unwrap_err().kind(), ErrorKind::InvalidInput);
    }

    /// Conformance 147: also when many ask at once.
    fn answers_are_those_of_std() {
        let expected: Vec<_> = std::net::ToSocketAddrs::to_socket_addrs("localhost:80").unwrap().collect();
        let looking: Vec<_> =
            (0..200).map(|_| spawn(|| lookup_host("localhost:80").unwrap().collect::<Vec<_>>())).collect();
        for looking in looking {
            assert_eq!(looking.join().unwrap(), expected);
        }
        assert_eq!(system_lookup("localhost", 80).unwrap(), expected);
    }
}

fn threads() -> usize {
    fs::read_dir("/proc/self/task").unwrap().count()
}

#[test]
fn numeric_addresses_never_leave_the_thread() {
    let child = run_child(Duration::from_secs(60), || {
        set_lookup(Some(Arc::new(|host, _| panic!("{host} was looked up"))));
        let before = threads();
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        TcpStream::connect(address).unwrap();
        TcpStream::connect(address.to_string()).unwrap();
        TcpStream::connect((address.ip(), address.port())).unwrap();
        TcpStream::connect((address.ip().to_string(), address.port())).unwrap();
        TcpStream::connect_within(address.to_string(), Duration::from_secs(10)).unwrap();
        assert_eq!("[::1]:80".to_socket_addrs().unwrap().count(), 1);
        assert_eq!(("::1", 80).to_socket_addrs().unwrap().count(), 1);
        assert_eq!(threads(), before);
        set_lookup(None).unwrap();
        assert!(lookup_host("localhost:80").unwrap().count() > 0);
        assert_eq!(threads(), before + 1);
    });
    let Some(child) = child else { return };
    assert!(child.status.success(), "{child:?}");
}

/// The lookups have threads of their own: jobs that never end cannot keep them from running.
#[test]
fn jobs_do_not_hold_up_lookups() {
    let child = run_child(Duration::from_secs(60), || {
        let (sender, receiver) = channel::<()>();
        let receiver = Arc::new(Mutex::new(receiver));
        let jobs: Vec<_> = (0..100)
            .map(|_| {
                let receiver = receiver.clone();
                spawn(move || unblock(move || receiver.lock().unwrap().recv().is_err()))
            })
            .collect();
        yield_now();
        assert!(lookup_host("localhost:80").unwrap().count() > 0);
        drop(sender);
        greenloop::joinall(&jobs);
    });
    let Some(child) = child else { return };
    assert!(child.status.success(), "{child:?}");
}
