//! One run of a worker. Green threads beside those of the jobs: who takes them (the caller), who settles them, many at once, who
//! renews their leases, who kills those whose leases have ended, who kills those that run for too long, who waits for news of the broker's, and who answers that the worker runs.

use super::endpoint::Endpoint;
use super::held::{Held, Sentence};
use super::watch::Watch;
use super::{Count, Failure, Happening, Settings, Worker, failure::Kind};
use crate::{BrokerError, Completion, Job, Lease, Settlement, Verdict};
use greenloop::channel::{Receiver, Sender, unbounded};
use greenloop::{Builder, JoinHandle, processes, sleep, with_timeout, yield_now};
use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::{HashSet, VecDeque};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::time::{Duration, Instant};

/// How many deliveries one call takes or settles at most.
const BATCH: usize = 500;
/// And with how many jobs that follow, beside those of one delivery: a server has a limit to what is one request.
const FOLLOWERS: usize = 5_000;
/// And with how many bytes, beside those of one delivery.
const SETTLED_BYTES: usize = 16 << 20;
/// How much of an error is kept.
const LONGEST_ERROR: usize = 64 << 10;
/// The first pause after a call of the broker's that failed, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(2));
/// The first pause after a look that has found no job.
const FIRST_LOOK: Duration = Duration::from_millis(2);
/// How long news are waited for at most: somebody may have pushed who tells of nothing.
const QUIET: Duration = Duration::from_secs(1);
/// How often it is asked whether others still have jobs.
const IDLE_LOOK: Duration = Duration::from_millis(50);
/// How long it is tried at least to settle what was killed at the end.
const LAST_WORDS: Duration = Duration::from_secs(10);

pub(super) struct Shift {
    worker: Worker,
    held: Rc<Held>,
    ended: Sender<(Job, Verdict)>,
    to_settle: Receiver<(Job, Verdict)>,
    /// Jobs each of which may be what has ended its workers: they are done when no other one runs.
    alone: RefCell<VecDeque<Job>>,
    /// That it is, if it is one of a supervisor's.
    process: Option<processes::Worker>,
}

impl Shift {
    pub(super) fn new(worker: &Worker, process: Option<processes::Worker>) -> Rc<Shift> {
        let (ended, to_settle) = unbounded();
        Rc::new(Shift {
            worker: worker.clone(),
            held: Rc::default(),
            ended,
            to_settle,
            alone: RefCell::default(),
            process,
        })
    }

    pub(super) fn run(
        self: Rc<Shift>,
        handle: impl Fn(&Job) -> Result<Completion, Failure> + 'static,
    ) -> io::Result<()> {
        let handle = Rc::new(handle);
        // They go after all others.
        let (_watch, _endpoint) = (self.watch()?, self.tell_prometheus()?);
        let crew = [
            self.employ("settles", Shift::settle_all),
            self.employ("renews", Shift::renew_all),
            self.employ("expires", Shift::expire_all),
            self.employ("limits", Shift::limit_all),
            self.employ("listens", Shift::listen_all),
            self.employ("answers", |shift| shift.held.watched.answer_all()),
        ];
        let on_duty = OnDuty { shift: Rc::clone(&self), crew };
        self.take_all(&handle);
        for job in self.alone.take() {
            // It cannot fail while this is there.
            let _ = self.ended.send((job, Verdict::GivenBack));
        }
        self.wind_up();
        greenloop::killall(&on_duty.crew);
        Ok(())
    }

    fn watch(&self) -> io::Result<Option<Watch>> {
        let Worker { broker, blocked, settings, .. } = &self.worker;
        let (Some(hook), Some(limit)) = (blocked, settings.hard) else { return Ok(None) };
        Watch::begin(self.held.watched.clone(), limit, broker.queue(), hook.clone()).map(Some)
    }

    fn tell_prometheus(&self) -> io::Result<Option<Endpoint>> {
        let Worker { endpoint, counts, broker, .. } = &self.worker;
        let begin = |listener| Endpoint::begin(listener, counts.clone(), broker.clone());
        endpoint.as_deref().map(begin).transpose()
    }

