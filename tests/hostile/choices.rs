//! Choices among several, and who polls.
