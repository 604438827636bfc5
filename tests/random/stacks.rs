//! Operations on greenlets, generators, locals and hooks, and what each OS thread has of them.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use greenloop::error::GreenletExit;
use greenloop::greenlet::{self, Generator, Greenlet};
use greenloop::{greenlet_local, sleep, with_timeout, yield_now};
use rustix::thread::gettid;

use super::account::{Bomb, Witness, muffle};
use super::program::Step;
use super::run::{self, Frame};
use super::verb::Verb;
use super::world::replaced;

/// The greenlets and generators of an OS thread.
#[derive(Default)]
struct Home {
    greenlets: [RefCell<Option<Greenlet<u32>>>; 2],
    generators: [RefCell<Option<Generator<(), ()>>>; 2],
    /// Bodies of these and destructors that have begun and not ended.
    running: Cell<usize>,
}

thread_local! {
    static HOME: Rc<Home> = Rc::default();
}

greenlet_local! {
    static LOCAL: RefCell<Option<Bomb>> = RefCell::new(None);
    inherited static INHERITED: RefCell<Option<Rc<Bomb>>> = RefCell::new(None);
}

/// Something that has begun here and not ended.
pub(super) struct Running(Rc<Home>);

impl Running {
    /// Nothing if this OS thread ends.
    pub(super) fn new() -> Option<Running> {
        let home = home()?;
        home.running.set(home.running.get() + 1);
        Some(Running(home))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.set(self.0.running.get() - 1);
    }
}

/// What there is of this OS thread's, unless that ends.
fn home() -> Option<Rc<Home>> {
    HOME.try_with(Rc::clone).ok()
}

/// Whether there is a greenlet or a generator here.
pub(super) fn any() -> bool {
    home().is_some_and(|home| {
        home.running.get() > 0
            || home.greenlets.iter().any(|slot| slot.try_borrow().map_or(true, |slot| slot.is_some()))
            || home.generators.iter().any(|slot| slot.try_borrow().map_or(true, |slot| slot.is_some()))
    })
}

/// Ends all greenlets and generators of this OS thread, and waits until they have ended.
pub(super) fn end_all(patience: Duration) {
    let Some(home) = home() else { return };
    let start = Instant::now();
    while any() && start.elapsed() < patience {
        for slot in &home.greenlets {
            // One that is switched to from another one's frame is lent there until it ends; and its end need not come here.
            let end = || {
                if let Some(greenlet) = &*slot.borrow()
                    && greenlet.is_active()
                {
                    drop(greenlet.throw(Box::new(GreenletExit)));
                }
            };
            muffle(|| _ = with_timeout(Duration::from_millis(1), end));
            muffle(|| drop(slot.try_borrow_mut().ok().and_then(|mut slot| slot.take())));
        }
        for slot in &home.generators {
            muffle(|| drop(slot.try_borrow_mut().ok().and_then(|mut slot| slot.take())));
        }
        muffle(|| sleep(Duration::from_micros(300)));
    }
}

/// Drops what the main greenlet of this OS thread has made; whether there was anything.
pub(super) fn forget_locals() -> bool {
    let (local, inherited) = (LOCAL.replace(None), INHERITED.replace(None));
    let any = local.is_some() || inherited.is_some();
    muffle(|| drop(local));
    muffle(|| drop(inherited));
    any
}

