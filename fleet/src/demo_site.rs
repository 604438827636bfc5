//! The site of the demo: as many pages as are wanted, on as many hosts, each of which can be reached, and some requests for them fail.

use crate::Shared;
use crate::server::{Body, Response, serve};
use greenloop::JoinHandle;
use greenloop::net::TcpListener;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashSet};
use std::error::Error;
use std::fmt::Write;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::{Duration, Instant};
use url::Url;

/// How many records one look gets.
const RECORDS: usize = 1_000;

/// How a site answers.
#[derive(Clone, Copy)]
pub struct Manners {
    /// How many of a thousand requests fail: half by an error, half by a connection that breaks off.
    faults: u32,
    /// What it takes to think about a page, at most.
    thought: Duration,
    /// How long a page is at least.
    length: usize,
}

impl Manners {
    /// As it is out there.
    pub const USUAL: Manners = Manners { faults: 30, thought: Duration::from_millis(200), length: 0 };

    /// At once, and always, by pages of this length.
    pub fn perfect(length: usize) -> Manners {
        Manners { faults: 0, thought: Duration::ZERO, length }
    }
}

/// The path that is never answered.
pub const SILENCE: &str = "/silence";

/// It is served for as long as this is there.
pub struct Site {
    asked: Rc<Asked>,
    serving: Vec<JoinHandle<io::Result<()>>>,
}

/// What it was asked.
struct Asked {
    manners: Manners,
    pages: u32,
    hosts: Vec<SocketAddr>,
    requests: Cell<u64>,
    faults: Cell<u64>,
    /// When a page of each host was asked for last.
    last: RefCell<Vec<Option<Instant>>>,
    closest: Cell<Option<Duration>>,
}

impl Site {
    /// One of up to 65,000 hosts, which are addresses of this machine.
    pub fn start(pages: u32, hosts: u16, manners: Manners) -> io::Result<Site> {
        let listeners = (1..=hosts).map(|host| {
            let [high, low] = host.to_be_bytes();
            TcpListener::bind((Ipv4Addr::new(127, 0, high, low), 0))
        });
        let listeners = listeners.collect::<io::Result<Vec<_>>>()?;
        let asked = Rc::new(Asked {
            manners,
            pages,
            hosts: listeners.iter().map(TcpListener::local_addr).collect::<io::Result<_>>()?,
            requests: Cell::default(),
            faults: Cell::default(),
            last: RefCell::new(vec![None; hosts.into()]),
            closest: Cell::default(),
        });
        let serving = listeners.into_iter().enumerate().map(|(host, listener)| {
            let asked = Rc::clone(&asked);
            greenloop::spawn(move || serve(&listener, |stream| stream, |path| asked.respond(host, path)))
        });
        Ok(Site { serving: serving.collect(), asked })
    }

    /// How many requests there were, and how many of them failed.
    pub fn visits(&self) -> (u64, u64) {
        (self.asked.requests.get(), self.asked.faults.get())
    }

    /// The shortest time from a request for a page to the next one to the same host.
    pub fn closest(&self) -> Option<Duration> {
        self.asked.closest.get()
    }

    pub fn servers(&self) -> HashSet<String> {
        self.asked.hosts.iter().map(SocketAddr::to_string).collect()
    }

    pub fn url(&self, page: u32) -> Result<Url, url::ParseError> {
        Url::parse(&self.asked.address(page))
    }

    /// Whether each page was recorded, and once: an error otherwise.
    pub fn is_recorded_once(&self, broker: &Shared) -> Result<(), Box<dyn Error>> {
        let mut times: BTreeMap<String, u32> = BTreeMap::new();
        let mut after = 0;
        while let records = broker.records(after, RECORDS)?
            && let Some(last) = records.last()
        {
            after = last.number;
            for record in &records {
                let report: serde_json::Value = serde_json::from_str(&record.text)?;
                *times.entry(report["url"].as_str().unwrap_or_default().to_owned()).or_default() += 1;
            }
        }
        let mut wrong = Vec::new();
        for number in 0..self.asked.pages {
            let url = self.url(number)?;
            match times.remove(url.as_str()).unwrap_or(0) {
                1 => {}
                others => wrong.push(format!("{url} was recorded {others} times")),
            }
        }
        wrong.extend(times.into_keys().map(|url| format!("{url} was recorded, and there is no such page")));
        let dead = broker.dead_jobs(RECORDS)?.into_iter();
        wrong.extend(dead.map(|dead| format!("{}: {}", dead.payload, dead.error)));
        match wrong.first() {
            None => Ok(()),
            Some(first) => Err(format!("{} pages are wrong, such as: {first}", wrong.len()).into()),
        }
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        greenloop::killall(&self.serving);
    }
}

impl Asked {
    fn address(&self, page: u32) -> String {
        format!("http://{}/page/{page}", self.hosts[page as usize % self.hosts.len()])
    }

    fn respond(&self, host: usize, path: &str) -> Response {
        if path == "/robots.txt" {
            return Response::of_type("text/plain", "User-agent: *\nDisallow: /private/\n");
        }
        if path == SILENCE {
            greenloop::sleep(Duration::MAX);
        }
        let page: Option<u32> = path.strip_prefix("/page/").and_then(|page| page.parse().ok());
        let Some(page) = page.filter(|page| *page < self.pages && *page as usize % self.hosts.len() == host)
        else {
            return Response::status(404);
        };
        self.note(host, Instant::now());
        let Manners { faults, thought, .. } = self.manners;
        if !thought.is_zero() {
            greenloop::sleep(thought.mul_f64(fastrand::f64()));
        }
        let lot = fastrand::u32(0..1000);
        if lot < faults {
            self.faults.set(self.faults.get() + 1);
        }
        match lot {
            _ if lot < faults / 2 => Response::status(500),
            _ if lot < faults => {
                Response { body: Body::BrokenOff(b"<p>There was".to_vec()), ..Response::html("") }
            }
            _ => Response::html(self.html(page)),
        }
    }

    fn note(&self, host: usize, now: Instant) {
        self.requests.set(self.requests.get() + 1);
        if let Some(last) = self.last.borrow_mut()[host].replace(now) {
            let close = now - last;
            self.closest.set(Some(self.closest.get().map_or(close, |closest| closest.min(close))));
        }
    }

    /// It links to two of its own, and to some that others link to.
    fn html(&self, page: u32) -> String {
        let mut html = format!("<!doctype html>\n<title>Page {page}</title>\n");
        let own = [1, 2].map(|child| page.checked_mul(2).and_then(|twice| twice.checked_add(child)));
        let others = [page / 2, page / 3, page.wrapping_mul(7) % self.pages, 0].map(Some);
        for target in own.into_iter().chain(others).flatten().filter(|target| *target < self.pages) {
            // To a string it cannot fail.
            let _ = writeln!(html, "<a href='{}#part'>page {target}</a>", self.address(target));
        }
        while html.len() < self.manners.length {
            html += "<p>A page is found by its <em>links</em>, and a link by its page.</p>\n";
        }
        html
    }
}
