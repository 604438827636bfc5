//! SQLite, which the crate `rusqlite` brings along, with many writers of one file.

use std::path::Path;
use std::time::Duration;

use clients::folder::Folder;
use clients::measure::{compare, runs};
use rusqlite::{Connection, TransactionBehavior};

const WRITERS: u32 = 20;

/// What a writer does before it writes. SQLite comes to ask for the lock every 100 ms, all at once, so one gets it each time at
/// least.
const GATHERING: Duration = Duration::from_millis(600);

fn open(path: &Path) -> Connection {
    let connection = Connection::open(path).unwrap();
    connection.busy_timeout(Duration::from_secs(60)).unwrap();
    // The time of a disk is not what is compared.
    connection.pragma_update(None, "synchronous", "off").unwrap();
    connection
}

/// Each keeps the others out while it lets them run.
#[test]
fn writers_of_one_database_wait_for_each_other() {
    let folder = Folder::new("sqlite");
    let path = folder.path.join("places.db");
    open(&path).execute_batch("create table place (number integer primary key, name text)").unwrap();
    let place = path.clone();
    compare("rusqlite, 600 ms and a transaction", WRITERS, move |number| {
        let mut connection = open(&place);
        std::thread::sleep(GATHERING);
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).unwrap();
        transaction.execute("insert into place values (?, ?)", (number, format!("name {number}"))).unwrap();
        std::thread::yield_now();
        let name: String = transaction
            .query_row("select name from place where number = ?", [number], |row| row.get(0))
            .unwrap();
        assert_eq!(name, format!("name {number}"));
        transaction.commit().unwrap();
    });
    let count = open(&path).query_row("select count(*), sum(number) from place", (), |row| {
        Ok((row.get::<_, u32>(0)?, row.get::<_, u32>(1)?))
    });
    let written = runs(WRITERS);
    assert_eq!(count.unwrap(), (written, (0..written).sum()));
}
