//! What can be wrong with a configuration.

use std::fmt;

use super::address::AddressError;
use super::value::ValueError;

/// Where a value comes from, lowest layer first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// The table of settings, or computed from the machine or from other settings.
    Default,
    /// The file, with the line of the value (0: the file as a whole).
    File {
        /// Path as it was given.
        path: String,
        /// Line, from 1.
        line: u64,
    },
    /// An environment variable.
    Env {
        /// Its name.
        name: String,
    },
    /// A flag.
    Flag {
        /// Its name without dashes.
        name: String,
    },
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => write!(f, "default"),
            Origin::File { path, line: 0 } => write!(f, "file {path}"),
            Origin::File { path, line } => write!(f, "file {path}:{line}"),
            Origin::Env { name } => write!(f, "environment {name}"),
            Origin::Flag { name } => write!(f, "flag --{name}"),
        }
    }
}

/// One fact that makes a configuration unusable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fact {
    /// The text of a value cannot be read as its type.
    #[error("{key}: {error}")]
    Value {
        /// Setting the text was given for.
        key: &'static str,
        /// What is wrong with the text.
        error: ValueError,
    },
    /// An address cannot be used for its purpose.
    #[error("{key}: {error}")]
    Address {
        /// Setting the text was given for.
        key: &'static str,
        /// What is wrong with the address.
        error: AddressError,
    },
    /// No setting has this key.
    #[error("unknown setting {key:?}{}", suggestion(.near))]
    UnknownKey {
        /// Key as it was given.
        key: String,
        /// Name of a setting that was probably meant.
        near: Option<String>,
    },
    /// The variable's value is not UTF-8.
    #[error("value is not UTF-8")]
    NotUtf8,
    /// The file cannot be read.
    #[error("cannot be read: {reason}")]
    Unreadable {
        /// What the system said.
        reason: String,
    },
    /// The file is not YAML of the expected shape, or gives a key twice.
    #[error("{reason}")]
    Yaml {
        /// What the parser said.
        reason: String,
    },
    /// A window reaches behind the retention.
    #[error("{key} must not be longer than storage.retention")]
    LongerThanRetention {
        /// The window's setting.
        key: &'static str,
    },
    /// The listen address names no host, so that others cannot be told to dial it.
    #[error("{listen} is no address that other nodes can dial: give rpc.advertise_address")]
    NotDialable {
        /// The listen address.
        listen: String,
    },
    /// HTTP and RPC want the same port.
    #[error("web.listen_address and rpc.listen_address are both {address}")]
    SameAddress {
        /// The address.
        address: String,
    },
    /// A key without a secret, or the other way round.
    #[error("auth.root_access_key and auth.root_secret_key (or auth.root_secret_key_file) are given together or not at all")]
    HalfAKey,
    /// An issuer without keys, or the other way round.
    #[error("auth.oidc_issuer and auth.oidc_jwks_file are given together or not at all")]
    HalfAnIssuer,
    /// Nobody could set up anything.
    #[error("auth.enabled needs auth.root_access_key and auth.root_secret_key or auth.root_secret_key_file")]
    NoRoot,
    /// A cluster cannot be founded by one node alone and by many together.
    #[error("cluster.bootstrap founds a cluster of one node, but cluster.initial_nodes names {nodes}")]
    BootstrapOfMany {
        /// Number of nodes named.
        nodes: usize,
    },
    /// `flotilla up` decides this setting for each node itself.
    #[error("{key} is set by `flotilla up` for each node")]
    SetByUp {
        /// The setting.
        key: &'static str,
    },
}

fn suggestion(near: &Option<String>) -> String {
    near.as_ref().map_or_else(String::new, |near| format!(", did you mean {near}?"))
}

/// One fact and where it was given.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{origin}: {fact}")]
pub struct Problem {
    /// Layer and place.
    pub origin: Origin,
    /// What is wrong.
    pub fact: Fact,
}

/// Every problem of a configuration, in the order of layers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// Never empty.
    pub problems: Vec<Problem>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.problems.len();
        write!(f, "{count} {} in the configuration:", if count == 1 { "problem" } else { "problems" })?;
        self.problems.iter().try_for_each(|problem| write!(f, "\n  {problem}"))
    }
}

impl std::error::Error for ConfigError {}
