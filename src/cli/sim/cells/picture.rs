//! Slots over time as SVG: one panel for each coverage level, steps of the slots held, the limit dashed.

use std::fmt::Write as _;

use crate::cli::svg::{self, LEFT, WIDTH};
use crate::sim::cell::campaign::{Outcome, SECOND, Scenario};

const PANEL: f64 = 110.0;
const TOP: f64 = 44.0;
const GAP: f64 = 28.0;
const COLOURS: [&str; 3] = ["#2a7f9e", "#c98a1b", "#b0413e"];
/// Points of one line at most: the extremes of each step of the width are kept.
const COLUMNS: u64 = 800;

/// Draws what a run did.
pub(super) fn draw(title: &str, scenario: &Scenario, outcome: &Outcome) -> String {
    let end_us = outcome.makespan_us.max(outcome.bound_us).max(1);
    let height = TOP + 3.0 * (PANEL + GAP) + 24.0;
    let mut svg = svg::begin(title, height);
    let levels = COLOURS.iter().zip(scenario.slots).zip(scenario.devices);
    let mut top = TOP;
    for (level, ((colour, slots), devices)) in levels.enumerate() {
        let heading = format!("level {level}: {devices} devices, {slots} slots");
        let scale = |count: u32| top + PANEL - PANEL * f64::from(count) / f64::from(slots.max(1));
        let _infallible = writeln!(
            svg,
            "<text x=\"{LEFT}\" y=\"{}\">{heading}</text>\n\
             <path d=\"M{LEFT} {top}H{}\" stroke=\"#999\" stroke-dasharray=\"4 4\"/>\n\
             <path d=\"M{LEFT} {}H{}\" stroke=\"#333\"/>\n\
             <text x=\"52\" y=\"{}\" text-anchor=\"end\">{slots}</text>\n\
             <path fill=\"{colour}\" fill-opacity=\"0.35\" stroke=\"{colour}\" d=\"{}\"/>",
            top - 6.0,
            LEFT + WIDTH,
            top + PANEL,
            LEFT + WIDTH,
            top + 8.0,
            steps(outcome, level, end_us, scale)
        );
        top += PANEL + GAP;
    }
    let bound = across(outcome.bound_us, end_us);
    let bottom = top - GAP;
    let _infallible = writeln!(
        svg,
        "<path d=\"M{bound:.1} {TOP}V{bottom}\" stroke=\"#111\" stroke-dasharray=\"2 3\"/>\n\
         <text x=\"{bound:.1}\" y=\"36\" text-anchor=\"end\">lower bound</text>"
    );
    let hours = end_us / (3600 * SECOND);
    let step = (hours / 8).max(1);
    for hour in (0..=hours).step_by(usize::try_from(step).unwrap_or(1)) {
        let x = across(hour * 3600 * SECOND, end_us);
        let _infallible = writeln!(
            svg,
            "<text x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{hour} h</text>",
            bottom + 16.0
        );
    }
    svg.push_str(svg::END);
    svg
}

fn across(at_us: u64, end_us: u64) -> f64 {
    LEFT + WIDTH * at_us as f64 / end_us as f64
}

/// The outline of the slots that a level holds: in each column the most that it held.
fn steps(outcome: &Outcome, level: usize, end_us: u64, scale: impl Fn(u32) -> f64) -> String {
    let mut path = format!("M{LEFT} {:.1}", scale(0));
    let mut events = outcome.slots.iter().peekable();
    let mut held = 0;
    let mut drawn = 0;
    for column in 0..COLUMNS {
        let until_us = end_us / COLUMNS * (column + 1);
        let mut most = held;
        while let Some((_, slots)) = events.next_if(|(at, _)| *at <= until_us) {
            held = slots.get(level).copied().unwrap_or(0);
            most = most.max(held);
        }
        if most != drawn {
            let x = across(end_us / COLUMNS * column, end_us);
            let _infallible = write!(path, "H{x:.1}V{:.1}", scale(most));
            drawn = most;
        }
    }
    let _infallible = write!(path, "H{:.1}V{:.1}Z", LEFT + WIDTH, scale(0));
    path
}
