//! Green threads with thread-local variables of their own.
