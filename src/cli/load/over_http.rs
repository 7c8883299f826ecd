//! The workloads that go over HTTP as well: commands, and the fragments of a campaign.

use super::{Args, RunError, StrategyArg, Watch, measure, print_usage, with_usage};
use crate::cli::progress::print;
use crate::cli::samples::Sample;
use crate::sim::load::{self, Commands, Fragments, Job, Report, Strategy};
use crate::sim::rest::Rest;

/// True when any command succeeded.
pub(super) fn run_commands(
    args: &Args,
    job: &Job,
    base: &str,
    mut watch: Option<Watch>,
) -> Result<bool, RunError> {
    let commands = Commands {
        rest: Rest::new(base, args.token.clone())?,
        product_id: Sample::of(args.product).product_id(),
        product: args.product,
        strategy: match args.strategy {
            StrategyArg::Immediately => Strategy::Immediately,
            StrategyArg::Delay => Strategy::Delay,
        },
        concurrency: args.concurrency.max(1),
        patience: args.patience,
    };
    let run = |job: &Job, told: &mut dyn FnMut(load::Progress)| load::command(job, &commands, told);
    let report = measure(job, args.json, watch.as_mut(), run)?;
    let usage = watch.as_mut().and_then(Watch::finish);
    if args.json {
        print(&with_usage(&report, usage).to_string());
    } else {
        print(&report.text());
        print_usage(usage);
    }
    Ok(report.succeeded > 0)
}

/// The outcome of the fragment workload.
pub(super) fn run_fragments(
    args: &Args,
    job: &Job,
    base: &str,
    watch: Option<&mut Watch>,
) -> Result<Report, RunError> {
    let fragments = Fragments {
        rest: Rest::new(base, args.token.clone())?,
        product_id: Sample::of(args.product).product_id(),
        size: usize::try_from(args.package).unwrap_or(usize::MAX),
        patience: args.patience,
    };
    measure(job, args.json, watch, |job, told| {
        load::fragments(job, &fragments, told)
    })
}
