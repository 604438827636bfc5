use std::cell::Cell;
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, symlink};
use std::rc::Rc;
use std::time::Duration;

use greenloop::event::Event;
use greenloop::net::unix::UnixStream;
use greenloop::process::{Incoming, Outgoing, Pipe, Process, Sender, Wire, channel, pipe};
use greenloop::processes::{Manager, ManagerError};
use greenloop::{sleep, spawn, with_timeout, yield_now};

use crate::attacks::SOON;
use crate::manager_access::{Folder, SECRET, knock, receive, send, taken_apart};
use crate::managers::managers;
use crate::shortage::all_but;
use crate::{LONG, tests, until};

tests! {
    an_answer_that_does_not_decode_ends_its_connection,
    a_drop_that_comes_late_is_not_answered,
    an_end_gives_nobody_a_lock,
    one_that_cannot_be_told_does_not_wait_on,
    children_do_not_keep_an_address,
    children_do_not_keep_a_guest,
    a_child_forked_amid_calls_keeps_no_connection,
    a_child_forked_as_a_client_comes_in_keeps_no_connection,
    updates_see_that_a_descriptor_has_changed,
    what_was_got_is_not_kept,
    a_notification_outlives_who_was_to_have_it,
    a_condition_of_another_manager,
    a_shutdown_without_descriptors,
    a_folder_behind_a_link_is_refused,
    names_in_a_folder_are_taken_one_at_a_time,
    one_of_the_next_round_leaves_a_barrier,
    a_kill_amid_an_unlock_poisons_nothing,
}

const SHORT: Duration = Duration::from_millis(10);

/// One that begins with a zero is none when it comes.
#[derive(Debug, PartialEq)]
struct Picky(Vec<u8>);

impl Wire for Picky {
    fn put<'a>(&'a self, into: &mut Outgoing<'a>) {
        self.0.put(into);
    }

    fn take(from: &mut Incoming<'_>) -> Option<Picky> {
        Vec::take(from).filter(|bytes: &Vec<u8>| bytes[0] != 0).map(Picky)
    }
}

fn is_undecodable<T>(told: Result<T, ManagerError>) -> bool {
    matches!(told, Err(ManagerError::Undecodable(_)))
}

fn an_answer_that_does_not_decode_ends_its_connection() {
    for manager in managers() {
        // More than one part of an answer.
        let list = manager.list((0..200).map(|number| Picky(vec![number; 1000]))).unwrap();
        assert!(is_undecodable(list.to_vec()));
        for _ in 0..4 {
            assert_eq!(list.len(), Ok(200));
            assert_eq!(list.get(7), Ok(Some(Picky(vec![7; 1000]))));
        }
        let queue = manager.joinable_queue(0).unwrap();
        (*queue).put(&Picky(vec![0])).unwrap();
        assert!(is_undecodable(queue.try_lease()));
        until("it is back", || queue.len() == Ok(1));
    }
}

fn a_drop_that_comes_late_is_not_answered() {
    const LENGTH: u8 = 14;
    const LEASE_BACK: u8 = 37;
    const DROP: u8 = 53;
    for manager in managers() {
        let dict = manager.dict::<u32, u32>().unwrap();
        let (number, door) = taken_apart(&dict);
        let connection = knock(&door);
        let ask = |number: u64, verb: u8| {
            send(&connection, &[&[0x10, 0][..], &number.to_le_bytes(), &[verb]].concat(), &[]).unwrap();
        };
        ask(u64::MAX, DROP);
        ask(u64::MAX, LEASE_BACK);
        ask(number, LENGTH);
        let told = Cell::new(None);
        until("it answers", || {
            told.set(receive(&connection));
            told.get().is_some()
        });
        assert_eq!((told.get(), receive(&connection)), (Some(1), None));
    }
}

fn an_end_gives_nobody_a_lock() {
    let manager = Manager::new().unwrap();
    let lock = manager.lock().unwrap();
    let _guard = lock.lock().unwrap();
    let same = lock.clone();
    let waiter = spawn(move || same.lock().map(|_| ()));
    // The manager is of this hub too, and has its turns meanwhile.
    (0..50).for_each(|_| assert_eq!(lock.is_poisoned(), Ok(false)));
    manager.shutdown();
    assert_eq!(waiter.join().unwrap(), Err(ManagerError::Ended));
}

