//! A picture as text: lines, boxes, words. Sizes are in pixels of the screen; on paper the picture is as wide as the page.

use std::fmt::Write as _;

/// An SVG element being written.
#[derive(Debug)]
pub struct Svg {
    width: f64,
    height: f64,
    content: String,
}

/// Styles of texts.
pub mod style {
    /// Headline of some bars.
    pub const GROUP: &str = r##"font-size="11.5" font-weight="600" fill="#1a1a1a""##;
    /// Names and values.
    pub const LABEL: &str = r##"font-size="11.5" fill="#1a1a1a""##;
    /// At axes.
    pub const TICK: &str = r##"font-size="10.5" fill="#555""##;
    /// What is wrong.
    pub const WARNING: &str = r##"font-size="10.5" fill="#b3261e""##;
}

/// Colour of lines behind everything.
pub const GRID: &str = "#ddd";
/// Colour of lines before everything.
pub const INK: &str = "#111";

/// Where a text stands relative to its point.
#[derive(Debug, Clone, Copy)]
pub enum Anchor {
    /// It begins there.
    Start,
    /// Its middle is there.
    Middle,
    /// It ends there.
    End,
}

impl Svg {
    /// An empty picture.
    pub fn new(width: f64, height: f64) -> Self {
        Self { width, height, content: String::new() }
    }

    /// A filled box.
    pub fn rect(&mut self, (x, y): (f64, f64), (width, height): (f64, f64), fill: &str) {
        self.add(format_args!(
            r#"<rect x="{x:.1}" y="{y:.1}" width="{width:.1}" height="{height:.1}" fill="{fill}"/>"#
        ));
    }

    /// A straight thin line.
    pub fn line(&mut self, (x1, y1): (f64, f64), (x2, y2): (f64, f64), stroke: &str) {
        self.add(format_args!(r#"<line x1="{x1:.1}" y1="{y1:.1}" x2="{x2:.1}" y2="{y2:.1}" stroke="{stroke}"/>"#));
    }

    /// A line through all points.
    pub fn curve(&mut self, points: &[(f64, f64)], color: &str, dashes: &str) {
        let points: String = points.iter().map(|(x, y)| format!("{x:.1},{y:.1} ")).collect();
        self.add(format_args!(
            r#"<polyline points="{points}" fill="none" stroke="{color}" stroke-width="2" stroke-dasharray="{dashes}"/>"#
        ));
    }

    /// A filled circle.
    pub fn dot(&mut self, (x, y): (f64, f64), fill: &str) {
        self.add(format_args!(r#"<circle cx="{x:.1}" cy="{y:.1}" r="2.6" fill="{fill}"/>"#));
    }

    /// A text in one line.
    pub fn text(&mut self, (x, y): (f64, f64), anchor: Anchor, style: &str, text: &str) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let text = escape(text);
        self.add(format_args!(r#"<text x="{x:.1}" y="{y:.1}" text-anchor="{anchor}" {style}>{text}</text>"#));
    }

    /// The element as a file of its own: with a font, and a ground that is white on a dark page too.
    pub fn finish_alone(mut self, title: &str) -> String {
        let (width, height, content) = (self.width, self.height, std::mem::take(&mut self.content));
        self.rect((0.0, 0.0), (width, height), "#fff");
        let ground = std::mem::take(&mut self.content);
        self.content = format!("{ground}<g font-family=\"Helvetica, Arial, sans-serif\">\n{content}</g>\n");
        self.finish(title)
    }

    /// The element. `title` is for those who cannot see it.
    pub fn finish(self, title: &str) -> String {
        let (width, height, content, title) = (self.width, self.height, self.content, escape(title));
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" role=\"img\">\
             <title>{title}</title>\n{content}</svg>\n"
        )
    }

    fn add(&mut self, element: std::fmt::Arguments<'_>) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.content, "{element}");
    }
}

/// The text with nothing in it that HTML would take for its own.
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// Round numbers from 0 to at least `max`, some five of them.
pub fn ticks(max: f64) -> Vec<f64> {
    let rough = max.max(1e-9) / 5.0;
    let power = 10_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * power).into_iter().find(|step| *step >= rough);
    let step = step.unwrap_or(10.0 * power);
    (0..=(max / step).ceil() as u32).map(|n| f64::from(n) * step).collect()
}

/// A number with as many digits as mean something.
pub fn short(value: f64) -> String {
    match value.abs() {
        v if v >= 10_000.0 => format!("{:.0} {:03.0}", (value / 1000.0).trunc(), value.round() % 1000.0),
        v if v >= 100.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_have_round_numbers() {
        assert_eq!(ticks(43_000.0), [0.0, 10_000.0, 20_000.0, 30_000.0, 40_000.0, 50_000.0]);
        assert_eq!(ticks(0.9).len(), 6);
    }

    #[test]
    fn numbers_are_short() {
        assert_eq!([43_007.4, 512.3, 12.34, 0.071].map(short), ["43 007", "512", "12.3", "0.07"]);
    }
}
