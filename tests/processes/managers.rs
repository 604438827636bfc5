use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use greenloop::io::pipe;
use greenloop::process::{Process, channel, current, parent};
use greenloop::processes::manager::{Dict, JoinableQueue, List, Queue, Value};
use greenloop::processes::{Manager, ManagerError, ProcessPool};
use greenloop::{joinall, sleep, spawn, with_timeout, yield_now};

use crate::{LIMIT, LONG, tests, until};

tests! {
    n45_full_empty_and_timeouts,
    n46_items_put_before_and_after_a_fork_arrive_once,
    n47_a_queue_tells_how_many_items_it_has,
    n48_task_done_and_join,
    n49_a_closed_queue,
    n50_what_was_put_is_there_though_its_process_is_killed,
    n61_values_and_arrays_across_processes,
    n65_nested_handles,
    n66_a_namespace,
    n67_iteration_while_changed,
    n68_errors_of_the_manager_reach_the_client,
    n69_what_a_killed_client_had_leased_is_the_next_one_s,
    n69_an_item_on_its_way_to_a_killed_client_is_the_next_one_s,
    n70_calls_on_a_killed_manager_fail,
    handles_go_everywhere,
    things_are_kept_as_long_as_their_handles,
    values_with_descriptors,
    large_values,
    one_that_is_killed_or_late_takes_nothing,
    many_green_threads_call_at_once,
}

const SHORT: Duration = Duration::from_millis(10);

/// Of both kinds: in this process, and in one of its own.
pub(crate) fn managers() -> impl Iterator<Item = Manager> {
    [|| Manager::new().unwrap(), || Manager::start().unwrap()]
        .into_iter()
        .map(|start: fn() -> Manager| start())
}

/// Runs it in a process of its own.
pub(crate) fn elsewhere<T: greenloop::process::Wire>(run: impl FnOnce() -> T) -> T {
    Process::start(run).unwrap().join().unwrap()
}

fn n45_full_empty_and_timeouts() {
    for manager in managers() {
        let queue = manager.queue(2).unwrap();
        assert_eq!(queue.try_get(), Err(ManagerError::Empty));
        let begin = Instant::now();
        assert_eq!(queue.get_timeout(SHORT), Err(ManagerError::TimedOut));
        assert!(begin.elapsed() >= SHORT);
        queue.put(&1).unwrap();
        queue.try_put(&2).unwrap();
        assert_eq!(queue.try_put(&3), Err(ManagerError::Full));
        assert_eq!(queue.put_timeout(&3, SHORT), Err(ManagerError::TimedOut));
        assert_eq!((queue.len(), queue.is_empty()), (Ok(2), Ok(false)));
        // One that waits for room, and one that waits for an item, in other processes.
        let theirs = queue.clone();
        let putter = Process::start(move || theirs.put(&3).unwrap()).unwrap();
        let theirs = queue.clone();
        let taken = elsewhere(move || [(); 3].map(|()| theirs.get_timeout(LIMIT).unwrap()));
        assert_eq!(taken, [1, 2, 3]);
        putter.join().unwrap();
        let theirs = queue.clone();
        let getter = Process::start(move || theirs.get().unwrap()).unwrap();
        queue.put(&4).unwrap();
        assert_eq!(getter.join().unwrap(), 4);
        assert_eq!(queue.len(), Ok(0));
    }
}

fn n46_items_put_before_and_after_a_fork_arrive_once() {
    for manager in managers() {
        let queue = manager.queue::<u32>(0).unwrap();
        (0..10).for_each(|number| queue.put(&number).unwrap());
        let theirs = queue.clone();
        let child = Process::start(move || (10..20).for_each(|number| theirs.put(&number).unwrap())).unwrap();
        (20..30).for_each(|number| queue.put(&number).unwrap());
        let mut all: Vec<u32> = (0..30).map(|_| queue.get().unwrap()).collect();
        assert!(all[..10].iter().copied().eq(0..10));
        all.sort_unstable();
        assert!(all.into_iter().eq(0..30));
        assert_eq!(queue.try_get(), Err(ManagerError::Empty));
        child.join().unwrap();
    }
}

