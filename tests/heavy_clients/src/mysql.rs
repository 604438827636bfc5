//! The crate `mysql`, against MariaDB.

use ::mysql::prelude::Queryable;
use ::mysql::{Conn, Error, Opts, OptsBuilder, Pool, PoolConstraints, PoolOpts};
use clients::interrupted::interrupted;
use clients::measure::at_once;

use crate::mariadb::Server;
use crate::{DELAY, MANY};

/// It is not to look for a Unix socket.
fn options(server: &Server) -> OptsBuilder {
    OptsBuilder::from_opts(Opts::from_url(&server.url()).unwrap()).prefer_socket(false)
}

fn pool(server: &Server, size: u32) -> Pool {
    let constraints = PoolConstraints::new(0, size as usize).unwrap();
    Pool::new(options(server).pool_opts(PoolOpts::default().with_constraints(constraints))).unwrap()
}

fn ask(connection: &mut impl Queryable, number: u32) {
    let answer =
        connection.exec_first::<(u32, u32), _, _>("select sleep(?), ?", (DELAY.as_secs_f64(), number));
    assert_eq!(answer.unwrap(), Some((0, number)));
}

fn wait_long(connection: &mut impl Queryable) -> Result<(), Error> {
    connection.query_drop("select sleep(600)")
}

#[test]
fn fifty_queries_at_once() {
    let server = Server::start();
    let settings = options(&server);
    at_once(
        "mysql",
        MANY,
        move |_| Conn::new(settings.clone()).unwrap(),
        |number, client| ask(client, number),
    );
}

#[test]
fn so_do_those_of_a_pool() {
    let server = Server::start();
    let pool = pool(&server, MANY);
    at_once("mysql, a pool", MANY, move |_| pool.get_conn().unwrap(), |number, client| ask(client, number));
}

/// As after a read timeout of its own, its connection would give the old answer to the next question: it is to be dropped.
#[test]
fn an_interrupted_query_fails() {
    let server = Server::start();
    let settings = options(&server);
    let other = settings.clone();
    let again = move |connection| {
        drop(connection);
        assert_eq!(Conn::new(other.clone()).unwrap().query_first("select 7").unwrap(), Some(7));
    };
    interrupted("mysql", move || Conn::new(settings.clone()).unwrap(), wait_long, again);
}

/// The pool drops the connection itself, if it gets it back before the time limit's scope has ended. Later it would wait for the answer.
#[test]
fn so_does_one_of_a_pool_s() {
    let server = Server::start();
    let pool = pool(&server, 2);
    let ask = |pool: Pool| assert_eq!(pool.get_conn().unwrap().query_first("select 7").unwrap(), Some(7));
    let for_calls = pool.clone();
    let call = |pool: &mut Pool| wait_long(&mut pool.get_conn().unwrap());
    interrupted("mysql, a pool", move || for_calls.clone(), call, ask);
    ask(pool);
}
