//! The program `fleet crawl`, and sites that mean it no good.

use clients::folder::Folder;
use flate2::read::MultiGzDecoder;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, Read, Seek, SeekFrom, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::mpsc::Receiver;
use std::sync::{Barrier, Mutex};
use std::thread::sleep;
use std::time::Duration;

/// A site, whose answers are written by a function that gets the path. It may take as long as it likes: each connection has a thread.
struct Site<'a> {
    address: SocketAddr,
    asked: &'a Mutex<Vec<String>>,
}

impl Site<'_> {
    /// Serves it for as long as `visit` takes.
    fn serve(respond: impl Fn(&str, &mut TcpStream) + Sync, visit: impl FnOnce(&Site<'_>)) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, asked, respond) = (listener.local_addr().unwrap(), Mutex::default(), &respond);
        let site = Site { address, asked: &asked };
        std::thread::scope(|scope| {
            let asked = &asked;
            scope.spawn(move || {
                for stream in listener.incoming() {
                    let mut stream = stream.unwrap();
                    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
                    let request = lines.next().unwrap_or_default();
                    lines.find(String::is_empty);
                    let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
                    if path == "/end" {
                        break;
                    }
                    asked.lock().unwrap().push(path.clone());
                    scope.spawn(move || respond(&path, &mut stream));
                }
            });
            let visited = catch_unwind(AssertUnwindSafe(|| visit(&site)));
            write!(TcpStream::connect(address).unwrap(), "GET /end HTTP/1.1\r\n\r\n").unwrap();
            visited.unwrap_or_else(|payload| resume_unwind(payload));
        });
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// How often it was asked for what begins like this.
    fn asked(&self, path: &str) -> usize {
        self.asked.lock().unwrap().iter().filter(|asked| asked.starts_with(path)).count()
    }
}

/// Writes an answer whose body is whole.
fn answer(stream: &mut TcpStream, status: &str, head: &str, body: &[u8]) {
    let length = body.len();
    let head = format!("HTTP/1.1 {status}\r\n{head}Content-Length: {length}\r\nConnection: close\r\n\r\n");
    // Who asked may be gone.
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
}

fn page(stream: &mut TcpStream, links: impl IntoIterator<Item = impl std::fmt::Display>) {
    let links: Vec<_> = links.into_iter().map(|link| format!("<a href='{link}'>link</a>")).collect();
    answer(stream, "200 OK", "Content-Type: text/html\r\n", links.concat().as_bytes());
}

fn robots(stream: &mut TcpStream, text: &str) {
    answer(stream, "200 OK", "Content-Type: text/plain\r\n", text.as_bytes());
}

struct Crawl {
    folder: Folder,
    broker: String,
}

impl Crawl {
    fn new() -> Crawl {
        let folder = Folder::new("fleet-crawl");
        Crawl { broker: folder.file("queue.db"), folder }
    }

    /// A command line of the program, which is ended after two minutes, or with this test.
    fn fleet(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "TERM", "timeout", "--kill-after", "10", "120"]);
        command.arg(env!("CARGO_BIN_EXE_fleet")).args(arguments).env("FLEET_BROKER", &self.broker);
        command.output().unwrap()
    }

    /// Crawls without a delay, and returns what is recorded and which pages have failed, by path.
    fn crawl(
        &self,
        site: &Site<'_>,
        arguments: &[&str],
    ) -> (BTreeMap<String, Value>, BTreeMap<String, String>) {
        let (url, origin) = (site.url("/"), site.url(""));
        let output = self.fleet(&[&["crawl", &url, "--delay", "0"], arguments].concat());
        assert!(output.status.success(), "{output:?}");
        let path = |url: &str| url.strip_prefix(&origin).unwrap_or(url).to_owned();
        let mut recorded = BTreeMap::new();
        for line in String::from_utf8(output.stdout).unwrap().lines() {
            let record: Value = serde_json::from_str(line).unwrap();
            let twice = recorded.insert(path(record["url"].as_str().unwrap()), record);
            assert!(twice.is_none(), "{twice:?}");
        }
        let dead = String::from_utf8(self.fleet(&["dead"]).stdout).unwrap();
        let dead = dead.lines().map(|line| {
            let (url, why) = line.split_once(' ').unwrap().1.split_once(" (").unwrap();
            (path(url), why.split_once(": ").unwrap().1.to_owned())
        });
        (recorded, dead.collect())
    }
}

