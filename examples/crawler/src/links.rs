//! The links of an HTML page.

use crate::charset;
use crate::urls::{is_http, resolve};
use html5gum::{DefaultEmitter, Token, Tokenizer};
use std::collections::HashSet;
use url::Url;

/// What is longer is no base: each link would become as long.
const MAX_BASE: usize = 2_000;
/// How many links of a page are read. What has more means to keep its reader busy.
const MAX_REFERENCES: usize = 20_000;

/// Where a page links to, in order of appearance and once each: http and https, without fragments.
///
/// `media_type` is what its server calls it.
pub fn links(page: &Url, media_type: &str, html: &[u8]) -> Vec<Url> {
    let (text, encoding) = charset::decode(html, media_type);
    // Text that only looks like tags, in scripts and styles, is no link.
    let mut emitter = DefaultEmitter::default();
    emitter.naively_switch_states(true);
    let (mut base, mut references) = (None, Vec::new());
    for Ok(token) in Tokenizer::new_with_emitter(&*text, emitter) {
        let Token::StartTag(tag) = token else { continue };
        let attribute =
            |name: &[u8]| tag.attributes.get(name).map(|value| String::from_utf8_lossy(value).into_owned());
        match tag.name.as_slice() {
            b"a" | b"area" => references.extend(attribute(b"href")),
            b"frame" | b"iframe" => references.extend(attribute(b"src")),
            // The first one holds, also for what stands before it.
            b"base" => base = base.or_else(|| attribute(b"href").filter(|base| base.len() <= MAX_BASE)),
            _ => {}
        }
        if references.len() >= MAX_REFERENCES {
            break;
        }
    }
    let base = base.and_then(|base| resolve(page, &base, encoding).ok());
    let base = base.filter(|base| !matches!(base.scheme(), "data" | "javascript"));
    let base = base.as_ref().unwrap_or(page);
    let mut seen = HashSet::new();
    let targets = references.iter().filter_map(|reference| resolve(base, reference, encoding).ok());
    targets.filter(|target| is_http(target) && seen.insert(target.clone())).collect()
}
