//! The PromQL engine: decides everything, moves nothing.

pub mod annotations;
pub mod ast;
pub mod budget;
mod check;
pub mod error;
pub mod eval;
pub mod functions;
mod lex;
pub mod merge;
pub mod parse;
pub mod plan;
mod print;
pub mod source;
pub mod stats;
pub mod value;

pub use parse::{Options, ParseError, ParseErrors, SeriesDescription, parse, parse_selector, parse_with, series_description};
