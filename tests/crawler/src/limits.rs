//! How far the program goes: depth, hosts, robots.txt, redirects, bytes, time, and how much at once.

use crate::program::{LIMIT, crawl, crawler, rows};
use crate::server::{Body, Response};
use crate::site::{Site, page, tree};
use crate::support::{example, within};
use crate::tool::run_with_few_files;
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// The URLs of the rows, and how the fetch of each ended.
fn outcomes(rows: &[String]) -> Vec<(&str, &str)> {
    rows.iter()
        .map(|row| {
            let mut columns = row.split(',');
            (columns.next().unwrap_or_default(), columns.nth(1).unwrap_or_default())
        })
        .collect()
}

#[test]
fn depth_counts_the_links_from_a_start() {
    let site = Site::start(tree);
    let urls = |depth: &str| {
        let (rows, errors) = crawl(&site, 0, &["--depth", depth, &site.url("/")]);
        assert_eq!(errors, "");
        outcomes(&rows).into_iter().map(|(url, _)| url.replace("http://SITE", "")).collect::<Vec<_>>()
    };
    assert_eq!(urls("0"), ["/"]);
    assert_eq!(urls("1"), ["/", "/a", "/b"]);
    assert_eq!(urls("2"), ["/", "/a", "/b", "/c"]);
    assert_eq!(urls("3"), ["/", "/a", "/b", "/c", "/d"]);
}

#[test]
fn a_shorter_way_found_later_counts() {
    // `/late` is two steps away through `/slow`, and found before that through `/quick` and `/quicker`.
    let found = Arc::new(AtomicUsize::new(0));
    let site = Site::start(move |path| match path {
        "/" => page(&["/quick", "/slow"]),
        "/quick" => page(&["/quicker"]),
        "/quicker" => page(&["/late"]),
        "/slow" => {
            wait_until(|| found.load(SeqCst) == 1);
            page(&["/late"])
        }
        "/late" => {
            found.fetch_add(1, SeqCst);
            page(&["/beyond"])
        }
        "/beyond" => page(&["/too-far"]),
        _ => Response::status(404),
    });
    let (rows, _) = crawl(&site, 0, &["--depth", "3", &site.url("/")]);
    let depths: Vec<_> =
        rows.iter().map(|row| row.split(',').take(2).collect::<Vec<_>>().join(" ")).collect();
    let expected = ["/ 0", "/quick 1", "/slow 1", "/late 2", "/quicker 2", "/beyond 3"];
    assert_eq!(depths, expected.map(|row| format!("http://SITE{row}")));
}

/// Parks the calling green thread of a site until something is true.
fn wait_until(is_true: impl Fn() -> bool) {
    let started = Instant::now();
    while !is_true() && started.elapsed() < Duration::from_secs(20) {
        greenloop::sleep(Duration::from_millis(1));
    }
}

#[test]
fn same_host_stays_on_the_hosts_of_the_starts() {
    let there = Site::wrapped("127.0.0.2", |stream| stream, |_| page(&[]));
    let (other, elsewhere) = (there.url("/page"), there.url("/"));
    // The link to `/leave` takes 28 bytes, the other link is written twice in 16 more.
    let size = 28 + 16 + 2 * other.len();
    let here = Site::start(move |path| match path {
        "/" => page(&["/leave", &other]),
        "/leave" => Response::redirect(301, &elsewhere),
        _ => Response::status(404),
    });
    let named = |rows: Vec<String>| rows.join("\n").replace(&there.address.to_string(), "OTHER");

    let (rows, errors) = crawl(&here, 0, &[&here.url("/"), "--same-host"]);
    let expected = format!(
        "http://SITE/,0,fetched,200,http://SITE/,0,{size},false,2,\n\
        http://SITE/leave,1,skipped,301,http://OTHER/,1,0,false,0,redirects to another host"
    );
    assert_eq!((named(rows), errors.as_str()), (expected, ""));

    let (rows, errors) = crawl(&here, 0, &[&here.url("/")]);
    let expected = format!(
        "http://SITE/,0,fetched,200,http://SITE/,0,{size},false,2,\n\
        http://SITE/leave,1,fetched,200,http://OTHER/,1,0,false,0,\n\
        http://OTHER/page,1,fetched,200,http://OTHER/page,0,0,false,0,"
    );
    assert_eq!((named(rows), errors.as_str()), (expected, ""));
}

