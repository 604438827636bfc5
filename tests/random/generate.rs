//! Programs at random.

use super::program::{Patch, Patience, Program, Step};
use super::support::Random;
use super::trial::Setting;
use super::verb::{FORMS, Form, Verb};

/// How deep blocks may nest.
const DEPTH: usize = 6;

/// One in so many programs is about what would rarely be met.
const RARE: u64 = 64;

/// The program of a seed.
pub(crate) fn generate(seed: u64, patch: Patch, setting: &Setting) -> Program {
    // Seeds are near each other; what is made of them is not to be.
    let mut random = Random::new(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0x5851_F42D_4C95_7F2D);
    for _ in 0..4 {
        random.next();
    }
    let driver = setting.drivers[random.below(setting.drivers.len())];
    let mut weights = taste(&mut random);
    // By chance it is too rare that somebody panics while a panic hook waits.
    if seed % RARE == RARE - 1 {
        weights.iter_mut().for_each(|weight| *weight /= 8);
        for (verb, weight) in [(Verb::PanicHook, 12), (Verb::Spawn, 24), (Verb::Panic, 36)] {
            weights[verb as usize] = weight;
        }
    }
    for form in FORMS.iter().filter(|form| setting.without.iter().any(|name| name == form.name)) {
        weights[form.verb as usize] = 0;
    }
    let only = random.below(8);
    let only = (only < 4).then_some(only);
    let mut generator = Generator { weights, only, left: 0, random };
    generator.left = 4 + generator.random.below(40);
    let steps = generator.block(0, Place::default());
    Program::new(driver, patch, &steps)
}

/// Some programs have much of one thing and nothing of another: so more of them meet than if all had a bit of each.
fn taste(random: &mut Random) -> Vec<usize> {
    let mut weigh = |form: &Form| match random.below(3) {
        0 => 0,
        1 => usize::from(form.weight),
        _ => 3 * usize::from(form.weight),
    };
    let mut weights: Vec<_> = FORMS.iter().map(&mut weigh).collect();
    // Without others there is nothing to see.
    weights[Verb::Spawn as usize] = weights[Verb::Spawn as usize].max(8);
    weights[Verb::Yield as usize] = weights[Verb::Yield as usize].max(4);
    // A generator without a greenlet to switch to is an iterator, and one that is not pulled is nothing.
    if weights[Verb::Generator as usize] > 0 {
        for verb in [Verb::Greenlet, Verb::Next] {
            weights[verb as usize] = weights[verb as usize].max(8);
        }
    }
    weights
}

struct Generator {
    random: Random,
    weights: Vec<usize>,
    /// The one object of each kind that there is, or all: so more of the actors meet.
    only: Option<usize>,
    /// Steps that may still be made.
    left: usize,
}

/// What surrounds a block.
#[derive(Clone, Copy, Default)]
struct Place {
    in_generator: bool,
    /// In a scope or a pool, which has children.
    has_children: bool,
}

impl Generator {
    fn block(&mut self, depth: usize, place: Place) -> Vec<Step> {
        let most = match depth {
            0 => 12,
            _ => 5,
        };
        let length = 1 + self.random.below(most);
        let mut steps = Vec::new();
        while steps.len() < length && self.left > 0 {
            self.left -= 1;
            let form = match self.choose(place) {
                // Nothing comes after it.
                form if form.verb == Verb::Panic && depth == 0 => continue,
                form => form,
            };
            steps.push(self.step(form, depth, place));
        }
        if depth == 0 && self.left > 0 {
            steps.extend(self.block(depth, place));
        }
        steps
    }

    fn choose(&mut self, place: Place) -> &'static Form {
        if place.has_children && self.random.below(2) == 0 {
            return Verb::Child.form();
        }
        if place.in_generator {
            // What it yields, and switches by hand in its middle, without which the next pull finds nothing strange.
            match self.random.below(6) {
                0 | 1 => return Verb::Give.form(),
                2 => return Verb::Switch.form(),
                _ => {}
            }
        }
        let mut rest = self.random.below(self.weights.iter().sum());
        let index = self.weights.iter().position(|weight| {
            let found = rest < *weight;
            rest = rest.wrapping_sub(*weight);
            found
        });
        &FORMS[index.unwrap_or(0)]
    }

    fn step(&mut self, form: &Form, depth: usize, place: Place) -> Step {
        let block = match form.verb {
            Verb::Select => self.arms(),
            Verb::PanicHook => self.calm(),
            _ if !form.block || depth + 1 >= DEPTH => Vec::new(),
            // Most values and payloads are harmless.
            Verb::Send
            | Verb::Put
            | Verb::SetResult
            | Verb::Panic
            | Verb::Return
            | Verb::Throw
            | Verb::KillWith
                if self.random.below(3) > 0 =>
            {
                Vec::new()
            }
            verb => self.block(depth + 1, inside(verb, place)),
        };
        Step { block: block.into(), ..self.bare(form) }
    }

    fn object(&mut self, count: usize) -> usize {
        match self.only {
            Some(only) => only % count,
            None => self.random.below(count),
        }
    }

    /// Small ones more often than large ones.
    fn number(&mut self, most: u32) -> u32 {
        let end = match self.random.below(3) {
            0 => most,
            _ => most / 8,
        };
        self.random.below(end as usize + 1) as u32
    }

    /// What may wait and never unwinds: of a panic hook that does, Rust ends the process.
    fn calm(&mut self) -> Vec<Step> {
        const CALM: [Verb; 6] =
            [Verb::Yield, Verb::Sleep, Verb::Lock, Verb::Acquire, Verb::Recv, Verb::Spawn];
        let length = 1 + self.random.below(3);
        let calm = |generator: &mut Generator| {
            let verb = CALM[generator.random.below(CALM.len())];
            generator.bare(verb.form())
        };
        (0..length).map(|_| calm(self)).collect()
    }

    /// A step with an empty block.
    fn bare(&mut self, form: &Form) -> Step {
        let object = form.objects.map_or(0, |(_, count)| self.object(count.into()));
        let number = form.most.map_or(0, |most| self.number(most));
        let patience = match self.random.below(4) {
            0 => Patience::Never,
            1 | 2 => Patience::Forever,
            _ => Patience::Micros(self.random.below(1500) as u32),
        };
        Step { verb: form.verb, object, number, patience, block: [].into(), line: 0 }
    }

    fn arms(&mut self) -> Vec<Step> {
        let arms = 1 + self.random.below(3);
        let arm = |_| {
            let verb = if self.random.below(2) == 0 { Verb::Send } else { Verb::Recv };
            let object = self.object(4);
            Step { verb, object, number: 0, patience: Patience::Forever, block: [].into(), line: 0 }
        };
        (0..arms).map(arm).collect()
    }
}

/// What surrounds the block of a step that stands in `place`.
fn inside(verb: Verb, place: Place) -> Place {
    match verb {
        Verb::Scope | Verb::Pool => Place { has_children: true, ..place },
        Verb::Generator => Place { in_generator: true, has_children: false },
        // These run in the same greenlet.
        Verb::Limit
        | Verb::Repeat
        | Verb::Catch
        | Verb::Lock
        | Verb::Read
        | Verb::Write
        | Verb::Reenter
        | Verb::Acquire => Place { has_children: false, ..place },
        _ => Place::default(),
    }
}
