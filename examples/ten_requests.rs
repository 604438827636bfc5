//! Ten requests, for each of which a server takes its time: one after another, in processes, on OS threads, in green threads and on
//! workers, in one table. The function that asks is always the same.
//!
//! Run it with `cargo run --example ten_requests`, or as the Python program has it, which waits a second for each:
//! `cargo run --example ten_requests -- 1000`.
//!
//! Expected output:
//!
//!     ten requests of 100 ms each
//!     serial         [..] s
//!     processes      [..] s
//!     OS threads     [..] s
//!     green threads  [..] s
//!     workers        [..] s
//!     all but the first in less than half of its time: true

use std::error::Error;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use greenloop::net::TcpStream;
use greenloop::process::Process;
use greenloop::server::StreamServer;
use greenloop::threadpool::ThreadPool;
use greenloop::workers::Workers;
use greenloop::{sleep, spawn, try_joinall};
use tool::say;

mod tool;

const REQUESTS: usize = 10;

/// Sends ten requests in five ways.
#[derive(Parser)]
struct Options {
    /// How many milliseconds the server takes for each
    #[arg(default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=60_000))]
    delay: u64,
}

type Answered = Result<Vec<String>, Box<dyn Error>>;

fn main() -> ExitCode {
    tool::run(|| compare(Duration::from_millis(Options::parse().delay)))
}

fn compare(delay: Duration) -> Result<(), Box<dyn Error>> {
    let server = StreamServer::bind("127.0.0.1:0")?.handle(move |stream, _| answer(stream, delay));
    server.start()?;
    let address = server.local_addr()?;
    let request = move || ask(address);
    // Processes before threads: a process that has others is not forked.
    let ways: [(&str, &dyn Fn() -> Answered); 5] = [
        ("serial", &|| Ok((0..REQUESTS).map(|_| request()).collect::<Result<_, _>>()?)),
        ("processes", &|| {
            let children: Vec<_> =
                (0..REQUESTS).map(|_| Process::start(request)).collect::<Result<_, _>>()?;
            children.into_iter().map(|child| Ok(child.join()??)).collect()
        }),
        ("OS threads", &|| {
            let answers = ThreadPool::new(REQUESTS).map(0..REQUESTS, move |_| request());
            answers.into_iter().map(|answer| Ok(answer??)).collect()
        }),
        ("green threads", &|| {
            let answers = try_joinall((0..REQUESTS).map(|_| spawn(request)))?;
            Ok(answers.into_iter().collect::<Result<_, _>>()?)
        }),
        ("workers", &|| {
            let workers = Workers::new();
            let answers = try_joinall((0..REQUESTS).map(|_| workers.spawn(request)))?;
            workers.stop(Duration::from_secs(1));
            Ok(answers.into_iter().collect::<Result<_, _>>()?)
        }),
    ];
    say!("ten requests of {} ms each", delay.as_millis());
    let mut times = Vec::new();
    for (name, way) in ways {
        let begin = Instant::now();
        assert_eq!(way()?, ["hello"; REQUESTS]);
        times.push(begin.elapsed());
        say!("{name:14} {:.2} s", begin.elapsed().as_secs_f64());
    }
    let at_once = times[1..].iter().all(|time| *time < times[0] / 2);
    say!("all but the first in less than half of its time: {at_once}");
    server.stop(Duration::from_secs(1));
    Ok(())
}

fn answer(mut stream: TcpStream, delay: Duration) -> io::Result<()> {
    let mut head = BufReader::new(&stream).lines();
    while head.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
    sleep(delay);
    stream.write_all(b"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\nhello")
}

fn ask(address: SocketAddr) -> io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (_head, body) = answer.split_once("\r\n\r\n").ok_or(io::ErrorKind::UnexpectedEof)?;
    Ok(body.to_owned())
}
