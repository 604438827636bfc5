//! Work that may never end beside work that must.