fn one_that_cannot_be_told_does_not_wait_on() {
    let manager = Manager::new().unwrap();
    let queue = manager.joinable_queue::<Vec<u8>>(0).unwrap();
    (*queue).put(&vec![7; 300_000]).unwrap();
    let (ours, theirs) = pipe::<(), ()>().unwrap();
    let leased = queue.clone();
    let holder = Process::start(move || {
        let lease = leased.lease().unwrap();
        theirs.send(&()).unwrap();
        theirs.recv().unwrap();
        drop(lease);
        theirs.recv().unwrap_err();
    })
    .unwrap();
    ours.recv().unwrap();
    let (waits, wait) = channel::<()>().unwrap();
    let same = queue.clone();
    let waiter = Process::start(move || {
        waits.send(&()).unwrap();
        same.get().map(|item| item.len() as u64).unwrap_or(0)
    })
    .unwrap();
    wait.recv().unwrap();
    sleep(SHORT);
    let held = all_but(0);
    ours.send(&()).unwrap();
    // Its item goes beside the packet, in a descriptor that the manager does not get.
    assert_eq!(waiter.join_timeout(SOON).expect("it is told").unwrap(), 0);
    drop(held);
    assert_eq!(queue.get().unwrap().len(), 300_000);
    drop(ours);
    holder.join().unwrap();
}

/// A process with a manager at the folder's address, and the pipe by which it begins a child and tells its number.
fn host(folder: &Folder) -> (Process<()>, Pipe<(), u32>) {
    let (ours, theirs) = pipe::<(), u32>().unwrap();
    let address = folder.address();
    let host = Process::start(move || {
        let manager = Manager::new().unwrap();
        manager.listen(&address, SECRET).unwrap();
        theirs.send(&0).unwrap();
        theirs.recv().unwrap();
        let child = Process::start(|| sleep(LONG)).unwrap();
        theirs.send(&child.id()).unwrap();
        sleep(LONG);
    })
    .unwrap();
    ours.recv().unwrap();
    (host, ours)
}

/// Kills the host before its child, which it has begun.
fn child_of_killed(host: &Process<()>, pipe: &Pipe<(), u32>) -> u32 {
    pipe.send(&()).unwrap();
    let child = pipe.recv().unwrap();
    host.kill().unwrap();
    host.wait().unwrap();
    child
}

fn children_do_not_keep_an_address() {
    let folder = Folder::new("inherited");
    let (host, pipe) = host(&folder);
    let child = child_of_killed(&host, &pipe);
    let told = with_timeout(Duration::from_secs(5), || Manager::connect(folder.address(), SECRET).is_err());
    let manager = Manager::new().unwrap();
    let taken_over = manager.listen(folder.address(), SECRET);
    // SAFETY: takes no pointers.
    unsafe { libc::kill(child as libc::pid_t, libc::SIGKILL) };
    assert!(told.unwrap());
    taken_over.unwrap();
}

fn children_do_not_keep_a_guest() {
    let folder = Folder::new("guest");
    let (host, pipe) = host(&folder);
    let mut guest = UnixStream::connect(folder.address()).unwrap();
    // It is let in, and says nothing.
    guest.read_exact(&mut [0; 1]).unwrap();
    let child = child_of_killed(&host, &pipe);
    let told = with_timeout(SOON, || guest.read_to_end(&mut Vec::new()));
    // SAFETY: takes no pointers.
    unsafe { libc::kill(child as libc::pid_t, libc::SIGKILL) };
    // What it left unread is no matter of the guest's.
    drop(told.expect("it sees the end of its host"));
}

fn a_child_forked_amid_calls_keeps_no_connection() {
    for yields in 0..8 {
        let manager = Manager::new().unwrap();
        let (queue, lock) = (manager.queue::<u8>(0).unwrap(), manager.lock().unwrap());
        // So that the next call needs a new connection, and waits with it before a door at which many stand already.
        let _guard = lock.lock().unwrap();
        let (_, door) = taken_apart(&queue);
        while send(&door, &[0x10], &[]).is_ok() {}
        let waiter = spawn(move || queue.get());
        let forker = spawn(move || {
            (0..yields).for_each(|_| yield_now());
            Process::start(|| sleep(LONG)).unwrap()
        });
        let child = forker.join().unwrap();
        (0..50).for_each(|_| assert_eq!(lock.is_poisoned(), Ok(false)));
        manager.shutdown();
        let told = waiter.join_timeout(SOON);
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(told.expect("it is told").unwrap(), Err(ManagerError::Ended), "after {yields} yields");
    }
}

