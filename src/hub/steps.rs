//! Who ran lately in the world of a test, in order.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt::{self, Write};
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use crate::fiber::Describe;

/// How many are kept.
const KEPT: usize = 200;

/// The last of them, and how many there have been.
#[derive(Default)]
pub(super) struct Steps(RefCell<(VecDeque<(Who, Duration)>, usize)>);

/// Who ran.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Who {
    is_main: bool,
    id: Option<u64>,
    name: Option<Arc<str>>,
    spawned_at: Option<&'static Location<'static>>,
}

impl Who {
    pub(super) fn of(description: Option<&dyn Describe>, is_main: bool) -> Who {
        Who {
            is_main,
            id: description.and_then(Describe::id),
            name: description.and_then(|description| description.name().cloned()),
            spawned_at: description.map(Describe::spawned_at),
        }
    }
}

impl fmt::Display for Who {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.is_main, self.id, self.spawned_at) {
            (true, ..) => formatter.write_str("main"),
            (_, Some(id), Some(place)) => {
                let name = self.name.as_deref().unwrap_or("<unnamed>");
                write!(formatter, "green thread '{name}' ({id}), spawned at {place}")
            }
            _ => formatter.write_str("a greenlet"),
        }
    }
}

impl Steps {
    /// This one runs from that time on.
    pub(super) fn note(&self, who: Who, time: Duration) {
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
        let (main, other) = (Who::of(None, true), Who::of(None, false));
        for (who, seconds) in [(&main, 0), (&other, 0), (&other, 0), (&main, 1)] {
            steps.note(who.clone(), Duration::from_secs(seconds));
        }
        steps.tell(&mut text);
        assert_eq!(
            text,
            "\nThe turns, each with its time:\n  0ns main\n  0ns a greenlet, 2 times\n  1s main"
        );
        (0..KEPT).for_each(|_| steps.note(other.clone(), Duration::ZERO));
        text.clear();
        steps.tell(&mut text);
        assert_eq!(text, "\nThe last 200 of 204 turns, each with its time:\n  0ns a greenlet, 200 times");
    }
}
