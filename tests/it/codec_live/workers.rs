//! The same with real scripts in worker processes.
