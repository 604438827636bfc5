//! What was set aside for one who never runs again, because its OS thread has ended.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use greenloop::channel::{Receiver, RecvTimeoutError, Sender, TrySendError, bounded, never};
use greenloop::queue::Queue;
use greenloop::select::Select;
use greenloop::sync::{Barrier, Condvar, Mutex, ReentrantLock, RwLock, Semaphore, TimedOut};
use greenloop::{select, sleep, spawn, wait_any};

use super::LIMIT;
use super::support::{end_with_one_parked, run_child, spawn_parked, within};

const SHORT: Duration = Duration::from_millis(5);

/// An OS thread on which one waits, and which ends, without having looked at its hub again, after `last` has run on it.
struct Ending {
    end: mpsc::Sender<()>,
    thread: thread::JoinHandle<()>,
}

impl Ending {
    fn begin(wait: impl FnOnce() + Send + 'static, last: impl FnOnce() + Send + 'static) -> Ending {
        let (parked, is_parked) = mpsc::channel();
        let (end, ends) = mpsc::channel();
        let thread = thread::spawn(move || {
            drop(spawn_parked(wait));
            parked.send(()).unwrap();
            ends.recv().unwrap();
            last();
        });
        is_parked.recv().unwrap();
        Ending { end, thread }
    }

    fn end(self) {
        self.end.send(()).unwrap();
        self.thread.join().unwrap();
    }
}

/// Something is set aside for one that is gone then: by its own OS thread or by another one, and with somebody in line behind it or
/// without, so that one who comes later is to `take` it.
fn passes_on<T: Send + Sync + 'static>(
    make: fn() -> T,
    wait: fn(&T),
    hand_over: fn(&T),
    take: fn(&T) -> bool,
) {
    within(LIMIT, move || {
        for (by_itself, is_awaited) in [(true, true), (true, false), (false, true), (false, false)] {
            let shared = Arc::new(make());
            let [first, second, last] = [0; 3].map(|_| shared.clone());
            let ending = Ending::begin(
                move || wait(&first),
                move || {
                    if by_itself {
                        hand_over(&last);
                    }
                },
            );
            let behind = is_awaited.then(|| spawn_parked(move || wait(&second)));
            if !by_itself {
                hand_over(&shared);
            }
            ending.end();
            match behind {
                Some(behind) => behind.join().unwrap(),
                None => assert!(take(&shared), "it is kept for one who is gone"),
            }
        }
    });
}

/// A lock, and an OS thread that holds it until it is told.
struct Held<L> {
    lock: Arc<L>,
    let_go: Arc<AtomicBool>,
    holder: std::sync::Mutex<Option<thread::JoinHandle<()>>>,
}

impl<L: Send + Sync + 'static> Held<L> {
    fn new(lock: L, hold: fn(&L, &dyn Fn())) -> Held<L> {
        let (lock, let_go) = (Arc::new(lock), Arc::new(AtomicBool::new(false)));
        let (held, is_held) = mpsc::channel();
        let (own, told) = (lock.clone(), let_go.clone());
        let holder = thread::spawn(move || {
            hold(&own, &|| {
                held.send(()).unwrap();
                while !told.load(SeqCst) {
                    thread::yield_now();
                }
            });
        });
        is_held.recv().unwrap();
        Held { lock, let_go, holder: std::sync::Mutex::new(Some(holder)) }
    }

    fn release(&self) {
        self.let_go.store(true, SeqCst);
        self.holder.lock().unwrap().take().unwrap().join().unwrap();
    }
}

#[test]
fn a_mutex() {
    passes_on(
        || {
            Held::new(Mutex::new(()), |mutex, hold| {
                let _guard = mutex.lock();
                hold();
            })
        },
        |held| drop(held.lock.lock()),
        Held::release,
        |held| held.lock.try_lock().is_ok() && held.lock.lock_timeout(LIMIT).is_ok(),
    );
}

#[test]
fn a_mutex_that_its_own_hub_handed_over() {
    within(LIMIT, || {
        let mutex = Arc::new(Mutex::new(()));
        let (own, waiter) = (mutex.clone(), mutex.clone());
        thread::spawn(move || {
            let guard = own.lock();
            drop(spawn_parked(move || drop(waiter.lock())));
            drop(guard);
        })
        .join()
        .unwrap();
        assert!(mutex.lock_timeout(LIMIT).is_ok());
    });
}

