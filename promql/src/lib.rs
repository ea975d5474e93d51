//! The PromQL engine: decides everything, moves nothing.

pub mod annotations;
pub mod ast;
pub mod budget;
pub mod error;
pub mod eval;
pub mod functions;
pub mod merge;
pub mod plan;
pub mod source;
pub mod stats;
pub mod value;
