//! A TLS echo server: rustls through the server's wrapper, and clients that check its certificate.
//!
//! Run it with `cargo run --example tls_echo` to see it serve clients of its own, or with
//! `cargo run --example tls_echo -- 127.0.0.1:7443` to serve others until it is stopped; its certificate, made for this run,
//! is printed first: `openssl s_client -connect 127.0.0.1:7443`.
//!
//! Expected output:
//!
//!     listening on 127.0.0.1:[..]
//!     20 clients, each with a line over TLS: 20 lines came back
//!     a client that trusts nobody: invalid peer certificate: UnknownIssuer
//!     a client without TLS: turned away

use std::error::Error;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use greenloop::net::TcpStream;
use greenloop::pool::Pool;
use greenloop::server::StreamServer;
use rcgen::{CertifiedKey, KeyPair, generate_simple_self_signed};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::{PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, StreamOwned};
use tool::{failed_to, say};

#[path = "../../tool/mod.rs"]
mod tool;

const CLIENTS: usize = 20;

/// Sends back what it is sent, over TLS. Without arguments it shows itself with clients of its own.
#[derive(Parser)]
struct Options {
    /// Where to listen, HOST:PORT
    #[arg(value_parser = tool::address)]
    address: Option<String>,
}

fn main() -> ExitCode {
    tool::run(|| serve(Options::parse().address.as_deref()))
}

fn serve(address: Option<&str>) -> Result<(), Box<dyn Error>> {
    let certified = generate_simple_self_signed(["localhost".to_owned()])?;
    let settings = server_settings(&certified)?;
    let place = address.unwrap_or("127.0.0.1:0");
    let server = StreamServer::bind(place)
        .map_err(failed_to(format_args!("listen at {place}")))?
        .limit(1000)
        .wrap(move |stream| {
            let session = ServerConnection::new(settings.clone()).map_err(io::Error::other)?;
            Ok(StreamOwned::new(session, stream))
        })
        .handle(|stream, _peer| echo(stream));
    say!("listening on {}", server.local_addr()?);
    if address.is_some() {
        say!("{}", certified.cert.pem().trim_end());
        return Ok(server.serve_forever()?);
    }
    server.start()?;
    let address = server.local_addr()?;

    let mut trusted = RootCertStore::empty();
    trusted.add(certified.cert.der().clone())?;
    let settings = client_settings(trusted)?;
    let answers = Pool::new(CLIENTS).map(0..CLIENTS, move |_| ask(address, &settings));
    let right = answers.iter().filter(|answer| matches!(answer, Ok(Ok(line)) if line == "hello\n"));
    say!("{CLIENTS} clients, each with a line over TLS: {} lines came back", right.count());

    let refusal = ask(address, &client_settings(RootCertStore::empty())?).expect_err("nobody is trusted");
    say!("a client that trusts nobody: {refusal}");
    let mut plain = TcpStream::connect(address)?;
    plain.write_all(b"hello\n")?;
    let mut answer = Vec::new();
    let _ = plain.read_to_end(&mut answer); // An alert, if anything.
    say!("a client without TLS: {}", if answer.ends_with(b"hello\n") { "served" } else { "turned away" });
    server.stop(Duration::ZERO);
    Ok(())
}

fn echo(mut stream: StreamOwned<ServerConnection, TcpStream>) -> io::Result<()> {
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer)? {
            0 => return Ok(()),
            count => stream.write_all(&buffer[..count])?,
        }
    }
}

/// One client: the line that came back.
fn ask(server: SocketAddr, settings: &Arc<ClientConfig>) -> io::Result<String> {
    let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
    let session = ClientConnection::new(settings.clone(), name).map_err(io::Error::other)?;
    let mut stream = StreamOwned::new(session, TcpStream::connect(server)?);
    stream.write_all(b"hello\n")?;
    let mut line = String::new();
    BufReader::new(&mut stream).read_line(&mut line)?;
    stream.conn.send_close_notify();
    stream.flush()?;
    Ok(line)
}

fn server_settings(certified: &CertifiedKey<KeyPair>) -> Result<Arc<ServerConfig>, Box<dyn Error>> {
    let key = PrivatePkcs8KeyDer::from(certified.signing_key.serialize_der());
    let builder = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()?;
    let certificates = vec![certified.cert.der().clone()];
    Ok(Arc::new(builder.with_no_client_auth().with_single_cert(certificates, key.into())?))
}

fn client_settings(trusted: RootCertStore) -> Result<Arc<ClientConfig>, Box<dyn Error>> {
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()?;
    Ok(Arc::new(builder.with_root_certificates(trusted).with_no_client_auth()))
}
