//! The crate `postgres`, against PostgreSQL.

use std::process::Command;

use ::postgres::fallible_iterator::FallibleIterator;
use ::postgres::{Client, Error, NoTls};
use greenloop::threadpool::unblock;
use r2d2_postgres::PostgresConnectionManager;
use r2d2_postgres::r2d2::Pool;
use ureq::tls::TlsConfig;

use clients::folder::Folder;
use clients::interrupted::interrupted;
use clients::measure::{DELAY, LIMIT, at_once, compare, runs};
use clients::postgresql::Server;
use clients::slow_server::slow_server;

use crate::http::{agent, fetch};
use crate::support::{example, finish};

const QUERIES: u32 = 50;

/// The example `ip_to_db`, whose service and output are the same with each database, and when it does it all again.
#[test]
fn places_are_stored_in_either_database() {
    let (server, folder) = (Server::start(), Folder::new("places"));
    let file = folder.path.join("places.db");
    let run = |arguments: &[&str]| {
        let finished = finish(Command::new(example("ip_to_db")).args(arguments), LIMIT);
        assert!(finished.status.success(), "{finished:?}");
        finished.stdout
    };
    let expected = run(&[]);
    assert_eq!(expected.lines().count(), 10);
    for database in [file.to_str().unwrap(), &server.url()] {
        assert_eq!(run(&["--database", database]), expected);
        assert_eq!(run(&["--database", database]), expected);
    }
    let mut client = Client::connect(&server.url(), NoTls).unwrap();
    let row = client.query_one("select city, country from ips where address = 16843009", &[]).unwrap();
    assert_eq!((row.get::<_, &str>(0), row.get::<_, &str>(1)), ("Brisbane", "Australia"));
}

/// Each client runs a loop of its own, of which a thread has one at a time.
#[test]
fn queries_take_little_longer_than_one() {
    let server = Server::start();
    let url = server.url();
    compare(&format!("postgres, pg_sleep of {DELAY:?}"), QUERIES, move |_| sleep(&url));
}

/// An HTTP service answers in JSON after [`DELAY`], and the database after as much again.
#[test]
fn so_do_places_that_are_looked_up_and_stored() {
    let server = Server::start();
    let database = server.url();
    let mut client = Client::connect(&database, NoTls).unwrap();
    client.batch_execute("create table place (address bigint primary key, country text)").unwrap();
    let port = slow_server(QUERIES, DELAY, |stream| stream);
    let (service, agent) = (format!("http://127.0.0.1:{port}/"), agent(TlsConfig::default()));
    compare(&format!("ureq, serde_json and postgres, twice {DELAY:?}"), QUERIES, move |address| {
        let answer: serde_json::Value = serde_json::from_str(&fetch(&agent, &service)).unwrap();
        let country = answer["country"].as_str().unwrap();
        let mut client = Client::connect(&database, NoTls).unwrap();
        let mut transaction = client.transaction().unwrap();
        transaction.execute("insert into place values ($1, $2)", &[&i64::from(address), &country]).unwrap();
        transaction.query_one("select pg_sleep($1)", &[&DELAY.as_secs_f64()]).unwrap();
        transaction.commit().unwrap();
    });
    let row = client.query_one("select count(*) from place where country = 'Sweden'", &[]).unwrap();
    assert_eq!(row.get::<_, i64>(0), i64::from(runs(QUERIES)));
}

/// Without isolation, for code that must run where there is none: on other OS threads.
#[test]
fn queries_off_the_hub_take_little_longer_than_one() {
    let server = Server::start();
    let url = server.url();
    compare(&format!("postgres off the hub, pg_sleep of {DELAY:?}"), QUERIES, move |_| {
        let url = url.clone();
        unblock(move || sleep(&url));
    });
}

/// One query that takes [`DELAY`], on a connection of its own.
fn sleep(url: &str) {
    let mut client = Client::connect(url, NoTls).unwrap();
    client.query_one("select pg_sleep($1)", &[&DELAY.as_secs_f64()]).unwrap();
}

/// It is broken, or has another answer.
fn is_closed_or_usable(mut client: Client) {
    assert!(client.is_closed() || client.simple_query("select 1").is_ok());
}

fn wait_long(client: &mut Client) -> Result<(), Error> {
    client.query_one("select pg_sleep(600)", &[]).map(drop)
}

#[test]
fn an_interrupted_query_fails() {
    let server = Server::start();
    let url = server.url();
    interrupted("postgres", move || Client::connect(&url, NoTls).unwrap(), wait_long, is_closed_or_usable);
}

#[test]
fn so_does_a_wait_for_a_notification() {
    let server = Server::start();
    let url = server.url();
    let prepare = move || {
        let mut client = Client::connect(&url, NoTls).unwrap();
        client.batch_execute("listen news").unwrap();
        client
    };
    let call = |client: &mut Client| client.notifications().blocking_iter().next().map(drop);
    interrupted("postgres, LISTEN", prepare, call, is_closed_or_usable);
}

fn pool(server: &Server, size: u32) -> Pool<PostgresConnectionManager<NoTls>> {
    let settings: ::postgres::Config = server.url().parse().unwrap();
    Pool::builder().max_size(size).build(PostgresConnectionManager::new(settings, NoTls)).unwrap()
}

#[test]
fn queries_of_a_pool_at_once() {
    let server = Server::start();
    let pool = pool(&server, QUERIES);
    at_once(
        "r2d2_postgres",
        QUERIES,
        move |_| pool.get().unwrap(),
        |number, client| {
            let row =
                client.query_one("select $1::bigint from pg_sleep($2)", &[&i64::from(number), &0.1]).unwrap();
            assert_eq!(row.get::<_, i64>(0), i64::from(number));
        },
    );
}

/// The pool replaces what has failed.
#[test]
fn so_does_a_query_of_a_pool_s() {
    let server = Server::start();
    let pool = pool(&server, 2);
    let ask = |pool: &Pool<PostgresConnectionManager<NoTls>>| {
        let row = pool.get().unwrap().query_one("select 7", &[]).unwrap();
        assert_eq!(row.get::<_, i32>(0), 7);
    };
    let (for_calls, for_later) = (pool.clone(), pool.clone());
    let again = move |client| {
        drop(client);
        ask(&for_later);
    };
    interrupted("r2d2_postgres", move || for_calls.get().unwrap(), |client| wait_long(client), again);
    ask(&pool);
}
