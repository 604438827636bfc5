//! Servers and files that will not do. No error says a password.

use crate::engines::{PASSWORD, has_program, postgresql, redis, redis_server, told};
use clients::folder::Folder;
use clients::measure::patched;
use fleet::{Broker, NewJob, Postgres, Redis, Sqlite};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::time::Duration;

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
        for address in [
            format!("redis:/:{PASSWORD}@{address}/"),
            format!("redis://:{PASSWORD}@{address}/#insecure"),
            format!("postgres:me:{PASSWORD}@{address}"),
            format!("host=127.0.0.1 password={PASSWORD}"),
            format!("amqp://me:{PASSWORD}@{address}/"),
            format!("me:{PASSWORD}@{address}://redis"),
            format!("//me:{PASSWORD}@{address}/db"),
            format!(" redis://:{PASSWORD}@{address}/"),
            format!("REDIS:/:{PASSWORD}@{address}/"),
            format!("user=me Password = {PASSWORD}"),
            format!("redis://{address}/x?password={PASSWORD}"),
            format!("redis://{PASSWORD}%zz@{address}:x/"),
            format!("postgres://me:{PASSWORD}@{address}/db?sslmode=open&sslmode=sesame"),
            format!("postgres://me:{PASSWORD}@{address}/db?port=x"),
            format!("postgres://{address}/db?password={PASSWORD}&nothing=1"),
        ] {
            assert_eq!(told(fleet::open(&address, "queue")), "Address");
        }
        // As it is written in the address, and as it is.
        for secret in ["open%2Dsesame", "%6Fpen-sesame"] {
            for address in [
                format!("redis://me:{secret}@{address}/"),
                format!("redis://{address}/?password={secret}"),
                format!("rediss://me:{secret}@{address}/"),
                format!("postgres://me:{secret}@{address}/db"),
                format!("postgres://{address}/db?user=me&password={secret}"),
                format!("postgres://me:{secret}@{address}/db?sslmode=require"),
            ] {
                let error = fleet::open(&address, "queue").err().expect("nobody is there");
                let said = format!("{error} {error:?}");
                assert!(!said.contains("sesame"), "{said}");
            }
        }
        for name in ["", "a{b}*", "a b", "\u{e9}"] {
            assert_eq!(told(Redis::open("redis://127.0.0.1/", name)), "Address");
        }
        for name in ["", "a-b", &"a".repeat(41)] {
            assert_eq!(told(Postgres::open("postgres://127.0.0.1/", name)), "Address");
        }
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

/// As the versions of before had it.
#[test]
fn an_older_file_is_brought_up_to_date() {
    let folder = Folder::new("fleet-older");
    let file = folder.path.join("queue.db");
    for to_version in [
        "alter table lane drop column parked; pragma user_version = 2",
        "alter table lane drop column parked; alter table job drop column exclusive; pragma user_version = 1",
    ] {
        let broker = Sqlite::open(&file).unwrap();
        broker.push(&[NewJob::new("job").lane("lane", Duration::ZERO)]).unwrap();
        drop(broker);
        rusqlite::Connection::open(&file).unwrap().execute_batch(to_version).unwrap();
        let jobs = Sqlite::open(&file).unwrap().take(1, Duration::from_secs(100)).unwrap();
        assert_eq!(jobs[0].payload, "job");
    }
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
        let client = ::redis::Client::open(format!("redis://:{PASSWORD}@127.0.0.1:{port}/")).unwrap();
        let mut connection = client.get_connection().unwrap();
        let mut set = |name: &str, value: &str| {
            ::redis::cmd("CONFIG").arg("SET").arg(name).arg(value).exec(&mut connection).unwrap();
        };
        set("maxmemory", "1");
        // The one at work fails as a whole, and goes on later.
        assert_eq!(told(broker.push(&[NewJob::new("job")])), "OutOfMemory");
        set("maxmemory-policy", "allkeys-lru");
        assert_eq!(told(open(&format!(":{PASSWORD}@"))), "Evicts");
        set("maxmemory", "0");
        assert_eq!(broker.push(&[NewJob::new("job")]).unwrap(), 1);
        ::redis::cmd("SCRIPT").arg("FLUSH").exec(&mut connection).unwrap();
        assert_eq!(broker.take(1, Duration::from_secs(100)).unwrap().len(), 1);
        ::redis::cmd("CLIENT").arg("KILL").arg("TYPE").arg("normal").exec(&mut connection).unwrap();
        assert_eq!(told(broker.status()), "Unreachable");
        assert_eq!(broker.status().unwrap().leased, 1);
        ::redis::cmd("REPLICAOF").arg("127.0.0.1").arg(1).exec(&mut connection).unwrap();
        assert_eq!(told(broker.push(&[NewJob::new("job")])), "ReadOnly");
    });
}

