//! The library's own locks are free wherever code of the user's runs.

use std::cell::{Cell, OnceCell};
use std::cmp::Ordering;
use std::io::Write;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

use greenloop::channel::{Sender, bounded};
use greenloop::event::Event;
use greenloop::io::Interest;
use greenloop::queue::{PriorityQueue, Queue};
use greenloop::select::{Key, Selector};
use greenloop::yield_now;

use super::support::within;
use super::{LIMIT, text};

/// Its destructor calls a function.
struct Calls(Option<Box<dyn FnOnce() + Send>>);

impl Calls {
    fn new(function: impl FnOnce() + Send + 'static) -> Calls {
        Calls(Some(Box::new(function)))
    }
}

impl Drop for Calls {
    fn drop(&mut self) {
        if let Some(function) = self.0.take() {
            function();
        }
    }
}

/// Runs `function` in the hub's place, where nothing may wait.
fn in_a_callback(function: impl FnOnce() + Send + 'static) {
    let (event, done) = (Event::new(), Arc::new(AtomicBool::new(false)));
    let end = Calls::new({
        let done = done.clone();
        move || done.store(true, SeqCst)
    });
    event.rawlink(move || {
        let _end = end;
        function();
    });
    event.set();
    while !done.load(SeqCst) {
        yield_now();
    }
}

#[test]
fn a_value_whose_send_is_refused_may_use_the_channel() {
    within(LIMIT, || {
        let (sender, receiver) = bounded::<Calls>(1);
        sender.send(Calls(None)).unwrap();
        let lengths = Arc::new(AtomicUsize::new(0));
        let seen = lengths.clone();
        in_a_callback(move || {
            let again: Sender<_> = sender.clone();
            // It would have to wait, and panics: nobody has the value, and it goes.
            let _ = sender.send(Calls::new(move || _ = seen.fetch_add(again.len(), SeqCst)));
        });
        assert_eq!(lengths.load(SeqCst), 1);
        assert!(receiver.recv().is_ok());
        assert!(receiver.recv().is_err(), "nothing else was sent");
    });
}

#[test]
fn an_item_whose_put_is_refused_may_use_the_queue() {
    within(LIMIT, || {
        let queue = Arc::new(Queue::<Calls>::bounded(1));
        queue.put(Calls(None)).unwrap();
        let lengths = Arc::new(AtomicUsize::new(0));
        let (full, seen) = (queue.clone(), lengths.clone());
        in_a_callback(move || {
            let again = full.clone();
            let _ = full.put(Calls::new(move || _ = seen.fetch_add(again.len(), SeqCst)));
        });
        assert_eq!(lengths.load(SeqCst), 1);
        assert_eq!(queue.len(), 1);
    });
}

/// Compared, it uses a queue.
struct Uses(u32, Option<Arc<PriorityQueue<Uses>>>);

impl Ord for Uses {
    fn cmp(&self, other: &Uses) -> Ordering {
        for queue in [&self.1, &other.1].into_iter().flatten() {
            let _ = queue.try_get();
        }
        self.0.cmp(&other.0)
    }
}

