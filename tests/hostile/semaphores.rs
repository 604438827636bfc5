//! Who is served first.
