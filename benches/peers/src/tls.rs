//! TLS by rustls between the two ends of connections in one process: round trips, and handshakes of both ends.

use std::io::{Read, Write};
use std::sync::Arc;

use rcgen::generate_simple_self_signed;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::{PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, StreamOwned};

use crate::support::arguments::Arguments;
use crate::support::clock::{Spent, Stopwatch};
use crate::support::output::Output;
use crate::support::runtime::Runtime;

/// Sent there and back.
pub(crate) const MESSAGE: usize = 64;

/// The settings of both ends. No session is taken up again, so each handshake is a whole one.
pub(crate) struct Settings {
    pub(crate) server: Arc<ServerConfig>,
    pub(crate) client: Arc<ClientConfig>,
}

impl Settings {
    pub(crate) fn new() -> Settings {
        let certified = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let key = PrivatePkcs8KeyDer::from(certified.signing_key.serialize_der());
        let provider = Arc::new(default_provider());
        let mut server = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certified.cert.der().clone()], key.into())
            .unwrap();
        server.send_tls13_tickets = 0;
        let mut trusted = RootCertStore::empty();
        trusted.add(certified.cert.der().clone()).unwrap();
        let mut client = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(trusted)
            .with_no_client_auth();
        client.resumption = rustls::client::Resumption::disabled();
        Settings { server: Arc::new(server), client: Arc::new(client) }
    }
}

pub(crate) fn name() -> ServerName<'static> {
    ServerName::try_from("localhost").unwrap()
}

/// Runs the measure that the command line names, if it is one of these.
pub(crate) fn run<R: Runtime>(output: &Output, arguments: &Arguments) -> bool {
    let get = |key, default| arguments.get(key, default);
    match arguments.measure.as_str() {
        "tls_echo" => round_trips::<R>(output, get("connections", 100), get("iters", 50_000)),
        "tls_handshakes" => handshakes::<R>(output, get("tasks", 16), get("iters", 500)),
        _ => return false,
    }
    true
}

pub(crate) fn report(output: &Output, metric: &str, at_once: usize, spent: Spent, total: usize) {
    output.metric(&format!("{metric}.C={at_once}"), spent.wall / total as f64, "ns");
    output.metric(&format!("{metric}_cpu.C={at_once}"), spent.processor / total as f64, "ns");
}

fn echo(stream: impl Read + Write, settings: &Settings) {
    let session = ServerConnection::new(settings.server.clone()).unwrap();
    let mut stream = StreamOwned::new(session, stream);
    let mut buffer = [0; 1024];
    // At the end the client hangs up without a word, which TLS calls an error.
    while let Ok(length @ 1..) = stream.read(&mut buffer) {
        stream.write_all(&buffer[..length]).unwrap();
    }
}

/// The client's end, behind its first round trip.
fn connect<S: Read + Write>(stream: S, settings: &Settings) -> StreamOwned<ClientConnection, S> {
    let session = ClientConnection::new(settings.client.clone(), name()).unwrap();
    let mut stream = StreamOwned::new(session, stream);
    round_trip(&mut stream, 0);
    stream
}

fn round_trip(stream: &mut (impl Read + Write), turn: usize) {
    let message = [turn as u8; MESSAGE];
    let mut answer = [0; MESSAGE];
    stream.write_all(&message).unwrap();
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(message, answer);
}

/// `connections` clients and the echo tasks they talk to; `iterations` round trips in all.
fn round_trips<R: Runtime>(output: &Output, connections: usize, iterations: usize) {
    let settings = Arc::new(Settings::new());
    let listener = R::listen(0);
    let port = R::port(&listener);
    let (mut servers, mut clients) = (Vec::new(), Vec::new());
    for _ in 0..connections {
        let client = R::connect(port);
        let server = R::accept(&listener);
        let (here, there) = (settings.clone(), settings.clone());
        servers.push(R::spawn(move || echo(server, &there)));
        clients.push(connect(client, &here));
    }
    let turns = (iterations / connections).max(1);
    let clock = Stopwatch::start();
    let handles: Vec<_> = clients
        .into_iter()
        .map(|mut client| R::spawn(move || (0..turns).for_each(|turn| round_trip(&mut client, turn))))
        .collect();
    handles.into_iter().for_each(R::join);
    report(output, "tls_echo", connections, clock.stop(), turns * connections);
    servers.into_iter().for_each(R::join);
}

/// `tasks` clients that connect, shake hands, send one message there and back, and hang up; `iterations` times in all.
fn handshakes<R: Runtime>(output: &Output, tasks: usize, iterations: usize) {
    let settings = Arc::new(Settings::new());
    let listener = R::listen(0);
    let port = R::port(&listener);
    let turns = (iterations / tasks).max(1);
    let total = turns * tasks;
    let clock = Stopwatch::start();
    let server = R::spawn({
        let settings = settings.clone();
        move || {
            let begin = |_| {
                let (stream, settings) = (R::accept(&listener), settings.clone());
                R::spawn(move || echo(stream, &settings))
            };
            let servers: Vec<_> = (0..total).map(begin).collect();
            servers.into_iter().for_each(R::join);
        }
    });
    let clients: Vec<_> = (0..tasks)
        .map(|_| {
            let settings = settings.clone();
            R::spawn(move || (0..turns).for_each(|_| drop(connect(R::connect(port), &settings))))
        })
        .collect();
    clients.into_iter().for_each(R::join);
    R::join(server);
    report(output, "tls_handshake", tasks, clock.stop(), total);
}
