//! What servers and pages do in the world, whatever standards say.

use crate::program::{crawl, crawler};
use crate::server::Response;
use crate::site::{Site, page};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

/// A response as it is sent, after which the connection ends.
fn response(status: &str, headers: &[&[u8]], body: &[u8]) -> Vec<u8> {
    let mut bytes = format!("HTTP/1.1 {status}\r\nConnection: close\r\n").into_bytes();
    for header in headers {
        bytes.extend_from_slice(header);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(format!("Content-Length: {}\r\n\r\n", body.len()).as_bytes());
    bytes.extend_from_slice(body);
    bytes
}

fn html(body: &[u8]) -> Vec<u8> {
    response("200 OK", &[b"Content-Type: text/html"], body)
}

/// The path of a request.
fn path(request: &str) -> &str {
    request.split(' ').nth(1).unwrap_or_default()
}

/// A site without a robots.txt.
fn open(respond: impl Fn(&str) -> Vec<u8> + Send + 'static) -> Site {
    Site::raw(move |_, request| match path(request) {
        "/robots.txt" => Some(response("404 Not Found", &[], b"")),
        path => Some(respond(path)),
    })
}

/// The rows of these paths alone, in short: path, outcome, links and reason.
fn fetched(site: &Site, code: i32, paths: &[&str]) -> Vec<String> {
    let urls: Vec<_> = paths.iter().map(|path| site.url(path)).collect();
    let urls: Vec<_> = urls.iter().map(String::as_str).collect();
    let (rows, _) = crawl(site, code, &[&["-d0", "-c4"], &urls[..]].concat());
    let short = |row: String| {
        let columns: Vec<_> = row.splitn(10, ',').collect();
        let reason = columns[9].trim_matches('"');
        format!("{} {} {} {reason}", columns[0].trim_start_matches("http://SITE"), columns[2], columns[8])
    };
    rows.into_iter().map(|row| short(row).trim_end().to_owned()).collect()
}

/// The targets of a page's links, without the site's own address.
fn targets(head: &'static [&'static [u8]], body: &[u8]) -> Vec<String> {
    let body = body.to_vec();
    let site = open(move |path| match path {
        "/dir/page" => response("200 OK", head, &body),
        _ => response("200 OK", &[], b""),
    });
    let (rows, _) = crawl(&site, 0, &["-d1", "--same-host", &site.url("/dir/page")]);
    let links = rows.iter().filter(|row| row.split(',').nth(1) == Some("1"));
    links.map(|row| row.split(',').next().unwrap_or_default().replace("http://SITE", "")).collect()
}

#[test]
fn a_connection_that_the_server_has_ended_is_replaced() {
    // The second request on a connection is read, and the connection closed in place of an answer.
    let site = Site::raw(|nth, request| {
        let answer = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 2\r\n\r\nok";
        (nth == 0 || path(request) == "/robots.txt").then(|| answer.into())
    });
    let paths = ["/1", "/2", "/3", "/4", "/5"];
    let expected = paths.map(|path| format!("{path} fetched 0"));
    assert_eq!(fetched(&site, 0, &paths), expected);
}

#[test]
fn a_server_that_never_answers_is_asked_twice() {
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    let site = Site::raw(move |_, request| {
        if path(request) == "/robots.txt" {
            return Some(response("404 Not Found", &[], b""));
        }
        counted.fetch_add(1, SeqCst);
        None
    });
    assert_eq!(fetched(&site, 1, &["/"]), ["/ failed 0 the server closed the connection early"]);
    assert_eq!(asked.load(SeqCst), 2);
}

#[test]
fn the_head_of_a_response_may_be_long() {
    let site = open(|path| {
        let long = format!("X-Long: {}", "x".repeat(path[1..].parse::<usize>().expect("a length") * 1000));
        response("200 OK", &[b"Content-Type: text/html", long.as_bytes()], b"<a href='/'>")
    });
    let expected =
        ["/100 fetched 1", "/20 fetched 1", "/300 failed 0 the head of the response is longer than 256 kB"];
    assert_eq!(fetched(&site, 1, &["/20", "/100", "/300"]), expected);
}

