//! The PromQL engine: decides everything, moves nothing.
//!
//! It parses a query, plans it, and cuts the plan in two: a [`Fragment`] that every shard computes of its own series, and the root,
//! which is computed of the shards' answers. It is synchronous, does no I/O and knows neither storage nor network: whoever holds series
//! hands them over as a [`SeriesSource`], whoever carries a fragment or a frame carries bytes.
//!
//! ```text
//! text --parse--> tree --Plan::new--> plan --Distributed::new--> root + fragment
//!
//! at each shard    Fragment::execute(SeriesSource) ---> frames
//! at the asker     frames of all shards ---> Gather::add, Gather::finish ---> QueryOutput
//! ```
//!
//! One shard is the same code as many: [`Plan::evaluate`] is the fragment, computed once, and the root. The answer is the same to the
//! byte for any number of shards, as long as series are placed by [`model::hash::placement_hash`].
//!
//! | module | holds |
//! |---|---|
//! | [`mod@parse`] | text to tree, errors with positions; beside it lexer, type check, printer and formatter; series descriptions |
//! | [`ast`], [`functions`] | the tree, the table of functions |
//! | [`mod@translate`] | the tree as JSON |
//! | [`plan`] | operators, their evaluation times, the reads they need; where the plan is cut; fragments as bytes |
//! | `eval` | operators over tiles of series, one family of functions a file; a shard's share; what enters the root from shards |
//! | [`merge`] | exact sums; the shares of all shards become one |
//! | `frame` | what shards send, as bytes |
//! | [`source`], [`value`], [`stats`], [`error`] | what goes in and out |
//! | [`budget`] | samples, bytes and time of one query |
//! | `annotations` | warnings and infos |
//! | [`script`] | runs Prometheus's test scripts |
//!
//! A series has a plain column of floats and, beside it, a sparse list of native histograms; most series have floats alone and pay
//! nothing for the others. Operators nest 500 deep at most; a query's memory is bounded by its [`Budget`]. Within one series every
//! function keeps Prometheus's order of operations; sums over series are exact, so answers
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
pub use plan::explain::{ExplainedNode, ExplainedRead};
pub use plan::fragment::{Distributed, Fragment};
pub use plan::residence::{Residence, Residents};
pub use plan::wire::FragmentError;
pub use plan::{Plan, QueryParams};
pub use print::format;
pub use source::{
    GatheredSource, HistogramSample, MemorySource, RawSeries, Select, SelectId, SeriesSet, SeriesSource, SeriesView, SourceError, Visitor,
};
pub use stats::Stats;
pub use translate::translate;
pub use value::{QueryOutput, SampleValue, Series, Value, VectorSample};
