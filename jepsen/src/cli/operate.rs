//! Commands that operate a healthy cluster as its operator or its users might: restarts, overload, many idle workspaces.

use super::{binary_inside, interrupted, parse_time, say};
use crate::cluster::Setup;
use crate::idle;
use crate::overload;
use crate::roll::{self, scratch};
use crate::run::RunError;
use clap::Args;
use std::path::PathBuf;
use std::time::Duration;

/// What these commands share.
#[derive(Debug, Args)]
pub struct ClusterArgs {
    /// How many nodes.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=9))]
    pub nodes: u8,
    /// The node's binary; built from this workspace when not given.
    #[arg(long)]
    pub binary: Option<PathBuf>,
    /// A flag for every node, as `--flag=--cluster.heartbeat=1s`; may be given several times.
    #[arg(long, allow_hyphen_values = true)]
    pub flag: Vec<String>,
    /// Fixes the data.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Where data and logs go; a temporary directory, removed after success, when not given.
    #[arg(long)]
    pub out: Option<PathBuf>,
}

/// Flags of `jepsen rolling`.
#[derive(Debug, Args)]
pub struct RollingArgs {
    /// The cluster.
    #[command(flatten)]
    pub cluster: ClusterArgs,
    /// Another version of the binary: each round of restarts puts it in place of the other.
    #[arg(long)]
    pub new_binary: Option<PathBuf>,
    /// How long load and rounds of restarts go on; the last round is finished.
    #[arg(long, default_value = "60s", value_parser = parse_time)]
    pub time: Duration,
    /// Samples written a second.
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u64).range(50..=1_000_000))]
    pub rate: u64,
}

/// Flags of `jepsen overload`.
#[derive(Debug, Args)]
pub struct OverloadArgs {
    /// The cluster.
    #[command(flatten)]
    pub cluster: ClusterArgs,
    /// How long capacity, overload and recovery are each measured.
    #[arg(long, default_value = "20s", value_parser = parse_time)]
    pub time: Duration,
}

/// Flags of `jepsen idle`.
#[derive(Debug, Args)]
pub struct IdleArgs {
    /// The cluster.
    #[command(flatten)]
    pub cluster: ClusterArgs,
    /// How many workspaces.
    #[arg(long, default_value_t = 256)]
    pub workspaces: u32,
    /// How long idleness is measured.
    #[arg(long, default_value = "60s", value_parser = parse_time)]
    pub time: Duration,
}

/// Restarts under load.
pub(super) async fn rolling(args: RollingArgs, is_inside: bool) -> Result<u8, RunError> {
    let new_binary = args.new_binary.map(|path| path.canonicalize().map_err(|source| RunError::File { path, source })).transpose()?;
    let (setup, is_scratch) = setup(args.cluster, "rolling", is_inside).await?;
    let plan = roll::Plan { setup: Setup { new_binary, ..setup }, time: args.time, rate: args.rate };
    conclude(roll::roll(&plan), &plan.setup, is_scratch).await
}

/// Three times what the cluster can take.
pub(super) async fn overloaded(args: OverloadArgs, is_inside: bool) -> Result<u8, RunError> {
    let (setup, is_scratch) = setup(args.cluster, "overload", is_inside).await?;
    let plan = overload::Plan { setup, time: args.time };
    conclude(overload::overload(&plan), &plan.setup, is_scratch).await
}

/// Many idle workspaces.
pub(super) async fn idle(args: IdleArgs, is_inside: bool) -> Result<u8, RunError> {
    let (setup, is_scratch) = setup(args.cluster, "idle", is_inside).await?;
    let plan = idle::Plan { setup, workspaces: args.workspaces, time: args.time };
    let measured = async { idle::idle(&plan).await.map(|text| (text, true)) };
    conclude(measured, &plan.setup, is_scratch).await
}

/// What the nodes stand on, inside the sandbox where there is one, and whether it may be removed.
async fn setup(args: ClusterArgs, name: &str, is_inside: bool) -> Result<(Setup, bool), RunError> {
    let (binary, _machine) = binary_inside(args.binary, is_inside).await?;
    let is_scratch = args.out.is_none();
    let out = args.out.unwrap_or_else(|| scratch(name));
    std::fs::create_dir_all(&out).map_err(|source| RunError::File { path: out.clone(), source })?;
    let out = out.canonicalize().map_err(|source| RunError::File { path: out, source })?;
    Ok((Setup { nodes: usize::from(args.nodes), binary, out, seed: args.seed, flags: args.flag, ..Setup::default() }, is_scratch))
}

/// Prints the report; the last line is the verdict. What is left of a success that nobody asked to keep is removed.
async fn conclude(work: impl Future<Output = Result<(String, bool), RunError>>, setup: &Setup, is_scratch: bool) -> Result<u8, RunError> {
    let done = tokio::select! {
        done = work => done,
        signal = interrupted() => Err(signal),
    };
    let (text, passed) = done.inspect_err(|_| say(&format!("logs are in {}", setup.out.display())))?;
    if passed && is_scratch {
        let _left = std::fs::remove_dir_all(&setup.out);
    } else {
        say(&format!("logs and data are in {}", setup.out.display()));
    }
    say(text.trim_end());
    Ok(u8::from(!passed))
}
