//! Servers and files that will not do. No error says a password.

use crate::engines::{has_program, postgresql, redis_server};
use clients::folder::Folder;
use clients::measure::patched;
use fleet::{Broker, BrokerError, NewJob, Postgres, Redis, Sqlite};
use std::fs;
use std::net::TcpListener;
use std::time::Duration;

const PASSWORD: &str = "open-sesame";

/// The kind of an error, and that it tells no secret.
fn told<T>(result: Result<T, BrokerError>) -> String {
    let error = result.err().expect("an error");
    let said = format!("{error} {error:?}");
    assert!(!said.contains(PASSWORD), "{said}");
    format!("{error:?}").split(['(', ' ']).next().unwrap_or_default().to_owned()
}

#[test]
fn addresses_that_lead_nowhere() {
    patched(|| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let redis = |text: &str| told(Redis::open(text, "queue"));
        assert_eq!(redis(&format!("redis://:{PASSWORD}@{address}/")), "Unreachable");
        assert_eq!(redis(&format!("redis://:{PASSWORD}@{address}/not-a-number")), "Address");
        assert_eq!(redis(&format!("http://me:{PASSWORD}@{address}/")), "Address");
        let postgres = |text: &str| told(Postgres::open(text, "queue"));
        assert_eq!(postgres(&format!("postgres://me:{PASSWORD}@{address}/db")), "Unreachable");
        assert_eq!(postgres(&format!("postgres://me:{PASSWORD}@{address}:x/db")), "Address");
        assert_eq!(told(Redis::open("redis://127.0.0.1/", "a{b}*")), "Address");
        assert_eq!(told(Postgres::open("postgres://127.0.0.1/", "a\"b")), "Address");
    });
}

#[test]
fn files_that_are_no_queues() {
    let folder = Folder::new("fleet-refusals");
    fs::write(folder.path.join("text"), "It was a dark and stormy night. ".repeat(100)).unwrap();
    assert_eq!(told(Sqlite::open(folder.path.join("text"))), "Unreadable");
    assert_eq!(told(Sqlite::open(folder.path.join("none/queue.db"))), "Unreachable");
    let later = folder.path.join("later.db");
    let connection = rusqlite::Connection::open(&later).unwrap();
    connection.pragma_update(None, "user_version", 1000).unwrap();
    drop(connection);
    assert_eq!(told(Sqlite::open(&later)), "Unreadable");
}

#[test]
fn servers_of_redis_that_will_not_do() {
    if !has_program("redis-server") {
        return println!("left out: there is no redis-server here, see `.ci/run`");
    }
    let server = redis_server(&["--requirepass", PASSWORD]);
    let port = server.port;
    patched(move || {
        let open = |login: &str| Redis::open(&format!("redis://{login}127.0.0.1:{port}/"), "queue");
        assert_eq!(told(open("")), "Refused");
        assert_eq!(told(open(&format!(":{PASSWORD}x@"))), "Refused");
        let broker = open(&format!(":{PASSWORD}@")).unwrap();
        assert!(!format!("{broker:?}").contains(PASSWORD));
        let client = redis::Client::open(format!("redis://:{PASSWORD}@127.0.0.1:{port}/")).unwrap();
        let mut connection = client.get_connection().unwrap();
        let mut set = |name: &str, value: &str| {
            redis::cmd("CONFIG").arg("SET").arg(name).arg(value).exec(&mut connection).unwrap();
        };
        set("maxmemory", "1");
        // The one at work fails as a whole, and goes on later.
        assert_eq!(told(broker.push(&[NewJob::new("job")])), "OutOfMemory");
        set("maxmemory-policy", "allkeys-lru");
        assert_eq!(told(open(&format!(":{PASSWORD}@"))), "Evicts");
        set("maxmemory", "0");
        assert_eq!(broker.push(&[NewJob::new("job")]).unwrap(), 1);
        redis::cmd("SCRIPT").arg("FLUSH").exec(&mut connection).unwrap();
        assert_eq!(broker.take(1, Duration::from_secs(100)).unwrap().len(), 1);
        redis::cmd("CLIENT").arg("KILL").arg("TYPE").arg("normal").exec(&mut connection).unwrap();
        assert_eq!(told(broker.status()), "Unreachable");
        assert_eq!(broker.status().unwrap().leased, 1);
        redis::cmd("REPLICAOF").arg("127.0.0.1").arg(1).exec(&mut connection).unwrap();
        assert_eq!(told(broker.push(&[NewJob::new("job")])), "ReadOnly");
    });
}

#[test]
fn databases_that_will_not_do() {
    let Some(server) = postgresql() else { return };
    let url = server.url.clone();
    patched(move || {
        let broker = Postgres::open(&url, "refusals").unwrap();
        let mut client = postgres::Client::connect(&url, postgres::NoTls).unwrap();
        let create = format!("create role reader login password '{PASSWORD}'");
        client.batch_execute(&create).unwrap();
        let reader = url.replacen("postgres@", &format!("reader:{PASSWORD}@"), 1);
        assert_eq!(told(Postgres::open(&reader, "refusals")), "Refused");
        assert_eq!(told(Postgres::open(&url.replacen("postgres@", "nobody@", 1), "refusals")), "Refused");
        let read_only = format!("{url}?options=-c%20default_transaction_read_only%3Don");
        assert_eq!(told(Postgres::open(&read_only, "refusals")), "ReadOnly");
        assert!(broker.status().unwrap().is_idle());
    });
}