impl Frame<'_> {
    /// Whether it was one of these.
    pub(super) fn stack_step(&self, step: &Step) -> bool {
        match step.verb {
            Verb::Greenlet
            | Verb::Switch
            | Verb::SwitchParent
            | Verb::SetParent
            | Verb::Throw
            | Verb::Release
            | Verb::Generator
            | Verb::Next
            | Verb::EndGenerator => {
                if let Some(home) = home() {
                    self.switching(|| self.home_step(step, &home));
                }
            }
            Verb::Give => match self.yielder {
                Some(yielder) => yielder.yield_(()),
                None => yield_now(),
            },
            Verb::Local => {
                let bomb = Bomb::new(self.world, &step.block);
                drop(LOCAL.replace(Some(bomb)));
            }
            Verb::Inherited => {
                let bomb = Rc::new(Bomb::new(self.world, &step.block));
                drop(INHERITED.replace(Some(bomb)));
            }
            Verb::Trace => self.trace(step),
            Verb::Untrace => drop(greenlet::settrace(None)),
            Verb::PanicHook => drop(replaced(&self.world.hooks[0], step.block.clone())),
            Verb::UncaughtHook => drop(replaced(&self.world.hooks[1], step.block.clone())),
            _ => return false,
        }
        true
    }

    fn home_step(&self, step: &Step, home: &Rc<Home>) {
        let slot = &home.greenlets[step.object];
        match step.verb {
            Verb::Greenlet => {
                let greenlet = self.greenlet(step);
                let former = slot.try_borrow_mut().ok().map(|mut slot| slot.replace(greenlet));
                drop(former);
            }
            Verb::Switch => {
                if let Ok(slot) = slot.try_borrow()
                    && let Some(greenlet) = &*slot
                {
                    drop(greenlet.switch(step.line as u32));
                }
            }
            Verb::Throw => {
                if let Ok(slot) = slot.try_borrow()
                    && let Some(greenlet) = &*slot
                {
                    drop(greenlet.throw(Box::new(Bomb::new(self.world, &step.block))));
                }
            }
            Verb::SwitchParent => {
                if let Some(parent) = greenlet::current().parent() {
                    drop(parent.switch(step.line as u32));
                }
            }
            Verb::SetParent => {
                let greenlet = slot.try_borrow().ok().and_then(|slot| slot.clone());
                if let Some(greenlet) = greenlet {
                    let _ = greenlet.set_parent(&greenlet::current());
                }
            }
            Verb::Release => drop(slot.try_borrow_mut().ok().and_then(|mut slot| slot.take())),
            Verb::Generator => {
                let generator = self.generator(step);
                let former = home.generators[step.object]
                    .try_borrow_mut()
                    .ok()
                    .map(|mut slot| slot.replace(generator));
                drop(former);
            }
            Verb::Next => {
                if let Ok(mut slot) = home.generators[step.object].try_borrow_mut()
                    && let Some(generator) = &mut *slot
                {
                    generator.next();
                }
            }
            Verb::EndGenerator => {
                drop(home.generators[step.object].try_borrow_mut().ok().and_then(|mut slot| slot.take()));
            }
            _ => {}
        }
    }

    fn greenlet(&self, step: &Step) -> Greenlet<u32> {
        let (world, block) = (self.world.clone(), step.block.clone());
        let witness = Witness::at_home(self.world);
        Greenlet::new(move |value| {
            let (_witness, _running) = (witness, Running::new());
            drop(run::greenlet(&world, &block, None));
            value
        })
    }

    fn generator(&self, step: &Step) -> Generator<(), ()> {
        let (world, block) = (self.world.clone(), step.block.clone());
        let witness = Witness::at_home(self.world);
        Generator::new(move |yielder, ()| {
            let (_witness, _running) = (witness, Running::new());
            drop(run::greenlet(&world, &block, Some(yielder)));
        })
    }

    /// A hook that runs the block once, at one of the next switches.
    fn trace(&self, step: &Step) {
        let (world, block) = (self.world.clone(), step.block.clone());
        let left = Cell::new(step.number);
        let thread = gettid();
        let hook = move |_: &greenlet::Trace| {
            if left.get() == 0 {
                left.set(u32::MAX);
                if gettid() != thread {
                    world.fault("dropped on another OS thread", "a trace hook was called there");
                }
                run::block(&world, &block);
            } else {
                left.set(left.get() - 1);
            }
        };
        drop(greenlet::settrace(Some(Rc::new(hook))));
    }
}
