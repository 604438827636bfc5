//! The crate `ssh2`, which is libssh2, against Debian's sshd.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use ::ssh2::{Channel, Session};
use clients::folder::Folder;
use clients::interrupted::interrupted;
use clients::measure::at_once;
use clients::program::{Program, Stop, give_to_unprivileged, unprivileged};

use crate::DELAY;

/// Each takes the processor for a key exchange, and two processes.
const MANY: u32 = 20;

/// A server for the one user that it runs as.
struct Server {
    program: Program,
    user: String,
    /// Goes after the program.
    folder: Folder,
}

impl Server {
    fn start() -> Server {
        let folder = Folder::new("ssh");
        give_to_unprivileged(&folder);
        let (key, public) = (folder.file("key"), folder.file("key.pub"));
        run(&["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", &key]);
        let program = Program::start(Stop::TERMINATE, "Server listening", |port| {
            let port = port.to_string();
            let mut arguments =
                vec!["/usr/sbin/sshd", "-D", "-e", "-f", "/dev/null", "-h", &key, "-p", &port];
            let keys = format!("AuthorizedKeysFile={public}");
            let options =
                ["ListenAddress=127.0.0.1", "UsePAM=no", "StrictModes=no", "PidFile=none", "MaxStartups=500"];
            arguments.extend(options.iter().chain(&[&*keys]).flat_map(|option| ["-o", option]));
            unprivileged(&arguments)
        });
        Server { program, user: run(&["id", "-un"]), folder }
    }

    fn connect(&self) -> Session {
        let mut session = Session::new().unwrap();
        session.set_tcp_stream(TcpStream::connect(("127.0.0.1", self.program.port)).unwrap());
        session.handshake().unwrap();
        session.userauth_pubkey_file(&self.user, None, Path::new(&self.folder.file("key")), None).unwrap();
        session
    }
}

/// What a program says that runs as the server does.
fn run(arguments: &[&str]) -> String {
    let ended = Command::new("setpriv").args(unprivileged(arguments)).output().unwrap();
    assert!(ended.status.success(), "{ended:?}");
    String::from_utf8(ended.stdout).unwrap().trim().to_owned()
}

/// A channel on which `command` runs.
fn execute(session: &Session, command: &str) -> Channel {
    let mut channel = session.channel_session().unwrap();
    channel.exec(command).unwrap();
    channel
}

fn output(session: &Session, command: &str) -> String {
    let mut channel = execute(session, command);
    let mut text = String::new();
    channel.read_to_string(&mut text).unwrap();
    channel.wait_close().unwrap();
    assert_eq!(channel.exit_status().unwrap(), 0);
    text
}

#[test]
fn twenty_commands_at_once() {
    let server = Arc::new(Server::start());
    let for_clients = server.clone();
    at_once(
        "ssh2",
        MANY,
        move |_| for_clients.connect(),
        |number, session| {
            let command = format!("sleep {}; echo {number}", DELAY.as_secs_f64());
            assert_eq!(output(session, &command), format!("{number}\n"));
        },
    );
}

/// The session and its channel go on.
#[test]
fn an_interrupted_read_fails() {
    let server = Arc::new(Server::start());
    let for_clients = server.clone();
    let prepare = move || {
        let session = for_clients.connect();
        // It ends with its input, so with the connection.
        let channel = execute(&session, "cat");
        (session, channel)
    };
    let call = |(_, channel): &mut (Session, Channel)| -> io::Result<()> { channel.read_exact(&mut [0]) };
    let again = |(session, mut channel): (Session, Channel)| {
        let mut word = [0; 4];
        channel.write_all(b"word").unwrap();
        channel.read_exact(&mut word).unwrap();
        assert_eq!(&word, b"word");
        assert_eq!(output(&session, "echo 7"), "7\n");
    };
    interrupted("ssh2", prepare, call, again);
}
