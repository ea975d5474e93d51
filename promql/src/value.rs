//! The value of a query, in the order and shape in which the API writes it.

use crate::stats::Stats;
use model::histogram::FloatHistogram;
use model::{Labels, Timestamp};
use std::sync::Arc;

/// One series of a matrix.
#[derive(Clone, Debug)]
pub struct Series {
    /// Its labels.
    pub labels: Labels,
    /// Floats by time.
    pub points: Vec<(Timestamp, f64)>,
    /// Native histograms by time; at no time is there a float too.
    pub histograms: Vec<(Timestamp, Arc<FloatHistogram>)>,
}

impl Series {
    /// A series of floats alone.
    #[must_use]
    pub fn floats(labels: Labels, points: Vec<(Timestamp, f64)>) -> Self {
        Self { labels, points, histograms: Vec::new() }
    }
}

/// What a sample holds.
#[derive(Clone, Debug)]
pub enum SampleValue {
    /// A float.
    Float(f64),
    /// A native histogram.
    Histogram(Arc<FloatHistogram>),
}

impl SampleValue {
    /// The float, if it is one.
    #[must_use]
    pub fn as_float(&self) -> Option<f64> {
        match self {
            Self::Float(value) => Some(*value),
            Self::Histogram(_) => None,
        }
    }
}

/// One element of an instant vector.
#[derive(Clone, Debug)]
pub struct VectorSample {
    /// Its labels.
    pub labels: Labels,
    /// Its value.
    pub value: SampleValue,
}

/// What a query evaluates to.
#[derive(Clone, Debug)]
pub enum Value {
    /// A number.
    Scalar {
        /// Evaluation time in milliseconds.
        timestamp_ms: Timestamp,
        /// The number.
        value: f64,
    },
    /// A string; bytes, as PromQL's strings are.
    String {
        /// Evaluation time in milliseconds.
        timestamp_ms: Timestamp,
        /// The bytes.
        value: Vec<u8>,
    },
    /// An instant vector. Sorted by the query if it ends in a sorting operator, else by its operators' own deterministic order.
    Vector {
        /// Evaluation time in milliseconds, of every element.
        timestamp_ms: Timestamp,
        /// The elements.
        samples: Vec<VectorSample>,
    },
    /// Series sorted by labels.
    Matrix(Vec<Series>),
}

/// A value and all that is told about its making.
#[derive(Clone, Debug)]
pub struct QueryOutput {
    /// The value.
    pub value: Value,
    /// Warnings with their positions in the query, at most ten and a line that counts the rest.
    pub warnings: Vec<String>,
    /// Infos, likewise.
    pub infos: Vec<String>,
    /// What the evaluation used.
    pub stats: Stats,
}
