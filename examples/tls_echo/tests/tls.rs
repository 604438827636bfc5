//! Servers that speak TLS by rustls, with certificates made for the test.

#[path = "../../../tests/support/mod.rs"]
mod support;

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use greenloop::channel;
use greenloop::net::TcpStream;
use greenloop::server::{Server, ServerError, StreamServer};
use greenloop::spawn;
use rcgen::generate_simple_self_signed;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, StreamOwned};

use support::each_driver;

/// Longer than any test lasts: for a wait that something else is to end.
const LONG: Duration = Duration::from_secs(3600);

fn connect(server: &Server<SocketAddr>) -> TcpStream {
    TcpStream::connect(server.local_addr().expect("an address")).expect("a connection")
}

/// The settings of a server for `localhost`, and of clients that trust it.
fn settings() -> (Arc<ServerConfig>, Arc<ClientConfig>) {
    let made = generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate");
    let certificate: CertificateDer<'static> = made.cert.der().clone();
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let server = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .expect("the provider's versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key.into())
        .expect("a key that fits");
    let mut trusted = RootCertStore::empty();
    trusted.add(certificate).expect("a certificate to trust");
    let client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider's versions")
        .with_root_certificates(trusted)
        .with_no_client_auth();
    (Arc::new(server), Arc::new(client))
}

each_driver! {
    fn rustls_serves_by_the_wrapper() {
        let (server_settings, client_settings) = settings();
        let (tell, told) = channel::unbounded();
        let server = StreamServer::bind("127.0.0.1:0")
            .unwrap()
            .wrap(move |mut stream: TcpStream| {
                let mut session = ServerConnection::new(server_settings.clone()).map_err(io::Error::other)?;
                session.complete_io(&mut stream)?;
                Ok(StreamOwned::new(session, stream))
            })
            .on_error(move |error| tell.send(error).unwrap())
            .handle(|mut stream, _peer| {
                let mut text = [0; 5];
                stream.read_exact(&mut text)?;
                stream.write_all(&text.to_ascii_uppercase())?;
                stream.conn.send_close_notify();
                stream.flush()
            });
        server.start().unwrap();
        // One that speaks no TLS troubles nobody else.
        let mut plain = connect(&server);
        plain.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
        drop(io::copy(&mut plain, &mut io::sink()));
        assert!(matches!(told.recv().unwrap(), ServerError::Handler(_, error) if error.kind() == io::ErrorKind::InvalidData));
        let clients: Vec<_> = (0..10)
            .map(|_| {
                let stream = connect(&server);
                let name = ServerName::try_from("localhost").unwrap();
                let session = ClientConnection::new(client_settings.clone(), name).unwrap();
                spawn(move || {
                    let mut stream = StreamOwned::new(session, stream);
                    stream.write_all(b"hello")?;
                    io::read_to_string(stream)
                })
            })
            .collect();
        assert!(clients.into_iter().all(|client| client.join().unwrap().unwrap() == "HELLO"));
        server.stop(LONG);
        assert!(told.try_recv().is_err());
    }
}