fn a_child_forked_as_a_client_comes_in_keeps_no_connection() {
    let manager = Manager::new().unwrap();
    let (queue, lock) = (manager.queue::<u8>(0).unwrap(), manager.lock().unwrap());
    // So that the next call needs a new connection.
    let _guard = lock.lock().unwrap();
    let (mut reader, mut writer) = greenloop::io::pipe().unwrap();
    let forker = spawn(move || {
        reader.read_exact(&mut [0]).unwrap();
        Process::start(|| sleep(LONG)).unwrap()
    });
    sleep(SHORT);
    let waiter = spawn(move || queue.get());
    // Just behind that one, so that the child is forked when the manager has its connection, and has not begun to serve it.
    drop(spawn(move || writer.write_all(b"a")));
    let child = forker.join().unwrap();
    (0..50).for_each(|_| assert_eq!(lock.is_poisoned(), Ok(false)));
    manager.shutdown();
    let told = waiter.join_timeout(SOON);
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(told.expect("it is told").unwrap(), Err(ManagerError::Ended));
}

fn updates_see_that_a_descriptor_has_changed() {
    for manager in managers() {
        let ends: Vec<_> = (0..3).map(|_| channel::<u8>().unwrap()).collect();
        let sender = |number: usize| ends[number].0.clone();
        let value = manager.value(sender(0)).unwrap();
        let array = manager.array([sender(0)]).unwrap();
        let dict = manager.dict::<u8, Sender<u8>>().unwrap();
        dict.insert(&1, &sender(0)).unwrap();
        // Another has set it between the read and the write: what is there then is read again.
        let rounds = Cell::new(0);
        let amid = |set: &dyn Fn()| {
            rounds.set(rounds.get() + 1);
            if rounds.get() % 2 == 1 {
                set();
            }
        };
        drop(value.update(|before| (amid(&|| value.set(&sender(1)).unwrap()), before).1).unwrap());
        drop(array.update(0, |before| (amid(&|| drop(array.set(0, &sender(1)))), before).1).unwrap());
        drop(dict.update(&1, |before| (amid(&|| drop(dict.insert(&1, &sender(1)))), before).1).unwrap());
        assert_eq!(rounds.get(), 6);
        for end in [value.get().unwrap(), array.get(0).unwrap().unwrap(), dict.get(&1).unwrap().unwrap()] {
            end.send(&5).unwrap();
            assert_eq!(ends[1].1.try_recv().unwrap(), 5);
        }
    }
}

fn what_was_got_is_not_kept() {
    for manager in managers() {
        let queue = manager.queue::<Sender<u8>>(0).unwrap();
        let (sender, receiver) = channel::<u8>().unwrap();
        queue.put(&sender).unwrap();
        drop(sender);
        drop(queue.get().unwrap());
        let told = receiver.recv_timeout(SOON).unwrap_err();
        assert_eq!(told.kind(), ErrorKind::UnexpectedEof);
    }
}

fn a_notification_outlives_who_was_to_have_it() {
    for manager in managers() {
        let (lock, condition) = (manager.lock().unwrap(), manager.condition().unwrap());
        let waits = manager.value(0_u32).unwrap();
        let children = [1, 2].map(|number| {
            let (same, queue, counted) = (lock.clone(), condition.clone(), waits.clone());
            let child = Process::start(move || {
                let guard = same.lock().unwrap();
                counted.set(&number).unwrap();
                queue.wait(guard).map(|_| ()).is_ok()
            })
            .unwrap();
            // With the lock one knows that it waits.
            until("it waits", || {
                let _guard = lock.lock().unwrap();
                waits.get() == Ok(number)
            });
            child
        });
        let guard = lock.lock().unwrap();
        assert_eq!(condition.notify_one(), Ok(1));
        let [first, second] = children;
        first.kill().unwrap();
        first.wait().unwrap();
        guard.unlock().unwrap();
        assert!(second.join_timeout(SOON).expect("it is notified").unwrap());
        assert!(!lock.is_poisoned().unwrap());
    }
}

