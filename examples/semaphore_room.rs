//! A room with a limit: seven visitors, and never more than two inside.
//!
//! Run it with `cargo run --example semaphore_room`. A semaphore has a permit for each place in the room. Who finds none
//! waits, and who leaves lets the next in line come in.
//!
//! Expected output:
//!
//!     Ada comes in, 1 inside
//!     Ben comes in, 2 inside
//!     Cleo waits behind 0 others
//!     Dan waits behind 1 others
//!     Eva waits behind 2 others
//!     Finn waits behind 3 others
//!     Gwen waits behind 4 others
//!     Ada leaves
//!     Ben leaves
//!     Cleo comes in, 1 inside
//!     Dan comes in, 2 inside
//!     Cleo leaves
//!     Dan leaves
//!     Eva comes in, 1 inside
//!     Finn comes in, 2 inside
//!     Eva leaves
//!     Finn leaves
//!     Gwen comes in, 1 inside
//!     Gwen leaves
//!     the room is empty: 2 places are free

use std::cell::Cell;

use greenloop::sync::Semaphore;
use greenloop::{scope, yield_now};
use tool::say;

mod tool;

const PLACES: usize = 2;
const VISITORS: [&str; 7] = ["Ada", "Ben", "Cleo", "Dan", "Eva", "Finn", "Gwen"];

/// The room and who is there. All visitors are green threads of one OS thread, so plain cells can count them.
struct Museum {
    room: Semaphore,
    inside: Cell<usize>,
    in_line: Cell<usize>,
}

fn main() {
    tool::takes_no_arguments(include_str!("semaphore_room.rs"));
    let museum = Museum { room: Semaphore::new(PLACES), inside: Cell::new(0), in_line: Cell::new(0) };
    scope(|scope| {
        for name in VISITORS {
            scope.spawn(|| museum.visit(name));
        }
    });
    say!("the room is empty: {} places are free", museum.room.available_permits());
}

impl Museum {
    fn visit(&self, name: &str) {
        let place = self.room.try_acquire().unwrap_or_else(|| {
            say!("{name} waits behind {} others", self.in_line.replace(self.in_line.get() + 1));
            let place = self.room.acquire();
            self.in_line.set(self.in_line.get() - 1);
            place
        });
        self.inside.set(self.inside.get() + 1);
        say!("{name} comes in, {} inside", self.inside.get());
        assert!(self.inside.get() <= PLACES);
        // Two turns of looking around. By the clock, visits that end at almost the same time might end in either order.
        yield_now();
        yield_now();
        self.inside.set(self.inside.get() - 1);
        say!("{name} leaves");
        drop(place);
    }
}
