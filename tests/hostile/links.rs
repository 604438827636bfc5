//! Links that are told, and taken back meanwhile.
