//! Runs every example of this package as a process of its own and compares what it prints with what its header promises. An
//! example that is a package does so in a test of its own.

#[path = "support/promise.rs"]
mod promise;
mod support;
#[path = "support/tool.rs"]
mod tool;

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::net::sockopt::set_socket_linger;

use promise::{difference, expected_output};
use support::until;

const LIMIT: Duration = Duration::from_secs(60);

#[test]
fn each_example_prints_what_its_header_promises() {
    let examples = examples();
    assert!(!examples.is_empty());
    let wrong: Vec<String> = examples.iter().filter_map(|(name, text)| promise::broken(name, text)).collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// The name and the text of each example `NAME.rs`.
fn examples() -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let entries = fs::read_dir(folder).expect("the examples").map(|entry| entry.expect("an entry").path());
    let example = |path: PathBuf| {
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        (name, fs::read_to_string(path).expect("a readable example"))
    };
    let sources = entries.filter(|path| path.extension().is_some_and(|extension| extension == "rs"));
    let mut examples: Vec<_> = sources.map(example).collect();
    examples.sort();
    examples
}

/// The names of all but `hello`, which is a text to copy.
fn programs() -> impl Iterator<Item = String> {
    examples().into_iter().map(|(name, _)| name).filter(|name| name != "hello")
}

#[test]
fn the_list_of_examples_is_whole() {
    let list = include_str!("../examples/README.md");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let entries = fs::read_dir(folder).expect("the examples").map(|entry| entry.expect("an entry").path());
    // Alone in a file, or a package.
    let is_example = |path: &PathBuf| {
        path.extension().is_some_and(|extension| extension == "rs") || path.join("Cargo.toml").exists()
    };
    for path in entries.filter(is_example) {
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        let row = list.lines().find(|line| line.starts_with(&format!("| [{name}](")));
        let row = row.unwrap_or_else(|| panic!("{name} is not in examples/README.md"));
        assert!(row.ends_with(&format!(" --example {name}` |")), "{row}");
    }
}

#[test]
fn each_example_helps_and_refuses_what_it_does_not_know() {
    for name in programs() {
        tool::helps_and_refuses(&name);
    }
}

/// Who keeps a hub is told of by all, where they are built for that.
#[test]
fn each_example_is_watched_in_debug_builds() {
    for (name, source) in examples().into_iter().filter(|(name, _)| name != "hello") {
        let is_watched = ["tool::run(", "tool::takes_no_arguments("].iter().any(|call| source.contains(call));
        assert!(is_watched, "{name}");
    }
    let server = Serving::start("echo_server", &["127.0.0.1:0"]);
    let tasks = fs::read_dir(format!("/proc/{}/task", server.0.id())).expect("its OS threads");
    let threads: Vec<_> = tasks
        .map(|task| fs::read_to_string(task.expect("an entry").path().join("comm")).unwrap_or_default())
        .collect();
    let is_there = threads.iter().any(|name| name.trim() == "greenloop-watch");
    assert_eq!(is_there, cfg!(debug_assertions), "{threads:?}");
}

