//! The committed counts, and how others compare with them.

use std::fs;

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/counts.txt");
const HEAD: &str = "\
# Instructions of one operation: callgrind's counts, written by `-- --write` (src/main.rs tells how). They depend on the
# compiler and a little on the C library.";
/// A growth beyond this part fails.
const TOLERANCE: f64 = 0.05;

pub(crate) struct Counts {
    pub(crate) compiler: String,
    /// Each path's name, and its instructions.
    pub(crate) of_paths: Vec<(String, f64)>,
}

impl Counts {
    pub(crate) fn read() -> Result<Counts, String> {
        let text = fs::read_to_string(FILE).map_err(|error| format!("{FILE}: {error}"))?;
        Counts::parse(&text).ok_or_else(|| format!("{FILE} is not what --write writes"))
    }

    fn parse(text: &str) -> Option<Counts> {
        let mut lines = text.lines().filter(|line| !line.starts_with('#'));
        let compiler = lines.next()?.to_owned();
        let of_path = |line: &str| {
            let (name, count) = line.split_once(' ')?;
            Some((name.to_owned(), count.trim().parse().ok()?))
        };
        Some(Counts { compiler, of_paths: lines.map(of_path).collect::<Option<_>>()? })
    }

    pub(crate) fn write(&self) -> Result<(), String> {
        let mut text = format!("{HEAD}\n{}\n", self.compiler);
        for (name, count) in &self.of_paths {
            text += &format!("{name:<16} {count:>8.1}\n");
        }
        fs::write(FILE, text).map_err(|error| format!("{FILE}: {error}"))
    }

    pub(crate) fn print(&self) {
        self.of_paths.iter().for_each(|(name, count)| println!("{name:<16} {count:>8.1}"));
    }

    /// Prints these beside the committed ones; the names of those that have grown too much, or are new.
    pub(crate) fn compare(&self, committed: &Counts) -> Vec<String> {
        println!("{:<16} {:>9} {:>8}", "instructions", "committed", "now");
        let mut grown = Vec::new();
        for (name, now) in &self.of_paths {
            let before = committed.of_paths.iter().find(|(other, _)| other == name).map(|&(_, count)| count);
            let growth = before.map_or(f64::INFINITY, |before| now / before - 1.0);
            let remark = match growth {
                growth if growth > TOLERANCE => ", too much",
                growth if growth < -TOLERANCE => ", to be kept by --write",
                _ => "",
            };
            println!(
                "{name:<16} {:>9.1} {now:>8.1} {:>+6.1} %{remark}",
                before.unwrap_or(f64::NAN),
                growth * 100.0
            );
            if growth > TOLERANCE {
                grown.push(name.clone());
            }
        }
        grown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(of_paths: &[(&str, f64)]) -> Counts {
        let of_paths = of_paths.iter().map(|&(name, count)| (name.to_owned(), count)).collect();
        Counts { compiler: "rustc 1".to_owned(), of_paths }
    }

    #[test]
    fn growth_beyond_a_twentieth_is_told() {
        let committed = counts(&[("one", 100.0), ("two", 200.0), ("three", 300.0)]);
        let now = counts(&[("one", 106.0), ("two", 209.9), ("three", 100.0), ("new", 1.0)]);
        assert_eq!(now.compare(&committed), ["one", "new"]);
        assert!(committed.compare(&committed).is_empty());
    }

    #[test]
    fn the_committed_counts_are_those_of_the_paths() {
        let committed = Counts::read().unwrap();
        let names: Vec<_> = committed.of_paths.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, crate::paths::PATHS.map(|path| path.name));
    }
}
