use std::io::{self, ErrorKind, Read, Write};
use std::rc::Rc;
use std::time::Duration;

use greenloop::channel;
use greenloop::net::unix::UnixStream;
use greenloop::net::{TcpListener, TcpStream};
use greenloop::server::{Server, ServerError, StreamServer};
use greenloop::{sleep, spawn, with_timeout};

use crate::support::{each_driver, leaves_nothing_open};
use crate::{LIMIT, LOCAL, LONG, connect, hear};

fn greet() -> Server<std::net::SocketAddr> {
    StreamServer::bind(LOCAL).unwrap().handle(|mut stream, _peer| stream.write_all(b"hello"))
}

each_driver! {
    fn many_clients_at_once() {
        let server = greet();
        server.start().unwrap();
        let clients: Vec<_> = (0..500).map(|_| connect(&server)).collect();
        let heard = clients.into_iter().map(|client| io::read_to_string(client).unwrap());
        assert_eq!(heard.filter(|text| text == "hello").count(), 500);
        server.stop(LONG);
    }

    fn unix_sockets_are_served() {
        let path = std::env::temp_dir().join(format!("greenloop-served-{}-{:?}", std::process::id(), std::thread::current().id()));
        let server = StreamServer::bind_unix(&path).unwrap().handle(|mut stream, peer| {
            assert!(peer.is_unnamed());
            stream.write_all(b"hello")
        });
        server.start().unwrap();
        assert_eq!(io::read_to_string(UnixStream::connect(&path).unwrap()).unwrap(), "hello");
        assert_eq!(StreamServer::bind_unix(&path).unwrap_err().kind(), ErrorKind::AddrInUse);
        server.stop(LONG);
        assert_eq!(UnixStream::connect(&path).unwrap_err().kind(), ErrorKind::ConnectionRefused);
        std::fs::remove_file(path).unwrap();
    }

    fn what_cannot_be_bound_is_a_clear_error() {
        let server = greet();
        assert_eq!(StreamServer::bind(server.local_addr().unwrap()).unwrap_err().kind(), ErrorKind::AddrInUse);
        for nonsense in ["nonsense", "127.0.0.1:99999", ""] {
            assert_eq!(StreamServer::bind(nonsense).unwrap_err().kind(), ErrorKind::InvalidInput, "{nonsense}");
        }
        assert_eq!(StreamServer::bind("192.0.2.1:0").unwrap_err().kind(), ErrorKind::AddrNotAvailable);
        let path = "x".repeat(200);
        assert_eq!(StreamServer::bind_unix(path).unwrap_err().kind(), ErrorKind::InvalidInput);
    }

    fn a_backlog_is_set_where_it_is_asked_for() {
        // The kernel keeps one more than the backlog; further ones wait for an answer.
        let listener = TcpListener::bind(LOCAL).unwrap();
        let server = StreamServer::new(listener).backlog(1).handle(|_stream, _peer| Ok(()));
        server.start().unwrap();
        server.stop_accepting();
        let _inside = [(); 2].map(|()| connect(&server));
        let address = server.local_addr().unwrap();
        let late = TcpStream::connect_timeout(&address, Duration::from_millis(50));
        assert_eq!(late.unwrap_err().kind(), ErrorKind::TimedOut);
        server.stop(LONG);
    }

    fn a_handler_may_stop_the_server() {
        let (tell, told) = channel::unbounded::<Server<_>>();
        let server = StreamServer::bind(LOCAL).unwrap().handle(move |mut stream, _peer| {
            stream.write_all(b"bye")?;
            told.recv().unwrap().stop(Duration::ZERO);
            unreachable!("it is killed with the others")
        });
        tell.send(server.clone()).unwrap();
        let address = server.local_addr().unwrap();
        let client = spawn(move || io::read_to_string(TcpStream::connect(address)?));
        let serving = spawn({ let server = server.clone(); move || server.serve_forever() });
        assert_eq!(client.join().unwrap().unwrap(), "bye");
        serving.join().unwrap().unwrap();
    }

    fn a_hook_may_stop_the_server() {
        let (tell, told) = channel::unbounded::<Server<_>>();
        let hook = move |_| told.recv().unwrap().stop(Duration::ZERO);
        let server = StreamServer::bind(LOCAL).unwrap().on_error(hook).handle(|_stream, _peer| Err(ErrorKind::Other.into()));
        tell.send(server.clone()).unwrap();
        let client = connect(&server);
        let serving = spawn({ let server = server.clone(); move || server.serve_forever() });
        assert_eq!(io::read_to_string(client).unwrap(), "");
        serving.join().unwrap().unwrap();
        assert!(!server.is_accepting());
    }

    fn a_killed_serve_forever_leaves_nobody_behind() {
        let (begun, has_begun) = channel::unbounded();
        let server = StreamServer::bind(LOCAL).unwrap().handle(move |_stream, _peer| {
            begun.send(()).unwrap();
            sleep(LONG);
            Ok(())
        });
        let address = server.local_addr().unwrap();
        let serving = spawn({ let server = server.clone(); move || server.serve_forever() });
        let client = connect(&server);
        has_begun.recv().unwrap();
        serving.kill();
        assert_eq!(io::read_to_string(client).unwrap(), "");
        // It did not wait for the end of the one that accepts.
        greenloop::idle();
        assert_eq!(TcpStream::connect(address).unwrap_err().kind(), ErrorKind::ConnectionRefused);
        assert_eq!(server.handlers(), 0);
        let server = greet();
        assert!(with_timeout(Duration::from_millis(2), || server.serve_forever()).is_err());
        assert!(server.start().is_err());
    }

    fn a_failing_wrapper_closes_and_is_told() {
        let (tell, told) = channel::unbounded();
        let server = StreamServer::bind(LOCAL)
            .unwrap()
            .wrap(|mut stream: TcpStream| {
                let mut first = [0];
                stream.read_exact(&mut first)?;
                if first == *b"y" { Ok(stream) } else { Err(ErrorKind::PermissionDenied.into()) }
            })
            .wrap(|stream| Ok(Rc::new(stream)))
            .on_error(move |error| tell.send(error).unwrap())
            .handle(|stream, _peer| (&*stream).write_all(b"hello"));
        server.start().unwrap();
        for (first, answer) in [(b"y", "hello"), (b"n", ""), (b"y", "hello")] {
            let mut client = connect(&server);
            client.write_all(first).unwrap();
            assert_eq!(io::read_to_string(&client).unwrap(), answer);
        }
        assert!(matches!(told.try_recv(), Ok(ServerError::Handler(_, error)) if error.kind() == ErrorKind::PermissionDenied));
        assert!(told.try_recv().is_err());
        server.stop(LONG);
    }

    fn a_limit_of_one_serves_one_after_another() {
        let server = StreamServer::bind(LOCAL).unwrap().limit(1).handle(|mut stream, _peer| stream.write_all(b"hello"));
        server.start().unwrap();
        let clients: Vec<_> = (0..20).map(|_| connect(&server)).collect();
        assert!(clients.into_iter().all(|client| io::read_to_string(client).unwrap() == "hello"));
        server.stop(LONG);
    }
}

#[test]
fn a_server_that_was_stopped_leaves_nothing_open() {
    leaves_nothing_open(LIMIT, || {
        let server = greet();
        server.start().unwrap();
        assert_eq!(hear(&server).unwrap(), "hello");
        server.stop(LONG);
    });
}
