//! The choices of a schedule and the seed of what else is random, as a line of text, by which it can be run again.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Script {
    /// That of the bytes that the world gives for random ones.
    pub(super) seed: u64,
    /// What was chosen at each turn where there was a choice: the place in the order of arrival. After the last it is 0.
    pub(super) places: Vec<u32>,
}

/// Which form it has.
const VERSION: &str = "1:";
/// What the seed begins with, unless it is 0.
const SEED: char = 'r';
/// What a number of zeros begins with.
const ZEROS: char = 'z';

impl Script {
    /// Without zeros at its end, which say nothing.
    pub(super) fn trimmed(mut self) -> Script {
        while self.places.last() == Some(&0) {
            self.places.pop();
        }
        self
    }

    /// Those without the choices in `part`: with the order of arrival in their place, and with what comes after them. None where that is
    /// no change.
    pub(super) fn without(&self, part: Range<usize>) -> Vec<Script> {
        let part = part.start..part.end.min(self.places.len());
        if self.places[part.clone()].iter().all(|&place| place == 0) {
            return Vec::new();
        }
        let mut zeros = self.clone();
        zeros.places[part.clone()].fill(0);
        let mut shorter = self.clone();
        shorter.places.drain(part);
        vec![zeros.trimmed(), shorter.trimmed()]
    }

    /// How many choices differ from the order of arrival.
    pub(super) fn deviations(&self) -> usize {
        self.places.iter().filter(|&&place| place != 0).count()
    }
}

/// Places between dots; `z` and a number stand for so many zeros.
impl fmt::Display for Script {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(VERSION)?;
        let mut dot = "";
        if self.seed != 0 {
            write!(formatter, "{SEED}{}", self.seed)?;
            dot = ".";
        }
        let parts = self.places.chunk_by(|one, next| *one == 0 && *next == 0);
        for part in parts {
            match part {
                [0, ..] => write!(formatter, "{dot}{ZEROS}{}", part.len())?,
                _ => write!(formatter, "{dot}{}", part[0])?,
            }
            dot = ".";
        }
        Ok(())
    }
}

impl FromStr for Script {
    type Err = String;

    fn from_str(text: &str) -> Result<Script, String> {
        let wrong = || format!("`{text}` is no schedule");
        let (mut seed, mut places) = (0, Vec::new());
        let parts = text.trim().strip_prefix(VERSION).ok_or_else(wrong)?;
        for part in parts.split('.').filter(|part| !part.is_empty()) {
            if let Some(number) = part.strip_prefix(SEED) {
                seed = number.parse().map_err(|_| wrong())?;
                continue;
            }
            match part.strip_prefix(ZEROS) {
                Some(zeros) => {
                    let count =
                        zeros.parse::<usize>().ok().filter(|&count| count < 1 << 24).ok_or_else(wrong)?;
                    places.resize(places.len() + count, 0);
                }
                None => places.push(part.parse().map_err(|_| wrong())?),
            }
        }
        Ok(Script { seed, places })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_is_read_as_it_is_written() {
        for (seed, places, text) in [
            (0, vec![], "1:"),
            (0, vec![3], "1:3"),
            (0, vec![0, 0, 0, 2, 1, 0, 7], "1:z3.2.1.z1.7"),
            (0, vec![2, 2, 2], "1:2.2.2"),
            (77, vec![], "1:r77"),
            (u64::MAX, vec![0, 5], "1:r18446744073709551615.z1.5"),
        ] {
            let script = Script { seed, places };
            assert_eq!(script.to_string(), text);
            assert_eq!(text.parse(), Ok(script));
        }
        for wrong in ["", "3.2", "2:3", "1:x", "1:z", "1:-1", "1:z99999999999", "1:r", "1:r-1"] {
            assert!(wrong.parse::<Script>().is_err(), "{wrong}");
        }
        let script = |places: &[u32]| Script { seed: 3, places: places.to_vec() };
        assert_eq!(script(&[0, 1, 0, 0]).trimmed(), script(&[0, 1]));
        assert_eq!(script(&[0, 1, 0, 2]).without(1..2), [script(&[0, 0, 0, 2]), script(&[0, 0, 2])]);
        assert_eq!(script(&[0, 1, 0, 2]).without(3..9), [script(&[0, 1]), script(&[0, 1])]);
        assert_eq!(script(&[0, 1]).without(0..1), []);
    }
}
