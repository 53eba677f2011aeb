//! One plot: lines over a logarithmic axis.

use std::path::Path;

use anyhow::{Result, anyhow};
use plotters::prelude::*;

const SIZE: (u32, u32) = (720, 400);
const COLOURS: [RGBColor; 4] = [RGBColor(31, 119, 180), RGBColor(214, 39, 40), RGBColor(44, 160, 44), BLACK];

/// A line and its name.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) name: String,
    pub(crate) points: Vec<(f64, f64)>,
}

/// A plot that begins at 0 upwards.
#[derive(Debug)]
pub(crate) struct Chart {
    /// The file's name, without `.svg`.
    pub(crate) file: &'static str,
    pub(crate) title: &'static str,
    pub(crate) across: &'static str,
    pub(crate) up: &'static str,
    pub(crate) lines: Vec<Line>,
}

impl Chart {
    /// Writes it into `dir`.
    pub(crate) fn draw(&self, dir: &Path) -> Result<()> {
        let path = dir.join(format!("{}.svg", self.file));
        self.draw_to(&path).map_err(|e| anyhow!("cannot draw {}: {e}", path.display()))
    }

    fn draw_to(&self, path: &Path) -> Result<(), Box<dyn std::error::Error>> {
        let points = || self.lines.iter().flat_map(|line| line.points.iter().copied());
        let left = points().map(|(x, _)| x).fold(f64::INFINITY, f64::min);
        let right = points().map(|(x, _)| x).fold(left, f64::max);
        let top = points().map(|(_, y)| y).fold(0.0, f64::max) * 1.15;
        let area = SVGBackend::new(path, SIZE).into_drawing_area();
        area.fill(&WHITE)?;
        let mut plot = ChartBuilder::on(&area)
            .caption(self.title, ("sans-serif", 18))
            .margin(12)
            .x_label_area_size(40)
            .y_label_area_size(80)
            .build_cartesian_2d((left..right).log_scale(), 0.0..top)?;
        let number = |value: &f64| grouped(*value);
        plot.configure_mesh()
            .x_desc(self.across)
            .y_desc(self.up)
            .x_label_formatter(&number)
            .y_label_formatter(&number)
            .draw()?;
        for (line, colour) in self.lines.iter().zip(COLOURS.iter().cycle()) {
            plot.draw_series(LineSeries::new(line.points.iter().copied(), colour.stroke_width(2)))?
                .label(&line.name)
                .legend(move |(x, y)| PathElement::new(vec![(x, y), (x + 18, y)], colour.stroke_width(2)));
            plot.draw_series(line.points.iter().map(|point| Circle::new(*point, 3, colour.filled())))?;
        }
        plot.configure_series_labels()
            .position(SeriesLabelPosition::LowerLeft)
            .background_style(WHITE.mix(0.8))
            .border_style(BLACK.mix(0.3))
            .draw()?;
        area.present()?;
        Ok(())
    }
}

/// A number as people read it: `10,000`.
pub(crate) fn grouped(value: f64) -> String {
    if value.abs() < 100.0 && value.fract() != 0.0 {
        return format!("{value:.2}");
    }
    let digits = format!("{:.0}", value.abs());
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if value < 0.0 { format!("-{text}") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        for (value, text) in [(0.0, "0"), (999.0, "999"), (1e6, "1,000,000"), (0.6543, "0.65"), (-12_345.0, "-12,345")]
        {
            assert_eq!(grouped(value), text);
        }
    }

    #[test]
    fn a_plot_is_an_svg_with_its_lines() {
        let dir = tempfile::tempdir().unwrap();
        let line = Line { name: "a line".into(), points: vec![(1.0, 5.0), (10_000.0, 6.0)] };
        let chart = Chart { file: "plot", title: "a title", across: "x", up: "y", lines: vec![line] };
        chart.draw(dir.path()).unwrap();
        let svg = std::fs::read_to_string(dir.path().join("plot.svg")).unwrap();
        assert!(svg.starts_with("<svg") && svg.contains("a line") && svg.contains("10,000"), "{svg}");
    }
}
