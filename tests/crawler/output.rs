//! What the program prints, in each format.

use crate::program::{crawl, crawler};
use crate::site::{Site, tree};

/// A line whose time in milliseconds is called TIME.
fn untimed(line: &str) -> String {
    let words = line.split(' ').collect::<Vec<_>>();
    let is_time = |index: usize| {
        words.get(index + 1).is_some_and(|unit| unit.trim_end_matches('.') == "ms")
            && words[index].parse::<u64>().is_ok()
    };
    let word = |index: usize| if is_time(index) { "TIME" } else { words[index] };
    (0..words.len()).map(word).collect::<Vec<_>>().join(" ")
}

#[test]
fn csv_has_a_row_for_each_url_in_order() {
    let site = Site::start(tree);
    let (rows, errors) = crawl(&site, 1, &["--depth", "9", &site.url("/"), &site.url("/gone")]);
    let expected = [
        "http://SITE/,0,fetched,200,http://SITE/,0,126,false,2,",
        "http://SITE/gone,0,failed,404,http://SITE/gone,0,20,false,0,404 Not Found",
        "http://SITE/a,1,fetched,200,http://SITE/a,0,38,false,2,",
        "http://SITE/b,1,fetched,200,http://SITE/b,0,38,false,2,",
        "http://SITE/c,2,fetched,200,http://SITE/c,0,20,false,1,",
        "http://SITE/d,3,fetched,200,http://SITE/d,0,13,false,0,",
    ];
    assert_eq!(rows, expected);
    assert_eq!(errors, "crawler: http://SITE/gone: 404 Not Found\n");
}

#[test]
fn json_has_the_same_and_the_sum() {
    let site = Site::start(tree);
    let finished = crawler(1, &["-d0", "-fjson", &site.url("/d"), &site.url("/gone")]);
    let mut report: serde_json::Value = serde_json::from_str(&finished.stdout).expect("JSON");
    for holder in ["/pages/0", "/pages/1", "/summary"] {
        let holder = report.pointer_mut(holder).and_then(|value| value.as_object_mut()).expect("an object");
        assert!(holder.remove("milliseconds").expect("a time").is_u64());
    }
    let expected = serde_json::json!({
        "pages": [
            {"url": site.url("/d"), "depth": 0, "outcome": "fetched", "status": 200, "final_url": site.url("/d"),
             "redirects": 0, "bytes": 13, "truncated": false, "links": 0, "reason": null},
            {"url": site.url("/gone"), "depth": 0, "outcome": "failed", "status": 404, "final_url": site.url("/gone"),
             "redirects": 0, "bytes": 20, "truncated": false, "links": 0, "reason": "404 Not Found"},
        ],
        "summary": {"urls": 2, "fetched": 1, "redirected": 0, "truncated": 0, "skipped": 0, "failed": 1, "bytes": 33},
    });
    assert_eq!(report, expected);
}

#[test]
fn text_has_a_line_for_each_page_and_the_sum() {
    let site = Site::start(tree);
    let finished = crawler(0, &["--concurrency", "1", &site.url("/c")]);
    let words = |line: &str| untimed(line).split_whitespace().collect::<Vec<_>>().join(" ");
    let lines: Vec<_> = site.named(&finished.stdout).lines().map(words).collect();
    let sum = "2 URLs: 2 fetched (0 redirected, 0 cut short), 0 skipped, 0 failed; 33 bytes in TIME ms";
    assert_eq!(lines, ["200 20 B TIME ms http://SITE/c", "200 13 B TIME ms http://SITE/d", sum]);
    assert_eq!(finished.stderr, "", "no bar where there is no terminal");
}
