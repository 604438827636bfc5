//! The crate `native-tls`, which is OpenSSL.

use std::io::{self, Read, Write};
use std::net::TcpStream;

use ::native_tls::{Certificate, Identity, TlsAcceptor, TlsConnector, TlsStream};
use clients::interrupted::interrupted;
use clients::measure::at_once;
use clients::slow_server::{ANSWER, SilentServer, slow_server};
use rcgen::generate_simple_self_signed;

use crate::{DELAY, MANY};

/// Both sides of a connection to `localhost`.
fn sides() -> (TlsConnector, impl Fn(TcpStream) -> TlsStream<TcpStream> + Clone + Send + 'static) {
    let made = generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    let identity = Identity::from_pkcs8(certificate.as_bytes(), key.as_bytes()).unwrap();
    let acceptor = TlsAcceptor::new(identity).unwrap();
    let trusted = Certificate::from_pem(certificate.as_bytes()).unwrap();
    let connector =
        TlsConnector::builder().disable_built_in_roots(true).add_root_certificate(trusted).build().unwrap();
    (connector, move |stream| acceptor.accept(stream).unwrap())
}

fn connect(connector: &TlsConnector, port: u16) -> TlsStream<TcpStream> {
    connector.connect("localhost", TcpStream::connect(("127.0.0.1", port)).unwrap()).unwrap()
}

fn fetch(stream: &mut TlsStream<TcpStream>) -> io::Result<()> {
    stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
    let mut answer = Vec::new();
    while !answer.ends_with(ANSWER.as_bytes()) {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        answer.extend(byte);
    }
    Ok(())
}

#[test]
fn fifty_fetches_at_once() {
    let (connector, accept) = sides();
    let port = slow_server(MANY, DELAY, accept);
    at_once("native-tls", MANY, move |_| connect(&connector, port), |_, stream| fetch(stream).unwrap());
}

/// The error is that of the socket.
#[test]
fn an_interrupted_read_fails() {
    let (connector, accept) = sides();
    let server = SilentServer::start_with(3, accept);
    let port = server.port;
    let other = connector.clone();
    let again = move |stream| {
        drop(stream);
        fetch(&mut connect(&other, port)).unwrap();
    };
    interrupted("native-tls", move || connect(&connector, port), fetch, again);
    server.end();
}
