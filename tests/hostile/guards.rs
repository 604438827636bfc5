//! The page below a stack.
