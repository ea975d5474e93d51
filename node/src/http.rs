//! The HTTP edge: reading requests, writing Prometheus's answers, serving connections.
//!
//! | module | does |
//! |---|---|
//! | [`params`] | merged query and form parameters |
//! | [`json`] | Prometheus's JSON, streamed |
//! | [`error`] | error types, statuses, plain texts |
//! | [`encoding`] | gzip and deflate answers |
//! | [`cors`] | cross-origin headers |
//! | [`extract`] | bodies with a byte and a time limit |
//! | [`serve`] | the accept loop and graceful drain |

pub mod cors;
pub mod encoding;
pub mod error;
pub mod extract;
pub mod json;
pub mod params;
pub mod serve;
