//! Layers, values and problems.

use std::ffi::OsString;
use std::time::Duration;

use clap::{CommandFactory, Parser};

use super::layers::Layers;
use super::*;

const GIB: u64 = 1 << 30;

#[derive(Default)]
struct Given<'a> {
    yaml: &'a str,
    env: &'a [(&'a str, &'a str)],
    flags: &'a [&'a str],
}

impl Given<'_> {
    fn resolve(&self) -> Result<(Config, Effective), ConfigError> {
        let mut layers = Layers::default();
        layers.add_yaml("f.yml", self.yaml);
        layers.add_env(self.env.iter().map(|(name, value)| (OsString::from(name), OsString::from(value))));
        layers.add_flags(&serve_args(self.flags).flags);
        resolve::resolve(layers, &Machine { host_name: "host".to_owned(), memory_bytes: 8 * GIB })
    }

    fn config(&self) -> Config {
        self.resolve().unwrap().0
    }

    fn problems(&self) -> Vec<String> {
        self.resolve().unwrap_err().problems.iter().map(ToString::to_string).collect()
    }
}

fn serve_args(flags: &[&str]) -> ServeArgs {
    let Command::Serve(args) = Cli::try_parse_from(["flotilla", "serve"].iter().chain(flags)).unwrap().command else { panic!("not serve") };
    args
}

fn minutes(n: u64) -> Duration {
    Duration::from_secs(n * 60)
}

#[test]
fn defaults_are_a_whole_configuration() {
    let config = Given::default().config();
    assert_eq!(config.node, NodeConfig { data: "data".into(), name: "host".to_owned(), zone: String::new() });
    assert_eq!(config.web.listen_address, Address::new("0.0.0.0", 9480));
    assert!(config.web.cors_origin.is_any() && config.web.cors_origin.allows("https://a.example"));
    assert_eq!(
        config.rpc,
        RpcConfig { listen_address: Address::new("127.0.0.1", 9481), advertise_address: Address::new("127.0.0.1", 9481) }
    );
    assert_eq!(
        config.cluster,
        ClusterConfig {
            initial_nodes: vec![],
            bootstrap: false,
            replace_after: Some(minutes(10)),
            heartbeat: Duration::from_millis(250),
            hibernate_after: Some(minutes(5)),
            scale_samples: 200_000,
            scale_series: 1_000_000,
            scale_lead: minutes(15)
        }
    );
    let scrub_period = Some(minutes(14 * 24 * 60));
    assert_eq!(
        config.storage,
        StorageConfig {
            retention: minutes(150 * 24 * 60),
            memory_bytes: 2 * GIB,
            encryption_key_file: None,
            min_free_bytes: GIB,
            scrub_period,
            exemplars_max: 20_000
        }
    );
    assert_eq!(config.limits, LimitsConfig { late_window: minutes(180), out_of_order_window: minutes(60) });
    let query = QueryConfig {
        timeout: minutes(2),
        lookback_delta: minutes(5),
        max_concurrency: 20,
        max_samples: 50_000_000,
        cache_bytes: 128 << 20,
        cache_min_time: Duration::from_millis(1),
        features: QueryFeatures::default(),
    };
    assert_eq!(config.query, query);
    assert_eq!(config.self_metrics, SelfMetricsConfig { interval: Some(Duration::from_secs(15)) });
    assert_eq!(config.log, LogConfig { level: LogLevel::Info, format: LogFormat::Logfmt });
}

#[test]
fn storage_takes_a_quarter_of_memory_and_at_most_4_gib() {
    for (machine, expected) in [(8 * GIB, 2 * GIB), (64 * GIB, 4 * GIB), (1 << 20, 64 << 20)] {
        let machine = Machine { host_name: "host".to_owned(), memory_bytes: machine };
        assert_eq!(resolve::resolve(Layers::default(), &machine).unwrap().0.storage.memory_bytes, expected);
    }
}

