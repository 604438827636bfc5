//! The crate `ureq`, over http and https, and `reqwest`, whose own OS thread does the work.

use std::sync::Arc;
use std::time::Instant;

use clients::interrupted::interrupted;
use clients::measure::{DELAY, compare, compare_shared, patched};
use clients::slow_server::{ANSWER, SilentServer, slow_server};
use rcgen::generate_simple_self_signed;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use ureq::Agent;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

const FETCHES: u32 = if cfg!(debug_assertions) { 50 } else { 200 };

pub(crate) fn fetch(agent: &Agent, url: &str) -> String {
    agent.get(url).call().unwrap().body_mut().read_to_string().unwrap()
}

/// One that asks the server itself.
pub(crate) fn agent(tls: TlsConfig) -> Agent {
    Agent::new_with_config(Agent::config_builder().proxy(None).tls_config(tls).build())
}

#[test]
fn fetches_of_ureq_take_little_longer_than_one() {
    let url = format!("http://127.0.0.1:{}/", slow_server(FETCHES, DELAY, |stream| stream));
    let agent = agent(TlsConfig::default());
    compare(&format!("ureq, http, {DELAY:?}"), FETCHES, move |_| assert_eq!(fetch(&agent, &url), ANSWER));
}

#[test]
fn so_do_those_over_https() {
    let made = generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let (certificate, key) =
        (made.cert.der().clone(), PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let trusted = Certificate::from_der(&certificate).to_owned();
    let settings = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key.into())
        .unwrap();
    let settings = Arc::new(settings);
    let port = slow_server(FETCHES, DELAY, move |stream| {
        StreamOwned::new(ServerConnection::new(Arc::clone(&settings)).unwrap(), stream)
    });
    let url = format!("https://localhost:{port}/");
    let tls = TlsConfig::builder().root_certs(RootCerts::Specific(Arc::new(vec![trusted]))).build();
    let agent = agent(tls);
    compare(&format!("ureq, https, {DELAY:?}"), FETCHES, move |_| assert_eq!(fetch(&agent, &url), ANSWER));
}

#[test]
fn an_interrupted_fetch_of_ureq_s_fails() {
    // One each for a time limit, for what comes after that, and for a kill.
    let server = SilentServer::start(3);
    let (url, agent) = (server.url(), agent(TlsConfig::default()));
    let (other, again) = (url.clone(), agent.clone());
    let call = move |&mut (): &mut ()| agent.get(&url).call().map(drop);
    interrupted("ureq", || (), call, move |()| assert_eq!(fetch(&again, &other), ANSWER));
    server.end();
}

/// A fetch of one client's, which parks until the client's own OS thread has the answer.
fn fetch_with_reqwest() -> impl Fn(u32) + Send + Sync + 'static {
    let url = format!("http://127.0.0.1:{}/", slow_server(FETCHES, DELAY, |stream| stream));
    let client = reqwest::blocking::Client::builder().no_proxy().build().unwrap();
    move |_| assert_eq!(client.get(&url).send().unwrap().text().unwrap(), ANSWER)
}

#[test]
fn those_of_reqwest_park_as_threads_do() {
    compare(&format!("reqwest, {DELAY:?}"), FETCHES, fetch_with_reqwest());
}

#[test]
fn those_of_reqwest_with_thread_locals_in_common() {
    compare_shared(&format!("reqwest, not isolated, {DELAY:?}"), FETCHES, fetch_with_reqwest());
}

/// It parks, as for a lock, and a park has no error to return: the answer or the client's own time limit ends it, and the hub runs on.
#[test]
fn an_interrupted_fetch_of_reqwest_s_goes_on_until_its_own_limit() {
    clients::page::assert_uninterrupted("reqwest");
    let server = SilentServer::start(2);
    let url = server.url();
    patched(move || {
        let client = reqwest::blocking::Client::builder().no_proxy().timeout(DELAY).build().unwrap();
        let fetch = {
            let url = url.clone();
            move || client.get(&url).send().map(drop).map_err(|error| error.is_timeout())
        };
        let start = Instant::now();
        let ticks = greenloop::spawn(move || {
            (0..)
                .map(|tick| (tick, greenloop::sleep(DELAY / 50)))
                .find(|_| start.elapsed() >= DELAY)
                .unwrap()
                .0
        });
        let limited = greenloop::spawn(move || greenloop::with_timeout(DELAY / 10, fetch));
        assert_eq!(limited.join().unwrap(), Ok(Err(true)));
        assert!(start.elapsed() >= DELAY);
        assert!(ticks.join().unwrap() > 1, "the OS thread was stopped");
        assert_eq!(ureq::get(&url).call().unwrap().body_mut().read_to_string().unwrap(), ANSWER);
    });
    server.end();
}
