//! Memory that comes back: however often something is begun and given up, the heap, the mappings, the descriptors and the OS threads
//! of the process are what they were.
#![expect(unsafe_code, reason = "an allocator that counts")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::{Cell, RefCell};
use std::fs;
use std::io::{Read, Write};
use std::panic::catch_unwind;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use greenloop::channel::{bounded, never, unbounded};
use greenloop::error::SwitchError;
use greenloop::event::{AsyncResult, Event};
use greenloop::greenlet::{Generator, Greenlet, current, main};
use greenloop::io::Interest;
use greenloop::net::{TcpListener, TcpStream};
use greenloop::pool::{Group, Pool};
use greenloop::queue::Queue;
use greenloop::select::Selector;
use greenloop::sync::{Condvar, Mutex, RwLock, Semaphore};
use greenloop::threadpool::{ThreadPool, unblock};
use greenloop::{
    Builder, GreenletExit, Interval, block_on, greenlet_local, idle, iwait, joinall, scope, select, sleep,
    spawn, spawn_later, wait_timeout, with_timeout, yield_now,
};

use super::LIMIT;
use super::support::{open_files, run_child, within};

/// The system's allocator, and how many bytes it has given out.
struct Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);

// SAFETY: the system's allocator keeps the contract; the counting beside it does not allocate.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE.fetch_add(layout.size(), Relaxed);
        // SAFETY: as promised by the caller.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Relaxed);
        // SAFETY: as promised by the caller.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Longer than any test lasts.
const LONG: Duration = Duration::from_secs(3600);
const MILLION: usize = 1_000_000;
/// What the heap may vary by: less than a word a round, where there are ten thousand.
const SLACK: usize = 32 * 1024;

fn mappings() -> usize {
    fs::read_to_string("/proc/self/maps").unwrap().lines().count()
}

fn os_threads() -> usize {
    fs::read_dir("/proc/self/task").unwrap().count()
}

/// In a process of its own, since the count is one for all.
fn assert_flat(rounds: usize, mut round: impl FnMut()) {
    // Queues, pools and tables get their size.
    (0..rounds / 10 + 10).for_each(|_| round());
    // The hub opens what it sleeps with.
    sleep(Duration::from_millis(1));
    idle();
    let (heap, maps, files, threads) = (LIVE.load(Relaxed), mappings(), open_files(), os_threads());
    (0..rounds).for_each(|_| round());
    // Who was told to end may still be about it.
    while os_threads() > threads {
        yield_now();
    }
    idle();
    let grown = LIVE.load(Relaxed).saturating_sub(heap);
    assert!(grown < SLACK, "{grown} bytes more after {rounds} rounds");
    // The allocator maps arenas and stacks for OS threads.
    let mapped = mappings().saturating_sub(maps);
    assert!(mapped < 100, "{mapped} mappings more after {rounds} rounds");
    assert_eq!(open_files(), files);
}

