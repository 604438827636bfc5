//! Servers: gevent's `test__server.py`. Numbers: see `README.md`.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};
use std::rc::Rc;
use std::time::Duration;

use greenloop::channel;
use greenloop::net::{TcpListener, TcpStream};
use greenloop::server::{Listener, Server, ServerError, StreamServer};
use greenloop::sync::Semaphore;
use greenloop::{idle, spawn};

use crate::support::{each_driver, settle};
use crate::{LONG, raise};

const LOCAL: &str = "127.0.0.1:0";

/// Sends a line back.
fn echo(mut stream: TcpStream, _peer: SocketAddr) -> io::Result<()> {
    let mut line = [0; 4];
    stream.read_exact(&mut line)?;
    stream.write_all(&line)
}

/// A started server of `handler`.
fn serve(handler: impl Fn(TcpStream, SocketAddr) -> io::Result<()> + 'static) -> Server<SocketAddr> {
    let server = StreamServer::bind(LOCAL).unwrap().handle(handler);
    server.start().unwrap();
    server
}

fn connect<A: Into<SocketAddr> + Clone + 'static>(server: &Server<A>) -> TcpStream {
    TcpStream::connect(server.local_addr().unwrap().into()).unwrap()
}

/// What comes back for a line.
fn ask(mut stream: &TcpStream) -> String {
    stream.write_all(b"line").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    io::read_to_string(stream).unwrap()
}