#[test]
fn a_mutex_that_one_holds_who_is_gone_stays_locked() {
    within(LIMIT, || {
        let mutex = Arc::new(Mutex::new(()));
        let guard = mutex.lock().unwrap();
        let waiter = mutex.clone();
        let other = thread::spawn(move || {
            let (locked, is_locked) = bounded(1);
            drop(spawn(move || {
                let _guard = waiter.lock();
                locked.send(()).unwrap();
                never::<()>().recv()
            }));
            is_locked.recv().unwrap();
        });
        drop(guard);
        other.join().unwrap();
        assert!(mutex.try_lock().is_err());
        assert!(mutex.lock_timeout(SHORT).is_err());
    });
}

#[test]
fn a_reentrant_lock() {
    passes_on(
        || {
            Held::new(ReentrantLock::new(()), |lock, hold| {
                let _guard = lock.lock();
                hold();
            })
        },
        |held| drop(held.lock.lock()),
        Held::release,
        |held| held.lock.try_lock().is_some(),
    );
}

#[test]
fn a_lock_to_write() {
    passes_on(
        || {
            Held::new(RwLock::new(()), |lock, hold| {
                let _guard = lock.write();
                hold();
            })
        },
        |held| drop(held.lock.write()),
        Held::release,
        |held| held.lock.try_read().is_ok() && held.lock.try_write().is_ok(),
    );
}

#[test]
fn a_lock_to_read() {
    passes_on(
        || {
            Held::new(RwLock::new(()), |lock, hold| {
                let _guard = lock.write();
                hold();
            })
        },
        |held| drop(held.lock.read()),
        Held::release,
        |held| held.lock.try_write().is_ok(),
    );
}

/// Nothing is set aside for it, but the one behind waits for nobody else.
#[test]
fn a_writer_who_is_gone_keeps_no_reader_out() {
    within(LIMIT, || {
        let lock = Arc::new(RwLock::new(()));
        let _reading = lock.read().unwrap();
        let writer = lock.clone();
        let ending = Ending::begin(move || drop(writer.write()), || ());
        let reader = lock.clone();
        let behind = spawn_parked(move || drop(reader.read()));
        ending.end();
        behind.join().unwrap();
        assert!(lock.try_read().is_ok());
    });
}

#[test]
fn a_permit() {
    passes_on(
        || Semaphore::new(0),
        |semaphore| semaphore.acquire().forget(),
        |semaphore| semaphore.release(1),
        |semaphore| {
            assert_eq!(format!("{semaphore:?}"), "Semaphore { permits: 1, waiting: 0 }");
            semaphore.try_acquire().is_some()
        },
    );
}

#[test]
fn a_permit_that_was_kept_for_one_who_was_overtaken() {
    passes_on(
        || Semaphore::new(0),
        |semaphore| semaphore.acquire().forget(),
        |semaphore| {
            semaphore.release(1);
            semaphore.try_acquire().unwrap().forget();
            semaphore.release(1);
        },
        |semaphore| semaphore.try_acquire().is_some(),
    );
}

#[test]
fn a_notification() {
    within(LIMIT, || {
        for by_itself in [true, false] {
            let pair = Arc::new((Mutex::new(()), Condvar::new()));
            let [first, second, last] = [0; 3].map(|_| pair.clone());
            let ending = Ending::begin(
                move || drop(first.1.wait(first.0.lock().unwrap())),
                move || {
                    if by_itself {
                        last.1.notify_one();
                    }
                },
            );
            let behind = spawn_parked(move || drop(second.1.wait(second.0.lock().unwrap())));
            if !by_itself {
                pair.1.notify_one();
            }
            ending.end();
            behind.join().unwrap();
        }
    });
}

type Channel = (Sender<u32>, Receiver<u32>);

fn receive((_, receiver): &Channel) {
    receiver.recv().unwrap();
}

fn choose_to_receive((_, receiver): &Channel) {
    select! { recv(receiver) -> value => assert_eq!(value, Ok(1)), recv(never::<()>()) -> _ => {} }
}

fn choose_to_send((sender, _): &Channel) {
    select! { send(sender, 1) -> sent => sent.unwrap(), recv(never::<()>()) -> _ => {} }
}

fn send((sender, _): &Channel) {
    sender.try_send(1).unwrap();
}

fn try_receive((_, receiver): &Channel) -> bool {
    receiver.len() == receiver.capacity().unwrap().min(1) && receiver.try_recv() == Ok(1)
}

#[test]
fn a_value() {
    passes_on(|| bounded(4), receive, send, try_receive);
}

#[test]
fn a_value_of_a_rendezvous() {
    passes_on(|| bounded(0), receive, send, try_receive);
}

