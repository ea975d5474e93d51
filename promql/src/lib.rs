//! The PromQL engine: decides everything, moves nothing.

pub mod ast;
pub mod functions;
