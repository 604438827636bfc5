//! std's threads.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Condvar, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use greenloop::monkey::{Parts, patch};
use greenloop::threadpool::ThreadPool;
use greenloop::{sleep, yield_now};

use crate::support::within;
use crate::{LIMIT, os_thread, patch_threads, patched};

#[test]
fn a_thread_runs_on_its_maker_s_os_thread_and_returns_a_value() {
    patched(|| {
        let own = os_thread();
        let began = Arc::new(AtomicU32::new(0));
        let thread = thread::spawn({
            let began = began.clone();
            move || {
                began.fetch_add(1, Ordering::SeqCst);
                thread::sleep(Duration::from_millis(1));
                (os_thread(), "value".to_owned())
            }
        });
        assert_eq!(began.load(Ordering::SeqCst), 0, "it begins when its maker waits");
        assert!(!thread.is_finished());
        assert_eq!(thread.join().unwrap(), (own, "value".to_owned()));
        assert_eq!(began.load(Ordering::SeqCst), 1);
    });
}

#[test]
fn who_patches_has_a_hub() {
    let (own, threads) = within(LIMIT, || {
        patch(Parts::ALL | Parts::SPAWN);
        (os_thread(), [(); 2].map(|()| thread::spawn(os_thread)).map(|thread| thread.join().unwrap()))
    });
    assert_eq!(threads, [own; 2]);
}

#[test]
fn a_thread_of_an_os_thread_without_a_hub_is_an_os_thread() {
    patch_threads();
    let own = os_thread();
    assert_ne!(thread::spawn(os_thread).join().unwrap(), own);
}

#[test]
fn a_panic_is_an_error_of_the_join() {
    patched(|| {
        let thread = thread::spawn(|| -> u32 { panic!("as it was told") });
        let payload = thread.join().unwrap_err();
        assert_eq!(*payload.downcast::<&str>().unwrap(), "as it was told");
        assert!(!thread::panicking());
    });
}

#[test]
fn each_is_a_thread_of_its_own_to_std_with_its_name() {
    patched(|| {
        let own = thread::current().id();
        let mut ids = HashSet::from([own]);
        for name in ["short", "a name that is longer than the kernel's"] {
            let named = thread::Builder::new().name(name.to_owned()).stack_size(300 * 1024);
            let thread = named
                .spawn(|| {
                    yield_now();
                    let current = thread::current();
                    (current.id(), current.name().map(str::to_owned))
                })
                .unwrap();
            let handle = thread.thread().clone();
            assert_eq!(handle.name(), Some(name));
            assert_eq!(thread.join().unwrap(), (handle.id(), Some(name.to_owned())));
            assert!(ids.insert(handle.id()));
        }
        assert_eq!(thread::spawn(|| thread::current().name().map(str::to_owned)).join().unwrap(), None);
        assert_eq!(thread::current().id(), own);
    });
}

#[test]
fn a_stack_is_as_large_as_it_was_asked_for() {
    fn fill(bytes: usize) -> usize {
        let filled = [1_u8; 64 * 1024];
        let sum = std::hint::black_box(&filled).iter().map(|&byte| usize::from(byte)).sum();
        if bytes > filled.len() { sum + fill(bytes - filled.len()) } else { sum }
    }
    patched(|| {
        const MIB: usize = 1024 * 1024;
        // std's own is 2 MiB.
        assert!(thread::spawn(|| fill(3 * MIB / 2)).join().unwrap() >= 3 * MIB / 2);
        let deep = thread::Builder::new().stack_size(16 * MIB).spawn(|| fill(14 * MIB)).unwrap();
        assert!(deep.join().unwrap() >= 14 * MIB);
        let impossible = thread::Builder::new().stack_size(1 << 40).spawn(|| ());
        assert_eq!(impossible.unwrap_err().raw_os_error(), Some(libc::EAGAIN));
    });
}

#[test]
fn park_and_unpark() {
    patched(|| {
        let parked = thread::spawn(|| {
            thread::park();
            "unparked"
        });
        let late = thread::spawn(|| thread::park_timeout(Duration::from_millis(1)));
        yield_now();
        assert!(!parked.is_finished());
        parked.thread().unpark();
        assert_eq!(parked.join().unwrap(), "unparked");
        late.join().unwrap();
    });
}

#[test]
fn scoped_threads_borrow() {
    patched(|| {
        let mut numbers = vec![1, 2, 3];
        let mut sum = 0;
        let own = os_thread();
        thread::scope(|scope| {
            let doubling = scope.spawn(|| {
                for number in &mut numbers {
                    thread::sleep(Duration::from_millis(1));
                    *number *= 2;
                }
                assert_eq!(os_thread(), own);
                "doubled"
            });
            scope.spawn(|| {
                sleep(Duration::from_millis(1));
                sum += 7;
            });
            assert_eq!(doubling.join().unwrap(), "doubled");
        });
        // The scope has waited for the other one.
        assert_eq!((numbers, sum), (vec![2, 4, 6], 7));
        let panicked = std::panic::catch_unwind(|| {
            thread::scope(|scope| {
                scope.spawn(|| panic!("nobody joins this"));
            });
        });
        assert_eq!(*panicked.unwrap_err().downcast::<&str>().unwrap(), "a scoped thread panicked");
    });
}

