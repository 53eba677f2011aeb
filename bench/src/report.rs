//! What a benchmark found: figures for programs, sentences for people, plots.

use std::path::Path;

use anyhow::Result;
use serde_json::{Map, Value};

use crate::chart::Chart;

/// The outcome of one benchmark.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// What `--json` prints.
    pub(crate) figures: Map<String, Value>,
    /// What people read.
    pub(crate) sentences: Vec<String>,
    /// The aims, and whether each was met.
    pub(crate) aims: Vec<(String, bool)>,
    /// What is drawn.
    pub(crate) charts: Vec<Chart>,
}

impl Report {
    /// Enters a figure.
    pub(crate) fn figure(&mut self, key: &str, value: impl Into<Value>) {
        self.figures.insert(key.into(), value.into());
    }

    /// Enters a sentence.
    pub(crate) fn say(&mut self, sentence: impl Into<String>) {
        self.sentences.push(sentence.into());
    }

    /// Enters an aim and whether it was met.
    pub(crate) fn aim(&mut self, aim: impl Into<String>, met: bool) {
        self.aims.push((aim.into(), met));
    }

    /// Prints what people read.
    pub(crate) fn print(&self, name: &str) {
        println!("{name}");
        self.sentences.iter().for_each(|sentence| println!("  {sentence}"));
        for (aim, met) in &self.aims {
            println!("  aim {aim}: {}", if *met { "met" } else { "MISSED" });
        }
    }

    /// Writes the plots into `dir`.
    pub(crate) fn draw(&self, dir: &Path) -> Result<()> {
        std::fs::create_dir_all(dir)?;
        self.charts.iter().try_for_each(|chart| chart.draw(dir))
    }
}

/// Three significant digits: a benchmark knows no more.
pub(crate) fn rounded(value: f64) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return value;
    }
    let scale = 10f64.powf(2.0 - value.abs().log10().floor());
    (value * scale).round() / scale
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_digits() {
        for (value, expected) in
            [(0.0, 0.0), (1_234_567.0, 1_230_000.0), (0.65049, 0.65), (9.996, 10.0), (-12.34, -12.3)]
        {
            assert!((rounded(value) - expected).abs() < 1e-9, "{value}");
        }
    }
}
