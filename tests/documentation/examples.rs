//! Every public function, method and macro has an example that asserts something. What a macro makes counts once, in the macro.

use super::source::{Item, items, library};

#[test]
fn every_function_has_an_example_that_asserts() {
    let without: Vec<String> = library()
        .iter()
        .filter(|item| is_function(item) && !asserts(item))
        .map(|item| format!("{}:{}: `{}` has no example that asserts", item.file, item.line, item.path()))
        .collect();
    assert!(without.is_empty(), "\n{}", without.join("\n"));
}

fn is_function(item: &Item) -> bool {
    matches!(item.keyword, "fn" | "macro_rules!")
}

/// Returns `true` if a code block of the item asserts something: by a macro such as `assert!`; in a function that a macro makes, by a
/// parameter of a name such as `$assertions`; or by not compiling, or panicking, on purpose.
fn asserts(item: &Item) -> bool {
    let mut language = None;
    for line in &item.documentation {
        if let Some(opened) = line.trim_start().strip_prefix("```") {
            language = match language {
                Some(_) => None,
                None => Some(opened.trim()),
            };
            if language.is_some_and(|language| {
                language.contains("compile_fail") || language.contains("should_panic")
            }) {
                return true;
            }
        } else if language.is_some_and(runs) && line.contains("assert") {
            return true;
        }
    }
    false
}

/// Returns `true` if rustdoc runs a code block that is marked so.
fn runs(language: &str) -> bool {
    language.split(',').all(|mark| matches!(mark.trim(), "" | "rust" | "edition2024"))
}

#[test]
fn an_example_counts_if_it_runs_and_asserts() {
    let page = |block: &str| {
        let text =
            format!("impl File {{\n    /// Reads.\n    ///\n{block}    pub fn read(&self) {{\n    }}\n}}\n");
        let items = items("src/fs/file.rs", &text);
        assert_eq!(items.iter().map(Item::path).collect::<Vec<_>>(), ["File::read"]);
        asserts(&items[0])
    };
    assert!(page("    /// ```\n    /// assert_eq!(1, 1);\n    /// ```\n"));
    assert!(page("    /// ```\n    #[doc = $assertions]\n    /// ```\n"));
    assert!(page("    /// ```compile_fail\n    /// std::thread::spawn(it);\n    /// ```\n"));
    assert!(page("    /// ```should_panic\n    /// it();\n    /// ```\n    #[doc(alias = \"recv\")]\n"));
    assert!(!page(""));
    assert!(!page("    /// Does not assert!\n"));
    assert!(!page("    /// ```\n    /// read();\n    /// ```\n    /// assert!\n"));
    assert!(!page("    /// ```no_run\n    /// assert!(read());\n    /// ```\n"));
    assert!(!page("    /// ```text\n    /// assert!(read());\n    /// ```\n"));
}

#[test]
fn what_is_public_counts() {
    let found = |text: &str| {
        items("src/x.rs", text).iter().filter(|item| is_function(item)).map(Item::path).collect::<Vec<_>>()
    };
    assert_eq!(found("pub fn a() {}\npub(crate) fn b() {}\nfn c() {}\n"), ["a"]);
    assert_eq!(
        found("impl<T: Fn() -> u8> A<T> {\n    pub const fn a() {\n    }\n}\npub unsafe fn b() {}\n"),
        ["A::a", "b"]
    );
    assert_eq!(found("pub trait T {\n    fn a(&self);\n}\ntrait U {\n    fn b(&self);\n}\n"), ["T::a"]);
    assert_eq!(found("impl T for A {\n    fn a(&self) {\n    }\n}\n"), [""; 0]);
    assert_eq!(found("#[doc(hidden)]\npub fn a() {}\n"), [""; 0]);
    assert_eq!(
        found("macro_rules! m {\n    ($a:ident) => {\n        pub fn $a() {\n        }\n    };\n}\n"),
        ["m!::$a"]
    );
    assert_eq!(found("#[macro_export]\nmacro_rules! m {\n    () => {};\n}\n"), ["m"]);
}
