//! The operations that a program is made of, and what each takes.

/// What an operation does. What it takes stands in [`FORMS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    // Time.
    Yield,
    Sleep,
    Idle,
    Compute,
    Limit,
    Timer,
    // Control.
    Repeat,
    Catch,
    Panic,
    Return,
    Hold,
    // Green threads.
    Spawn,
    SpawnLater,
    SpawnSized,
    SpawnIsolated,
    Join,
    Wait,
    WaitAny,
    JoinAll,
    Await,
    Kill,
    KillWith,
    Detach,
    LinkTask,
    Forge,
    Scope,
    Pool,
    Child,
    HubJoin,
    // OS threads.
    Thread,
    LeavingThread,
    Unblock,
    Job,
    // Greenlets and generators.
    Greenlet,
    Switch,
    SwitchParent,
    SetParent,
    Throw,
    Release,
    Generator,
    Give,
    Next,
    EndGenerator,
    // Places where a value's destructor runs late, and hooks.
    Local,
    Inherited,
    Keep,
    Trace,
    Untrace,
    PanicHook,
    UncaughtHook,
    // Locks.
    Lock,
    Read,
    Write,
    Reenter,
    Acquire,
    WaitPermit,
    CondWait,
    Notify,
    NotifyAll,
    Once,
    Barrier,
    // Channels and queues.
    Send,
    Recv,
    CloseSender,
    CloseReceiver,
    Select,
    Put,
    Get,
    Shutdown,
    // Events and results.
    Set,
    Clear,
    WaitEvent,
    Link,
    Rawlink,
    Unlink,
    SetResult,
    GetResult,
    RawlinkResult,
    // The kernel.
    WriteSocket,
    ReadSocket,
    CloseSocket,
    ShutSocket,
    WaitSocket,
    File,
    Process,
}

/// What a verb takes, in the order of its text: an object, a number, how long it may wait, a block.
#[derive(Debug)]
pub(crate) struct Form {
    pub(crate) verb: Verb,
    pub(crate) name: &'static str,
    /// The letter of its objects, and how many of them there are.
    pub(crate) objects: Option<(char, u8)>,
    /// The largest number, if it takes one.
    pub(crate) most: Option<u32>,
    /// Whether it waits, and can be told for how long.
    pub(crate) waits: bool,
    /// Whether a block follows.
    pub(crate) block: bool,
    /// How often it is chosen among others.
    pub(crate) weight: u8,
}

const fn form(verb: Verb, name: &'static str) -> Form {
    Form { verb, name, objects: None, most: None, waits: false, block: false, weight: 4 }
}

impl Form {
    const fn of(mut self, letter: char, count: u8) -> Form {
        self.objects = Some((letter, count));
        self
    }

    const fn up_to(mut self, most: u32) -> Form {
        self.most = Some(most);
        self
    }

    const fn waits(mut self) -> Form {
        self.waits = true;
        self
    }

    const fn block(mut self) -> Form {
        self.block = true;
        self
    }

    const fn weight(mut self, weight: u8) -> Form {
        self.weight = weight;
        self
    }
}

impl Verb {
    pub(crate) fn form(self) -> &'static Form {
        // The table has the order of the verbs, which a test of the text form holds.
        &FORMS[self as usize]
    }
}

