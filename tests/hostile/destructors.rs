//! Destructors of results and payloads that nobody takes.
