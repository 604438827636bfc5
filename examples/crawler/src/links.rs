//! The links of an HTML page.

use html5gum::{DefaultEmitter, Token, Tokenizer};
use std::collections::HashSet;
use url::Url;

/// Where a page links to, in order of appearance and once each: http and https, without fragments.
pub fn links(page: &Url, html: &[u8]) -> Vec<Url> {
    // Text that only looks like tags, in scripts and styles, is no link.
    let mut emitter = DefaultEmitter::default();
    emitter.naively_switch_states(true);
    let mut base = page.clone();
    let mut seen = HashSet::new();
    let mut found = Vec::new();
    for Ok(token) in Tokenizer::new_with_emitter(html, emitter) {
        let Token::StartTag(tag) = token else { continue };
        let attribute = match tag.name.as_slice() {
            b"a" | b"area" | b"base" => "href",
            b"frame" | b"iframe" => "src",
            _ => continue,
        };
        let Some(value) = tag.attributes.get(attribute.as_bytes()) else { continue };
        let Ok(mut target) = base.join(String::from_utf8_lossy(value).trim()) else { continue };
        target.set_fragment(None);
        if tag.name.as_slice() == b"base" {
            base = target;
        } else if matches!(target.scheme(), "http" | "https") && seen.insert(target.clone()) {
            found.push(target);
        }
    }
    found
}
