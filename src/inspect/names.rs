//! What those are called of whom a recording tells.

use std::collections::HashMap;
use std::sync::Arc;

use super::codes;

/// The code of the main greenlet's place of spawn.
pub(super) const MAIN: u16 = u16::MAX - 1;

/// The names of those that have one, by their numbers.
#[derive(Default, Debug)]
pub(super) struct Names(HashMap<u64, Arc<str>>);

impl Names {
    pub(super) fn has(&self, id: u64) -> bool {
        self.0.contains_key(&id)
    }

    /// Who it is: its name, or its place of spawn.
    pub(super) fn of(&self, id: u64, place: u16) -> String {
        match (self.0.get(&id), codes::place(place)) {
            (Some(name), _) => name.to_string(),
            (None, Some(place)) => format!("{}:{}", place.file(), place.line()),
            (None, None) if place == MAIN => "main".to_owned(),
            (None, None) => "a greenlet".to_owned(),
        }
    }
}

impl From<HashMap<u64, Arc<str>>> for Names {
    fn from(names: HashMap<u64, Arc<str>>) -> Names {
        Names(names)
    }
}
