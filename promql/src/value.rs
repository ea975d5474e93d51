//! The value of a query, in the order and shape in which the API writes it.

use crate::stats::Stats;
use model::{Labels, Timestamp};

/// One series of a matrix.
#[derive(Clone, Debug)]
pub struct Series {
    /// Its labels.
    pub labels: Labels,
    /// Samples by time, each time once.
    pub points: Vec<(Timestamp, f64)>,
}

/// One element of an instant vector.
#[derive(Clone, Debug)]
pub struct VectorSample {
    /// Its labels.
    pub labels: Labels,
    /// Its value.
    pub value: f64,
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
