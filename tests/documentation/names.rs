//! Each of Python's names in `names.txt` leads to its items in rustdoc's search, and to no others.
//!
//! The source is what is checked. rustdoc 1.95 forgets the aliases of items that another module re-exports; docs.rs uses a newer one,
//! which does not.

use super::source::{Item, items, library, root};
use std::fs;

#[test]
fn every_name_of_pythons_leads_to_its_items() {
    let names = fs::read_to_string(root().join("tests/documentation/names.txt")).expect("the list");
    let page = |name: &str| {
        fs::read_to_string(root().join(format!("src/guide/{name}.md"))).expect("a page of the guide")
    };
    let pages = ["from_asyncio", "from_gevent", "from_multiprocessing", "from_python"];
    let pages = pages.map(|name| (name, page(name)));
    let wrong = astray(&names, &library(), &pages);
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// What is wrong with the `names`, each a line of the form `name: item item`.
fn astray(names: &str, items: &[Item], pages: &[(&str, String)]) -> Vec<String> {
    let mut wrong = Vec::new();
    for line in names.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (name, targets) = line.split_once(": ").expect("a name and its items");
        let targets: Vec<&str> = targets.split(' ').collect();
        for target in &targets {
            let found = items.iter().filter(|item| item.path() == *target);
            let found: Vec<&Item> = found.collect();
            match found.first() {
                None => wrong.push(format!("`{name}`: no item `{target}`")),
                Some(first) if !found.iter().any(|item| leads(name, item)) => {
                    wrong.push(format!("{}:{}: `{target}` has no alias `{name}`", first.file, first.line));
                }
                Some(_) => {}
            }
            if let Some((page, text)) = pages.iter().find(|(page, _)| page == target)
                && !mentions(text, name)
            {
                wrong.push(format!("src/guide/{page}.md: says nothing of `{name}`"));
            }
        }
        let elsewhere = items.iter().filter(|item| {
            item.aliases.iter().any(|alias| alias == name) && !targets.contains(&&*item.path())
        });
        wrong.extend(
            elsewhere.map(|item| {
                format!("{}:{}: `{name}` leads astray, to `{}`", item.file, item.line, item.path())
            }),
        );
    }
    wrong
}

/// Returns `true` if a search for `name`, which knows no capitals, shows `item` first.
fn leads(name: &str, item: &Item) -> bool {
    item.name.eq_ignore_ascii_case(name) || item.aliases.iter().any(|alias| alias == name)
}

/// Returns `true` if `page` names `name` as code, or a family of names that it is of, such as `patch_…` or `…Protocol`.
fn mentions(page: &str, name: &str) -> bool {
    page.split('`').skip(1).step_by(2).any(|code| {
        let word = |word: &str| match (word.strip_prefix('…'), word.strip_suffix('…')) {
            (Some(end), _) if !end.is_empty() => name.ends_with(end),
            (_, Some(start)) if !start.is_empty() => name.starts_with(start),
            _ => word == name,
        };
        code.split(|character: char| !character.is_alphanumeric() && !"_…".contains(character)).any(word)
    })
}

#[test]
fn a_name_that_leads_nowhere_or_astray() {
    let text = "/// Spawns.\n#[doc(alias(\"start_new\", \"go\"))]\npub fn spawn() {}\n#[doc(alias = \"fork\")]\npub mod from_gevent {}\n";
    let items = items("src/task/mod.rs", text);
    let pages = [("from_gevent", "| `fork`, `patch_…` | a line |".to_owned())];
    let complaints = |names: &str| astray(names, &items, &pages);
    assert_eq!(
        complaints("# gevent\n\nspawn: spawn\nSpawn: spawn\nstart_new: spawn\nfork: from_gevent\n"),
        [""; 0]
    );
    assert_eq!(complaints("spawn_raw: spawn"), ["src/task/mod.rs:3: `spawn` has no alias `spawn_raw`"]);
    assert_eq!(
        complaints("go: join"),
        ["`go`: no item `join`", "src/task/mod.rs:3: `go` leads astray, to `spawn`"]
    );
    assert_eq!(
        complaints("patch_all: from_gevent\nreinit: from_gevent"),
        [
            "src/task/mod.rs:5: `from_gevent` has no alias `patch_all`",
            "src/task/mod.rs:5: `from_gevent` has no alias `reinit`",
            "src/guide/from_gevent.md: says nothing of `reinit`",
        ]
    );
}
