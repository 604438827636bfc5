//! No memory for a stack.
