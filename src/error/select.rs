//! What choices among several operations fail with.

use thiserror::Error;

/// The error of [`Select::try_select`](crate::select::Select::try_select) if no operation could be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("all operations in select would block")]
pub struct TrySelectError;

/// The error of [`Select::select_timeout`](crate::select::Select::select_timeout) if the time was over before an operation could
/// be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("timed out waiting on select")]
pub struct SelectTimeoutError;

/// The error of [`Select::try_ready`](crate::select::Select::try_ready) if no operation could be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("all operations in ready would block")]
pub struct TryReadyError;

/// The error of [`Select::ready_timeout`](crate::select::Select::ready_timeout) if the time was over before an operation could be
/// done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("timed out waiting on ready")]
pub struct ReadyTimeoutError;
