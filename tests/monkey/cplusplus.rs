//! What C++ waits for: its locks, and what it initialises once.

use std::ffi::c_int;
use std::thread;

use greenloop::Builder;

use crate::shared_library::Library;
use crate::{patched, yields};

const SOURCE: &str = r#"
#include <chrono>
#include <mutex>
#include <semaphore.h>
#include <shared_mutex>
#include <unistd.h>

/* Each in three copies, of which every test has one. */
#define COPIES(name)                                                        \
    extern "C" int name(int copy) {                                         \
        return copy == 0 ? name<0>() : copy == 1 ? name<1>() : name<2>();   \
    }

struct Slow {
    int value;
    Slow() { usleep(20000); value = 7; }
};

template <int> int local_static() { static Slow slow; return slow.value; }
COPIES(local_static)

template <int> int call_once() {
    static std::once_flag flag;
    static int value;
    std::call_once(flag, [] { usleep(20000); value = 7; });
    return value;
}
COPIES(call_once)

/* The first two that come fail, and leave it to the next. */
int fail_once() {
    static std::once_flag flag;
    static int calls;
    try {
        std::call_once(flag, [] { usleep(5000); if (++calls < 3) throw calls; });
    } catch (int) {
        return fail_once();
    }
    return calls == 3 ? 7 : -1;
}
extern "C" int failing_once(int) { return fail_once(); }

template <int> int shared_mutex() {
    static std::shared_mutex mutex;
    static int value, readers;
    {
        std::unique_lock<std::shared_mutex> lock(mutex);
        int before = value;
        usleep(1000);
        if (readers != 0) return -1;
        value = before + 1;
    }
    std::shared_lock<std::shared_mutex> lock(mutex);
    __atomic_add_fetch(&readers, 1, __ATOMIC_SEQ_CST);
    int before = value;
    usleep(1000);
    int after = value;
    __atomic_sub_fetch(&readers, 1, __ATOMIC_SEQ_CST);
    return before == after && after > 0 ? 7 : -2;
}
COPIES(shared_mutex)

template <int> int timed_mutex() {
    static std::timed_mutex mutex;
    static int value;
    std::unique_lock<std::timed_mutex> lock(mutex, std::chrono::seconds(60));
    if (!lock.owns_lock()) return -1;
    int before = value;
    usleep(1000);
    value = before + 1;
    return value == before + 1 ? 7 : -2;
}
COPIES(timed_mutex)

template <int> int semaphore() {
    static sem_t semaphore = [] { sem_t made; sem_init(&made, 0, 2); return made; }();
    static int inside;
    if (sem_wait(&semaphore) != 0) return -1;
    int with = __atomic_add_fetch(&inside, 1, __ATOMIC_SEQ_CST);
    usleep(1000);
    __atomic_sub_fetch(&inside, 1, __ATOMIC_SEQ_CST);
    return sem_post(&semaphore) == 0 && with <= 2 ? 7 : -2;
}
COPIES(semaphore)
"#;

/// What is thrown, and caught again, waits in the middle: the C++ library keeps per thread what is being handled.
const EXCEPTIONS: &str = r#"
#include <cstring>
#include <stdexcept>
#include <string>
#include <unistd.h>

extern "C" int rethrow(int number) {
    std::string expected = "exception " + std::to_string(number);
    try {
        try {
            throw std::runtime_error(expected);
        } catch (const std::exception &) {
            usleep(1000 * (10 - number));
            throw;
        }
    } catch (const std::exception &caught) {
        return std::strcmp(caught.what(), expected.c_str()) == 0 ? 7 : -1;
    }
}
"#;

const NAMES: [&str; 6] =
    ["local_static", "call_once", "failing_once", "shared_mutex", "timed_mutex", "semaphore"];

fn ten_at_once(function: unsafe extern "C" fn(c_int) -> c_int, copy: c_int, isolated: bool) -> Vec<c_int> {
    let tasks: Vec<_> = (0..10)
        .map(|_| {
            // SAFETY: the library stays loaded.
            let call = move || unsafe { function(copy) };
            Builder::new().isolated(isolated).spawn(call).unwrap()
        })
        .collect();
    tasks.into_iter().map(|task| task.join().unwrap()).collect()
}

#[test]
fn the_locks_and_the_initialisers_of_cplusplus_yield() {
    let library = Library::new("c++", "cplusplus", SOURCE);
    for name in NAMES {
        let function = library.function(name);
        for (copy, isolated) in [(0, false), (1, true)] {
            let values = patched(move || {
                let ten = move || ten_at_once(function, copy, isolated);
                // It fails once in all copies together.
                if name == "failing_once" { ten() } else { yields(ten) }
            });
            assert_eq!(values, [7; 10], "{name}, isolated: {isolated}");
        }
        // Two hubs, and two threads without one.
        let values = patched(move || {
            let hubs =
                [false, true].map(|isolated| thread::spawn(move || ten_at_once(function, 2, isolated)));
            // SAFETY: the library stays loaded.
            let others = [0; 2].map(|_| thread::spawn(move || vec![unsafe { function(2) }]));
            hubs.into_iter().chain(others).flat_map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
        });
        assert_eq!(values, [7; 22], "{name}");
    }
}

#[test]
fn each_green_thread_handles_its_own_exception() {
    let library = Library::new("c++", "exceptions", EXCEPTIONS);
    let function = library.function("rethrow");
    let values = patched(move || {
        // SAFETY: the library stays loaded.
        let tasks = (0..10).map(|number| greenloop::spawn(move || unsafe { function(number) }));
        let tasks: Vec<_> = tasks.collect();
        tasks.into_iter().map(|task| task.join().unwrap()).collect::<Vec<_>>()
    });
    assert_eq!(values, [7; 10]);
}
