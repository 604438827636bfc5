use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use greenloop::pool::Pool;
use greenloop::{JoinHandle, sleep, spawn, with_timeout, yield_now};

use crate::LIMIT;
use crate::support::{Random, in_any_order};

const SIZE: usize = 4;
const USERS: usize = 12;
const BLOWS: usize = 150;

/// Green threads that use one pool in every way, under time limits that are over at any moment, while others are killed and
/// replaced. Never do more than four run in slots, and in the end all four are free.
#[test]
fn slots_are_never_lost_nor_given_twice() {
    for seed in 1..=8 {
        in_any_order(LIMIT, move || {
            let pool = Rc::new(Pool::new(SIZE));
            let inside = Rc::new(Cell::new(0));
            let mut random = Random::new(seed);
            let user = |seed| {
                let (pool, inside) = (pool.clone(), inside.clone());
                spawn(move || use_pool(&pool, &inside, &mut Random::new(seed)))
            };
            let mut users: Vec<JoinHandle<()>> = (0..USERS).map(|_| user(random.next())).collect();
            let mut replaced = Vec::new();
            for _ in 0..BLOWS {
                let victim = random.below(USERS);
                let victim = std::mem::replace(&mut users[victim], user(random.next()));
                victim.try_kill();
                replaced.push(victim);
                match random.below(6) {
                    0 => sleep(Duration::from_micros(random.below(200) as u64)),
                    1 => _ = pool.try_kill(),
                    _ => yield_now(),
                }
            }
            for user in replaced.into_iter().chain(users) {
                let ended = user.join();
                assert!(ended.as_ref().err().is_none_or(|error| error.is_killed()), "{ended:?}");
            }
            pool.join();
            assert_eq!((inside.get(), pool.len(), pool.free_count()), (0, 0, SIZE));
        });
    }
}

/// Counts who is inside.
struct Inside(Rc<Cell<usize>>);

impl Inside {
    fn enter(count: &Rc<Cell<usize>>) -> Inside {
        count.set(count.get() + 1);
        assert!(count.get() <= SIZE, "more run than there are slots");
        Inside(count.clone())
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

fn use_pool(pool: &Pool, inside: &Rc<Cell<usize>>, random: &mut Random) {
    for _ in 0..20 {
        let turns = random.below(4);
        let count = inside.clone();
        let work = move |_| {
            let _inside = Inside::enter(&count);
            (0..turns).for_each(|_| yield_now());
        };
        let limit = Duration::from_micros(random.below(300) as u64);
        let how = random.below(7);
        let blow = move || match how {
            0 => drop(pool.spawn(move || work(0))),
            1 => drop(pool.spawn_timeout(limit, move || work(0))),
            2 => drop(pool.try_spawn(move || work(0))),
            3 => drop(pool.apply(move || work(0))),
            4 => drop(pool.apply_async(move || work(0), |()| ())),
            5 => pool.imap(0..5, work).for_each(drop),
            _ => pool.imap_unordered(0..5, work).take(3).for_each(drop),
        };
        match random.below(2) {
            0 => drop(with_timeout(limit, blow)),
            _ => blow(),
        }
    }
}