#[test]
fn tools_refuse_wrong_arguments_with_the_reason() {
    let no_address = "no port: expected HOST:PORT";
    tool::refuses("chat_server", &["nonsense"], no_address);
    tool::refuses("chat_server", &["127.0.0.1:0", "127.0.0.1:0"], "unexpected argument '127.0.0.1:0' found");
    tool::refuses("echo_server", &["nonsense"], no_address);
    tool::refuses("hosts_alive", &["--hosts", "127.0.0.9-127.0.0.1"], "ends before it begins");
    tool::refuses("hosts_alive", &["--ports", "http"], "`http`: invalid digit found in string");
    tool::refuses("hosts_alive", &["--at-once", "0"], "0 is not in 1..");
    tool::refuses("port_forwarder", &["127.0.0.1:0"], "required arguments were not provided");
    tool::refuses("port_forwarder", &["127.0.0.1:0", "nonsense"], no_address);
    tool::refuses(
        "port_forwarder",
        &["127.0.0.1:0", "127.0.0.1:99999"],
        "number too large to fit in target type",
    );
    tool::refuses(
        "port_forwarder",
        &["127.0.0.1:0", "127.0.0.1:1", "more"],
        "unexpected argument 'more' found",
    );
    tool::refuses("primes", &["0"], "0 is not in 1..=1000000");
    tool::refuses("ten_requests", &["0"], "0 is not in 1..=60000");
    tool::refuses("thread_pool_primes", &["many"], "invalid digit found in string");
    tool::refuses("udp_echo", &["nonsense"], no_address);
    tool::refuses("udp_echo", &["127.0.0.1:http"], "the port is wrong: invalid digit found in string");
    tool::refuses("udp_echo", &[":1"], "expected HOST:PORT, or [IPV6]:PORT");
    tool::refuses("udp_echo", &["::1"], "expected HOST:PORT, or [IPV6]:PORT");
    // What is no mistake of form is told as well, in one line.
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("its address").to_string();
    for name in ["chat_server", "echo_server"] {
        let run = tool::run(name, &[&address]);
        let line = format!("{name}: cannot listen at {address}: Address already in use (os error 98)\n");
        assert_eq!((run.status.code(), run.stderr), (Some(1), line));
    }
}

#[test]
fn each_example_ends_when_nobody_reads_and_says_when_it_cannot_write() {
    for name in programs() {
        tool::ends_quietly_when_nobody_reads(&name, &[]);
        tool::ends_quietly_when_nobody_reads(&name, &["--help"]);
        tool::says_when_it_cannot_write(&name, &[]);
    }
}

#[test]
fn hosts_alive_finds_the_same_with_few_files() {
    // A hundred attempts at a port that never answers, and then one at a port that does.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    rustix::net::listen(&silent, 0).expect("a shorter backlog");
    let address = silent.local_addr().expect("its address");
    let _filling = TcpStream::connect(address).expect("the one that the backlog keeps");
    let good = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = |listener: &TcpListener| listener.local_addr().expect("its address").port();
    let ports = format!("{}{}", format!("{},", port(&silent)).repeat(100), port(&good));
    let look = |files| {
        let arguments = ["--hosts=127.0.0.1", "--timeout=300", "--ports", &ports];
        tool::run_with_few_files(files, "hosts_alive", &arguments)
    };
    let found = format!("\n127.0.0.1:{} answers\n1 of 101 answer\n", port(&good));
    let run = look(64);
    assert!(run.stdout.ends_with(&found) && run.status.success(), "{run:?}");
    let fewer = run.stderr.starts_with("hosts_alive: no more than 5");
    assert!(fewer && run.stderr.ends_with(" at once, for no more files may be open\n"), "{run:?}");
    // Enough to load the program, and not for a hub that waits for a connection.
    let run = look(4);
    assert!(run.stdout.ends_with(&found), "{run:?}");
    assert_eq!(run.status.code(), Some(1));
    let untried = "hosts_alive: 100 could not be tried: Too many open files (os error 24)\n";
    assert!(run.stderr.ends_with(untried), "{run:?}");
}

/// With programs in the place of `ping` that find everybody or nobody, and with none.
#[test]
fn ping_hosts_tells_what_ping_says() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("ping_hosts");
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir(&folder).expect("a new folder");
    let ping = folder.join("ping");
    let survey = || {
        let mut command = Command::new(support::example("ping_hosts"));
        let run = support::finish(command.env("PATH", &folder), LIMIT);
        assert!(run.status.success() && run.stderr.is_empty(), "{run:?}");
        run.stdout.lines().filter(|line| line.starts_with("by ping")).collect::<Vec<_>>().join("; ")
    };
    assert_eq!(survey(), "by ping: there is no such program here");
    let some = "127.0.7.1, 127.0.7.2, 127.0.7.3, …";
    symlink("/bin/true", &ping).expect("a link");
    assert_eq!(survey(), format!("by ping: 254 are in use: {some}; by ping: none are not"));
    fs::remove_file(&ping).expect("the link");
    symlink("/bin/false", &ping).expect("a link");
    assert_eq!(survey(), format!("by ping: none are in use; by ping: 254 are not: {some}"));
    fs::remove_dir_all(&folder).expect("the folder");
}

