//! The report as one HTML file that needs nothing else: the figures, and two plots.

use crate::report::{Latency, Report};
use std::fmt::Write as _;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 220.0;
/// Where the plot begins within the drawing: room for the numbers at its axes.
const LEFT: f64 = 70.0;
const BOTTOM: f64 = 24.0;

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:760px;margin:2rem auto;padding:0 1rem;color:#222}\
pre{background:#f5f5f5;padding:1rem;overflow-x:auto}svg{width:100%;height:auto}text{font:11px system-ui,sans-serif;fill:#666}\
.axis{stroke:#ccc}.one{stroke:#0b6}.two{stroke:#06b}path{fill:none;stroke-width:1.5}figcaption{color:#666}figure{margin:2rem 0}";

/// The page.
pub fn page(report: &Report) -> String {
    let mut page = String::new();
    let title = escaped(&report.scenario);
    let _ = write!(
        page,
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title><style>{STYLE}</style></head><body>\n\
         <h1>{title}</h1>\n<pre>{}</pre>\n",
        escaped(&report.to_string())
    );
    let seconds: Vec<(f64, f64)> =
        report.each_second.iter().zip(1u32..).map(|(count, at)| (f64::from(at), precise(*count))).collect();
    if seconds.len() > 1 {
        let line = Line { class: "one", points: &seconds };
        let _ = write!(page, "{}", figure("Done in each second", &[line], &|at| format!("{at:.0} s")));
    }
    let curves: Vec<(&str, Vec<(f64, f64)>)> = [("two", &report.ack), ("one", &report.delivery)]
        .into_iter()
        .filter_map(|(class, latency)| Some((class, curve(latency.as_ref()?))))
        .collect();
    let lines: Vec<Line<'_>> = curves.iter().map(|(class, points)| Line { class, points }).collect();
    if !lines.is_empty() {
        let caption = "Microseconds until delivery (green) and acknowledgement (blue), by percentile";
        let _ = write!(page, "{}", figure(caption, &lines, &|nines| percentile(nines)));
    }
    page.push_str("</body></html>\n");
    page
}

/// A percentile stands where its nines are: 90 at 1, 99 at 2, 99.9 at 3.
fn curve(latency: &Latency) -> Vec<(f64, f64)> {
    [(0.301, latency.p50_us), (1.0, latency.p90_us), (2.0, latency.p99_us), (3.0, latency.p999_us)]
        .into_iter()
        .map(|(nines, us)| (nines, precise(us)))
        .collect()
}

fn percentile(nines: f64) -> String {
    format!("p{:.2}", 100.0 - 100.0 * 10f64.powf(-nines))
        .trim_end_matches('0')
        .trim_end_matches('.')
        .to_owned()
}

struct Line<'a> {
    class: &'a str,
    points: &'a [(f64, f64)],
}

fn figure(caption: &str, lines: &[Line<'_>], label: &dyn Fn(f64) -> String) -> String {
    let all = || lines.iter().flat_map(|line| line.points);
    let (from, to) = all().fold((f64::MAX, f64::MIN), |(from, to), (x, _)| (from.min(*x), to.max(*x)));
    let top = all().fold(1.0, |top: f64, (_, y)| top.max(*y)) * 1.1;
    let x = |value: f64| LEFT + (value - from) / (to - from).max(1e-9) * (WIDTH - LEFT - 20.0);
    let y = |value: f64| (HEIGHT - BOTTOM) * (1.0 - value / top);
    let mut svg =
        format!("<figure><svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{caption}\">\n");
    for part in 0..=4 {
        let value = top * f64::from(part) / 4.0;
        let _ = writeln!(
            svg,
            "<line class=\"axis\" x1=\"{LEFT}\" x2=\"{WIDTH}\" y1=\"{0:.1}\" y2=\"{0:.1}\"/><text x=\"{1:.1}\" y=\"{2:.1}\" text-anchor=\"end\">{value:.0}</text>",
            y(value),
            LEFT - 6.0,
            (y(value) + 4.0).max(10.0)
        );
    }
    for (class, points) in lines.iter().map(|line| (line.class, line.points)) {
        let mut path = String::new();
        for (at, (px, py)) in points.iter().enumerate() {
            let _ = write!(path, "{}{:.1},{:.1}", if at == 0 { "M" } else { " L" }, x(*px), y(*py));
        }
        let _ = writeln!(svg, "<path class=\"{class}\" d=\"{path}\"/>");
    }
    let labelled = lines.first().map_or(&[][..], |line| line.points);
    for (px, _) in labelled.iter().step_by(labelled.len().div_ceil(10).max(1)) {
        let _ = writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
            x(*px),
            HEIGHT - 8.0,
            label(*px)
        );
    }
    let _ = writeln!(svg, "</svg><figcaption>{caption}</figcaption></figure>");
    svg
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// Counts of a run are far below 2^52.
#[allow(clippy::cast_precision_loss)]
fn precise(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_named_by_their_nines() {
        assert_eq!([0.301, 1.0, 2.0, 3.0].map(percentile), ["p50", "p90", "p99", "p99.9"].map(str::to_owned));
    }

    #[test]
    fn a_line_stays_within_its_drawing() {
        let points = [(1.0, 0.0), (2.0, 5_000.0), (3.0, 10.0)];
        let drawn = figure("x", &[Line { class: "one", points: &points }], &|at| at.to_string());
        let path = drawn.split(" d=\"").nth(1).and_then(|rest| rest.split('"').next()).expect("a path");
        for point in path.split(['M', 'L']).map(str::trim).filter(|point| !point.is_empty()) {
            let (x, y) = point.split_once(',').expect("a point");
            let (x, y): (f64, f64) = (x.parse().expect("a number"), y.parse().expect("a number"));
            assert!((LEFT..=WIDTH).contains(&x) && (0.0..=HEIGHT - BOTTOM).contains(&y), "{point}");
        }
    }
}
