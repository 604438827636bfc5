//! Scopes that end while something goes wrong.
