//! The example over MariaDB, by the crate `mysql` as it comes.

#[path = "../../../tests/heavy_clients/src/mariadb.rs"]
mod mariadb;
#[path = "../../../tests/support/mod.rs"]
mod support;
#[path = "../../../tests/support/tool.rs"]
mod tool;

use std::time::Duration;

use mysql::prelude::Queryable;

/// Its service and its output are the same with each database, and when it does it all again.
#[test]
fn cities_and_countries_are_stored_in_ips() {
    let server = mariadb::Server::start();
    let run = |arguments: &[&str]| {
        let finished = tool::run("ip_to_db", arguments);
        assert!(finished.status.success(), "{finished:?}");
        finished.stdout
    };
    let expected = run(&[]);
    assert_eq!(expected.lines().count(), 10);
    for _ in 0..2 {
        assert_eq!(run(&["--database", &server.url()]), expected);
    }
    let rows: Vec<(u32, String, String)> = support::within(Duration::from_secs(60), move || {
        let options = mysql::Opts::from_url(&server.url()).unwrap();
        let options = mysql::OptsBuilder::from_opts(options).prefer_socket(false);
        mysql::Conn::new(options).unwrap().query("select * from ips order by address limit 1").unwrap()
    });
    assert_eq!(rows, [(0x0101_0101, "Brisbane".to_owned(), "Australia".to_owned())]);
}