/// A site that notes what it was asked for.
fn noting(respond: impl Fn(&str) -> Response + Send + 'static) -> (Site, Arc<Mutex<Vec<String>>>) {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let notes = Arc::clone(&asked);
    let site = Site::start(move |path| {
        notes.lock().expect("no panic while it is held").push(path.to_owned());
        respond(path)
    });
    (site, asked)
}

#[test]
fn robots_txt_is_read_once_and_honoured() {
    let (site, asked) = noting(|path| match path {
        "/robots.txt" => {
            let rules =
                "User-agent: *\nDisallow: /\n\nUser-agent: greenloop-crawler\nDisallow: /no\nAllow: /no/but";
            Response::of_type("text/plain", rules)
        }
        "/" => page(&["/no/a", "/no/but/this", "/yes", "/moved"]),
        "/moved" => Response::redirect(302, "/no/b"),
        _ => page(&[]),
    });
    let (rows, errors) = crawl(&site, 0, &[&site.url("/")]);
    let expected = [
        "http://SITE/,0,fetched,200,http://SITE/,0,118,false,4,",
        "http://SITE/moved,1,skipped,302,http://SITE/no/b,1,0,false,0,forbidden by robots.txt",
        "http://SITE/no/a,1,skipped,,http://SITE/no/a,0,0,false,0,forbidden by robots.txt",
        "http://SITE/no/but/this,1,fetched,200,http://SITE/no/but/this,0,0,false,0,",
        "http://SITE/yes,1,fetched,200,http://SITE/yes,0,0,false,0,",
    ];
    assert_eq!(rows, expected);
    assert_eq!(errors, "");
    let mut asked = asked.lock().expect("no panic while it is held").clone();
    assert_eq!(asked[..2], ["/robots.txt", "/"]);
    asked.sort();
    assert_eq!(asked, ["/", "/moved", "/no/but/this", "/robots.txt", "/yes"]);
}

#[test]
fn a_server_that_cannot_tell_its_rules_is_left_alone() {
    let (site, asked) = noting(|_| Response::status(503));
    let (rows, errors) = crawl(&site, 1, &[&site.url("/")]);
    let reason = "cannot read robots.txt: 503 Service Unavailable";
    assert_eq!(rows, [format!("http://SITE/,0,failed,,http://SITE/,0,0,false,0,{reason}")]);
    assert_eq!(errors, format!("crawler: http://SITE/: {reason}\n"));
    assert_eq!(*asked.lock().expect("no panic while it is held"), ["/robots.txt"]);
}

#[test]
fn a_crawl_delay_spaces_the_requests() {
    let times = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&times);
    let site = Site::start(move |path| match path {
        "/robots.txt" => Response::of_type("text/plain", "User-agent: *\nCrawl-delay: 0.5\n"),
        _ => {
            noted.lock().expect("no panic while it is held").push(Instant::now());
            page(&[])
        }
    });
    crawl(&site, 0, &[&site.url("/1"), &site.url("/2"), &site.url("/3")]);
    let times = times.lock().expect("no panic while it is held");
    assert_eq!(times.len(), 3);
    // The last is sent two delays after the first, and nothing is sent early; the margin is the first one's way there.
    assert!(times[2] - times[0] > Duration::from_millis(250), "{times:?}");
}

#[test]
fn redirects_are_followed_to_their_end() {
    let site = Site::start(|path| match path.strip_prefix("/hop/").map(str::parse) {
        Some(Ok(0)) => page(&["x"]),
        Some(Ok(left @ 1..20)) => Response::redirect(307, &format!("{}?#part", left - 1)),
        _ => match path.split('?').next() {
            Some(path) if path.starts_with("/hop/") => Response::redirect(308, path),
            Some("/round") => Response::redirect(301, "/and"),
            Some("/and") => Response::redirect(302, "/round"),
            Some("/nowhere") => Response { headers: Vec::new(), ..Response::redirect(302, "") },
            Some("/mail") => Response::redirect(302, "mailto:me@example.com"),
            _ => Response::status(404),
        },
    });
    let urls = ["/hop/5", "/hop/6", "/mail", "/nowhere", "/round"].map(|path| site.url(path));
    let urls: Vec<_> = urls.iter().map(String::as_str).collect();
    let (rows, errors) = crawl(&site, 1, &[&urls[..], &["--depth", "0"]].concat());
    let expected = [
        "http://SITE/hop/5,0,fetched,200,http://SITE/hop/0,10,18,false,1,",
        "http://SITE/hop/6,0,failed,307,http://SITE/hop/1,10,0,false,0,more than 10 redirects",
        "http://SITE/mail,0,failed,302,http://SITE/mail,0,0,false,0,\
         redirects to mailto:me@example.com, which is neither http nor https",
        "http://SITE/nowhere,0,failed,302,http://SITE/nowhere,0,0,false,0,302 Found without a Location to go to",
        "http://SITE/round,0,failed,302,http://SITE/and,1,0,false,0,redirect loop at http://SITE/round",
    ];
    assert_eq!(rows, expected);
    assert_eq!(errors.lines().count(), 4);
}

