//! The HTTP edge: reading requests, writing Prometheus's answers, serving connections.
//!
//! | module | does |
//! |---|---|
//! | [`params`] | merged query and form parameters |
//! | [`json`] | Prometheus's JSON, streamed |
//! | [`error`] | error types, statuses, plain texts |
//! | [`encoding`] | gzip and deflate answers |
//! | [`cors`] | cross-origin headers |
//! | [`asker`] | who asks |
//! | [`extract`] | bodies with a byte and a time limit |
//! | [`routes`], [`router`] | the table of all routes, and the router built from it |
//! | [`remote_write`], [`query_api`], [`text_api`], [`metadata_api`], [`family_api`], [`tsdb_api`], [`exemplars_api`], [`features_api`], [`active_api`], [`admin_api`], [`cluster_api`], [`health`] | what answers them |
//! | [`amp`] | the control plane of workspaces, as AWS has it |
//! | [`respond`] | answers that are whole in memory |
//! | [`serve`] | the accept loop and graceful drain |

pub mod active_api;
pub mod admin_api;
pub mod amp;
pub mod asker;
pub mod cluster_api;
pub mod cors;
pub mod encoding;
pub mod error;
pub mod exemplars_api;
pub mod extract;
pub mod family_api;
pub mod features_api;
pub mod health;
pub mod json;
pub mod metadata_api;
pub mod params;
pub mod query_api;
pub mod remote_write;
pub mod respond;
pub mod router;
pub mod routes;
pub mod serve;
pub mod text_api;
pub mod tsdb_api;
