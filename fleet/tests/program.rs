//! The program `fleet`, as a person runs it.

use clients::folder::Folder;
use clients::postgresql::Server;
use clients::program::{Program, Stop};
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

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

/// It would be the name of a file, and the demo one of SQLite.
#[test]
fn a_server_is_named_by_a_url() {
    let folder = Folder::new("fleet-program");
    for (server, expected) in [("--redis", "redis://"), ("--postgres", "postgres://")] {
        let demo = ["demo", "--pages", "1", server, "me:open-sesame@localhost"];
        let output = fleet(&demo).current_dir(&folder.path).output().unwrap();
        let (said, complained) = text(&output);
        assert_eq!((output.status.code(), said.as_str()), (Some(1), ""), "{complained}");
        assert!(complained.contains(expected) && !complained.contains("open-sesame"), "{complained}");
    }
    assert_eq!(std::fs::read_dir(&folder.path).unwrap().count(), 0);
}

fn has_redis() -> bool {
    let found = std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|folder| folder.join("redis-server").exists()));
    if !found {
        println!("left out: there is no redis-server here, see `.ci/run`");
    }
    found
}

#[test]
fn the_demo_on_redis() {
    if has_redis() {
        demonstrates(&["--redis"]);
    }
}

/// Processes are killed, Redis is restarted twice, and the network is cut: each page is recorded once, and no host is asked too soon.
#[test]
fn the_proof_in_small() {
    if !has_redis() {
        return;
    }
    let small =
        ["--pages", "150", "--hosts", "30", "--delay", "0.05", "--concurrency", "20", "--processes", "3"];
    let fast = ["--kill", "1", "--lease", "1", "--cut", "0.3"];
    let output = fleet(&[&["prove"], &small[..], &fast].concat()).output().unwrap();
    let (said, complained) = text(&output);
    assert!(output.status.success(), "{said}{complained}");
    assert_eq!(said.matches("Every page was recorded exactly once: 150 in ").count(), 2, "{said}");
    for happening in ["Redis is stopped", "The network is cut", "Redis is killed"] {
        assert!(said.contains(happening), "{said}");
    }
    assert!(said.lines().last().unwrap().starts_with("It took "), "{said}");
}

