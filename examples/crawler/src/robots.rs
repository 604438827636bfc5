//! What each server's robots.txt allows, asked once per server, and the pace that it asks for.

use crate::fetch::{AGENT, FetchError, Fetcher};
use greenloop::sync::{Mutex, PoisonError};
use robotxt::Robots;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::time::{Duration, Instant};
use url::{Origin, Url};

/// How many redirects of a robots.txt are followed (RFC 9309, 2.3.1.2).
const MAX_REDIRECTS: usize = 5;
/// After which time a robots.txt that could not be read is asked for again.
pub const AGAIN: Duration = Duration::from_secs(30);
/// How long one that was read holds (RFC 9309, 2.4).
pub const HOLDS: Duration = Duration::from_secs(24 * 60 * 60);

/// Where what a server's robots.txt says is kept for others, by the server's origin.
pub trait Shelf {
    fn find(&self, server: &str) -> Option<String>;
    fn put(&self, server: &str, text: &str);
}

/// There are no others.
impl Shelf for () {
    fn find(&self, _: &str) -> Option<String> {
        None
    }

    fn put(&self, _: &str, _: &str) {}
}

/// The servers met so far.
pub struct RobotsCache<'a> {
    servers: RefCell<HashMap<Origin, Rc<Server>>>,
    max_delay: Duration,
    on_delay: &'a dyn Fn(&Url, Duration),
    shelf: &'a dyn Shelf,
}

type Rules = Result<Rc<Robots>, FetchError>;

/// One server: its rules, once they have been read, and when; and when its next request may start.
#[derive(Default)]
struct Server {
    rules: Mutex<Option<(Rules, Instant)>>,
    next: Cell<Option<Instant>>,
}

impl<'a> RobotsCache<'a> {
    /// Waits up to `max_delay` between two requests to a server. `on_delay` is told which servers ask for how much. What is on the `shelf`
    /// is not read again.
    pub fn new(
        max_delay: Duration,
        on_delay: &'a dyn Fn(&Url, Duration),
        shelf: &'a dyn Shelf,
    ) -> RobotsCache<'a> {
        RobotsCache { servers: RefCell::default(), max_delay, on_delay, shelf }
    }

    /// Tells why `url` must be left alone. If it need not be, waits for its turn where the server asks for a delay.
    ///
    /// The first caller for a server reads its robots.txt; the others park until it is there.
    pub fn objection(&self, fetcher: &Fetcher, url: &Url) -> Result<Option<String>, FetchError> {
        let server = self.server(url);
        let rules = server.rules(fetcher, url, self.shelf)?;
        if !rules.is_url_allowed(url) {
            return Ok(Some("forbidden by robots.txt".to_owned()));
        }
        let Some(delay) = self.delay(fetcher, url)? else { return Ok(None) };
        let now = Instant::now();
        let turn = match server.next.get() {
            // The first need not wait, however long the next must.
            None => {
                (self.on_delay)(url, delay);
                now
            }
            Some(_) if delay > self.max_delay => {
                return Ok(Some(format!("its server asks for {delay:?} between requests (see --max-delay)")));
            }
            Some(next) => next.max(now),
        };
        server.next.set(Some(turn + delay.min(self.max_delay)));
        greenloop::sleep(turn - now);
        Ok(None)
    }

    /// The delay that the server of `url` asks for, which is read where it is not known.
    pub fn delay(&self, fetcher: &Fetcher, url: &Url) -> Result<Option<Duration>, FetchError> {
        let rules = self.server(url).rules(fetcher, url, self.shelf)?;
        Ok(rules.crawl_delay().filter(|delay| !delay.is_zero()))
    }

    fn server(&self, url: &Url) -> Rc<Server> {
        Rc::clone(self.servers.borrow_mut().entry(url.origin()).or_default())
    }
}

impl Server {
    fn rules(&self, fetcher: &Fetcher, url: &Url, shelf: &dyn Shelf) -> Rules {
        let mut rules = self.rules.lock().unwrap_or_else(PoisonError::into_inner);
        let holds = |rules: &Rules| if rules.is_ok() { HOLDS } else { AGAIN };
        if rules.as_ref().is_some_and(|(rules, read)| read.elapsed() >= holds(rules)) {
            *rules = None;
        }
        let read = || {
            let server = url.origin().ascii_serialization();
            let text = match shelf.find(&server) {
                Some(text) => text,
                None => read_robots(fetcher, url).inspect(|text| shelf.put(&server, text))?,
            };
            Ok(Rc::new(Robots::parse(text.as_bytes(), AGENT)))
        };
        rules.get_or_insert_with(|| (read(), Instant::now())).0.clone()
    }
}

/// Reads the robots.txt that holds for `url`. A server that cannot give an answer must not be crawled; one that has none allows everything.
fn read_robots(fetcher: &Fetcher, url: &Url) -> Result<String, FetchError> {
    let unreadable = |error| FetchError::Robots(Box::new(error));
    let mut place =
        url.join("/robots.txt").map_err(|error| unreadable(FetchError::Exchange(error.to_string())))?;
    for _ in 0..=MAX_REDIRECTS {
        // One more, which tells that a line is cut: it would say something else.
        let answer = fetcher.get(&place, robotxt::BYTE_LIMIT as u64 + 1).map_err(unreadable)?;
        match (answer.status.as_u16(), &answer.location) {
            (300..400, Some(location)) => place = location.clone().map_err(unreadable)?,
            (200..300, _) => {
                let text = String::from_utf8_lossy(answer.body().map_err(unreadable)?);
                // It ends a line, and PostgreSQL does not keep it.
                return Ok(text.replace('\0', "\n"));
            }
            (500.., _) => return Err(unreadable(FetchError::Status(answer.status))),
            _ => return Ok(String::new()),
        }
    }
    Ok(String::new())
}
