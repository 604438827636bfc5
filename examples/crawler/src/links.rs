//! The links of an HTML page.

use crate::charset;
use crate::urls::{is_http, resolve};
use html5gum::emitters::callback::{CallbackEmitter, CallbackEvent};
use html5gum::{Span, Tokenizer};
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
    let mut reader = Reader::default();
    let mut emitter = CallbackEmitter::new(move |event: CallbackEvent<'_>, _: Span<()>| reader.read(&event));
    // Text that only looks like tags, in scripts and styles, is no link.
    emitter.naively_switch_states(true);
    let (mut base, mut references) = (None, Vec::new());
    for Ok(found) in Tokenizer::new_with_emitter(&*text, emitter) {
        match found {
            (Kind::Link, reference) => references.push(reference),
            // The first one holds, also for what stands before it.
            (Kind::Base, reference) => base = base.or(Some(reference).filter(|base| base.len() <= MAX_BASE)),
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

/// What a reference is for.
#[derive(Clone, Copy)]
enum Kind {
    Link,
    Base,
}

/// Reads the references of tags. It holds one: a tag may have any number of attributes.
#[derive(Default)]
struct Reader {
    /// Which attribute of the tag is one.
    wanted: Option<(Kind, &'static [u8])>,
    /// Whether the attribute that is read is that.
    is_reading: bool,
    reference: Option<String>,
}

impl Reader {
    fn read(&mut self, event: &CallbackEvent<'_>) -> Option<(Kind, String)> {
        match event {
            CallbackEvent::OpenStartTag { name } => {
                let wanted: Option<(Kind, &[u8])> = match *name {
                    b"a" | b"area" => Some((Kind::Link, b"href")),
                    b"frame" | b"iframe" => Some((Kind::Link, b"src")),
                    b"base" => Some((Kind::Base, b"href")),
                    _ => None,
                };
                *self = Reader { wanted, ..Reader::default() };
            }
            CallbackEvent::AttributeName { name } => {
                let is_wanted = self.wanted.is_some_and(|(_, wanted)| wanted == *name);
                // Of two with this name the first one holds. One may have no value.
                self.is_reading = is_wanted && self.reference.is_none();
                if self.is_reading {
                    self.reference = Some(String::new());
                }
            }
            CallbackEvent::AttributeValue { value } if self.is_reading => {
                self.reference = Some(String::from_utf8_lossy(value).into_owned());
            }
            CallbackEvent::CloseStartTag { .. } => {
                let (wanted, reference) = (self.wanted.take(), self.reference.take());
                return wanted.map(|(kind, _)| kind).zip(reference);
            }
            // What is no start tag may have attributes too.
            CallbackEvent::EndTag { .. } => *self = Reader::default(),
            _ => {}
        }
        None
    }
}
