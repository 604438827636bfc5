//! One GET by ureq, bounded in time and in bytes. Redirects are the caller's business.

use crate::agent::agent;
use std::io::{self, ErrorKind, Read};
use std::sync::Arc;
use std::time::Duration;
use ureq::Agent;
use ureq::http::{Response, StatusCode, header};
use ureq::tls::{PemItem, RootCerts, TlsConfig};
use url::Url;

/// The name that servers and their robots.txt know this program by.
pub const AGENT: &str = "greenloop-crawler";

/// Why a URL could not be fetched. Each message is one line.
#[derive(Clone, Debug, thiserror::Error)]
pub enum FetchError {
    #[error("timed out after {0:?}")]
    TimedOut(Duration),
    #[error("{0}")]
    Status(StatusCode),
    #[error("{0} without a Location to go to")]
    NoLocation(StatusCode),
    #[error("redirect loop at {0}")]
    RedirectLoop(Url),
    #[error("more than {0} redirects")]
    TooManyRedirects(usize),
    #[error("cannot read robots.txt: {0}")]
    Robots(Box<FetchError>),
    #[error("the server's certificate was issued by an unknown authority (see --ca-file)")]
    UnknownIssuer,
    #[error("the server closed the connection early")]
    ClosedEarly,
    #[error("TLS: {0}")]
    Tls(String),
    #[error("{0}")]
    Exchange(String),
}

/// What a server answered.
pub struct Answer {
    pub status: StatusCode,
    /// Where a redirect leads.
    pub location: Option<Url>,
    pub is_html: bool,
    pub body: Vec<u8>,
    /// The body went on, but the limit was reached.
    pub truncated: bool,
}

/// Fetches URLs; its idle connections are used again.
pub struct Fetcher {
    agent: Agent,
    timeout: Duration,
}

impl Fetcher {
    /// Allows each GET `timeout`, and keeps up to `concurrency` idle connections.
    pub fn new(timeout: Duration, concurrency: usize, roots: RootCerts) -> Fetcher {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .proxy(None)
            .user_agent(concat!("greenloop-crawler/", env!("CARGO_PKG_VERSION")))
            .tls_config(TlsConfig::builder().root_certs(roots).build())
            .max_idle_connections(concurrency)
            .max_idle_connections_per_host(concurrency)
            .input_buffer_size(16 * 1024)
            .output_buffer_size(16 * 1024);
        Fetcher { agent: agent(config, timeout), timeout }
    }

    /// Sends one GET and reads up to `max_bytes` of the body. A status that means failure is an [`Answer`] too.
    pub fn get(&self, url: &Url, max_bytes: u64) -> Result<Answer, FetchError> {
        let exchange = || -> Result<Answer, ureq::Error> {
            let mut response = self.agent.get(url.as_str()).call()?;
            let mut body = Vec::new();
            let reader = response.body_mut().as_reader();
            reader.take(max_bytes.saturating_add(1)).read_to_end(&mut body)?;
            let truncated = body.len() as u64 > max_bytes;
            body.truncate(max_bytes.try_into().unwrap_or(usize::MAX));
            let (location, is_html) = (location(url, &response), is_html(&response));
            Ok(Answer { status: response.status(), location, is_html, body, truncated })
        };
        match greenloop::with_timeout(self.timeout, exchange) {
            Ok(Err(ureq::Error::Timeout(_))) | Err(_) => Err(FetchError::TimedOut(self.timeout)),
            Ok(answer) => answer.map_err(FetchError::from),
        }
    }
}

/// The authorities in a PEM file, to be trusted instead of the built-in ones.
pub fn read_roots(pem: &[u8]) -> Result<RootCerts, String> {
    let mut certificates = Vec::new();
    for item in ureq::tls::parse_pem(pem) {
        if let PemItem::Certificate(certificate) = item.map_err(|error| error.to_string())? {
            certificates.push(certificate);
        }
    }
    if certificates.is_empty() {
        return Err("it holds no PEM certificate".to_owned());
    }
    Ok(RootCerts::Specific(Arc::new(certificates)))
}

fn location<B>(url: &Url, response: &Response<B>) -> Option<Url> {
    let location = response.headers().get(header::LOCATION)?;
    let mut location = url.join(&String::from_utf8_lossy(location.as_bytes())).ok()?;
    location.set_fragment(None);
    matches!(location.scheme(), "http" | "https").then_some(location)
}

fn is_html<B>(response: &Response<B>) -> bool {
    let media_type = response.headers().get(header::CONTENT_TYPE);
    media_type.and_then(|value| value.to_str().ok()).is_some_and(|value| {
        let media_type = value.split(';').next().unwrap_or_default().trim();
        media_type.eq_ignore_ascii_case("text/html")
            || media_type.eq_ignore_ascii_case("application/xhtml+xml")
    })
}

impl From<ureq::Error> for FetchError {
    fn from(error: ureq::Error) -> FetchError {
        match error {
            ureq::Error::Rustls(error) => FetchError::from(error),
            ureq::Error::Io(error) => FetchError::from(error),
            other => FetchError::Exchange(other.to_string()),
        }
    }
}

impl From<io::Error> for FetchError {
    fn from(error: io::Error) -> FetchError {
        match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            Some(tls) => FetchError::from(tls.clone()),
            None if error.kind() == ErrorKind::UnexpectedEof => FetchError::ClosedEarly,
            None => FetchError::Exchange(error.to_string()),
        }
    }
}

impl From<rustls::Error> for FetchError {
    fn from(error: rustls::Error) -> FetchError {
        match error {
            rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer) => {
                FetchError::UnknownIssuer
            }
            other => FetchError::Tls(other.to_string()),
        }
    }
}