fn n47_a_queue_tells_how_many_items_it_has() {
    for manager in managers() {
        let queue = manager.queue::<u32>(3).unwrap();
        assert_eq!((queue.len(), queue.is_empty()), (Ok(0), Ok(true)));
        let theirs = queue.clone();
        elsewhere(move || (1..=3).for_each(|item| theirs.put(&item).unwrap()));
        assert_eq!((queue.len(), queue.is_empty()), (Ok(3), Ok(false)));
        assert_eq!(queue.get(), Ok(1));
        let theirs = queue.clone();
        assert_eq!(elsewhere(move || theirs.len().unwrap()), 2);
    }
}

fn n48_task_done_and_join() {
    for manager in managers() {
        let queue = manager.joinable_queue::<u32>(0).unwrap();
        assert_eq!((queue.join(), queue.task_done()), (Ok(()), Err(ManagerError::TooMany)));
        let workers = [(); 3].map(|()| {
            let queue = queue.clone();
            Process::start(move || {
                while let Ok(number) = queue.get() {
                    if number % 2 == 0 {
                        yield_now();
                    }
                    queue.task_done().unwrap();
                }
            })
            .unwrap()
        });
        (0..30).for_each(|number| queue.put(&number).unwrap());
        queue.join().unwrap();
        assert_eq!((queue.unfinished(), queue.is_empty()), (Ok(0), Ok(true)));
        queue.put(&0).unwrap();
        until("it is done", || queue.unfinished() == Ok(0));
        queue.close().unwrap();
        workers.into_iter().for_each(|worker| worker.join().unwrap());
        assert_eq!(queue.task_done(), Err(ManagerError::TooMany));
    }
    let manager = Manager::new().unwrap();
    let queue = manager.joinable_queue(0).unwrap();
    queue.put(&1).unwrap();
    assert_eq!(queue.join_timeout(SHORT), Err(ManagerError::TimedOut));
    queue.lease().unwrap().done().unwrap();
    assert_eq!(queue.join_timeout(SHORT), Ok(()));
}

fn n49_a_closed_queue() {
    for manager in managers() {
        let queue = manager.queue::<u32>(1).unwrap();
        queue.put(&1).unwrap();
        let theirs = queue.clone();
        let putter = Process::start(move || theirs.put(&2) == Err(ManagerError::Closed)).unwrap();
        let empty = manager.queue::<u32>(0).unwrap();
        let theirs = empty.clone();
        let getter = Process::start(move || theirs.get() == Err(ManagerError::Closed)).unwrap();
        sleep(SHORT);
        queue.close().unwrap();
        empty.close().unwrap();
        assert!(putter.join().unwrap() && getter.join().unwrap());
        assert_eq!((queue.put(&3), queue.is_closed()), (Err(ManagerError::Closed), Ok(true)));
        assert_eq!((queue.get(), queue.get()), (Ok(1), Err(ManagerError::Closed)));
        // Again, and one that was never used.
        queue.close().unwrap();
        manager.queue::<u32>(0).unwrap().close().unwrap();
    }
}

fn n50_what_was_put_is_there_though_its_process_is_killed() {
    for manager in managers() {
        let queue = manager.queue::<u32>(0).unwrap();
        let told = manager.value(0_u32).unwrap();
        let (theirs, said) = (queue.clone(), told.clone());
        let child = Process::start(move || {
            for number in 1.. {
                theirs.put(&number).unwrap();
                said.set(&number).unwrap();
            }
        })
        .unwrap();
        until("some are there", || told.get().unwrap() > 20);
        child.kill().unwrap();
        child.wait().unwrap();
        let last = told.get().unwrap();
        let got: Vec<u32> = std::iter::from_fn(|| queue.try_get().ok()).collect();
        // All that it was told are there, and at most one more.
        assert!(got.iter().copied().eq(1..=got.len() as u32));
        assert!(got.len() as u32 == last || got.len() as u32 == last + 1, "{} of {last}", got.len());
    }
}