    fn employ(self: &Rc<Shift>, name: &str, duty: fn(&Shift)) -> JoinHandle<()> {
        let shift = Rc::clone(self);
        let builder = Builder::new().name(format!("fleet: {name}"));
        builder.spawn(move || duty(&shift)).expect("a green thread")
    }

    /// Takes jobs, and begins them, until the worker is stopped, or nothing is left.
    fn take_all(self: &Rc<Shift>, handle: &Rc<impl Fn(&Job) -> Result<Completion, Failure> + 'static>) {
        let settings = &self.worker.settings;
        let (mut look, mut pause) = (FIRST_LOOK, PAUSES.0);
        while !self.worker.stopper.is_stopped() {
            self.held.changed.clear();
            if !self.alone.borrow().is_empty() {
                self.begin_alone(handle);
                self.wait(settings.poll);
                continue;
            }
            // Those to be settled are bounded too, if the broker is slow.
            let room = settings.concurrency.saturating_sub(self.held.running());
            let backlog = self.held.len() >= settings.concurrency.saturating_mul(2).saturating_add(BATCH);
            let is_heavy = self.held.bytes() >= settings.held_bytes;
            if room == 0 || backlog || is_heavy {
                self.wait(settings.poll);
                continue;
            }
            match self.worker.broker.take(room.min(BATCH), settings.lease) {
                Ok(jobs) if jobs.is_empty() => {
                    if settings.until_idle && self.held.len() == 0 && self.is_all_idle() {
                        return;
                    }
                    let bound = |most: Duration| if settings.until_idle { most.min(IDLE_LOOK) } else { most };
                    let start = Instant::now();
                    // However often somebody tells.
                    self.wait(look.min(bound(settings.poll)));
                    self.listen(bound(QUIET));
                    let was_quiet = self.held.news.are_told.get() && start.elapsed() > settings.poll;
                    look = if was_quiet { FIRST_LOOK } else { look.saturating_mul(2).min(settings.poll) };
                }
                Ok(jobs) => {
                    (look, pause) = (FIRST_LOOK, PAUSES.0);
                    self.worker.counts.add(Count::Taken, jobs.len());
                    jobs.into_iter().for_each(|job| self.begin(job, handle));
                }
                Err(error) => {
                    self.complain(&error);
                    self.worker.stopper.0.wait_timeout(pause);
                    pause = (pause * 2).min(PAUSES.1);
                }
            }
        }
    }

    /// Until there is more room, or it is time, or the worker is stopped.
    fn wait(&self, most: Duration) {
        let stop = &*self.worker.stopper.0;
        greenloop::iwait([&self.held.changed, stop]).timeout(most).next();
    }

    /// Until the broker tells of jobs, if it does, or one has ended here, or it is time, or the worker is stopped.
    fn listen(&self, most: Duration) {
        let (news, held) = (&self.held.news, &self.held);
        if news.are_told.get() && !held.changed.is_set() {
            news.come.clear();
            news.wanted.set();
            greenloop::iwait([&held.changed, &news.come, &*self.worker.stopper.0]).timeout(most).next();
        }
    }

    /// Waits for news whenever they are wanted.
    fn listen_all(&self) {
        let (news, mut pause) = (&self.held.news, PAUSES.0);
        loop {
            news.wanted.wait();
            news.wanted.clear();
            match self.worker.broker.wait(QUIET) {
                Ok(are_told) => {
                    news.are_told.set(are_told);
                    pause = PAUSES.0;
                }
                Err(error) => {
                    // Who was killed meanwhile has nothing to complain of.
                    sleep(pause);
                    self.complain(&error);
                    pause = (pause * 2).min(PAUSES.1);
                }
            }
            news.come.set();
        }
    }

    fn is_all_idle(&self) -> bool {
        self.worker
            .broker
            .status()
            .inspect_err(|error| self.complain(error))
            .is_ok_and(|status| status.is_idle())
    }

