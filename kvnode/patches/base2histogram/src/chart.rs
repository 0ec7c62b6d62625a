//! Several histograms below each other.

use std::fmt;

use crate::Histogram;

/// Named histograms.
#[derive(Debug, Clone)]
pub struct AsciiChart<T = ()>(Vec<(String, Histogram<T>)>);

impl<T> AsciiChart<T> {
    /// Without a histogram yet.
    #[must_use]
    pub fn new() -> Self {
        Self(Vec::new())
    }

    /// With one more.
    #[must_use]
    pub fn add(mut self, name: &str, histogram: Histogram<T>) -> Self {
        self.0.push((name.to_owned(), histogram));
        self
    }

    /// To be printed.
    #[must_use]
    pub fn compact(&self) -> Chart<'_, T> {
        Chart(self)
    }

    /// To be printed; the same, here.
    #[must_use]
    pub fn detailed(&self) -> Chart<'_, T> {
        Chart(self)
    }
}

impl<T> Default for AsciiChart<T> {
    fn default() -> Self {
        Self::new()
    }
}

/// Prints the counts of each histogram, by the least value of their bucket.
#[derive(Debug)]
pub struct Chart<'a, T>(&'a AsciiChart<T>);

impl<T> fmt::Display for Chart<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, histogram) in &self.0.0 {
            writeln!(f, "{name}")?;
            for (least, count) in histogram.buckets().filter(|(_, count)| *count > 0) {
                writeln!(f, "{least:>20} {count}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chart_has_what_was_counted() {
        let mut histogram = Histogram::<()>::new();
        histogram.record_n(9, 3);
        let chart = AsciiChart::new().add("latency", histogram);
        assert_eq!(chart.compact().to_string(), format!("latency\n{:>20} 3\n", 8));
    }
}