#[test]
fn a_site_that_means_it_no_good_ends_nothing() {
    let long = "x".repeat(100_000);
    let (closed, keep_open) = std::sync::mpsc::channel::<()>();
    let keep_open: Mutex<Receiver<()>> = Mutex::new(keep_open);
    // For ever, but for the end of the test.
    let wait = || keep_open.lock().unwrap().recv().is_err();
    let respond = |path: &str, stream: &mut TcpStream| match path {
        "/robots.txt" => {
            // What is read of it ends after `Disallow: /`.
            let rules = "Disallow: /forbidden\n".repeat(60_000);
            robots(stream, &format!("User-agent: *\nAllow: /nothing\n{rules}"));
        }
        "/" => {
            let many = (0..5_000).map(|number| format!("http://elsewhere.invalid/{number}"));
            let own = [
                "head",
                "headers",
                "endless",
                "bomb",
                "loop",
                "slow",
                "nothing-at-all",
                "bytes",
                "cut",
                "status",
                "links",
                "forbidden",
                "drip",
                "chunks",
                "trailers",
                "hints",
                "attributes",
                "deep",
            ];
            let own = own.map(|name| format!("/{name}"));
            page(
                stream,
                many.chain(own).chain([format!("/{long}"), "http://[".to_owned(), "javascript:x".to_owned()]),
            );
        }
        "/head" => {
            let line = format!("X-Long: {long}\r\n");
            let _ = write!(stream, "HTTP/1.1 200 OK\r\n");
            while stream.write_all(line.as_bytes()).is_ok() {}
        }
        "/headers" => {
            let _ = write!(stream, "HTTP/1.1 200 OK\r\n");
            while stream.write_all(b"X: y\r\n").is_ok() {}
        }
        "/endless" => {
            let _ = write!(stream, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n");
            while stream.write_all(&[b'x'; 1 << 16]).is_ok() {}
        }
        "/bomb" => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
            encoder.write_all(&vec![b'a'; 1 << 20]).unwrap();
            let head = "Content-Type: text/html\r\nContent-Encoding: gzip\r\n";
            answer(stream, "200 OK", head, &encoder.finish().unwrap());
        }
        "/loop" => answer(stream, "302 Found", "Location: /loop\r\n", b""),
        "/slow" => {
            let _ = write!(stream, "HTTP/1.1 200 OK\r\nContent-Type: text/ht");
            assert!(wait());
        }
        "/nothing-at-all" => {}
        "/links" => {
            page(stream, (0..25_000).map(|number| format!("x:{number}")).chain(["/never".to_owned()]))
        }
        "/drip" => {
            let _ = write!(stream, "HTTP/1.1 200 OK\r\nX: ");
            while stream.write_all(b"x").is_ok() {
                sleep(Duration::from_millis(1));
            }
        }
        "/chunks" => {
            let _ = write!(stream, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;");
            while stream.write_all(&[b'x'; 1 << 16]).is_ok() {}
        }
        "/trailers" => {
            let _ = write!(stream, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n");
            while stream.write_all(b"X: y\r\n".repeat(10_000).as_slice()).is_ok() {}
        }
        "/hints" => {
            while stream.write_all(b"HTTP/1.1 103 Early Hints\r\n\r\n".repeat(10_000).as_slice()).is_ok() {}
        }
        "/attributes" => {
            let attributes: String = (0..2_000_000).map(|number| format!(" {number:x}")).collect();
            answer(stream, "200 OK", "Content-Type: text/html\r\n", format!("<a{attributes}>").as_bytes());
        }
        "/deep" => {
            answer(
                stream,
                "200 OK",
                "Content-Type: text/html\r\n",
                "<a href='?'><b>".repeat(600_000).as_bytes(),
            );
        }
        "/bytes" => {
            let head = "HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=\u{fffd}\r\nX: ";
            let _ = stream
                .write_all(head.as_bytes())
                .and_then(|()| stream.write_all(b"\xff\xfe\r\nConnection: close\r\n\r\n"));
            let _ = stream.write_all(b"\xc3\x28<a href='/\xff\xfe'>\x00</a><a href='\x00\x01'>");
        }
        "/cut" => {
            let _ = write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n<a href=/");
        }
        "/status" => {
            let _ = write!(stream, "HTTP/1.1 999999 \x1b[31m\r\n\r\n");
        }
        _ => page(stream, [""; 0]),
    };
    Site::serve(respond, |site| {
        let crawl = Crawl::new();
        let (recorded, dead) =
            crawl.crawl(site, &["--timeout", "10", "--attempts", "1", "--concurrency", "20"]);
        let told = format!("{recorded:#?}{dead:#?}");
        assert_eq!(recorded["/"]["links"], 5_019, "{told}");
        assert_eq!(recorded["/forbidden"]["skipped"], "forbidden by robots.txt", "{told}");
        assert_eq!(recorded["/deep"]["bytes"], 9_000_000, "{told}");
        assert_eq!(recorded["/attributes"]["links"], 0, "{told}");
        assert_eq!(recorded["/endless"]["bytes"], 10 << 20, "{told}");
        assert_eq!(recorded["/loop"]["location"], site.url("/loop"), "{told}");
        assert!(recorded.contains_key("/bytes"), "{told}");
        assert!(recorded.contains_key("/links") && !recorded.contains_key("/never"), "{told}");
        let failed: Vec<_> = dead.keys().map(String::as_str).collect();
        assert_eq!(
            failed,
            [
                "/bomb",
                "/chunks",
                "/cut",
                "/drip",
                "/head",
                "/headers",
                "/hints",
                "/nothing-at-all",
                "/slow",
                "/status",
                "/trailers"
            ],
            "{told}"
        );
        assert_eq!(dead["/bomb"], "the body is compressed (gzip), which was not asked for");
        assert!(dead["/head"].contains("256 kB") && dead["/headers"].contains("too many headers"), "{told}");
        assert_eq!(dead["/chunks"], "a piece of the response has no end", "{told}");
        let late = ["/drip", "/hints", "/slow", "/trailers"];
        assert!(late.iter().all(|path| dead[*path].contains("timed out")), "{told}");
        assert!(dead.values().all(|why| !why.contains('\u{1b}')), "{told}");
        assert_eq!((site.asked("/robots.txt"), site.asked("/loop"), site.asked("/xxx")), (1, 1, 0), "{told}");
        drop(closed);
    });
}

/// Memory of the process that fetches, in kilobytes.
fn memory_of_worker(crawl: &Crawl) -> usize {
    let processes = std::fs::read_dir("/proc").unwrap().flatten().map(|process| process.path());
    let is_worker = |process: &PathBuf| {
        let has = |file: &str, text: &str| {
            let text = text.as_bytes();
            std::fs::read(process.join(file))
                .is_ok_and(|all| all.windows(text.len()).any(|part| part == text))
        };
        has("cmdline", "fleet\0worker\0") && has("environ", &crawl.broker)
    };
    let worker = processes.into_iter().find(is_worker).unwrap();
    let status = std::fs::read_to_string(worker.join("status")).unwrap();
    let memory = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.split_whitespace().next());
    memory.unwrap().parse().unwrap()
}

#[test]
fn servers_that_take_their_time_do_not_fill_the_memory() {
    const SLOW: usize = 300;
    let (all, memory) = (Barrier::new(SLOW), Mutex::new(None));
    let crawl = Crawl::new();
    let respond = |path: &str, stream: &mut TcpStream| match path {
        "/robots.txt" => robots(stream, ""),
        "/" => page(stream, (0..SLOW).map(|number| format!("/slow/{number}"))),
        _ => {
            // All of them are waited for.
            if all.wait().is_leader() {
                *memory.lock().unwrap() = Some(memory_of_worker(&crawl));
            }
            all.wait();
            page(stream, [""; 0]);
        }
    };
    Site::serve(respond, |site| {
        let (recorded, dead) = crawl.crawl(site, &["--concurrency", &SLOW.to_string(), "--timeout", "60"]);
        assert_eq!((recorded.len(), dead.len()), (1 + SLOW, 0), "{dead:?}");
    });
    // It was 100 MB when each connection had room for the longest head from the start.
    let memory = memory.into_inner().unwrap().unwrap();
    assert!(memory < 80_000, "{memory} kB");
}

#[test]
fn a_crawl_stays_on_the_ports_that_were_named() {
    let neighbour = TcpListener::bind("127.0.0.1:0").unwrap();
    neighbour.set_nonblocking(true).unwrap();
    let other = format!("http://{}/admin", neighbour.local_addr().unwrap());
    let respond = |path: &str, stream: &mut TcpStream| match path {
        "/robots.txt" => robots(stream, ""),
        _ => page(stream, [other.as_str(), "/one"]),
    };
    Site::serve(respond, |site| {
        let (recorded, dead) = Crawl::new().crawl(site, &[]);
        assert_eq!((recorded.len(), dead.len()), (2, 0), "{recorded:?}{dead:?}");
    });
    assert_eq!(neighbour.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
}

#[test]
fn processes_share_what_robots_txt_says() {
    let respond = |path: &str, stream: &mut TcpStream| match path {
        "/robots.txt" => robots(stream, "User-agent: *\nDisallow: /private"),
        "/" => page(stream, (0..30).map(|number| format!("/{number}")).chain(["/private".to_owned()])),
        _ => page(stream, ["/"]),
    };
    Site::serve(respond, |site| {
        let (recorded, dead) = Crawl::new().crawl(site, &["--workers", "3", "--concurrency", "2"]);
        assert_eq!((recorded.len(), dead.len()), (32, 0), "{dead:?}");
        assert_eq!(recorded["/private"]["skipped"], "forbidden by robots.txt");
        assert_eq!((site.asked("/robots.txt"), site.asked("/private")), (1, 0));
    });
}

#[test]
fn a_server_that_asks_for_too_long_a_delay_is_left_alone() {
    let respond = |path: &str, stream: &mut TcpStream| match path {
        "/robots.txt" => robots(stream, "User-agent: *\nCrawl-delay: 100"),
        _ => page(stream, ["/one", "/two"]),
    };
    Site::serve(respond, |site| {
        let (recorded, dead) = Crawl::new().crawl(site, &["--max-delay", "99.5"]);
        assert_eq!((recorded.len(), dead.len(), site.asked("/")), (3, 0, 2));
        let why = "its server asks for 100s between requests (see --max-delay)";
        assert_eq!((&recorded["/one"]["skipped"], &recorded["/two"]["skipped"]), (&why.into(), &why.into()));
    });
}

#[test]
fn a_server_that_fails_again_and_again_is_given_up() {
    let respond = |path: &str, stream: &mut TcpStream| match path {
        "/robots.txt" => robots(stream, ""),
        "/" => page(stream, (0..20).map(|number| format!("/fails/{number}"))),
        _ => answer(stream, "503 Service Unavailable", "", b""),
    };
    Site::serve(respond, |site| {
        let arguments = ["--host-failures", "3", "--attempts", "1", "--concurrency", "1"];
        let (recorded, dead) = Crawl::new().crawl(site, &arguments);
        assert_eq!((recorded.len(), dead.len(), site.asked("/fails")), (1, 20, 3));
        let why = "its server has failed 3 times in a row (see --host-failures)";
        assert_eq!(dead.values().filter(|dead| *dead == why).count(), 17, "{dead:?}");
    });
}

#[test]
fn links_that_there_is_no_room_for_come_later() {
    let respond = |path: &str, stream: &mut TcpStream| match path {
        "/robots.txt" => robots(stream, ""),
        "/" => page(stream, (1..=12).map(|number| format!("/{number}"))),
        path if path.len() < 5 => {
            // It is looked meanwhile that there is no room.
            sleep(Duration::from_millis(400));
            page(stream, (1..=2).map(|number| format!("{path}/page/{number}")));
        }
        _ => page(stream, ["/"]),
    };
    Site::serve(respond, |site| {
        let crawl = Crawl::new();
        let (recorded, dead) = crawl.crawl(site, &["--max-waiting", "6", "--concurrency", "4"]);
        assert_eq!((recorded.len(), dead.len()), (1 + 12 + 24, 0), "{dead:?}");
        // The jobs beside the pages: what asks first, and what looks at links that were put off.
        let status = String::from_utf8(crawl.fleet(&["status"]).stdout).unwrap();
        let done = status.lines().find_map(|line| line.strip_prefix("done ")).unwrap();
        assert!(done.parse::<usize>().unwrap() > recorded.len() + 1, "{status}");
    });
}

#[test]
fn answers_are_written_as_warc() {
    let respond = |path: &str, stream: &mut TcpStream| match path {
        "/robots.txt" => robots(stream, ""),
        "/" => page(stream, ["/one", "/two"]),
        path => answer(stream, "200 OK", "Content-Type: text/plain\r\nX-Own: yes\r\n", path.as_bytes()),
    };
    Site::serve(respond, |site| {
        let crawl = Crawl::new();
        let folder = crawl.folder.path.join("warc");
        let (recorded, _) = crawl.crawl(site, &["--workers", "2", "--warc", folder.to_str().unwrap()]);
        assert_eq!(recorded.len(), 3);
        for (path, record) in &recorded {
            let place = &record["warc"];
            let mut file = File::open(folder.join(place["file"].as_str().unwrap())).unwrap();
            file.seek(SeekFrom::Start(place["offset"].as_u64().unwrap())).unwrap();
            let mut text = String::new();
            let member = file.take(place["length"].as_u64().unwrap());
            MultiGzDecoder::new(member).read_to_string(&mut text).unwrap();
            assert!(text.starts_with("WARC/1.0\r\n"), "{text}");
            assert!(text.contains(&format!("warc-target-uri: {}\r\n", site.url(path))), "{text}");
            assert!(text.contains("\r\n\r\nHTTP/1.1 200 OK\r\n"), "{text}");
            if path != "/" {
                assert!(
                    text.contains("x-own: yes\r\n") && text.ends_with(&format!("\r\n\r\n{path}\r\n\r\n")),
                    "{text}"
                );
            }
        }
        // And as a whole, which begins by what wrote it.
        for file in std::fs::read_dir(&folder).unwrap() {
            let file = BufReader::new(MultiGzDecoder::new(File::open(file.unwrap().path()).unwrap()));
            let kinds: Vec<_> = warc::WarcReader::new(file)
                .iter_records()
                .map(|record| record.unwrap().warc_type().to_string())
                .collect();
            assert_eq!(
                (kinds[0].as_str(), kinds[1..].iter().all(|kind| kind == "response")),
                ("warcinfo", true)
            );
        }
    });
}

#[test]
fn a_password_in_a_url_is_for_its_server_only() {
    let respond = |path: &str, stream: &mut TcpStream| match path {
        "/robots.txt" => robots(stream, ""),
        "/" => page(stream, ["/fails", "/moved", "/bomb"]),
        "/moved" => answer(stream, "302 Found", "Location: /\r\n", b""),
        "/bomb" => answer(stream, "200 OK", "Content-Type: text/html\r\nContent-Encoding: br\r\n", b"x"),
        _ => answer(stream, "503 Service Unavailable", "", b""),
    };
    Site::serve(respond, |site| {
        let crawl = Crawl::new();
        let folder = crawl.folder.path.join("warc");
        let seed = format!("http://me:open-sesame@{}/", site.address);
        let warc = folder.to_str().unwrap();
        let outputs = [
            crawl.fleet(&["crawl", &seed, "--delay", "0", "--attempts", "1", "--warc", warc]),
            crawl.fleet(&["status"]),
            crawl.fleet(&["dead"]),
            crawl.fleet(&["records"]),
        ];
        let mut told = format!("{outputs:?}");
        for file in std::fs::read_dir(&folder).unwrap() {
            let file = File::open(file.unwrap().path()).unwrap();
            MultiGzDecoder::new(file).read_to_string(&mut told).unwrap();
        }
        assert!(told.contains("***@") && told.contains("warc-target-uri"), "{told}");
        assert!(!told.contains("open-sesame") && !told.contains("me:"), "{told}");
        assert_eq!((site.asked("/fails"), site.asked("/moved")), (1, 1));
    });
}
