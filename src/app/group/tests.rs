//! Limits of groups, with callers at the same time.
