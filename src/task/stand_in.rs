//! Green threads that stand in for OS threads.

use std::panic::Location;

use super::body::Task;
use super::ending::Outcome;
use super::join_handle::JoinHandle;
use super::record::Record;
use crate::fiber::SizeClass;
use crate::fiber::isolation::Variables;
use crate::hub::hub;

/// Spawns a green thread of the calling hub that runs `life` with these variables, and has `ended` called once it has ended, whether
/// it has begun or not: on the home thread, as a callback. Its name is what it is given [later](crate::fiber::Describe::give_name).
#[track_caller]
pub(crate) fn spawn(
    variables: Variables,
    stack: SizeClass,
    life: impl FnOnce() + 'static,
    ended: impl FnOnce(Outcome) + Send + 'static,
) -> JoinHandle<()> {
    let hub = hub();
    let record = Record::new(hub, None, Location::caller(), stack);
    record.isolate_with(variables);
    let (task, job) = Task::pair(|| record, life);
    if task.record().link(Box::new(ended)).is_err() {
        unreachable!("it has not begun");
    }
    hub.push_fresh(job);
    JoinHandle::new(task)
}