impl PartialOrd for Uses {
    fn partial_cmp(&self, other: &Uses) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Uses {
    fn eq(&self, other: &Uses) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Uses {}

#[test]
fn a_comparison_that_uses_its_own_queue_panics() {
    within(LIMIT, || {
        let queue = Arc::new(PriorityQueue::unbounded());
        queue.put(Uses(1, None)).unwrap();
        let put = catch_unwind(AssertUnwindSafe(|| queue.put(Uses(2, Some(queue.clone())))));
        let payload = put.unwrap_err();
        let rule = payload.downcast_ref::<&str>().expect("the rule");
        assert!(rule.contains("a comparison or a clone"), "{rule}");
        assert_eq!(queue.len(), 1);
        queue.put(Uses(3, None)).unwrap();
        assert_eq!(queue.get().unwrap().0, 1);
    });
}

#[test]
fn a_comparison_may_use_another_queue() {
    within(LIMIT, || {
        let (queue, other) = (PriorityQueue::unbounded(), Arc::new(PriorityQueue::unbounded()));
        other.put(Uses(7, None)).unwrap();
        queue.put(Uses(1, None)).unwrap();
        queue.put(Uses(2, Some(other.clone()))).unwrap();
        assert!(other.is_empty());
        assert_eq!(queue.len(), 2);
    });
}

/// Panics when it is compared, and then uses its queue as it is dropped.
struct Refuses(u32, Option<Arc<PriorityQueue<Refuses>>>, Arc<AtomicUsize>);

impl Ord for Refuses {
    fn cmp(&self, other: &Refuses) -> Ordering {
        if self.1.is_some() {
            std::panic::resume_unwind(Box::new("not comparable"));
        }
        self.0.cmp(&other.0)
    }
}

impl PartialOrd for Refuses {
    fn partial_cmp(&self, other: &Refuses) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Refuses {
    fn eq(&self, other: &Refuses) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Refuses {}

impl Drop for Refuses {
    fn drop(&mut self) {
        if let Some(queue) = self.1.take() {
            self.2.store(queue.len(), SeqCst);
            queue.put(Refuses(0, None, self.2.clone())).unwrap();
        }
    }
}

#[test]
fn an_item_whose_comparison_panics_is_dropped_with_its_queue_free() {
    within(LIMIT, || {
        let seen = Arc::new(AtomicUsize::new(0));
        let queue = Arc::new(PriorityQueue::unbounded());
        (1..=30).for_each(|number| queue.put(Refuses(number, None, seen.clone())).unwrap());
        let refuses = Refuses(20, Some(queue.clone()), seen.clone());
        let raised = catch_unwind(AssertUnwindSafe(|| queue.put(refuses))).unwrap_err();
        assert_eq!(text(&*raised), "not comparable");
        assert_eq!((seen.load(SeqCst), queue.unfinished()), (30, 31));
        let numbers: Vec<u32> = queue.try_iter().map(|item| item.0).collect();
        assert_eq!(numbers, (0..=30).collect::<Vec<_>>());
    });
}

type OnClone = dyn Fn(&Selector<Used>);

/// Data whose clone uses the selector that it is in.
struct Used {
    name: &'static str,
    selector: Rc<OnceCell<Selector<Used>>>,
    on_clone: Rc<OnClone>,
}

impl Clone for Used {
    fn clone(&self) -> Used {
        (self.on_clone)(self.selector.get().unwrap());
        Used { name: self.name, selector: self.selector.clone(), on_clone: self.on_clone.clone() }
    }
}

/// A selector of two readable sockets, whose data does this when it is cloned, and the sockets.
fn used(
    on_clone: impl Fn(&Selector<Used>, RawFd) + 'static,
) -> (Rc<OnceCell<Selector<Used>>>, [UnixStream; 2]) {
    let selector = Rc::new(OnceCell::new());
    let (one, mut two) = UnixStream::pair().unwrap();
    two.write_all(b"a").unwrap();
    (&one).write_all(b"b").unwrap();
    let second = two.as_raw_fd();
    let on_clone: Rc<OnClone> = Rc::new(move |selector| on_clone(selector, second));
    assert!(selector.set(Selector::new().unwrap()).is_ok());
    for (socket, name) in [(&one, "one"), (&two, "two")] {
        let data = Used { name, selector: selector.clone(), on_clone: on_clone.clone() };
        selector.get().unwrap().register(socket, Interest::READABLE, data).unwrap();
    }
    (selector, [one, two])
}

fn names(keys: impl IntoIterator<Item = Key<Used>>) -> Vec<&'static str> {
    keys.into_iter().map(|key| key.data.name).collect()
}

#[test]
fn what_clones_a_selector_s_data_may_use_the_selector() {
    within(LIMIT, || {
        let (selector, sockets) = used(|selector, second| drop(selector.unregister(&second)));
        let selector = selector.get().unwrap();
        let ready = selector.select(None).unwrap();
        assert_eq!(names(ready.into_iter().map(|(key, _)| key)), ["one"]);
        assert_eq!((selector.len(), names(selector.keys())), (1, vec!["one"]));
        drop(sockets);
    });
}

#[test]
fn what_clones_a_selector_s_data_finds_all_but_that() {
    within(LIMIT, || {
        let seen = Rc::new(Cell::new(0));
        let (selector, sockets) = used({
            let seen = seen.clone();
            move |selector, second| {
                seen.set(selector.len());
                if selector.unregister(&second).is_err() {
                    std::panic::resume_unwind(Box::new("its own"));
                }
            }
        });
        let selector = selector.get().unwrap();
        let raised = catch_unwind(AssertUnwindSafe(|| drop(selector.get_key(&sockets[1])))).unwrap_err();
        assert_eq!((text(&*raised), seen.get(), selector.len()), ("its own", 1, 2));
        assert_eq!(names(selector.get_key(&sockets[0])), ["one"]);
        assert_eq!(selector.len(), 1);
    });
}
