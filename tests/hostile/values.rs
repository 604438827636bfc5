//! Values that users can make.
