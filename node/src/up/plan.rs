//! Which nodes `flotilla up` runs and with which arguments: decided without running anything.

use std::path::PathBuf;

use crate::config::settings::{self, Setting};
use crate::config::{Address, Config, ConfigError, Fact, FileArgs, Flags, Origin, Problem, UpArgs};

/// The host of a local cluster.
const HOST: &str = "127.0.0.1";

/// Settings that are different on each node or follow from their number.
const SET_BY_UP: &[&Setting] = &[
    &settings::NODE_NAME,
    &settings::WEB_LISTEN_ADDRESS,
    &settings::RPC_LISTEN_ADDRESS,
    &settings::RPC_ADVERTISE_ADDRESS,
    &settings::CLUSTER_INITIAL_NODES,
    &settings::CLUSTER_BOOTSTRAP,
];

/// Why a local cluster cannot be run as asked.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The nodes' configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The last node's RPC port does not exist.
    #[error("{nodes} nodes from port {http_port} need ports up to {last}, but 65535 is the last one")]
    Ports {
        /// Number of nodes.
        nodes: u16,
        /// First port.
        http_port: u16,
        /// Last port that would be needed.
        last: u32,
    },
}

/// One node of a local cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Node {
    /// `node-1`, `node-2` and so on.
    pub(super) name: String,
    /// Where it serves HTTP.
    pub(super) http: Address,
    /// Where it serves other nodes.
    pub(super) rpc: Address,
    /// Its own directory.
    pub(super) data: PathBuf,
    /// Arguments after the program's name, without those about the supervisor.
    pub(super) arguments: Vec<String>,
}

/// Lays out the nodes and checks the configuration that they would read, so that a mistake is told once and not by each node
/// again and again.
pub(super) fn plan(args: &UpArgs) -> Result<Vec<Node>, PlanError> {
    let last = u32::from(args.http_port) + 2 * u32::from(args.nodes) - 1;
    if last > u32::from(u16::MAX) {
        return Err(PlanError::Ports { nodes: args.nodes, http_port: args.http_port, last });
    }
    let nodes: Vec<(Node, Flags)> = (1..=args.nodes).map(|number| lay_out(args, number)).collect();
    let mut problems = flags_set_by_up(&args.flags);
    if let Some((_, flags)) = nodes.first()
        && let Err(error) = Config::load(flags, &args.file)
    {
        problems.extend(error.problems);
    }
    if problems.is_empty() { Ok(nodes.into_iter().map(|(node, _)| node).collect()) } else { Err(ConfigError { problems }.into()) }
}

fn flags_set_by_up(flags: &Flags) -> Vec<Problem> {
    let given = flags.iter().filter(|(setting, _)| SET_BY_UP.contains(setting));
    given
        .map(|(setting, _)| Problem { origin: Origin::Flag { name: setting.flag.to_owned() }, fact: Fact::SetByUp { key: setting.key } })
        .collect()
}

fn lay_out(args: &UpArgs, number: u16) -> (Node, Flags) {
    let http = |number: u16| Address::new(HOST, args.http_port + 2 * (number - 1));
    let rpc = |number: u16| Address::new(HOST, http(number).port() + 1);
    let name = format!("node-{number}");
    let data = PathBuf::from(args.flags.get(&settings::NODE_DATA).unwrap_or(settings::NODE_DATA.default)).join(&name);
    let initial_nodes: Vec<String> = (1..=args.nodes).map(|number| rpc(number).to_string()).collect();

    let mut flags = args.flags.clone();
    flags.set(&settings::NODE_DATA, data.display().to_string());
    flags.set(&settings::NODE_NAME, name.clone());
    flags.set(&settings::WEB_LISTEN_ADDRESS, http(number).to_string());
    flags.set(&settings::RPC_LISTEN_ADDRESS, rpc(number).to_string());
    flags.set(&settings::RPC_ADVERTISE_ADDRESS, rpc(number).to_string());
    flags.set(&settings::CLUSTER_INITIAL_NODES, initial_nodes.join(","));
    flags.set(&settings::CLUSTER_BOOTSTRAP, (args.nodes == 1).to_string());

    let mut arguments = vec!["serve".to_owned()];
    arguments.extend(flags.to_arguments());
    arguments.extend(file_argument(&args.file));
    (Node { name, http: http(number), rpc: rpc(number), data, arguments }, flags)
}

