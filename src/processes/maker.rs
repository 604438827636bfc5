//! Making workers, by a process that is forked for that with the pool.

use std::cell::RefCell;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::time::Duration;

use super::worker::{Order, Said};
use crate::error::StartError;
use crate::process::{Birth, Nursery, Pipe, Process, Wire, pipe};

/// What a pool's builder sets, for keepers.
#[derive(Debug, Clone)]
pub(super) struct Rules {
    pub(super) name: String,
    pub(super) retries: u32,
    pub(super) tasks_per_child: Option<u32>,
    pub(super) limit: Option<Duration>,
    pub(super) grace: Duration,
    /// How many jobs a worker has at a time.
    pub(super) threads: usize,
}

/// Makes workers.
pub(super) struct Maker {
    pub(super) nursery: RefCell<Option<Rc<Nursery>>>,
    pub(super) serve: Rc<dyn Fn(Birth) -> i32>,
    /// The ends that this needs, by their names.
    pub(super) passed: Vec<u64>,
}

/// A worker, and the way to it.
pub(super) struct Worker<A, T> {
    pub(super) process: Process<()>,
    pub(super) pipe: Pipe<Order<A>, Said<T>>,
}

impl Maker {
    /// The nursery, or another in its place if it was killed.
    pub(super) fn nursery(&self) -> Result<Rc<Nursery>, StartError> {
        if let Some(nursery) = &*self.nursery.borrow() {
            return Ok(nursery.clone());
        }
        let serve = self.serve.clone();
        let nursery = Rc::new(Nursery::start("nursery", &self.passed, move |birth| serve(birth))?);
        *self.nursery.borrow_mut() = Some(nursery.clone());
        Ok(nursery)
    }

    /// Ends the nursery, once all its children have.
    pub(super) fn finish(&self) {
        let nursery = self.nursery.borrow_mut().take();
        if let Some(nursery) = nursery.and_then(Rc::into_inner) {
            nursery.finish();
        }
    }

    pub(super) fn make<A: Wire, T: Wire>(&self, name: &str) -> Result<Worker<A, T>, StartError> {
        let (ours, theirs) = pipe::<Order<A>, Said<T>>()?;
        loop {
            let nursery = self.nursery()?;
            let end: OwnedFd = theirs.as_fd().try_clone_to_owned()?;
            let builder = Process::builder().name(name).daemon(true);
            match nursery.start_child(builder, Vec::new(), vec![end]) {
                Ok(process) => return Ok(Worker { process, pipe: ours }),
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                    let mut current = self.nursery.borrow_mut();
                    // Somebody may have been here before.
                    if current.as_ref().is_some_and(|current| Rc::ptr_eq(current, &nursery)) {
                        *current = None;
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}
