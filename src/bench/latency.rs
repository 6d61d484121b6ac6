//! How long operations take.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// Durations, gathered by many workers, to three digits.
#[derive(Debug)]
pub struct Latency(Mutex<Histogram<u64>>);

impl Default for Latency {
    fn default() -> Self {
        // Three digits are allowed, and that is all that can be wrong.
        Latency(Mutex::new(
            Histogram::new(3).expect("three digits are allowed"),
        ))
    }
}

impl Latency {
    /// Adds one.
    pub fn add(&self, duration: Duration) {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let mut histogram = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Fails only where the histogram cannot grow as far: after centuries.
        histogram.record(nanos).ok();
    }

    /// What they were like; none if there were none.
    pub fn summary(&self) -> Option<Summary> {
        let histogram = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let ms = |nanos: u64| nanos as f64 / 1e6;
        let at = |quantile| ms(histogram.value_at_quantile(quantile));
        (!histogram.is_empty()).then(|| Summary {
            p50_ms: at(0.5),
            p90_ms: at(0.9),
            p99_ms: at(0.99),
            max_ms: ms(histogram.max()),
        })
    }
}

/// Percentiles, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Half of them were no slower.
    pub p50_ms: f64,
    /// Nine of ten were no slower.
    pub p90_ms: f64,
    /// 99 of 100 were no slower.
    pub p99_ms: f64,
    /// The slowest.
    pub max_ms: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_what_was_added() {
        let latency = Latency::default();
        assert_eq!(latency.summary(), None);
        for ms in 1..=1000 {
            latency.add(Duration::from_millis(ms));
        }
        let summary = latency.summary().unwrap();
        for (is, shall) in [
            (summary.p50_ms, 500.0),
            (summary.p90_ms, 900.0),
            (summary.p99_ms, 990.0),
            (summary.max_ms, 1000.0),
        ] {
            assert!((is / shall - 1.0).abs() < 0.002, "{is} for {shall}");
        }
    }
}