fn file_argument(file: &FileArgs) -> Option<String> {
    file.path.as_ref().map(|path| format!("--config.file={}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Cli, Command};
    use clap::Parser;

    fn up(arguments: &[&str]) -> UpArgs {
        let typed = ["flotilla", "up"].iter().chain(arguments);
        let Command::Up(args) = Cli::try_parse_from(typed).unwrap().command else { panic!("not up") };
        args
    }

    fn flags_of(node: &Node) -> Flags {
        let typed = std::iter::once("flotilla").chain(node.arguments.iter().map(String::as_str));
        let Command::Serve(serve) = Cli::try_parse_from(typed).unwrap().command else { panic!("not serve") };
        serve.flags
    }

    #[test]
    fn nodes_take_ports_in_pairs_and_know_each_other() {
        let nodes = plan(&up(&["--nodes", "3", "--data", "/d", "--http-port", "9000", "--limits.late-window=24h"])).unwrap();
        let told: Vec<_> = nodes.iter().map(flags_of).collect();
        for (i, (node, flags)) in nodes.iter().zip(&told).enumerate() {
            let port = 9000 + 2 * u16::try_from(i).unwrap();
            assert_eq!(node.name, format!("node-{}", i + 1));
            assert_eq!((node.http.port(), node.rpc.port()), (port, port + 1));
            assert_eq!(flags.get(&settings::NODE_DATA), Some(format!("/d/node-{}", i + 1).as_str()));
            assert_eq!(flags.get(&settings::NODE_NAME), Some(node.name.as_str()));
            assert_eq!(flags.get(&settings::WEB_LISTEN_ADDRESS), Some(format!("127.0.0.1:{port}").as_str()));
            assert_eq!(flags.get(&settings::RPC_LISTEN_ADDRESS), Some(format!("127.0.0.1:{}", port + 1).as_str()));
            assert_eq!(flags.get(&settings::RPC_ADVERTISE_ADDRESS), flags.get(&settings::RPC_LISTEN_ADDRESS));
            assert_eq!(flags.get(&settings::CLUSTER_INITIAL_NODES), Some("127.0.0.1:9001,127.0.0.1:9003,127.0.0.1:9005"));
            assert_eq!(flags.get(&settings::CLUSTER_BOOTSTRAP), Some("false"));
            assert_eq!(flags.get(&settings::LIMITS_LATE_WINDOW), Some("24h"));
        }
    }

    #[test]
    fn single_node_bootstraps() {
        let nodes = plan(&up(&["--nodes", "1"])).unwrap();
        let flags = flags_of(&nodes[0]);
        assert_eq!(flags.get(&settings::CLUSTER_BOOTSTRAP), Some("true"));
        assert_eq!(flags.get(&settings::CLUSTER_INITIAL_NODES), Some("127.0.0.1:9481"));
        assert_eq!(nodes[0].data, PathBuf::from("data/node-1"));
    }

    #[test]
    fn flags_that_up_sets_and_bad_ones_are_refused_together() {
        let error = plan(&up(&["--node-name", "x", "--bootstrap", "--query.timeout", "soon"])).unwrap_err();
        let PlanError::Config(error) = error else { panic!("{error}") };
        let text = error.to_string();
        assert_eq!(error.problems.len(), 3, "{text}");
        assert!(text.contains("flag --node-name: node.name is set by `flotilla up`"), "{text}");
        assert!(text.contains("flag --bootstrap: cluster.bootstrap is set by `flotilla up`"), "{text}");
        assert!(text.contains("flag --query.timeout: query.timeout: not a valid duration"), "{text}");
    }

    #[test]
    fn ports_past_the_last_are_refused() {
        assert!(matches!(plan(&up(&["--http-port", "65531"])), Err(PlanError::Ports { last: 65536, .. })));
        assert!(plan(&up(&["--http-port", "65530"])).is_ok());
    }
}
