//! Events and results: gevent's `test__event.py`, as far as `tests/event.rs` does not hold it. Numbers: see `README.md`.

use std::sync::{Arc, Mutex};

use greenloop::event::{AsyncResult, Event};
use greenloop::{idle, yield_now};

use crate::support::{run_child, within};
use crate::{LIMIT, collect_uncaught};

/// What happened, in order: links are `Send`.
#[derive(Clone, Default)]
struct Calls(Arc<Mutex<Vec<u32>>>);

impl Calls {
    fn call(&self, number: u32) -> impl FnOnce() + Send + 'static {
        let calls = self.0.clone();
        move || calls.lock().unwrap().push(number)
    }

    fn take(&self) -> Vec<u32> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

#[test]
fn case_102_a_link_is_called_once_and_in_order() {
    within(LIMIT, || {
        let (event, calls) = (Event::new(), Calls::default());
        let links = [0, 1, 2, 3].map(|number| event.link(calls.call(number)));
        let [_, second, ..] = links;
        assert!(event.unlink(second));
        event.set();
        event.clear();
        assert_eq!(calls.take(), [0; 0], "not within the set");
        idle();
        assert_eq!(calls.take(), [0, 2, 3], "though it was cleared at once");
        event.set();
        idle();
        assert_eq!(calls.take(), [0; 0], "once");
        let [taken_back, late] = [4, 5].map(|number| event.link(calls.call(number)));
        assert!(event.unlink(taken_back), "it is set: under way, and not called yet");
        idle();
        assert_eq!(calls.take(), [5]);
        assert!(!event.unlink(late));

        let result = AsyncResult::<Result<u32, &str>>::new();
        let links = [0, 1].map(|number| result.link(calls.call(number)));
        result.set_error("broken");
        result.set(Ok(1));
        idle();
        assert_eq!((calls.take(), result.get()), (vec![0, 1], Ok(1)));
        assert!(links.into_iter().all(|link| !result.unlink(link)));
    });
}

#[test]
fn case_102_a_raw_link_runs_in_the_hub() {
    let Some(child) = run_child(LIMIT, || {
        let told = collect_uncaught();
        let (event, calls) = (Event::new(), Calls::default());
        event.rawlink(calls.call(0));
        event.rawlink(|| greenloop::sleep(LIMIT));
        let result = Arc::new(AsyncResult::new());
        let set = result.clone();
        event.rawlink(move || set.set("from the hub"));
        event.set();
        assert_eq!(result.get(), "from the hub");
        yield_now();
        assert_eq!(calls.take(), [0]);
        let told = told.lock().unwrap();
        assert!(matches!(&told[..], [line] if line.contains("nothing may wait")), "{told:?}");
    }) else {
        return;
    };
    assert!(child.status.success(), "{child:?}");
}
