//! From the texts of all layers to one [`Config`].

use std::fmt;

use super::layers::Layers;
use super::settings as s;
use super::value::{self, CorsOrigin, ValueError};
use super::{
    Address, AddressError, ClusterConfig, Config, ConfigError, Fact, LimitsConfig, LogConfig, LogFormat, LogLevel, Machine, NodeConfig,
    Origin, QueryConfig, QueryFeatures, RpcConfig, SelfMetricsConfig, Setting, StorageConfig, WebConfig,
};

/// Most memory that storage takes without being told.
const MEMORY_BYTES_DEFAULT_MAX: u64 = 4 << 30;

/// What each setting came to: what `--config.check` prints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effective(Vec<Choice>);

/// A setting as it came out: the text that won and the layer that gave it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Choice {
    setting: &'static Setting,
    text: String,
    origin: Origin,
}

impl fmt::Display for Effective {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "configuration is valid")?;
        self.0.iter().try_for_each(|Choice { setting, text, origin }| write!(f, "\n{} = {text:?}  # {origin}", setting.key))
    }
}

/// Reads every text of every layer, also those that another layer overrides, so that no mistake waits for its day.
struct Reader<'a> {
    layers: &'a mut Layers,
    machine: &'a Machine,
    choices: Vec<Choice>,
}

impl Reader<'_> {
    fn read<T>(&mut self, setting: &'static Setting, parse: fn(&str) -> Result<T, ValueError>) -> T {
        self.read_as(setting, parse, |key, error| Fact::Value { key, error })
    }

    fn address<T>(&mut self, setting: &'static Setting, parse: fn(&str) -> Result<T, AddressError>) -> T {
        self.read_as(setting, parse, |key, error| Fact::Address { key, error })
    }

    /// Returns the value of the highest layer, or of the default where that text is bad; then there is a problem as well.
    fn read_as<T, E: fmt::Debug>(
        &mut self,
        setting: &'static Setting,
        parse: fn(&str) -> Result<T, E>,
        fact: fn(&'static str, E) -> Fact,
    ) -> T {
        let default = default_text(setting, self.machine);
        let mut value = parse(&default).expect("the table's defaults parse, which a test holds");
        let mut choice = Choice { setting, text: default, origin: Origin::Default };
        for (origin, text) in self.layers.texts(setting).to_vec() {
            match parse(&text) {
                Ok(parsed) => {
                    value = parsed;
                    choice = Choice { setting, text, origin };
                }
                Err(error) => self.layers.problem(origin, fact(setting.key, error)),
            }
        }
        self.choices.push(choice);
        value
    }

    fn origin(&self, setting: &Setting) -> Origin {
        self.choices.iter().find(|choice| choice.setting == setting).map_or(Origin::Default, |choice| choice.origin.clone())
    }
}

fn default_text(setting: &Setting, machine: &Machine) -> String {
    match setting.key {
        "node.name" => machine.host_name.clone(),
        "storage.memory" => (machine.memory_bytes / 4).clamp(value::MEMORY_BYTES_MIN, MEMORY_BYTES_DEFAULT_MAX).to_string(),
        _ => setting.default.to_owned(),
    }
}

/// Reads all settings and checks how they fit together.
pub(super) fn resolve(mut layers: Layers, machine: &Machine) -> Result<(Config, Effective), ConfigError> {
    let mut reader = Reader { layers: &mut layers, machine, choices: Vec::new() };
    let mut config = read(&mut reader);
    derive_advertise_address(&mut reader, &mut config);
    check_fit(&mut reader, &config);
    let choices = reader.choices;
    if layers.problems.is_empty() {
        return Ok((config, Effective(choices)));
    }
    layers.problems.sort_by(|a, b| a.origin.cmp(&b.origin));
    Err(ConfigError { problems: layers.problems })
}