#[test]
fn a_body_is_cut_at_the_limit() {
    let site = Site::start(|path| match path {
        "/endless" => Response { body: Body::Endless(b"<a href='x'>\n".to_vec()), ..page(&[]) },
        "/exact" => Response::of_type("text/plain", vec![b'x'; 2_048]),
        _ => Response::of_type("text/plain", vec![b'x'; 2_049]),
    });
    let urls = ["/endless", "/exact", "/longer"].map(|path| site.url(path));
    let (rows, errors) = crawl(&site, 0, &["-d0", "--max-bytes", "2k", &urls[0], &urls[1], &urls[2]]);
    let expected = [
        "http://SITE/endless,0,fetched,200,http://SITE/endless,0,2048,true,1,",
        "http://SITE/exact,0,fetched,200,http://SITE/exact,0,2048,false,0,",
        "http://SITE/longer,0,fetched,200,http://SITE/longer,0,2048,true,0,",
    ];
    assert_eq!((rows.as_slice(), errors.as_str()), (expected.map(str::to_owned).as_slice(), ""));
}

#[test]
fn a_fetch_ends_at_its_timeout_wherever_it_is() {
    let site = Site::start(|path| match path {
        "/silent" => {
            greenloop::sleep(Duration::from_secs(3600));
            page(&[])
        }
        // Never silent for long, and never done.
        "/endless" => Response { body: Body::Endless(vec![b'x'; 100]), ..page(&[]) },
        "/robots.txt" => Response::status(404),
        _ => page(&[]),
    });
    let urls = ["/endless", "/good", "/silent"].map(|path| site.url(path));
    let arguments = ["--timeout", "1.5", "--max-bytes", "1000G", &urls[0], &urls[1], &urls[2]];
    let (rows, errors) = crawl(&site, 1, &arguments);
    let expected = [
        ("http://SITE/endless", "failed"),
        ("http://SITE/good", "fetched"),
        ("http://SITE/silent", "failed"),
    ];
    assert_eq!(outcomes(&rows), expected);
    let mut errors: Vec<_> = errors.lines().collect();
    errors.sort_unstable();
    let expected =
        ["/endless", "/silent"].map(|path| format!("crawler: http://SITE{path}: timed out after 1.5s"));
    assert_eq!(errors, expected);
}

#[test]
fn a_connection_that_nobody_takes_ends_at_the_timeout_too() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    rustix::net::listen(&listener, 0).expect("a shorter backlog");
    let address = listener.local_addr().expect("its address");
    let _filling = TcpStream::connect(address).expect("the one that the backlog keeps");
    let url = format!("http://{address}/");
    let unanswered = crawler(1, &["--timeout", "0.5", &url]);
    let reason = "cannot read robots.txt: timed out after 500ms";
    assert_eq!(unanswered.stderr, format!("crawler: {url}: {reason}\n"));
}

#[test]
fn what_goes_wrong_with_a_connection_is_told_in_one_line() {
    let site = Site::start(|path| match path {
        "/robots.txt" => Response::status(404),
        _ => Response { body: Body::BrokenOff(b"only half".to_vec()), ..page(&[]) },
    });
    let (rows, errors) = crawl(&site, 1, &[&site.url("/")]);
    let reason = "the server closed the connection early";
    assert_eq!(rows, [format!("http://SITE/,0,failed,,http://SITE/,0,0,false,0,{reason}")]);
    assert_eq!(errors, format!("crawler: http://SITE/: {reason}\n"));

    // A port that the kernel gives to nobody.
    let nobody = "127.0.0.77:1";
    let refused = crawler(1, &[&format!("http://{nobody}/")]);
    let reason = "cannot read robots.txt: Connection refused (os error 111)";
    assert_eq!(refused.stderr, format!("crawler: http://{nobody}/: {reason}\n"));
}

