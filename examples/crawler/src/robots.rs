//! What each server's robots.txt allows, asked once per server, and the pace that it asks for.

use crate::fetch::{AGENT, FetchError, Fetcher};
use greenloop::sync::{Mutex, PoisonError};
use robotxt::{AccessResult, Robots};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::time::{Duration, Instant};
use url::{Origin, Url};

/// How many redirects of a robots.txt are followed (RFC 9309, 2.3.1.2).
const MAX_REDIRECTS: usize = 5;
/// After which time a robots.txt that could not be read is asked for again.
pub const AGAIN: Duration = Duration::from_secs(30);

/// The servers met so far.
pub struct RobotsCache<'a> {
    servers: RefCell<HashMap<Origin, Rc<Server>>>,
    max_delay: Duration,
    on_delay: &'a dyn Fn(&Url, Duration),
}

type Rules = Result<Rc<Robots>, FetchError>;

/// One server: its rules, once they have been read, and when; and when its next request may start.
#[derive(Default)]
struct Server {
    rules: Mutex<Option<(Rules, Instant)>>,
    next: Cell<Option<Instant>>,
}

impl RobotsCache<'_> {
    /// Waits up to `max_delay` between two requests to a server. `on_delay` is told which servers ask for how much.
    pub fn new(max_delay: Duration, on_delay: &dyn Fn(&Url, Duration)) -> RobotsCache<'_> {
        RobotsCache { servers: RefCell::default(), max_delay, on_delay }
    }

    /// Tells why `url` must be left alone. If it need not be, waits for its turn where the server asks for a delay.
    ///
    /// The first caller for a server reads its robots.txt; the others park until it is there.
    pub fn objection(&self, fetcher: &Fetcher, url: &Url) -> Result<Option<String>, FetchError> {
        let server = self.server(url);
        let rules = server.rules(fetcher, url)?;
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
        let rules = self.server(url).rules(fetcher, url)?;
        Ok(rules.crawl_delay().filter(|delay| !delay.is_zero()))
    }

    fn server(&self, url: &Url) -> Rc<Server> {
        Rc::clone(self.servers.borrow_mut().entry(url.origin()).or_default())
    }
}

impl Server {
    fn rules(&self, fetcher: &Fetcher, url: &Url) -> Rules {
        let mut rules = self.rules.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(&*rules, Some((Err(_), read)) if read.elapsed() >= AGAIN) {
            *rules = None;
        }
        rules.get_or_insert_with(|| (read_robots(fetcher, url).map(Rc::new), Instant::now())).0.clone()
    }
}

/// Reads the robots.txt that holds for `url`. A server that cannot give an answer must not be crawled.
fn read_robots(fetcher: &Fetcher, url: &Url) -> Result<Robots, FetchError> {
    let unreadable = |error| FetchError::Robots(Box::new(error));
    let mut place =
        url.join("/robots.txt").map_err(|error| unreadable(FetchError::Exchange(error.to_string())))?;
    for _ in 0..=MAX_REDIRECTS {
        let answer = fetcher.get(&place, robotxt::BYTE_LIMIT as u64).map_err(unreadable)?;
        match (answer.status.as_u16(), &answer.location) {
            (300..400, Some(location)) => place = location.clone().map_err(unreadable)?,
            (200..300, _) => return Ok(Robots::parse(answer.body().map_err(unreadable)?, AGENT)),
            (500.., _) => return Err(unreadable(FetchError::Status(answer.status))),
            _ => return Ok(Robots::from_access(AccessResult::Unavailable, AGENT)),
        }
    }
    Ok(Robots::from_access(AccessResult::TooManyRedirects, AGENT))
}