/// What a demo leaves whose process is killed is removed by the next one, and its server ends with it.
#[test]
fn a_demo_that_is_killed_leaves_nothing_for_long() {
    if !has_redis() {
        return;
    }
    let folder = Folder::new("fleet-killed");
    let temporary =
        |command: &mut Command| command.env("TMPDIR", &folder.path).stdout(Stdio::piped()).spawn().unwrap();
    let demo = |pages| ["demo", "--redis", "--pages", pages, "--processes", "1"];
    let mut killed = temporary(Command::new(env!("CARGO_BIN_EXE_fleet")).args(demo("100000")));
    // It is about to begin.
    BufReader::new(killed.stdout.take().unwrap()).lines().next().unwrap().unwrap();
    let left = folder.path.join(format!("fleet-demo-{}", killed.id()));
    // Where it is is all that tells: it has written its arguments over.
    let servers = || {
        let processes = std::fs::read_dir("/proc").unwrap().flatten();
        processes
            .filter(|process| std::fs::read_link(process.path().join("cwd")).is_ok_and(|at| at == left))
            .count()
    };
    assert_eq!((left.exists(), servers()), (true, 1));
    // Its worker too is to be gone, which would work beside the next one: what it was started with tells where its folder was to be.
    let place = folder.path.to_str().unwrap().as_bytes();
    let has_place = |environment: Vec<u8>| environment.windows(place.len()).any(|part| part == place);
    let workers = || {
        let processes = std::fs::read_dir("/proc").unwrap().flatten();
        processes.filter(|process| std::fs::read(process.path().join("environ")).is_ok_and(has_place)).count()
    };
    killed.kill().unwrap();
    killed.wait().unwrap();
    let start = Instant::now();
    while servers() + workers() > 0 {
        assert!(start.elapsed() < Duration::from_secs(20), "the server or the worker lives on");
        std::thread::sleep(Duration::from_millis(10));
    }
    let next = temporary(fleet(&demo("20")).stderr(Stdio::null())).wait_with_output().unwrap();
    assert!(next.status.success());
    assert_eq!(std::fs::read_dir(&folder.path).unwrap().count(), 0);
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
fn who_sees_not_all_that_has_failed_is_told_so() {
    use fleet::{Broker, NewJob, Settlement, Sqlite, Verdict};
    let folder = Folder::new("fleet-program");
    let file = folder.file("queue.db");
    let broker = Sqlite::open(&file).unwrap();
    let look = || {
        let output = fleet(&["dead", "--broker", &file]).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let (said, complained) = text(&output);
        (said.lines().count(), complained)
    };
    for (more, expected) in [(1_000, ""), (2, "fleet: 2 more have failed: these are the oldest\n")] {
        broker.push(&vec![NewJob::new("job"); more]).unwrap();
        let jobs = broker.take(more, Duration::from_secs(100)).unwrap();
        let dead =
            |job: &fleet::Job| Settlement::new(job.lease(), Verdict::Dead { error: "no luck".to_owned() });
        broker.settle(&jobs.iter().map(dead).collect::<Vec<_>>()).unwrap();
        assert_eq!(look(), (1_000, expected.to_owned()));
    }
}

#[test]
fn a_page_to_start_at_is_named_by_a_url() {
    for page in ["example.org", "ftp://127.0.0.1/"] {
        let output = fleet(&["crawl", page]).output().unwrap();
        let complained = text(&output).1;
        assert_eq!(output.status.code(), Some(2), "{complained}");
        assert!(complained.contains(": expected http:// or https://\n"), "{complained}");
    }
}

/// In which no page is ever fetched.
#[test]
fn a_lease_that_is_too_short_is_refused() {
    for command in [&["crawl", "http://127.0.0.1:1/"][..], &["prove"]] {
        for lease in ["0", "0.09"] {
            let output = fleet(&[command, &["--lease", lease]].concat()).output().unwrap();
            let complained = text(&output).1;
            assert_eq!(output.status.code(), Some(2), "{complained}");
            assert!(complained.contains(": expected at least 100ms\n"), "{complained}");
        }
    }
}

/// Answers one request, and tells for what it was.
fn respond(stream: TcpStream) -> String {
    let mut lines = BufReader::new(&stream).lines().map_while(Result::ok);
    let request = lines.next().unwrap_or_default();
    lines.find(String::is_empty);
    let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
    let (media_type, body) = match path.as_str() {
        "/robots.txt" => ("text/plain", "User-agent: *\nCrawl-delay: 0.3\nDisallow: /private\n"),
        "/" => ("text/html", "<a href=/one>1</a> <a href=/two>2</a> <a href=/private>3</a>"),
        _ => ("text/html", "<p>No more"),
    };
    let length = body.len();
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: {media_type}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    );
    // Who asked may be gone.
    let _ = (&stream).write_all(format!("{head}{body}").as_bytes());
    path
}

/// Serves a small site for as long as `visit` takes, and returns which paths were asked for.
fn with_site(visit: impl FnOnce(SocketAddr)) -> Vec<String> {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::scope(|scope| {
        let serving = scope.spawn(move || {
            let paths = listener.incoming().map(|stream| respond(stream.unwrap()));
            paths.take_while(|path| path != "/end").collect()
        });
        let visited = catch_unwind(AssertUnwindSafe(|| visit(address)));
        write!(TcpStream::connect(address).unwrap(), "GET /end HTTP/1.1\r\n\r\n").unwrap();
        let paths = serving.join().unwrap();
        visited.unwrap_or_else(|payload| resume_unwind(payload));
        paths
    })
}

