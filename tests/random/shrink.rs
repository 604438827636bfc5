//! Makes a program that fails smaller.

use std::time::{Duration, Instant};
use std::{io, thread};

use super::program::{Patience, Program, Step};
use super::trial::{Failure, try_program};

/// A program that still fails is looked for this long.
const PATIENCE: Duration = Duration::from_secs(180);
/// How many seconds a program may take that is a candidate.
const HANGING: Option<u64> = Some(6);
/// How often a program that does not always fail is tried.
const MOST_TRIES: usize = 1500;
/// Children at once: programs wait most of their time.
const CHILDREN: usize = 6;

/// The smallest program found that fails in this way, or as it first does, with its failure; `None` if it does not fail alone.
pub(crate) fn shrink(program: &Program, kind: Option<&str>) -> io::Result<Option<(Program, Failure)>> {
    let Some((tries, failure)) = measure(program, kind)? else { return Ok(None) };
    let kind = failure.kind.clone();
    let mut smallest = (program.clone(), failure);
    let start = Instant::now();
    // In ever smaller pieces, until no single change is left that keeps the fault.
    let mut size = smallest.0.steps.len().max(1);
    loop {
        let mut found = false;
        let mut index = 0;
        while start.elapsed() < PATIENCE {
            let Some(candidate) = changed(&smallest.0, index, size) else { break };
            match try_often(&candidate, tries)? {
                Err(failure) if failure.kind == kind => {
                    smallest = (candidate, failure);
                    found = true;
                }
                _ => index += 1,
            }
        }
        if start.elapsed() >= PATIENCE || (size == 1 && !found) {
            return Ok(Some(smallest));
        }
        size = (size / 2).max(1);
    }
}

/// Runs the program so many times in all; the first failure, if there is one.
fn try_often(program: &Program, tries: usize) -> io::Result<Result<(), Failure>> {
    let children = CHILDREN.min(tries);
    let trial = || try_program(program, tries.div_ceil(children), HANGING);
    let outcomes: Vec<_> = thread::scope(|scope| {
        let children: Vec<_> = (0..children).map(|_| scope.spawn(trial)).collect();
        children.into_iter().filter_map(|child| child.join().ok()).collect()
    });
    for outcome in outcomes {
        if let Err(failure) = outcome? {
            return Ok(Err(failure));
        }
    }
    Ok(Ok(()))
}

/// How often the program must be run to see it fail, nearly for sure; with a failure.
fn measure(program: &Program, kind: Option<&str>) -> io::Result<Option<(usize, Failure)>> {
    let mut tries = CHILDREN;
    while tries <= MOST_TRIES {
        match try_often(program, tries)? {
            Err(failure) if kind.is_none_or(|kind| failure.kind == kind) => {
                let tries = 3 * tries;
                return Ok(Some((tries, failure)));
            }
            _ => tries *= 3,
        }
    }
    Ok(None)
}

/// The `index`th program that is simpler by one change: without some steps in a row, with a block in the place of its step,
/// or with a smaller number. `None` if there are no more.
fn changed(program: &Program, index: usize, size: usize) -> Option<Program> {
    let mut change = Change { left: index, size };
    let steps = change.block(&program.steps)?;
    Some(Program::new(program.driver, program.patch, &steps))
}

struct Change {
    /// Changes to pass over.
    left: usize,
    size: usize,
}

impl Change {
    /// Whether this is the change to make.
    fn is_next(&mut self) -> bool {
        self.left = self.left.wrapping_sub(1);
        self.left == usize::MAX
    }

    fn block(&mut self, steps: &[Step]) -> Option<Vec<Step>> {
        for start in (0..steps.len()).step_by(self.size) {
            if self.is_next() {
                let end = (start + self.size).min(steps.len());
                return Some([&steps[..start], &steps[end..]].concat());
            }
        }
        for (index, step) in steps.iter().enumerate() {
            let with = |replacement: &[Step]| [&steps[..index], replacement, &steps[index + 1..]].concat();
            if self.size == 1 {
                if !step.block.is_empty() && self.is_next() {
                    return Some(with(&step.block));
                }
                if step.verb.form().waits && step.patience != Patience::Forever && self.is_next() {
                    return Some(with(&[Step { patience: Patience::Forever, ..step.clone() }]));
                }
                if step.number > 0 && self.is_next() {
                    return Some(with(&[Step { number: 0, ..step.clone() }]));
                }
            }
            if let Some(block) = self.block(&step.block) {
                return Some(with(&[Step { block: block.into(), ..step.clone() }]));
            }
        }
        None
    }
}
