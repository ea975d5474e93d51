//! The PromQL engine: decides everything, moves nothing.

mod annotations;
pub mod ast;
pub mod budget;
mod check;
pub mod error;
mod eval;
pub mod functions;
mod lex;
pub mod merge;
pub mod parse;
pub mod plan;
mod print;
pub mod script;
pub mod source;
pub mod stats;
pub mod value;

pub use budget::Budget;
pub use error::{EvalError, PlanError};
pub use parse::{Options, ParseError, ParseErrors, SeriesDescription, parse, parse_selector, parse_with, series_description};
pub use plan::{Plan, QueryParams};
pub use source::{GatheredSource, MemorySource, RawSeries, Select, SelectId, SeriesSet, SeriesSource, SourceError};
pub use stats::Stats;
pub use value::{QueryOutput, Series, Value, VectorSample};
