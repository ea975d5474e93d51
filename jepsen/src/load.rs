//! What runs while the nemesis works, and what all of it shares.

mod read;
mod write;

pub use write::{RETRY_BUDGET, canary, canary_step};

use crate::check::Findings;
use crate::client::Client;
use crate::erase::{self, Erasures};
use crate::history::History;
use crate::ledger::Ledger;
use crate::meta::{self, MetaLog};
use crate::watch::{self, Watch};
use crate::workload::Workload;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use tokio::sync::watch::Receiver;
use tokio::task::JoinSet;
use tokio::time::Instant;
use write::Writer;

/// Readers that query in a loop.
pub const READERS: u64 = 3;

/// Counters of a run.
#[derive(Debug, Default)]
pub struct Stats {
    /// Write requests answered 2xx, duplicates included.
    pub writes_ok: AtomicU64,
    /// Attempts whose outcome nobody knows.
    pub writes_unknown: AtomicU64,
    /// Attempts that provably applied nothing.
    pub writes_failed: AtomicU64,
    /// Requests never acknowledged within their budget.
    pub writes_given_up: AtomicU64,
    /// Requests sent again, on purpose, after or beside their first attempt.
    pub duplicates: AtomicU64,
    /// Complete strong reads that were checked.
    pub reads_ok: AtomicU64,
    /// Reads that came with warnings.
    pub reads_flagged: AtomicU64,
    /// Reads answered with an error, or not.
    pub reads_failed: AtomicU64,
    /// Answers after the last recovery that were errors and had to be asked for again.
    pub asked_again: AtomicU64,
    /// Points that reads during the run returned.
    pub points_read: AtomicU64,
}

/// Workloads beside the samples, which are always written and read.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Beside {
    /// Workspaces are created, read and deleted.
    pub meta: bool,
    /// Writers read what was acknowledged at once, through another node.
    pub sessions: bool,
    /// Samples are deleted, and some of them written anew.
    pub deletes: bool,
}

impl std::str::FromStr for Beside {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.split(',').try_fold(Self::default(), |beside, word| match word.trim() {
            "samples" => Ok(beside),
            "meta" => Ok(Self { meta: true, ..beside }),
            "sessions" => Ok(Self { sessions: true, ..beside }),
            "deletes" => Ok(Self { deletes: true, ..beside }),
            "all" => Ok(Self { meta: true, sessions: true, deletes: true }),
            other => Err(format!("{other:?} is none of samples, meta, sessions, deletes, all")),
        })
    }
}

impl std::fmt::Display for Beside {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let more = [(self.meta, ",meta"), (self.sessions, ",sessions"), (self.deletes, ",deletes")];
        f.write_str(&more.iter().filter(|(on, _)| *on).fold("samples".to_string(), |text, (_, name)| text + name))
    }
}

/// What all tasks of a run share.
#[derive(Debug)]
pub struct Shared {
    /// What is written.
    pub workload: Workload,
    /// What was issued and acknowledged.
    pub ledger: Ledger,
    /// The way to the nodes.
    pub client: Client,
    /// Every operation.
    pub history: History,
    /// Broken promises.
    pub findings: Findings,
    /// Counters.
    pub stats: Stats,
    /// What runs beside the writers and readers.
    pub beside: Beside,
    /// Who led what.
    pub watch: Watch,
    /// What was asked of workspaces.
    pub meta: MetaLog,
    /// What was deleted.
    pub erasures: Erasures,
    /// The canary's next step.
    canary_next: AtomicU64,
}

impl Shared {
    /// Puts the parts together.
    #[must_use]
    pub fn new(workload: Workload, client: Client, history: History) -> Self {
        let ledger = Ledger::new(workload.lanes.len());
        Self {
            workload,
            ledger,
            client,
            history,
            findings: Findings::default(),
            stats: Stats::default(),
            beside: Beside::default(),
            watch: Watch::default(),
            meta: MetaLog::default(),
            erasures: Erasures::default(),
            canary_next: AtomicU64::new(0),
        }
    }

    /// Samples acknowledged so far.
    #[must_use]
    pub fn acked(&self) -> u64 {
        (0..).zip(&self.workload.lanes).map(|(lane, series)| self.ledger.acked_steps(lane) * u64::from(*series)).sum()
    }
}

/// Starts all writers and readers. They begin nothing new once `stop` is true; the set ends when the last request has its outcome.
#[must_use]
pub fn start(shared: &Arc<Shared>, stop: &Receiver<bool>) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    let began = Instant::now();
    for lane in 0..shared.workload.canary() {
        tasks.spawn(Writer { shared: Arc::clone(shared), lane, began }.run(stop.clone()));
    }
    for reader in 0..READERS {
        tasks.spawn(read::read_loop(Arc::clone(shared), reader, stop.clone()));
    }
    watch::start(&mut tasks, shared, stop);
    if shared.beside.meta {
        meta::start(&mut tasks, shared, stop);
    }
    if shared.beside.deletes {
        erase::start(&mut tasks, shared, stop);
    }
    tasks
}
