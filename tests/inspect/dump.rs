use std::cell::{OnceCell, RefCell};
use std::panic::Location;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use greenloop::channel::unbounded;
use greenloop::event::Event;
use greenloop::greenlet::Generator;
use greenloop::inspect::{self, DumpOptions, Standing};
use greenloop::sync::{Condvar, Mutex, RwLock, Semaphore};
use greenloop::{Builder, JoinHandle, killall, sleep, spawn, spawn_later, with_timeout, yield_now};
use serde_json::json;

use crate::support::{read_byte, readable, settle, spawn_parked, within};
use crate::{LIMIT, LONG, named, parsed};

/// A detached green thread of that name, which waits by now.
fn waiting(name: &str, wait: impl FnOnce() + 'static) -> JoinHandle<()> {
    let task = Builder::new().name(name).spawn(wait).unwrap();
    settle();
    task
}

#[test]
fn it_says_what_each_waits_on() {
    within(LIMIT, || {
        let (sender, receiver) = unbounded::<u32>();
        let (mutex, lock) = (Rc::new(Mutex::new(())), Rc::new(RwLock::new(())));
        let (reader, writer) = readable();
        let descriptor = std::os::fd::AsRawFd::as_raw_fd(&reader);
        let held = (mutex.lock().unwrap(), lock.write().unwrap());
        let event = Rc::new(Event::new());
        let sleeper = Rc::new(waiting("sleeper", || sleep(LONG)));
        let (joined, id) = (sleeper.clone(), sleeper.id().to_string());
        let condition = Rc::new((Mutex::new(()), Condvar::new()));
        let tasks = [
            waiting("receiver", move || assert!(receiver.recv().is_err())),
            waiting("locker", {
                let mutex = mutex.clone();
                move || drop(mutex.lock())
            }),
            waiting("shared locker", {
                let lock = lock.clone();
                move || drop(lock.read())
            }),
            waiting("listener", move || event.wait()),
            waiting("notified", move || {
                let (mutex, condition) = &*condition;
                drop(condition.wait(mutex.lock().unwrap()));
            }),
            waiting("reader", move || assert_eq!(read_byte(&reader), 7)),
            waiting("joiner", move || joined.wait()),
        ];
        let dump = inspect::dump();
        let waits = |name| named(&dump, name).waits_on().unwrap();
        assert_eq!(waits("sleeper"), "a sleep");
        assert_eq!(waits("receiver"), "Receiver::recv");
        assert_eq!(waits("locker"), "Mutex::lock");
        assert_eq!(waits("shared locker"), "RwLock::read");
        assert_eq!(waits("listener"), "Event::wait");
        assert_eq!(waits("notified"), "Condvar::wait");
        assert_eq!(waits("reader"), format!("fd {descriptor} to be readable"));
        assert_eq!(waits("joiner"), format!("the end of green thread {id}"));
        assert_eq!(named(&dump, "joiner").waits_for().unwrap().to_string(), id);
        assert!(dump.green_threads().skip(1).all(|thread| thread.standing() == Standing::Parked));
        drop((held, sender, writer));
        killall(&tasks);
        sleeper.kill();
    });
}

#[test]
fn everybody_is_there_as_he_stands() {
    within(LIMIT, || {
        let mut generator = Generator::new(|generator, ()| generator.yield_(1));
        assert_eq!(generator.next(), Some(1));
        let parked = waiting("parked", || sleep(LONG));
        let later = spawn_later(LONG, || ());
        let dump = Rc::new(RefCell::new(None));
        let taker = Builder::new().name("taker").spawn({
            let dump = dump.clone();
            move || {
                let unstarted = Builder::new().name("unstarted").spawn(|| ()).unwrap();
                *dump.borrow_mut() = Some(inspect::dump());
                unstarted.join().unwrap();
            }
        });
        let yielder = Builder::new().name("yielder").spawn(yield_now).unwrap();
        taker.unwrap().join().unwrap();
        let dump = dump.take().unwrap();
        let stands = |name| named(&dump, name).standing();
        assert_eq!(stands("main"), Standing::Parked);
        assert_eq!(stands("parked"), Standing::Parked);
        assert_eq!(stands("taker"), Standing::Running);
        assert_eq!(stands("unstarted"), Standing::Unstarted);
        assert_eq!(stands("yielder"), Standing::Unstarted);
        let count = |standing| dump.green_threads().filter(|thread| thread.standing() == standing).count();
        assert_eq!(count(Standing::SwitchedOut), 1);
        assert_eq!((dump.hubs()[0].alive(), dump.green_threads().count()), (5, 7));
        killall(&[parked, later, yielder]);
    });
}

