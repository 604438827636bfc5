use std::io::ErrorKind;
use std::rc::Rc;
use std::time::{Duration, Instant};

use greenloop::net::UdpSocket;
use greenloop::net::unix::{SocketAddr, UnixDatagram};
use greenloop::{spawn, with_timeout};

use crate::support::each_driver;
use crate::{settle, unix_address};

fn udp() -> (Rc<UdpSocket>, std::net::SocketAddr) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    (Rc::new(socket), address)
}

/// Sends until the socket at `address` takes no more.
fn fill(address: &SocketAddr) -> usize {
    let sender = UnixDatagram::unbound().unwrap();
    sender.set_nonblocking(true).unwrap();
    (0..).take_while(|_| sender.send_to_addr(b"x", address).is_ok()).count()
}

each_driver! {
    fn a_receiver_waits() {
        let (socket, address) = udp();
        let (sender, from) = udp();
        let receiver = spawn(move || {
            let mut buffer = [0; 16];
            let (count, peer) = socket.recv_from(&mut buffer).unwrap();
            (buffer[..count].to_vec(), peer)
        });
        settle();
        assert!(!receiver.is_finished());
        sender.send_to(b"hello", address).unwrap();
        assert_eq!(receiver.join().unwrap(), (b"hello".to_vec(), from));
    }

    /// A datagram shorter than the buffer says nothing of the next one.
    fn datagrams_in_a_row_all_come() {
        let (socket, address) = udp();
        let receiver = spawn(move || (0..20_usize).map(|_| socket.recv(&mut [0; 64]).unwrap()).collect::<Vec<_>>());
        settle();
        let (sender, _) = udp();
        for length in 0..20 {
            sender.send_to(&[0; 64][..length], address).unwrap();
        }
        assert_eq!(receiver.join().unwrap(), (0..20).collect::<Vec<_>>());
    }

    fn receivers_take_turns_and_a_killed_one_takes_nothing() {
        let (socket, address) = udp();
        let receivers: Vec<_> = (0..3)
            .map(|_| {
                let socket = socket.clone();
                spawn(move || {
                    let mut buffer = [0; 1];
                    socket.recv(&mut buffer).unwrap();
                    buffer[0]
                })
            })
            .collect();
        settle();
        receivers[1].kill();
        socket.send_to(b"a", address).unwrap();
        socket.send_to(b"b", address).unwrap();
        let bytes: Vec<_> = receivers.into_iter().filter_map(|receiver| receiver.join().ok()).collect();
        assert_eq!(bytes, b"ab");
        assert!(with_timeout(Duration::from_millis(2), || socket.recv(&mut [0; 1])).is_err());
    }

    fn a_refusal_wakes_the_receiver() {
        let (socket, _) = udp();
        socket.connect(crate::deaf()).unwrap();
        let receiver = spawn({ let socket = socket.clone(); move || socket.recv(&mut [0; 1]) });
        settle();
        socket.send(b"x").unwrap();
        assert_eq!(receiver.join().unwrap().unwrap_err().kind(), ErrorKind::ConnectionRefused);
    }

    fn a_peek_leaves_the_datagram() {
        let (socket, address) = udp();
        let peeker = spawn({ let socket = socket.clone(); move || socket.peek_from(&mut [0; 16]).unwrap() });
        settle();
        socket.send_to(b"hello", address).unwrap();
        assert_eq!(peeker.join().unwrap(), (5, address));
        assert_eq!(socket.peek(&mut [0; 2]).unwrap(), 2);
        assert_eq!(socket.recv(&mut [0; 16]).unwrap(), 5);
    }

    fn a_clone_receives_as_well() {
        let (socket, address) = udp();
        let clone = socket.try_clone().unwrap();
        let receiver = spawn(move || clone.recv(&mut [0; 16]).unwrap());
        settle();
        socket.send_to(b"hello", address).unwrap();
        assert_eq!(receiver.join().unwrap(), 5);
    }

    fn a_unix_sender_waits_for_room_with_its_peer() {
        let address = unix_address();
        let receiver = UnixDatagram::bind_addr(&address).unwrap();
        let filled = fill(&address);
        let sender = UnixDatagram::unbound().unwrap();
        sender.connect_addr(&address).unwrap();
        let sending = spawn(move || (0..filled).map(|_| sender.send(b"y").unwrap()).sum::<usize>());
        settle();
        assert!(!sending.is_finished());
        for _ in 0..2 * filled {
            receiver.recv(&mut [0; 1]).unwrap();
        }
        assert_eq!(sending.join().unwrap(), filled);
    }

    /// The kernel tells nobody when a socket that one is not connected to has room.
    fn a_unix_sender_waits_for_room_anywhere() {
        let address = unix_address();
        let receiver = UnixDatagram::bind_addr(&address).unwrap();
        fill(&address);
        let sender = Rc::new(UnixDatagram::unbound().unwrap());
        let sending = spawn({ let (sender, address) = (sender.clone(), address.clone()); move || sender.send_to_addr(b"y", &address).unwrap() });
        settle();
        assert!(!sending.is_finished());
        receiver.recv(&mut [0; 1]).unwrap();
        assert_eq!(sending.join().unwrap(), 1);
        // Full again: the limits hold.
        let limit = Duration::from_millis(10);
        let start = Instant::now();
        sender.set_write_timeout(Some(limit)).unwrap();
        assert_eq!(sender.send_to_addr(b"y", &address).unwrap_err().kind(), ErrorKind::WouldBlock);
        assert!(start.elapsed() >= limit);
        sender.set_write_timeout(None).unwrap();
        assert!(with_timeout(limit, || sender.send_to_addr(b"y", &address)).is_err());
        sender.set_nonblocking(true).unwrap();
        assert_eq!(sender.send_to_addr(b"y", &address).unwrap_err().kind(), ErrorKind::WouldBlock);
        sender.set_nonblocking(false).unwrap();
        drop(receiver);
        assert_eq!(sender.send_to_addr(b"y", &address).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    }

    /// Who asked not to wait may hold a lock that others on the thread want: no budget makes it yield. Who may wait yields.
    fn a_nonblocking_socket_never_yields() {
        let (receiver, address) = udp();
        let (sender, _) = udp();
        let yields_after = |count: usize| {
            let witness = spawn(|| ());
            (0..count).for_each(|_| drop(sender.send_to(b"x", address)));
            let ran = witness.is_finished();
            witness.join().unwrap();
            ran
        };
        sender.set_nonblocking(true).unwrap();
        assert!(!yields_after(1000));
        sender.set_nonblocking(false).unwrap();
        assert!(yields_after(1000));
        drop(receiver);
    }

    fn a_shutdown_wakes_a_unix_receiver() {
        let (one, _other) = UnixDatagram::pair().unwrap();
        let one = Rc::new(one);
        let receiver = spawn({ let one = one.clone(); move || one.recv_from(&mut [0; 1]).unwrap().0 });
        settle();
        one.shutdown(std::net::Shutdown::Read).unwrap();
        assert_eq!(receiver.join().unwrap(), 0);
        assert_eq!(one.recv(&mut [0; 1]).unwrap(), 0);
    }
}
