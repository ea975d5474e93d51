//! The PromQL engine: decides everything, moves nothing.

pub mod ast;
mod check;
pub mod functions;
mod lex;
pub mod parse;
mod print;

pub use parse::{Options, ParseError, ParseErrors, SeriesDescription, parse, parse_selector, parse_with, series_description};
