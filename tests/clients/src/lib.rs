//! How clients are tested that know nothing of greenloop: many calls at once on one OS thread, beside the same calls one after another and
//! on OS threads, and calls that are interrupted. For the packages `clients` and `heavy_clients`.

// Without it nothing is patched.
#![cfg(feature = "monkey")]

#[path = "../../support/mod.rs"]
mod support;

pub mod folder;
pub mod interrupted;
pub mod library;
pub mod measure;
pub mod page;
pub mod postgresql;
pub mod program;
pub mod slow_server;
