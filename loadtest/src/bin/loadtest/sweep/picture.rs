//! The plot of a sweep: its panels side by side, a line for each series, as wide as a page.

use super::plan::Panel;
use super::result::Outcome;
use crate::report::svg::{Anchor, GRID, Svg, short, style, ticks};

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 218.0;
/// Room for the numbers at the left of a panel.
const LEFT: f64 = 46.0;
const RIGHT: f64 = 10.0;
const TOP: f64 = 42.0;
const BOTTOM: f64 = 44.0;

/// Colour and dashes of each series; they differ in grey too.
const LINES: [(&str, &str); 3] = [("#1f4e79", "none"), ("#d97f2e", "7 3"), ("#6d6d6d", "2 3")];

/// The whole picture.
pub fn plot(outcome: &Outcome) -> String {
    let sweep = &outcome.sweep;
    let mut svg = Svg::new(WIDTH, HEIGHT);
    let width = WIDTH / sweep.panels.len().max(1) as f64;
    for (number, panel) in sweep.panels.iter().enumerate() {
        let place =
            Place { left: number as f64 * width, width, values: sweep.values.len(), scale: scale(outcome, panel) };
        draw(&mut svg, outcome, panel, &place);
    }
    svg.finish_alone(sweep.title)
}

/// Where a panel lies, and what its heights mean.
struct Place {
    left: f64,
    width: f64,
    values: usize,
    scale: Scale,
}

impl Place {
    fn start(&self) -> f64 {
        self.left + LEFT
    }

    fn end(&self) -> f64 {
        self.left + self.width - RIGHT
    }

    /// The values stand at equal distances: most of them double.
    fn x(&self, value: usize) -> f64 {
        self.start() + (self.end() - self.start()) * (value as f64 + 0.5) / self.values.max(1) as f64
    }

    fn y(&self, value: f64) -> f64 {
        HEIGHT - BOTTOM - self.scale.share(value) * (HEIGHT - BOTTOM - TOP)
    }
}

/// Heights.
enum Scale {
    /// From 0 to this.
    Linear(f64),
    /// Powers of ten from this to that.
    Logarithmic(f64, f64),
}

impl Scale {
    fn share(&self, value: f64) -> f64 {
        match self {
            Self::Linear(end) => value / end,
            Self::Logarithmic(low, high) => (value.max(1e-9).log10() - low) / (high - low),
        }
    }

    fn ticks(&self) -> Vec<f64> {
        match self {
            Self::Linear(end) => ticks(*end),
            Self::Logarithmic(low, high) => (*low as i32..=*high as i32).map(|power| 10_f64.powi(power)).collect(),
        }
    }
}

fn scale(outcome: &Outcome, panel: &Panel) -> Scale {
    let values = 0..outcome.sweep.values.len();
    let spreads = values.flat_map(|value| panel.series.iter().map(move |series| (value, *series)));
    let spreads: Vec<_> = spreads.filter_map(|(value, series)| outcome.spread(panel.metric, value, series)).collect();
    let max = spreads.iter().map(|spread| spread.max).fold(0.0, f64::max).max(1e-3);
    if panel.logarithmic {
        let min = spreads.iter().map(|spread| spread.min).filter(|min| *min > 0.0).fold(max, f64::min);
        let low = min.log10().floor();
        return Scale::Logarithmic(low, max.log10().ceil().max(low + 1.0));
    }
    Scale::Linear(ticks(max).last().copied().unwrap_or(max))
}

fn draw(svg: &mut Svg, outcome: &Outcome, panel: &Panel, place: &Place) {
    let sweep = &outcome.sweep;
    svg.text((place.left + 6.0, 14.0), Anchor::Start, style::GROUP, panel.metric.name());
    for tick in place.scale.ticks() {
        svg.line((place.start(), place.y(tick)), (place.end(), place.y(tick)), GRID);
        svg.text((place.start() - 5.0, place.y(tick) + 4.0), Anchor::End, style::TICK, &at_axis(tick));
    }
    for (at, value) in sweep.values.iter().enumerate() {
        svg.text((place.x(at), HEIGHT - BOTTOM + 15.0), Anchor::Middle, style::TICK, &value.label);
    }
    svg.text((place.start(), HEIGHT - 10.0), Anchor::Start, style::TICK, sweep.axis);
    let mut legend = place.left + 6.0;
    for series in panel.series {
        let (color, dashes) = LINES[series % LINES.len()];
        line(svg, outcome, panel, *series, place);
        if sweep.series.len() > 1 {
            let name = sweep.series.get(*series).map_or("", |series| series.name);
            svg.curve(&[(legend, 27.0), (legend + 18.0, 27.0)], color, dashes);
            svg.text((legend + 22.0, 31.0), Anchor::Start, style::TICK, name);
            legend += 32.0 + 5.4 * name.len() as f64;
        }
    }
}

/// Medians, with the smallest and the largest.
fn line(svg: &mut Svg, outcome: &Outcome, panel: &Panel, series: usize, place: &Place) {
    let (color, dashes) = LINES[series % LINES.len()];
    let measured = (0..place.values).filter_map(|at| Some((at, outcome.spread(panel.metric, at, series)?)));
    let mut points = Vec::new();
    for (at, spread) in measured {
        let x = place.x(at);
        svg.line((x, place.y(spread.min)), (x, place.y(spread.max)), color);
        svg.dot((x, place.y(spread.median)), color);
        points.push((x, place.y(spread.median)));
    }
    svg.curve(&points, color, dashes);
}

/// As short as can be: `20k` for 20 000.
fn at_axis(value: f64) -> String {
    match value {
        value if value >= 1e6 => format!("{}M", value / 1e6),
        value if value >= 1e4 => format!("{}k", value / 1e3),
        value if value >= 1.0 || value == 0.0 => short(value).trim_end_matches('0').trim_end_matches('.').to_string(),
        value => format!("{}", (value * 1e6).round() / 1e6),
    }
}