#[test]
fn those_who_do_the_same_are_told_together() {
    within(LIMIT, || {
        let never = Rc::new(Semaphore::new(0));
        let tasks: Vec<_> = (0..1000)
            .map(|number| {
                let never = never.clone();
                match number % 7 {
                    0 => spawn(|| sleep(LONG)),
                    1 => spawn(move || drop(never.acquire())),
                    2 => spawn(|| sleep(LONG)),
                    3 => spawn(move || drop(never.acquire())),
                    4 => spawn(|| sleep(LONG)),
                    5 => spawn(move || drop(never.acquire())),
                    _ => spawn(|| sleep(LONG)),
                }
            })
            .collect();
        settle();
        let dump = inspect::dump();
        assert_eq!(dump.green_threads().count(), 1001);
        let text = dump.to_string();
        for first in 0..7 {
            let group: Vec<_> = tasks.iter().skip(first).step_by(7).collect();
            let on = if first % 2 == 0 { "a sleep" } else { "Semaphore::acquire" };
            let line = format!(
                "\n  {} green threads, spawned at {}, parked, waiting on {on}; stack: ",
                group.len(),
                group[0].spawned_at(),
            );
            assert!(text.contains(&line), "{line} is not in {text}");
            let others = format!("\n    '<unnamed>' ({})", group[0].id());
            assert!(text.contains(&others), "{others} is not in {text}");
        }
        // The hub, main, and two for each group.
        assert_eq!(text.lines().count(), 2 + 2 * 7);
        killall(&tasks);
    });
}

#[test]
fn a_program_can_read_it() {
    within(LIMIT, || {
        let name = "a \"name\" with \\ and \u{7}";
        let place = Location::caller();
        let task = Builder::new().name(name).spawn(|| sleep(LONG)).unwrap();
        settle();
        let dump = inspect::dump();
        let json = parsed(&dump);
        let hub = &json["hubs"][0];
        assert_eq!((&hub["alive"], &hub["timers"], &hub["ready"]), (&json!(1), &json!(1), &json!(0)));
        let [main, sleeper] = &hub["green_threads"].as_array().unwrap()[..] else { panic!("{json}") };
        assert_eq!(
            (&main["name"], &main["id"], &main["spawned_at"]),
            (&json!("main"), &json!(null), &json!(null))
        );
        assert_eq!(sleeper["name"], name);
        assert_eq!(sleeper["id"].to_string(), task.id().to_string());
        assert_eq!(sleeper["spawned_at"]["file"], place.file());
        assert_eq!(sleeper["spawned_at"]["line"], place.line() + 1);
        assert_eq!((&sleeper["standing"], &sleeper["waits_on"]), (&json!("parked"), &json!("a sleep")));
        assert_eq!(sleeper["isolated"], false);
        assert!(sleeper["stack_used"].as_u64() < sleeper["stack_size"].as_u64());
        task.kill();
    });
}

#[test]
fn circles_are_told_while_others_run() {
    within(LIMIT, || {
        let handles: Vec<Rc<OnceCell<JoinHandle<()>>>> = (0..3).map(|_| Rc::default()).collect();
        let go = Rc::new(Event::new());
        for number in 0..3 {
            let (go, next) = (go.clone(), handles[(number + 1) % 3].clone());
            let task = Builder::new().name(["a", "b", "c"][number]).spawn(move || {
                go.wait();
                next.get().unwrap().wait();
            });
            handles[number].set(task.unwrap()).unwrap();
        }
        go.set();
        settle();
        let dump = inspect::dump();
        let [cycle] = &dump.cycles()[..] else { panic!("{dump}") };
        let names: Vec<_> = cycle.iter().map(|thread| thread.name()).collect();
        assert_eq!(names, ["a", "b", "c"]);
        let text = dump.to_string();
        let (_, told) =
            text.split_once("\nthese wait for one another, for ever or until a time limit:").unwrap();
        assert_eq!(told.lines().skip(1).count(), 3, "{text}");
        let ids: Vec<_> = cycle.iter().map(|thread| thread.id().unwrap()).collect();
        assert_eq!(parsed(&dump)["cycles"], json!([ids]));
        handles.iter().for_each(|task| task.get().unwrap().kill());
    });
}

