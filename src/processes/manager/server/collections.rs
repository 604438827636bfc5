//! A dict, a list, and one value.

use std::any::Any;
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use super::super::message::{Parcel, Reply, verb};
use super::client::{Answer, Call, Object, unknown};
use crate::error::ManagerError;

/// In order of insertion, as Python's.
#[derive(Default)]
pub(super) struct Dict {
    entries: RefCell<Entries>,
}

#[derive(Default)]
struct Entries {
    places: HashMap<Rc<[u8]>, u64>,
    in_order: BTreeMap<u64, (Parcel, Parcel)>,
    next: u64,
}

impl Entries {
    fn get(&self, key: &Parcel) -> Option<&Parcel> {
        let place = self.places.get(&key.bytes)?;
        self.in_order.get(place).map(|(_, value)| value)
    }

    fn insert(&mut self, key: Parcel, value: Parcel) -> Option<Parcel> {
        if let Some(entry) = self.places.get(&key.bytes).and_then(|place| self.in_order.get_mut(place)) {
            return Some(std::mem::replace(&mut entry.1, value));
        }
        self.places.insert(key.bytes.clone(), self.next);
        self.in_order.insert(self.next, (key, value));
        self.next += 1;
        None
    }

    fn remove(&mut self, key: &Parcel) -> Option<Parcel> {
        let place = self.places.remove(&key.bytes)?;
        self.in_order.remove(&place).map(|(_, value)| value)
    }
}

impl Object for Dict {
    fn call(self: Rc<Self>, mut call: Call<'_, '_>) -> Result<Answer, ManagerError> {
        if matches!(call.verb, verb::LENGTH | verb::CLEAR | verb::KEYS | verb::ALL) {
            call.arguments::<()>()?;
        }
        let mut entries = self.entries.borrow_mut();
        let reply = match call.verb {
            verb::INSERT => {
                let (key, value) = call.arguments()?;
                Reply::Maybe(entries.insert(key, value))
            }
            verb::GET => Reply::Maybe(entries.get(&call.arguments()?).cloned()),
            verb::READ => Reply::Stamped(entries.get(&call.arguments()?).cloned()),
            verb::REMOVE => Reply::Maybe(entries.remove(&call.arguments()?)),
            verb::DEFAULT => {
                let (key, value) = call.arguments::<(Parcel, Parcel)>()?;
                let there = entries.get(&key).cloned();
                Reply::One(there.unwrap_or_else(|| {
                    entries.insert(key, value.clone());
                    value
                }))
            }
            verb::EXCHANGE => {
                let (key, before, after): (Parcel, Option<u64>, Option<Parcel>) = call.arguments()?;
                let is_so = entries.get(&key).map(|value| value.stamp) == before;
                if is_so {
                    match after {
                        Some(value) => drop(entries.insert(key, value)),
                        None => drop(entries.remove(&key)),
                    }
                }
                Reply::Flag(is_so)
            }
            verb::EXTEND => {
                for (key, value) in call.arguments::<Vec<(Parcel, Parcel)>>()? {
                    entries.insert(key, value);
                }
                Reply::Done
            }
            verb::LENGTH => Reply::Number(entries.in_order.len() as u64),
            verb::CLEAR => {
                *entries = Entries::default();
                Reply::Done
            }
            verb::KEYS => {
                return Ok(Answer::All(entries.in_order.values().map(|(key, _)| key.clone()).collect()));
            }
            verb::ALL => {
                let both = entries.in_order.values().flat_map(|(key, value)| [key.clone(), value.clone()]);
                return Ok(Answer::All(both.collect()));
            }
            _ => return Err(unknown()),
        };
        Ok(Answer::Now(reply))
    }

    fn into_any(self: Rc<Self>) -> Rc<dyn Any> {
        self
    }
}

/// Also an array, whose length stays.
pub(super) struct List {
    items: RefCell<Vec<Parcel>>,
    is_fixed: bool,
}

