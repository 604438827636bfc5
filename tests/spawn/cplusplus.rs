//! C++'s threads as green threads: how they are made, wait for each other, keep variables of their own, and fail.

use greenloop::spawn;

use crate::shared_library::Library;
use crate::{os_thread, patched};

/// Each function returns 7 if it was as C++ says.
const SOURCE: &str = r#"
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <future>
#include <mutex>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <unistd.h>
#include <vector>

using namespace std::chrono_literals;

static std::mutex seen_mutex;
static std::set<pid_t> seen;

static void see() {
    std::lock_guard<std::mutex> lock(seen_mutex);
    seen.insert(gettid());
}

/* How many OS threads have run something, and forgets them; -1 if another one than the caller's has. */
extern "C" int os_threads(int) {
    int count = seen.count(gettid()) ? (int)seen.size() : -1;
    seen.clear();
    return count;
}

/* Each has an id of its own, which its handle tells too, and is over once it is joined. */
extern "C" int threads(int) {
    std::vector<std::thread> all;
    std::vector<std::thread::id> ids(20);
    for (int number = 0; number < 20; number++)
        all.emplace_back([number, &ids] {
            see();
            std::this_thread::sleep_for(std::chrono::milliseconds(20 - number));
            ids[number] = std::this_thread::get_id();
        });
    std::set<std::thread::id> distinct{std::this_thread::get_id()};
    for (int number = 0; number < 20; number++) {
        std::thread::id id = all[number].get_id();
        all[number].join();
        if (all[number].joinable() || id != ids[number]) return -1;
        distinct.insert(id);
    }
    try {
        all[0].join();
        return -2;
    } catch (const std::system_error &error) {
        if (error.code() != std::errc::invalid_argument) return -3;
    }
    return distinct.size() == 21 ? 7 : -4;
}

/* One that is let go. */
extern "C" int detached(int) {
    auto done = std::make_shared<std::promise<int>>();
    auto value = done->get_future();
    std::thread([done] {
        see();
        std::this_thread::yield();
        done->set_value_at_thread_exit(7);
    }).detach();
    return value.wait_for(20s) == std::future_status::ready ? value.get() : -1;
}

/* Values and exceptions of functions that run by themselves, at once and when asked for. */
extern "C" int async(int) {
    auto at_once = std::launch::async;
    std::vector<std::future<int>> values;
    for (int number = 0; number < 10; number++)
        values.push_back(std::async(at_once, [number] {
            see();
            std::this_thread::sleep_for(5ms);
            if (number % 2) throw std::runtime_error("odd " + std::to_string(number));
            return number;
        }));
    if (values[0].wait_for(0s) != std::future_status::timeout) return -1;
    for (int number = 0; number < 10; number++) {
        try {
            if (values[number].get() != number || number % 2) return -2;
        } catch (const std::runtime_error &error) {
            if (error.what() != "odd " + std::to_string(number)) return -3;
        }
    }
    auto later = std::async(std::launch::deferred, [caller = std::this_thread::get_id()] {
        return std::this_thread::get_id() == caller;
    });
    std::packaged_task<int()> task([] { return 5; });
    auto packaged = task.get_future();
    std::thread(std::move(task)).join();
    return later.get() && packaged.get() == 5 ? 7 : -4;
}

/* Two that take turns, one that waits in vain, and one that all wait for. */
extern "C" int conditions(int) {
    std::mutex mutex;
    std::condition_variable changed;
    std::condition_variable_any any;
    int turn = 0;
    auto play = [&](int player) {
        see();
        for (int round = 0; round < 50; round++) {
            std::unique_lock<std::mutex> lock(mutex);
            changed.wait(lock, [&] { return turn % 2 == player; });
            turn++;
            changed.notify_all();
        }
    };
    std::thread one(play, 0), two(play, 1);
    one.join();
    two.join();
    if (turn != 100) return -1;
    std::unique_lock<std::mutex> lock(mutex);
    auto begin = std::chrono::steady_clock::now();
    if (changed.wait_for(lock, 10ms, [] { return false; })) return -2;
    if (std::chrono::steady_clock::now() - begin < 10ms) return -3;
    int woken = 0;
    std::vector<std::thread> waiters;
    for (int number = 0; number < 5; number++)
        waiters.emplace_back([&] {
            std::unique_lock<std::mutex> lock(mutex);
            any.wait(lock, [&] { return turn == -1; });
            woken++;
        });
    lock.unlock();
    std::this_thread::sleep_for(1ms);
    lock.lock();
    turn = -1;
    lock.unlock();
    any.notify_all();
    for (auto &waiter : waiters) waiter.join();
    return woken == 5 ? 7 : -4;
}

static std::atomic<int> made, destroyed;

/* Waits in its destructor, as one may. */
struct Own {
    int value = 0;
    Own() { made++; }
    ~Own() {
        std::this_thread::sleep_for(1ms);
        destroyed++;
    }
};
static thread_local Own own;

/* Each has its own, which is destroyed before its end is told. */
extern "C" int variables(int) {
    made = destroyed = 0;
    std::atomic<int> wrong{0};
    std::vector<std::thread> all;
    for (int number = 1; number <= 10; number++)
        all.emplace_back([number, &wrong] {
            see();
            wrong += own.value != 0;
            own.value = number;
            std::this_thread::sleep_for(1ms);
            wrong += own.value != number;
        });
    for (int joined = 1; joined <= 10; joined++) {
        all[joined - 1].join();
        if (destroyed < joined) return -1;
    }
    return wrong == 0 && made == 10 && destroyed == 10 ? 7 : -2;
}

/* Held over waits, in several at once, and handed from one to another. */
extern "C" int exceptions(int) {
    std::atomic<int> right{0};
    std::exception_ptr handed;
    std::vector<std::thread> all;
    for (int number = 0; number < 10; number++)
        all.emplace_back([number, &right, &handed] {
            see();
            try {
                try {
                    throw number;
                } catch (int) {
                    std::this_thread::sleep_for(std::chrono::milliseconds(10 - number));
                    if (number == 0) handed = std::current_exception();
                    throw;
                }
            } catch (int caught) {
                right += caught == number && std::uncaught_exceptions() == 0;
            }
        });
    for (auto &thread : all) thread.join();
    try {
        std::rethrow_exception(handed);
    } catch (int caught) {
        return caught == 0 && right == 10 ? 7 : -1;
    }
    return -2;
}
"#;

const NAMES: [&str; 6] = ["threads", "detached", "async", "conditions", "variables", "exceptions"];

/// From main of the hub, and from a green thread, they run on one OS thread; and all is as it is where there is no hub.
#[test]
fn threads_of_cplusplus_are_green() {
    let library = Library::new("c++", "threads", SOURCE);
    for name in NAMES {
        let (function, seen) = (library.function(name), library.function("os_threads"));
        // SAFETY: the library stays loaded.
        let call = move || [function, seen].map(|function| unsafe { function(0) });
        let [expected, several] = std::thread::spawn(call).join().unwrap();
        assert_eq!((expected, several), (7, -1), "{name}");
        let told = patched(move || {
            let here = os_thread();
            let told = [call(), spawn(call).join().unwrap()];
            assert_eq!(os_thread(), here);
            told
        });
        assert_eq!(told, [[expected, 1]; 2], "{name}");
    }
}
