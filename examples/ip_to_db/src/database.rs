//! Where the example keeps what it has learnt: a table `ips` in one of three databases, whose clients block.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};

use greenloop::threadpool::unblock;
#[cfg(feature = "mysql")]
use mysql::prelude::Queryable;
use postgres::{Client, NoTls};
use rusqlite::Connection;

use crate::Result;

const CREATE: &str =
    "CREATE TABLE IF NOT EXISTS ips (address BIGINT PRIMARY KEY, city VARCHAR(80), country VARCHAR(80))";
const STORE: &str = "INSERT INTO ips VALUES ($1, $2, $3) \
    ON CONFLICT (address) DO UPDATE SET city = excluded.city, country = excluded.country";
const ROWS: &str = "SELECT address, city, country FROM ips ORDER BY address";

/// An address, its city and its country.
pub type Row = (i64, String, String);

pub fn row(address: Ipv4Addr, city: &str, country: &str) -> Row {
    (address.to_bits().into(), city.to_owned(), country.to_owned())
}

/// An open database with the table.
pub enum Database {
    // A lock of std's: only OS threads of the pool take it.
    Sqlite(Mutex<Connection>),
    Postgres(Box<Mutex<Client>>),
    /// As many connections as there are green threads at it.
    #[cfg(feature = "mysql")]
    MySql(mysql::Pool),
}

impl Database {
    /// Opens a file of SQLite, or what a URL of PostgreSQL or MySQL names.
    pub fn open(name: String) -> Result<Database> {
        match name.split_once("://") {
            Some(("mysql", _)) => open_mysql(&name),
            Some(("postgres" | "postgresql", _)) => unblock(move || {
                let mut client = Client::connect(&name, NoTls)?;
                client.batch_execute(CREATE)?;
                Ok(Database::Postgres(Box::new(Mutex::new(client))))
            }),
            _ => unblock(move || {
                let connection = Connection::open(name)?;
                connection.execute_batch(CREATE)?;
                Ok(Database::Sqlite(Mutex::new(connection)))
            }),
        }
    }

    /// Stores what is known of an address, or what is new of it.
    pub fn store(self: &Arc<Self>, row: Row) -> Result<()> {
        self.call(|database| {
            match database {
                Database::Sqlite(connection) => connection.lock().unwrap().execute(STORE, row).map(drop)?,
                Database::Postgres(client) => {
                    client.lock().unwrap().execute(STORE, &[&row.0, &row.1, &row.2]).map(drop)?;
                }
                #[cfg(feature = "mysql")]
                Database::MySql(pool) => {
                    pool.get_conn()?.exec_drop("REPLACE INTO ips VALUES (?, ?, ?)", row)?;
                }
            }
            Ok(())
        })
    }

    /// All rows, in the order of their addresses.
    pub fn rows(self: &Arc<Self>) -> Result<Vec<Row>> {
        self.call(|database| match database {
            Database::Sqlite(connection) => {
                let connection = connection.lock().unwrap();
                let mut query = connection.prepare(ROWS)?;
                let rows = query.query_map((), |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
                Ok(rows.collect::<rusqlite::Result<_>>()?)
            }
            Database::Postgres(client) => {
                let rows = client.lock().unwrap().query(ROWS, &[])?;
                Ok(rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect())
            }
            #[cfg(feature = "mysql")]
            Database::MySql(pool) => Ok(pool.get_conn()?.query(ROWS)?),
        })
    }

    /// In place if the client yields, which it does once the process is patched, and otherwise where it may block.
    fn call<T: Send + 'static>(self: &Arc<Self>, call: impl FnOnce(&Self) -> T + Send + 'static) -> T {
        match &**self {
            #[cfg(feature = "mysql")]
            Database::MySql(_) => call(self),
            _ => {
                let database = self.clone();
                unblock(move || call(&database))
            }
        }
    }
}

#[cfg(feature = "mysql")]
fn open_mysql(url: &str) -> Result<Database> {
    greenloop::monkey::patch_all();
    let options = mysql::OptsBuilder::from_opts(mysql::Opts::from_url(url)?).prefer_socket(false);
    let pool = mysql::Pool::new(options)?;
    pool.get_conn()?.query_drop(CREATE)?;
    Ok(Database::MySql(pool))
}

#[cfg(not(feature = "mysql"))]
fn open_mysql(_: &str) -> Result<Database> {
    Err("built without the cargo feature `mysql`".into())
}
