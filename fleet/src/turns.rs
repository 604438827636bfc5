//! Who has a connection next.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// What one at a time has. Most wait for each other before they wait for it, so that who may not wait long has at most two before it.
#[derive(Debug, Default)]
pub(crate) struct Turns<T> {
    value: Mutex<T>,
    /// Of who waits for the value next.
    next: Mutex<()>,
}

impl<T> Turns<T> {
    pub(crate) fn new(value: T) -> Turns<T> {
        Turns { value: Mutex::new(value), next: Mutex::default() }
    }

    /// After all who came before. What panicked with it leaves it to others: a transaction was rolled back, and a connection is away.
    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        let _next = lock(&self.next);
        lock(&self.value)
    }

    /// After who has it, and who is next.
    pub(crate) fn lock_soon(&self) -> MutexGuard<'_, T> {
        lock(&self.value)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::Turns;
    use clients::measure::patched;
    use std::sync::Arc;

    #[test]
    fn who_may_not_wait_long_comes_before_those_who_came_first() {
        patched(|| {
            let turns = Arc::new(Turns::new(Vec::new()));
            let held = turns.lock();
            let others: Vec<_> = (0..50)
                .map(|number| {
                    let turns = Arc::clone(&turns);
                    greenloop::spawn(move || {
                        let mut held = turns.lock();
                        held.push(number);
                        // As who waits for a server.
                        greenloop::yield_now();
                    })
                })
                .collect();
            greenloop::yield_now();
            let soon = {
                let turns = Arc::clone(&turns);
                greenloop::spawn(move || turns.lock_soon().push(100))
            };
            greenloop::yield_now();
            drop(held);
            others.into_iter().for_each(|other| other.join().unwrap());
            soon.join().unwrap();
            let order = turns.lock().clone();
            assert!(order.iter().position(|number| *number == 100) <= Some(1), "{order:?}");
            assert_eq!(order.len(), 51);
        });
    }
}
