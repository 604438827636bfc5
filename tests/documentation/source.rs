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
    pub(crate) keyword: String,
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

/// A block that items are in, by the indentation of its first line.
struct Block {
    indentation: usize,
    owner: String,
    /// Whether what is in it is public without saying so.
    public: bool,
    keyword: String,
}

/// The public items in one file.
pub(crate) fn items(file: &str, text: &str) -> Vec<Item> {
    let mut items = Vec::new();
    let mut blocks: Vec<Block> = Vec::new();
    let mut documentation = Vec::new();
    let mut aliases = Vec::new();
    let mut hidden = false;
    let mut exported = false;
    let mut lines = text.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        let trimmed = line.trim_start();
        let indentation = line.len() - trimmed.len();
        if trimmed.is_empty() || (trimmed.starts_with("//") && !trimmed.starts_with("///")) {
            continue;
        }
        if let Some(text) = trimmed.strip_prefix("///") {
            documentation.push(text.strip_prefix(' ').unwrap_or(text).to_owned());
            continue;
        }
        if trimmed.starts_with("#[") || trimmed.starts_with("$(#[") {
            let mut attribute = trimmed.to_owned();
            while attribute.matches(['[', '(']).count() > attribute.matches([']', ')']).count() {
                let Some((_, line)) = lines.next() else { break };
                attribute.push_str(line.trim());
            }
            if let Some(names) = attribute.strip_prefix("#[doc(alias") {
                aliases.extend(names.split('"').skip(1).step_by(2).map(str::to_owned));
            } else if attribute.starts_with("#[doc(hidden") {
                hidden = true;
            } else if attribute == "#[macro_export]" {
                exported = true;
            } else if attribute.starts_with("#[doc = ") || attribute.starts_with("$(#[") {
                documentation.push(attribute);
            }
            continue;
        }
        while blocks.last().is_some_and(|block| {
            block.indentation > indentation || (block.indentation == indentation && trimmed.starts_with('}'))
        }) {
            blocks.pop();
        }
        let item = item(trimmed, indentation, blocks.last(), exported);
        let opens = !trimmed.ends_with(['}', ';']);
        if let Some(Head { keyword, owner, name, public, is_item }) = item {
            if is_item && public && !hidden {
                items.push(Item {
                    file: file.to_owned(),
                    line: number + 1,
                    keyword: keyword.clone(),
                    owner: blocks.last().map(|block| block.owner.clone()).filter(|owner| !owner.is_empty()),
                    name,
                    documentation: std::mem::take(&mut documentation),
                    aliases: std::mem::take(&mut aliases),
                });
            }
            let has_items =
                matches!(&*keyword, "impl" | "impl for" | "trait" | "enum" | "mod" | "macro_rules!");
            if opens && has_items {
                blocks.push(Block { indentation, owner, public: public && !hidden, keyword });
            }
        }
        documentation.clear();
        aliases.clear();
        hidden = false;
        exported = false;
    }
    items
}

/// The first line of an item, taken apart.
struct Head {
    keyword: String,
    /// What owns the items in its block.
    owner: String,
    name: String,
    public: bool,
    is_item: bool,
}

fn item(line: &str, indentation: usize, block: Option<&Block>, exported: bool) -> Option<Head> {
    let inside = |keyword| {
        block.is_some_and(|block| {
            block.keyword == keyword && block.public && indentation == block.indentation + 4
        })
    };
    if let Some(name) = line.strip_prefix("macro_rules! ") {
        let name = word(name);
        let head = Head {
            owner: format!("{name}!"),
            name,
            keyword: "macro_rules!".to_owned(),
            public: exported,
            is_item: true,
        };
        return Some(head);
    }
    if line.starts_with("impl") && !line.starts_with("impl_") {
        let head = line.strip_prefix("unsafe ").unwrap_or(line).strip_prefix("impl")?;
        let head = after_generics(head);
        let subject = head.split_once(" for ").map_or(head, |(_, subject)| subject);
        let of_trait = head.contains(" for ");
        let owner = word(
            subject
                .rsplit_once("::")
                .filter(|(path, _)| !path.contains('<'))
                .map_or(subject, |(_, last)| last),
        );
        return Some(Head {
            keyword: if of_trait { "impl for" } else { "impl" }.to_owned(),
            owner,
            name: String::new(),
            public: false,
            is_item: false,
        });
    }
    if inside("enum") && line.starts_with(char::is_uppercase) {
        return Some(Head {
            keyword: "variant".to_owned(),
            owner: String::new(),
            name: word(line),
            public: true,
            is_item: true,
        });
    }
    let (public, mut rest) = match line.strip_prefix("pub ") {
        Some(rest) => (true, rest),
        None => (inside("trait"), line),
    };
    for qualifier in ["const ", "unsafe ", "async ", "extern \"C\" ", "extern \"C-unwind\" "] {
        if let Some(stripped) = rest.strip_prefix(qualifier)
            && (stripped.contains("fn ") || qualifier != "const ")
        {
            rest = stripped;
        }
    }
    let (keyword, name) = rest.split_once(' ')?;
    const KEYWORDS: &[&str] = &["fn", "struct", "enum", "trait", "type", "mod", "static", "const", "union"];
    if !KEYWORDS.contains(&keyword) {
        return None;
    }
    let name = word(name);
    let owner = if keyword == "mod" { String::new() } else { name.clone() };
    Some(Head { keyword: keyword.to_owned(), owner, name, public, is_item: true })
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