#[test]
fn a_circle_is_not_said_to_last_beyond_a_time_limit() {
    within(LIMIT, || {
        let (one, other) = (Rc::new(Mutex::new(())), Rc::new(Mutex::new(())));
        let (held, awaited) = (one.clone(), other.clone());
        let limit = Duration::from_millis(20);
        let gives_up = spawn(move || {
            let _guard = held.lock().unwrap();
            yield_now();
            assert!(with_timeout(limit, || drop(awaited.lock())).is_err());
        });
        let waits = spawn(move || {
            let _guard = other.lock().unwrap();
            drop(one.lock());
        });
        while inspect::dump().cycles().is_empty() && !gives_up.is_finished() {
            yield_now();
        }
        let text = inspect::dump().to_string();
        let has_limit = text.contains("\nthese wait for one another, for ever or until a time limit:\n");
        assert!(has_limit || gives_up.is_finished(), "{text}");
        waits.join().unwrap();
        gives_up.join().unwrap();
        assert_eq!(inspect::dump().cycles().len(), 0);
    });
}

#[test]
fn the_rest_is_counted() {
    within(LIMIT, || {
        let tasks: Vec<_> = (0..20).map(|_| spawn(|| sleep(LONG))).collect();
        settle();
        let dump = DumpOptions::new().limit(5).take();
        assert_eq!((dump.green_threads().count(), dump.hubs()[0].left_out()), (5, 16));
        assert!(dump.to_string().ends_with("\n  and 16 more"), "{dump}");
        assert_eq!(parsed(&dump)["hubs"][0]["left_out"], 16);
        killall(&tasks);
    });
}

#[test]
fn many_who_have_not_begun_are_counted_and_told_of() {
    within(LIMIT, || {
        let tasks: Vec<_> = (0..5000).map(|_| spawn(|| ())).collect();
        let dump = DumpOptions::new().take();
        let hub = &dump.hubs()[0];
        assert!(hub.green_threads().len() >= 2048, "{dump}");
        assert!(hub.alive() >= 5000 - 64, "{dump}");
        assert_eq!(dump.green_threads().next().unwrap().name(), "main");
        drop(tasks);
    });
}

/// A circle of a lock and a join, one of a lock alone, and a holder that only sleeps; others run all the while.
#[test]
fn circles_through_locks_are_told_while_others_run() {
    within(LIMIT, || {
        let [joined, twice, slept] = [(); 3].map(|()| Rc::new(Mutex::new(())));
        let reentrant = Rc::new(greenloop::sync::ReentrantLock::new(()));
        let second: Rc<OnceCell<JoinHandle<()>>> = Rc::default();
        let (lock, awaited, go) = (joined.clone(), second.clone(), Rc::new(Event::new()));
        let gone = go.clone();
        let first = waiting("first", move || {
            let _guard = lock.lock().unwrap();
            gone.wait();
            awaited.get().unwrap().wait();
        });
        second.set(waiting("second", move || drop(joined.lock()))).ok().unwrap();
        go.set();
        let again = waiting("again", move || {
            let _guard = twice.lock().unwrap();
            drop(twice.lock());
        });
        let (lock, held) = (slept.clone(), reentrant.clone());
        let sleeper = waiting("sleeper", move || {
            let (_guard, _other) = (lock.lock().unwrap(), held.lock());
            sleep(LONG);
        });
        let waiters =
            [waiting("waits", move || drop(slept.lock())), waiting("enters", move || drop(reentrant.lock()))];
        settle();
        for dump in [inspect::dump(), DumpOptions::new().all_hubs(true).take()] {
            let cycles = dump.cycles();
            let mut names: Vec<Vec<&str>> =
                cycles.iter().map(|cycle| cycle.iter().map(|thread| thread.name()).collect()).collect();
            names.retain(|names| !names.contains(&"main"));
            assert_eq!(names, [vec!["first", "second"], vec!["again"]], "{dump}");
            let held_by = |name| named(&dump, name).held_by().map(|id| id.to_string());
            assert_eq!(held_by("second"), Some(first.id().to_string()));
            assert_eq!(held_by("waits"), Some(sleeper.id().to_string()));
            assert_eq!(held_by("enters"), Some(sleeper.id().to_string()));
            assert_eq!(held_by("first"), None);
            let line = format!("waiting on Mutex::lock, held by 'sleeper' ({})", sleeper.id());
            assert!(dump.to_string().contains(&line), "{dump}");
        }
        // The lock goes on to who waits for it, who ends.
        sleeper.kill();
        greenloop::joinall(&waiters);
        again.kill();
        first.kill();
        second.get().unwrap().wait();
    });
}

