use std::io::ErrorKind;
use std::os::fd::AsFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use greenloop::net::unix::{UnixListener, UnixStream};
use greenloop::net::{TcpListener, TcpStream};
use greenloop::{spawn, with_timeout};

use crate::support::{each_driver, leaves_nothing_open};
use crate::{deaf, settle, unix_address, unresponsive};

const LIMIT: Duration = Duration::from_secs(60);

/// Not a certain number of times: on a busy machine one that was to fill the backlog may have been given up, and yet be accepted.
fn accept_for_ever(listener: &TcpListener) -> ! {
    loop {
        drop(listener.accept().unwrap());
    }
}

each_driver! {
    fn a_connection_waits_for_room_in_the_backlog() {
        let (listener, _inside) = unresponsive();
        let address = listener.local_addr().unwrap();
        let connecting = spawn(move || TcpStream::connect(address).unwrap());
        settle();
        assert!(!connecting.is_finished());
        // The kernel tries again after a second.
        let accepting = spawn(move || accept_for_ever(&listener));
        let stream = connecting.join().unwrap();
        assert_eq!(stream.peer_addr().unwrap(), address);
        assert!(!rustix::fs::fcntl_getfl(stream.as_fd()).unwrap().contains(rustix::fs::OFlags::NONBLOCK));
        accepting.kill();
    }

    fn a_limit_ends_the_attempt() {
        let (listener, _inside) = unresponsive();
        let address = listener.local_addr().unwrap();
        let limit = Duration::from_millis(10);
        let start = Instant::now();
        let error = TcpStream::connect_timeout(&address, limit).unwrap_err();
        assert_eq!((error.kind(), error.to_string()), (ErrorKind::TimedOut, "connection timed out".to_owned()));
        assert!(start.elapsed() >= limit && start.elapsed() < LIMIT);
        // Several addresses have it together.
        let error = TcpStream::connect_within(&[address; 5][..], limit).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        assert!(with_timeout(limit, || TcpStream::connect(address)).is_err());
        let killed = spawn(move || TcpStream::connect(address).map(drop));
        settle();
        killed.kill();
        assert!(killed.join().unwrap_err().is_killed());
    }

    fn an_address_that_does_not_answer_costs_its_start_only() {
        let (dead, _inside) = unresponsive();
        let alive = TcpListener::bind("127.0.0.1:0").unwrap();
        let addresses = [dead.local_addr().unwrap(), deaf(), alive.local_addr().unwrap()];
        let start = Instant::now();
        let stream = TcpStream::connect(&addresses[..]).unwrap();
        assert_eq!(stream.peer_addr().unwrap(), addresses[2]);
        assert!(start.elapsed() >= Duration::from_millis(250));
        // Nobody else has come in: the attempt that lost is given up.
        assert_eq!(alive.accept().unwrap().1, stream.local_addr().unwrap());
        alive.set_nonblocking(true).unwrap();
        assert_eq!(alive.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
    }

    fn the_first_to_answer_wins() {
        let (slow, _inside) = unresponsive();
        let (dead, _full) = unresponsive();
        let addresses = [slow.local_addr().unwrap(), dead.local_addr().unwrap()];
        let connecting = spawn(move || TcpStream::connect(&addresses[..]).unwrap().peer_addr().unwrap());
        let accepting = spawn(move || accept_for_ever(&slow));
        assert_eq!(connecting.join().unwrap(), addresses[0]);
        accepting.kill();
    }

    fn a_kill_gives_up_every_attempt() {
        let (dead, _inside) = unresponsive();
        let addresses = [dead.local_addr().unwrap(); 3];
        let connecting = spawn(move || TcpStream::connect(&addresses[..]).map(drop));
        settle();
        connecting.kill();
        assert!(connecting.join().unwrap_err().is_killed());
        // Otherwise `within` would find the hub busy for minutes.
        greenloop::idle();
    }

    fn the_error_is_that_of_the_last_address() {
        let (dead, _inside) = unresponsive();
        let addresses = [dead.local_addr().unwrap(), deaf()];
        let error = TcpStream::connect_within(&addresses[..], Duration::from_millis(300)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        assert_eq!(TcpStream::connect(&[deaf(), deaf()][..]).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    }

    /// Conformance 139.
    fn refused_and_impossible_addresses() {
        assert_eq!(TcpStream::connect(deaf()).unwrap_err().raw_os_error(), Some(libc::ECONNREFUSED));
        assert_eq!(TcpStream::connect("127.0.0.1:http").unwrap_err().kind(), ErrorKind::InvalidInput);
        assert_eq!(TcpStream::connect("127.0.0.1:65536").unwrap_err().kind(), ErrorKind::InvalidInput);
        let error = TcpStream::connect_within(deaf(), Duration::ZERO).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    }

    fn while_unwinding_nothing_waits_for_a_connection() {
        struct ConnectsWhenDropped(std::net::SocketAddr, std::sync::mpsc::Sender<ErrorKind>);
        impl Drop for ConnectsWhenDropped {
            fn drop(&mut self) {
                let addresses = [self.0; 2];
                self.1.send(TcpStream::connect(&addresses[..]).unwrap_err().kind()).unwrap();
                self.1.send(TcpStream::connect("localhost:1").unwrap_err().kind()).unwrap();
            }
        }
        let (dead, _inside) = unresponsive();
        let (sender, kinds) = std::sync::mpsc::channel();
        let guard = ConnectsWhenDropped(dead.local_addr().unwrap(), sender);
        let unwound = catch_unwind(AssertUnwindSafe(move || {
            let _guard = guard;
            std::panic::resume_unwind(Box::new(()));
        }));
        assert!(unwound.is_err());
        assert_eq!(kinds.iter().collect::<Vec<_>>(), [ErrorKind::Other, ErrorKind::Other]);
    }

    fn a_unix_connection_waits_for_room_in_the_backlog() {
        let address = unix_address();
        let listener = UnixListener::bind_addr(&address).unwrap();
        rustix::net::listen(&listener, 0).unwrap();
        let _inside = UnixStream::connect_addr(&address).unwrap();
        let limit = Duration::from_millis(10);
        assert!(with_timeout(limit, || UnixStream::connect_addr(&address)).is_err());
        let connecting = spawn(move || UnixStream::connect_addr(&address));
        settle();
        assert!(!connecting.is_finished());
        let _first = listener.accept().unwrap();
        connecting.join().unwrap().unwrap();
    }
}

#[test]
fn what_was_given_up_is_closed() {
    leaves_nothing_open(LIMIT, || {
        let (dead, _inside) = unresponsive();
        let alive = TcpListener::bind("127.0.0.1:0").unwrap();
        let addresses = [dead.local_addr().unwrap(), alive.local_addr().unwrap()];
        TcpStream::connect(&addresses[..]).unwrap();
        TcpStream::connect_timeout(&addresses[0], Duration::from_millis(2)).unwrap_err();
        TcpStream::connect_within(&[addresses[0]; 2][..], Duration::from_millis(2)).unwrap_err();
        greenloop::hub::Hub::current().join();
    });
}
