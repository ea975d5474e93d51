//! The PromQL engine: decides everything, moves nothing.
//!
//! It parses a query, plans which series must be read, and evaluates the plan over what was read. It is synchronous, does no I/O and
//! knows neither shards nor storage: the caller reads what [`Plan::fragments`] lists and hands it over as a [`SeriesSource`].
//!
//! ```text
//! text --parse--> tree --Plan::new--> plan --fragments()--> reads, answered by the caller
//!                                      |                       |
//!                                      +------ evaluate <------+ SeriesSource
//!                                                 |
//!                                            QueryOutput
//! ```
//!
//! | module | holds |
//! |---|---|
//! | [`mod@parse`] | text to tree, errors with positions; beside it lexer, type check, printer and formatter; series descriptions |
//! | [`ast`], [`functions`] | the tree, the table of functions |
//! | [`mod@translate`] | the tree as JSON |
//! | [`plan`] | operators, their evaluation times, the reads they need |
//! | `eval` | operators over tiles of series, one family of functions a file |
//! | [`merge`] | states of aggregations that merge exactly in any order |
//! | [`source`], [`value`], [`stats`], [`error`] | what goes in and out |
//! | [`budget`] | samples, bytes and time of one query |
//! | `annotations` | warnings and infos |
//! | [`script`] | runs Prometheus's test scripts |
//!
//! Floats only: functions of native histograms are refused. Operators nest 500 deep at most; a query's memory is bounded by its
//! [`Budget`]. Within one series every function keeps Prometheus's order of operations; sums over series are exact, so answers
//! do not depend on how series are spread over shards.

mod annotations;
pub mod ast;
pub mod budget;
mod check;
pub mod error;
mod eval;
mod frame;
pub mod functions;
mod lex;
pub mod merge;
pub mod parse;
pub mod plan;
mod print;
pub mod script;
pub mod source;
pub mod stats;
pub mod translate;
pub mod value;

pub use budget::Budget;
pub use error::{EvalError, PlanError};
pub use frame::{DecodeError, Frame, FrameError};
pub use merge::gather::{Gather, Steps};
pub use parse::{
    Options, ParseError, ParseErrors, SequenceValue, SeriesDescription, StartTimestamps, parse, parse_cached, parse_selector, parse_with,
    series_description, start_timestamps,
};
pub use plan::fragment::{Distributed, Fragment};
pub use plan::residence::Residence;
pub use plan::wire::FragmentError;
pub use plan::{Plan, QueryParams};
pub use print::format;
pub use source::{GatheredSource, HistogramSample, MemorySource, RawSeries, Select, SelectId, SeriesSet, SeriesSource, SourceError};
pub use stats::Stats;
pub use translate::translate;
pub use value::{QueryOutput, SampleValue, Series, Value, VectorSample};
