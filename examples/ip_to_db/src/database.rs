//! Where the example keeps its places: the same SQL, for two databases that block.

use crate::Result;
use postgres::{Client, NoTls};
use rusqlite::Connection;
use std::net::Ipv4Addr;

const CREATE: &str = "CREATE TABLE IF NOT EXISTS place (address BIGINT PRIMARY KEY, country TEXT)";
const STORE: &str =
    "INSERT INTO place VALUES ($1, $2) ON CONFLICT (address) DO UPDATE SET country = excluded.country";
const PLACES: &str = "SELECT address, country FROM place ORDER BY address";

/// An open database with a table of places. Each of its functions stops the OS thread.
pub enum Database {
    Sqlite(Connection),
    Postgres(Box<Client>),
}

impl Database {
    /// Opens a file of SQLite, or what a URL of PostgreSQL names.
    pub fn open(name: &str) -> Result<Database> {
        if name.starts_with("postgres://") || name.starts_with("postgresql://") {
            let mut client = Client::connect(name, NoTls)?;
            client.batch_execute(CREATE)?;
            Ok(Database::Postgres(Box::new(client)))
        } else {
            let connection = Connection::open(name)?;
            connection.execute_batch(CREATE)?;
            Ok(Database::Sqlite(connection))
        }
    }

    /// Stores a place, or what is new of it.
    pub fn store(&mut self, address: Ipv4Addr, country: &str) -> Result<()> {
        let address = i64::from(address.to_bits());
        match self {
            Database::Sqlite(connection) => drop(connection.execute(STORE, (address, country))?),
            Database::Postgres(client) => drop(client.execute(STORE, &[&address, &country])?),
        }
        Ok(())
    }

    /// All places, in the order of their addresses.
    pub fn places(&mut self) -> Result<Vec<(Ipv4Addr, String)>> {
        let rows: Vec<(i64, String)> = match self {
            Database::Sqlite(connection) => {
                let mut query = connection.prepare(PLACES)?;
                query.query_map((), |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<rusqlite::Result<_>>()?
            }
            Database::Postgres(client) => {
                client.query(PLACES, &[])?.iter().map(|row| (row.get(0), row.get(1))).collect()
            }
        };
        Ok(rows
            .into_iter()
            .map(|(address, country)| (Ipv4Addr::from_bits(address as u32), country))
            .collect())
    }
}
