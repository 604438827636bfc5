//! Programs: trees of operations, and the text that they are written as and read from.
//!
//! ```text
//! driver epoll
//! lock m0 forever
//!   spawn t0
//!     recv c1 500
//!   sleep 200
//! ```
//!
//! A line is a verb with an object, a number and a patience, where it takes them; what is indented below it is its block.
//! Times are microseconds. `#` begins a comment.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use greenloop::hub::Driver;

use super::verb::{FORMS, Verb};

/// A block of operations, shared by whoever is to run it.
pub(crate) type Block = Arc<[Step]>;

/// One operation.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    pub(crate) verb: Verb,
    pub(crate) object: usize,
    pub(crate) number: u32,
    pub(crate) patience: Patience,
    pub(crate) block: Block,
    /// Its line in the program's text, from 0.
    pub(crate) line: usize,
}

/// How long an operation may wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Patience {
    Forever,
    Never,
    Micros(u32),
}

/// What of the C library's functions is patched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Patch {
    Nothing,
    /// All, but green threads have their thread-local variables in common.
    Functions,
    All,
}

/// How to run, and what.
#[derive(Debug, Clone)]
pub(crate) struct Program {
    pub(crate) driver: Driver,
    pub(crate) patch: Patch,
    pub(crate) steps: Block,
}

impl Step {
    pub(crate) fn time(&self) -> Duration {
        Duration::from_micros(self.number.into())
    }
}

impl Program {
    /// Gives each step its line.
    pub(crate) fn new(driver: Driver, patch: Patch, steps: &[Step]) -> Program {
        let mut line = 1 + usize::from(patch != Patch::Nothing);
        Program { driver, patch, steps: numbered(steps, &mut line) }
    }

    /// How many lines its text has.
    pub(crate) fn lines(&self) -> usize {
        self.to_string().lines().count()
    }
}

/// Whether a step is so, in whatever block it stands.
pub(crate) fn any(steps: &[Step], is: impl Fn(&Step) -> bool + Copy) -> bool {
    steps.iter().any(|step| is(step) || any(&step.block, is))
}

fn numbered(steps: &[Step], line: &mut usize) -> Block {
    let number = |step: &Step| {
        let own = *line;
        *line += 1;
        Step { block: numbered(&step.block, line), line: own, ..*step }
    };
    steps.iter().map(number).collect()
}

const DRIVERS: [(Driver, &str); 3] =
    [(Driver::Epoll, "epoll"), (Driver::Poll, "poll"), (Driver::IoUring, "io_uring")];

impl fmt::Display for Program {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = DRIVERS.iter().find(|(driver, _)| *driver == self.driver);
        writeln!(formatter, "driver {}", named.map_or("epoll", |(_, name)| name))?;
        match self.patch {
            Patch::Nothing => {}
            Patch::Functions => writeln!(formatter, "patched")?,
            Patch::All => writeln!(formatter, "isolated")?,
        }
        write_block(&self.steps, 0, formatter)
    }
}

fn write_block(steps: &[Step], depth: usize, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
    for step in steps {
        let form = step.verb.form();
        write!(formatter, "{:1$}{2}", "", 2 * depth, form.name)?;
        if let Some((letter, _)) = form.objects {
            write!(formatter, " {letter}{}", step.object)?;
        }
        if form.most.is_some() {
            write!(formatter, " {}", step.number)?;
        }
        match step.patience {
            _ if !form.waits => {}
            Patience::Forever => write!(formatter, " forever")?,
            Patience::Never => write!(formatter, " never")?,
            Patience::Micros(time) => write!(formatter, " {time}")?,
        }
        writeln!(formatter)?;
        write_block(&step.block, depth + 1, formatter)?;
    }
    Ok(())
}

/// Reads what [`Program`]'s `Display` writes.
pub(crate) fn parse(text: &str) -> Result<Program, String> {
    let (mut driver, mut patch) = (Driver::Epoll, Patch::Nothing);
    let mut lines = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default().trim_end();
        let words: Vec<_> = line.split_whitespace().collect();
        match words[..] {
            [] => {}
            ["driver", name] => {
                let found = DRIVERS.iter().find(|(_, known)| *known == name);
                driver = found.ok_or_else(|| format!("line {}: no driver {name}", index + 1))?.0;
            }
            ["patched"] => patch = Patch::Functions,
            ["isolated"] => patch = Patch::All,
            _ => {
                let indent = line.len() - line.trim_start().len();
                let step = parse_step(&words).map_err(|error| format!("line {}: {error}", index + 1))?;
                lines.push((indent, step));
            }
        }
    }
    let mut lines = lines.into_iter().peekable();
    let mut steps = Vec::new();
    while lines.peek().is_some() {
        steps.extend(parse_block(0, &mut lines));
    }
    Ok(Program::new(driver, patch, &steps))
}

/// All that is indented by at least as much as `indent`.
fn parse_block(
    indent: usize,
    lines: &mut std::iter::Peekable<impl Iterator<Item = (usize, Step)>>,
) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    while let Some((own, mut step)) = lines.next_if(|(own, _)| *own >= indent) {
        step.block = parse_block(own + 1, lines).into();
        steps.push(step);
    }
    steps
}

fn parse_step(words: &[&str]) -> Result<Step, String> {
    let mut words = words.iter();
    let name = words.next().copied().unwrap_or_default();
    let form = FORMS.iter().find(|form| form.name == name).ok_or_else(|| format!("no verb {name}"))?;
    let mut next = |what: &str| words.next().copied().ok_or_else(|| format!("{name} needs {what}"));
    let mut object = 0;
    if let Some((letter, count)) = form.objects {
        let word = next("an object")?;
        let number = word.strip_prefix(letter).and_then(|number| number.parse::<u8>().ok());
        let number = number.filter(|number| *number < count);
        object = number.ok_or_else(|| format!("{name} takes {letter}0 to {letter}{}", count - 1))?.into();
    }
    let mut number = 0;
    if let Some(most) = form.most {
        let given = next("a number")?.parse().ok().filter(|given| *given <= most);
        number = given.ok_or_else(|| format!("{name} takes a number up to {most}"))?;
    }
    let patience = match form.waits {
        false => Patience::Forever,
        true => match next("a patience: forever, never, or a time")? {
            "forever" => Patience::Forever,
            "never" => Patience::Never,
            time => Patience::Micros(time.parse().map_err(|_| format!("{time} is no patience"))?),
        },
    };
    match words.next() {
        Some(word) => Err(format!("{word} is too much")),
        None => Ok(Step { verb: form.verb, object, number, patience, block: [].into(), line: 0 }),
    }
}