#[test]
fn a_redirect_goes_where_browsers_go_or_says_where_it_leads() {
    let there = Arc::new(Mutex::new(String::new()));
    let address = Arc::clone(&there);
    let site = open(move |path| {
        let slashes = format!("Location: ///{}/there", address.lock().expect("an address"));
        let location: &[u8] = match path {
            "/latin" => b"Location: /caf\xe9",
            "/utf-8" => b"Location: /caf\xc3\xa9",
            "/slashes" => slashes.as_bytes(),
            "/ftp" => b"Location: ftp://name:secret@127.0.0.1/file",
            "/port" => b"Location: http://127.0.0.1:99999/",
            _ => return html(b""),
        };
        response("302 Found", &[location], b"")
    });
    *there.lock().expect("an address") = site.address.to_string();
    let urls = ["/ftp", "/latin", "/port", "/slashes", "/utf-8"].map(|path| site.url(path));
    let urls: Vec<_> = urls.iter().map(String::as_str).collect();
    let (rows, _) = crawl(&site, 1, &[&urls[..], &["-d0"]].concat());
    let expected = [
        "http://SITE/ftp,0,failed,302,http://SITE/ftp,0,0,false,0,\
         redirects to ftp://***@127.0.0.1/file, which is neither http nor https",
        "http://SITE/latin,0,fetched,200,http://SITE/caf%E9,1,0,false,0,",
        "http://SITE/port,0,failed,302,http://SITE/port,0,0,false,0,\
         302 Found with a Location that is no URL: invalid port number",
        "http://SITE/slashes,0,fetched,200,http://SITE/there,1,0,false,0,",
        "http://SITE/utf-8,0,fetched,200,http://SITE/caf%C3%A9,1,0,false,0,",
    ];
    assert_eq!(rows, expected);
}

#[test]
fn a_body_that_is_compressed_unasked_is_told() {
    let site = open(|path| match path {
        "/page" => response("200 OK", &[b"Content-Type: text/html", b"Content-Encoding: gzip"], b"\x1f\x8b"),
        "/plain" => {
            response("200 OK", &[b"Content-Type: text/html", b"Content-Encoding: identity"], b"<a href='x'>")
        }
        // There is nothing to look for in this one.
        _ => response("200 OK", &[b"Content-Type: image/svg+xml", b"Content-Encoding: gzip"], b"\x1f\x8b"),
    });
    let expected = [
        "/image fetched 0",
        "/page failed 0 the body is compressed (gzip), which was not asked for",
        "/plain fetched 1",
    ];
    assert_eq!(fetched(&site, 1, &["/image", "/page", "/plain"]), expected);

    let site = Site::raw(|_, _| Some(response("200 OK", &[b"Content-Encoding: br"], b"\x0b")));
    let reason = "cannot read robots.txt: the body is compressed (br), which was not asked for";
    assert_eq!(fetched(&site, 1, &["/"]), [format!("/ failed 0 {reason}")]);
}

#[test]
fn servers_are_asked_not_to_compress() {
    let site = Site::raw(|_, request| {
        let asked = request.to_ascii_lowercase().contains("accept-encoding: identity\r\n");
        Some(response(if asked { "200 OK" } else { "500 No" }, &[b"Content-Type: text/html"], b""))
    });
    assert_eq!(fetched(&site, 0, &["/"]), ["/ fetched 0"]);
}

#[test]
fn a_page_is_read_in_its_charset() {
    const HTML: &[u8] = b"Content-Type: text/html";
    // Paths are UTF-8 in any case, queries are in the charset of the page.
    let shift_jis = b"<a href='/\x93\xfa?\x93\xfa'>";
    let japanese = ["/%E6%97%A5?%93%FA"];
    assert_eq!(targets(&[b"Content-Type: text/html; Charset=\"Shift_JIS\""], shift_jis), japanese);
    let meta = [b"<meta charset=shift_jis>".as_slice(), shift_jis].concat();
    assert_eq!(targets(&[HTML], &meta), japanese);
    let meta =
        b"<meta http-equiv=content-type content='text/html; charset=windows-1251'><a href='/\xef?\xef'>";
    assert_eq!(targets(&[HTML], meta), ["/%D0%BF?%EF"]);
    // The server's word goes before the page's, and the byte order mark before both.
    let both = b"<meta charset=shift_jis><a href='/\xef?\xef'>";
    assert_eq!(targets(&[b"Content-Type: text/html; charset=windows-1251"], both), ["/%D0%BF?%EF"]);

    let text = "<a href='/é?é'>";
    let little: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let big: Vec<u8> = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
    let (accented, latin) = (["/%C3%A9?%C3%A9"], ["/%C3%A9?%E9"]);
    assert_eq!(targets(&[HTML], &[b"\xff\xfe", &little[..]].concat()), accented);
    assert_eq!(
        targets(&[b"Content-Type: text/html; charset=x"], &[b"\xfe\xff", &big[..]].concat()),
        accented
    );
    assert_eq!(targets(&[b"Content-Type: text/html; charset=utf-16"], &little), accented);
    assert_eq!(targets(&[b"Content-Type: text/html; charset=utf-16be"], &big), accented);
    let marked = [b"\xef\xbb\xbf", text.as_bytes()].concat();
    assert_eq!(targets(&[b"Content-Type: text/html; charset=windows-1251"], &marked), accented);
    // A page that can be read as ASCII is not in UTF-16, whatever it says.
    assert_eq!(targets(&[HTML], format!("<meta charset=utf-16>{text}").as_bytes()), accented);

    assert_eq!(targets(&[HTML], text.as_bytes()), accented, "undeclared, but it is UTF-8");
    assert_eq!(targets(&[HTML], b"<a href='/\xe9?\xe9'>"), latin, "undeclared, and it is not");
}