each_driver! {
    fn case_154_a_stopped_server_refuses() {
        let server = serve(echo);
        let address = server.local_addr().unwrap();
        assert_eq!(ask(&connect(&server)), "line");
        server.stop(LONG);
        assert_eq!(TcpStream::connect(address).unwrap_err().kind(), ErrorKind::ConnectionRefused);
        assert_eq!(server.start().unwrap_err().kind(), ErrorKind::NotConnected);
        assert!(server.serve_forever().is_err() && server.local_addr().is_err());
        server.stop(LONG);
    }

    fn case_154_stop_gives_grace_and_then_kills() {
        let ended = Rc::new(Cell::new(0));
        let patient = ended.clone();
        let (begun, has_begun) = channel::unbounded();
        let (go, gone) = channel::unbounded();
        let server = serve(move |_stream, _peer| {
            struct End(Rc<Cell<u32>>);
            impl Drop for End {
                fn drop(&mut self) {
                    self.0.set(self.0.get() + 1);
                }
            }
            let _end = End(patient.clone());
            begun.send(()).unwrap();
            if gone.recv().is_ok() {
                return Ok(());
            }
            greenloop::sleep(LONG);
            Ok(())
        });
        let clients = [(); 2].map(|()| connect(&server));
        clients.iter().for_each(|_| has_begun.recv().unwrap());
        // One ends within the grace, which is far from over, and then there is none.
        let stopping = spawn({
            let server = server.clone();
            move || server.stop(LONG)
        });
        idle();
        assert!(!stopping.is_finished() && !server.is_accepting());
        go.send(()).unwrap();
        idle();
        assert_eq!((ended.get(), server.handlers()), (1, 1));
        // The other is killed when there is no grace.
        drop(go);
        server.stop(Duration::ZERO);
        assert_eq!((ended.get(), server.handlers()), (2, 0));
        stopping.join().unwrap();
        assert!(clients.iter().all(|client| matches!(io::read_to_string(client).as_deref(), Ok(""))));
    }

    fn case_154_accepting_stops_and_goes_on() {
        let server = serve(echo);
        server.stop_accepting();
        // Into the backlog.
        let client = connect(&server);
        let waiting = spawn(move || ask(&client));
        settle();
        assert!(!waiting.is_finished() && server.handlers() == 0);
        server.start().unwrap();
        server.start().unwrap();
        assert_eq!(waiting.join().unwrap(), "line");
        server.stop(LONG);
    }

    fn case_155_a_full_pool_pauses_accepting() {
        let gate = Rc::new(Semaphore::new(0));
        let (inner, most) = (gate.clone(), Rc::new(Cell::new(0)));
        let server = StreamServer::bind(LOCAL).unwrap().limit(2).handle(move |stream, peer| {
            inner.acquire().forget();
            echo(stream, peer)
        });
        server.start().unwrap();
        let clients: Vec<_> = (0..5)
            .map(|_| {
                let (client, server, most) = (connect(&server), server.clone(), most.clone());
                spawn(move || {
                    let answer = ask(&client);
                    most.set(most.get().max(server.handlers()));
                    answer
                })
            })
            .collect();
        settle();
        assert_eq!(server.handlers(), 2);
        gate.release(1);
        assert!(greenloop::wait_any(&clients).is_some());
        settle();
        assert_eq!(server.handlers(), 2, "the next has come in");
        gate.release(4);
        assert!(clients.into_iter().all(|client| client.join().unwrap() == "line"));
        assert!(most.get() <= 2);
        server.stop(LONG);
    }

    fn case_156_the_end_of_a_handler_closes_the_client() {
        let (tell, told) = channel::unbounded();
        let handler = |_stream, _peer| Err(io::Error::new(ErrorKind::InvalidData, "no sense"));
        let server = StreamServer::bind(LOCAL).unwrap().on_error(move |error| tell.send(error).unwrap()).handle(handler);
        server.start().unwrap();
        for _ in 0..2 {
            let client = connect(&server);
            assert_eq!(io::read_to_string(&client).unwrap(), "");
            let ServerError::Handler(peer, error) = told.recv().unwrap() else { panic!("another error") };
            assert_eq!((peer, error.kind()), (client.local_addr().unwrap(), ErrorKind::InvalidData));
        }
        server.stop(LONG);
    }

    fn case_156_errors_of_accepting_back_off() {
        let errors = [libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ENOMEM, libc::ECONNABORTED];
        let listener = Failing::new(errors);
        let (tell, told) = channel::unbounded();
        let server = StreamServer::new(listener).on_error(move |error| tell.send(error).unwrap()).handle(echo);
        let client = connect(&server);
        let answer = spawn(move || ask(&client));
        let start = std::time::Instant::now();
        server.start().unwrap();
        for errno in errors {
            let ServerError::Accept(error) = told.recv().unwrap() else { panic!("another error") };
            assert_eq!(error.raw_os_error(), Some(errno));
        }
        assert_eq!(answer.join().unwrap(), "line");
        // 10 + 20 + 40 + 80 + 160.
        assert!(start.elapsed() >= Duration::from_millis(310));
        server.stop(LONG);
    }

    fn case_156_a_fatal_error_closes() {
        for errno in [libc::EBADF, libc::EINVAL, libc::ENOTSOCK] {
            let server = StreamServer::new(Failing::new([errno])).handle(echo);
            let address = server.local_addr().unwrap();
            assert_eq!(server.serve_forever().unwrap_err().raw_os_error(), Some(errno));
            idle();
            assert_eq!(TcpStream::connect(address).unwrap_err().kind(), ErrorKind::ConnectionRefused);
            assert!(!server.is_accepting() && server.start().is_err());
        }
    }

    fn case_157_the_server_outlives_a_handlers_panic() {
        let first = Cell::new(true);
        let server = serve(move |stream, peer| if first.take() { raise("broken") } else { echo(stream, peer) });
        assert_eq!(io::read_to_string(connect(&server)).unwrap(), "");
        assert_eq!(ask(&connect(&server)), "line");
        server.stop(LONG);
    }
}

/// A listener whose first accepts fail.
struct Failing {
    listener: TcpListener,
    errors: RefCell<VecDeque<i32>>,
}

impl Failing {
    fn new(errors: impl Into<VecDeque<i32>>) -> Failing {
        Failing { listener: TcpListener::bind(LOCAL).unwrap(), errors: RefCell::new(errors.into()) }
    }
}

impl AsFd for Failing {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }
}

impl Listener for Failing {
    type Stream = TcpStream;
    type Address = SocketAddr;

    fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let error = self.errors.borrow_mut().pop_front();
        error.map_or_else(|| self.listener.accept(), |errno| Err(io::Error::from_raw_os_error(errno)))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}
