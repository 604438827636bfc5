//! Crates, a C library and std that know nothing of greenloop, unmodified under `patch_all`: many green threads of one OS
//! thread at once, beside the same work one after another and on OS threads. Each test prints the three times.
//!
//! Some need servers, which they start for themselves: redis-server and PostgreSQL. `.ci/run` installs them.

#[path = "../../support/mod.rs"]
mod support;

mod curl;
mod http;
mod per_thread;
mod postgres;
mod redis;
mod sqlite;
mod standard;
mod threads;
mod tokio;
mod worlds;
mod zmq;