#[test]
fn the_first_base_of_a_page_holds_for_all_its_links() {
    const HTML: &[&[u8]] = &[b"Content-Type: text/html"];
    let cases: [(&str, &[&str]); 8] = [
        ("<base href='/a/'><base href='/b/'><a href=x>", &["/a/x"]),
        ("<a href=x><base href='/a/'><a href=y>", &["/a/x", "/a/y"]),
        ("<base target=_top><base href='/a/'><a href=x>", &["/a/x"]),
        ("<base href='sub/'><a href=x>", &["/dir/sub/x"]),
        ("<base href='javascript:void(0)'><a href=x>", &["/dir/x"]),
        ("<base href='data:text/html,'><base href='/a/'><a href=x>", &["/dir/x"]),
        ("<base href='http://127.0.0.1:99999/'><a href=x>", &["/dir/x"]),
        // Nothing can be relative to this one.
        ("<base href='mailto:me@example.com'><a href=x>", &[]),
    ];
    for (body, expected) in cases {
        assert_eq!(targets(HTML, body.as_bytes()), expected, "{body}");
    }
}

#[test]
fn a_server_that_is_slow_on_purpose_is_told_of_and_left_alone_in_the_end() {
    for delay in ["9223372036854775808", "1e19", "86400"] {
        let rules = format!("User-agent: *\nCrawl-delay: {delay}\n");
        let site = Site::start(move |path| match path {
            "/robots.txt" => Response::of_type("text/plain", rules.as_str()),
            _ => page(&["/a"]),
        });
        let (rows, errors) = crawl(&site, 0, &["-c2", &site.url("/")]);
        let seconds = delay.replace("1e19", "10000000000000000000");
        let reason = format!("its server asks for {seconds}s between requests (see --max-delay)");
        let expected = [
            "http://SITE/,0,fetched,200,http://SITE/,0,20,false,1,".to_owned(),
            format!("http://SITE/a,1,skipped,,http://SITE/a,0,0,false,0,{reason}"),
        ];
        assert_eq!(rows, expected);
        assert_eq!(errors, format!("crawler: http://SITE asks for {seconds}s between requests\n"));
    }
    let site = Site::start(|path| match path {
        "/robots.txt" => Response::of_type("text/plain", "User-agent: *\nCrawl-delay: 0.01\n"),
        _ => page(&["/a"]),
    });
    let (rows, errors) = crawl(&site, 0, &["--max-delay", "0.02", &site.url("/")]);
    assert_eq!(rows.len(), 2);
    assert_eq!(errors, "crawler: http://SITE asks for 10ms between requests\n");
}

#[test]
fn a_password_is_sent_and_never_printed() {
    let site = Site::raw(|_, request| {
        let known = request.contains("uthorization: Basic bmFtZTpzZWNyZXQ=\r\n"); // name:secret
        let status = if known { "200 OK" } else { "401 Unauthorized" };
        Some(match path(request) {
            "/robots.txt" => response("404 Not Found", &[], b""),
            "/round" => response("302 Found", &[b"Location: /round"], b""),
            "/gone" => response("404 Not Found", &[], b""),
            _ => response(status, &[b"Content-Type: text/html"], b"<a href=/gone><a href=/round>"),
        })
    });
    let url = format!("http://name:secret@{}/", site.address);
    for format in ["text", "csv", "json"] {
        let finished = crawler(1, &["--format", format, &url]);
        // The port may look like anything.
        let said = (finished.stdout + &finished.stderr).replace(&site.address.to_string(), "SITE");
        assert!(!said.contains("secret") && !said.contains("name:"), "{said}");
        assert!(said.contains("http://***@SITE/"), "{said}");
        assert!(said.contains("redirect loop at http://***@SITE/round"), "{said}");
        assert!(said.contains("404 Not Found") && !said.contains("Unauthorized"), "{said}");
    }
}
