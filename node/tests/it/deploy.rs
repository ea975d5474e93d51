//! What is shipped beside the binary agrees with it: compose, the dashboard, the comparison's servers.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use clap::Parser;
use node::config::settings::{ENV_PREFIX, SETTINGS};
use node::config::{Cli, Command, Config};
use serde_json::Value;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

fn read_json(path: &str) -> Value {
    serde_json::from_str(&read(path)).unwrap()
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().unwrap().iter()
}

#[test]
fn every_query_of_the_dashboard_is_promql_for_the_provisioned_source() {
    let dashboard = read_json("docker/grafana/dashboards/overview.json");
    let source = &dashboard["panels"][0]["datasource"];
    let provisioned = read("docker/grafana/provisioning/datasources/flotilla.yml");
    assert!(provisioned.contains(&format!("uid: {}\n", source["uid"].as_str().unwrap())));
    let mut ids = BTreeSet::new();
    for panel in list(&dashboard["panels"]) {
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{panel}");
        assert_eq!(&panel["datasource"], source);
        for target in list(&panel["targets"]) {
            let query = target["expr"].as_str().unwrap().replace("$__rate_interval", "1m");
            assert!(!query.contains('$'), "{query}");
            assert!(promql::parse(&query).is_ok(), "{query}");
        }
    }
    assert!(ids.len() >= 15, "{} panels", ids.len());
}

#[test]
fn variables_of_compose_and_image_are_settings() {
    let known: BTreeSet<String> = SETTINGS.iter().map(|setting| setting.env_name()).collect();
    for path in ["docker-compose.yml", "Dockerfile"] {
        let text = read(path);
        let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
        let used: BTreeSet<&str> = words.filter(|word| word.starts_with(ENV_PREFIX)).collect();
        assert!(!used.is_empty(), "{path}");
        for name in used {
            assert!(known.contains(name), "{path}: {name}");
        }
    }
}

#[test]
fn servers_of_the_comparison_start_with_flags_that_exist() {
    let servers = read_json("bench/servers.json");
    for name in ["flotilla-1", "flotilla-3"] {
        let server = &servers[name];
        let command = list(&server["start"][0]).map(|word| word.as_str().unwrap());
        let ports: Vec<u16> = match Cli::try_parse_from(command).unwrap().command {
            Command::Up(args) => (0..args.nodes).map(|i| args.http_port + 2 * i).collect(),
            // One process, as the servers it is compared with.
            Command::Serve(args) => {
                let (config, _) = Config::load(&args.flags, &args.file).unwrap();
                assert!(config.cluster.bootstrap);
                vec![config.web.listen_address.port()]
            }
            _ => panic!("{name} is no server"),
        };
        let urls: Vec<String> = ports.iter().map(|port| format!("http://127.0.0.1:{port}/api/v1/write")).collect();
        assert_eq!(server["write"], urls.join(","));
        assert_eq!(server["ready"], format!("http://127.0.0.1:{}/-/ready", ports[0]));
    }
}
