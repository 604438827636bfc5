//! The crate `diesel`, by libpq, libmariadb and SQLite, each with its pool, which is the crate `r2d2`.

use std::thread;
use std::time::Duration;

use ::diesel::connection::SimpleConnection;
use ::diesel::dsl::sql;
use ::diesel::prelude::*;
use ::diesel::r2d2::{ConnectionManager, Pool, PooledConnection, R2D2Connection};
use ::diesel::result::Error;
use ::diesel::sql_types::{BigInt, Integer};
use clients::folder::Folder;
use clients::interrupted::{FEW, interrupted_within};
use clients::measure::at_once;
use clients::postgresql;

use crate::{DELAY, MANY, mariadb};

fn pool<C: R2D2Connection + 'static>(url: &str, size: u32) -> Pool<ConnectionManager<C>> {
    Pool::builder().max_size(size).build(ConnectionManager::new(url)).unwrap()
}

/// [`at_once`] with connections of a pool.
fn pooled_at_once<C: R2D2Connection + 'static>(
    what: &str,
    url: &str,
    ask: impl Fn(&mut C, i32) -> i32 + Send + Sync + 'static,
) {
    let pool = pool::<C>(url, MANY);
    let prepare = move |_| pool.get().unwrap();
    at_once(what, MANY, prepare, move |number, client: &mut PooledConnection<_>| {
        let number = number as i32;
        assert_eq!(ask(&mut *client, number), number);
    });
}

/// Interrupts a query of a pool's, which then has another connection. Its calls that fail until it gives up pause for up to `most`.
fn pooled_interrupted<C: R2D2Connection + 'static>(
    most: Duration,
    what: &str,
    url: &str,
    wait_long: fn(&mut C) -> Result<(), Error>,
    ask: fn(&mut C, i32) -> i32,
) {
    let pool = pool::<C>(url, 2);
    let ask = move |pool: &Pool<ConnectionManager<C>>| assert_eq!(ask(&mut pool.get().unwrap(), 7), 7);
    let (for_calls, for_later) = (pool.clone(), pool.clone());
    let call = move |client: &mut PooledConnection<_>| wait_long(&mut *client);
    let again = move |client: PooledConnection<_>| {
        drop(client);
        ask(&for_later);
    };
    interrupted_within(most, what, move || for_calls.get().unwrap(), call, again);
    ask(&pool);
}

fn ask_postgres(client: &mut PgConnection, number: i32) -> i32 {
    let answer = sql::<Integer>(&format!("{number} from pg_sleep({})", DELAY.as_secs_f64()));
    ::diesel::select(answer).get_result(client).unwrap()
}

fn ask_mysql(client: &mut MysqlConnection, number: i32) -> i32 {
    let answer = sql::<BigInt>(&format!("{number} + sleep({})", DELAY.as_secs_f64()));
    ::diesel::select(answer).get_result::<i64>(client).unwrap() as i32
}

::diesel::define_sql_function! {
    /// Takes [`DELAY`].
    fn slowly(number: Integer) -> Integer;
}

fn ask_sqlite(client: &mut SqliteConnection, number: i32) -> i32 {
    slowly_utils::register_impl(client, |number: i32| {
        thread::sleep(DELAY);
        number
    })
    .unwrap();
    ::diesel::select(slowly(number)).get_result(client).unwrap()
}

#[test]
fn fifty_queries_of_libpq_at_once() {
    let server = postgresql::Server::start();
    pooled_at_once("diesel, libpq", &server.url(), ask_postgres);
}

#[test]
fn fifty_of_libmariadb() {
    let server = mariadb::Server::start();
    pooled_at_once("diesel, libmariadb", &server.url(), ask_mysql);
}

/// It calls back, and the callback waits.
#[test]
fn fifty_of_sqlite() {
    let folder = Folder::new("diesel");
    pooled_at_once("diesel, SQLite", &folder.file("places.db"), ask_sqlite);
}

#[test]
fn an_interrupted_query_of_libpq_fails() {
    let server = postgresql::Server::start();
    let wait_long =
        |client: &mut PgConnection| ::diesel::sql_query("select pg_sleep(600)").execute(client).map(drop);
    pooled_interrupted(FEW, "diesel, libpq", &server.url(), wait_long, ask_postgres);
}

#[test]
fn so_does_one_of_libmariadb() {
    let server = mariadb::Server::start();
    let wait_long =
        |client: &mut MysqlConnection| ::diesel::sql_query("select sleep(600)").execute(client).map(drop);
    pooled_interrupted(FEW, "diesel, libmariadb", &server.url(), wait_long, ask_mysql);
}

/// It sleeps between its attempts to get a lock, and counts those sleeps.
#[test]
fn so_does_one_of_sqlite_that_waits_for_a_lock() {
    let folder = Folder::new("diesel");
    let url = folder.file("places.db");
    let mut holder = SqliteConnection::establish(&url).unwrap();
    holder.batch_execute("begin exclusive").unwrap();
    let wait_long = |client: &mut SqliteConnection| {
        client.batch_execute("pragma busy_timeout = 1000").unwrap();
        client.batch_execute("begin immediate")
    };
    pooled_interrupted(Duration::from_millis(200), "diesel, SQLite", &url, wait_long, ask_sqlite);
}
