//! Prometheus metrics, gathered at the moment of a scrape.
//!
//! What the kernel counts lives in the kernel: a [`Source`] is asked for its [`Family`]s when somebody
//! scrapes, and nothing is copied in between. What is counted in userspace is registered with
//! [`Exposition::register`] as usual.

use std::fmt::{self, Debug};
use std::sync::{Arc, Mutex};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, NoLabelSet, prometheus_text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Metric, Registry};

/// The `Content-Type` of what [`Exposition::encode`] writes.
pub const CONTENT_TYPE: &str = prometheus_text::CONTENT_TYPE;

/// Everything that a scrape shows.
#[derive(Debug, Default)]
pub struct Exposition {
    registry: Registry,
}

impl Exposition {
    /// Adds a metric that is kept in userspace. `name` has its unit, but for counters not `_total`.
    pub fn register(&mut self, name: &str, help: &str, metric: impl Metric) {
        self.registry.register(name, help, metric);
    }

    /// Adds families that are gathered anew at every scrape.
    pub fn gather(&mut self, source: impl Source) {
        self.registry.register_collector(Box::new(Gatherer(source)));
    }

    /// Everything in the Prometheus text format 0.0.4.
    ///
    /// # Errors
    ///
    /// When a metric can't be written, which only a faulty metric type brings about.
    pub fn encode(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        prometheus_text::encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

/// Something that is asked for its metrics at every scrape.
pub trait Source: Debug + Send + Sync + 'static {
    /// The families as they are now.
    fn families(&self) -> Vec<Family>;
}

/// What was last gathered by somebody who may wait, for a [`Source`] that may not.
#[derive(Clone, Debug, Default)]
pub struct Snapshot(Arc<Mutex<Vec<Family>>>);

impl Snapshot {
    /// Takes the place of what was there.
    pub fn replace(&self, families: Vec<Family>) {
        *self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = families;
    }
}

impl Source for Snapshot {
    fn families(&self) -> Vec<Family> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }
}

/// Whether a family counts up or shows a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows while the process (or the kernel's map) lives; `_total` is added to its name.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts values by size.
    Histogram,
}

/// A metric with all its series.
#[derive(Clone, Debug, PartialEq)]
pub struct Family {
    name: &'static str,
    help: &'static str,
    kind: Kind,
    series: Vec<(Labels, Value)>,
}

/// What a series has at one moment.
#[derive(Clone, Debug, PartialEq)]
enum Value {
    Number(f64),
    /// Upper bounds with the number of values in each bucket, and the sum of all values.
    Distribution(Vec<(f64, u64)>, f64),
}

/// Names and values of a series' labels.
pub type Labels = Vec<(&'static str, String)>;

impl Family {
    /// A counter; its name comes without `_total`.
    pub fn counter(name: &'static str, help: &'static str) -> Self {
        Self { name, help, kind: Kind::Counter, series: Vec::new() }
    }

    /// A gauge; its name has the unit.
    pub fn gauge(name: &'static str, help: &'static str) -> Self {
        Self { name, help, kind: Kind::Gauge, series: Vec::new() }
    }

    /// A histogram; its name has the unit.
    pub fn histogram(name: &'static str, help: &'static str) -> Self {
        Self { name, help, kind: Kind::Histogram, series: Vec::new() }
    }

    /// With one more series.
    #[must_use]
    pub fn with(mut self, labels: Labels, value: f64) -> Self {
        self.push(labels, value);
        self
    }

    /// Adds a series. Counters keep their integers exact up to 2^53.
    pub fn push(&mut self, labels: Labels, value: f64) {
        self.series.push((labels, Value::Number(value)));
    }

    /// Adds a series to a histogram: upper bounds, rising, with the number of values in each bucket and not in one
    /// before, and the sum of all values. The last bucket also holds what is larger.
    pub fn push_distribution(&mut self, labels: Labels, buckets: &[(f64, u64)], sum: f64) {
        self.series.push((labels, Value::Distribution(buckets.to_vec(), sum)));
    }
}

#[derive(Debug)]
struct Gatherer<S>(S);

impl<S: Source> Collector for Gatherer<S> {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        for Family { name, help, kind, series } in self.0.families() {
            // A family without series would announce a name that nothing follows.
            if series.is_empty() {
                continue;
            }
            let metric_type = match kind {
                Kind::Counter => MetricType::Counter,
                Kind::Gauge => MetricType::Gauge,
                Kind::Histogram => MetricType::Histogram,
            };
            let mut family = encoder.encode_descriptor(name, help, None, metric_type)?;
            for (labels, value) in series {
                let mut metric = family.encode_family(&labels)?;
                match (kind, value) {
                    (Kind::Counter, Value::Number(value)) => {
                        ConstCounter::new(value).encode(metric)?;
                    }
                    (_, Value::Number(value)) => ConstGauge::new(value).encode(metric)?,
                    (_, Value::Distribution(buckets, sum)) => {
                        let count = buckets.iter().map(|(_, count)| count).sum();
                        // The encoder adds the bucket without a bound, which is our last.
                        let bounded = buckets.split_last().map_or(&[][..], |(_, rest)| rest);
                        metric.encode_histogram::<NoLabelSet>(sum, count, bounded, None)?;
                    }
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_are_written_in_prometheus_text() {
        let snapshot = Snapshot::default();
        let mut exposition = Exposition::default();
        exposition.gather(snapshot.clone());
        assert_eq!(exposition.encode().unwrap(), "");

        snapshot.replace(vec![
            Family::counter("muralla_edge_packets", "Packets by verdict")
                .with(vec![("verdict", "drop".to_owned())], 7.0)
                .with(vec![("verdict", "pa\"ss".to_owned())], 9_007_199_254_740_992.0),
            Family::gauge("muralla_edge_feed_age_seconds", "Age of a feed").with(vec![], 1.5),
            Family::gauge("muralla_edge_nothing", "Has no series"),
        ]);
        assert_eq!(
            exposition.encode().unwrap(),
            "# HELP muralla_edge_packets_total Packets by verdict\n\
             # TYPE muralla_edge_packets_total counter\n\
             muralla_edge_packets_total{verdict=\"drop\"} 7.0\n\
             muralla_edge_packets_total{verdict=\"pa\\\"ss\"} 9007199254740992.0\n\
             # HELP muralla_edge_feed_age_seconds Age of a feed\n\
             # TYPE muralla_edge_feed_age_seconds gauge\n\
             muralla_edge_feed_age_seconds 1.5\n"
        );

        let mut latency = Family::histogram("muralla_dns_latency_seconds", "Time until the answer");
        let buckets = [(0.001, 5), (0.002, 0), (0.004, 2)];
        latency.push_distribution(vec![("level", "wire".to_owned())], &buckets, 0.25);
        snapshot.replace(vec![latency]);
        assert_eq!(
            exposition.encode().unwrap(),
            "# HELP muralla_dns_latency_seconds Time until the answer\n\
             # TYPE muralla_dns_latency_seconds histogram\n\
             muralla_dns_latency_seconds_bucket{level=\"wire\",le=\"0.001\"} 5\n\
             muralla_dns_latency_seconds_bucket{level=\"wire\",le=\"0.002\"} 5\n\
             muralla_dns_latency_seconds_bucket{level=\"wire\",le=\"+Inf\"} 7\n\
             muralla_dns_latency_seconds_sum{level=\"wire\"} 0.25\n\
             muralla_dns_latency_seconds_count{level=\"wire\"} 7\n"
        );
    }
}
