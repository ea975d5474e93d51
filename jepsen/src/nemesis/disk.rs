//! Faults of disks.

use super::{Attempt, Fault, Heal, Injected, Lasts, Nemesis, NotInjected, Target};
use crate::dice::Dice;
use crate::disk::Disk;
use crate::tool::ToolError;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;

/// Free space of a disk that is fuller than a node accepts, bytes.
const NEARLY_FULL: u64 = 64 << 20;
/// An old copy of a disk is at least so much older than what it replaces.
const AGE: Duration = Duration::from_secs(6);
/// How long a node that came back with an old disk may take to see that, or to serve.
const OLD_DISK_MAX: Duration = Duration::from_secs(20);

impl Nemesis {
    pub(super) async fn inject_disk(self: &Arc<Self>, fault: Fault, dice: &mut Dice, target: &Target) -> Attempt {
        if self.cluster.disk(target.node).is_none() {
            return Err(NotInjected::Never("the nodes have no disks of their own".to_string()));
        }
        let node = target.node;
        match fault {
            Fault::PowerAll => self.power_all(dice).await,
            Fault::DiskOld | Fault::DiskWiped => self.lose_disk(fault, node).await,
            Fault::DiskFull | Fault::DiskNoSpace => self.fill_disks(fault, vec![node]).await,
            Fault::DiskFullAll => self.fill_disks(fault, (0..self.cluster.specs().len()).collect()).await,
            _ => {
                let taken = self.take(node).await?;
                self.break_disk(fault, node, dice, taken).await
            }
        }
    }

    /// Takes the free space away, of one node or of all, while nothing else happens; what that must show is waited for.
    async fn fill_disks(self: &Arc<Self>, fault: Fault, nodes: Vec<usize>) -> Attempt {
        if self.active.load(Ordering::SeqCst) > 0 {
            return Err(NotInjected::NotNow);
        }
        let fragile = self.take_fragile().await?;
        let mut taken = Vec::new();
        for node in &nodes {
            taken.push(self.take(*node).await?);
        }
        let leave = if fault == Fault::DiskNoSpace { 0 } else { NEARLY_FULL };
        for node in &nodes {
            self.cluster.excuse(*node, true);
            self.on_disk(*node, move |disk| disk.fill(leave)).await?;
        }
        let (nemesis, hit) = (Arc::clone(self), nodes.clone());
        let heal: Heal = Box::pin(async move {
            let _held = (fragile, taken);
            nemesis.see_full(fault, &nodes).await;
            let mut mended = Ok(());
            for node in nodes {
                mended = mended.and(nemesis.on_disk(node, Disk::empty).await.map_err(|e| e.to_string()));
                nemesis.cluster.reap(&nemesis.shared.findings).await;
                nemesis.cluster.excuse(node, false);
                nemesis.start(node).await;
            }
            mended
        });
        Ok(Injected { hit, detail: json!({ "leave": leave }), lasts: Lasts::Cut, heal })
    }

    /// Faults after which the node goes on with what is on its disk.
    async fn break_disk(self: &Arc<Self>, fault: Fault, node: usize, dice: &mut Dice, taken: OwnedSemaphorePermit) -> Attempt {
        let kill_first = fault == Fault::PowerOne && dice.percent(50);
        let ends_before = self.cluster.excused_ends(node);
        self.cluster.excuse(node, true);
        if kill_first {
            self.cluster.kill(node).await;
        }
        let broken = match fault {
            Fault::DiskReadOnly => self.on_disk(node, Disk::turn_read_only).await,
            _ => self.on_disk(node, Disk::cut_power).await,
        };
        broken?;
        if fault == Fault::PowerOne {
            self.cluster.kill(node).await;
        }
        let nemesis = Arc::clone(self);
        let heal: Heal = Box::pin(async move {
            let _taken = taken;
            if fault != Fault::PowerOne {
                nemesis.see_stopped(fault, node, ends_before).await;
            }
            nemesis.cluster.kill(node).await;
            let mended = nemesis.on_disk(node, Disk::remount).await;
            nemesis.cluster.excuse(node, false);
            nemesis.start(node).await;
            mended.map_err(|e| e.to_string())
        });
        let lasts = if fault == Fault::PowerOne { Lasts::Down } else { Lasts::Cut };
        Ok(Injected { hit: vec![node], detail: json!({ "kill_first": kill_first }), lasts, heal })
    }

