//! What was measured: named numbers with their units.

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::clock::{Micros, seconds};

/// One measured number.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Figure {
    /// What it is, such as `one hot account`.
    pub name: String,
    /// Its unit, such as `1/s`.
    pub unit: &'static str,
    /// How much.
    pub value: f64,
}

/// The figures of one measurement.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Figures(pub Vec<Figure>);

impl Figures {
    /// Adds a number.
    pub fn add(&mut self, name: impl Into<String>, unit: &'static str, value: f64) {
        self.0.push(Figure { name: name.into(), unit, value });
    }

    /// Adds how many a second `count` between two moments are.
    pub fn add_rate(&mut self, name: impl Into<String>, count: usize, from: Micros, to: Micros) {
        self.add(name, "1/s", count as f64 / seconds(from, to));
    }

    /// Adds the percentiles of `latencies`, which are in microseconds.
    pub fn add_latencies(&mut self, name: &str, latencies: impl IntoIterator<Item = Micros>) {
        let mut histogram = Histogram::<u64>::new(3).expect("three significant digits are allowed");
        for latency in latencies {
            let latency = u64::try_from(latency).unwrap_or(0);
            histogram.record(latency).expect("the histogram grows as it needs to");
        }
        for (label, quantile) in [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)] {
            let value = histogram.value_at_quantile(quantile) as f64 / 1e3;
            self.add(format!("{name} {label}"), "ms", value);
        }
    }

    /// Adds how `numerator` compares to `denominator`, where both were measured.
    pub fn add_ratio(&mut self, name: impl Into<String>, numerator: Option<f64>, denominator: Option<f64>) {
        if let (Some(numerator), Some(denominator)) = (numerator, denominator) {
            self.add(name, "×", numerator / denominator);
        }
    }

    /// The number called `name`.
    pub fn get(&self, name: &str) -> Option<f64> {
        self.0.iter().find(|figure| figure.name == name).map(|figure| figure.value)
    }

    /// The middle of each number over several measurements of the same.
    pub fn medians(of: &[Self]) -> Self {
        let Some(first) = of.first() else { return Self::default() };
        let middle = |figure: &Figure| {
            let mut values: Vec<f64> = of.iter().filter_map(|one| one.get(&figure.name)).collect();
            values.sort_by(f64::total_cmp);
            Figure { value: median(&values), ..figure.clone() }
        };
        Self(first.0.iter().map(middle).collect())
    }

    /// All of `others` too.
    pub fn extend(&mut self, others: Self) {
        self.0.extend(others.0);
    }
}

/// The middle one of sorted values.
pub fn median(values: &[f64]) -> f64 {
    match values.len() {
        0 => f64::NAN,
        count if count % 2 == 1 => values[count / 2],
        count => f64::midpoint(values[count / 2 - 1], values[count / 2]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_told_in_milliseconds() {
        let mut figures = Figures::default();
        figures.add_latencies("to answer", (1..=1000).map(|ms| ms * 1000));
        assert!((figures.get("to answer p50").expect("there") - 500.0).abs() < 1.0);
        assert!((figures.get("to answer p99").expect("there") - 990.0).abs() < 1.0);
    }

    #[test]
    fn the_median_of_an_even_number_is_between_the_middle_two() {
        assert_eq!((median(&[1.0, 2.0, 9.0]), median(&[1.0, 2.0, 4.0, 9.0])), (2.0, 3.0));
    }

    #[test]
    fn of_several_measurements_each_number_has_its_own_middle() {
        let measured = [(1.0, 30.0), (3.0, 10.0), (2.0, 20.0)].map(|(p50, p99)| {
            let mut figures = Figures::default();
            figures.add("p50", "ms", p50);
            figures.add("p99", "ms", p99);
            figures
        });
        let medians = Figures::medians(&measured);
        assert_eq!((medians.get("p50"), medians.get("p99")), (Some(2.0), Some(20.0)));
    }

    #[test]
    fn a_rate_is_a_count_over_seconds() {
        let mut figures = Figures::default();
        figures.add_rate("delivered", 500, 1_000_000, 1_250_000);
        assert_eq!(figures.get("delivered"), Some(2000.0));
    }
}
