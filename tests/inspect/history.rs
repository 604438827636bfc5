use std::cell::RefCell;
use std::rc::Rc;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use greenloop::greenlet::Generator;
use greenloop::inspect::{self, Dump, DumpOptions, keep_history, time_slices};
use greenloop::workers::Workers;
use greenloop::{Builder, JoinHandle, killall, sleep, yield_now};

use crate::support::{settle, within};
use crate::{LIMIT, LONG, alone, named, parsed};

const SHORT: Duration = Duration::from_millis(10);

/// One of that name that sleeps, and who it spawns before, which it leaves in `tasks`.
fn spawn_family(names: &'static [&'static str], tasks: &Rc<RefCell<Vec<JoinHandle<()>>>>) {
    let [name, children @ ..] = names else { return };
    let own = tasks.clone();
    let task = Builder::new().name(*name).spawn(move || {
        spawn_family(children, &own);
        sleep(LONG);
    });
    tasks.borrow_mut().push(task.unwrap());
}

#[test]
fn it_says_who_has_spawned_each() {
    within(LIMIT, || {
        keep_history(true);
        let tasks = Rc::new(RefCell::new(Vec::new()));
        spawn_family(&["parent", "child", "grandchild"], &tasks);
        let mut generator = Generator::new(|generator, ()| {
            let task = Builder::new().name("generated").spawn(|| sleep(LONG)).unwrap();
            generator.yield_(task);
        });
        tasks.borrow_mut().extend(generator.next());
        (0..5).for_each(|_| settle());
        let dump = inspect::dump();
        let by = |name| named(&dump, name).spawned_by();
        let id = |name| named(&dump, name).id();
        assert_eq!((by("main"), by("parent"), by("generated")), (None, None, None));
        assert_eq!((by("child"), by("grandchild")), (id("parent"), id("child")));
        let line = format!(" by green thread {}, parked", id("child").unwrap());
        assert!(named(&dump, "grandchild").to_string().contains(&line), "{dump}");
        let json = parsed(&dump);
        let told = json["hubs"][0]["green_threads"].as_array().unwrap();
        let told = |name: &str| told.iter().find(|thread| thread["name"] == name).unwrap();
        assert_eq!(told("grandchild")["spawned_by"], told("child")["id"]);
        assert!(told("parent")["spawned_by"].is_null());
        killall(&*tasks.borrow());
    });
}

#[test]
fn a_group_tells_the_parent_that_all_of_it_have() {
    within(LIMIT, || {
        keep_history(true);
        let spawn_three = |name| {
            let sleeps = || (0..3).map(|_| greenloop::spawn(|| sleep(LONG))).collect::<Vec<_>>();
            Builder::new().name(name).spawn(sleeps).unwrap()
        };
        let parent = spawn_three("only");
        let id = parent.id();
        let mut children = parent.join().unwrap();
        settle();
        let line = format!(" by green thread {id}, parked, waiting on a sleep; stack: ");
        let text = inspect::dump().to_string();
        assert!(text.contains("3 green threads") && text.contains(&line), "{text}");
        // With those of another parent it is nobody's.
        children.extend(spawn_three("other").join().unwrap());
        settle();
        let text = inspect::dump().to_string();
        assert!(text.contains("6 green threads") && !text.contains("by green thread"), "{text}");
        killall(&children);
    });
}

#[test]
fn those_for_workers_have_no_parent() {
    within(LIMIT, || {
        keep_history(true);
        let workers = Workers::new();
        let task = workers
            .spawn(|| inspect::dump().green_threads().filter_map(|thread| thread.spawned_by()).count());
        assert_eq!(task.join().unwrap(), 0);
    });
}

fn waited(dump: &Dump, name: &str) -> Option<Duration> {
    named(dump, name).waited()
}

