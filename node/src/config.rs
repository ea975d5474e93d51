//! The configuration: one plain typed struct, made from four layers.
//!
//! Defaults < YAML file (`--config.file`) < environment (`FLOTILLA_SECTION__NAME`) < flags. Every setting stands once, in
//! the table of `settings`; each layer gives texts, which are read and checked together, so that all problems are
//! reported at once and each with the place it was given at. Unknown keys are problems.
//!
//! Only this module reads the environment. What can change at run time (limits of a workspace, workspaces, rules) goes
//! through Raft: of such things a setting only says what a new cluster begins with.

mod address;
mod cli;
mod error;
mod features;
mod layers;
mod machine;
mod resolve;
pub mod settings;
mod value;

#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::time::Duration;

pub use address::{Address, AddressError};
pub use cli::{Cli, Command, CtlArgs, CtlCommand, FileArgs, HealthArgs, ServeArgs, UpArgs};
pub use error::{ConfigError, Fact, Origin, Problem};
pub use features::{FeatureError, QueryFeatures};
pub use machine::Machine;
pub use resolve::Effective;
pub use settings::{Flags, Setting};
pub use value::{CorsOrigin, ValueError};

/// Everything that a node is told at its start.
#[derive(Debug, Clone)]
pub struct Config {
    /// Who this node is and where it keeps its data.
    pub node: NodeConfig,
    /// The HTTP side.
    pub web: WebConfig,
    /// The side that other nodes talk to.
    pub rpc: RpcConfig,
    /// How a cluster is founded.
    pub cluster: ClusterConfig,
    /// Disk and memory.
    pub storage: StorageConfig,
    /// What a new cluster's workspaces accept.
    pub limits: LimitsConfig,
    /// Bounds of queries on this node.
    pub query: QueryConfig,
    /// Own metrics in the workspace `system`.
    pub self_metrics: SelfMetricsConfig,
    /// Log lines.
    pub log: LogConfig,
}

/// Who this node is and where it keeps its data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeConfig {
    /// Directory of everything that this node stores; made at start if it is missing.
    pub data: PathBuf,
    /// Name in metrics, logs and status; 1 to 128 bytes without white space.
    pub name: String,
    /// Failure zone; empty when there is none.
    pub zone: String,
}

/// The HTTP side.
#[derive(Debug, Clone)]
pub struct WebConfig {
    /// Where HTTP is served; port 0 lets the system choose.
    pub listen_address: Address,
    /// Origins that browsers may call from.
    pub cors_origin: CorsOrigin,
    /// Whether clients may delete series.
    pub enable_admin_api: bool,
}

/// The side that other nodes talk to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RpcConfig {
    /// Where other nodes' connections are taken.
    pub listen_address: Address,
    /// What other nodes dial; always names a host and a port.
    pub advertise_address: Address,
}

/// How a cluster is founded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterConfig {
    /// Advertised RPC addresses of the founding nodes, no two alike; empty when none were named.
    pub initial_nodes: Vec<Address>,
    /// Found a cluster of this node alone if its disk is empty; never with several `initial_nodes`.
    pub bootstrap: bool,
    /// Silence after which a node's replicas are put elsewhere; none if that never happens.
    pub replace_after: Option<Duration>,
    /// Interval of leaders' heartbeats; a group elects a new leader after four to eight of them.
    pub heartbeat: Duration,
    /// Time without use after which a group's timers stop; none if that never happens.
    pub hibernate_after: Option<Duration>,
    /// Samples a second on one shard from which its workspace gets more shards; 0 if that never happens.
    pub scale_samples: u64,
    /// Series in one shard's memory from which its workspace gets more shards; 0 if that never happens.
    pub scale_series: u64,
    /// Time from the decision on a new number of shards until it holds.
    pub scale_lead: Duration,
}

impl ClusterConfig {
    /// Groups that a node takes part in at most: each costs its heartbeats, and with too many of them elections never end.
    #[must_use]
    pub fn groups_max(&self) -> u32 {
        match self.heartbeat.as_millis() {
            1000.. => 1000,
            500.. => 256,
            _ => 64,
        }
    }
}

