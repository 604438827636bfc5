//! What was set aside for one who never runs again.