/// Tests, each of which does its body so many times.
macro_rules! flat {
    ($($(#[$attribute:meta])* fn $name:ident() { $rounds:expr; $round:expr })*) => {
        $($(#[$attribute])* #[test]
        fn $name() {
            let Some(child) = run_child(LIMIT, || assert_flat($rounds, $round)) else { return };
            assert!(child.status.success(), "{child:?}");
        })*
    };
}

flat! {
    fn killed_before_they_are_due() { MILLION; || {
        let task = spawn_later(LONG, || ());
        task.kill();
    }}

    fn killed_with_a_name_before_they_are_due() { MILLION / 4; || {
        Builder::new().name("later").delay(LONG).spawn(|| ()).unwrap().kill();
    }}

    fn killed_before_they_begin_by_one_that_never_yields() { MILLION / 4; || spawn(|| ()).kill() }

    fn killed_by_another_os_thread_before_they_are_due() { 300; || {
        let tasks: Arc<Vec<_>> = Arc::new((0..100).map(|_| spawn_later(LONG, || ())).collect());
        unblock({
            let tasks = tasks.clone();
            move || {
                for task in &*tasks {
                    task.try_kill();
                }
            }
        });
        joinall(&*tasks);
    }}

    fn killed_while_they_wait() { MILLION / 40; || {
        let task = spawn(|| sleep(LONG));
        yield_now();
        task.kill();
    }}

    fn detached() { MILLION / 10; || {
        drop(spawn(|| ()));
        yield_now();
    }}

    fn links_taken_back() { MILLION / 10; {
        let task = spawn(|| sleep(LONG));
        let (event, result) = (Event::new(), AsyncResult::<u32>::new());
        move || {
            assert!(task.unlink(task.link(|_| ())));
            assert!(event.unlink(event.rawlink(|| ())));
            assert!(result.unlink(result.link(|| ())));
        }
    }}

    fn links_that_were_told() { MILLION / 40; || {
        let event = Event::new();
        event.link(|| ());
        event.rawlink(|| ());
        event.set();
        let task = spawn(|| ());
        task.link(|_| ());
        yield_now();
        yield_now();
    }}

    fn time_limits_taken_back() { MILLION; || with_timeout(LONG, || ()).unwrap() }

    fn time_limits_that_end_waits() { MILLION / 20; {
        let event = Event::new();
        move || assert!(with_timeout(Duration::ZERO, || event.wait()).is_err())
    }}

    fn waits_given_up() { MILLION / 40; {
        let (event, result) = (Event::new(), AsyncResult::<u32>::new());
        let (semaphore, queue) = (Semaphore::new(0), Queue::<u32>::unbounded());
        let (sender, receiver) = bounded::<u32>(0);
        move || {
            let none = Duration::ZERO;
            assert!(!event.wait_timeout(none));
            assert!(result.get_timeout(none).is_err());
            assert!(semaphore.acquire_timeout(none).is_err());
            assert!(queue.get_timeout(none).is_err());
            assert!(receiver.recv_timeout(none).is_err());
            assert!(sender.send_timeout(1, none).is_err());
        }
    }}

    fn waits_for_locks_given_up() { MILLION / 100; {
        let (mutex, lock, condvar) = (Arc::new(Mutex::new(())), Arc::new(RwLock::new(())), Condvar::new());
        let held = (mutex.clone(), lock.clone());
        drop(spawn(move || {
            let _guards = (held.0.lock().unwrap(), held.1.write().unwrap());
            sleep(LONG);
        }));
        let own = Mutex::new(());
        yield_now();
        move || {
            let waiting = [(); 4].map(|()| {
                let (mutex, lock) = (mutex.clone(), lock.clone());
                spawn(move || {
                    let limit = Duration::from_nanos(1);
                    assert!(mutex.lock_timeout(limit).is_err());
                    assert!(with_timeout(limit, || drop(lock.read())).is_err());
                })
            });
            waiting.into_iter().for_each(|waiting| waiting.join().unwrap());
            drop(condvar.wait_timeout(own.lock().unwrap(), Duration::ZERO).unwrap());
        }
    }}

    fn choices() { MILLION / 40; {
        let ((sender, one), (other, receiver), nothing) = (bounded::<u32>(1), bounded::<u32>(0), never::<u32>());
        move || {
            let _connected = (&sender, &receiver);
            select! {
                recv(one) -> _ => unreachable!(),
                recv(nothing) -> _ => unreachable!(),
                send(other, 1) -> _ => unreachable!(),
                default(Duration::ZERO) => {}
            }
        }
    }}

    fn waits_for_several_given_up() { MILLION / 40; {
        let (one, other) = (Event::new(), Event::new());
        move || {
            assert!(wait_timeout([&one, &other], Duration::ZERO).is_empty());
            let ready = Event::new();
            ready.set();
            assert!(iwait([&one, &ready, &other]).next().is_some());
        }
    }}

    fn locals_and_children() { MILLION / 20; || {
        greenlet_local! { static LOCAL: Rc<Cell<u32>> = Rc::default(); }
        LOCAL.with(|local| local.set(1));
        let sum = scope(|scope| {
            let children = [1, 2].map(|number| scope.spawn(move || LOCAL.with(|local| local.get()) + number));
            children.into_iter().map(|child| child.join().unwrap()).sum::<u32>()
        });
        assert_eq!(sum, 3);
    }}

    fn intervals() { MILLION / 20; || {
        Interval::new(Duration::from_nanos(1)).tick();
        let _ = Interval::new(LONG);
    }}

    fn groups_and_pools() { MILLION / 40; {
        let (lasting, group) = (Pool::new(2), Group::new());
        move || {
            let _members = [lasting.spawn(|| ()), lasting.spawn(|| ())];
            assert!(lasting.try_spawn(|| ()).is_err());
            group.spawn(|| sleep(LONG));
            group.kill();
            lasting.join();
            let pool = Pool::new(3);
            assert_eq!(pool.map(0..4, |number| number).len(), 4);
            drop(pool.imap_unordered(0..4, |number| number).next());
        }
    }}

    fn channels() { MILLION / 40; || {
        let (sender, receiver) = unbounded();
        (0..40).for_each(|number| sender.send(Box::new(number)).unwrap());
        assert_eq!(*receiver.recv().unwrap(), 0);
        let (sender, receiver) = bounded(1);
        drop(spawn(move || sender.send(Box::new(1))));
        yield_now();
        drop(receiver);
    }}

    fn greenlets_and_generators_given_up() { MILLION / 20; || {
        let mut generator = Generator::new(|generator, ()| {
            for number in 0_u32.. {
                generator.yield_(number);
            }
        });
        assert_eq!(generator.next(), Some(0));
        drop(generator);
        let greenlet = Greenlet::new(|value: u32| main().switch(value).unwrap());
        assert_eq!(greenlet.switch(1).unwrap(), 1);
        drop(Greenlet::new(|value: u32| value));
    }}

    fn greenlets_that_lose_their_last_handle_while_they_run() { MILLION / 40; || {
        assert_eq!(switch_to_orphan(|| main().switch(1_u32)), 1);
    }}

    fn results_that_nobody_takes() { MILLION / 20; || {
        let task = spawn(|| Box::new([1_u8; 100]));
        yield_now();
        drop(task);
        let task = spawn(|| sleep(LONG));
        yield_now();
        assert!(!task.kill_with(Box::new(GreenletExit)));
        yield_now();
    }}

    fn futures() { MILLION / 20; || {
        let task = spawn(|| 1);
        assert_eq!(block_on(task).unwrap(), 1);
    }}

    fn deep_stacks() { 2_000; || {
        let deep = Builder::new().stack_size(1 << 20).spawn(|| std::hint::black_box([1_u8; 1 << 19])[7]);
        assert_eq!(deep.unwrap().join().unwrap(), 1);
    }}

    fn os_threads_that_come_and_go() { 2_000; || thread::spawn(|| {
        let (sender, receiver) = unbounded();
        let tasks = [1, 2].map(|number| {
            let sender = sender.clone();
            spawn(move || {
                sleep(Duration::from_nanos(number));
                sender.send(number).unwrap();
            })
        });
        assert_eq!(receiver.iter().take(2).count(), 2);
        drop((spawn(|| ()), spawn_later(LONG, || ()), tasks));
    }).join().unwrap() }

    fn os_threads_that_are_told_of_each_other() { 500; || {
        let (sender, receiver) = bounded(0);
        let (event, task) = (Arc::new(Event::new()), spawn(|| sleep(LONG)));
        let thread = thread::spawn({
            let event = event.clone();
            move || {
                sender.send(spawn(|| 1)).unwrap();
                event.wait();
                task.kill();
            }
        });
        assert!(receiver.recv().is_ok());
        event.set();
        unblock(|| thread.join().unwrap());
    }}

    fn pools_of_os_threads() { 500; || {
        let pool = ThreadPool::new(2);
        assert_eq!(pool.unblock(|| 1), 1);
        let given_up = pool.spawn(|| 2);
        drop(given_up);
        pool.join();
        drop(pool);
    }}
}

/// Asserts that `run` leaves nothing on the heap, though nobody else has run since.
fn assert_kept_nothing(run: impl FnOnce()) {
    let before = LIVE.load(Relaxed);
    run();
    let grown = LIVE.load(Relaxed).saturating_sub(before);
    assert!(grown < SLACK, "{grown} bytes more");
}

#[test]
fn kills_of_one_that_does_not_run() {
    let child = run_child(LIMIT, || {
        let raised = Rc::new(Cell::new(0));
        let task = Arc::new(spawn({
            let raised = raised.clone();
            move || loop {
                let _ = catch_unwind(|| sleep(LONG));
                raised.update(|raised| raised + 1);
            }
        }));
        yield_now();
        let payload = || Box::new([0_u8; 32]);
        assert_kept_nothing(|| (0..MILLION).for_each(|_| assert!(!task.try_kill())));
        assert_kept_nothing(|| (0..MILLION).for_each(|_| assert!(!task.kill_with(payload()))));
        yield_now();
        assert_eq!(raised.replace(0), 16);
        let other = task.clone();
        assert_kept_nothing(|| {
            let killer = thread::spawn(move || {
                (0..MILLION / 10).for_each(|_| assert!(!other.try_kill()));
                (0..MILLION / 10).for_each(|_| assert!(!other.kill_with(payload())));
            });
            killer.join().unwrap();
        });
        // The hub reads its letters.
        sleep(Duration::from_micros(1));
        assert_eq!(raised.replace(0), 16);
    });
    let Some(child) = child else { return };
    assert!(child.status.success(), "{child:?}");
}

/// Sockets that are opened and closed, with a wait that is given up on each.
fn open_and_close() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (mut server, _) = listener.accept().unwrap();
    let mut byte = [0];
    assert!(with_timeout(Duration::ZERO, || server.read(&mut byte)).is_err());
    let waiting = spawn({
        let server = server.try_clone().unwrap();
        move || (&server).read(&mut [0; 9])
    });
    yield_now();
    client.write_all(b"x").unwrap();
    assert_eq!(waiting.join().unwrap().unwrap(), 1);
    let selector = Selector::new().unwrap();
    selector.register(&client, Interest::READABLE, 7).unwrap();
    assert!(selector.select(Some(Duration::ZERO)).unwrap().is_empty());
}

/// The same on a hub with this driver, if there is one.
fn assert_sockets_flat(driver: greenloop::hub::Driver) {
    if driver.is_available() {
        greenloop::hub::configure(greenloop::hub::Config::new().driver(driver)).unwrap();
        assert_flat(2_000, open_and_close);
    }
}

#[test]
fn sockets_on_epoll() {
    let Some(child) = run_child(LIMIT, || assert_sockets_flat(greenloop::hub::Driver::Epoll)) else { return };
    assert!(child.status.success(), "{child:?}");
}

#[test]
fn sockets_on_poll() {
    let Some(child) = run_child(LIMIT, || assert_sockets_flat(greenloop::hub::Driver::Poll)) else { return };
    assert!(child.status.success(), "{child:?}");
}

#[test]
fn sockets_on_io_uring() {
    let Some(child) = run_child(LIMIT, || assert_sockets_flat(greenloop::hub::Driver::IoUring)) else {
        return;
    };
    assert!(child.status.success(), "{child:?}");
}

/// Switches to a greenlet that loses its last handle and then runs `last`; returns what is switched to main.
fn switch_to_orphan(last: impl FnOnce() -> Result<u32, SwitchError> + 'static) -> u32 {
    let link = Rc::new(RefCell::new(None::<Greenlet<u32>>));
    let orphan = Greenlet::new({
        let link = link.clone();
        move |value: u32| {
            main().switch(value).unwrap();
            // Until here it was known as the parent of that one.
            link.take().unwrap().set_parent(&main()).unwrap();
            last().unwrap()
        }
    });
    orphan.switch(0).unwrap();
    let child = Greenlet::new(|value: u32| value);
    child.set_parent(&orphan).unwrap();
    link.replace(Some(child.clone()));
    drop(orphan);
    child.switch(0).unwrap()
}

/// Logs its end.
struct Logged(Rc<RefCell<Vec<&'static str>>>);

impl Drop for Logged {
    fn drop(&mut self) {
        self.0.borrow_mut().push("ended");
    }
}

#[test]
fn an_orphan_ends_before_the_one_that_it_switched_to_goes_on() {
    within(LIMIT, || {
        let log = Rc::new(RefCell::new(Vec::new()));
        let logged = Logged(log.clone());
        let value = switch_to_orphan(move || {
            logged.0.borrow_mut().push("switches");
            let result = main().switch(7_u32);
            drop(logged);
            result
        });
        log.borrow_mut().push("main");
        assert_eq!((value, &**log.borrow()), (7, &["switches", "ended", "main"][..]));
    });
}

#[test]
fn an_orphan_ends_before_the_one_that_it_starts() {
    within(LIMIT, || {
        let log = Rc::new(RefCell::new(Vec::new()));
        let logged = Logged(log.clone());
        let started = Greenlet::new({
            let log = log.clone();
            move |value: u32| {
                log.borrow_mut().push("started");
                value
            }
        });
        started.set_parent(&main()).unwrap();
        let value = switch_to_orphan(move || {
            let _logged = logged;
            started.switch(7)
        });
        assert_eq!((value, &**log.borrow()), (7, &["ended", "started"][..]));
    });
}

#[test]
fn an_orphan_goes_on_with_what_its_children_give_it() {
    within(LIMIT, || {
        let log = Rc::new(RefCell::new(Vec::new()));
        let logged = Logged(log.clone());
        let value = switch_to_orphan(move || {
            let _logged = logged;
            let child = Greenlet::new(|value: u32| value + 1);
            let numbers = Generator::new(|generator, ()| {
                generator.yield_(1);
                generator.yield_(2);
            });
            let sum = child.switch(1).unwrap() + numbers.sum::<u32>();
            yield_now();
            main().switch(sum)
        });
        assert_eq!((value, &**log.borrow()), (5, &["ended"][..]));
    });
}

#[test]
fn an_orphan_ends_when_what_was_to_go_on_with_it_is_given_to_another() {
    within(LIMIT, || {
        for by_drop in [true, false] {
            let log = Rc::new(RefCell::new(Vec::new()));
            let logged = Logged(log.clone());
            // The orphan waits for a child of what it pulls from, which is its own child then.
            let (child, body) = (Rc::new(RefCell::new(None)), Rc::new(RefCell::new(None)));
            let generator = Rc::new(RefCell::new(Some(Generator::new({
                let (child, body) = (child.clone(), body.clone());
                move |generator, ()| {
                    body.replace(Some(current()));
                    child.replace(Some(Greenlet::new(|value: u32| main().switch(value).unwrap())));
                    generator.yield_(());
                }
            }))));
            let value = switch_to_orphan({
                let generator = generator.clone();
                move || {
                    let _logged = logged;
                    generator.borrow_mut().as_mut().unwrap().next();
                    let child = child.take().unwrap();
                    child.switch(7_u32)
                }
            });
            assert_eq!((value, log.borrow().len()), (7, 0));
            let body = body.take().unwrap();
            if by_drop {
                drop(body);
                drop(generator.take());
            } else {
                body.set_parent(&main()).unwrap();
            }
            assert_eq!(**log.borrow(), ["ended"], "{by_drop}");
        }
    });
}

#[test]
fn an_orphan_that_gets_a_handle_again_lives() {
    within(LIMIT, || {
        let handle = Rc::new(RefCell::new(None));
        let log = Rc::new(RefCell::new(Vec::new()));
        let logged = Logged(log.clone());
        let value = switch_to_orphan({
            let handle = handle.clone();
            move || {
                let _logged = logged;
                handle.replace(Some(current()));
                let value = main().switch(7_u32).unwrap();
                main().switch(value + 1)
            }
        });
        assert_eq!((value, log.borrow().len()), (7, 0));
        assert_eq!(handle.borrow().as_ref().unwrap().switch(8_u32).unwrap(), 9);
        drop(handle.take());
        assert_eq!(**log.borrow(), ["ended"]);
    });
}

#[test]
fn an_orphan_that_waits_in_the_hub_ends_when_it_is_switched_out() {
    within(LIMIT, || {
        let log = Rc::new(RefCell::new(Vec::new()));
        let logged = Logged(log.clone());
        let other = Greenlet::new(|value: u32| {
            main().switch(value).unwrap();
            sleep(LONG);
            value
        });
        other.switch(0).unwrap();
        let waiting = Greenlet::new({
            let other = other.clone();
            move |value: u32| {
                let _logged = logged;
                sleep(Duration::from_millis(1));
                other.switch(value).unwrap()
            }
        });
        let puller = spawn(move || drop(waiting.switch(1)));
        yield_now();
        puller.kill();
        while log.borrow().is_empty() {
            yield_now();
        }
        assert!(other.throw(Box::new(GreenletExit)).is_err());
    });
}
