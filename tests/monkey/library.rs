//! Calls from a shared library, which is linked with no regard to greenloop.

use std::ffi::c_int;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;

use greenloop::{Builder, spawn, yield_now};

use crate::patched;
use crate::shared_library::Library;

const SOURCE: &str = r#"
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

/* Waits for a byte, in two ways, and sends back its successor. */
int answer(int fd) {
    struct pollfd asked = { .fd = fd, .events = POLLIN };
    unsigned char byte;
    if (poll(&asked, 1, 60000) != 1 || recv(fd, &byte, 1, 0) != 1)
        return -1;
    usleep(1000);
    if (read(fd, &byte, 1) != 1)
        return -2;
    byte++;
    return write(fd, &byte, 1) == 1 ? 0 : -3;
}
"#;

const LOCKS: &str = r#"
#define _GNU_SOURCE
#include <pthread.h>
#include <unistd.h>

static pthread_mutex_t locks[2] = { PTHREAD_MUTEX_INITIALIZER, PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP };
static int counters[2];

/* Adds one, with a lock held across a sleep. */
int add(int number) {
    if (pthread_mutex_lock(&locks[number]) != 0)
        return -1;
    int before = counters[number];
    usleep(100);
    counters[number] = before + 1;
    return pthread_mutex_unlock(&locks[number]) == 0 ? before + 1 : -2;
}
"#;

const CONDITION: &str = r#"
#include <errno.h>
#include <pthread.h>
#include <time.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static int turn;

/* Two players change turns; all others wait until their limit. */
int play(int player) {
    if (player > 1) {
        struct timespec until;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += 10000000;
        until.tv_sec += until.tv_nsec / 1000000000;
        until.tv_nsec %= 1000000000;
        int result = 0;
        pthread_mutex_lock(&lock);
        while (result == 0)
            result = pthread_cond_timedwait(&changed, &lock, &until);
        pthread_mutex_unlock(&lock);
        return result == ETIMEDOUT ? 0 : result;
    }
    for (int round = 0; round < 100; round++) {
        pthread_mutex_lock(&lock);
        while (turn % 2 != player)
            pthread_cond_wait(&changed, &lock);
        turn++;
        pthread_cond_broadcast(&changed);
        pthread_mutex_unlock(&lock);
    }
    pthread_mutex_lock(&lock);
    int seen = turn;
    pthread_cond_signal(&changed);
    pthread_mutex_unlock(&lock);
    return seen;
}
"#;

/// The function `name` of a library in C.
fn function(name: &str, source: &str) -> unsafe extern "C" fn(c_int) -> c_int {
    Library::new("c", name, source).function(name)
}

#[test]
fn a_c_library_yields() {
    let answer = function("answer", SOURCE);
    patched(move || {
        let (mut one, other) = UnixStream::pair().unwrap();
        // SAFETY: the library stays loaded, and the descriptor open, as long as the function runs.
        let task = spawn(move || unsafe { answer(other.as_raw_fd()) });
        yield_now();
        assert!(!task.is_finished());
        one.write_all(b"a").unwrap();
        greenloop::sleep(std::time::Duration::from_millis(5));
        assert!(!task.is_finished());
        one.write_all(b"b").unwrap();
        let mut byte = [0];
        one.read_exact(&mut byte).unwrap();
        assert_eq!(&byte, b"c");
        assert_eq!(task.join().unwrap(), 0);
    });
}

#[test]
fn a_lock_of_a_c_library_is_held_across_a_sleep() {
    let add = function("add", LOCKS);
    // Two hubs and a thread without one; the recursive lock tells isolated green threads apart.
    for (number, isolated) in [(0, false), (0, true), (1, true)] {
        patched(move || {
            // SAFETY: the library stays loaded.
            let add = move || (0..20).map(|_| unsafe { add(number) }).max().unwrap();
            let hub = move || {
                let tasks: Vec<_> =
                    (0..5).map(|_| Builder::new().isolated(isolated).spawn(add).unwrap()).collect();
                tasks.into_iter().map(|task| task.join().unwrap()).max().unwrap()
            };
            let before = add() - 20;
            let threads = [std::thread::spawn(hub), std::thread::spawn(hub), std::thread::spawn(add)];
            let highest = threads.map(|thread| thread.join().unwrap()).into_iter().max().unwrap();
            assert_eq!(highest, before + 20 + 11 * 20);
        });
    }
}

#[test]
fn a_condition_of_a_c_library_is_waited_for() {
    let play = function("play", CONDITION);
    // SAFETY: the library stays loaded.
    let play = move |player: c_int| unsafe { play(player) };
    patched(move || {
        // In one hub, and then with the second player on a thread without one.
        let others: Vec<_> = (2..5).map(|player| spawn(move || play(player))).collect();
        let players = [spawn(move || play(0)), spawn(move || play(1))];
        let seen = players.map(|player| player.join().unwrap());
        assert_eq!(seen.into_iter().max(), Some(200));
        others.into_iter().for_each(|other| assert_eq!(other.join().unwrap(), 0));
        let first = spawn(move || play(0));
        let second = std::thread::spawn(move || play(1));
        assert_eq!(first.join().unwrap().max(second.join().unwrap()), 400);
    });
}
