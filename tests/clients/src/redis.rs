//! The crate `redis`, against redis-server.

use ::redis::{Client, Connection, TypedCommands};
use clients::interrupted::interrupted;
use clients::measure::compare;
use clients::program::{Program, Stop};

/// A server that keeps everything in memory.
fn server() -> Program {
    Program::start(Stop::TERMINATE, "Ready to accept connections", |port| {
        let port = port.to_string();
        ["redis-server", "--bind", "127.0.0.1", "--port", &port, "--save", "", "--appendonly", "no"]
            .map(str::to_owned)
            .to_vec()
    })
}

#[test]
fn a_hundred_wait_for_a_value_of_redis_that_never_comes() {
    let server = server();
    let client = Client::open(("127.0.0.1", server.port)).unwrap();
    compare("redis, SET, BLPOP of 100 ms, GET", 100, move |number| {
        let mut connection = client.get_connection().unwrap();
        let (key, value) = (format!("key {number}"), format!("value {number}"));
        connection.set(&key, &value).unwrap();
        assert_eq!(connection.blpop("empty", 0.1).unwrap(), None);
        assert_eq!(connection.get(&key).unwrap(), Some(value));
    });
}

/// As after a read timeout of its own, its connection would give the old answer to the next question: it is to be dropped.
#[test]
fn an_interrupted_wait_for_a_value_fails() {
    let server = server();
    let client = Client::open(("127.0.0.1", server.port)).unwrap();
    let other = client.clone();
    let prepare = move || client.get_connection().unwrap();
    let call = |connection: &mut Connection| connection.blpop("empty", 0.0).map(drop);
    let again = move |connection: Connection| {
        drop(connection);
        let mut connection = other.get_connection().unwrap();
        connection.set("key", 7).unwrap();
        assert_eq!(connection.get("key").unwrap(), Some("7".to_owned()));
    };
    interrupted("redis", prepare, call, again);
}
