//! The one table of settings. Flags, environment names, file keys and help are all derived from it.

use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};

/// One setting: where it can be given and what it is by default.
#[derive(Debug, PartialEq, Eq)]
pub struct Setting {
    /// `section.name`, the path in the file. Upper-cased and joined by `__` it is the environment name.
    pub key: &'static str,
    /// Flag without the two dashes.
    pub flag: &'static str,
    /// What stands for the value in help.
    pub value_name: &'static str,
    /// Value when no layer gives one; empty when it is computed or there is none.
    pub default: &'static str,
    /// What the setting does, with its unit.
    pub help: &'static str,
}

impl Setting {
    /// Section of the file, the part of the key before the dot.
    pub fn section(&self) -> &'static str {
        self.key.split_once('.').map_or(self.key, |(section, _)| section)
    }

    /// Name of the environment variable: `FLOTILLA_SECTION__NAME`.
    pub fn env_name(&self) -> String {
        format!("{ENV_PREFIX}{}", self.key.replace('.', "__").to_uppercase())
    }

    fn is_switch(&self) -> bool {
        self.value_name == "BOOL"
    }

    fn is_list(&self) -> bool {
        self.value_name == "A,B,C"
    }
}

/// What every environment variable of ours begins with.
pub const ENV_PREFIX: &str = "FLOTILLA_";

macro_rules! settings {
    ($($name:ident = $key:literal, $flag:literal, $value:literal, $default:literal, $help:literal;)*) => {
        $(
            #[doc = $help]
            pub static $name: Setting = Setting { key: $key, flag: $flag, value_name: $value, default: $default, help: $help };
        )*

        /// Every setting, in the order of help and of `--config.check`.
        pub static SETTINGS: &[&Setting] = &[$(&$name),*];
    };
}

settings! {
    NODE_DATA = "node.data", "data", "DIR", "data", "Directory of everything that this node stores.";
    NODE_NAME = "node.name", "node-name", "NAME", "", "Name of this node in metrics, logs and cluster status. Default: the host name.";
    NODE_ZONE = "node.zone", "zone", "ZONE", "", "Failure zone of this node; replicas of a shard are spread over zones.";
    WEB_LISTEN_ADDRESS = "web.listen_address", "web.listen-address", "HOST:PORT", "0.0.0.0:9480", "Where HTTP is served: API, health and /metrics.";
    WEB_CORS_ORIGIN = "web.cors_origin", "web.cors.origin", "REGEX", ".*", "Origins that browsers may call from: a regular expression that must match the whole origin.";
    WEB_ENABLE_ADMIN_API = "web.enable_admin_api", "web.enable-admin-api", "BOOL", "false", "Let clients delete series: POST and PUT of /api/v1/admin/tsdb/delete_series and clean_tombstones.";
    RPC_LISTEN_ADDRESS = "rpc.listen_address", "rpc.listen-address", "HOST:PORT", "127.0.0.1:9481", "Where other nodes of the cluster reach this one.";
    RPC_ADVERTISE_ADDRESS = "rpc.advertise_address", "rpc.advertise-address", "HOST:PORT", "", "Address that other nodes dial. Default: --rpc.listen-address, where that names one host.";
    CLUSTER_INITIAL_NODES = "cluster.initial_nodes", "initial-nodes", "A,B,C", "", "Advertised RPC addresses of the nodes that found the cluster together; the same list on each of them.";
    CLUSTER_BOOTSTRAP = "cluster.bootstrap", "bootstrap", "BOOL", "false", "Found a cluster of this node alone if its disk is empty.";
    CLUSTER_REPLACE_AFTER = "cluster.replace_after", "cluster.replace-after", "DURATION", "10m", "Time after which the replicas of a node that does not answer are put on other nodes; 0 turns it off.";
    CLUSTER_HEARTBEAT = "cluster.heartbeat", "cluster.heartbeat", "DURATION", "250ms", "Interval of leaders' heartbeats, the same on all nodes; a new leader is elected after four to eight of them. A node takes part in 64 groups (shards and the meta group), from 500ms on in 256, from 1s on in 1000.";
    CLUSTER_HIBERNATE_AFTER = "cluster.hibernate_after", "cluster.hibernate-after", "DURATION", "5m", "Time without a write, a read or a change after which a shard's replicas stop their timers and cost nothing until the next; 0 turns it off.";
    CLUSTER_SCALE_LEAD = "cluster.scale_lead", "cluster.scale-lead", "DURATION", "15m", "How far ahead of the present a workspace's new number of shards begins to hold; the next change comes eight times as long after it at the earliest.";
    CLUSTER_SCALE_SAMPLES = "cluster.scale_samples", "cluster.scale-samples", "N", "200000", "Samples a second and shard, on average of two hours, from which a workspace gets more shards; far below it gets fewer. 0: the load changes nothing.";
    CLUSTER_SCALE_SERIES = "cluster.scale_series", "cluster.scale-series", "N", "1000000", "Series in memory and shard from which a workspace gets more shards; 0: their number changes nothing.";
    STORAGE_RETENTION = "storage.retention", "storage.retention", "DURATION", "150d", "How long samples are kept.";
    STORAGE_MEMORY = "storage.memory", "storage.memory", "BYTES", "", "Memory for storage: caches, memtables, heads. Default: a quarter of the machine's memory, at most 4GiB.";
    STORAGE_MIN_FREE = "storage.min_free", "storage.min-free", "BYTES", "1GiB", "With less free disk space than this the node refuses writes and goes on reading.";
    STORAGE_ENCRYPTION_KEY_FILE = "storage.encryption_key_file", "storage.encryption-key-file", "PATH", "", "File of 64 hexadecimal digits, the key that encrypts what is stored; the same on every node. Only for an empty data directory. Default: no encryption.";
    STORAGE_SCRUB_PERIOD = "storage.scrub_period", "storage.scrub-period", "DURATION", "14d", "Time in which everything stored is read once to find damage; 0 turns it off.";
    STORAGE_MAX_EXEMPLARS = "storage.max_exemplars", "storage.max-exemplars", "N", "20000", "Exemplars that each shard of a new workspace keeps, the newest, at most 1000000; 0 keeps none.";
    LIMITS_LATE_WINDOW = "limits.late_window", "limits.late-window", "DURATION", "3h", "How old a sample may be that is newer than everything its series has.";
    LIMITS_OUT_OF_ORDER_WINDOW = "limits.out_of_order_window", "limits.out-of-order-window", "DURATION", "1h", "How old a sample may be that is not newer than everything its series has.";
    QUERY_TIMEOUT = "query.timeout", "query.timeout", "DURATION", "2m", "Time after which a query is given up.";
    QUERY_LOOKBACK_DELTA = "query.lookback_delta", "query.lookback-delta", "DURATION", "5m", "How old the newest sample of a series may be for an instant selector to return it.";
    QUERY_MAX_CONCURRENCY = "query.max_concurrency", "query.max-concurrency", "N", "20", "Queries that this node evaluates at once.";
    QUERY_MAX_SAMPLES = "query.max_samples", "query.max-samples", "N", "50000000", "Samples that one query may hold in memory.";
    QUERY_CACHE = "query.cache", "query.cache", "BYTES", "128MiB", "Memory for results of range queries; 0 turns the cache off.";
    QUERY_CACHE_MIN_TIME = "query.cache_min_time", "query.cache-min-time", "DURATION", "1ms", "Results of range queries whose evaluation took less than this are not kept.";
    QUERY_ENABLE_FEATURE = "query.enable_feature", "enable-feature", "A,B,C", "", "Experimental parts of PromQL, named as Prometheus names them: promql-experimental-functions, promql-extended-range-selectors, promql-binop-fill-modifiers, promql-delayed-name-removal, promql-per-step-stats, use-start-timestamps, type-and-unit-labels.";
    SELF_METRICS_INTERVAL = "self_metrics.interval", "self-metrics.interval", "DURATION", "15s", "How often this node writes its own metrics into the workspace `system`; 0 turns it off.";
    LOG_LEVEL = "log.level", "log.level", "LEVEL", "info", "Least severe messages to log: debug, info, warn or error.";
    LOG_FORMAT = "log.format", "log.format", "FORMAT", "logfmt", "How log lines look: logfmt or json.";
}

