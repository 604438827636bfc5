//! For readers who come from elsewhere: the name of each call here, and what is different.
//!
//! - [From gevent](from_gevent), and from Python's greenlet.
//! - [From asyncio](from_asyncio), call by call.
//! - [From multiprocessing and concurrent.futures](from_multiprocessing), call by call.
//! - [From Celery, RQ and Scrapy-Redis](from_celery), for jobs of many machines.
//! - [From other Python](from_python): threading, queue, selectors.
//! - [From `std::thread`](from_std_thread), and the rest of std that waits.
//! - [Testing code that waits](testing).
//! - [When something hangs](when_something_hangs): what a dump says, and what that mostly is.
#![cfg_attr(
    feature = "monkey",
    doc = "- [Unmodified blocking code](crate::monkey), of Rust and of C, in one line, and [what each client needs](blocking_crates) for that."
)]
#![cfg_attr(
    not(feature = "monkey"),
    doc = "- Unmodified blocking code: the module `monkey`, with the cargo feature of that name."
)]

#[rustfmt::skip]
#[doc(alias(
    "asyncio", "uvloop", "all_tasks", "shield", "run_coroutine_threadsafe", "call_soon_threadsafe", "IncompleteReadError",
    "LimitOverrunError", "new_event_loop", "set_event_loop", "get_event_loop_policy", "set_event_loop_policy",
    "AbstractEventLoop", "SelectorEventLoop", "Runner", "Protocol", "DatagramProtocol", "SubprocessProtocol",
    "Transport", "DatagramTransport", "SubprocessTransport", "InvalidStateError", "SendfileNotAvailableError",
    "TimerHandle", "Handle", "get_child_watcher", "iscoroutine", "QueueShutDown", "call_soon"
))]
#[doc = include_str!("from_asyncio.md")]
pub mod from_asyncio {}
#[doc(alias("acks_late", "countdown", "visibility_timeout", "soft_time_limit", "rq", "scrapy"))]
#[doc = include_str!("from_celery.md")]
pub mod from_celery {}
#[rustfmt::skip]
#[doc(alias(
    "gr_frame", "gr_context", "getswitchinterval", "setswitchinterval", "started", "args", "kwargs", "unlink_all",
    "has_links", "linkcount", "spawning_stack_limit", "spawning_greenlet", "add_spawn_callback",
    "remove_spawn_callback", "cancelled", "DummySemaphore", "copy", "balance", "map_async", "greenlet_class",
    "copy_context", "Context", "Token", "connect_ex", "fromfd", "detach", "fileno", "recvmsg", "recv_fds",
    "sendmsg", "send_fds", "sendfile", "setdefaulttimeout", "getdefaulttimeout", "setsockopt", "getsockopt",
    "gethostbyaddr", "getnameinfo", "getfqdn", "gethostname", "sethostname", "getprotobyname", "getservbyname",
    "getservbyport", "has_ipv6", "has_dualstack_ipv6", "htonl", "htons", "ntohl", "ntohs", "inet_aton", "inet_ntoa",
    "inet_ntop", "inet_pton", "if_indextoname", "if_nameindex", "if_nametoindex", "SSLContext", "SSLSocket",
    "SSLObject", "SSLError", "create_default_context", "get_server_certificate", "forkpty", "forkpty_and_watch",
    "forkpty_gevent", "CalledProcessError", "SubprocessError", "getsignal", "set_wakeup_fd", "min_delay",
    "max_delay", "max_accept", "BlockingSwitchOutError", "ConcurrentObjectUseError", "Waiter", "destroy", "loop",
    "start_periodic_monitoring_thread", "patch_builtins", "patch_module", "patch_queue", "patch_signal",
    "patch_ssl", "patch_sys", "exit_thread", "GreenletTree",
    "wrap_errors", "subscribers", "IPeriodicMonitorThread",
    "IPeriodicMonitorThreadStartedEvent", "PeriodicMonitorThreadStartedEvent",
    "DoNotPatch",
    "GeventWillPatchEvent", "GeventDidPatchModuleEvent", "BackdoorServer", "WSGIServer", "WSGIHandler"
))]
#[doc = include_str!("from_gevent.md")]
pub mod from_gevent {}
#[rustfmt::skip]
#[doc(alias(
    "close", "terminate", "Process", "Pipe", "Manager", "Value", "Array", "RawValue", "RawArray", "SharedMemory",
    "ShareableList", "SharedMemoryManager", "SyncManager", "BaseManager", "BaseProxy", "Client", "Listener",
    "ProcessError", "AuthenticationError", "BufferTooShort", "cpu_count", "active_children", "current_process",
    "parent_process", "get_context", "get_start_method", "set_start_method", "get_all_start_methods",
    "set_executable", "set_forkserver_preload", "freeze_support", "allow_connection_pickling", "reducer",
    "get_logger", "log_to_stderr", "starmap", "starmap_async", "exitcode", "sentinel", "ProcessPoolExecutor",
    "BrokenExecutor", "running", "InterpreterPoolExecutor"
))]
#[doc = include_str!("from_multiprocessing.md")]
pub mod from_multiprocessing {}
#[rustfmt::skip]
#[doc(alias(
    "get_native_id", "BrokenBarrierError", "ThreadError", "TIMEOUT_MAX", "enumerate", "setprofile", "getprofile",
    "daemon", "n_waiting", "parties"
))]
#[doc = include_str!("from_python.md")]
pub mod from_python {}
#[doc = include_str!("from_std_thread.md")]
pub mod from_std_thread {}
#[doc = include_str!("testing.md")]
pub mod testing {}
#[cfg(feature = "monkey")]
#[doc = include_str!("blocking_crates.md")]
pub mod blocking_crates {}
#[doc = include_str!("when_something_hangs.md")]
pub mod when_something_hangs {}
