//! The crate `postgres`, against PostgreSQL.

use std::path::PathBuf;
use std::process::Command;

use ::postgres::fallible_iterator::FallibleIterator;
use ::postgres::{Client, Error, NoTls};
use greenloop::threadpool::unblock;
use r2d2_postgres::PostgresConnectionManager;
use r2d2_postgres::r2d2::Pool;
use ureq::tls::TlsConfig;

use crate::http::{agent, fetch, slow_server};
use crate::interrupted::interrupted;
use crate::program::{Program, Stop};
use crate::support::{example, finish};
use crate::{DELAY, Folder, LIMIT, SERIAL, compare};

const QUERIES: u32 = 50;

/// A server with an empty database.
pub(crate) struct Server {
    program: Program,
    /// Goes after the program.
    _folder: Folder,
}

impl Server {
    pub(crate) fn start() -> Server {
        let folder = Folder::new("postgres");
        let path = folder.path.to_str().expect("a path in UTF-8");
        // It refuses to run as root; then there is Debian's user for it.
        let is_root = rustix::process::geteuid().is_root();
        if is_root {
            assert!(Command::new("chown").args(["postgres", path]).status().expect("chown").success());
        }
        let arguments = |program: &str, arguments: &[&str]| -> Vec<String> {
            let user = ["--reuid", "postgres", "--regid", "postgres", "--init-groups"];
            let user = if is_root { &user[..] } else { &[] };
            let program = folder_of_programs().join(program);
            let program = program.to_str().expect("a path in UTF-8");
            [user, &[program], arguments].concat().into_iter().map(str::to_owned).collect()
        };
        let options = ["-D", path, "-U", "postgres", "-A", "trust", "--no-locale", "--no-sync"];
        let made =
            Command::new("setpriv").args(arguments("initdb", &options)).current_dir("/").output().unwrap();
        assert!(made.status.success(), "{made:?}");
        let program = Program::start(Stop::QUIT, |port| {
            let port = port.to_string();
            let options = ["-D", path, "-p", &port, "-k", "", "-h", "127.0.0.1", "-F"];
            arguments("postgres", &options)
        });
        Server { program, _folder: folder }
    }

    pub(crate) fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.program.port)
    }
}

/// Debian has them beside its own, which are in the path.
fn folder_of_programs() -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let folders =
        versions.map(|version| version.path().join("bin")).filter(|folder| folder.join("postgres").exists());
    folders.max().expect("PostgreSQL is missing in /usr/lib/postgresql; `.ci/run` installs it")
}

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
    let row = client.query_one("select country from place where address = 16843009", &[]).unwrap();
    assert_eq!(row.get::<_, &str>(0), "Australia");
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
    assert_eq!(row.get::<_, i64>(0), i64::from(QUERIES + SERIAL));
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

/// The pool replaces what has failed.
#[test]
fn so_does_a_query_of_a_pool_s() {
    let server = Server::start();
    let settings: ::postgres::Config = server.url().parse().unwrap();
    let manager = PostgresConnectionManager::new(settings, NoTls);
    let pool = Pool::builder().max_size(2).build(manager).unwrap();
    let again = |pool: Pool<PostgresConnectionManager<NoTls>>| {
        let row = pool.get().unwrap().query_one("select 7", &[]).unwrap();
        assert_eq!(row.get::<_, i32>(0), 7);
    };
    let for_calls = pool.clone();
    interrupted(
        "r2d2_postgres",
        move || for_calls.clone(),
        |pool| wait_long(&mut pool.get().unwrap()),
        again,
    );
    again(pool);
}