/// What each is started with, and what becomes of a queue there.
#[test]
fn servers_of_redis_that_are_set_up_otherwise() {
    if !has_program("redis-server") {
        return println!("left out: there is no redis-server here, see `.ci/run`");
    }
    let with = |settings: &[&str]| {
        let server = redis_server(settings);
        patched(move || {
            let broker = Redis::open(&format!("redis://127.0.0.1:{}/", server.port), "queue");
            told(broker.and_then(|broker| broker.push(&[NewJob::new("job")])))
        })
    };
    assert_eq!(with(&["--replicaof", "127.0.0.1", "1"]), "ReadOnly");
    assert_eq!(with(&["--replicaof", "127.0.0.1", "1", "--replica-serve-stale-data", "no"]), "Unreachable");
    assert_eq!(with(&["--maxmemory", "1"]), "OutOfMemory");
    assert_eq!(with(&["--maxmemory", "100mb", "--maxmemory-policy", "volatile-ttl"]), "Evicts");
    assert_eq!(with(&["--rename-command", "EVALSHA", ""]), "Other");
}

/// What Debian has is new enough, so it is one that only says that it is old.
#[test]
fn a_server_of_redis_that_is_too_old() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        // Each word has a line of its own, and none of the others is a command.
        for word in BufReader::new(&stream).lines().map_while(Result::ok) {
            let about = "# Server\r\nredis_version:6.2.14\r\n";
            let said = match word.as_str() {
                "INFO" => format!("${}\r\n{about}\r\n", about.len()),
                "CLIENT" => "+OK\r\n".to_owned(),
                _ => continue,
            };
            (&stream).write_all(said.as_bytes()).unwrap();
        }
    });
    patched(move || {
        let error = Redis::open(&format!("redis://{address}/"), "queue").unwrap_err();
        assert_eq!(error.to_string(), "the broker is too old: it is of version 6.2.14, and 7.0 is needed");
    });
    server.join().unwrap();
}

/// A message of PostgreSQL's: its kind, its length, and the rest.
fn message(kind: u8, rest: &[u8]) -> Vec<u8> {
    let length = (rest.len() as u32 + 4).to_be_bytes();
    [&[kind], &length[..], rest].concat()
}

/// One that only says that it is old, too.
#[test]
fn a_server_of_postgresql_that_is_too_old() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let is_ready = message(b'Z', b"I");
        let mut answer = [message(b'R', &[0; 4]), is_ready.clone()].concat();
        // Who says hello says no kind.
        let mut head = [0; 5];
        stream.read_exact(&mut head[1..]).unwrap();
        loop {
            let length = u32::from_be_bytes(head[1..].try_into().unwrap()) as usize - 4;
            stream.read_exact(&mut vec![0; length]).unwrap();
            match head[0] {
                0 | b'S' => {
                    stream.write_all(&answer).unwrap();
                    answer.clear();
                }
                // A column of text, and what is in it.
                b'D' => {
                    let column = b"\0\x01version\0\0\0\0\0\0\0\0\0\0\x19\xff\xff\xff\xff\xff\xff\0\0";
                    answer = [message(b'1', b""), message(b't', b"\0\0"), message(b'T', column)].concat();
                    answer.extend(&is_ready);
                }
                b'E' => {
                    let row = b"\0\x01\0\0\0\x06110022";
                    answer = [message(b'2', b""), message(b'D', row), message(b'C', b"SHOW\0")].concat();
                    answer.extend(&is_ready);
                }
                b'C' => answer = [message(b'3', b""), is_ready.clone()].concat(),
                _ => {}
            }
            if stream.read_exact(&mut head).is_err() {
                break;
            }
        }
    });
    patched(move || {
        let error = Postgres::open(&format!("postgres://me@{address}/db"), "queue").unwrap_err();
        assert_eq!(error.to_string(), "the broker is too old: it is of version 11.22, and 12 is needed");
    });
    server.join().unwrap();
}