/// Disk and memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StorageConfig {
    /// How long samples are kept; more than 0, and no shorter than the windows of [`LimitsConfig`].
    pub retention: Duration,
    /// Budget of all storage memory of the process, in bytes.
    pub memory_bytes: u64,
    /// File of the key under which everything is encrypted; without one nothing is.
    pub encryption_key_file: Option<PathBuf>,
    /// Free bytes on the data directory's disk below which writes are refused; 0 never refuses.
    pub min_free_bytes: u64,
    /// Time in which everything stored is read once to find damage; none if it is not.
    pub scrub_period: Option<Duration>,
    /// Exemplars that each shard of a new workspace keeps.
    pub exemplars_max: u32,
}

/// What a new cluster's workspaces accept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitsConfig {
    /// How old a sample may be that is newer than everything its series has.
    pub late_window: Duration,
    /// How old a sample may be that is not newer than everything its series has.
    pub out_of_order_window: Duration,
}

/// Bounds of queries on this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueryConfig {
    /// Time after which a query is given up; more than 0.
    pub timeout: Duration,
    /// How old the newest sample of a series may be for an instant selector to return it; more than 0.
    pub lookback_delta: Duration,
    /// Queries evaluated at once; at least 1.
    pub max_concurrency: usize,
    /// Samples that one query may hold in memory; at least 1.
    pub max_samples: usize,
    /// Bytes of results that are kept; 0 keeps none.
    pub cache_bytes: u64,
    /// Results of queries whose evaluation took less than this are not kept.
    pub cache_min_time: Duration,
    /// Experimental parts of the language that are turned on.
    pub features: QueryFeatures,
}

/// Own metrics in the workspace `system`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SelfMetricsConfig {
    /// Time between two writes, at least one second; `None` writes nothing.
    pub interval: Option<Duration>,
}

/// Log lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogConfig {
    /// Least severe level that is logged.
    pub level: LogLevel,
    /// How a line looks.
    pub format: LogFormat,
}

/// Severity of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogLevel {
    /// What only a developer wants to know.
    Debug,
    /// State changes.
    Info,
    /// Odd, but the node goes on.
    Warn,
    /// A human must look.
    Error,
}

impl LogLevel {
    fn parse(text: &str) -> Result<Self, ValueError> {
        match text {
            "debug" => Ok(LogLevel::Debug),
            "info" => Ok(LogLevel::Info),
            "warn" => Ok(LogLevel::Warn),
            "error" => Ok(LogLevel::Error),
            _ => Err(ValueError::Word { text: text.to_owned(), expected: "debug, info, warn, error" }),
        }
    }
}

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// `key=value` pairs.
    Logfmt,
    /// One JSON object.
    Json,
}

impl LogFormat {
    fn parse(text: &str) -> Result<Self, ValueError> {
        match text {
            "logfmt" => Ok(LogFormat::Logfmt),
            "json" => Ok(LogFormat::Json),
            _ => Err(ValueError::Word { text: text.to_owned(), expected: "logfmt, json" }),
        }
    }
}

/// Where the allocator looks for its options.
pub(crate) const ALLOCATOR_VARIABLE: &str = "MALLOC_CONF";

/// Whether the environment has options for the allocator, an operator's or [`crate::memory::restart_with_allocator_options`]'s.
#[must_use]
pub fn is_allocator_told() -> bool {
    std::env::var_os(ALLOCATOR_VARIABLE).is_some()
}

impl Config {
    /// Reads the file, the process's environment and the flags, and puts them together. Returns as well what each
    /// setting came to and from which layer.
    ///
    /// # Errors
    /// Every problem of every layer.
    pub fn load(flags: &Flags, file: &FileArgs) -> Result<(Config, Effective), ConfigError> {
        let mut layers = layers::Layers::default();
        if let Some(path) = &file.path {
            layers.add_file(path);
        }
        layers.add_env(std::env::vars_os());
        layers.add_flags(flags);
        resolve::resolve(layers, &Machine::read())
    }
}
