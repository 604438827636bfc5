//! Pre-fork servers.

mod birth;
mod board;
mod crew;
mod handover;
mod happening;
mod member;
mod serving;
mod settings;
mod starting;
mod successor;
#[expect(clippy::module_inception, reason = "named for the type in it")]
mod supervisor;
mod worker;

pub use happening::SupervisorEvent;
pub use settings::Reload;
pub use supervisor::Supervisor;
pub use worker::Worker;
