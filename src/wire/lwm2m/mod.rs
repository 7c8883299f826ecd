//! LwM2M payload formats and paths.
