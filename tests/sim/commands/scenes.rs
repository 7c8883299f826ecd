//! One mistake at a time.