#[test]
fn a_lock_that_was_handed_over_is_held_by_nobody_until_its_holder_runs() {
    within(LIMIT, || {
        yield_now(); // there is a hub
        let mutex = Rc::new(Mutex::new(()));
        let guard = mutex.lock().unwrap();
        let locks = [(); 2].map(|()| mutex.clone());
        let tasks = locks.map(|mutex| {
            spawn_parked(move || {
                let _guard = mutex.lock().unwrap();
                yield_now();
            })
        });
        let holders = || {
            let dump = inspect::dump();
            let line = dump.green_threads().map(|thread| thread.to_string().contains("held by 'main'"));
            line.collect::<Vec<_>>()
        };
        assert_eq!(holders(), [false, true, true]);
        drop(guard);
        // The first is called and has not run; the second waits for it.
        assert_eq!(holders(), [false, false, false]);
        greenloop::joinall(&tasks);
    });
}

#[test]
fn who_has_begun_is_within_the_limit_before_who_has_not() {
    within(LIMIT, || {
        let parked = Builder::new().name("parked").spawn(|| sleep(LONG)).unwrap();
        greenloop::idle();
        let unstarted: Vec<_> = (0..100).map(|_| spawn(|| ())).collect();
        // As a callback sees it, where none of them begins.
        let dump = DumpOptions::new().limit(2).take();
        let names: Vec<_> = dump.green_threads().map(|thread| thread.name()).collect();
        assert_eq!(names, ["main", "parked"]);
        assert!(dump.hubs()[0].left_out() >= 36, "{dump}");
        greenloop::joinall(&unstarted);
        parked.kill();
    });
}

#[test]
fn who_is_to_begin_later_is_told_of() {
    within(LIMIT, || {
        let later = greenloop::spawn_later(LONG, || ());
        for dump in [greenloop::inspect::dump(), DumpOptions::new().take()] {
            let found =
                dump.green_threads().find(|thread| thread.spawned_at() == Some(later.spawned_at())).unwrap();
            assert_eq!(found.standing(), Standing::Unstarted);
            assert_eq!(found.waits_on().as_deref(), Some("its time to begin"));
            assert!(dump.to_string().contains("unstarted, waiting on its time to begin"), "{dump}");
        }
        later.kill();
        assert_eq!(greenloop::inspect::dump().green_threads().count(), 1);
    });
}

#[test]
fn it_changes_nothing() {
    within(LIMIT, || {
        let (sender, receiver) = unbounded();
        let total = Arc::new(std::sync::atomic::AtomicU64::new(0));
        let workers: Vec<_> = (0..50)
            .map(|_| {
                let (receiver, total) = (receiver.clone(), total.clone());
                spawn(move || {
                    while let Ok(number) = receiver.recv() {
                        total.fetch_add(number, std::sync::atomic::Ordering::Relaxed);
                        yield_now();
                    }
                })
            })
            .collect();
        let sending = spawn(move || {
            for number in 0..2000 {
                sender.send(number).unwrap();
                if number % 7 == 0 {
                    yield_now();
                }
            }
        });
        let mut dumps = 0;
        while !sending.is_finished() || workers.iter().any(|worker| !worker.is_finished()) {
            let dump = if dumps % 2 == 0 { DumpOptions::new().take() } else { inspect::dump() };
            assert!(dump.green_threads().count() >= 1);
            dumps += 1;
            yield_now();
        }
        assert_eq!(total.load(std::sync::atomic::Ordering::Relaxed), (0..2000).sum::<u64>());
        assert!(dumps > 10, "{dumps}");
        spawn_parked(|| sleep(LONG)).kill();
    });
}

#[test]
fn an_rwlock_names_who_writes_and_who_reads() {
    within(LIMIT, || {
        let lock = Rc::new(RwLock::new(()));
        let read = |lock: &Rc<RwLock<()>>| {
            let lock = lock.clone();
            move || {
                let _guard = lock.read();
                sleep(LONG);
            }
        };
        let write = |lock: &Rc<RwLock<()>>| {
            let lock = lock.clone();
            move || {
                let _guard = lock.write();
                sleep(LONG);
            }
        };
        let first = waiting("first reader", read(&lock));
        let second = waiting("second reader", read(&lock));
        let writer = waiting("writer", write(&lock));
        let third = waiting("third reader", read(&lock));
        let held_by = |name| named(&inspect::dump(), name).held_by().map(|id| id.to_string());
        let id = |task: &JoinHandle<()>| Some(task.id().to_string());
        // The one who has locked last.
        assert_eq!((held_by("writer"), held_by("third reader")), (id(&second), id(&second)));
        second.kill();
        settle();
        // Others may hold it, of whom nothing is known any more.
        assert_eq!(held_by("writer"), None);
        first.kill();
        settle();
        assert_eq!(held_by("third reader"), id(&writer));
        assert!(inspect::dump().to_string().contains(", waiting on RwLock::read, held by 'writer' ("));
        writer.kill();
        settle();
        assert_eq!(held_by("third reader"), None, "it has it");
        third.kill();
    });
}