fn n61_values_and_arrays_across_processes() {
    for manager in managers() {
        let (total, counts) = (manager.value(0_u64).unwrap(), manager.array([0_u64; 3]).unwrap());
        let children = [0, 1, 2].map(|place| {
            let (total, counts) = (total.clone(), counts.clone());
            Process::start(move || {
                for _ in 0..50 {
                    total.update(|before| before + 1).unwrap();
                    counts.update(place, |before| before + 1).unwrap();
                    counts.update(0, |before| before + 10).unwrap();
                }
            })
            .unwrap()
        });
        children.into_iter().for_each(|child| child.join().unwrap());
        assert_eq!(total.get(), Ok(150));
        assert_eq!(counts.to_vec(), Ok(vec![1550, 50, 50]));
        assert_eq!(total.replace(&7), Ok(150));
        assert_eq!(counts.set(1, &8), Ok(50));
        assert_eq!(counts.set(3, &8), Err(ManagerError::OutOfRange { index: 3, length: 3 }));
        assert_eq!(counts.update(3, |it| it), Err(ManagerError::OutOfRange { index: 3, length: 3 }));
        assert_eq!((counts.get(3), counts.position(&8)), (Ok(None), Ok(Some(1))));
        counts.reverse().unwrap();
        assert_eq!(counts.slice(1..9), Ok(vec![8, 1550]));
    }
}

fn n65_nested_handles() {
    for manager in managers() {
        let (a, b) = (manager.list(0..5_u32).unwrap(), manager.list(5..10_u32).unwrap());
        let outer = manager.list([a.clone(), b.clone()]).unwrap();
        outer.get(0).unwrap().unwrap().push(&100).unwrap();
        assert_eq!(a.to_vec(), Ok(vec![0, 1, 2, 3, 4, 100]));
        assert_eq!(outer.position(&b), Ok(Some(1)));
        let pets = manager.dict::<String, Dict<String, u32>>().unwrap();
        let theirs = (manager.handle(), pets.clone());
        elsewhere(move || {
            let (manager, pets) = theirs;
            let ferrets = manager.dict().unwrap();
            ferrets.insert(&"weasel".to_owned(), &1).unwrap();
            pets.insert(&"ferrets".to_owned(), &ferrets).unwrap();
        });
        // The child and its handle are gone: the entry keeps what is in it.
        let ferrets = pets.get(&"ferrets".to_owned()).unwrap().unwrap();
        assert_eq!(ferrets.items(), Ok(vec![("weasel".to_owned(), 1)]));
        let deep = manager.list([manager.list([manager.list(["x".to_owned()]).unwrap()]).unwrap()]).unwrap();
        let inner: List<String> = deep.get(0).unwrap().unwrap().get(0).unwrap().unwrap();
        assert_eq!(inner.to_vec(), Ok(vec!["x".to_owned()]));
        // A hundred of them in one answer.
        let many = manager.list((0..100).map(|_| a.clone())).unwrap_err();
        assert!(matches!(many, ManagerError::Undecodable(_)), "a message carries 64");
        let many = manager.list::<List<u32>>([]).unwrap();
        (0..100).for_each(|_| many.push(&a).unwrap());
        assert!(many.to_vec().unwrap().iter().all(|list| list == &a));
    }
}

fn n66_a_namespace() {
    for manager in managers() {
        let names = manager.namespace().unwrap();
        let theirs = names.clone();
        elsewhere(move || {
            theirs.set("name", &"Bob".to_owned()).unwrap();
            theirs.set("job", &"Builder".to_owned()).unwrap();
            theirs.set("age", &40_u32).unwrap();
            assert!(theirs.remove("job").unwrap());
        });
        assert_eq!(names.names(), Ok(vec!["name".to_owned(), "age".to_owned()]));
        assert_eq!(names.get("name"), Ok(Some("Bob".to_owned())));
        assert_eq!((names.get("age"), names.get::<u32>("job")), (Ok(Some(40_u32)), Ok(None)));
        let error = names.get::<f32>("age").unwrap_err();
        assert_eq!(error, ManagerError::Undecodable("`age` has a value of another type".to_owned()));
        names.set("age", &40.5_f32).unwrap();
        assert_eq!((names.get("age"), names.remove("job")), (Ok(Some(40.5_f32)), Ok(false)));
    }
}

