//! What can be typed after `flotilla`.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use super::Flags;

/// A Prometheus-compatible metrics service that loses nothing.
#[derive(Debug, Parser)]
#[command(name = "flotilla", version, about)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Subcommands of `flotilla`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run one node.
    Serve(ServeArgs),
    /// Run a whole local cluster as child processes; one Ctrl-C stops it.
    Up(UpArgs),
    /// Look at a cluster and ask changes of it.
    Ctl(CtlArgs),
    /// Print the version and exit.
    Version,
    /// Exit 0 if a URL answers 200 within two seconds, else 1. Meant for container health checks.
    Health(HealthArgs),
}

/// Arguments of `flotilla serve`.
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// Settings given as flags.
    #[command(flatten)]
    pub flags: Flags,
    /// Where other layers are read from.
    #[command(flatten)]
    pub file: FileArgs,
    /// Process id of the `flotilla up` that started this node; the node dies with it.
    #[arg(long, value_name = "PID", hide = true)]
    pub supervisor_pid: Option<i32>,
}

/// Arguments of `flotilla up`.
#[derive(Debug, Args)]
pub struct UpArgs {
    /// Number of nodes.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=NODES_MAX))]
    pub nodes: u16,
    /// HTTP port of the first node. Node i takes this plus 2(i-1), and the port above for RPC.
    #[arg(long, value_name = "PORT", default_value_t = 9480, value_parser = clap::value_parser!(u16).range(1..))]
    pub http_port: u16,
    /// Settings that every node gets; `--data` is the directory above the nodes' own.
    #[command(flatten)]
    pub flags: Flags,
    /// Where other layers are read from.
    #[command(flatten)]
    pub file: FileArgs,
}

/// Most nodes of one local cluster: beyond it they only fight for one machine.
const NODES_MAX: i64 = 15;

/// Arguments about the configuration itself.
#[derive(Debug, Clone, Default, Args)]
pub struct FileArgs {
    /// YAML file with settings; environment and flags win over it.
    #[arg(id = "config_file", long = "config.file", value_name = "FILE")]
    pub path: Option<PathBuf>,
    /// Check the configuration, print what it comes to, and exit.
    #[arg(id = "config_check", long = "config.check")]
    pub check: bool,
}

/// Arguments of `flotilla ctl`.
#[derive(Debug, Args)]
pub struct CtlArgs {
    /// Any node of the cluster.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:9480", env = "FLOTILLA_URL", global = true)]
    pub url: String,
    /// Access key and secret, where access is controlled.
    #[arg(long, value_name = "KEY:SECRET", env = "FLOTILLA_USER", hide_env_values = true, global = true)]
    pub user: Option<String>,
    /// An API token instead.
    #[arg(long, value_name = "TOKEN", env = "FLOTILLA_TOKEN", hide_env_values = true, global = true, conflicts_with = "user")]
    pub token: Option<String>,
    /// Print the answer as JSON.
    #[arg(long, global = true)]
    pub json: bool,
    /// What to do.
    #[command(subcommand)]
    pub command: CtlCommand,
}

/// Subcommands of `flotilla ctl`. Nodes are named by their id or their name.
#[derive(Debug, Subcommand)]
pub enum CtlCommand {
    /// Show whether all is well.
    Status,
    /// List the nodes.
    Nodes,
    /// List the shards, the meta group first.
    Shards,
    /// List the changes of replicas under way.
    Operators,
    /// Have a node emptied: leaders go first, then replicas.
    Drain {
        /// Which node.
        node: String,
        /// Take it back: the node may hold replicas again.
        #[arg(long)]
        cancel: bool,
    },
    /// Forget a node that holds no replica any more.
    Remove {
        /// Which node.
        node: String,
    },
    /// Move a replica of a shard to another node.
    Move {
        /// Which shard; 0 is the meta group.
        shard: u64,
        /// The node that has it.
        #[arg(long)]
        from: String,
        /// The node that gets it.
        #[arg(long)]
        to: String,
    },
    /// Make a node the preferred leader of a shard.
    Leader {
        /// Which shard.
        shard: u64,
        /// A node that holds a replica of it.
        #[arg(long)]
        to: String,
    },
    /// List the workspaces and their generations of shards.
    Workspaces,
    /// Give a workspace another number of shards, or have that undone while it is pending.
    Scale {
        /// Which workspace.
        workspace: String,
        /// How many shards.
        #[arg(long, required_unless_present = "cancel")]
        shards: Option<u32>,
        /// Undo the change that is pending.
        #[arg(long, conflicts_with = "shards")]
        cancel: bool,
    },
    /// Go on with one stopped node's disk after a majority was lost for good. Works on this machine, not on --url.
    Recover {
        /// The node's data directory.
        #[arg(long, value_name = "DIR")]
        data: PathBuf,
        /// The key file, if the node encrypts what it stores.
        #[arg(long = "storage.encryption-key-file", value_name = "PATH")]
        key_file: Option<PathBuf>,
        /// Do it: what only the other nodes have is lost. Without it, only show how far each log reaches.
        #[arg(long)]
        accept_loss: bool,
    },
    /// Have a change of replicas undone.
    Cancel {
        /// Of which shard.
        shard: u64,
    },
}

/// Arguments of `flotilla health`.
#[derive(Debug, Args)]
pub struct HealthArgs {
    /// URL to ask, for example `http://127.0.0.1:9480/-/ready`.
    #[arg(default_value = "http://127.0.0.1:9480/-/ready")]
    pub url: String,
}
