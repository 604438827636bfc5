//! Which charset a page is in, by the rules of the WHATWG: its byte order mark tells, or else its server, or else itself.

use encoding_rs::{Encoding, UTF_8, WINDOWS_1252};
use html5gum::{Token, Tokenizer};
use std::borrow::Cow;

/// How far into a page its own word for its charset is looked for.
const HEAD: usize = 1024;

/// The page as text, and the encoding that it was in. `media_type` is what the server calls it.
pub fn decode<'a>(html: &'a [u8], media_type: &str) -> (Cow<'a, str>, &'static Encoding) {
    let declared = charset(media_type).and_then(|label| Encoding::for_label(label.as_bytes()));
    let encoding = declared.or_else(|| own_encoding(html)).unwrap_or_else(|| likely_encoding(html));
    let (text, encoding, _) = encoding.decode(html);
    (text, encoding)
}

/// The charset that a media type names: `text/html; charset=utf-8`.
fn charset(media_type: &str) -> Option<&str> {
    media_type.split(';').skip(1).find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        let is_charset = name.trim().eq_ignore_ascii_case("charset");
        is_charset.then(|| value.trim().trim_matches(['"', '\'']))
    })
}

/// What a `meta` of the page says. One that says UTF-16 is wrong: it could not have been read.
fn own_encoding(html: &[u8]) -> Option<&'static Encoding> {
    let head = &html[..html.len().min(HEAD)];
    Tokenizer::new(head).find_map(|Ok(token)| {
        let Token::StartTag(tag) = token else { return None };
        let attribute = |name: &[u8]| tag.attributes.get(name).map(|value| String::from_utf8_lossy(value));
        let encoding = match (tag.name.as_slice(), attribute(b"charset"), attribute(b"content")) {
            (b"meta", Some(label), _) => Encoding::for_label(label.as_bytes()),
            (b"meta", None, Some(content)) => Encoding::for_label(charset(&content)?.as_bytes()),
            _ => None,
        };
        encoding.map(Encoding::output_encoding)
    })
}

/// UTF-8 if it can be that, though it may be cut off inside a character; else what browsers take most pages for.
fn likely_encoding(html: &[u8]) -> &'static Encoding {
    match std::str::from_utf8(html) {
        Err(error) if error.error_len().is_some() => WINDOWS_1252,
        _ => UTF_8,
    }
}