fn n67_iteration_while_changed() {
    for manager in managers() {
        let list = manager.list(0..10).unwrap();
        let mut iter = list.iter();
        assert!(iter.by_ref().map(Result::unwrap).eq(0..10));
        list.push(&10).unwrap();
        assert!(iter.next().is_none(), "it is over");
        let mut iter = list.iter();
        list.set(0, &100).unwrap();
        assert_eq!(iter.next(), Some(Ok(100)));
        list.clear().unwrap();
        assert_eq!(iter.next(), None);
        let dict = manager.dict::<u32, char>().unwrap();
        dict.extend((65..70).map(|code| (code, char::from_u32(code).unwrap()))).unwrap();
        for key in dict.keys().unwrap() {
            // As they were, whatever becomes of the dict.
            assert!(dict.remove(&key).unwrap().is_some());
            dict.insert(&(key + 100), &'x').unwrap();
        }
        assert_eq!(dict.keys(), Ok((165..170).collect()));
        dict.insert(&165, &'y').unwrap();
        assert_eq!(dict.items().unwrap()[0], (165, 'y'), "a value is replaced in its place");
        assert_eq!(dict.values(), Ok(vec!['y', 'x', 'x', 'x', 'x']));
    }
}

fn n68_errors_of_the_manager_reach_the_client() {
    for manager in managers() {
        let list = manager.list(["a".to_owned()]).unwrap();
        let theirs = list.clone();
        let out = ManagerError::OutOfRange { index: 7, length: 1 };
        let (set, told) = elsewhere(move || {
            let error = theirs.set(7, &"b".to_owned()).unwrap_err();
            (error == ManagerError::OutOfRange { index: 7, length: 1 }, error.to_string())
        });
        assert!(set);
        assert_eq!(told, "place 7 is out of range: the length is 1");
        assert_eq!(list.remove(7), Err(out));
        assert_eq!(list.insert(2, &"c".to_owned()), Err(ManagerError::OutOfRange { index: 2, length: 1 }));
        // Its connection is as good as ever.
        list.insert(1, &"c".to_owned()).unwrap();
        assert_eq!((list.pop(), list.len()), (Ok(Some("c".to_owned())), Ok(1)));
    }
}

fn n69_what_a_killed_client_had_leased_is_the_next_one_s() {
    for manager in managers() {
        let queue = manager.joinable_queue::<u32>(0).unwrap();
        (1..=3).for_each(|number| queue.put(&number).unwrap());
        let theirs = queue.clone();
        let child = Process::start(move || {
            let _lease = theirs.lease().unwrap();
            sleep(LONG);
        })
        .unwrap();
        until("it is leased", || queue.len() == Ok(2));
        // Who waits for the end of all is not told too early.
        assert_eq!(queue.join_timeout(SHORT), Err(ManagerError::TimedOut));
        child.kill().unwrap();
        child.wait().unwrap();
        until("it is back", || queue.len() == Ok(3));
        let numbers = [(); 3].map(|()| {
            let lease = queue.lease().unwrap();
            let number = *lease;
            lease.done().unwrap();
            number
        });
        assert_eq!(numbers, [1, 2, 3]);
        queue.join().unwrap();
        // Given up, and not killed: the same.
        queue.put(&4).unwrap();
        drop(queue.lease().unwrap());
        assert_eq!(*queue.lease_timeout(LIMIT).unwrap(), 4);
        until("it is back again", || queue.len() == Ok(1));
        assert!(queue.try_lease().is_ok());
    }
}

fn n69_an_item_on_its_way_to_a_killed_client_is_the_next_one_s() {
    for manager in managers() {
        let queue = manager.queue::<u32>(0).unwrap();
        for round in 0..10 {
            let (ready, waiting) = channel::<()>().unwrap();
            let theirs = queue.clone();
            let child = Process::start(move || {
                assert_eq!(theirs.try_get(), Err(ManagerError::Empty));
                spawn({
                    let theirs = theirs.clone();
                    move || theirs.get()
                });
                yield_now();
                // By another connection, and the manager has seen the first one's request by then, or sees it before the put.
                ready.send(&theirs.len().map(drop).unwrap()).unwrap();
                sleep(LONG);
            })
            .unwrap();
            waiting.recv().unwrap();
            // It waits, is told, and does not read: it is stopped.
            child.send_signal(libc::SIGSTOP).unwrap();
            queue.put(&round).unwrap();
            assert_eq!(queue.try_get(), Err(ManagerError::Empty));
            child.kill().unwrap();
            assert_eq!(queue.get_timeout(LIMIT), Ok(round));
            child.wait().unwrap();
        }
    }
}

