//! The values of one scrape, and their text.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use aimg_gateway::{BUCKETS_MS, Histogram};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use super::families::{ALL, Family, Kind};

/// Names and values of a sample's labels.
pub(crate) type Labels = Vec<(&'static str, String)>;

/// What a sample tells.
#[derive(Clone, Debug, PartialEq)]
enum Value {
    Counter(u64),
    Gauge(f64),
    Times(Histogram),
}

/// The values of one scrape.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scrape(HashMap<&'static str, Vec<(Labels, Value)>>);

impl Scrape {
    pub(crate) fn count(&mut self, family: &Family, labels: Labels, value: u64) {
        debug_assert_eq!(family.kind, Kind::Counter, "{}", family.name);
        self.add(family, labels, Value::Counter(value));
    }

    pub(crate) fn gauge(&mut self, family: &Family, labels: Labels, value: f64) {
        debug_assert_eq!(family.kind, Kind::Gauge, "{}", family.name);
        self.add(family, labels, Value::Gauge(value));
    }

    pub(crate) fn times(&mut self, family: &Family, labels: Labels, value: &Histogram) {
        debug_assert_eq!(family.kind, Kind::Histogram, "{}", family.name);
        self.add(family, labels, Value::Times(value.clone()));
    }

    fn add(&mut self, family: &Family, labels: Labels, value: Value) {
        let is_known = |(name, _): &(&str, String)| family.labels.contains(name);
        debug_assert!(labels.iter().all(is_known), "{} has no such labels: {labels:?}", family.name);
        self.0.entry(family.name).or_default().push((labels, value));
    }

    /// Names of families without a value.
    #[cfg(test)]
    pub(crate) fn missing(&self) -> Vec<&'static str> {
        ALL.iter().map(|family| family.name).filter(|name| !self.0.contains_key(name)).collect()
    }

    /// As OpenMetrics text.
    pub(crate) fn text(self) -> String {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Arc::new(self)));
        let mut text = String::new();
        text::encode(&mut text, &registry).expect("a String takes any text");
        text
    }
}

impl Collector for Scrape {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for family in ALL {
            let Some(samples) = self.0.get(family.name) else { continue };
            let mut encoder = encoder.encode_descriptor(family.stem(), family.help, None, family.kind.metric_type())?;
            for (labels, value) in samples {
                if labels.is_empty() {
                    value.encode(&mut encoder)?;
                } else {
                    value.encode(&mut encoder.encode_family(labels)?)?;
                }
            }
        }
        Ok(())
    }
}

impl Value {
    fn encode(&self, encoder: &mut MetricEncoder<'_>) -> fmt::Result {
        match self {
            Self::Counter(value) => encoder.encode_counter::<NoLabelSet, u64, f64>(value, None),
            Self::Gauge(value) => encoder.encode_gauge(value),
            Self::Times(Histogram { buckets, sum_ms }) => {
                let bounds = BUCKETS_MS.iter().map(|ms| *ms as f64 / 1_000.0).chain([f64::INFINITY]);
                let buckets: Vec<(f64, u64)> = bounds.zip(buckets.iter().copied()).collect();
                let count = buckets.iter().map(|(_, count)| count).sum();
                encoder.encode_histogram::<NoLabelSet>(*sum_ms as f64 / 1_000.0, count, &buckets, None)
            }
        }
    }
}

impl Kind {
    fn metric_type(self) -> MetricType {
        match self {
            Self::Counter => MetricType::Counter,
            Self::Gauge => MetricType::Gauge,
            Self::Histogram => MetricType::Histogram,
        }
    }
}