#[test]
fn thread_locals_are_its_own_and_their_destructors_may_wait() {
    struct Waits(Arc<AtomicUsize>);
    impl Drop for Waits {
        fn drop(&mut self) {
            thread::sleep(Duration::from_millis(2));
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    thread_local! {
        static COUNT: Cell<u32> = const { Cell::new(5) };
        static WAITS: RefCell<Option<Waits>> = const { RefCell::new(None) };
    }
    patched(|| {
        COUNT.set(6);
        let dropped = Arc::new(AtomicUsize::new(0));
        for _ in 0..3 {
            let threads: Vec<_> = (0..20)
                .map(|number| {
                    let waits = Waits(dropped.clone());
                    thread::spawn(move || {
                        assert_eq!(COUNT.replace(number), 5);
                        WAITS.set(Some(waits));
                        yield_now();
                        COUNT.get()
                    })
                })
                .collect();
            let counts: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
            assert_eq!(counts, (0..20).collect::<Vec<_>>());
        }
        // A join waits for the destructors too, as for an OS thread's.
        assert_eq!(dropped.load(Ordering::SeqCst), 60);
        assert_eq!(COUNT.get(), 6);
    });
}

#[test]
fn locks_channels_and_conditions_between_them() {
    patched(|| {
        let (sender, receiver) = mpsc::channel();
        let total = Arc::new((Mutex::new(0), Condvar::new()));
        let barrier = Arc::new(Barrier::new(4));
        let workers: Vec<_> = (0..4)
            .map(|number| {
                let (sender, total, barrier) = (sender.clone(), total.clone(), barrier.clone());
                thread::spawn(move || {
                    barrier.wait();
                    let mut sum = total.0.lock().unwrap();
                    thread::sleep(Duration::from_millis(1));
                    *sum += number;
                    total.1.notify_all();
                    drop(sum);
                    sender.send(number).unwrap();
                })
            })
            .collect();
        drop(sender);
        let mut received: Vec<u32> = receiver.iter().collect();
        received.sort_unstable();
        assert_eq!(received, [0, 1, 2, 3]);
        let sum = total.1.wait_while(total.0.lock().unwrap(), |sum| *sum < 6).unwrap();
        assert_eq!(*sum, 6);
        drop(sum);
        workers.into_iter().for_each(|worker| worker.join().unwrap());
    });
}

#[test]
fn a_thread_makes_threads() {
    fn tree(depth: u32) -> u32 {
        if depth == 0 {
            return 1;
        }
        let branches = [(); 2].map(|()| thread::spawn(move || tree(depth - 1)));
        branches.into_iter().map(|branch| branch.join().unwrap()).sum()
    }
    patched(|| assert_eq!(tree(8), 256));
}

#[test]
fn a_server_with_a_thread_for_each_connection() {
    patched(|| {
        const CLIENTS: usize = 50;
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let own = os_thread();
        let most = Arc::new(AtomicUsize::new(0));
        let accepting = thread::spawn({
            let most = most.clone();
            move || {
                let at_once = Arc::new(AtomicUsize::new(0));
                for connection in listener.incoming().take(CLIENTS) {
                    let (mut connection, at_once, most) =
                        (connection.unwrap(), at_once.clone(), most.clone());
                    // Detached: nobody joins it.
                    thread::spawn(move || {
                        most.fetch_max(at_once.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                        let mut text = [0; 4];
                        connection.read_exact(&mut text).unwrap();
                        connection.write_all(&text).unwrap();
                        at_once.fetch_sub(1, Ordering::SeqCst);
                        assert_eq!(os_thread(), own);
                    });
                }
            }
        });
        let clients: Vec<_> = (0..CLIENTS).map(|_| TcpStream::connect(address).unwrap()).collect();
        accepting.join().unwrap();
        for mut client in clients {
            client.write_all(b"echo").unwrap();
            let mut answer = String::new();
            client.read_to_string(&mut answer).unwrap();
            assert_eq!(answer, "echo");
        }
        assert_eq!(most.load(Ordering::SeqCst), CLIENTS);
    });
}

/// As tiny_http counts on it, which makes no thread for a connection while another one waits for it. Before std lets one begin it takes a
/// lock of the process, for which it may have to wait while other tests make threads: so most have.
#[test]
fn threads_that_are_given_a_connection_have_begun_before_the_next_comes() {
    patched(|| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let clients = [(); 20].map(|()| TcpStream::connect(address).unwrap());
        let begun = Arc::new(AtomicUsize::new(0));
        let mut in_time = 0;
        for made in 0..clients.len() {
            let (connection, _) = listener.accept().unwrap();
            in_time += usize::from(begun.load(Ordering::SeqCst) == made);
            let begun = begun.clone();
            thread::spawn(move || {
                begun.fetch_add(1, Ordering::SeqCst);
                let _ = (&connection).read(&mut [0]);
            });
        }
        assert!(in_time > clients.len() / 2, "{in_time} in time");
    });
}

#[test]
fn other_os_threads_wait_for_one_and_wake_it() {
    static POOL: ThreadPool = ThreadPool::new(1);
    patched(|| {
        let (sender, receiver) = mpsc::channel::<u32>();
        let thread = thread::spawn(move || receiver.iter().sum::<u32>());
        // An OS thread without a hub.
        let joins = POOL.spawn(move || {
            let parked = thread::spawn(thread::park);
            assert!((0..4).all(|number| sender.send(number).is_ok()));
            drop(sender);
            parked.thread().unpark();
            parked.join().unwrap();
            thread.join().unwrap()
        });
        assert_eq!(joins.join().unwrap(), 6);
    });
}

#[test]
fn thousands_come_and_go() {
    patched(|| {
        let count = Arc::new(AtomicUsize::new(0));
        for _ in 0..5 {
            let threads: Vec<_> = (0..1000)
                .map(|_| {
                    let count = count.clone();
                    thread::spawn(move || {
                        thread::yield_now();
                        count.fetch_add(1, Ordering::Relaxed);
                    })
                })
                .collect();
            threads.into_iter().for_each(|thread| thread.join().unwrap());
        }
        assert_eq!(count.load(Ordering::Relaxed), 5000);
    });
}