    fn begin(
        self: &Rc<Shift>,
        job: Job,
        handle: &Rc<impl Fn(&Job) -> Result<Completion, Failure> + 'static>,
    ) {
        let settings = &self.worker.settings;
        // It was delivered as often as it may be, and each time its worker ended, or it would be dead. Many jobs end with their worker for
        // one that ends it: all have a last attempt, in which they can end no other.
        match job.attempt.saturating_sub(settings.attempts) {
            0 => self.spawn(job, handle),
            1 => {
                self.held.hold(&job);
                self.alone.borrow_mut().push_back(job);
            }
            _ => {
                self.held.hold(&job);
                let error = format!("its worker ended before it, {} times", job.attempt - 1);
                let _ = self.ended.send((job, Verdict::Dead { error }));
            }
        }
    }

    fn begin_alone(self: &Rc<Shift>, handle: &Rc<impl Fn(&Job) -> Result<Completion, Failure> + 'static>) {
        // What has ended before it is settled, too, or would end with it.
        if self.held.len() > self.alone.borrow().len() {
            return;
        }
        let first = self.alone.borrow_mut().pop_front();
        if let Some(job) = first {
            self.spawn(job, handle);
        }
    }

    fn spawn(
        self: &Rc<Shift>,
        job: Job,
        handle: &Rc<impl Fn(&Job) -> Result<Completion, Failure> + 'static>,
    ) {
        let (shift, handle) = (Rc::clone(self), Rc::clone(handle));
        let running = job.clone();
        self.held.begin(&job, |sentence| {
            let builder = Builder::new().name(format!("fleet: job {}", job.id));
            let end = End { shift, job: Some(running), sentence, outcome: Err(Failure::retry("killed")) };
            builder.spawn(move || end.of(&*handle)).expect("a green thread")
        });
    }

    /// Settles what has ended: as much at once as has come meanwhile.
    fn settle_all(&self) {
        while let Ok(first) = self.to_settle.recv() {
            let (mut jobs, mut settlements, mut following, mut bytes) = (Vec::new(), Vec::new(), 0, 0);
            let mut next = Some(first);
            while let Some((job, verdict)) = next {
                following += followers(&verdict);
                bytes += verdict.bytes();
                settlements.push(Settlement::new(job.lease(), verdict));
                jobs.push(job);
                let is_full = jobs.len() >= BATCH || following >= FOLLOWERS || bytes >= SETTLED_BYTES;
                next = if is_full { None } else { self.to_settle.try_recv().ok() };
            }
            for (job, (verdict, held)) in jobs.iter().zip(self.settle(settlements)) {
                self.held.release(job.lease());
                self.account(job, &verdict, held);
            }
            // Who waits to take more comes in between, and not only when all is settled.
            yield_now();
        }
    }

    /// Settles a batch, as often as it takes. What the broker refuses is settled one by one, and what it refuses by itself is dead. Returns
    /// what became of each, and whether its lease was held.
    fn settle(&self, mut settlements: Vec<Settlement>) -> Vec<(Verdict, bool)> {
        let mut pause = PAUSES.0;
        loop {
            match self.worker.broker.settle(&settlements) {
                Ok(held) => return settlements.into_iter().map(|one| one.verdict).zip(held).collect(),
                Err(error) => {
                    self.complain(&error);
                    let refused = matches!(
                        error,
                        BrokerError::Other(_) | BrokerError::Unreadable(_) | BrokerError::TooLong { .. }
                    );
                    if refused && settlements.len() > 1 {
                        return settlements.into_iter().flat_map(|one| self.settle(vec![one])).collect();
                    }
                    if refused && let [Settlement { verdict, .. }] = &mut settlements[..] {
                        let error = format!("the broker does not take what has come of it: {error}");
                        *verdict = Verdict::Dead { error: as_kept(error) };
                    }
                    sleep(pause);
                    pause = (pause * 2).min(PAUSES.1);
                }
            }
        }
    }