impl List {
    pub(super) fn new(items: Vec<Parcel>, is_fixed: bool) -> List {
        List { items: RefCell::new(items), is_fixed }
    }
}

impl Object for List {
    fn call(self: Rc<Self>, mut call: Call<'_, '_>) -> Result<Answer, ManagerError> {
        if matches!(call.verb, verb::LENGTH | verb::CLEAR | verb::POP | verb::REVERSE) {
            call.arguments::<()>()?;
        }
        let mut items = self.items.borrow_mut();
        let length = items.len();
        let within = |index: usize, end: usize| match index < end {
            true => Ok(index),
            false => Err(ManagerError::OutOfRange { index, length }),
        };
        let reply = match call.verb {
            verb::GET => Reply::Maybe(items.get(call.arguments::<usize>()?).cloned()),
            verb::READ => Reply::Stamped(items.get(call.arguments::<usize>()?).cloned()),
            verb::SET => {
                let (index, item) = call.arguments::<(usize, Parcel)>()?;
                Reply::One(std::mem::replace(&mut items[within(index, length)?], item))
            }
            verb::EXCHANGE => {
                let (index, before, after) = call.arguments::<(usize, u64, Parcel)>()?;
                let item = &mut items[within(index, length)?];
                let is_so = item.stamp == before;
                if is_so {
                    *item = after;
                }
                Reply::Flag(is_so)
            }
            verb::LENGTH => Reply::Number(length as u64),
            verb::POSITION => {
                let sought: Parcel = call.arguments()?;
                let place = items.iter().position(|item| item.bytes == sought.bytes);
                Reply::Number(place.map_or(u64::MAX, |place| place as u64))
            }
            verb::ALL => {
                let (from, to) = call.arguments::<(usize, usize)>()?;
                let to = to.min(length);
                return Ok(Answer::All(items[from.min(to)..to].to_vec()));
            }
            verb::REVERSE => {
                items.reverse();
                Reply::Done
            }
            _ if self.is_fixed => return Err(unknown()),
            verb::PUSH => {
                items.push(call.arguments()?);
                Reply::Done
            }
            verb::POP => Reply::Maybe(items.pop()),
            verb::INSERT => {
                let (index, item) = call.arguments::<(usize, Parcel)>()?;
                items.insert(within(index, length + 1)?, item);
                Reply::Done
            }
            verb::REMOVE => {
                let index = call.arguments()?;
                Reply::One(items.remove(within(index, length)?))
            }
            verb::EXTEND => {
                items.extend(call.arguments::<Vec<Parcel>>()?);
                Reply::Done
            }
            verb::CLEAR => {
                items.clear();
                Reply::Done
            }
            _ => return Err(unknown()),
        };
        Ok(Answer::Now(reply))
    }

    fn into_any(self: Rc<Self>) -> Rc<dyn Any> {
        self
    }
}

/// One value.
pub(super) struct Value {
    value: RefCell<Parcel>,
}

impl Value {
    pub(super) fn new(value: Parcel) -> Value {
        Value { value: RefCell::new(value) }
    }
}

impl Object for Value {
    fn call(self: Rc<Self>, mut call: Call<'_, '_>) -> Result<Answer, ManagerError> {
        let mut value = self.value.borrow_mut();
        let reply = match call.verb {
            verb::GET => {
                call.arguments::<()>()?;
                Reply::One(value.clone())
            }
            verb::READ => {
                call.arguments::<()>()?;
                Reply::Stamped(Some(value.clone()))
            }
            verb::SET => Reply::One(std::mem::replace(&mut value, call.arguments()?)),
            verb::EXCHANGE => {
                let (before, after) = call.arguments::<(u64, Parcel)>()?;
                let is_so = value.stamp == before;
                if is_so {
                    *value = after;
                }
                Reply::Flag(is_so)
            }
            _ => return Err(unknown()),
        };
        Ok(Answer::Now(reply))
    }

    fn into_any(self: Rc<Self>) -> Rc<dyn Any> {
        self
    }
}
