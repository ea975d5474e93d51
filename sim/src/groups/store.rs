//! One store of the simulated cluster: what survives its process, and its process.

use super::machine::{ListMachine, StateDisk};
use super::oracle::Outcome;
use crate::clock::SimClock;
use crate::disk::LogDisk;
use crate::network::{self, RPC_PORT, host_of};
use crate::watch::Watch;
use bytes::{BufMut, BytesMut};
use model::{Clock, ReplicaId, ShardId, StoreId, WorkspaceId};
use parking_lot::Mutex;
use raft::transport::server;
use raft::{
    FatalHandler, Group, GroupSpec, Groups, Identity, LogEngine, MembershipError, ProposeError, RaftConfig, StateMachine, TonicTransport,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// Commands that may wait for a store.
const COMMANDS_WAITING_MAX: usize = 65_536;
/// How long a client waits for an answer.
const PATIENCE: Duration = Duration::from_secs(4);
/// How long a new replica may take to catch up.
const CATCH_UP: Duration = Duration::from_secs(10);
/// A new replica is made a voter when it lacks no more entries than this.
const LAG_MAX: u64 = 16;
/// How often a store lets idle groups sleep.
const HIBERNATION_ROUND: Duration = Duration::from_millis(300);

/// What a store's process is asked to do.
#[derive(Clone, Debug)]
pub enum Command {
    /// Found a group.
    Initialize(ShardId, BTreeMap<ReplicaId, StoreId>),
    /// Propose an operation of so many bytes, in the term known now or in any.
    Propose(u64, ShardId, usize, bool),
    /// Read, as of now.
    Read(u64, ShardId),
    /// Write a checkpoint.
    Checkpoint(ShardId),
    /// Hand the leadership over.
    Transfer(ShardId, ReplicaId),
    /// Replace members.
    Change(ShardId, Vec<(ReplicaId, StoreId)>, BTreeSet<ReplicaId>),
    /// Open a replica that was placed here.
    Open(ShardId),
    /// Remove a replica for good.
    Destroy(ShardId, ReplicaId),
}

/// What a store's process answers.
#[derive(Clone, Debug)]
pub enum Done {
    /// A proposal.
    Proposed(u64, ShardId, Outcome),
    /// A read; the error is no contradiction.
    Read(u64, ShardId, Result<(u64, u64), String>),
    /// A change of members; with those that are left.
    Changed(ShardId, Result<BTreeSet<ReplicaId>, String>),
    /// A replica is gone.
    Destroyed(ReplicaId),
}

/// A replica that this store holds.
#[derive(Clone, Debug)]
pub struct Placed {
    /// Its id.
    pub replica: ReplicaId,
    state: Arc<StateDisk>,
    is_new: bool,
}

impl Placed {
    /// A fresh one.
    #[must_use]
    pub fn new(replica: ReplicaId) -> Self {
        Self { replica, state: Arc::default(), is_new: true }
    }
}

/// A running process.
#[derive(Clone, Debug)]
pub struct Process {
    /// Which start of the store that is.
    pub boot: u64,
    /// Its groups.
    pub groups: Arc<Groups>,
    /// Takes commands.
    pub commands: mpsc::Sender<Command>,
}

/// A store.
#[derive(Debug)]
pub struct Store {
    /// Its id.
    pub id: StoreId,
    /// Its clock.
    pub clock: SimClock,
    /// Its log.
    pub log: Mutex<Arc<LogDisk>>,
    /// Its replicas, by group.
    pub placed: Mutex<BTreeMap<ShardId, Placed>>,
    /// States of its open replicas.
    pub machines: Mutex<BTreeMap<ShardId, Arc<ListMachine>>>,
    /// Its process while it runs.
    pub process: Mutex<Option<Process>>,
    /// Set when the process wants to be stopped: what is durable is no longer known.
    pub fatal: Arc<Mutex<Option<String>>>,
    /// Starts so far.
    pub boots: Mutex<u64>,
    /// Answers, of all stores.
    pub answers: Arc<Mutex<Vec<Done>>>,
    /// All stores.
    pub peers: Vec<StoreId>,
    /// Settings.
    pub config: RaftConfig,
    /// What everything is reported to.
    pub watch: Watch,
}

/// Lets idle groups sleep. No store is ever said to be silent: whoever sleeps under a leader that is gone must be woken by who asks it.
async fn hibernation(groups: Arc<Groups>) {
    loop {
        tokio::time::sleep(HIBERNATION_ROUND).await;
        groups.hibernate(BTreeSet::new()).await;
    }
}

impl Store {
    /// Starts the store's process from what its disks hold; runs until it is dropped.
    ///
    /// # Errors
    /// It cannot start.
    pub async fn run(self: Arc<Self>) -> turmoil::Result {
        let boot = {
            let mut boots = self.boots.lock();
            *boots += 1;
            *boots
        };
        let identity = Identity::new(self.id, boot, "sim", 1);
        identity.set_cluster(b"sim").map_err(|error| error.to_string())?;
        let fatal = Arc::clone(&self.fatal);
        let config = RaftConfig {
            fatal: FatalHandler::new(move |error| {
                fatal.lock().get_or_insert_with(|| error.to_string());
            }),
            ..self.config.clone()
        };
        let transport = TonicTransport::dialling(identity.clone(), network::dialer());
        let log: Arc<dyn LogEngine> = Arc::<LogDisk>::clone(&self.log.lock());
        let clock: Arc<dyn Clock> = Arc::new(self.clock.clone());
        let groups = Groups::open(config, identity, log, transport, clock)?;
        for peer in self.peers.iter().filter(|peer| **peer != self.id) {
            groups.set_peer(*peer, &format!("{}:{RPC_PORT}", host_of(*peer)));
        }
        let listener = network::listen(RPC_PORT).await?;
        let service = server(groups.inbox());
        tokio::spawn(tonic::transport::Server::builder().serve_with_incoming(service, network::incoming(listener)));
        tokio::spawn(hibernation(Arc::clone(&groups)));
        let shards: Vec<ShardId> = self.placed.lock().keys().copied().collect();
        for shard in shards {
            self.open(&groups, shard).await;
        }
        let (commands, mut queue) = mpsc::channel(COMMANDS_WAITING_MAX);
        *self.process.lock() = Some(Process { boot, groups: Arc::clone(&groups), commands });
        while let Some(command) = queue.recv().await {
            let (store, groups) = (Arc::clone(&self), Arc::clone(&groups));
            tokio::spawn(async move { store.execute(&groups, command).await });
        }
        Ok(())
    }

    async fn open(&self, groups: &Groups, shard: ShardId) {
        let Some(placed) = self.placed.lock().get(&shard).cloned() else { return };
        let machine = ListMachine::open(placed.replica, &placed.state, self.watch.clone());
        let spec = GroupSpec { shard, replica: placed.replica, workspace: WorkspaceId::new(WorkspaceId::DEFAULT), is_new: placed.is_new };
        let state: Arc<dyn StateMachine> = Arc::<ListMachine>::clone(&machine);
        if let Err(error) = groups.create(spec, state).await {
            if matches!(error, raft::GroupError::AlreadyOpen(_)) {
                return;
            }
            self.watch.fail(format!("store {}: replica {} does not open: {error}", self.id, placed.replica));
            return;
        }
        if let Some(placed) = self.placed.lock().get_mut(&shard) {
            placed.is_new = false;
        }
        self.machines.lock().insert(shard, machine);
    }

    fn answer(&self, done: Done) {
        self.answers.lock().push(done);
    }

    async fn execute(&self, groups: &Groups, command: Command) {
        match command {
            Command::Propose(op, shard, bytes, in_term) => {
                let outcome = match groups.group(shard) {
                    Some(group) => propose(&group, op, bytes, in_term).await,
                    None => Outcome::Refused("not open".to_owned()),
                };
                self.answer(Done::Proposed(op, shard, outcome));
            }
            Command::Read(read, shard) => {
                let outcome = self.read(groups, shard).await;
                self.answer(Done::Read(read, shard, outcome));
            }
            Command::Change(shard, add, remove) => {
                let outcome = match groups.group(shard) {
                    Some(group) => change(&group, &add, &remove).await,
                    None => Err("not open".to_owned()),
                };
                self.answer(Done::Changed(shard, outcome));
            }
            Command::Checkpoint(shard) => self.checkpoint(groups, shard).await,
            Command::Transfer(shard, to) => {
                if let Some(group) = groups.group(shard) {
                    let _ = group.transfer_leader(to).await;
                }
            }
            Command::Initialize(shard, members) => {
                if let Some(group) = groups.group(shard)
                    && let Err(error) = group.initialize(members).await
                {
                    self.watch.fail(format!("shard {shard} was not founded: {error}"));
                }
            }
            Command::Open(shard) => self.open(groups, shard).await,
            Command::Destroy(shard, replica) => {
                if groups.destroy(replica).await.is_ok() {
                    self.machines.lock().remove(&shard);
                    self.placed.lock().remove(&shard);
                    self.answer(Done::Destroyed(replica));
                }
            }
        }
    }

    /// A linear read at this replica: the leader confirms, then everything up to its answer is waited for.
    async fn read(&self, groups: &Groups, shard: ShardId) -> Result<(u64, u64), String> {
        let deadline = Instant::now() + PATIENCE;
        let group = groups.group(shard).ok_or("not open")?;
        let machine = self.machines.lock().get(&shard).cloned().ok_or("not open")?;
        let (_, leader) = group.status().leader.ok_or("no leader")?;
        let index = groups.barrier().confirm(shard, leader, deadline).await.map_err(|error| error.to_string())?;
        group.wait_applied(index, deadline).await.map_err(|error| error.to_string())?;
        Ok(machine.read())
    }

    async fn checkpoint(&self, groups: &Groups, shard: ShardId) {
        let Some(group) = groups.group(shard) else { return };
        let Some(machine) = self.machines.lock().get(&shard).cloned() else { return };
        let Some(frozen) = machine.freeze() else { return };
        let pause = self.log.lock().pause();
        tokio::time::sleep(pause).await;
        if let Some(point) = machine.sync(frozen) {
            let _ = group.checkpointed(point).await;
        }
    }
}

async fn propose(group: &Group, op: u64, bytes: usize, in_term: bool) -> Outcome {
    let mut payload = BytesMut::with_capacity(8 + bytes);
    payload.put_u64_le(op);
    payload.put_bytes(0, bytes);
    let term = in_term.then(|| group.status().term);
    let answer = tokio::time::timeout(PATIENCE, group.propose(payload.freeze(), term)).await;
    match answer {
        Err(_) => Outcome::Unknown("no answer in time".to_owned()),
        Ok(Ok(answer)) => match answer.first_chunk::<8>() {
            Some(position) => Outcome::Done(u64::from_le_bytes(*position)),
            None => Outcome::DoneSomewhere,
        },
        Ok(Err(error @ (ProposeError::NotLeader { .. } | ProposeError::Overloaded | ProposeError::TooLarge { .. }))) => {
            Outcome::Refused(error.to_string())
        }
        Ok(Err(error @ (ProposeError::Unknown | ProposeError::Stopped))) => Outcome::Unknown(error.to_string()),
    }
}

/// Adds replicas and removes others: learners first, then one joint change. Finishes a change that another leader left half done.
async fn change(group: &Group, add: &[(ReplicaId, StoreId)], remove: &BTreeSet<ReplicaId>) -> Result<BTreeSet<ReplicaId>, String> {
    let told = |error: MembershipError| error.to_string();
    let before = group.status();
    if !before.is_leader {
        return Err("not the leader".to_owned());
    }
    for (replica, store) in add.iter().filter(|(replica, _)| !before.voters.contains_key(replica)) {
        group.add_learner(*replica, *store).await.map_err(told)?;
    }
    let deadline = Instant::now() + CATCH_UP;
    for (replica, _) in add {
        while lag(group, *replica).is_none_or(|lag| lag > LAG_MAX) {
            if Instant::now() >= deadline {
                return Err("a new replica did not catch up".to_owned());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    let added = add.iter().map(|(replica, _)| *replica);
    let voters: BTreeSet<ReplicaId> = before.voters.keys().copied().chain(added).filter(|replica| !remove.contains(replica)).collect();
    group.change_membership(voters).await.map_err(told)?;
    let left: BTreeSet<ReplicaId> = group.status().learners.keys().copied().collect();
    if !left.is_empty() {
        group.remove_learners(left).await.map_err(told)?;
    }
    let after = group.status();
    if after.is_joint { Err("still joint".to_owned()) } else { Ok(after.voters.keys().chain(after.learners.keys()).copied().collect()) }
}

fn lag(group: &Group, replica: ReplicaId) -> Option<u64> {
    let status = group.status();
    let matched = status.matched.get(&replica).copied().flatten()?;
    Some(status.last_log_index?.saturating_sub(matched))
}
