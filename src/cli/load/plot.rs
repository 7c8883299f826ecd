//! Latency over planned rate as SVG: a line for each percentile, latency on a logarithmic scale. A hollow
//! point: the server did not keep up with that rate.

use std::fmt::Write as _;
use std::ops::RangeInclusive;

use super::sweep::Point;
use crate::cli::svg::{self, LEFT, WIDTH};
use crate::sim::load::Latency;

const TOP: f64 = 48.0;
const HEIGHT: f64 = 360.0;
const BOTTOM: f64 = TOP + HEIGHT;
/// Between two numbers on the axis of rates.
const LABEL_WIDTH: f64 = 56.0;
/// Nothing below a microsecond is measured.
const LEAST_MS: f64 = 0.001;
/// From there to the longest latency that counts, ten minutes, in powers of ten of a millisecond.
const DECADES: RangeInclusive<i32> = -3..=6;

/// Name, colour and value of a line.
type Line = (&'static str, &'static str, fn(&Latency) -> f64);

const LINES: [Line; 4] = [
    ("p50", "#2a7f9e", |latency| latency.p50_ms),
    ("p90", "#5a8f3c", |latency| latency.p90_ms),
    ("p99", "#c98a1b", |latency| latency.p99_ms),
    ("p99.9", "#b0413e", |latency| latency.p999_ms),
];

/// Draws a sweep. Rates without any answer have no latency and no point.
pub(super) fn draw(title: &str, points: &[Point]) -> String {
    let mut points: Vec<_> = points.iter().filter(|p| p.report.answered > 0).collect();
    points.sort_by(|a, b| a.planned_rate.total_cmp(&b.planned_rate));
    let scale = Scale::of(&points);
    let mut svg = svg::begin(title, BOTTOM + 44.0);
    scale.axes(&mut svg, &points);
    for (row, (name, colour, value)) in (0u8..).zip(LINES) {
        let mut path = String::new();
        let mut marks = String::new();
        for point in &points {
            let (x, y) = (
                scale.x(point.planned_rate),
                scale.y(value(&point.report.latency)),
            );
            let pen = if path.is_empty() { 'M' } else { 'L' };
            let fill = if point.keeps_up() { colour } else { "#fff" };
            let _infallible = write!(path, "{pen}{x:.1} {y:.1}");
            let _infallible = writeln!(
                marks,
                "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{fill}\" stroke=\"{colour}\"/>"
            );
        }
        let x = LEFT + WIDTH - 240.0 + 60.0 * f64::from(row);
        let _infallible = write!(
            svg,
            "<path fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\" d=\"{path}\"/>\n\
             {marks}<text x=\"{x}\" y=\"22\" fill=\"{colour}\">{name}</text>\n"
        );
    }
    svg.push_str(svg::END);
    svg
}

/// Whole decades of milliseconds from `low` to `high`, as powers of ten; rates from 0 to `most`.
struct Scale {
    low: i32,
    high: i32,
    most: f64,
}

impl Scale {
    fn of(points: &[&Point]) -> Self {
        let latencies = || points.iter().map(|p| &p.report.latency);
        let least = latencies().map(|l| l.p50_ms).fold(f64::MAX, f64::min);
        let most = latencies().map(|l| l.p999_ms).fold(LEAST_MS, f64::max);
        let least = least.clamp(LEAST_MS, most);
        let power = |decade: &i32| 10f64.powi(*decade);
        let low = DECADES.rev().find(|decade| power(decade) <= least);
        let low = low.unwrap_or(*DECADES.start());
        let high = DECADES.clone().find(|decade| power(decade) >= most);
        let high = high.unwrap_or(*DECADES.end());
        Self {
            low,
            high: high.max(low + 1),
            most: points.iter().map(|p| p.planned_rate).fold(1e-9, f64::max),
        }
    }

    fn x(&self, rate: f64) -> f64 {
        LEFT + WIDTH * rate / self.most
    }

    fn y(&self, ms: f64) -> f64 {
        let decades = f64::from(self.high - self.low);
        BOTTOM - HEIGHT * (ms.max(LEAST_MS).log10() - f64::from(self.low)) / decades
    }

    fn axes(&self, svg: &mut String, points: &[&Point]) {
        for decade in self.low..=self.high {
            let ms = 10f64.powi(decade);
            let y = self.y(ms);
            svg.push_str(&svg::across(y, "#ddd"));
            let text_y = y + 4.0;
            let _infallible = writeln!(
                svg,
                "<text x=\"52\" y=\"{text_y:.1}\" text-anchor=\"end\">{ms}</text>"
            );
        }
        svg.push_str(&svg::across(BOTTOM, "#333"));
        let mut free = LEFT;
        for point in points {
            let x = self.x(point.planned_rate);
            if x >= free {
                free = x + LABEL_WIDTH;
                let (y, rate) = (BOTTOM + 16.0, point.planned_rate);
                let _infallible = writeln!(
                    svg,
                    "<text x=\"{x:.1}\" y=\"{y}\" text-anchor=\"middle\">{rate}</text>"
                );
            }
        }
        let _infallible = writeln!(
            svg,
            "<text x=\"{LEFT}\" y=\"40\">ms from the planned start</text>\n\
             <text x=\"{LEFT}\" y=\"{}\">planned requests per second; hollow: the server did not keep up</text>",
            BOTTOM + 36.0
        );
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::sim::load::Report;

    fn point(planned_rate: f64, rate: f64, p50_ms: f64, p999_ms: f64) -> Point {
        let report = Report {
            workload: "echo",
            devices: 1,
            elapsed_s: 1.0,
            started: 10,
            answered: 10,
            succeeded: 10,
            rate,
            latency: Latency {
                p50_ms,
                p90_ms: p50_ms,
                p99_ms: p999_ms,
                p999_ms,
                max_ms: p999_ms,
            },
            answers: BTreeMap::new(),
            retransmitted: 0,
            timeouts: 0,
            late: 0,
        };
        Point {
            planned_rate,
            report,
            server: None,
        }
    }

    /// Two decades over 360 units; the second rate at the right edge, hollow since it was missed.
    #[test]
    fn points_stand_where_their_numbers_say() {
        let points = [
            point(2000.0, 1200.0, 10.0, 100.0),
            point(1000.0, 1000.0, 1.0, 10.0),
        ];
        let svg = draw("a title", &points);
        assert!(svg.starts_with("<svg") && svg.ends_with("</svg>\n"));
        let p50 = "d=\"M490.0 408.0L920.0 228.0\"";
        let p999 = "d=\"M490.0 228.0L920.0 48.0\"";
        for part in [
            "a title", ">p99.9<", ">1000<", ">2000<", ">1<", ">100<", p50, p999,
        ] {
            assert!(svg.contains(part), "{part}: {svg}");
        }
        assert_eq!(svg.matches("fill=\"#fff\" stroke").count(), 4);
    }

    #[test]
    fn rates_without_answers_are_left_out() {
        let mut silent = point(5000.0, 0.0, 0.0, 0.0);
        silent.report.answered = 0;
        let svg = draw("t", &[point(1000.0, 1000.0, 1.0, 2.0), silent.clone()]);
        assert!(!svg.contains(">5000<") && svg.matches("<circle").count() == 4);
        let none = draw("t", &[silent]);
        assert!(!none.contains("<circle") && !none.contains("NaN") && !none.contains("inf"));
    }
}
