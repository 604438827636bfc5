//! Processes by blocking calls: what the kernel takes for its part.

use std::io::{Read, Write, stdin};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command};

use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socketpair};

use crate::support::arguments::Arguments;
use crate::support::clock::Stopwatch;
use crate::support::output::Output;

const LARGE: usize = 16 << 20;

/// Runs the measure that the command line names. Those that are none without a library print nothing.
pub(crate) fn run(output: &Output, arguments: &Arguments) {
    let count = arguments.get("iters", 1_000);
    match arguments.measure.as_str() {
        "round_trip" => round_trips(output, count),
        "large" => large(output, count),
        "start" => starts(output, count, arguments.get("mebibytes", 0)),
        "echo_packets" => echo_packets(),
        "echo_stream" => echo_stream(),
        _ => {}
    }
}

/// This program again, with a socket as its input.
fn relative(measure: &str, socket: OwnedFd) -> Child {
    let mut command = Command::new(std::env::current_exe().expect("the program's own path"));
    command.args([measure, "--kind", "bare"]).stdin(socket).spawn().expect("a child")
}

fn round_trips(output: &Output, count: usize) {
    let (ours, theirs) =
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).expect("sockets");
    let mut child = relative("echo_packets", theirs);
    let mut buffer = [7; 64];
    let mut round_trip = || {
        send(&ours, &buffer, SendFlags::empty()).expect("a child that reads");
        recv(&ours, &mut buffer, RecvFlags::empty()).expect("a child that answers");
    };
    // The child is there then.
    round_trip();
    let clock = Stopwatch::start();
    (0..count).for_each(|_| round_trip());
    output.metric("round_trip", clock.stop().wall / count as f64 / 1e3, "us");
    drop(ours);
    child.wait().expect("a child");
}

fn echo_packets() {
    let mut buffer = [0; 64];
    while let Ok((length @ 1.., _)) = recv(stdin().as_fd(), &mut buffer, RecvFlags::empty()) {
        send(stdin().as_fd(), &buffer[..length], SendFlags::empty()).expect("a parent that reads");
    }
}

/// There and back through a stream. The side that answers has read all before.
fn large(output: &Output, count: usize) {
    let (mut ours, theirs) = UnixStream::pair().expect("sockets");
    let mut child = relative("echo_stream", theirs.into());
    let message = vec![7; LARGE];
    let mut round_trip = || {
        let mut answer = vec![0; LARGE];
        ours.write_all(&message).expect("a child that reads");
        ours.read_exact(&mut answer).expect("a child that answers");
        assert_eq!(answer[LARGE - 1], 7);
    };
    round_trip();
    let clock = Stopwatch::start();
    (0..count).for_each(|_| round_trip());
    output.metric("large", clock.stop().wall / count as f64 / 1e6, "ms");
    drop(ours);
    child.wait().expect("a child");
}

fn echo_stream() {
    let mut stream = UnixStream::from(stdin().as_fd().try_clone_to_owned().expect("a descriptor"));
    loop {
        let mut message = vec![0; LARGE];
        if stream.read_exact(&mut message).is_err() {
            return;
        }
        stream.write_all(&message).expect("a parent that reads");
    }
}

fn starts(output: &Output, count: usize, mebibytes: usize) {
    let ballast = vec![1_u8; mebibytes << 20];
    let clock = Stopwatch::start();
    for _ in 0..count {
        assert!(Command::new("true").status().expect("a child").success());
    }
    output.metric("start_join", clock.stop().wall / count as f64 / 1e3, "us");
    drop(ballast);
}