#[test]
fn each_layer_wins_over_the_one_below() {
    let yaml = "query: {timeout: 1m, lookback_delta: 1m, max_concurrency: 1, max_samples: 1}";
    let env = [("FLOTILLA_QUERY__LOOKBACK_DELTA", "2m"), ("FLOTILLA_QUERY__MAX_CONCURRENCY", "2"), ("HOME", "/root")];
    let config = Given { yaml, env: &env, flags: &["--query.max-concurrency=3"] }.config();
    let query = config.query;
    assert_eq!((query.timeout, query.lookback_delta, query.max_concurrency, query.max_samples), (minutes(1), minutes(2), 3, 1));
}

#[test]
fn features_may_be_given_as_a_list_or_by_repeating_the_flag() {
    let features = |flags: &[&str]| Given { yaml: "", env: &[], flags }.config().query.features;
    let both = features(&["--enable-feature=promql-per-step-stats,promql-delayed-name-removal"]);
    assert!(both.per_step_stats && both.delayed_name_removal);
    assert_eq!(features(&["--enable-feature=promql-per-step-stats", "--enable-feature", "promql-delayed-name-removal"]), both);
}

#[test]
fn every_setting_can_come_from_every_layer() {
    let given = [
        ("node.data", "/srv"),
        ("node.name", "n1"),
        ("node.zone", "z1"),
        ("web.listen_address", "1.2.3.4:80"),
        ("web.cors_origin", "https://.*"),
        ("web.enable_admin_api", "true"),
        ("web.external_url", "https://metrics.example"),
        ("aws.region", "eu-west-1"),
        ("aws.account_id", "123456789012"),
        ("rpc.listen_address", "1.2.3.4:81"),
        ("rpc.advertise_address", "n1.example:81"),
        ("cluster.initial_nodes", "n1.example:81"),
        ("cluster.bootstrap", "true"),
        ("cluster.replace_after", "1h"),
        ("cluster.heartbeat", "1s"),
        ("cluster.hibernate_after", "1m"),
        ("cluster.scale_samples", "0"),
        ("cluster.scale_series", "7"),
        ("cluster.scale_lead", "1m"),
        ("storage.retention", "30d"),
        ("storage.memory", "512MiB"),
        ("storage.min_free", "10MB"),
        ("storage.encryption_key_file", "/etc/flotilla/key"),
        ("storage.scrub_period", "7d"),
        ("storage.max_exemplars", "0"),
        ("limits.late_window", "1d"),
        ("limits.out_of_order_window", "0"),
        ("query.timeout", "1s"),
        ("query.lookback_delta", "1m"),
        ("query.max_concurrency", "4"),
        ("query.max_samples", "5"),
        ("query.cache", "0"),
        ("query.cache_min_time", "1s"),
        ("query.enable_feature", "promql-per-step-stats"),
        ("self_metrics.interval", "0s"),
        ("log.level", "warn"),
        ("log.format", "json"),
    ];
    let paired = settings::SETTINGS.iter().filter(|setting| setting.section() == "auth").count();
    assert_eq!(given.len() + paired, settings::SETTINGS.len(), "those of `auth` have a test of their own");
    let with = |yaml: &str, env: &[(&str, &str)], flags: &[&str]| format!("{:?}", Given { yaml, env, flags }.config());
    let untouched = with("", &[], &[]);
    for (key, text) in given {
        let setting = settings::by_key(key).unwrap();
        let (section, name) = key.split_once('.').unwrap();
        let from_file = with(&format!("{section}:\n  {name}: {text}\n"), &[], &[]);
        assert_ne!(from_file, untouched, "{key}");
        assert_eq!(from_file, with("", &[(&setting.env_name(), text)], &[]), "{key}");
        assert_eq!(from_file, with("", &[], &[&format!("--{}={text}", setting.flag)]), "{key}");
    }
}

