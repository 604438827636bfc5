//! How many of the things that are kept for the next use are of no use: those that nobody has taken for a while, beyond some.

use std::time::Duration;

use super::clock::Time;

/// For so long must things have been of no use.
pub(crate) const PERIOD: Duration = Duration::from_secs(1);

/// What is known of things that are kept, of which some may be given up at a time.
#[derive(Debug)]
pub(crate) struct Surplus {
    /// How many are kept for good.
    kept: usize,
    /// How many are given up at a time.
    at_once: usize,
    there: usize,
    /// How few there have been in this period.
    least: usize,
    /// How many were of no use in the last one, and are above what is kept.
    useless: usize,
    /// When this period ends; `None` while there are no more than are kept.
    period_end: Option<Time>,
}

impl Surplus {
    pub(crate) const fn new(kept: usize, at_once: usize) -> Surplus {
        Surplus { kept, at_once, there: 0, least: 0, useless: 0, period_end: None }
    }

    /// One more is there.
    #[inline]
    pub(crate) fn put(&mut self) {
        self.there += 1;
    }

    /// One was taken.
    #[inline]
    pub(crate) fn taken(&mut self) {
        self.there -= 1;
        self.least = self.least.min(self.there);
    }

    /// Whether there are more than are kept, enough for giving some up.
    #[inline]
    pub(crate) fn is_crowded(&self) -> bool {
        self.there >= self.kept + self.at_once
    }

    /// How long until some may be given up that were of no use for a period; zero if they may now, and are to be taken. For what is
    /// crowded.
    pub(crate) fn until_some(&mut self, now: Time) -> Duration {
        if self.useless < self.at_once {
            match self.period_end {
                Some(end) if now < end => return now.until(end),
                Some(_) => self.useless = self.least.saturating_sub(self.kept),
                None => {}
            }
            self.least = self.there;
            self.period_end = Some(now.plus(PERIOD));
            if self.useless < self.at_once {
                return PERIOD;
            }
        }
        self.useless -= self.at_once;
        Duration::ZERO
    }

    /// It is not crowded any more.
    pub(crate) fn settle(&mut self) {
        (self.useless, self.period_end) = (0, None);
    }
}
