//! What can be done where nothing more is to be had.