#[test]
fn all_problems_are_told_at_once_with_their_place() {
    let yaml = "web:\n  listen_adress: 1.2.3.4:80\nquery:\n  timeout: soon\n  max_samples: -1\nshards: {}\n";
    let env = [("FLOTILLA_RPC_LISTEN_ADDRESS", "x"), ("FLOTILLA_STORAGE__MEMORY", "1KiB")];
    let flags = [
        "--storage.max-exemplars=1000001",
        "--limits.late-window=1y",
        "--rpc.listen-address=:9481",
        "--initial-nodes=a:1,b:2,a:1",
        "--log.level=loud",
    ];
    assert_eq!(
        Given { yaml, env: &env, flags: &flags }.problems(),
        [
            "file f.yml:2: unknown setting \"web.listen_adress\", did you mean web.listen_address?",
            "file f.yml:4: query.timeout: not a valid duration string: \"soon\": expected for example 1h30m, with units y, w, d, h, m, s, ms",
            "file f.yml:5: query.max_samples: \"-1\" is no whole number above 0",
            "file f.yml:6: unknown setting \"shards\"",
            "environment FLOTILLA_RPC_LISTEN_ADDRESS: unknown setting \"FLOTILLA_RPC_LISTEN_ADDRESS\", did you mean FLOTILLA_RPC__LISTEN_ADDRESS?",
            "environment FLOTILLA_STORAGE__MEMORY: storage.memory: \"1KiB\" is too small: at least 64MiB",
            "flag --initial-nodes: cluster.initial_nodes: \"a:1\" is listed twice",
            "flag --limits.late-window: limits.late_window must not be longer than storage.retention",
            "flag --log.level: log.level: \"loud\" is none of debug, info, warn, error",
            "flag --rpc.listen-address: 0.0.0.0:9481 is no address that other nodes can dial: give rpc.advertise_address",
            "flag --storage.max-exemplars: storage.max_exemplars: \"1000001\" is no whole number from 0 to 1000000",
        ]
    );
}

#[test]
fn bad_text_is_a_problem_even_where_a_higher_layer_wins() {
    let given = Given { yaml: "query: {timeout: soon}", flags: &["--query.timeout=1m"], ..Given::default() };
    assert_eq!(given.problems().len(), 1);
}

#[test]
fn file_gives_each_key_once() {
    for yaml in [
        "web: {}\nweb: {}\n",
        "query:\n  timeout: 1m\n  timeout: 2m\n",
        "query: 5\n",
        "query: {timeout: {}}\n",
        "query:\n  timeout: ~\n",
        "a: [",
        "- a\n",
    ] {
        let problems = Given { yaml, ..Given::default() }.problems();
        assert_eq!(problems.len(), 1, "{yaml}: {problems:?}");
        assert!(problems[0].starts_with("file f.yml"), "{problems:?}");
    }
    for yaml in ["", "# nothing\n", "web:\n", "{}"] {
        Given { yaml, ..Given::default() }.config();
    }
}

#[test]
fn file_lists_and_scalars_are_read_as_typed() {
    let yaml = "cluster:\n  initial_nodes:\n    - n1:9481\n    - 'n2:9481'\n  bootstrap: false\nself_metrics: {interval: 0}\nstorage: {min_free: 0}\n";
    let config = Given { yaml, ..Given::default() }.config();
    assert_eq!(config.cluster.initial_nodes, [Address::new("n1", 9481), Address::new("n2", 9481)]);
    assert_eq!(config.self_metrics.interval, None);
    assert_eq!(config.storage.min_free_bytes, 0);
}

#[test]
fn missing_file_is_a_problem() {
    let file = FileArgs { path: Some("/nonexistent/f.yml".into()), check: false };
    let text = Config::load(&Flags::default(), &file).unwrap_err().to_string();
    assert!(text.contains("file /nonexistent/f.yml: cannot be read"), "{text}");
}

/// The public key of RFC 7515, appendix A.3.
const PUBLIC_KEYS: &str = r#"{"keys":[{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}"#;