/// Finds a setting by its path in the file.
pub fn by_key(key: &str) -> Option<&'static Setting> {
    SETTINGS.iter().copied().find(|setting| setting.key == key)
}

/// Settings given as flags, as text; what they mean is judged together with the other layers.
#[derive(Debug, Clone, Default)]
pub struct Flags {
    given: Vec<(&'static Setting, String)>,
}

impl Flags {
    /// Sets a flag, replacing what was given for it.
    pub fn set(&mut self, setting: &'static Setting, text: impl Into<String>) {
        self.given.retain(|(have, _)| *have != setting);
        self.given.push((setting, text.into()));
    }

    /// What was given for a setting.
    pub fn get(&self, setting: &Setting) -> Option<&str> {
        self.given.iter().find(|(have, _)| *have == setting).map(|(_, text)| text.as_str())
    }

    /// Every given flag with its text.
    pub fn iter(&self) -> impl Iterator<Item = (&'static Setting, &str)> {
        self.given.iter().map(|(setting, text)| (*setting, text.as_str()))
    }

    /// The flags as arguments that parse back to the same flags.
    pub fn to_arguments(&self) -> Vec<String> {
        self.iter().map(|(setting, text)| format!("--{}={text}", setting.flag)).collect()
    }
}

impl FromArgMatches for Flags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut flags = Flags::default();
        flags.update_from_arg_matches(matches)?;
        Ok(flags)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        for setting in SETTINGS {
            if let Some(texts) = matches.get_many::<String>(setting.key) {
                let texts: Vec<&str> = texts.map(String::as_str).collect();
                self.set(setting, texts.join(","));
            }
        }
        Ok(())
    }
}

impl Args for Flags {
    fn augment_args(command: Command) -> Command {
        SETTINGS.iter().fold(command, |command, setting| command.arg(argument(setting)))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

fn argument(setting: &'static Setting) -> Arg {
    let help =
        if setting.default.is_empty() { setting.help.to_owned() } else { format!("{} [default: {}]", setting.help, setting.default) };
    let arg = Arg::new(setting.key).long(setting.flag).value_name(setting.value_name).help(help);
    if setting.is_switch() {
        arg.num_args(0..=1).require_equals(true).default_missing_value("true")
    } else if setting.is_list() {
        arg.action(ArgAction::Append)
    } else {
        arg
    }
}