fn a_condition_of_another_manager() {
    let (one, other) = (Manager::new().unwrap(), Manager::new().unwrap());
    let (condition, lock) = (one.condition().unwrap(), other.lock().unwrap());
    let told = condition.wait_timeout(lock.lock().unwrap(), SHORT).map(|_| ());
    assert_eq!(told, Err(ManagerError::NotHeld));
    until("it is free", || lock.try_lock().unwrap().is_some());
    assert!(!lock.is_poisoned().unwrap());
}

fn a_shutdown_without_descriptors() {
    let manager = Manager::start().unwrap();
    let held = all_but(0);
    with_timeout(SOON, || manager.shutdown()).unwrap();
    drop(held);
}

fn a_folder_behind_a_link_is_refused() {
    let (folder, links) = (Folder::new("linked"), Folder::new("links"));
    fs::DirBuilder::new().mode(0o700).create(&folder.0).unwrap();
    fs::DirBuilder::new().mode(0o700).create(&links.0).unwrap();
    symlink(&folder.0, links.0.join("link")).unwrap();
    let manager = Manager::new().unwrap();
    let told = manager.listen(links.0.join("link").join("manager"), SECRET);
    assert!(matches!(told, Err(ManagerError::Refused(_))), "{told:?}");
}

fn names_in_a_folder_are_taken_one_at_a_time() {
    let folder = Folder::new("turns");
    fs::DirBuilder::new().mode(0o700).create(&folder.0).unwrap();
    // As another manager does while it looks whether a name is left, and takes it.
    let turn = fs::File::open(&folder.0).unwrap();
    turn.lock().unwrap();
    let manager = Manager::new().unwrap();
    let (handle, address) = (manager.handle(), folder.address());
    let listens = spawn(move || handle.listen(address, SECRET));
    sleep(5 * SHORT);
    assert!(!listens.is_finished() && !folder.address().exists());
    turn.unlock().unwrap();
    listens.join().unwrap().unwrap();
    assert!(Manager::connect(folder.address(), SECRET).is_ok());
}

fn one_of_the_next_round_leaves_a_barrier() {
    for manager in managers() {
        let barrier = manager.barrier(2).unwrap();
        let (begun, go_on) = (Rc::new(Event::new()), Rc::new(Event::new()));
        let round = |barrier: &greenloop::processes::manager::Barrier| {
            let same = barrier.clone();
            let first = spawn(move || same.wait());
            until("it waits", || barrier.waiting() == Ok(1));
            first
        };
        let first = round(&barrier);
        let (same, told, wait) = (barrier.clone(), begun.clone(), go_on.clone());
        let last = spawn(move || {
            same.wait_with(|| {
                told.set();
                wait.wait();
            })
        });
        begun.wait();
        assert_eq!(barrier.wait_timeout(SHORT), Err(ManagerError::BrokenBarrier));
        go_on.set();
        assert_eq!((first.join().unwrap(), last.join().unwrap()), (Ok(0), Ok(1)));
        // The next round is broken, until somebody says that all is in order.
        assert_eq!((barrier.wait(), barrier.is_broken()), (Err(ManagerError::BrokenBarrier), Ok(true)));
        barrier.reset().unwrap();
        let first = round(&barrier);
        assert_eq!((barrier.wait(), first.join().unwrap()), (Ok(1), Ok(0)));
    }
}

fn a_kill_amid_an_unlock_poisons_nothing() {
    let manager = Manager::new().unwrap();
    let (lock, condition) = (manager.lock().unwrap(), manager.condition().unwrap());
    for calls in 0..70 {
        for waits in [false, true] {
            let locked = Rc::new(Event::new());
            let (same, queue, told) = (lock.clone(), condition.clone(), locked.clone());
            let holder = spawn(move || {
                let (sender, _receiver) = channel::<()>().unwrap();
                let guard = same.lock().unwrap();
                told.set();
                // So many that do not wait: after some of them, one has to let others run, and is killed there.
                (0..calls).for_each(|_| sender.send(&()).unwrap());
                match waits {
                    true => drop(queue.wait(guard)),
                    false => drop(guard.unlock()),
                }
            });
            locked.wait();
            holder.kill();
            until("it is free", || lock.try_lock().unwrap().is_some());
            assert!(!lock.is_poisoned().unwrap(), "after {calls} calls, {waits}");
        }
    }
}