#[test]
fn settings_of_access_go_together_and_their_secrets_are_not_shown() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        std::fs::write(dir.path().join(name), text).unwrap();
        dir.path().join(name).display().to_string()
    };
    let (secret, keys) = (file("secret", " from-a-file\n"), file("jwks.json", PUBLIC_KEYS));
    let load = |flags: &[&str]| Given { flags, ..Given::default() }.config();
    let root = ["--auth", "--root-access-key=root-key", "--root-secret-key=hunter2hunter2", "--root-may-write"];
    let config = load(&root);
    let key = config.auth.root.clone().unwrap();
    assert!(config.auth.is_on && config.auth.may_root_write && key.access_key == "root-key" && key.secret_key.expose() == "hunter2hunter2");
    assert!(!format!("{config:?}").contains("hunter2"));
    let from_file = load(&["--auth", "--root-access-key=root-key", &format!("--root-secret-key-file={secret}")]);
    assert_eq!(from_file.auth.root.unwrap().secret_key.expose(), "from-a-file");
    let issuer = load(&["--auth.oidc-issuer=https://i.example", &format!("--auth.oidc-jwks-file={keys}"), "--auth.oidc-audience=a"]);
    let issuer = issuer.auth.issuer.unwrap();
    assert_eq!((issuer.url.as_str(), issuer.audiences.as_slice()), ("https://i.example", &["a".to_owned()][..]));
    for (flags, told) in [
        (&["--auth"][..], "auth.enabled needs"),
        (&["--root-access-key=root-key"], "given together"),
        (&["--root-secret-key=hunter2hunter2"], "given together"),
        (&["--auth.oidc-issuer=https://i.example"], "given together"),
        (&["--root-access-key=root-key", "--root-secret-key=short"], "at least 8 characters"),
        (&["--root-access-key=root-key", "--root-secret-key-file=/nonexistent"], "cannot be read"),
    ] {
        let problems = Given { flags, ..Given::default() }.problems();
        assert!(problems.iter().any(|problem| problem.contains(told)), "{flags:?}: {problems:?}");
    }
}

#[test]
fn variables_of_kubernetes_and_of_tests_are_no_settings() {
    let names = [
        "FLOTILLA_CONFORMANCE",
        "FLOTILLA_SERVICE_HOST",
        "FLOTILLA_SERVICE_PORT",
        "FLOTILLA_SERVICE_PORT_HTTP",
        "FLOTILLA_PORT",
        "FLOTILLA_PORT_9480_TCP",
        "FLOTILLA_HEADLESS_PORT_9480_TCP_ADDR",
        "FLOTILLA_HEADLESS_PORT_9480_UDP_PORT",
    ];
    for name in names {
        Given { env: &[(name, "1")], ..Given::default() }.config();
    }
    for name in ["FLOTILLA_QUERY_TIMEOUT", "FLOTILLA_WEB__PORT", "FLOTILLA_WEB__LISTEN__PORT", "FLOTILLA_", "FLOTILLA_PORT_X_TCPX"] {
        assert_eq!(Given { env: &[(name, "1")], ..Given::default() }.problems().len(), 1, "{name}");
    }
}

#[test]
fn settings_that_contradict_each_other_are_refused() {
    let cases = [
        (
            vec!["--bootstrap", "--initial-nodes=a:1,b:2"],
            "flag --initial-nodes: cluster.bootstrap founds a cluster of one node, but cluster.initial_nodes names 2",
        ),
        (
            vec!["--web.listen-address=127.0.0.1:9481"],
            "flag --web.listen-address: web.listen_address and rpc.listen_address are both 127.0.0.1:9481",
        ),
        (
            vec!["--storage.retention=30m", "--limits.late-window=10m"],
            "flag --storage.retention: limits.out_of_order_window must not be longer than storage.retention",
        ),
        (
            vec!["--rpc.listen-address=127.0.0.1:0"],
            "flag --rpc.listen-address: 127.0.0.1:0 is no address that other nodes can dial: give rpc.advertise_address",
        ),
        (
            vec!["--rpc.advertise-address=0.0.0.0:1"],
            "flag --rpc.advertise-address: rpc.advertise_address: \"0.0.0.0:1\" cannot be dialled: it needs a host and a port other than 0",
        ),
    ];
    for (flags, problem) in cases {
        assert_eq!(Given { flags: &flags, ..Given::default() }.problems(), [problem]);
    }
    Given { flags: &["--bootstrap", "--initial-nodes=a:1"], ..Given::default() }.config();
}