fn n70_calls_on_a_killed_manager_fail() {
    let manager = Manager::start().unwrap();
    let (dict, queue) = (manager.dict::<u32, u32>().unwrap(), manager.joinable_queue::<u32>(1).unwrap());
    let waiting = {
        let queue = queue.clone();
        spawn(move || queue.get())
    };
    let theirs = (dict.clone(), queue.clone());
    let child = Process::start(move || {
        let (dict, queue) = theirs;
        let waited = queue.get() == Err(ManagerError::Ended);
        // By a connection that it has, and by a new one.
        waited && dict.get(&1) == Err(ManagerError::Ended) && queue.join() == Err(ManagerError::Ended)
    })
    .unwrap();
    sleep(SHORT);
    // SAFETY: takes no pointers; the number is that of this test's manager.
    unsafe { libc::kill(manager.server_id().unwrap() as libc::pid_t, libc::SIGKILL) };
    assert_eq!(with_timeout(LIMIT, || waiting.join().unwrap()).unwrap(), Err(ManagerError::Ended));
    assert!(with_timeout(LIMIT, || child.join().unwrap()).unwrap());
    assert_eq!(dict.insert(&1, &1), Err(ManagerError::Ended));
    assert_eq!(queue.put(&1), Err(ManagerError::Ended));
    assert!(matches!(manager.list([1]), Err(ManagerError::Ended)));
    manager.shutdown();
    // One that is dropped is gone as well, here and there.
    for manager in managers() {
        let value = manager.value(1).unwrap();
        let theirs = value.clone();
        let (ours, other) = greenloop::process::pipe::<(), ()>().unwrap();
        let child = Process::start(move || {
            assert_eq!(theirs.get(), Ok(1));
            other.send(&()).unwrap();
            let _ = other.recv();
            theirs.get() == Err(ManagerError::Ended)
        })
        .unwrap();
        ours.recv().unwrap();
        let waiting = {
            let queue = manager.queue::<u32>(0).unwrap();
            spawn(move || queue.get())
        };
        yield_now();
        drop(manager);
        assert_eq!(waiting.join().unwrap(), Err(ManagerError::Ended));
        assert_eq!(value.get(), Err(ManagerError::Ended));
        drop(ours);
        assert!(child.join().unwrap());
    }
}

fn handles_go_everywhere() {
    for manager in managers() {
        let dict = manager.dict::<u32, u32>().unwrap();
        // Over a channel, to a child that knows the manager by nothing else.
        let (sender, receiver) = channel::<Dict<u32, u32>>().unwrap();
        let child = Process::start(move || receiver.recv().unwrap().insert(&1, &10).unwrap()).unwrap();
        sender.send(&dict).unwrap();
        child.join().unwrap();
        // As the argument of a pool's job, and back.
        let pool = ProcessPool::new(2, |(dict, number): (Dict<u32, u32>, u32)| {
            dict.insert(&number, &(number * 10)).unwrap();
            dict
        })
        .unwrap();
        assert!(
            pool.map((2..10).map(|number| (dict.clone(), number)))
                .into_iter()
                .all(|back| back == Ok(dict.clone()))
        );
        pool.close();
        pool.join();
        // To a grandchild.
        let theirs = dict.clone();
        elsewhere(move || elsewhere(move || theirs.insert(&10, &100).unwrap()));
        let all: BTreeMap<u32, u32> = dict.items().unwrap().into_iter().collect();
        assert!(all.into_iter().eq((1..=10).map(|number| (number, number * 10))));
        // One that is of another kind when it comes is none.
        let wrong = manager.list([dict.clone()]).unwrap();
        let names = manager.namespace().unwrap();
        names.set("wrong", &wrong).unwrap();
        assert!(names.get::<Dict<u32, u32>>("wrong").is_err());
        assert_eq!(names.get::<List<Dict<u32, u32>>>("wrong").unwrap().unwrap(), wrong);
    }
    let ours = current().id();
    assert_eq!(elsewhere(|| parent().map(|parent| parent.id())), Some(ours));
}

