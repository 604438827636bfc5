//! The demo's site: three pages of known sizes, and a graph of pages with every kind of trouble a crawler meets.
//!
//! The graph is the same in every run: page `n` links to `2n + 1` and `2n + 2`, so that each page can be reached,
//! and to others that a fixed seed has chosen; its delay is chosen the same way.

use crate::server::{Body, Response};
use std::fmt::Write;
use std::time::Duration;

/// The three pages to fetch one after another and together: path, size, and how long the site thinks about each.
pub const CLASSIC: [(&str, usize, Duration); 3] = [
    ("/python", 48_954, Duration::from_millis(200)),
    ("/yahoo", 491_871, Duration::from_millis(300)),
    ("/github", 51_595, Duration::from_millis(250)),
];

/// Where the graph begins.
pub const START: &str = "/graph/0";
/// The URLs of the graph that cannot be fetched, in order.
pub const FAILURES: [&str; 5] = ["/broken", "/closed-early", "/loop/a", "/missing", "/slow"];
/// The URLs of the graph that robots.txt forbids, in order.
pub const FORBIDDEN: [&str; 2] = ["/private/diary", "/private/keys"];
/// The page that is only ever read in part.
pub const ENDLESS: &str = "/endless";
/// The URLs of the graph that lead to a page of it, in order.
pub const REDIRECTS: [&str; 5] = ["/moved/301", "/moved/302", "/moved/303", "/moved/307", "/moved/308"];

/// The plain pages of the graph.
pub const PAGES: u64 = 200;
/// Longer than anyone's patience: the slow page answers after this.
const SLOW: Duration = Duration::from_secs(60);
const SEED: u64 = 0x5e_ed0f_c4a1;

/// Answers one request, after the delay that the page has.
pub fn respond(path: &str) -> Response {
    if let Some((_, size, delay)) = CLASSIC.iter().find(|(classic, ..)| *classic == path) {
        greenloop::sleep(*delay);
        return Response::html(classic_page(path, *size));
    }
    match path {
        "/robots.txt" => Response::of_type("text/plain", "User-agent: *\nDisallow: /private/\n"),
        "/picture" => Response::of_type("image/png", vec![0x89; 2_000]),
        "/broken" => Response::status(500),
        "/closed-early" => {
            let response = Response::html("");
            Response { body: Body::BrokenOff(b"<p>There was more to say, but".to_vec()), ..response }
        }
        "/loop/a" => Response::redirect(302, "/loop/b"),
        "/loop/b" => Response::redirect(302, "/loop/a"),
        "/slow" => {
            greenloop::sleep(SLOW);
            Response::html("<p>At last.</p>")
        }
        ENDLESS => {
            let line = b"<p>And another thing.</p>\n".repeat(100);
            Response { body: Body::Endless(line), ..Response::html("") }
        }
        _ => other_page(path).unwrap_or_else(|| Response::status(404)),
    }
}

/// The pages whose path has a number in it.
fn other_page(path: &str) -> Option<Response> {
    if let Some(status) = path.strip_prefix("/moved/") {
        let status = status.parse().ok().filter(|status| matches!(status, 301 | 302 | 303 | 307 | 308))?;
        return Some(Response::redirect(status, &format!("/graph/{}", status % PAGES as u16)));
    }
    let page = path.strip_prefix("/graph/")?.parse().ok().filter(|page| *page < PAGES)?;
    greenloop::sleep(Duration::from_millis(chosen(page, 0) % 121));
    Some(Response::html(graph_page(page)))
}

/// A page of the graph: its links, and some text that makes the pages differ in size.
fn graph_page(page: u64) -> String {
    let mut html = format!("<!doctype html>\n<title>Page {page}</title>\n<ul>\n");
    let children = [2 * page + 1, 2 * page + 2].into_iter().filter(|child| *child < PAGES);
    let others = (1..4).map(|index| chosen(page, index) % PAGES);
    for target in children.chain(others) {
        let _ = writeln!(html, "<li><a href=\"/graph/{target}#top\">page {target}</a>");
    }
    for target in extras(page) {
        let _ = writeln!(html, "<li><a href='{target}'>more</a>");
    }
    html += "</ul>\n";
    for _ in 0..chosen(page, 4) % 100 {
        html += "<p>A page is found by its links, and a link by its page.</p>\n";
    }
    html
}

/// The links out of the graph of plain pages, spread over a few of them.
fn extras(page: u64) -> &'static [&'static str] {
    match page {
        3 => &["/slow", "/picture", "mailto:someone@example.com"],
        10 => &["/moved/301", "/broken", "/private/keys"],
        25 => &["../moved/302", ENDLESS, "https://elsewhere.invalid/"],
        40 => &["/moved/303", "/loop/a", "#top"],
        77 => &["/moved/307", "/closed-early"],
        150 => &["/moved/308", "/missing", "/private/diary"],
        _ => &[],
    }
}

/// A page of exactly `size` bytes.
fn classic_page(path: &str, size: usize) -> Vec<u8> {
    let mut html = format!("<!doctype html>\n<title>{path}</title>\n").into_bytes();
    let words = b"<p>Plain blocking code, and yet nobody waits for anybody else.</p>\n";
    html.extend(words.iter().cycle().take(size.saturating_sub(html.len())));
    html
}

/// The number that the seed has chosen for one question about a page (splitmix64's mixing step).
fn chosen(page: u64, question: u64) -> u64 {
    let mut mixed = (SEED ^ page << 8 ^ question).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ mixed >> 31
}
