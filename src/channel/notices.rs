//! Whom a change concerns: collected under the channel's lock, and told without it.

use crate::hub::waiter::Notify;

/// Mostly it is one, which costs no allocation.
#[derive(Default)]
pub(super) struct Notices {
    first: Option<Notify>,
    rest: Vec<Notify>,
}

impl Notices {
    pub(super) fn push(&mut self, notice: Notify) {
        match self.first {
            None => self.first = Some(notice),
            Some(_) => self.rest.push(notice),
        }
    }

    /// Tells all, in the order in which they were pushed. Not under a lock: this may run user code.
    pub(super) fn give(self) {
        self.first.into_iter().chain(self.rest).for_each(Notify::notify);
    }
}

impl Extend<Notify> for Notices {
    fn extend<I: IntoIterator<Item = Notify>>(&mut self, notices: I) {
        notices.into_iter().for_each(|notice| self.push(notice));
    }
}
