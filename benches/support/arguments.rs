//! The command line of a bench program: `<program> <measure> [--option value]…`.

use std::collections::HashMap;
use std::str::FromStr;

/// One measure and its options. Options that nobody asks for are ignored, such as the `--bench` that cargo adds.
pub(crate) struct Arguments {
    pub(crate) measure: String,
    options: HashMap<String, String>,
}

impl Arguments {
    pub(crate) fn parse() -> Arguments {
        Arguments::from(std::env::args().skip(1))
    }

    /// The same of words from elsewhere.
    pub(crate) fn from(arguments: impl Iterator<Item = String>) -> Arguments {
        let mut arguments = arguments.peekable();
        let measure = arguments.next_if(|first| !first.starts_with("--")).unwrap_or_default();
        let mut options = HashMap::new();
        while let Some(key) = arguments.next() {
            let value = arguments.next_if(|next| !next.starts_with("--")).unwrap_or_else(|| "1".into());
            options.insert(key.trim_start_matches("--").to_owned(), value);
        }
        Arguments { measure, options }
    }

    pub(crate) fn has(&self, key: &str) -> bool {
        self.options.contains_key(key)
    }

    pub(crate) fn get<T: FromStr>(&self, key: &str, default: T) -> T {
        let Some(value) = self.options.get(key) else { return default };
        value.replace('_', "").parse().unwrap_or_else(|_| {
            eprintln!("bad value for --{key}: {value}");
            std::process::exit(64)
        })
    }

    pub(crate) fn port(&self) -> u16 {
        self.get("port", 0)
    }
}
