//! What the crate offers, read from its source as text: each public item with its documentation.
//!
//! The source is formatted, so an item begins on a line of its own, and its block ends on a line that is indented alike. What
//! is `pub` can be reached from outside, which the compiler sees to (`unreachable_pub`).

use std::fs;
use std::path::{Path, PathBuf};

/// Something public, and what its page says.
#[derive(Debug)]
pub(crate) struct Item {
    pub(crate) file: String,
    pub(crate) line: usize,
    /// `fn`, `struct`, `macro_rules!`, …, or `variant`.
    pub(crate) keyword: &'static str,
    /// The type of a method, the trait, or the macro that makes it.
    pub(crate) owner: Option<String>,
    pub(crate) name: String,
    /// The lines of its documentation, as written.
    pub(crate) documentation: Vec<String>,
    /// What else it is found by.
    pub(crate) aliases: Vec<String>,
}

impl Item {
    /// `Owner::name`.
    pub(crate) fn path(&self) -> String {
        self.owner.as_ref().map_or_else(|| self.name.clone(), |owner| format!("{owner}::{}", self.name))
    }
}

/// All public items of the library.
pub(crate) fn library() -> Vec<Item> {
    let items: Vec<Item> = files(&root().join("src"))
        .iter()
        .flat_map(|path| {
            let text = fs::read_to_string(path).expect("a readable file");
            let path = path.strip_prefix(root()).expect("below the root").to_string_lossy();
            items(&path, &text)
        })
        .collect();
    assert!(items.len() > 500, "the sources were not found");
    items
}

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a readable folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// What stands before an item.
#[derive(Default)]
struct Preface {
    documentation: Vec<String>,
    aliases: Vec<String>,
    hidden: bool,
    exported: bool,
}

impl Preface {
    fn attribute(&mut self, attribute: String) {
        if attribute == "#[doc(hidden)]" {
            self.hidden = true;
        } else if attribute == "#[macro_export]" {
            self.exported = true;
        } else if let Some(names) = attribute.strip_prefix("#[doc(alias") {
            self.aliases.extend(names.split('"').skip(1).step_by(2).map(str::to_owned));
        } else if attribute.starts_with("#[doc = ") || attribute.starts_with("$(#[") {
            self.documentation.push(attribute);
        }
    }
}

/// The first line of an item, or of a block that items are in.
struct Head {
    indentation: usize,
    /// `impl` and `impl for` name no item.
    keyword: &'static str,
    /// Of an implementation, its type.
    name: String,
    public: bool,
}

impl Head {
    /// What its items' paths begin with.
    fn owner(&self) -> Option<String> {
        match self.keyword {
            "mod" => None,
            "macro_rules!" => Some(format!("{}!", self.name)),
            _ => Some(self.name.clone()),
        }
    }
}

/// The public items in one file.
pub(crate) fn items(file: &str, text: &str) -> Vec<Item> {
    let mut items = Vec::new();
    let mut blocks: Vec<Head> = Vec::new();
    let mut preface = Preface::default();
    let mut lines = text.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        let trimmed = line.trim_start();
        let indentation = line.len() - trimmed.len();
        if let Some(text) = trimmed.strip_prefix("///") {
            preface.documentation.push(text.strip_prefix(' ').unwrap_or(text).to_owned());
            continue;
        }
        if trimmed.is_empty() || trimmed.starts_with("//") {
            continue;
        }
        if trimmed.starts_with("#[") || trimmed.starts_with("$(#[") {
            let mut attribute = trimmed.to_owned();
            while attribute.matches(['[', '(']).count() > attribute.matches([']', ')']).count() {
                let Some((_, line)) = lines.next() else { break };
                attribute.push_str(line.trim());
            }
            preface.attribute(attribute);
            continue;
        }
        let ended = |block: &Head| {
            block.indentation > indentation || block.indentation == indentation && trimmed.starts_with('}')
        };
        while blocks.last().is_some_and(ended) {
            blocks.pop();
        }
        let Preface { documentation, aliases, hidden, exported } = std::mem::take(&mut preface);
        let Some(mut head) = head(trimmed, indentation, blocks.last()) else { continue };
        head.public = (head.public || exported) && !hidden;
        if head.public {
            items.push(Item {
                file: file.to_owned(),
                line: number + 1,
                keyword: head.keyword,
                owner: blocks.last().and_then(Head::owner),
                name: head.name.clone(),
                documentation,
                aliases,
            });
        }
        const WITH_ITEMS: &[&str] = &["impl", "impl for", "trait", "enum", "mod", "macro_rules!"];
        if WITH_ITEMS.contains(&head.keyword) && !trimmed.ends_with(['}', ';']) {
            blocks.push(head);
        }
    }
    items
}

fn head(line: &str, indentation: usize, block: Option<&Head>) -> Option<Head> {
    if let Some(head) = line.strip_prefix("impl").filter(|head| head.starts_with(['<', ' '])) {
        let head = after_generics(head);
        let (keyword, subject) = match head.split_once(" for ") {
            Some((_trait, subject)) => ("impl for", subject),
            None => ("impl", head),
        };
        return Some(Head { indentation, keyword, name: word(subject), public: false });
    }
    // Variants, and the functions of a trait, are public with it.
    let inside = |keyword| {
        block.is_some_and(|block| {
            block.keyword == keyword && block.public && indentation == block.indentation + 4
        })
    };
    if inside("enum") && line.starts_with(char::is_uppercase) {
        return Some(Head { indentation, keyword: "variant", name: word(line), public: true });
    }
    let (public, mut rest) = match line.strip_prefix("pub ") {
        Some(rest) => (true, rest),
        None => (inside("trait"), line),
    };
    for qualifier in ["const ", "unsafe ", "extern \"C\" "] {
        // `const` is a keyword of its own where no function follows.
        rest = rest
            .strip_prefix(qualifier)
            .filter(|rest| rest.contains("fn ") || qualifier != "const ")
            .unwrap_or(rest);
    }
    const KEYWORDS: &[&str] =
        &["fn", "struct", "enum", "trait", "type", "mod", "static", "const", "union", "macro_rules!"];
    let (keyword, name) = rest.split_once(' ')?;
    let keyword = KEYWORDS.iter().find(|known| **known == keyword)?;
    Some(Head { indentation, keyword, name: word(name), public })
}

/// The identifier, or the `$parameter` of a macro, that `text` begins with.
fn word(text: &str) -> String {
    let text = text.trim_start();
    text.chars().take_while(|character| character.is_alphanumeric() || "_$".contains(*character)).collect()
}

/// `text` without the `<…>` that it may begin with.
fn after_generics(text: &str) -> &str {
    if !text.starts_with('<') {
        return text.trim_start();
    }
    let mut open = 0;
    let mut before = ' ';
    for (at, character) in text.char_indices() {
        match character {
            '<' => open += 1,
            '>' if before != '-' => open -= 1,
            _ => {}
        }
        if open == 0 {
            return text[at + 1..].trim_start();
        }
        before = character;
    }
    text
}