#[test]
fn a_value_for_one_who_chooses() {
    passes_on(|| bounded(4), choose_to_receive, send, try_receive);
    passes_on(|| bounded(0), choose_to_receive, send, try_receive);
}

#[test]
fn room_for_one_who_chooses() {
    passes_on(
        || {
            let channel = bounded(1);
            send(&channel);
            channel
        },
        choose_to_send,
        receive,
        |(sender, receiver)| receiver.is_empty() && sender.try_send(2).is_ok(),
    );
}

#[test]
fn a_receiver_who_is_gone_meets_nobody() {
    within(LIMIT, || {
        let (sender, receiver) = bounded(0);
        end_with_one_parked(move || _ = receiver.recv());
        assert_eq!(sender.try_send(1), Err(TrySendError::Full(1)));
    });
}

/// It has chosen the receiver, and is gone before it has made the value.
#[test]
fn a_receiver_that_was_chosen_by_one_who_is_gone() {
    within(LIMIT, || {
        let (sender, receiver) = bounded::<u32>(0);
        for chooses in [false, true] {
            let waiter = receiver.clone();
            let receiving = spawn_parked(move || match chooses {
                false => waiter.recv().unwrap(),
                true => select! { recv(waiter) -> value => value.unwrap() },
            });
            let chooser = sender.clone();
            end_with_one_parked(move || {
                let mut select = Select::new();
                select.send(&chooser);
                let _chosen = select.select();
                sleep(LIMIT);
            });
            sender.send(7).unwrap();
            assert_eq!(receiving.join().unwrap(), 7);
        }
        let waiter = receiver.clone();
        let limited = spawn_parked(move || waiter.recv_timeout(SHORT));
        end_with_one_parked(move || {
            let mut select = Select::new();
            select.send(&sender);
            let _chosen = select.select();
            sleep(LIMIT);
        });
        assert_eq!(limited.join().unwrap(), Err(RecvTimeoutError::Timeout));
    });
}

#[test]
fn an_item() {
    passes_on(
        Queue::unbounded,
        |queue| queue.get().unwrap(),
        |queue| queue.put(()).unwrap(),
        |queue| queue.len() == 1 && queue.try_get().is_ok(),
    );
}

#[test]
fn room_for_an_item() {
    passes_on(
        || {
            let queue = Queue::bounded(1);
            queue.put(()).unwrap();
            queue
        },
        |queue| queue.put(()).unwrap(),
        |queue| queue.get().unwrap(),
        |queue| !queue.is_full() && queue.try_put(()).is_ok(),
    );
}

#[test]
fn who_only_watches_is_told() {
    within(LIMIT, || {
        let channel: Arc<Channel> = Arc::new(bounded(1));
        let (first, second) = (channel.clone(), channel.clone());
        let ending = Ending::begin(move || receive(&first), || ());
        let watching = spawn_parked(move || assert!(wait_any([&second.1]).is_some()));
        send(&channel);
        ending.end();
        watching.join().unwrap();
        assert_eq!(channel.1.try_recv(), Ok(1));
    });
}

#[test]
fn who_is_gone_has_not_arrived_at_a_barrier() {
    within(LIMIT, || {
        let barrier = Arc::new(Barrier::new(2));
        let waiter = barrier.clone();
        end_with_one_parked(move || assert!(waiter.wait().is_leader()));
        assert_eq!(barrier.wait_timeout(SHORT).unwrap_err(), TimedOut);
    });
}

/// Hubs that come and go share the place through which others reach them. None is taken for an earlier one, however many there were.
#[test]
fn nobody_is_taken_for_one_of_thousands_of_hubs_before() {
    let child = run_child(LIMIT, || {
        let mutex = Arc::new(Mutex::new(()));
        let guard = mutex.lock().unwrap();
        let waiter = mutex.clone();
        end_with_one_parked(move || drop(waiter.lock()));
        for _ in 1..1 << 12 {
            thread::spawn(greenloop::yield_now).join().unwrap();
        }
        // The hub of this number is there.
        let (there, is_there) = mpsc::channel();
        let (end, ends) = mpsc::channel::<()>();
        let other = thread::spawn(move || {
            greenloop::yield_now();
            there.send(()).unwrap();
            ends.recv().unwrap();
        });
        is_there.recv().unwrap();
        drop(guard);
        assert!(mutex.try_lock().is_ok(), "handed over to one who is gone");
        end.send(()).unwrap();
        other.join().unwrap();
    });
    let Some(child) = child else { return };
    assert!(child.status.success(), "{child:?}");
}