#[test]
fn as_many_fetches_as_asked_for_run_at_once() {
    let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let seen = Arc::clone(&most);
    let site = Site::start(move |path| {
        if path != "/robots.txt" {
            seen.fetch_max(running.fetch_add(1, SeqCst) + 1, SeqCst);
            // Nobody is answered before there are three.
            wait_until(|| seen.load(SeqCst) >= 3);
            greenloop::sleep(Duration::from_millis(5));
            running.fetch_sub(1, SeqCst);
        }
        page(&[])
    });
    let urls: Vec<_> = (0..30).map(|index| site.url(&format!("/{index}"))).collect();
    let urls: Vec<_> = urls.iter().map(String::as_str).collect();
    let (rows, _) = crawl(&site, 0, &[&urls[..], &["-c3"]].concat());
    assert_eq!(rows.len(), 30);
    assert_eq!(most.load(SeqCst), 3);
}

#[test]
fn no_more_fetches_run_at_once_than_files_may_be_open() {
    let site = Site::start(|path| match path {
        "/robots.txt" => Response::status(404),
        _ => {
            greenloop::sleep(Duration::from_millis(20));
            page(&[])
        }
    });
    let urls: Vec<_> = (0..200).map(|index| site.url(&format!("/{index}"))).collect();
    let urls: Vec<_> = urls.iter().map(String::as_str).collect();
    let finished = run_with_few_files(64, "crawler", &[&["-c200", "--format=csv"], &urls[..]].concat());
    assert_eq!(finished.stderr, "crawler: 16 fetches at a time, not 200: no more files may be open\n");
    assert!(rows(&site, &finished).iter().all(|row| row.contains(",fetched,")), "{finished:?}");
    assert_eq!(finished.status.code(), Some(0));
    // The demonstration has both ends of each connection.
    let finished = run_with_few_files(64, "crawler", &[]);
    let few = finished.stdout.contains(", 8 fetches at a time:\n");
    assert!(few && finished.status.success() && finished.stderr.is_empty(), "{finished:?}");
}

/// Serial without the patch, with the same results: the error lines too.
#[cfg(feature = "monkey")]
#[test]
fn without_the_patch_one_fetch_runs_at_a_time() {
    let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let seen = Arc::clone(&most);
    let site = Site::start(move |path| match path {
        "/robots.txt" => Response::status(404),
        "/silent" => {
            greenloop::sleep(Duration::from_secs(3600));
            page(&[])
        }
        _ => {
            seen.fetch_max(running.fetch_add(1, SeqCst) + 1, SeqCst);
            greenloop::sleep(Duration::from_millis(10));
            running.fetch_sub(1, SeqCst);
            page(&[])
        }
    });
    let urls: Vec<_> = ["/1", "/2", "/3", "/4", "/5", "/silent"].map(|path| site.url(path)).into();
    let urls: Vec<_> = urls.iter().map(String::as_str).collect();
    let (rows, errors) = crawl(&site, 1, &[&urls[..], &["--no-patch", "--timeout", "1.5"]].concat());
    assert_eq!(rows.len(), 6);
    assert_eq!(most.load(SeqCst), 1);
    assert_eq!(errors, "crawler: http://SITE/silent: timed out after 1.5s\n");
}

/// What the header of the example promises of the patched demonstration, `tests/examples.rs` holds.
#[cfg(feature = "monkey")]
#[test]
fn the_demonstration_is_serial_without_the_patch() {
    let printed = crawler(0, &["--no-patch"]).stdout;
    let together = printed.lines().skip_while(|line| *line != "Together:").skip(1);
    let first_words: Vec<_> = together.take(6).filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(first_words, ["GET:", "48954", "GET:", "491871", "GET:", "51595"], "{printed}");
}

#[test]
fn everything_runs_on_one_thread() {
    let (held, counted) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let (holding, released) = (Arc::clone(&held), Arc::clone(&counted));
    let site = Site::start(move |path| match path {
        "/" => page(&["1", "2", "3", "4", "5", "6", "7", "8", "9"]),
        "/robots.txt" => Response::status(404),
        _ => {
            holding.fetch_add(1, SeqCst);
            wait_until(|| released.load(SeqCst));
            page(&[])
        }
    });
    let mut command = Command::new(example("crawler"));
    // Another driver might have the kernel work on threads that are listed as the program's.
    command.args(["-c9", &site.url("/")]).env("GREENLOOP_DRIVER", "epoll").stdout(Stdio::null());
    let (threads, status) = within(LIMIT, move || {
        let mut child = command.spawn().expect("the program starts");
        wait_until(|| held.load(SeqCst) == 9);
        let threads = fs::read_dir(format!("/proc/{}/task", child.id())).map(Iterator::count);
        counted.store(true, SeqCst);
        (threads.expect("it runs"), child.wait().expect("it ends"))
    });
    assert_eq!(threads, 1);
    assert!(status.success());
}
