//! Clients in the world of a test: their own time limits are exact there, against servers of std in the same world that say nothing.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use ::postgres::fallible_iterator::FallibleIterator;
use ::postgres::{Config, NoTls};
use ::redis::TypedCommands;
use greenloop::testing::{self, World};
use greenloop::{JoinHandle, monkey, spawn};

const LIMIT: Duration = Duration::from_secs(30);
/// What no test takes in real time, so that it is known to have waited for none.
const REAL: Duration = Duration::from_secs(15);

/// A server that does `greet` with each connection, keeps it, and says nothing more.
fn silent_server(greet: fn(&mut TcpStream)) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let serving = spawn(move || {
        let mut stream = listener.accept().unwrap().0;
        greet(&mut stream);
        // Until the client goes.
        while stream.read(&mut [0; 1024]).is_ok_and(|count| count > 0) {}
    });
    (address, serving)
}

/// Runs `test` in a world, and checks that it has taken the limit there, and hardly any real time.
fn takes_its_limit(test: impl FnOnce(&World) -> JoinHandle<()> + Send) {
    monkey::patch_all();
    let real = Instant::now();
    testing::run(|world| {
        let serving = test(world);
        assert_eq!(world.elapsed(), LIMIT);
        serving.join().unwrap();
    });
    assert!(real.elapsed() < REAL);
}

#[test]
fn the_time_limit_of_ureq_is_exact() {
    takes_its_limit(|_| {
        let (address, serving) = silent_server(|_| ());
        // A limit of the whole call would have the name looked up on an OS thread, of which a world knows nothing.
        let config = ureq::Agent::config_builder().timeout_recv_response(Some(LIMIT)).build();
        let agent = ureq::Agent::from(config);
        let error = agent.get(format!("http://{address}/")).call().unwrap_err();
        assert!(matches!(error, ureq::Error::Timeout(_)), "{error:?}");
        serving
    });
}

#[test]
fn the_time_limit_of_redis_is_exact() {
    takes_its_limit(|_| {
        let (address, serving) = silent_server(|stream| {
            // Its name and its version are welcome.
            let mut asked = Vec::new();
            while asked.windows(6).filter(|word| word.eq_ignore_ascii_case(b"lib-ve")).count() < 1 {
                let mut bytes = [0; 256];
                let count = stream.read(&mut bytes).unwrap();
                assert_ne!(count, 0, "the client has gone");
                asked.extend_from_slice(&bytes[..count]);
            }
            stream.write_all(b"+OK\r\n+OK\r\n").unwrap();
        });
        let client = ::redis::Client::open(("127.0.0.1", address.port())).unwrap();
        let mut connection = client.get_connection_with_timeout(LIMIT).unwrap();
        connection.set_read_timeout(Some(LIMIT)).unwrap();
        let error = connection.get("key").unwrap_err();
        assert!(error.is_timeout(), "{error:?}");
        serving
    });
}

/// Its crate waits on a runtime of tokio.
#[test]
fn the_time_limit_of_postgres_is_exact() {
    takes_its_limit(|_| {
        let (address, serving) = silent_server(|stream| {
            let mut length = [0; 4];
            stream.read_exact(&mut length).unwrap();
            let rest = u32::from_be_bytes(length) as usize - length.len();
            stream.read_exact(&mut vec![0; rest]).unwrap();
            // Authenticated, and ready for a query.
            stream.write_all(b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I").unwrap();
        });
        let client = spawn(move || {
            let mut config = Config::new();
            config.host("127.0.0.1").port(address.port()).user("somebody");
            let mut client = config.connect(NoTls).unwrap();
            assert!(client.notifications().timeout_iter(LIMIT).next().unwrap().is_none());
        });
        client.join().unwrap();
        serving
    });
}