    fn account(&self, job: &Job, verdict: &Verdict, held: bool) {
        let counts = &self.worker.counts;
        match verdict {
            _ if !held => self.lost(job.id),
            Verdict::Done(_) => {
                counts.add(Count::Done, 1);
                if let Some(process) = &self.process {
                    process.request_served();
                }
            }
            Verdict::GivenBack => counts.add(Count::GivenBack, 1),
            Verdict::Retry { after, error } => {
                counts.add(Count::Retried, 1);
                self.worker.tell(&Happening::Retried { job, error, after: *after });
            }
            Verdict::Dead { error } => {
                counts.add(Count::Dead, 1);
                self.worker.tell(&Happening::Dead { job, error });
            }
        }
    }

    /// Renews all leases, each third of their time.
    fn renew_all(&self) {
        let lease = self.worker.settings.lease;
        loop {
            sleep(lease / 3);
            let leases = self.held.leases();
            if leases.is_empty() {
                continue;
            }
            let start = Instant::now();
            match self.worker.broker.renew(&leases, lease) {
                // What was settled meanwhile is no longer held.
                Ok(lost) => {
                    let lost: HashSet<_> = lost.into_iter().collect();
                    self.held.renew(leases.iter().filter(|lease| !lost.contains(lease)), start, lease);
                    lost.into_iter().for_each(|lost| self.lose(lost));
                }
                Err(error) => self.complain(&error),
            }
        }
    }

    /// Kills what somebody else may have by now, as its lease was not renewed, whatever keeps that.
    fn expire_all(&self) {
        let lease = self.worker.settings.lease;
        loop {
            self.held.begun.clear();
            let Some(next) = self.held.next_end() else {
                self.held.begun.wait();
                continue;
            };
            sleep(next.saturating_duration_since(Instant::now()));
            // The OS thread stood still for longer than leases are left alone. Mostly nobody has taken them: the broker knows.
            if next.elapsed() > lease / 3 {
                sleep(lease / 3);
            }
            for ended in self.held.ended(Instant::now()) {
                self.held.kill(ended, Sentence::LostLease);
            }
        }
    }

    /// Ends what somebody else has by now.
    fn lose(&self, lease: Lease) {
        self.held.kill(lease, Sentence::LostLease);
        let mut alone = self.alone.borrow_mut();
        if let Some(place) = alone.iter().position(|job| job.lease() == lease) {
            alone.remove(place);
            self.held.release(lease);
        }
    }

    /// Kills what runs for longer than the hard limit.
    fn limit_all(&self) {
        loop {
            self.held.limited.clear();
            let (overdue, next) = self.held.overdue(Instant::now());
            overdue.into_iter().for_each(|lease| self.held.kill(lease, Sentence::HardLimit));
            match next {
                Some(next) => sleep(next.saturating_duration_since(Instant::now())),
                None => self.held.limited.wait(),
            }
        }
    }

    /// Lets jobs end for a while, kills the others, and waits until all is settled: not for ever, as the broker may be away, and a job may
    /// go on in spite of its kill. Their leases end by themselves.
    fn wind_up(&self) {
        let Settings { grace, lease, .. } = self.worker.settings;
        // That there is no such time is never.
        self.until(Instant::now().checked_add(grace), || self.held.running() == 0);
        self.kill_all();
        self.until(Instant::now().checked_add(lease.max(LAST_WORDS)), || self.held.len() == 0);
    }

    fn kill_all(&self) {
        for lease in self.held.leases() {
            self.held.kill(lease, Sentence::Stop);
        }
    }

    fn until(&self, end: Option<Instant>, condition: impl Fn() -> bool) {
        while !condition() && end.is_none_or(|end| Instant::now() < end) {
            self.held.changed.clear();
            if condition() {
                break;
            }
            let left = end.map(|end| end.saturating_duration_since(Instant::now()));
            // Whether it was the time is looked at above.
            let _ = self.held.changed.wait_timeout(left.unwrap_or(Duration::MAX));
        }
    }

    fn lost(&self, job: u64) {
        self.worker.counts.add(Count::Lost, 1);
        self.worker.tell(&Happening::Lost(job));
    }

    fn complain(&self, error: &BrokerError) {
        self.worker.counts.add(Count::Errors, 1);
        self.worker.tell(&Happening::Error(error));
    }

