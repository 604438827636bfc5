//! Looks ten addresses up at once at an HTTP service that answers in JSON, and stores city and country in a table `ips` of SQLite,
//! PostgreSQL or MySQL.
//!
//! Run it with `cargo run --example ip_to_db` to ask a service of its own, which answers nobody before all ten have asked,
//! or with `cargo run --example ip_to_db -- --database places.db http://ip-api.com/json/` to ask a real one and keep the
//! database. `--database postgres://USER@HOST/NAME` puts it into a server's. HTTP goes over greenloop's streams. SQLite and the
//! crate `postgres` know nothing of green threads, so they run off the hub. So does the crate `mysql`, but patched, it yields: with
//! `cargo run --package ip_to_db --features mysql --example ip_to_db -- --database mysql://USER@HOST/NAME`.
//!
//! Expected output:
//!
//!     1.1.1.1          Brisbane       Australia
//!     8.8.8.8          Mountain View  United States
//!     77.88.8.8        Moscow         Russia
//!     94.140.14.14     Limassol       Cyprus
//!     114.114.114.114  Nanjing        China
//!     168.126.63.1     Seoul          South Korea
//!     192.36.148.17    Stockholm      Sweden
//!     193.0.14.129     Amsterdam      Netherlands
//!     193.17.47.1      Prague         Czechia
//!     202.12.27.33     Tokyo          Japan

#![expect(unreachable_pub, reason = "a program has no interface to keep narrow")]

use std::sync::Arc;
use std::{cell::Cell, error::Error, io, net::Ipv4Addr, process::ExitCode, time::Duration};

use clap::Parser;
use database::{Database, row};
use greenloop::{event::Event, net::TcpListener, scope, spawn, with_timeout};
use tool::say;
use ureq::http::Uri;
use ureq::unversioned::transport::{Connector, RustlsConnector};

mod database;
#[path = "../../crawler/src/server.rs"]
#[expect(dead_code, reason = "the crawler's site has more to answer")]
mod server;
#[path = "../../tool/mod.rs"]
mod tool;
/// ureq over greenloop's streams.
#[path = "../../crawler/src/transport.rs"]
mod transport;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// Stores in which country each of ten addresses is.
#[derive(Parser)]
struct Options {
    /// A file for SQLite, or postgres://USER@HOST/NAME, or mysql://USER@HOST/NAME.
    #[arg(long, default_value = ":memory:")]
    database: String,
    /// The service's URL, to which an address is added [default: one of its own]
    #[arg(value_parser = service)]
    service: Option<String>,
}

fn service(text: &str) -> std::result::Result<String, &'static str> {
    let scheme = text.parse::<Uri>().ok().and_then(|url| url.scheme_str().map(str::to_owned));
    let is_http = scheme.is_some_and(|scheme| matches!(&*scheme, "http" | "https"));
    is_http.then(|| text.to_owned()).ok_or("not a URL of http or https")
}

#[rustfmt::skip]
const PLACES: [(&str, &str, &str); 10] = [
    ("1.1.1.1", "Brisbane", "Australia"), ("8.8.8.8", "Mountain View", "United States"), ("77.88.8.8", "Moscow", "Russia"),
    ("94.140.14.14", "Limassol", "Cyprus"), ("114.114.114.114", "Nanjing", "China"), ("168.126.63.1", "Seoul", "South Korea"),
    ("192.36.148.17", "Stockholm", "Sweden"), ("193.0.14.129", "Amsterdam", "Netherlands"),
    ("193.17.47.1", "Prague", "Czechia"), ("202.12.27.33", "Tokyo", "Japan"),
];

fn main() -> ExitCode {
    tool::run(|| fill(Options::parse()))
}

fn fill(options: Options) -> Result<()> {
    let service = options.service.map_or_else(own_service, Ok)?;
    let database = Arc::new(Database::open(options.database)?);
    let config = ureq::Agent::config_builder().proxy(None).build();
    let connector = transport::GreenConnector.chain(RustlsConnector::default());
    let agent = ureq::Agent::with_parts(config, connector, transport::GreenResolver);
    let look_up = |address: &str| -> Result<()> {
        let get = || agent.get(format!("{service}{address}")).call()?.body_mut().read_to_string();
        let answer: serde_json::Value = serde_json::from_str(&with_timeout(Duration::from_secs(30), get)??)?;
        let [city, country] = ["city", "country"].map(|key| answer[key].as_str().unwrap_or("unknown"));
        database.store(row(address.parse()?, city, country))
    };
    scope(|scope| {
        let look_up = |address| look_up(address).map_err(|error| format!("{address}: {error}"));
        let lookups = PLACES.map(|(address, ..)| scope.spawn(move || look_up(address)));
        lookups.into_iter().try_for_each(|lookup| lookup.join().expect("no lookup panics"))
    })?;
    for (address, city, country) in database.rows()? {
        let address = Ipv4Addr::from_bits(address as u32).to_string();
        say!("{address:16} {city:14} {country}");
    }
    Ok(())
}

/// Starts a service on a port of this machine, and tells the URL to which an address is to be added.
fn own_service() -> io::Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let url = format!("http://{}/", listener.local_addr()?);
    let (asked, all_have_asked) = (Cell::new(0), Event::new());
    let answer = move |path: &str| {
        asked.set(asked.get() + 1);
        if asked.get() == PLACES.len() {
            all_have_asked.set();
        }
        all_have_asked.wait();
        let place = PLACES.iter().find(|(address, ..)| path[1..] == **address);
        let place = place.map(|(_, city, country)| serde_json::json!({ "city": city, "country": country }));
        let body = place.unwrap_or_default();
        server::Response::of_type("application/json", body.to_string())
    };
    spawn(move || server::serve(&listener, |stream| stream, answer));
    Ok(url)
}