/// Times are in microseconds.
pub(crate) static FORMS: &[Form] = &[
    form(Verb::Yield, "yield").weight(8),
    form(Verb::Sleep, "sleep").up_to(1500).weight(8),
    form(Verb::Idle, "idle").weight(1),
    form(Verb::Compute, "compute").up_to(300).weight(2),
    form(Verb::Limit, "limit").up_to(1500).block(),
    form(Verb::Timer, "timer").up_to(1500).weight(2),
    form(Verb::Repeat, "repeat").up_to(30).block().weight(2),
    form(Verb::Catch, "catch").block(),
    form(Verb::Panic, "panic").block().weight(6),
    form(Verb::Return, "return").block().weight(3),
    form(Verb::Hold, "hold").block().weight(10),
    form(Verb::Spawn, "spawn").of('t', 3).block().weight(24),
    form(Verb::SpawnLater, "spawn-later").of('t', 3).up_to(2000).block(),
    form(Verb::SpawnSized, "spawn-sized").of('t', 3).up_to(1_000_000).block(),
    form(Verb::SpawnIsolated, "spawn-isolated").of('t', 3).block(),
    form(Verb::Join, "join").of('t', 3).waits().weight(6),
    form(Verb::Wait, "wait").of('t', 3).waits(),
    form(Verb::WaitAny, "wait-any").weight(2),
    form(Verb::JoinAll, "join-all").waits().weight(2),
    form(Verb::Await, "await").of('t', 3).weight(2),
    form(Verb::Kill, "kill").of('t', 3).waits().weight(10),
    form(Verb::KillWith, "kill-with").of('t', 3).block(),
    form(Verb::Detach, "detach").of('t', 3).weight(6),
    form(Verb::LinkTask, "link-task").of('t', 3).block(),
    form(Verb::Forge, "forge").of('t', 3).up_to(8).weight(2),
    form(Verb::Scope, "scope").block().weight(6),
    form(Verb::Pool, "pool").up_to(3).block(),
    form(Verb::Child, "child").block().weight(0),
    form(Verb::HubJoin, "hub-join").weight(1),
    form(Verb::Thread, "thread").block().weight(12),
    form(Verb::LeavingThread, "leaving-thread").block().weight(6),
    form(Verb::Unblock, "unblock").block().weight(2),
    form(Verb::Job, "job").block().weight(2),
    form(Verb::Greenlet, "greenlet").of('g', 2).block().weight(8),
    form(Verb::Switch, "switch").of('g', 2).weight(10),
    form(Verb::SwitchParent, "switch-parent").weight(6),
    form(Verb::SetParent, "set-parent").of('g', 2).weight(2),
    form(Verb::Throw, "throw").of('g', 2).block(),
    form(Verb::Release, "release").of('g', 2),
    form(Verb::Generator, "generator").of('y', 2).block().weight(8),
    form(Verb::Give, "give").weight(8),
    form(Verb::Next, "next").of('y', 2).weight(10),
    form(Verb::EndGenerator, "end-generator").of('y', 2),
    form(Verb::Local, "local").block().weight(6),
    form(Verb::Inherited, "inherited").block(),
    form(Verb::Keep, "keep").up_to(1).block(),
    form(Verb::Trace, "trace").up_to(6).block().weight(3),
    form(Verb::Untrace, "untrace").weight(1),
    form(Verb::PanicHook, "panic-hook").block().weight(2),
    form(Verb::UncaughtHook, "uncaught-hook").block().weight(2),
    form(Verb::Lock, "lock").of('m', 2).waits().block().weight(10),
    form(Verb::Read, "read").of('w', 1).waits().block(),
    form(Verb::Write, "write").of('w', 1).waits().block(),
    form(Verb::Reenter, "reenter").of('n', 1).waits().block().weight(2),
    form(Verb::Acquire, "acquire").of('s', 2).waits().block().weight(8),
    form(Verb::WaitPermit, "wait-permit").of('s', 2).waits().weight(2),
    form(Verb::CondWait, "wait-condition").of('m', 2).waits(),
    form(Verb::Notify, "notify").of('m', 2),
    form(Verb::NotifyAll, "notify-all").of('m', 2).weight(2),
    form(Verb::Once, "once").of('o', 1).block().weight(2),
    form(Verb::Barrier, "barrier").of('b', 1).waits().weight(2),
    form(Verb::Send, "send").of('c', 4).waits().block().weight(16),
    form(Verb::Recv, "recv").of('c', 4).waits().weight(16),
    form(Verb::CloseSender, "close-sender").of('c', 4).weight(2),
    form(Verb::CloseReceiver, "close-receiver").of('c', 4).weight(2),
    form(Verb::Select, "select").waits().block().weight(8),
    form(Verb::Put, "put").of('q', 3).waits().block().weight(8),
    form(Verb::Get, "get").of('q', 3).waits().weight(8),
    form(Verb::Shutdown, "shutdown").of('q', 3).weight(1),
    form(Verb::Set, "set").of('e', 2).weight(8),
    form(Verb::Clear, "clear").of('e', 2),
    form(Verb::WaitEvent, "wait-event").of('e', 2).waits(),
    form(Verb::Link, "link").of('e', 2).block(),
    form(Verb::Rawlink, "rawlink").of('e', 2).block().weight(6),
    form(Verb::Unlink, "unlink").of('e', 2).weight(2),
    form(Verb::SetResult, "set-result").of('r', 2).block().weight(6),
    form(Verb::GetResult, "get-result").of('r', 2).waits(),
    form(Verb::RawlinkResult, "rawlink-result").of('r', 2).block(),
    form(Verb::WriteSocket, "write-socket").of('k', 4).up_to(4000).waits().weight(6),
    form(Verb::ReadSocket, "read-socket").of('k', 4).up_to(4000).waits().weight(6),
    form(Verb::CloseSocket, "close-socket").of('k', 4).weight(2),
    form(Verb::ShutSocket, "shut-socket").of('k', 4).weight(2),
    form(Verb::WaitSocket, "wait-socket").of('k', 4).waits().weight(2),
    form(Verb::File, "file").weight(2),
    form(Verb::Process, "process").waits().weight(1),
];
