//! What the sender of a write request is told about refused series.

use std::fmt::Write;

/// Refusals whose texts are kept.
pub const REFUSALS_LISTED_MAX: usize = 10;

/// The refused series of one request; texts of the first ten in request order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rejections {
    listed: Vec<(u32, String)>,
    series: u32,
    samples: u32,
}

impl Rejections {
    /// Notes that the series at place `ordinal` lost `samples` samples; `text` is asked for only if it is listed.
    pub fn push(&mut self, ordinal: u32, samples: u32, text: impl FnOnce() -> String) {
        self.series = self.series.saturating_add(1);
        self.samples = self.samples.saturating_add(samples);
        let place = self.listed.partition_point(|(listed, _)| *listed <= ordinal);
        if place < REFUSALS_LISTED_MAX {
            self.listed.truncate(REFUSALS_LISTED_MAX - 1);
            self.listed.insert(place, (ordinal, text()));
        }
    }

    /// Whether nothing was refused.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.series == 0
    }

    /// Refusals noted, one for each series and reason.
    #[must_use]
    pub fn series(&self) -> u32 {
        self.series
    }

    /// Samples refused.
    #[must_use]
    pub fn samples(&self) -> u32 {
        self.samples
    }

    /// (ordinal, text) of the first refusals in request order.
    #[must_use]
    pub fn listed(&self) -> &[(u32, String)] {
        &self.listed
    }

    /// The body of the 400: one line for each listed refusal, in request order.
    #[must_use]
    pub fn body(&self) -> String {
        let mut body = String::new();
        for (i, (_, text)) in self.listed.iter().enumerate() {
            let _ = write!(body, "{}{text}", if i > 0 { "\n" } else { "" });
        }
        let more = (self.series as usize).saturating_sub(self.listed.len());
        if more > 0 {
            let _ = write!(body, "\nand {more} more");
        }
        body
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c7_the_first_error_in_request_order_comes_first_and_ten_are_listed() {
        let mut rejections = Rejections::default();
        for ordinal in [5, 40, 3, 41, 42, 43, 44, 45, 46, 47, 48, 1] {
            rejections.push(ordinal, 2, || format!("series {ordinal}"));
        }
        let listed: Vec<u32> = rejections.listed().iter().map(|(ordinal, _)| *ordinal).collect();
        assert_eq!(listed, [1, 3, 5, 40, 41, 42, 43, 44, 45, 46]);
        assert_eq!((rejections.series(), rejections.samples()), (12, 24));
        assert!(rejections.body().starts_with("series 1\nseries 3\n"));
        assert!(rejections.body().ends_with("series 46\nand 2 more"));
    }

    #[test]
    fn texts_that_are_not_listed_are_never_made() {
        let mut rejections = Rejections::default();
        let mut made = 0;
        for ordinal in 0..1000 {
            rejections.push(ordinal, 1, || {
                made += 1;
                String::new()
            });
        }
        assert_eq!(made, REFUSALS_LISTED_MAX);
    }
}
