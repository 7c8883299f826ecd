//! `bug!`: a case that cannot happen did. It is logged and counted, and the server goes on.

/// Logs an impossible case with its place and counts it in `strait_bugs_total`.
#[macro_export]
macro_rules! bug {
    ($($message:tt)+) => {{
        ::metrics::counter!("strait_bugs_total").increment(1);
        ::tracing::error!(file = file!(), line = line!(), "bug: {}", format_args!($($message)+));
    }};
}
