//! Which URLs are known, and how far each is from a start: the crawl's bookkeeping, without any input or output.
//!
//! Pages arrive in any order, so a URL may first be found by a long way and later by a shorter one. Its depth is
//! then corrected, and so are its links', without fetching anything twice: the same graph gives the same report.

use std::collections::HashMap;
use url::Url;

/// The known URLs.
pub struct Frontier {
    max_depth: u32,
    known: HashMap<Url, Known>,
}

struct Known {
    depth: u32,
    /// Once the page has been fetched.
    links: Option<Vec<Url>>,
}

impl Frontier {
    pub fn new(max_depth: u32) -> Frontier {
        Frontier { max_depth, known: HashMap::new() }
    }

    /// Adds URLs at a depth, and returns those that are now to be fetched.
    pub fn discover(&mut self, urls: impl IntoIterator<Item = Url>, depth: u32) -> Vec<Url> {
        let mut new = Vec::new();
        let mut found: Vec<(Url, u32)> = urls.into_iter().map(|url| (url, depth)).collect();
        found.reverse();
        while let Some((url, depth)) = found.pop() {
            match self.known.get_mut(&url) {
                _ if depth > self.max_depth => {}
                None => {
                    self.known.insert(url.clone(), Known { depth, links: None });
                    new.push(url);
                }
                Some(known) if depth < known.depth => {
                    known.depth = depth;
                    let links = known.links.iter().flatten();
                    found.extend(links.map(|link| (link.clone(), depth + 1)));
                }
                Some(_) => {}
            }
        }
        new
    }

    /// Notes the links of a page that has been fetched, and returns the URLs that are now to be fetched.
    pub fn complete(&mut self, url: &Url, links: Vec<Url>) -> Vec<Url> {
        let Some(known) = self.known.get_mut(url) else { return Vec::new() };
        known.links = Some(links.clone());
        let depth = known.depth.saturating_add(1);
        self.discover(links, depth)
    }

    /// How many steps a known URL is from the nearest start.
    pub fn depth(&self, url: &Url) -> u32 {
        self.known.get(url).map_or(0, |known| known.depth)
    }

    /// How many URLs are known.
    pub fn len(&self) -> usize {
        self.known.len()
    }
}
