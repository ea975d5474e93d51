//! One store of whole nodes: what survives its process, its process, and work done inside it.

use super::host::SimHost;
use crate::clock::SimClock;
use crate::disk::LogDisk;
use crate::network::{HTTP_PORT, RPC_PORT, host_of};
use crate::plan::Plan;
use crate::random::Random;
use crate::watch::Watch;
use clap::{Args as _, FromArgMatches as _};
use model::{ReplicaId, ShardId, StoreId};
use node::config::{Config, FileArgs, Flags};
use node::node::Node;
use node::shard::keeper;
use parking_lot::Mutex;
use raft::GroupStatus;
use std::path::Path;
use std::sync::Arc;
use tokio::sync::mpsc;

/// Replica ids of the meta group's founders are below this.
const FIRST_GIVEN_REPLICA: u64 = 1024;
/// Work that may wait for a node.
const INSIDE_WAITING_MAX: usize = 16;

/// Work in a node's own process.
#[derive(Clone, Copy, Debug)]
pub(super) enum Inside {
    Checkpoint(ShardId),
    Transfer(ShardId, ReplicaId),
}

#[derive(Debug)]
struct Running {
    node: Arc<Node>,
    boot: u64,
    inside: mpsc::Sender<Inside>,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Store {
    pub(super) clock: SimClock,
    log: Mutex<Arc<LogDisk>>,
    running: Arc<Mutex<Option<Running>>>,
    fatal: Arc<Mutex<Option<String>>>,
    boots: Mutex<u64>,
    config: Config,
}

impl Store {
    /// One with empty disks; its database of chunks is below `directory`.
    pub(super) fn new(id: StoreId, plan: &Plan, watch: Watch, directory: &Path) -> Result<Self, String> {
        let running = Arc::<Mutex<Option<Running>>>::default();
        let pace = Random::new(plan.seed, &format!("disk {id}"));
        let log = LogDisk::new(id, watch, pace, plan.sync_ms_max).with_groups(group_of(Arc::clone(&running)));
        Ok(Self {
            clock: SimClock::default(),
            log: Mutex::new(log),
            running,
            fatal: Arc::default(),
            boots: Mutex::default(),
            config: config(&directory.join(host_of(id)), id, plan)?,
        })
    }

    /// Starts the node from what the disks hold; runs until it is dropped.
    ///
    /// # Errors
    /// It cannot start, or ended by itself.
    pub(super) async fn run(self: Arc<Self>) -> turmoil::Result {
        let boot = {
            let mut boots = self.boots.lock();
            *boots += 1;
            *boots
        };
        let host = SimHost { clock: self.clock.clone(), log: self.log(), fatal: Arc::clone(&self.fatal) };
        let running = Arc::clone(&self.running);
        let ready = move |node: Arc<Node>| {
            let (inside, mut queue) = mpsc::channel(INSIDE_WAITING_MAX);
            let worker = Arc::clone(&node);
            tokio::spawn(async move {
                while let Some(work) = queue.recv().await {
                    do_inside(&worker, work).await;
                }
            });
            *running.lock() = Some(Running { node, boot, inside });
        };
        Box::pin(node::app::run_on(self.config.clone(), &host, ready)).await?;
        Ok(())
    }

    /// Its log's disk.
    pub(super) fn log(&self) -> Arc<LogDisk> {
        Arc::clone(&self.log.lock())
    }

    /// Whether the process wants to be stopped: it no longer knows what is durable.
    pub(super) fn is_fatal(&self) -> bool {
        self.fatal.lock().is_some()
    }

    /// Its node, while it runs and is ready.
    pub(super) fn node(&self) -> Option<Arc<Node>> {
        self.running.lock().as_ref().map(|running| Arc::clone(&running.node))
    }

    /// The process goes, before its power is cut.
    pub(super) fn forget_process(&self) {
        drop(self.running.lock().take());
    }

    /// What is left after its power was cut.
    pub(super) fn after_power_cut(&self) {
        let after = self.log.lock().crash();
        *self.log.lock() = after;
        *self.fatal.lock() = None;
    }

    /// Which start of the store that is, and what its groups tell of themselves.
    pub(super) fn statuses(&self) -> Vec<(u64, GroupStatus)> {
        let running = self.running.lock();
        let of = |running: &Running| running.node.groups.list().iter().map(|group| (running.boot, group.status())).collect();
        running.as_ref().map(of).unwrap_or_default()
    }

    /// Has the node do something; false if it does not run or has too much to do.
    pub(super) fn inside(&self, work: Inside) -> bool {
        self.running.lock().as_ref().is_some_and(|running| running.inside.try_send(work).is_ok())
    }
}

async fn do_inside(node: &Node, work: Inside) {
    match work {
        Inside::Checkpoint(shard) if shard == ShardId::META => {
            let machine = node.meta_machine.lock().clone();
            if let Some(machine) = machine {
                keeper::checkpoint_meta(node, &machine).await;
            }
        }
        Inside::Checkpoint(shard) => {
            if let Some(local) = node.shards.get(shard) {
                keeper::checkpoint(&local).await;
            }
        }
        Inside::Transfer(shard, to) => {
            if let Some(group) = node.groups.group(shard) {
                let _ = group.transfer_leader(to).await;
            }
        }
    }
}

fn config(data: &Path, id: StoreId, plan: &Plan) -> Result<Config, String> {
    let founders: Vec<String> = (1..=plan.stores).map(|store| format!("{}:{RPC_PORT}", host_of(StoreId(store)))).collect();
    let arguments = [
        "sim".to_owned(),
        format!("--data={}", data.display()),
        format!("--node-name={}", host_of(id)),
        format!("--web.listen-address=0.0.0.0:{HTTP_PORT}"),
        format!("--rpc.listen-address=0.0.0.0:{RPC_PORT}"),
        format!("--rpc.advertise-address={}:{RPC_PORT}", host_of(id)),
        format!("--initial-nodes={}", founders.join(",")),
        format!("--cluster.hibernate-after={}", if plan.hibernate_after.is_some() { "1s" } else { "0" }),
        format!("--cluster.scale-lead={}ms", plan.scale_lead.as_millis()),
        "--storage.memory=64MiB".to_owned(),
        "--storage.min-free=0".to_owned(),
        "--storage.scrub-period=0".to_owned(),
        "--self-metrics.interval=0".to_owned(),
        "--query.max-concurrency=20".to_owned(),
        "--web.enable-admin-api=true".to_owned(),
    ];
    let matches = Flags::augment_args(clap::Command::new("sim")).try_get_matches_from(arguments).map_err(|error| error.to_string())?;
    let flags = Flags::from_arg_matches(&matches).map_err(|error| error.to_string())?;
    Config::load(&flags, &FileArgs { path: None, check: false }).map(|(config, _)| config).map_err(|error| error.to_string())
}

/// The group of a replica that a store writes for.
fn group_of(running: Arc<Mutex<Option<Running>>>) -> impl Fn(ReplicaId) -> ShardId + Send + Sync {
    move |replica| {
        if replica.0 < FIRST_GIVEN_REPLICA {
            return ShardId::META;
        }
        let running = running.lock();
        let groups = running.iter().flat_map(|running| running.node.groups.list());
        groups.into_iter().find(|group| group.replica() == replica).map_or(ShardId(u64::MAX), |group| group.shard())
    }
}