fn things_are_kept_as_long_as_their_handles() {
    for manager in managers() {
        let count = || manager.object_count().unwrap();
        let value = manager.value(1).unwrap();
        drop(value.clone());
        assert_eq!(count(), 1);
        // On its way in a message, and nowhere else.
        let (sender, receiver) = channel::<Value<i32>>().unwrap();
        sender.send(&value).unwrap();
        drop(value);
        sleep(SHORT);
        assert_eq!(count(), 1);
        let value = receiver.recv().unwrap();
        assert_eq!(value.get(), Ok(1));
        // In a child that is killed.
        let child = Process::start(move || {
            value.set(&2).unwrap();
            sleep(LONG);
        })
        .unwrap();
        sleep(SHORT);
        assert_eq!(count(), 1);
        child.kill().unwrap();
        child.wait().unwrap();
        until("nothing is kept", || count() == 0);
        // In another thing.
        let list = manager.list([manager.value(1).unwrap()]).unwrap();
        sleep(SHORT);
        assert_eq!(count(), 2);
        list.clear().unwrap();
        until("it is gone", || count() == 1);
        drop(list);
        until("nothing is kept", || count() == 0);
    }
}

fn values_with_descriptors() {
    for manager in managers() {
        let (mut reader, writer) = pipe().unwrap();
        let files = manager.dict::<u32, OwnedFd>().unwrap();
        files.insert(&1, &writer.into()).unwrap();
        // A child that the manager's process forks meanwhile does not have it.
        let bystander = Process::start(|| sleep(LONG)).unwrap();
        let theirs = files.clone();
        elsewhere(move || {
            use std::io::Write;
            let mut file = File::from(theirs.get(&1).unwrap().unwrap());
            file.write_all(b"from the child").unwrap();
        });
        files.clear().unwrap();
        let mut text = String::new();
        with_timeout(LIMIT, || reader.read_to_string(&mut text)).unwrap().unwrap();
        assert_eq!(text, "from the child");
        bystander.kill().unwrap();
        bystander.wait().unwrap();
    }
}

fn large_values() {
    for manager in managers() {
        let bytes = vec![7_u8; 3 << 20];
        let value = manager.value(bytes.clone()).unwrap();
        let theirs = value.clone();
        let length = elsewhere(move || {
            let mut bytes = theirs.get().unwrap();
            bytes.push(8);
            theirs.set(&bytes).unwrap();
            bytes.len()
        });
        assert_eq!(value.get().unwrap().len(), length);
        let list = manager.list((0..20_000).map(|number: u32| number.to_string())).unwrap();
        assert_eq!(list.to_vec().unwrap()[19_999], "19999");
    }
}

fn one_that_is_killed_or_late_takes_nothing() {
    for manager in managers() {
        let queue: JoinableQueue<u32> = manager.joinable_queue(1).unwrap();
        for round in 0..20 {
            let get = {
                let queue = queue.clone();
                spawn(move || queue.get())
            };
            for _ in 0..round % 4 {
                yield_now();
            }
            get.kill();
            assert!(with_timeout(Duration::from_micros(300), || queue.get()).is_err());
            queue.put(&round).unwrap();
            assert!(with_timeout(Duration::from_micros(300), || queue.put(&1000)).is_err());
            assert_eq!(queue.get_timeout(LIMIT), Ok(round));
            assert_eq!(queue.try_get(), Err(ManagerError::Empty));
        }
    }
}

fn many_green_threads_call_at_once() {
    for manager in managers() {
        let (queue, total): (Queue<u64>, _) = (manager.queue(3).unwrap(), manager.value(0_u64).unwrap());
        let threads: Vec<_> = (0..50)
            .map(|number| {
                let (queue, total) = (queue.clone(), total.clone());
                spawn(move || match number % 2 {
                    0 => queue.put(&number).unwrap(),
                    _ => {
                        let number = queue.get().unwrap();
                        total.update(|before| before + number).unwrap();
                    }
                })
            })
            .collect();
        joinall(&threads);
        assert_eq!(total.get(), Ok((0..50).step_by(2).sum()));
    }
}