    /// The power of the whole cluster fails: all disks at one moment, under running or just killed nodes.
    async fn power_all(self: &Arc<Self>, dice: &mut Dice) -> Attempt {
        let nodes: Vec<usize> = (0..self.cluster.specs().len()).collect();
        if !self.all_running(&nodes).await {
            return Err(NotInjected::NotNow);
        }
        let mut taken = Vec::new();
        for node in &nodes {
            taken.push(self.take(*node).await?);
        }
        let kill_first = dice.percent(50);
        nodes.iter().for_each(|node| self.cluster.excuse(*node, true));
        if kill_first {
            self.cluster.kill_together(&nodes).await;
        }
        let mut cuts = tokio::task::JoinSet::new();
        for node in nodes.clone() {
            let nemesis = Arc::clone(self);
            cuts.spawn(async move { nemesis.on_disk(node, Disk::cut_power).await });
        }
        let cut: Result<Vec<()>, ToolError> = cuts.join_all().await.into_iter().collect();
        self.cluster.kill_together(&nodes).await;
        cut?;
        let (nemesis, hit) = (Arc::clone(self), nodes.clone());
        let heal: Heal = Box::pin(async move {
            let _taken = taken;
            let mut mended = Ok(());
            for node in nodes {
                mended = mended.and(nemesis.on_disk(node, Disk::remount).await.map_err(|e| e.to_string()));
                nemesis.cluster.excuse(node, false);
                nemesis.start(node).await;
            }
            mended
        });
        Ok(Injected { hit, detail: json!({ "kill_first": kill_first }), lasts: Lasts::Down, heal })
    }

    /// One node comes back with an old disk, which must never count, or with an empty one.
    async fn lose_disk(self: &Arc<Self>, fault: Fault, node: usize) -> Attempt {
        let victim = self.seize(node).await?;
        let photo = self.cluster.setup().out.join(format!("node-{}.old.img", node + 1));
        if fault == Fault::DiskOld {
            let to = photo.clone();
            self.on_disk(node, move |disk| disk.photograph(&to)).await?;
        }
        let nemesis = Arc::clone(self);
        let heal: Heal = Box::pin(async move {
            if fault == Fault::DiskOld {
                tokio::time::sleep(AGE).await;
            }
            nemesis.disturb(node, "killed");
            nemesis.cluster.kill(node).await;
            let mut swapped = match fault {
                Fault::DiskOld => nemesis.on_disk(node, move |disk| disk.restore(&photo)).await,
                _ => nemesis.on_disk(node, Disk::wipe).await,
            };
            nemesis.start(node).await;
            if fault == Fault::DiskOld && !nemesis.wait_ready(node, OLD_DISK_MAX).await {
                // Refused: what an operator does next is to give the machine an empty disk.
                let how = json!({"node": node + 1, "ran": nemesis.cluster.is_running(node).await, "log": nemesis.cluster.log_tail(node)});
                nemesis.record(nemesis.shared.history.now_us(), "OldDiskRefused", how);
                nemesis.cluster.kill(node).await;
                swapped = swapped.and(nemesis.on_disk(node, Disk::wipe).await);
                nemesis.start(node).await;
            }
            nemesis.bring_back(victim, fault).await;
            swapped.map_err(|e| e.to_string())
        });
        Ok(Injected { hit: vec![node], detail: Value::Null, lasts: Lasts::Procedure, heal })
    }

    /// Does something with the disk of a node, on the pool for blocking work.
    pub(super) async fn on_disk(
        self: &Arc<Self>,
        node: usize,
        work: impl FnOnce(&Disk) -> Result<(), ToolError> + Send + 'static,
    ) -> Result<(), ToolError> {
        let cluster = Arc::clone(&self.cluster);
        let done = tokio::task::spawn_blocking(move || cluster.disk(node).map_or(Ok(()), work)).await;
        done.unwrap_or_else(|ended| Err(ToolError::Spawn { program: "disk".to_string(), source: std::io::Error::other(ended) }))
    }
}
