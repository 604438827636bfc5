//! The site of the demo: as many pages as are wanted, each of which can be reached, and some requests for them fail.

use crate::server::{Body, Response, serve};
use greenloop::net::TcpListener;
use std::cell::Cell;
use std::fmt::Write;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

/// How many of a thousand requests fail: half by an error, half by a connection that breaks off.
const FAULTS: u32 = 30;
/// What it takes to think about a page, at most.
const THOUGHT: u64 = 200;

/// What it was asked.
#[derive(Default)]
pub struct Visits {
    pub requests: Cell<u64>,
    pub faults: Cell<u64>,
}

/// Serves it for as long as the program runs.
pub fn start(pages: u32) -> io::Result<(SocketAddr, Rc<Visits>)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let visits = Rc::new(Visits::default());
    let seen = Rc::clone(&visits);
    greenloop::spawn(move || serve(&listener, |stream| stream, |path| respond(path, pages, &seen)));
    Ok((address, visits))
}

/// The path of a page, of which there are as many as were wanted.
pub fn path(page: u32) -> String {
    format!("/page/{page}")
}

fn respond(path: &str, pages: u32, visits: &Visits) -> Response {
    if path == "/robots.txt" {
        return Response::of_type("text/plain", "User-agent: *\nDisallow: /private/\n");
    }
    let page = path.strip_prefix("/page/").and_then(|page| page.parse().ok()).filter(|page| *page < pages);
    let Some(page) = page else { return Response::status(404) };
    visits.requests.set(visits.requests.get() + 1);
    greenloop::sleep(Duration::from_millis(fastrand::u64(0..THOUGHT)));
    let lot = fastrand::u32(0..1000);
    if lot < FAULTS {
        visits.faults.set(visits.faults.get() + 1);
    }
    match lot {
        _ if lot < FAULTS / 2 => Response::status(500),
        _ if lot < FAULTS => {
            Response { body: Body::BrokenOff(b"<p>There was".to_vec()), ..Response::html("") }
        }
        _ => Response::html(html(page, pages)),
    }
}

/// It links to two of its own, and to some that others link to.
fn html(page: u32, pages: u32) -> String {
    let mut html = format!("<!doctype html>\n<title>Page {page}</title>\n");
    let own = [1, 2].map(|child| page.checked_mul(2).and_then(|twice| twice.checked_add(child)));
    let others = [page / 2, page / 3, page.wrapping_mul(7) % pages, 0].map(Some);
    for target in own.into_iter().chain(others).flatten().filter(|target| *target < pages) {
        // To a string it cannot fail.
        let _ = writeln!(html, "<a href='{}#part'>page {target}</a>", path(target));
    }
    html
}
