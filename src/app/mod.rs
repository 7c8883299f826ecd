//! Use cases: load, step, commit, act.