fn read(reader: &mut Reader<'_>) -> Config {
    Config {
        node: NodeConfig {
            data: reader.read(&s::NODE_DATA, value::path),
            name: reader.read(&s::NODE_NAME, value::name),
            zone: reader.read(&s::NODE_ZONE, value::optional_name),
        },
        web: WebConfig {
            listen_address: reader.address(&s::WEB_LISTEN_ADDRESS, Address::parse),
            cors_origin: reader.read(&s::WEB_CORS_ORIGIN, CorsOrigin::parse),
            enable_admin_api: reader.read(&s::WEB_ENABLE_ADMIN_API, value::boolean),
        },
        rpc: read_rpc(reader),
        cluster: ClusterConfig {
            initial_nodes: reader.address(&s::CLUSTER_INITIAL_NODES, Address::parse_list),
            bootstrap: reader.read(&s::CLUSTER_BOOTSTRAP, value::boolean),
            replace_after: reader.read(&s::CLUSTER_REPLACE_AFTER, value::interval),
            heartbeat: reader.read(&s::CLUSTER_HEARTBEAT, value::heartbeat),
            hibernate_after: reader.read(&s::CLUSTER_HIBERNATE_AFTER, value::interval),
            scale_samples: reader.read(&s::CLUSTER_SCALE_SAMPLES, value::number),
            scale_series: reader.read(&s::CLUSTER_SCALE_SERIES, value::number),
            scale_lead: reader.read(&s::CLUSTER_SCALE_LEAD, value::positive_duration),
        },
        storage: StorageConfig {
            retention: reader.read(&s::STORAGE_RETENTION, value::positive_duration),
            memory_bytes: reader.read(&s::STORAGE_MEMORY, value::memory),
            encryption_key_file: reader.read(&s::STORAGE_ENCRYPTION_KEY_FILE, value::optional_path),
            min_free_bytes: reader.read(&s::STORAGE_MIN_FREE, value::bytes),
            scrub_period: reader.read(&s::STORAGE_SCRUB_PERIOD, value::interval),
            exemplars_max: reader.read(&s::STORAGE_MAX_EXEMPLARS, value::exemplars),
        },
        limits: LimitsConfig {
            late_window: reader.read(&s::LIMITS_LATE_WINDOW, value::duration),
            out_of_order_window: reader.read(&s::LIMITS_OUT_OF_ORDER_WINDOW, value::duration),
        },
        query: QueryConfig {
            timeout: reader.read(&s::QUERY_TIMEOUT, value::positive_duration),
            lookback_delta: reader.read(&s::QUERY_LOOKBACK_DELTA, value::positive_duration),
            max_concurrency: reader.read(&s::QUERY_MAX_CONCURRENCY, value::count),
            max_samples: reader.read(&s::QUERY_MAX_SAMPLES, value::count),
            cache_bytes: reader.read(&s::QUERY_CACHE, value::bytes),
            cache_min_time: reader.read(&s::QUERY_CACHE_MIN_TIME, value::duration),
            features: reader.read(&s::QUERY_ENABLE_FEATURE, |text| QueryFeatures::parse(text).map_err(ValueError::Feature)),
        },
        self_metrics: SelfMetricsConfig { interval: reader.read(&s::SELF_METRICS_INTERVAL, value::interval) },
        log: LogConfig { level: reader.read(&s::LOG_LEVEL, LogLevel::parse), format: reader.read(&s::LOG_FORMAT, LogFormat::parse) },
    }
}

/// The advertised address is the one that listens until [`derive_advertise_address`] has looked at both.
fn read_rpc(reader: &mut Reader<'_>) -> RpcConfig {
    let listen_address = reader.address(&s::RPC_LISTEN_ADDRESS, Address::parse);
    let advertised = reader.address(&s::RPC_ADVERTISE_ADDRESS, |text| match text {
        "" => Ok(None),
        text => Address::parse_dialable(text).map(Some),
    });
    RpcConfig { advertise_address: advertised.unwrap_or_else(|| listen_address.clone()), listen_address }
}

fn derive_advertise_address(reader: &mut Reader<'_>, config: &mut Config) {
    if !reader.layers.texts(&s::RPC_ADVERTISE_ADDRESS).is_empty() {
        return;
    }
    let listen = &config.rpc.listen_address;
    if !listen.is_dialable() {
        let origin = reader.origin(&s::RPC_LISTEN_ADDRESS);
        reader.layers.problem(origin, Fact::NotDialable { listen: listen.to_string() });
    }
    if let Some(choice) = reader.choices.iter_mut().find(|choice| choice.setting == &s::RPC_ADVERTISE_ADDRESS) {
        choice.text = listen.to_string();
    }
}

fn check_fit(reader: &mut Reader<'_>, config: &Config) {
    let windows =
        [(&s::LIMITS_LATE_WINDOW, config.limits.late_window), (&s::LIMITS_OUT_OF_ORDER_WINDOW, config.limits.out_of_order_window)];
    for (setting, window) in windows {
        if window > config.storage.retention {
            let origin = reader.origin(setting).max(reader.origin(&s::STORAGE_RETENTION));
            reader.layers.problem(origin, Fact::LongerThanRetention { key: setting.key });
        }
    }
    let (web, rpc) = (&config.web.listen_address, &config.rpc.listen_address);
    if web == rpc && web.port() != 0 {
        let origin = reader.origin(&s::WEB_LISTEN_ADDRESS).max(reader.origin(&s::RPC_LISTEN_ADDRESS));
        reader.layers.problem(origin, Fact::SameAddress { address: web.to_string() });
    }
    let nodes = config.cluster.initial_nodes.len();
    if config.cluster.bootstrap && nodes > 1 {
        let origin = reader.origin(&s::CLUSTER_BOOTSTRAP).max(reader.origin(&s::CLUSTER_INITIAL_NODES));
        reader.layers.problem(origin, Fact::BootstrapOfMany { nodes });
    }
}