#[test]
fn the_others_say_that_there_are_few_files() {
    let run = tool::run_with_few_files(64, "echo_server", &[]);
    assert_eq!(run.status.code(), Some(1));
    let told = run.stderr.ends_with("echo_server: Too many open files (os error 24)\n");
    assert!(told && !run.stderr.contains("panicked"), "{run:?}");
}

/// An attempt may come from the very port that it goes to. The kernel goes through its ports for one destination in steps of
/// two, so that most rounds of so many attempts at a free even port meet it.
#[test]
fn hosts_alive_does_not_take_itself_for_an_answer() {
    for _ in 0..4 {
        let free = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("its address");
        let port = format!("{},", free.port() & !1).repeat(16_000);
        let mut command = Command::new(support::example("hosts_alive"));
        command.args(["--hosts=127.0.0.1", "--at-once=50", "--ports", port.trim_end_matches(',')]);
        let run = support::finish(&mut command, LIMIT);
        assert!(
            run.status.success() && run.stdout.ends_with(" at once\n0 of 16000 answer\n"),
            "{}",
            run.stderr
        );
    }
}

/// An example that serves until it is dropped, and the address that it has printed.
struct Serving(Child, SocketAddr);

impl Serving {
    fn start(name: &str, arguments: &[&str]) -> Serving {
        let mut command = Command::new(support::example(name));
        let mut child =
            command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("it starts");
        let mut line = String::new();
        let mut stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        stdout.read_line(&mut line).expect("where it listens");
        let address = line.split_whitespace().find_map(|word| word.parse().ok());
        Serving(child, address.unwrap_or_else(|| panic!("{name} printed {line:?}")))
    }

