use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use greenloop::inspect::{self, Listening};
use greenloop::net::unix::{UnixListener, UnixStream};
use greenloop::{Builder, killall, sleep, spawn};
use serde_json::{Value, json};

use crate::support::{self, settle, within};
use crate::{LIMIT, LONG, alone};

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()))
}

fn listening(name: &str) -> (PathBuf, Listening) {
    let path = path(name);
    let listening = inspect::listen(&path).unwrap();
    (path, listening)
}

/// What the metrics say of the calling thread's hub, which may be late: asked for until they do, and `is_it` says that it is it.
fn own_metrics(path: &PathBuf, is_it: impl Fn(&Value) -> bool) -> Value {
    let thread = std::thread::current().name().unwrap().to_owned();
    loop {
        let [metrics] = <[Value; 1]>::try_from(ask(path, &["metrics"])).unwrap();
        assert_eq!(metrics["process"], std::process::id());
        let own = metrics["hubs"].as_array().unwrap().iter().find(|hub| hub["thread"] == thread);
        if let Some(own) = own.filter(|own| is_it(own)) {
            return own.clone();
        }
    }
}

/// The answer to each line.
fn ask(path: &PathBuf, lines: &[&str]) -> Vec<Value> {
    let mut stream = UnixStream::connect(path).unwrap();
    let mut answers = BufReader::new(stream.try_clone().unwrap()).lines();
    let mut answer = |line: &&str| {
        writeln!(stream, "{line}").unwrap();
        serde_json::from_str(&answers.next().unwrap().unwrap()).expect("JSON")
    };
    lines.iter().map(&mut answer).collect()
}

#[test]
fn each_line_has_its_answer() {
    let _alone = alone();
    within(LIMIT, || {
        let (path, listening) = listening("answers");
        let sleep = || sleep(LONG);
        let sleepers: Vec<_> = (0..3).map(|_| Builder::new().name("door").spawn(sleep).unwrap()).collect();
        settle();
        let hub = own_metrics(&path, |_| true);
        let lines = ["places", "dump", "report", "nothing", "record 61", "time on"];
        let [places, dump, report, nothing, longest, on] =
            <[Value; 6]>::try_from(ask(&path, &lines)).unwrap();
        let number = |name: &str| hub[name].as_u64().unwrap();
        assert_eq!((number("alive"), number("spawned")), (3, number("ended") + 3));
        let of_sleepers = |group: &&Value| group["names"] == json!(["door", "door", "door"]);
        let groups = places["places"].as_array().unwrap();
        let group = groups.iter().find(of_sleepers).unwrap();
        assert_eq!(
            (&group["count"], &group["waits_on"], &group["standing"]),
            (&json!(3), &json!("a sleep"), &json!("parked"))
        );
        assert!(group["longest_wait_ms"].is_u64());
        assert!(group["spawned_at"].as_str().unwrap().starts_with("tests/inspect/listen.rs:"));
        assert!(dump["hubs"].as_array().unwrap().iter().any(|hub| hub["backtraces"] != json!([])));
        assert!(report["text"].as_str().unwrap().contains("'door'"));
        assert!(nothing["error"].is_string() && longest["error"].is_string());
        own_metrics(&path, |own| own["slices"]["count"].is_u64());
        let off = ask(&path, &["time off"]).remove(0);
        assert_eq!((on, off), (json!({"done": true}), json!({"done": true})));
        own_metrics(&path, |own| own["slices"].is_null());
        killall(&sleepers);
        listening.stop();
        assert!(!path.exists());
    });
}

#[test]
fn it_is_for_its_user_alone() {
    within(LIMIT, || {
        let (path, listening) = listening("mode");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        // A second one finds that somebody listens.
        assert_eq!(inspect::listen(&path).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        listening.stop();
    });
}

#[test]
fn what_is_left_of_another_is_replaced_and_what_is_not_its_own_is_left() {
    within(LIMIT, || {
        let path = path("left");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let listening = inspect::listen(&path).unwrap();
        assert_eq!(ask(&path, &["x"]).len(), 1);
        // Somebody else's by now.
        fs::remove_file(&path).unwrap();
        let other = UnixListener::bind(&path).unwrap();
        listening.stop();
        assert!(path.exists());
        drop(other);
        fs::remove_file(&path).unwrap();
        fs::write(&path, "a file").unwrap();
        assert_eq!(inspect::listen(&path).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        assert_eq!(fs::read_to_string(&path).unwrap(), "a file");
        fs::remove_file(&path).unwrap();
    });
}

#[test]
fn the_socket_is_removed_whatever_became_of_the_working_folder() {
    let child = support::run_child(LIMIT, || {
        let path = path("folder");
        std::env::set_current_dir(path.parent().unwrap()).unwrap();
        let listening = inspect::listen(path.file_name().unwrap()).unwrap();
        assert!(path.exists());
        std::env::set_current_dir("/").unwrap();
        listening.stop();
        assert!(!path.exists());
    });
    assert!(child.is_none_or(|child| child.status.success()));
}

#[test]
fn a_line_that_is_too_long_is_answered() {
    within(LIMIT, || {
        let (path, listening) = listening("long");
        let ask = |length: usize| {
            let mut stream = UnixStream::connect(&path).unwrap();
            stream.write_all(&vec![b'x'; length]).unwrap();
            stream.write_all(b"\n").unwrap();
            let mut answer = String::new();
            BufReader::new(stream).read_line(&mut answer).unwrap();
            serde_json::from_str::<Value>(&answer).unwrap()["error"].as_str().unwrap().to_owned()
        };
        assert!(ask(255).starts_with("there are: "));
        assert_eq!(ask(256), "the line is too long");
        listening.stop();
    });
}

#[test]
fn garbage_ends_its_own_connection_and_nothing_else() {
    within(LIMIT, || {
        let (path, listening) = listening("garbage");
        let mut random = 7_u64;
        let garbage: Vec<u8> = (0..20_000)
            .map(|_| {
                random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                (random >> 33) as u8
            })
            .collect();
        for sent in [&garbage[..], &[0; 300], &[b'\n'; 50], b"metrics", b"\xff\xff\n", b""] {
            let stream = UnixStream::connect(&path).unwrap();
            let mut reader = stream.try_clone().unwrap();
            let sent = sent.to_owned();
            let writer = spawn(move || {
                let _ = (&stream).write_all(&sent);
                let _ = stream.shutdown(std::net::Shutdown::Write);
            });
            let mut answer = Vec::new();
            let _ = reader.read_to_end(&mut answer);
            writer.join().unwrap();
            for line in answer.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
                let value: Value = serde_json::from_slice(line).expect("JSON");
                assert!(value["error"].is_string(), "{value}");
            }
        }
        // One that asks and goes.
        drop(UnixStream::connect(&path).unwrap().write_all(b"dump\ndump\ndump\n"));
        assert!(ask(&path, &["metrics"])[0]["process"].is_u64());
        listening.stop();
    });
}
