//! URLs as they are met in the world: resolved as browsers do it, and shown without their secrets.

use encoding_rs::Encoding;
use std::borrow::Cow;
use url::{ParseError, Url};

/// Resolves what a page or a server refers to. The fragment is left out, and the query is written in `encoding`.
pub fn resolve(base: &Url, reference: &str, encoding: &'static Encoding) -> Result<Url, ParseError> {
    let reference = reference.trim_matches(|character| character <= ' ');
    let host = reference.trim_start_matches(['/', '\\']);
    // After two slashes browsers skip any more; the crate `url` finds an empty host.
    let extra = (reference.len() - host.len()).saturating_sub(2);
    let encode: &dyn Fn(&str) -> Cow<'_, [u8]> = &|query| encoding.encode(query).0;
    let mut url =
        Url::options().base_url(Some(base)).encoding_override(Some(encode)).parse(&reference[extra..])?;
    url.set_fragment(None);
    Ok(url)
}

/// Whether the crawler can fetch it.
pub fn is_http(url: &Url) -> bool {
    matches!(url.scheme(), "http" | "https")
}

/// A URL to print: the name and the password in it are for its server only.
pub fn shown(url: &Url) -> String {
    if url.username().is_empty() && url.password().is_none() {
        return url.as_str().to_owned();
    }
    let mut shown = url.clone();
    // They fail for URLs without a host, which have no password.
    let _ = (shown.set_username("***"), shown.set_password(None));
    shown.into()
}
