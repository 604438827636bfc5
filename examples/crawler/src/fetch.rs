//! One GET by ureq, bounded in time and in bytes. Redirects are the caller's business.

use crate::agent::agent;
use crate::buffers::{OUTPUT, PART};
use crate::urls::{is_http, resolve, shown};
use encoding_rs::UTF_8;
use greenloop::sync::{Semaphore, SemaphorePermit};
use std::io::{self, ErrorKind, Read};
use std::sync::Arc;
use std::time::Duration;
use ureq::Agent;
use ureq::http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use ureq::tls::{PemItem, RootCerts, TlsConfig};
use url::Url;

/// The name that servers and their robots.txt know this program by.
pub const AGENT: &str = "greenloop-crawler";

/// The longest head of a response that is read: what browsers read too.
const HEAD_LIMIT: usize = 256 << 10;
/// Up to which size any number of bodies may be held at the same time, and of how many larger ones.
const SMALL: u64 = 1 << 20;
const LARGE: usize = 16;
/// How many descriptors a fetch may need: a connection, one that is tried beside it, and one that is idle.
const DESCRIPTORS: u64 = 3;
/// And the program besides: standard streams, the hub's, a lookup's.
const DESCRIPTORS_BESIDES: u64 = 16;

/// Why a URL could not be fetched. Each message is one line.
#[derive(Clone, Debug, thiserror::Error)]
pub enum FetchError {
    #[error("timed out after {0:?}")]
    TimedOut(Duration),
    #[error("{0}")]
    Status(StatusCode),
    #[error("{0} without a Location to go to")]
    NoLocation(StatusCode),
    #[error("{0} with a Location that is no URL: {1}")]
    BadLocation(StatusCode, url::ParseError),
    #[error("redirects to {}, which is neither http nor https", shown(.0))]
    Elsewhere(Url),
    #[error("redirect loop at {}", shown(.0))]
    RedirectLoop(Url),
    #[error("more than {0} redirects")]
    TooManyRedirects(usize),
    #[error("cannot read robots.txt: {0}")]
    Robots(Box<FetchError>),
    #[error("the server's certificate was issued by an unknown authority (see --ca-file)")]
    UnknownIssuer,
    #[error("the server closed the connection early")]
    ClosedEarly,
    #[error("the head of the response is longer than {} kB", HEAD_LIMIT >> 10)]
    HeadTooLong,
    #[error("the body is compressed ({0}), which was not asked for")]
    Compressed(String),
    #[error("TLS: {0}")]
    Tls(String),
    #[error("{0}")]
    Exchange(String),
}

/// What a server answered.
pub struct Answer<'a> {
    pub status: StatusCode,
    /// Where a redirect leads.
    pub location: Option<Result<Url, FetchError>>,
    /// What the server calls the body: `text/html; charset=utf-8`.
    pub media_type: String,
    /// How the body is compressed.
    coding: Option<String>,
    headers: HeaderMap,
    body: Vec<u8>,
    /// The body went on, but the limit was reached.
    pub truncated: bool,
    /// What allows the body to be large.
    _large: Option<SemaphorePermit<'a>>,
}

impl Answer<'_> {
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// The body as it came, compressed or not.
    pub fn bytes_of_body(&self) -> &[u8] {
        &self.body
    }

    /// How much of the body was read.
    pub fn bytes(&self) -> u64 {
        self.body.len() as u64
    }

    /// The body, as far as it was read.
    pub fn body(&self) -> Result<&[u8], FetchError> {
        match &self.coding {
            Some(coding) => Err(FetchError::Compressed(coding.clone())),
            None => Ok(&self.body),
        }
    }

    pub fn is_html(&self) -> bool {
        let media_type = self.media_type.split(';').next().unwrap_or_default().trim();
        media_type.eq_ignore_ascii_case("text/html")
            || media_type.eq_ignore_ascii_case("application/xhtml+xml")
    }
}

/// Fetches URLs; its idle connections are used again.
pub struct Fetcher {
    agent: Agent,
    /// One without idle connections.
    fresh: Agent,
    timeout: Duration,
    /// Of those whose bodies are larger than [`SMALL`].
    large: Semaphore,
}

impl Fetcher {
    /// Allows each GET `timeout`, and keeps up to `concurrency` idle connections.
    pub fn new(timeout: Duration, concurrency: usize, roots: RootCerts) -> Fetcher {
        let tls = TlsConfig::builder().root_certs(roots).build();
        let agent = |idle| {
            let config = Agent::config_builder()
                .http_status_as_error(false)
                .max_redirects(0)
                .max_redirects_will_error(false)
                .proxy(None)
                .user_agent(concat!("greenloop-crawler/", env!("CARGO_PKG_VERSION")))
                // Without this a server may choose.
                .accept_encoding("identity")
                .tls_config(tls.clone())
                .max_idle_connections(idle)
                .max_idle_connections_per_host(idle)
                .max_response_header_size(HEAD_LIMIT)
                .input_buffer_size(PART)
                .output_buffer_size(OUTPUT);
            agent(config, timeout)
        };
        Fetcher { agent: agent(concurrency), fresh: agent(0), timeout, large: Semaphore::new(LARGE) }
    }

