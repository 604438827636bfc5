//! The choices of a schedule as a line of text, by which it can be run again.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

/// What was chosen at each turn where there was a choice: the place in the order of arrival. After the last it is 0.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Script(pub(super) Vec<u32>);

/// Which form it has.
const VERSION: &str = "1:";

impl Script {
    /// Without zeros at its end, which say nothing.
    pub(super) fn trimmed(mut self) -> Script {
        while self.0.last() == Some(&0) {
            self.0.pop();
        }
        self
    }

    /// Those without the choices in `part`: with the order of arrival in their place, and with what comes after them. None where that is
    /// no change.
    pub(super) fn without(&self, part: Range<usize>) -> Vec<Script> {
        let part = part.start..part.end.min(self.0.len());
        if self.0[part.clone()].iter().all(|&place| place == 0) {
            return Vec::new();
        }
        let mut zeros = self.clone();
        zeros.0[part.clone()].fill(0);
        let mut shorter = self.clone();
        shorter.0.drain(part);
        vec![zeros.trimmed(), shorter.trimmed()]
    }

    /// How many choices differ from the order of arrival.
    pub(super) fn deviations(&self) -> usize {
        self.0.iter().filter(|&&place| place != 0).count()
    }
}

/// Places between dots; `z` and a number stand for so many zeros.
impl fmt::Display for Script {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(VERSION)?;
        let parts = self.0.chunk_by(|one, next| *one == 0 && *next == 0);
        for (index, part) in parts.enumerate() {
            let dot = if index == 0 { "" } else { "." };
            match part {
                [0, ..] => write!(formatter, "{dot}z{}", part.len())?,
                _ => write!(formatter, "{dot}{}", part[0])?,
            }
        }
        Ok(())
    }
}

impl FromStr for Script {
    type Err = String;

    fn from_str(text: &str) -> Result<Script, String> {
        let wrong = || format!("`{text}` is no schedule");
        let mut places = Vec::new();
        let parts = text.trim().strip_prefix(VERSION).ok_or_else(wrong)?;
        for part in parts.split('.').filter(|part| !part.is_empty()) {
            match part.strip_prefix('z') {
                Some(zeros) => {
                    let count =
                        zeros.parse::<usize>().ok().filter(|&count| count < 1 << 24).ok_or_else(wrong)?;
                    places.resize(places.len() + count, 0);
                }
                None => places.push(part.parse().map_err(|_| wrong())?),
            }
        }
        Ok(Script(places))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_is_read_as_it_is_written() {
        for (places, text) in [
            (vec![], "1:"),
            (vec![3], "1:3"),
            (vec![0, 0, 0, 2, 1, 0, 7], "1:z3.2.1.z1.7"),
            (vec![2, 2, 2], "1:2.2.2"),
        ] {
            let script = Script(places);
            assert_eq!(script.to_string(), text);
            assert_eq!(text.parse(), Ok(script));
        }
        for wrong in ["", "3.2", "2:3", "1:x", "1:z", "1:-1", "1:z99999999999"] {
            assert!(wrong.parse::<Script>().is_err(), "{wrong}");
        }
        assert_eq!(Script(vec![0, 1, 0, 0]).trimmed(), Script(vec![0, 1]));
        assert_eq!(Script(vec![0, 1, 0, 2]).without(1..2), [Script(vec![0, 0, 0, 2]), Script(vec![0, 0, 2])]);
        assert_eq!(Script(vec![0, 1, 0, 2]).without(3..9), [Script(vec![0, 1]), Script(vec![0, 1])]);
        assert_eq!(Script(vec![0, 1]).without(0..1), []);
    }
}
