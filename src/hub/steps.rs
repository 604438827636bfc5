//! Who ran lately in the world of a test, in order.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt::Write;
use std::time::Duration;

/// How many are kept.
const KEPT: usize = 200;

/// The last of them, and how many there have been.
#[derive(Default)]
pub(super) struct Steps(RefCell<(VecDeque<(String, Duration)>, usize)>);

impl Steps {
    /// This one runs from that time on.
    pub(super) fn note(&self, who: String, time: Duration) {
        let (kept, count) = &mut *self.0.borrow_mut();
        if kept.len() == KEPT {
            kept.pop_front();
        }
        kept.push_back((who, time));
        *count += 1;
    }

    /// Adds them to `text`, one in a line; of one that has several turns in a row, how many.
    pub(super) fn tell(&self, text: &mut String) {
        let (kept, count) = &*self.0.borrow();
        if kept.is_empty() {
            return;
        }
        let _ = match count - kept.len() {
            0 => write!(text, "\nThe turns, each with its time:"),
            _ => write!(text, "\nThe last {KEPT} of {count} turns, each with its time:"),
        };
        let (front, back) = kept.as_slices();
        let all: Vec<_> = front.iter().chain(back).collect();
        for same in all.chunk_by(|one, other| one == other) {
            let (who, time) = same[0];
            let _ = match same.len() {
                1 => write!(text, "\n  {time:?} {who}"),
                several => write!(text, "\n  {time:?} {who}, {several} times"),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_ones_are_told_in_order() {
        let (steps, mut text) = (Steps::default(), String::new());
        steps.tell(&mut text);
        assert_eq!(text, "");
        for (who, seconds) in [("main", 0), ("a", 0), ("a", 0), ("main", 1)] {
            steps.note(who.to_owned(), Duration::from_secs(seconds));
        }
        steps.tell(&mut text);
        assert_eq!(text, "\nThe turns, each with its time:\n  0ns main\n  0ns a, 2 times\n  1s main");
        (0..KEPT).for_each(|_| steps.note("b".to_owned(), Duration::ZERO));
        text.clear();
        steps.tell(&mut text);
        assert_eq!(text, "\nThe last 200 of 204 turns, each with its time:\n  0ns b, 200 times");
    }
}
