//! Who may import whom: the table of ARCHITECTURE.md, checked against what cargo resolves.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::process::Command;

use serde_json::Value;

/// What a crate of the workspace may import, and what must not be in its normal dependency tree.
struct Row {
    name: &'static str,
    may_import: &'static [&'static str],
    never: &'static [&'static str],
}

/// Anything that talks to the network or waits for it.
const NETWORK: &[&str] = &["tokio", "hyper", "axum", "tonic", "reqwest", "rustls", "socket2", "mio"];

const TABLE: &[Row] = &[
    Row { name: "model", may_import: &[], never: &["rocksdb", "openraft", "prost", "serde"] },
    Row { name: "promql", may_import: &["model"], never: &["rocksdb", "openraft", "tonic", "proto", "metrics"] },
    Row { name: "auth", may_import: &["model"], never: &["rocksdb", "openraft", "tonic", "proto", "metrics"] },
    Row { name: "tsdb", may_import: &["model"], never: &["openraft", "prost"] },
    Row { name: "proto", may_import: &[], never: &["rocksdb", "openraft", "axum", "metrics"] },
    Row { name: "raft", may_import: &["model", "proto"], never: &["axum"] },
    Row { name: "node", may_import: &["model", "promql", "auth", "tsdb", "proto", "raft"], never: &[] },
    Row { name: "sim", may_import: &["model", "node", "raft", "tsdb"], never: &[] },
    Row { name: "jepsen", may_import: &["model", "proto"], never: &["rocksdb", "openraft", "axum"] },
];

/// Crates that decide and store, and move nothing.
const SYNCHRONOUS: &[&str] = &["model", "promql", "auth", "tsdb"];

/// Crates that import openraft themselves.
const IMPORTS_OPENRAFT: &[&str] = &["raft"];

/// One resolved package: its name and the packages it depends on, by id.
struct Package {
    name: String,
    normal: Vec<String>,
    any: Vec<String>,
}

struct Graph {
    packages: BTreeMap<String, Package>,
    members: BTreeMap<String, String>,
}

impl Graph {
    /// Asks cargo. Only for this machine's platform: what others need need not be downloaded.
    fn resolve() -> Self {
        let version = cargo(&["-vV"]);
        let host = std::str::from_utf8(&version).unwrap().lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
        let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml");
        let arguments =
            ["metadata", "--offline", "--locked", "--format-version", "1", "--filter-platform", host, "--manifest-path", manifest];
        Graph::read(&serde_json::from_slice(&cargo(&arguments)).unwrap())
    }

    fn read(metadata: &Value) -> Self {
        let names: BTreeMap<&str, &str> =
            list(&metadata["packages"]).map(|package| (text(&package["id"]), text(&package["name"]))).collect();
        let packages = list(&metadata["resolve"]["nodes"]).map(|node| {
            let edges = |wanted: fn(&Value) -> bool| -> Vec<String> {
                let found = list(&node["deps"]).filter(|dep| list(&dep["dep_kinds"]).any(wanted));
                found.map(|dep| text(&dep["pkg"]).to_owned()).collect()
            };
            let package =
                Package { name: names[text(&node["id"])].to_owned(), normal: edges(|kind| kind["kind"].is_null()), any: edges(|_| true) };
            (text(&node["id"]).to_owned(), package)
        });
        let members = list(&metadata["workspace_members"]).map(|id| (names[text(id)].to_owned(), text(id).to_owned()));
        Graph { packages: packages.collect(), members: members.collect() }
    }

    fn member(&self, name: &str) -> &Package {
        &self.packages[&self.members[name]]
    }

    fn name(&self, id: &str) -> &str {
        &self.packages[id].name
    }

    /// Names of everything that is linked into a crate, without what only its build and tests need.
    fn normal_tree(&self, name: &str) -> BTreeSet<&str> {
        let mut seen = BTreeSet::new();
        let mut queue = VecDeque::from([self.members[name].as_str()]);
        while let Some(id) = queue.pop_front() {
            for next in &self.packages[id].normal {
                if seen.insert(next.as_str()) {
                    queue.push_back(next);
                }
            }
        }
        seen.into_iter().map(|id| self.name(id)).collect()
    }

    /// Crates of the workspace that a crate imports itself, also in its build script and tests.
    fn internal(&self, name: &str) -> BTreeSet<&str> {
        let ids = self.member(name).any.iter().filter(|id| self.members.values().any(|member| member == *id));
        ids.map(|id| self.name(id)).collect()
    }
}

fn cargo(arguments: &[&str]) -> Vec<u8> {
    let output = Command::new(env!("CARGO")).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().unwrap().iter()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

#[test]
fn table_names_every_crate_of_the_workspace() {
    let graph = Graph::resolve();
    let members: BTreeSet<&str> = graph.members.keys().map(String::as_str).collect();
    assert_eq!(TABLE.iter().map(|row| row.name).collect::<BTreeSet<_>>(), members);
}

#[test]
fn crates_import_only_what_the_table_allows() {
    let graph = Graph::resolve();
    for row in TABLE {
        // A crate may turn on a feature of its own for its tests.
        let allowed: BTreeSet<&str> = row.may_import.iter().copied().chain([row.name]).collect();
        let extra: Vec<_> = graph.internal(row.name).difference(&allowed).copied().collect();
        assert!(extra.is_empty(), "{} must not import {extra:?}", row.name);
    }
}

#[test]
fn trees_are_free_of_what_the_table_bans() {
    let graph = Graph::resolve();
    for row in TABLE {
        let tree = graph.normal_tree(row.name);
        let network = if SYNCHRONOUS.contains(&row.name) { NETWORK } else { &[] };
        let found: Vec<_> = row.never.iter().chain(network).filter(|name| tree.contains(**name)).collect();
        assert!(found.is_empty(), "{found:?} must not be in the tree of {}", row.name);
    }
}

#[test]
fn only_raft_imports_openraft() {
    let graph = Graph::resolve();
    for row in TABLE {
        let imports = graph.member(row.name).any.iter().any(|id| graph.name(id).starts_with("openraft"));
        assert_eq!(imports, IMPORTS_OPENRAFT.contains(&row.name), "{}", row.name);
    }
}

#[test]
fn one_rustls_provider_is_in_the_tree() {
    let graph = Graph::resolve();
    let tree = graph.normal_tree("node");
    assert!(!tree.contains("aws-lc-rs"), "rustls has one provider, ring");
    assert!(!tree.contains("rustls") || tree.contains("ring"), "rustls has one provider, ring");
}