#[test]
fn a_crawl_keeps_the_pace_that_robots_txt_asks_for() {
    let folder = Folder::new("fleet-crawl");
    let file = folder.file("queue.db");
    let asked = with_site(|site| {
        let start = Instant::now();
        let seed = format!("http://{site}/");
        let output = fleet(&["crawl", &seed, "--delay", "0", "--broker", &file]).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        // Two waits between three pages; the fourth is left alone.
        assert!(start.elapsed() >= Duration::from_millis(500), "{:?}", start.elapsed());
        let printed = text(&output).0;
        assert_eq!(printed.lines().count(), 4, "{printed}");
        assert!(printed.contains("forbidden by robots.txt"), "{printed}");
        assert_eq!(text(&fleet(&["records", "--broker", &file]).output().unwrap()).0, printed);
    });
    assert_eq!(asked.iter().filter(|path| *path == "/robots.txt").count(), 1, "{asked:?}");
    assert!(!asked.contains(&"/private".to_owned()), "{asked:?}");
    assert_eq!(asked.len(), 4, "{asked:?}");
}

#[test]
fn a_password_is_never_repeated() {
    for address in [
        "redis://:open-sesame@127.0.0.1:1/",
        "redis://127.0.0.1:1/?password=open-sesame",
        " redis://:open-sesame@127.0.0.1:1/",
        "postgres://me:open-sesame@127.0.0.1:1/db",
        "host=127.0.0.1 password = open-sesame",
        "me:open-sesame@127.0.0.1://db",
        "//me:open-sesame@127.0.0.1/none/db",
        "x://open-sesame",
    ] {
        for command in [&["status"][..], &["dead"], &["crawl", "http://127.0.0.1:1/"]] {
            let output = fleet(command).env("FLEET_BROKER", address).output().unwrap();
            let (said, complained) = text(&output);
            assert_eq!(output.status.code(), Some(1), "{said}{complained}");
            assert!(!format!("{said}{complained}").contains("sesame"), "{said}{complained}");
            assert!(complained.starts_with("fleet: "), "{complained}");
        }
    }
}

/// Everybody may see with what arguments a process was started.
#[test]
fn the_processes_of_a_crawl_are_not_started_with_the_password() {
    if !has_redis() {
        return;
    }
    let server = Program::start(Stop::TERMINATE, "Ready to accept connections", |port| {
        let port = port.to_string();
        let arguments = ["redis-server", "--bind", "127.0.0.1", "--port", &port, "--save", ""];
        arguments.iter().chain(&["--requirepass", "open-sesame"]).map(|word| (*word).to_owned()).collect()
    });
    let queue = format!("secret-{}", std::process::id());
    let address = format!("redis://:open-sesame@127.0.0.1:{}/", server.port);
    // Nobody is there, so it goes on for a while.
    let crawl = ["crawl", "http://127.0.0.1:1/", "--workers", "2", "--queue", &queue];
    let mut crawl = fleet(&crawl);
    let crawl = crawl.env("FLEET_BROKER", address).stdout(Stdio::piped()).stderr(Stdio::piped());
    let crawl = crawl.spawn().unwrap();
    let start = Instant::now();
    let arguments = loop {
        let processes = std::fs::read_dir("/proc").unwrap().flatten();
        let lines = processes.filter_map(|process| std::fs::read(process.path().join("cmdline")).ok());
        let lines: Vec<_> = lines.map(|line| String::from_utf8_lossy(&line).into_owned()).collect();
        let own: Vec<_> = lines.into_iter().filter(|line| line.contains(&queue)).collect();
        // Those who began the crawl, it, and two that work.
        if own.iter().filter(|line| line.contains("\0worker\0")).count() == 2 {
            break own;
        }
        assert!(start.elapsed() < Duration::from_secs(30), "{own:?}");
        std::thread::sleep(Duration::from_millis(10));
    };
    assert!(arguments.iter().all(|line| !line.contains("sesame")), "{arguments:?}");
    rustix::process::kill_process(rustix::process::Pid::from_child(&crawl), rustix::process::Signal::TERM)
        .unwrap();
    let (said, complained) = text(&crawl.wait_with_output().unwrap());
    assert!(!format!("{said}{complained}").contains("sesame"), "{said}{complained}");
}
