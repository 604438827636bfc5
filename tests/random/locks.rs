//! Operations on locks, conditions, events and results.

use std::sync::Arc;
use std::sync::PoisonError;
use std::sync::TryLockError;
use std::sync::atomic::{AtomicI64, Ordering::SeqCst};

use greenloop::sync::{Semaphore, SemaphorePermit, TryLockResult};

use super::account::{Answer, Bomb};
use super::program::{Patience, Step};
use super::run::{Frame, micros};
use super::tasks::Callback;
use super::verb::Verb;
use super::world::{Objects, PERMITS, World, locked};

/// As long as this lives, somebody holds a lock.
struct Holding<'a>(&'a AtomicI64);

impl<'a> Holding<'a> {
    /// # Faults
    ///
    /// If more than `most` would hold it.
    fn new(world: &World, held: &'a AtomicI64, most: i64, name: &str) -> Holding<'a> {
        if held.fetch_add(1, SeqCst) >= most {
            world.fault("held twice", name);
        }
        Holding(held)
    }
}

impl Drop for Holding<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

/// A guard, poisoned or not.
fn gained<G>(result: TryLockResult<G>) -> Option<G> {
    match result {
        Ok(guard) => Some(guard),
        Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    }
}

impl Frame<'_> {
    /// Whether it was one of these.
    pub(super) fn lock_step(&self, step: &Step, objects: &Arc<Objects>) -> bool {
        let (world, patience) = (self.world, self.patience(step));
        match step.verb {
            Verb::Lock => {
                let mutex = &objects.mutexes[step.object];
                let guard = gained(match patience {
                    Patience::Forever => mutex.lock.lock().map_err(TryLockError::from),
                    Patience::Never => mutex.lock.try_lock(),
                    Patience::Micros(time) => mutex.lock.lock_timeout(micros(time)),
                });
                if let Some(_guard) = guard {
                    let _holding = Holding::new(world, &mutex.held, 1, "a mutex");
                    self.run(&step.block);
                }
            }
            Verb::CondWait => self.wait_for_condition(step, objects),
            Verb::Notify => objects.conditions[step.object].notify_one(),
            Verb::NotifyAll => objects.conditions[step.object].notify_all(),
            Verb::Read => {
                let rwlock = &objects.rwlock;
                let guard = gained(match patience {
                    Patience::Forever => rwlock.lock.read().map_err(TryLockError::from),
                    Patience::Never => rwlock.lock.try_read(),
                    Patience::Micros(time) => rwlock.lock.read_timeout(micros(time)),
                });
                if let Some(_guard) = guard {
                    let _holding = Holding::new(world, &rwlock.held, 1 << 20, "a reader-writer lock");
                    self.run(&step.block);
                }
            }
            Verb::Write => {
                let rwlock = &objects.rwlock;
                let guard = gained(match patience {
                    Patience::Forever => rwlock.lock.write().map_err(TryLockError::from),
                    Patience::Never => rwlock.lock.try_write(),
                    Patience::Micros(time) => rwlock.lock.write_timeout(micros(time)),
                });
                if let Some(_guard) = guard {
                    let _holding = Holding::new(world, &rwlock.held, 1, "a reader-writer lock");
                    self.run(&step.block);
                }
            }
            Verb::Reenter => {
                let lock = &objects.reentrant;
                let guard = match patience {
                    Patience::Forever => Some(lock.lock.lock()),
                    Patience::Never => lock.lock.try_lock(),
                    Patience::Micros(time) => lock.lock.lock_timeout(micros(time)).ok(),
                };
                if let Some(_guard) = guard {
                    let _holding = Holding::new(world, &lock.held, 1 << 20, "a reentrant lock");
                    self.run(&step.block);
                }
            }
            Verb::Acquire => {
                let semaphore = &objects.semaphores[step.object];
                if let Some(_permit) = acquire(&semaphore.lock, patience) {
                    let most = PERMITS[step.object] as i64;
                    let _holding = Holding::new(world, &semaphore.held, most, "a semaphore");
                    self.run(&step.block);
                }
            }
            Verb::WaitPermit => match patience {
                Patience::Forever => objects.semaphores[step.object].lock.wait(),
                Patience::Never => {}
                Patience::Micros(time) => _ = objects.semaphores[step.object].lock.wait_timeout(micros(time)),
            },
            Verb::Once if !self.may_deadlock() => {}
            Verb::Once => objects.once.call_once_force(|_| self.run(&step.block)),
            Verb::Barrier => match patience {
                Patience::Forever => drop(objects.barrier.wait()),
                Patience::Never => {}
                Patience::Micros(time) => drop(objects.barrier.wait_timeout(micros(time))),
            },
            _ => return false,
        }
        true
    }

    fn wait_for_condition(&self, step: &Step, objects: &Arc<Objects>) {
        let (mutex, condition) = (&objects.mutexes[step.object], &objects.conditions[step.object]);
        let Some(guard) = gained(mutex.lock.lock_timeout(micros(1000))) else { return };
        let guard = match self.patience(step) {
            Patience::Forever => condition.wait(guard).unwrap_or_else(PoisonError::into_inner),
            Patience::Never => guard,
            Patience::Micros(time) => {
                condition.wait_timeout(guard, micros(time)).unwrap_or_else(PoisonError::into_inner).0
            }
        };
        // Before the guard, or another OS thread would hold it meanwhile.
        drop(Holding::new(self.world, &mutex.held, 1, "a mutex"));
        drop(guard);
    }

    /// Whether it was one of these.
    pub(super) fn event_step(&self, step: &Step, objects: &Arc<Objects>) -> bool {
        let patience = self.patience(step);
        match step.verb {
            Verb::Set => objects.events[step.object].set(),
            Verb::Clear => objects.events[step.object].clear(),
            Verb::WaitEvent => match patience {
                Patience::Forever => objects.events[step.object].wait(),
                Patience::Never => {}
                Patience::Micros(time) => drop(objects.events[step.object].wait_timeout(micros(time))),
            },
            Verb::Link | Verb::Rawlink => {
                let (event, callback) =
                    (&objects.events[step.object], Callback::new(self.world, &step.block));
                let link = match step.verb {
                    Verb::Link => event.link(move || callback.call_in_green_thread()),
                    _ => event.rawlink(move || callback.call()),
                };
                locked(&self.world.links).push(link);
            }
            Verb::Unlink => {
                // It may be another event's: then nothing is taken back, or a number of this one's.
                let link = locked(&self.world.links).pop();
                if let Some(link) = link {
                    objects.events[step.object].unlink(link);
                }
            }
            Verb::SetResult => {
                let answer = Answer { _bomb: Some(Bomb::new(self.world, &step.block)) };
                objects.results[step.object].set(Arc::new(answer));
            }
            Verb::GetResult => match patience {
                Patience::Forever => drop(objects.results[step.object].get()),
                Patience::Never => drop(objects.results[step.object].try_get()),
                Patience::Micros(time) => drop(objects.results[step.object].get_timeout(micros(time))),
            },
            Verb::RawlinkResult => {
                let callback = Callback::new(self.world, &step.block);
                objects.results[step.object].rawlink(move || callback.call());
            }
            _ => return false,
        }
        true
    }
}

fn acquire(semaphore: &Semaphore, patience: Patience) -> Option<SemaphorePermit<'_>> {
    match patience {
        Patience::Forever => Some(semaphore.acquire()),
        Patience::Never => semaphore.try_acquire(),
        Patience::Micros(time) => semaphore.acquire_timeout(micros(time)).ok(),
    }
}