    /// Sends one GET and reads up to `max_bytes` of the body. A status that means failure is an [`Answer`] too. Of large bodies a few are
    /// held at the same time; others wait until one of these is dropped, within the time that the GET has.
    pub fn get(&self, url: &Url, max_bytes: u64) -> Result<Answer<'_>, FetchError> {
        let exchange = || -> Result<Answer<'_>, ureq::Error> {
            let get = |agent: &Agent| agent.get(url.as_str()).call();
            let mut response = match get(&self.agent) {
                // The server may have closed an idle connection just when it was used again (RFC 9112, 9.3.1).
                Err(error) if is_closed(&error) => get(&self.fresh)?,
                answered => answered?,
            };
            let mut body = Vec::new();
            let mut reader = response.body_mut().as_reader().take(max_bytes.saturating_add(1));
            reader.by_ref().take(SMALL).read_to_end(&mut body)?;
            let large = (body.len() as u64 == SMALL).then(|| self.large.acquire());
            reader.read_to_end(&mut body)?;
            let truncated = body.len() as u64 > max_bytes;
            body.truncate(max_bytes.try_into().unwrap_or(usize::MAX));
            let header = |name| response.headers().get(name).map(HeaderValue::as_bytes);
            let media_type = header(header::CONTENT_TYPE).map(String::from_utf8_lossy).unwrap_or_default();
            let (media_type, coding) = (media_type.into_owned(), coding(&response));
            let location = header(header::LOCATION).map(|value| location(url, response.status(), value));
            let (parts, _) = response.into_parts();
            let (status, headers) = (parts.status, parts.headers);
            Ok(Answer { status, location, media_type, coding, headers, body, truncated, _large: large })
        };
        match greenloop::with_timeout(self.timeout, exchange) {
            Ok(Err(ureq::Error::Timeout(_))) | Err(_) => Err(FetchError::TimedOut(self.timeout)),
            Ok(answer) => answer.map_err(FetchError::from),
        }
    }
}

/// As many fetches at a time as `wanted`, or as there may be files open, if each needs so many `times` what it needs alone.
pub fn most_fetches(wanted: usize, times: u64) -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let files = limits.lines().find_map(|limit| limit.strip_prefix("Max open files"));
    let files = files.and_then(|limits| limits.split_whitespace().next()?.parse::<u64>().ok());
    let Some(files) = files else { return wanted };
    let most = files.saturating_sub(DESCRIPTORS_BESIDES) / (DESCRIPTORS * times);
    wanted.min(most.max(1).try_into().unwrap_or(usize::MAX))
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

/// Where a Location leads. What is not ASCII in it is sent back as it came, byte by byte.
fn location(url: &Url, status: StatusCode, location: &[u8]) -> Result<Url, FetchError> {
    let ascii = |byte: &u8| if byte.is_ascii() { char::from(*byte).into() } else { format!("%{byte:02X}") };
    let location: String = location.iter().map(ascii).collect();
    let location = resolve(url, &location, UTF_8).map_err(|error| FetchError::BadLocation(status, error))?;
    if is_http(&location) { Ok(location) } else { Err(FetchError::Elsewhere(location)) }
}

/// What the body is compressed by, though [`Fetcher::new`] asks servers not to.
fn coding<B>(response: &Response<B>) -> Option<String> {
    let values = response.headers().get_all(header::CONTENT_ENCODING).iter();
    let codings = values.map(|value| value.to_str().unwrap_or("in an unknown way").trim());
    let codings: Vec<_> = codings.filter(|coding| !coding.eq_ignore_ascii_case("identity")).collect();
    (!codings.is_empty()).then(|| codings.join(", "))
}

/// Whether the connection has ended before the server has answered.
fn is_closed(error: &ureq::Error) -> bool {
    use ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    let ureq::Error::Io(error) = error else { return false };
    matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof)
}

impl From<ureq::Error> for FetchError {
    fn from(error: ureq::Error) -> FetchError {
        match error {
            ureq::Error::Rustls(error) => FetchError::from(error),
            ureq::Error::Io(error) => FetchError::from(error),
            ureq::Error::LargeResponseHeader(..) => FetchError::HeadTooLong,
            // Not which: there may be a password in it.
            ureq::Error::BadUri(_) => FetchError::Exchange("ureq cannot read this URL".to_owned()),
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
