//! Read barriers, coalesced: one request a leader's node every two milliseconds, shared by all callers that came before it was sent.

use crate::error::{BarrierError, TransportError};
use crate::groups::Registry;
use crate::transport::{Identity, Transport};
use model::{ReplicaId, ShardId, StoreId};
use parking_lot::Mutex;
use proto::raft::{Confirmation, ReadBarrierRequest, confirmation};
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// How long a request gathers callers.
const WINDOW: Duration = Duration::from_millis(2);

type Outcome = Result<u64, BarrierError>;

/// Callers that wait for the next request to one store.
#[derive(Default)]
struct Gathering {
    waiters: BTreeMap<ShardId, Vec<oneshot::Sender<Outcome>>>,
    /// The most patient caller's.
    deadline: Option<Instant>,
}

struct Inner {
    identity: Identity,
    registry: Arc<Registry>,
    transport: Arc<dyn Transport>,
    gathering: Mutex<HashMap<StoreId, Gathering>>,
}

/// Confirms leaders for readers; cheap to clone.
#[derive(Clone)]
pub struct Barrier {
    inner: Arc<Inner>,
}

impl fmt::Debug for Barrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Barrier")
    }
}

impl Barrier {
    pub(crate) fn new(identity: Identity, registry: Arc<Registry>, transport: Arc<dyn Transport>) -> Self {
        Self { inner: Arc::new(Inner { identity, registry, transport, gathering: Mutex::default() }) }
    }

    /// Asks the leader of `shard`, which is on `leader_store`, to confirm itself with a quorum. Returns the log index up to which a
    /// replica must have applied to answer a read that began before this call.
    ///
    /// # Errors
    /// See [`BarrierError`]; [`BarrierError::NotLeader`] names whom to ask instead, if known.
    pub async fn confirm(&self, shard: ShardId, leader_store: StoreId, deadline: Instant) -> Outcome {
        let outcome = if leader_store == self.inner.identity.store() {
            let group = self.inner.registry.shard(shard).ok_or(BarrierError::NotOpen(shard))?;
            tokio::time::timeout_at(deadline, async move { group.read_barrier().await }).await
        } else {
            let answer = self.join(shard, leader_store, deadline);
            tokio::time::timeout_at(deadline, async move { answer.await.unwrap_or(Err(BarrierError::Stopped)) }).await
        };
        outcome.unwrap_or(Err(BarrierError::Timeout))
    }

    /// Joins the request that is gathering, or starts one.
    fn join(&self, shard: ShardId, store: StoreId, deadline: Instant) -> oneshot::Receiver<Outcome> {
        let (sender, receiver) = oneshot::channel();
        let mut gathering = self.inner.gathering.lock();
        let starts = !gathering.contains_key(&store);
        let next = gathering.entry(store).or_default();
        next.waiters.entry(shard).or_default().push(sender);
        next.deadline = next.deadline.max(Some(deadline));
        drop(gathering);
        if starts {
            let inner = Arc::clone(&self.inner);
            tokio::spawn(async move {
                tokio::time::sleep(WINDOW).await;
                inner.ask(store).await;
            });
        }
        receiver
    }
}

impl Inner {
    async fn ask(&self, store: StoreId) {
        // Taken before it is sent: who comes later gets a later confirmation.
        let Some(Gathering { waiters, deadline }) = self.gathering.lock().remove(&store) else { return };
        let patience = deadline.map_or(Duration::ZERO, |deadline| deadline.saturating_duration_since(Instant::now()));
        let request = ReadBarrierRequest {
            hello: Some(self.identity.hello()),
            shards: waiters.keys().map(|shard| shard.0).collect(),
            deadline_ms: u32::try_from(patience.as_millis()).unwrap_or(u32::MAX),
        };
        match self.transport.read_barrier(store, request, patience).await {
            Ok(answer) => {
                let mut confirmations = answer.confirmations.into_iter();
                for (shard, waiting) in waiters {
                    tell(waiting, &outcome(shard, store, confirmations.next()));
                }
            }
            Err(error) => {
                let outcome = match &error {
                    TransportError::Timeout(_) => Err(BarrierError::Timeout),
                    _ => Err(BarrierError::Unreachable { store, reason: error.to_string() }),
                };
                for waiting in waiters.into_values() {
                    tell(waiting, &outcome);
                }
            }
        }
    }
}

fn tell(waiting: Vec<oneshot::Sender<Outcome>>, outcome: &Outcome) {
    for waiter in waiting {
        // A caller whose deadline passed is gone.
        let _ = waiter.send(outcome.clone());
    }
}

fn outcome(shard: ShardId, store: StoreId, confirmation: Option<Confirmation>) -> Outcome {
    match confirmation.and_then(|confirmation| confirmation.result) {
        Some(confirmation::Result::Index(index)) => Ok(index),
        Some(confirmation::Result::NotLeader(other)) => {
            let leader = (other.replica_id != 0).then_some((ReplicaId(other.replica_id), StoreId(other.store_id)));
            Err(BarrierError::NotLeader { leader })
        }
        Some(confirmation::Result::NoQuorum(_)) => Err(BarrierError::NoQuorum),
        Some(confirmation::Result::NotOpen(_)) => Err(BarrierError::NotOpen(shard)),
        None => Err(BarrierError::Unreachable { store, reason: "no confirmation for this group".to_owned() }),
    }
}
