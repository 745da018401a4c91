//! The plots: bars and latency curves.

use hdrhistogram::Histogram;

use super::svg::{Anchor, GRID, INK, Svg, short, style, ticks};

const WIDTH: f64 = 760.0;

/// Some bars that belong together.
#[derive(Debug, Clone, Default)]
pub struct Group {
    /// Above them.
    pub title: String,
    /// From top to bottom.
    pub bars: Vec<Bar>,
}

/// One bar, in parts.
#[derive(Debug, Clone, Default)]
pub struct Bar {
    /// Before it.
    pub label: String,
    /// Length and colour of each part.
    pub parts: Vec<(f64, &'static str)>,
    /// Smallest and largest value measured.
    pub spread: Option<(f64, f64)>,
    /// Behind it.
    pub text: String,
    /// In red behind the text: why it is no result.
    pub warning: String,
}

impl Bar {
    fn end(&self) -> f64 {
        let length: f64 = self.parts.iter().map(|(value, _)| value).sum();
        self.spread.map_or(length, |(_, high)| high.max(length))
    }
}

/// Horizontal bars in groups. `unit` stands below the axis; what goes beyond `limit` is cut.
pub fn bars(title: &str, unit: &str, groups: &[Group], limit: f64) -> String {
    const LEFT: f64 = 120.0;
    const RIGHT: f64 = 190.0;
    const BAR: f64 = 15.0;
    const HEAD: f64 = 22.0;
    let rows: usize = groups.iter().map(|group| group.bars.len()).sum();
    let bottom = HEAD * groups.len() as f64 + (BAR + 3.0) * rows as f64 + 6.0;
    let max = groups.iter().flat_map(|group| &group.bars).map(Bar::end).fold(0.0, f64::max).min(limit);
    let ticks = ticks(max);
    let scale = (WIDTH - LEFT - RIGHT) / ticks.last().copied().unwrap_or(1.0).max(1e-9);
    let end = ticks.last().copied().unwrap_or_default();
    let x = |value: f64| LEFT + value.min(end) * scale;
    let mut svg = Svg::new(WIDTH, bottom + 34.0);
    for tick in &ticks {
        svg.line((x(*tick), 0.0), (x(*tick), bottom), GRID);
        svg.text((x(*tick), bottom + 14.0), Anchor::Middle, style::TICK, &axis(*tick));
    }
    svg.text((x(0.0), bottom + 29.0), Anchor::Start, style::TICK, unit);
    let mut y = 0.0;
    for group in groups {
        svg.text((4.0, y + 16.0), Anchor::Start, style::GROUP, &group.title);
        y += HEAD;
        for bar in &group.bars {
            draw(&mut svg, bar, y, BAR, x);
            y += BAR + 3.0;
        }
    }
    svg.finish(title)
}

fn draw(svg: &mut Svg, bar: &Bar, y: f64, height: f64, x: impl Fn(f64) -> f64) {
    let middle = y + height / 2.0;
    svg.text((x(0.0) - 6.0, y + height - 3.5), Anchor::End, style::LABEL, &bar.label);
    let mut from = 0.0;
    for (value, color) in &bar.parts {
        svg.rect((x(from), y), (x(from + value) - x(from), height), color);
        from += value;
    }
    if let Some((low, high)) = bar.spread.filter(|(low, high)| high > low) {
        svg.line((x(low), middle), (x(high), middle), INK);
        for end in [low, high] {
            svg.line((x(end), y + 4.0), (x(end), y + height - 4.0), INK);
        }
    }
    let behind = x(bar.end()) + 5.0;
    svg.text((behind, y + height - 3.5), Anchor::Start, style::LABEL, &bar.text);
    if !bar.warning.is_empty() {
        let after = behind + 6.2 * bar.text.chars().count() as f64 + 6.0;
        svg.text((after, y + height - 3.5), Anchor::Start, style::WARNING, &bar.warning);
    }
}

/// The latency of one subject.
pub struct Curve {
    /// In the legend.
    pub label: &'static str,
    /// Of the line.
    pub color: &'static str,
    /// Of the line too, for those who print in grey.
    pub dashes: &'static str,
    /// Nanoseconds.
    pub latency: Histogram<u64>,
}

/// Share of requests below a latency: logarithmic latency, and a scale that shows the slow ones as well as the many.
pub fn latency(title: &str, curves: &[Curve]) -> String {
    const HEIGHT: f64 = 250.0;
    const LEFT: f64 = 60.0;
    const TOP: f64 = 24.0;
    const NINES: f64 = 4.0;
    let ends = |pick: fn(&Histogram<u64>) -> u64| curves.iter().map(move |curve| pick(&curve.latency) as f64 / 1e3);
    let low = ends(Histogram::min).fold(f64::MAX, f64::min).max(1.0).log10().floor();
    let high = ends(Histogram::max).fold(10.0, f64::max).log10().ceil();
    let x = |us: f64| LEFT + (us.max(1.0).log10() - low) / (high - low).max(1.0) * (WIDTH - LEFT - 20.0);
    let y = |quantile: f64| HEIGHT - 40.0 - nines(quantile).min(NINES) / NINES * (HEIGHT - 40.0 - TOP);
    let mut svg = Svg::new(WIDTH, HEIGHT);
    for quantile in [0.0, 0.5, 0.9, 0.99, 0.999, 0.9999] {
        svg.line((LEFT, y(quantile)), (WIDTH - 20.0, y(quantile)), GRID);
        svg.text((LEFT - 6.0, y(quantile) + 4.0), Anchor::End, style::TICK, &format!("{} %", quantile * 100.0));
    }
    for power in low as i32..=high as i32 {
        let us = 10_f64.powi(power);
        svg.line((x(us), TOP), (x(us), HEIGHT - 40.0), GRID);
        svg.text((x(us), HEIGHT - 24.0), Anchor::Middle, style::TICK, &duration(us));
    }
    let mut legend = LEFT;
    for curve in curves {
        svg.curve(&points(&curve.latency, &x, &y, NINES), curve.color, curve.dashes);
        svg.curve(&[(legend, 11.0), (legend + 26.0, 11.0)], curve.color, curve.dashes);
        svg.text((legend + 32.0, 15.0), Anchor::Start, style::LABEL, curve.label);
        legend += 46.0 + 7.0 * curve.label.len() as f64;
    }
    svg.text(
        (LEFT, HEIGHT - 8.0),
        Anchor::Start,
        style::TICK,
        "latency, and the share of requests that took at most as long",
    );
    svg.finish(title)
}

/// 0.9 is one, 0.99 two, and so on.
fn nines(quantile: f64) -> f64 {
    -(1.0 - quantile).max(1e-9).log10()
}

fn points(latency: &Histogram<u64>, x: &impl Fn(f64) -> f64, y: &impl Fn(f64) -> f64, nines: f64) -> Vec<(f64, f64)> {
    const STEPS: u32 = 120;
    // Beyond this share there is not even one request.
    let last = (1.0 - 1.0 / latency.len().max(1) as f64).max(0.0);
    let quantile = |step: u32| (1.0 - 10_f64.powf(-f64::from(step) * nines / f64::from(STEPS))).min(last);
    let point = |quantile: f64| (x(latency.value_at_quantile(quantile) as f64 / 1e3), y(quantile));
    (0..=STEPS).map(quantile).map(point).collect()
}

fn duration(us: f64) -> String {
    match us {
        us if us >= 1e6 => format!("{} s", us / 1e6),
        us if us >= 1e3 => format!("{} ms", us / 1e3),
        us => format!("{us} us"),
    }
}

/// A number at an axis.
fn axis(value: f64) -> String {
    if value >= 10_000.0 { short(value) } else { format!("{}", (value * 100.0).round() / 100.0) }
}