/// What it holds is left alone, and a worker that finds it so when it connects again goes on asking.
#[test]
fn a_queue_in_redis_of_a_later_version() {
    let Some(server) = redis() else { return };
    let url = server.url.clone();
    patched(move || {
        let broker = Redis::open(&url, "later").unwrap();
        let mut connection = ::redis::Client::open(&*url).unwrap().get_connection().unwrap();
        let mut ask = |words: &[&str]| {
            let mut command = ::redis::cmd(words[0]);
            command.arg(&words[1..]);
            command.query::<Option<String>>(&mut connection).unwrap()
        };
        broker.push(&[NewJob::new("job")]).unwrap();
        assert_eq!(ask(&["GET", "fleet:{later}:layout"]).as_deref(), Some("1"));
        broker.purge().unwrap();
        assert_eq!(ask(&["GET", "fleet:{later}:layout"]).as_deref(), Some("1"));
        ask(&["SET", "fleet:{later}:layout", "1000"]);
        assert_eq!(told(Redis::open(&url, "later")), "Unreadable");
        // One of before that was written down nowhere.
        ask(&["GETDEL", "fleet:{later}:layout"]);
        assert_eq!(Redis::open(&url, "later").unwrap().push(&[NewJob::new("job")]).unwrap(), 1);
        assert_eq!(broker.take(1, Duration::from_secs(100)).unwrap().len(), 1);
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
        client.batch_execute("comment on schema fleet_refusals is 'fleet 1000'").unwrap();
        assert_eq!(told(Postgres::open(&url, "refusals")), "Unreadable");
    });
}

/// Words of SQL, capitals, and as long as a name may be.
#[test]
fn a_queue_may_have_any_name_that_is_allowed() {
    let Some(server) = postgresql() else { return };
    let url = server.url.clone();
    patched(move || {
        let mut client = postgres::Client::connect(&url, postgres::NoTls).unwrap();
        for name in ["Select", "select", "1", &"a".repeat(40)] {
            let brokers = [(); 2].map(|()| Postgres::open(&url, name).unwrap());
            assert_eq!(brokers[0].push(&[NewJob::new(name)]).unwrap(), 1);
            assert_eq!(brokers[1].take(9, Duration::from_secs(100)).unwrap().len(), 1);
            client.batch_execute(&format!("drop schema \"fleet_{name}\" cascade")).unwrap();
        }
    });
}

/// It says nothing against what was to be asked, so a worker asks again.
#[test]
fn what_is_wrong_with_a_new_connection_is_no_answer() {
    let Some(server) = postgresql() else { return };
    let url = server.url.clone();
    patched(move || {
        let mut client = postgres::Client::connect(&url, postgres::NoTls).unwrap();
        let broker = Postgres::open(&format!("{url}?application_name=other"), "other").unwrap();
        client.batch_execute("comment on schema fleet_other is 'fleet 1000'").unwrap();
        client
            .batch_execute(
                "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'other'",
            )
            .unwrap();
        // Perhaps that the connection is lost, and then that the new one will not do.
        for _ in 0..2 {
            assert_eq!(told(broker.push(&[NewJob::new("job")])), "Unreachable");
        }
        // As a version of before had it, which is brought up to date.
        let to_version =
            "alter table fleet_other.lane drop column parked; comment on schema fleet_other is 'fleet 2'";
        client.batch_execute(to_version).unwrap();
        assert_eq!(broker.push(&[NewJob::new("job").lane("lane", Duration::ZERO)]).unwrap(), 1);
    });
}

/// What is there is not made again, which would wait for all who write.
#[test]
fn who_connects_to_postgresql_waits_for_nobody_who_works() {
    let Some(server) = postgresql() else { return };
    let url = server.url.clone();
    patched(move || {
        let broker = Postgres::open(&url, "busy").unwrap();
        broker.push(&[NewJob::new("job")]).unwrap();
        let mut client = postgres::Client::connect(&url, postgres::NoTls).unwrap();
        let mut transaction = client.transaction().unwrap();
        // What a call of another worker has while it goes on.
        transaction
            .batch_execute("lock table fleet_busy.job, fleet_busy.lane in row exclusive mode")
            .unwrap();
        transaction.batch_execute("select from pg_advisory_xact_lock(hashtext('fleet_busy'))").unwrap();
        let opened = greenloop::with_timeout(Duration::from_secs(5), || Postgres::open(&url, "busy"));
        assert_eq!(opened.expect("it waits").unwrap().status().unwrap().ready, 1);
        transaction.rollback().unwrap();
    });
}
