//! The program `fleet`, as a person runs it.

use clients::folder::Folder;
use clients::postgresql::Server;
use std::path::Path;
use std::process::{Command, Output};

/// A command line of it, which is ended after some minutes, or with this test: it and all that it has started, which is a group of processes.
fn fleet(arguments: &[&str]) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "TERM", "timeout", "--kill-after", "10", "120"]);
    command.arg(env!("CARGO_BIN_EXE_fleet")).args(arguments).env_remove("FLEET_BROKER");
    command
}

fn text(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (text(&output.stdout), text(&output.stderr))
}

/// The demo with a small site, whose processes are killed so often that each is hurt.
fn demonstrates(arguments: &[&str]) {
    let demo = [
        "demo",
        "--pages",
        "150",
        "--kill",
        "0.4",
        "--kills",
        "5",
        "--concurrency",
        "20",
        "--processes",
        "3",
    ];
    let output = fleet(&[&demo[..], arguments].concat()).output().unwrap();
    let (said, complained) = text(&output);
    assert!(output.status.success(), "{said}{complained}");
    let last = said.lines().last().unwrap();
    assert!(last.starts_with("Every page was recorded exactly once: 150 in "), "{said}");
    assert!(said.contains("kill -9"), "{said}");
}

#[test]
fn the_demo_on_sqlite() {
    demonstrates(&[]);
}

#[test]
fn the_demo_on_redis() {
    let found = std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|folder| folder.join("redis-server").exists()));
    if !found {
        return println!("left out: there is no redis-server here, see `.ci/run`");
    }
    demonstrates(&["--redis"]);
}

#[test]
fn the_demo_on_postgresql() {
    if !Path::new("/usr/lib/postgresql").exists() {
        return println!("left out: there is no PostgreSQL here, see `.ci/run`");
    }
    let server = Server::start();
    demonstrates(&["--postgres", &server.url()]);
    let mut client = postgres::Client::connect(&server.url(), postgres::NoTls).unwrap();
    let left =
        client.query("select nspname::text from pg_namespace where nspname like 'fleet%'", &[]).unwrap();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_queue_is_counted_revived_and_purged() {
    use fleet::{Broker, NewJob, Sqlite};
    use std::time::Duration;

    let folder = Folder::new("fleet-program");
    let file = folder.file("queue.db");
    let broker = Sqlite::open(&file).unwrap();
    broker.push(&["one", "two"].map(NewJob::new)).unwrap();
    let job = broker.take(1, Duration::from_secs(100)).unwrap().remove(0);
    broker.dead(&job.lease(), "no luck").unwrap();
    let said = |command: &str| {
        let output = fleet(&[command, "--broker", &file]).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        text(&output).0
    };
    assert_eq!(said("status"), "ready 1\nlater 0\nleased 0\ndead 1\ndone 0\nrecords 0\n");
    assert_eq!(said("dead"), format!("{} one (1 attempts): no luck\n", job.id));
    assert_eq!(said("records"), "");
    assert_eq!(said("requeue-dead"), "1 to be tried again\n");
    assert_eq!(said("status"), "ready 2\nlater 0\nleased 0\ndead 0\ndone 0\nrecords 0\n");
    assert_eq!(said("purge"), "");
    assert_eq!(said("status"), "ready 0\nlater 0\nleased 0\ndead 0\ndone 0\nrecords 0\n");
}

#[test]
fn a_password_is_never_repeated() {
    for address in
        ["redis://:open-sesame@127.0.0.1:1/", "postgres://me:open-sesame@127.0.0.1:1/db", "x://open-sesame"]
    {
        let output = fleet(&["status"]).env("FLEET_BROKER", address).output().unwrap();
        let (said, complained) = text(&output);
        assert_eq!(output.status.code(), Some(1), "{said}{complained}");
        assert!(!format!("{said}{complained}").contains("open-sesame"), "{said}{complained}");
        assert!(complained.starts_with("fleet: "), "{complained}");
    }
}