#[test]
fn it_says_for_how_long_each_has_waited() {
    within(LIMIT, || {
        keep_history(true);
        let sleeper = |name| Builder::new().name(name).spawn(|| sleep(LONG)).unwrap();
        let first = sleeper("first");
        (0..6).for_each(|_| sleep(SHORT));
        let second = sleeper("second");
        (0..4).for_each(|_| sleep(SHORT));
        let dump = inspect::dump();
        let (of_first, of_second) = (waited(&dump, "first").unwrap(), waited(&dump, "second").unwrap());
        // Each began before the end of the first of the short sleeps after it.
        assert!(of_second >= 3 * SHORT - Duration::from_millis(1), "{of_second:?}");
        assert!(of_first >= of_second + 5 * SHORT, "{of_first:?} {of_second:?}");
        assert_eq!(waited(&dump, "main"), None, "it runs");
        assert_eq!(dump.longest_waiting().unwrap().name(), "first");
        assert!(named(&dump, "first").to_string().ends_with(" so far"), "{dump}");
        let told = parsed(&dump)["hubs"][0]["green_threads"][1]["waited_ms"].as_u64();
        assert_eq!(told.map(Duration::from_millis), Some(of_first));
        killall(&[first, second]);
    });
}

#[test]
fn a_hub_that_has_slept_since_knows_it_too() {
    within(LIMIT, || {
        keep_history(true);
        let (sender, stop) = mpsc::channel::<()>();
        let other = thread::spawn(move || {
            let sleeper = Builder::new().name("alone").spawn(|| sleep(LONG)).unwrap();
            let end = greenloop::threadpool::unblock(move || stop.recv());
            assert!(end.is_err());
            sleeper.kill();
        });
        let ask = || DumpOptions::new().all_hubs(true).take();
        let told = || {
            let dump = ask();
            let found = dump.green_threads().find(|thread| thread.name() == "alone");
            found.and_then(|thread| thread.waited())
        };
        let mut longest = Duration::ZERO;
        // Each question is a letter, by which the hub looks about, and no wait of anybody's.
        while longest < 5 * SHORT {
            let now = told().unwrap_or(longest);
            assert!(now >= longest, "{now:?} {longest:?}");
            longest = now;
            settle();
        }
        drop(sender);
        other.join().unwrap();
    });
}

#[test]
fn it_says_how_often_each_has_gone_on_and_how_long_it_ran() {
    let _alone = alone();
    within(LIMIT, || {
        let yielder = |name, times| {
            let yields = move || {
                (0..times).for_each(|_| yield_now());
                let end = std::time::Instant::now() + SHORT;
                while std::time::Instant::now() < end {}
                sleep(LONG);
            };
            Builder::new().name(name).spawn(yields).unwrap()
        };
        let before = yielder("before", 3);
        // It has begun.
        yield_now();
        time_slices(true);
        let after = yielder("after", 7);
        (0..10).for_each(|_| yield_now());
        let dump = inspect::dump();
        let turns = |name| named(&dump, name).switches();
        assert_eq!((turns("before"), turns("after")), (Some(3), Some(8)));
        let ran = named(&dump, "after").ran().unwrap();
        assert!(ran >= SHORT, "{ran:?}");
        let told = parsed(&dump);
        let of_after = &told["hubs"][0]["green_threads"][2];
        assert_eq!((&of_after["name"], &of_after["switches"]), (&"after".into(), &8.into()));
        assert_eq!(of_after["ran_us"].as_u64(), u64::try_from(ran.as_micros()).ok());
        // Of both of the group.
        let ran = ran + named(&dump, "before").ran().unwrap();
        assert!(dump.to_string().contains(&format!("; ran {ran:?} in 11 turns")), "{dump}");
        killall(&[before, after]);
        // On the stack of one of those.
        let next = yielder("next", 0);
        yield_now();
        assert_eq!(named(&inspect::dump(), "next").switches(), Some(1));
        time_slices(false);
        assert_eq!(named(&inspect::dump(), "next").switches(), None);
        next.kill();
    });
}