    fn verdict(&self, job: &Job, outcome: Result<Completion, Failure>) -> Verdict {
        let settings = &self.worker.settings;
        let Failure { error, kind } = match outcome {
            Ok(completion) => return Verdict::Done(completion),
            Err(failure) => failure,
        };
        let error = as_kept(error);
        match kind {
            Kind::GivenBack => Verdict::GivenBack,
            Kind::Dead => Verdict::Dead { error },
            _ if job.attempt >= settings.attempts => Verdict::Dead { error },
            Kind::Retry => Verdict::Retry { after: settings.backoff.delay(job.attempt), error },
            Kind::RetryAfter(after) => Verdict::Retry { after, error },
        }
    }
}

/// Who works beside those of the jobs. All of them, and the jobs, end with this, also if it goes since the run was killed.
struct OnDuty {
    shift: Rc<Shift>,
    crew: [JoinHandle<()>; 6],
}

impl Drop for OnDuty {
    fn drop(&mut self) {
        self.shift.kill_all();
        for task in &self.crew {
            task.try_kill();
        }
    }
}

/// A job in its green thread. Its drop tells of its end, also if that is a kill.
struct End {
    shift: Rc<Shift>,
    job: Option<Job>,
    sentence: Rc<Cell<Option<Sentence>>>,
    outcome: Result<Completion, Failure>,
}

impl End {
    fn of(mut self, handle: &impl Fn(&Job) -> Result<Completion, Failure>) {
        let Some(job) = &self.job else { return };
        // It came too late, or the OS thread stood still.
        if job.lease_left().is_zero() {
            self.sentence.set(Some(Sentence::LostLease));
            return;
        }
        let settings = &self.shift.worker.settings;
        if let Some(limit) = settings.hard {
            self.shift.held.limit(job.lease(), limit);
        }
        let soft = settings.soft;
        let limited = || match soft {
            None => handle(job),
            Some(limit) => with_timeout(limit, || handle(job)).unwrap_or_else(|_| {
                Err(Failure::retry(format!("it took longer than its soft limit, {limit:?}")))
            }),
        };
        self.outcome = match catch_unwind(AssertUnwindSafe(limited)) {
            Ok(outcome) => outcome,
            Err(payload) => match text(&*payload) {
                Some(text) => Err(Failure::retry(format!("panicked: {text}"))),
                // A kill goes on.
                None => resume_unwind(payload),
            },
        };
    }
}

impl Drop for End {
    fn drop(&mut self) {
        let Some(job) = self.job.take() else { return };
        let outcome = std::mem::replace(&mut self.outcome, Ok(Completion::new()));
        let settings = &self.shift.worker.settings;
        let verdict = match (self.sentence.get(), outcome) {
            // What it returns after a call that has failed for the kill is not what was asked for.
            (Some(Sentence::HardLimit), _) => {
                let limit = settings.hard.unwrap_or_default();
                let error = format!("it took longer than its hard limit, {limit:?}");
                self.shift.verdict(&job, Err(Failure::retry(error)))
            }
            (Some(Sentence::Stop | Sentence::LostLease), _) => Verdict::GivenBack,
            (None, outcome) => self.shift.verdict(&job, outcome),
        };
        let (lease, bytes) = (job.lease(), verdict.bytes());
        // It cannot fail while the shift is there.
        let _ = self.shift.ended.send((job, verdict));
        self.shift.held.end(lease, bytes);
    }
}

/// As much of an error as is kept, without zero characters: PostgreSQL keeps no text that has one.
fn as_kept(mut error: String) -> String {
    if error.len() > LONGEST_ERROR {
        error.truncate(error.floor_char_boundary(LONGEST_ERROR));
        error.push('\u{2026}');
    }
    error.replace('\0', " ")
}

/// How many jobs follow from a job.
fn followers(verdict: &Verdict) -> usize {
    match verdict {
        Verdict::Done(completion) => completion.jobs.len(),
        _ => 0,
    }
}

/// What a panic says: `None` of a kill.
pub(super) fn text(payload: &(dyn Any + Send)) -> Option<&str> {
    payload.downcast_ref::<&str>().copied().or(payload.downcast_ref::<String>().map(String::as_str))
}
