use std::io::{Read, Write};
use std::time::{Duration, Instant};

use greenloop::net::unix::UnixStream;
use greenloop::net::{TcpListener, TcpStream, UdpSocket};
use greenloop::{joinall, sleep, spawn, testing, with_timeout};

const SECOND: Duration = Duration::from_secs(1);

/// A server that takes ten seconds for each request, and its clients.
#[test]
fn time_stands_while_bytes_are_on_their_way() {
    let real = Instant::now();
    testing::run(|world| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = spawn(move || {
            for mut stream in listener.incoming().flatten() {
                spawn(move || {
                    let mut request = [0; 4];
                    while stream.read_exact(&mut request).is_ok() {
                        sleep(SECOND * 10);
                        stream.write_all(&request).unwrap();
                    }
                });
            }
        });
        let clients: Vec<_> = (0..20)
            .map(|_| {
                spawn(move || {
                    let mut stream = TcpStream::connect(address).unwrap();
                    let mut answer = [0; 4];
                    for _ in 0..10 {
                        stream.write_all(b"ping").unwrap();
                        with_timeout(SECOND * 11, || stream.read_exact(&mut answer).unwrap()).unwrap();
                        assert_eq!(&answer, b"ping");
                    }
                    assert!(with_timeout(SECOND * 30, || stream.read_exact(&mut answer)).is_err());
                })
            })
            .collect();
        joinall(&clients);
        assert_eq!(world.elapsed(), SECOND * 130);
        server.kill();
    });
    assert!(real.elapsed() < SECOND * 30);
}

#[test]
fn time_limits_of_sockets_are_exact() {
    testing::run(|world| {
        let (mut one, _other) = UnixStream::pair().unwrap();
        one.set_read_timeout(Some(SECOND * 5)).unwrap();
        assert!(one.read(&mut [0]).is_err());
        assert_eq!(world.elapsed(), SECOND * 5);
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(SECOND)).unwrap();
        assert!(socket.recv(&mut [0]).is_err());
        assert_eq!(world.elapsed(), SECOND * 6);
    });
}

/// What two writes in a row leave to the kernel's timers.
#[test]
fn small_writes_and_large_ones_arrive_before_time_passes() {
    testing::run(|world| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut one = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut other, _) = listener.accept().unwrap();
        let echo = spawn(move || {
            let mut bytes = vec![0; 1 << 20];
            for _ in 0..20 {
                for length in [4, 4, 1 << 20] {
                    with_timeout(SECOND, || other.read_exact(&mut bytes[..length]).unwrap()).unwrap();
                }
                other.write_all(&bytes[..1]).unwrap();
                other.write_all(&bytes[..1]).unwrap();
            }
        });
        let bytes = vec![7; 1 << 20];
        for _ in 0..20 {
            for length in [4, 4, 1 << 20] {
                with_timeout(SECOND, || one.write_all(&bytes[..length]).unwrap()).unwrap();
            }
            with_timeout(SECOND, || one.read_exact(&mut [0; 2]).unwrap()).unwrap();
        }
        echo.join().unwrap();
        assert_eq!(world.elapsed(), Duration::ZERO);
    });
}