#[test]
fn a_guard_that_another_one_drops_leaves_no_holder_behind() {
    within(LIMIT, || {
        let lock: &'static RwLock<()> = Box::leak(Box::new(RwLock::new(())));
        let slot = Rc::new(RefCell::new(None));
        let puts = slot.clone();
        let maker = waiting("maker", move || {
            *puts.borrow_mut() = Some(lock.read().unwrap());
            sleep(LONG);
        });
        let own = lock.read().unwrap();
        drop(slot.take());
        let writer = waiting("writer", || drop(lock.write()));
        let dump = inspect::dump();
        // Main has it.
        assert!(named(&dump, "writer").to_string().contains("held by 'main'"), "{dump}");
        drop(own);
        killall(&[maker, writer]);
    });
}

#[test]
fn circles_go_through_rwlocks_and_who_waits_for_them_is_counted() {
    within(LIMIT, || {
        let (lock, first) = (Rc::new(RwLock::new(())), Rc::new(OnceCell::<JoinHandle<()>>::new()));
        let (read, awaited) = (lock.clone(), first.clone());
        let reads_and_joins = Builder::new().name("reads and joins").spawn(move || {
            let _guard = read.read();
            yield_now();
            awaited.get().unwrap().wait();
        });
        yield_now();
        first.set(Builder::new().name("writes").spawn(move || drop(lock.write())).unwrap()).unwrap();
        settle();
        let (joined, joiner) = (Rc::new(reads_and_joins.unwrap()), Rc::new(OnceCell::new()));
        let (one, other) = (joined.clone(), joiner.clone());
        joiner.set(waiting("joins them", move || one.wait())).unwrap();
        let last = waiting("joins the joiner", move || JoinHandle::wait(other.get().unwrap()));
        let bystander = waiting("bystander", || sleep(LONG));
        let dump = inspect::dump();
        let names = |threads: &[&inspect::GreenThread]| {
            threads.iter().map(|thread| thread.name().to_owned()).collect::<Vec<_>>()
        };
        let cycles = dump.cycles();
        assert_eq!(cycles.len(), 1);
        assert_eq!(names(&cycles[0]), ["reads and joins", "writes"]);
        let all = ["reads and joins", "writes", "joins them", "joins the joiner"];
        assert_eq!(names(&dump.unreachable()), all);
        assert!(dump.to_string().ends_with("\nand so many wait for them: 2"), "{dump}");
        let ids: Vec<_> = dump.unreachable().iter().map(|thread| thread.id().unwrap()).collect();
        assert_eq!(parsed(&dump)["unreachable"], json!(ids));
        killall(&[last, bystander]);
        killall([&*joined, first.get().unwrap(), joiner.get().unwrap()]);
    });
}

#[test]
fn a_wait_on_a_channel_tells_how_many_other_ends_there_are() {
    within(LIMIT, || {
        let (sender, receiver) = unbounded::<u32>();
        let (full, kept) = greenloop::channel::bounded(1);
        let senders = [sender.clone(), sender.clone(), sender];
        let more_kept = kept.clone();
        let tasks = [
            waiting("receives", move || assert!(receiver.recv().is_err())),
            waiting("sends", move || {
                full.send(1).unwrap();
                assert!(full.send(2).is_err());
            }),
            waiting("never receives", || assert!(greenloop::channel::never::<u32>().recv().is_err())),
        ];
        let ends = |name| named(&inspect::dump(), name).other_ends();
        assert_eq!((ends("receives"), ends("sends"), ends("never receives")), (Some(3), Some(2), Some(0)));
        assert_eq!(ends("main"), None);
        let line = named(&inspect::dump(), "receives").to_string();
        assert!(line.contains("parked, waiting on Receiver::recv, from 3 senders"), "{line}");
        drop((senders, kept, more_kept));
        settle();
        assert!(tasks[0].is_finished() && tasks[1].is_finished());
        killall(&tasks);
    });
}