#[test]
fn bytes_are_read_with_binary_and_decimal_units() {
    let cases = [
        ("0", 0),
        ("5", 5),
        ("5B", 5),
        ("1k", 1024),
        ("1KiB", 1024),
        ("512MiB", 512 << 20),
        ("1.5GiB", 3 << 29),
        ("2GB", 2_000_000_000),
        ("0.1kb", 100),
        ("1 TiB", 1 << 40),
    ];
    for (text, expected) in cases {
        assert_eq!(value::bytes(text), Ok(expected), "{text}");
    }
    for bad in [
        "",
        "GiB",
        "-1",
        "1e9",
        "1.2.3",
        "5 apples",
        "99999999999999999999",
        "99999999TiB",
        ".5GiB",
        "1.999999999999999999999999999999999999999999GiB",
    ] {
        assert!(value::bytes(bad).is_err(), "{bad}");
    }
}

#[test]
fn durations_are_prometheus_durations() {
    let cases =
        [("0", 0), ("0s", 0), ("1ms", 1), ("15s", 15_000), ("1h30m", 5_400_000), ("1d", 86_400_000), ("1y2w3d4h5m6s7ms", 33_019_506_007)];
    for (text, ms) in cases {
        assert_eq!(value::duration(text), Ok(Duration::from_millis(ms)), "{text}");
    }
    for bad in ["", "1", "s", "1m1h", "1h1h", "-1h", "1.5h", "1h ", "1H", "999999999999999999y"] {
        assert!(value::duration(bad).is_err(), "{bad}");
    }
    assert!(value::positive_duration("0").is_err());
    assert!(value::interval("500ms").is_err());
    assert_eq!(value::interval("0"), Ok(None));
}

#[test]
fn addresses_are_read_and_written_alike() {
    for text in ["127.0.0.1:9480", "[::1]:9480", "node-1.flotilla_net:0", "localhost:65535"] {
        assert_eq!(Address::parse(text).unwrap().to_string(), text);
    }
    assert_eq!(Address::parse(":9480").unwrap(), Address::new("0.0.0.0", 9480));
    for bad in ["", "9480", "host", "host:", "host:65536", "host:x", "::1:9480", "[host]:1", "a b:1", "http://a:1"] {
        assert!(Address::parse(bad).is_err(), "{bad}");
    }
    for bad in [":1", "0.0.0.0:1", "[::]:1", "a:0"] {
        assert!(Address::parse_dialable(bad).is_err(), "{bad}");
    }
}

#[test]
fn command_line_is_consistent_and_flags_survive_the_way_to_a_child() {
    Cli::command().debug_assert();
    let flags = serve_args(&["--data", "a b", "--bootstrap", "--web.cors.origin=https://(a|b)\\.example"]).flags;
    let arguments = flags.to_arguments();
    let again = serve_args(&arguments.iter().map(String::as_str).collect::<Vec<_>>()).flags;
    assert_eq!(flags.iter().collect::<Vec<_>>(), again.iter().collect::<Vec<_>>());
    assert_eq!(again.get(&settings::CLUSTER_BOOTSTRAP), Some("true"));
}

#[test]
fn check_tells_what_each_setting_came_to_and_why() {
    let given = Given { yaml: "log: {level: warn}", env: &[("FLOTILLA_LOG__FORMAT", "json")], flags: &["--zone=z"] };
    let text = given.resolve().unwrap().1.to_string();
    for line in [
        "log.level = \"warn\"  # file f.yml:1",
        "log.format = \"json\"  # environment FLOTILLA_LOG__FORMAT",
        "node.zone = \"z\"  # flag --zone",
        "storage.memory = \"2147483648\"  # default",
        "rpc.advertise_address = \"127.0.0.1:9481\"  # default",
    ] {
        assert!(text.lines().any(|have| have == line), "{line} is not in\n{text}");
    }
    assert_eq!(text.lines().count(), settings::SETTINGS.len() + 1);
}

#[test]
fn every_setting_stands_in_the_operators_page() {
    let page = include_str!("../../../docs/operate.md");
    for setting in settings::SETTINGS {
        let default = if setting.default.is_empty() { String::new() } else { format!("`{}`", setting.default) };
        let row = format!("| `{}` | `--{}` | {default} | {} |", setting.key, setting.flag, setting.help);
        assert!(page.contains(&row), "docs/operate.md lacks the row\n{row}");
    }
}