    /// How many connections it has.
    fn connections(&self) -> usize {
        let files = fs::read_dir(format!("/proc/{}/fd", self.0.id())).expect("it runs");
        let targets = files.filter_map(|file| fs::read_link(file.ok()?.path()).ok());
        // The one that it listens at.
        targets.filter(|target| target.to_string_lossy().starts_with("socket:")).count() - 1
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn servers_say_where_they_listen() {
    for name in ["chat_server", "echo_server", "udp_echo"] {
        support::within(LIMIT, move || drop(Serving::start(name, &["127.0.0.1:0"])));
    }
}

#[test]
fn the_forwarder_passes_a_reset_on_from_either_side() {
    support::within(LIMIT, || {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let target = listener.local_addr().expect("its address").to_string();
        let forwarder = Serving::start("port_forwarder", &["127.0.0.1:0", &target]);
        for resets_client in [true, false] {
            let client = TcpStream::connect(forwarder.1).expect("it accepts");
            let (server, _) = listener.accept().expect("it connects");
            // Something has been passed on in each direction, and then there is silence.
            for (mut from, mut to) in [(&client, &server), (&server, &client)] {
                from.write_all(b"x").expect("a connection");
                to.read_exact(&mut [0]).expect("a byte");
            }
            let (resets, mut other) = if resets_client { (client, server) } else { (server, client) };
            set_socket_linger(&resets, Some(Duration::ZERO)).expect("a socket");
            drop(resets);
            let error = other.read(&mut [0]).expect_err("no end, for the other has not come to one");
            assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
            until(|| forwarder.connections() == 0);
        }
    });
}

/// A guest of the chat.
struct Guest(BufReader<TcpStream>);

impl Guest {
    fn enter(chat: &Serving, name: &str) -> Guest {
        let mut guest = Guest(BufReader::new(TcpStream::connect(chat.1).expect("the chat accepts")));
        guest.say(name);
        guest.hear_until(&format!("welcome, {name}"));
        guest
    }

    fn say(&mut self, text: &str) {
        writeln!(self.0.get_mut(), "{text}").expect("a connection");
    }

    fn hear(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).expect("a connection");
        assert_eq!(line.pop(), Some('\n'), "the chat has ended");
        line
    }

    fn hear_until(&mut self, expected: &str) {
        while self.hear() != expected {}
    }

    /// Says what has no line's end, for as long as it is let.
    fn babble(&mut self) {
        while self.0.get_mut().write_all(&[b'x'; 4096]).is_ok() {}
    }
}

#[test]
fn a_guest_whose_line_has_no_end_has_to_go() {
    support::within(LIMIT, || {
        let chat = Serving::start("chat_server", &["127.0.0.1:0"]);
        let mut ann = Guest::enter(&chat, "ann");
        let mut bob = Guest::enter(&chat, "bob");
        bob.babble();
        ann.hear_until("bob has gone");
        let mut nameless = Guest(BufReader::new(TcpStream::connect(chat.1).expect("the chat accepts")));
        nameless.babble();
    });
}

#[test]
fn a_guest_who_does_not_read_has_to_go() {
    support::within(LIMIT, || {
        let chat = Serving::start("chat_server", &["127.0.0.1:0"]);
        let mut ann = Guest::enter(&chat, "ann");
        let mut bob = Guest::enter(&chat, "bob");
        let _deaf = Guest::enter(&chat, "deaf");
        ann.hear_until("deaf has come");
        let line = "x".repeat(900);
        // Ann hears each before the next is said, and so is not behind.
        let gone = loop {
            bob.say(&line);
            let heard = ann.hear();
            if heard != format!("bob: {line}") {
                break heard;
            }
        };
        assert_eq!(gone, "deaf has gone");
    });
}

#[test]
fn what_a_terminal_would_obey_is_not_passed_on() {
    support::within(LIMIT, || {
        let chat = Serving::start("chat_server", &["127.0.0.1:0"]);
        let mut ann = Guest::enter(&chat, "ann");
        let mut bob = TcpStream::connect(chat.1).expect("the chat accepts");
        bob.write_all(b"b\x1b[2Job\n\xff\x07bell\r\n").expect("a connection");
        assert_eq!([ann.hear(), ann.hear()], ["b[2Job has come", "b[2Job: \u{fffd}bell"]);
    });
}

#[test]
fn an_echo_server_without_files_goes_on_when_there_are_some_again() {
    support::within(LIMIT, || {
        let mut command = Command::new("sh");
        command.args(["-c", "ulimit -n 16 && exec \"$0\" \"$@\""]).arg(support::example("echo_server"));
        let mut child = command
            .arg("127.0.0.1:0")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut line).expect("where it listens");
        let address = line.trim().trim_start_matches("listening on ").parse().expect("an address");
        let server = Serving(child, address);
        let crowd: Vec<_> =
            (0..32).map(|_| TcpStream::connect(server.1).expect("the kernel accepts")).collect();
        let mut server = server;
        let mut complaints = BufReader::new(server.0.stderr.take().expect("a pipe")).lines();
        let complaint = complaints.next().expect("a line").expect("text");
        assert_eq!(complaint, "echo_server: cannot accept: Too many open files (os error 24)");
        drop(crowd);
        let mut late = TcpStream::connect(server.1).expect("the kernel accepts");
        late.write_all(b"x").expect("a connection");
        late.read_exact(&mut [0]).expect("an echo");
    });
}

#[test]
fn the_comparison_fails_when_it_should() {
    let source = "//! An example.\n//!\n//! Expected output:\n//!\n//!     one [..] two\n//!\n//!     three\n//!\n//! More.\nfn main() {}";
    let expected = expected_output(source).unwrap();
    assert_eq!(expected, ["one [..] two", "", "three"]);
    assert_eq!(difference(&expected, "one and two\n\nthree\n"), None);
    assert_eq!(
        difference(&expected, "one two\n\nthree\n").unwrap(),
        "line 1: expected `one [..] two`, got `one two`"
    );
    assert_eq!(difference(&expected, "one  two\n").unwrap(), "line 2: expected ``, got no more");
    assert_eq!(
        difference(&expected, "one  two\n\nthree\nfour\n").unwrap(),
        "line 4: expected no more, got `four`"
    );
    assert_eq!(expected_output("//! Nothing promised.\n"), None);
}
