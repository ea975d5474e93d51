//! Faults of processes.

use super::{Attempt, Fault, Injected, Lasts, Nemesis, NotInjected, Target};
use crate::check::Breach;
use crate::cluster::Ended;
use crate::dice::Dice;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

const READY_POLL: Duration = Duration::from_millis(100);
const ROLLING_READY_MAX: Duration = Duration::from_secs(30);

impl Nemesis {
    pub(super) async fn inject_process(self: &Arc<Self>, fault: Fault, dice: &mut Dice, target: &Target) -> Attempt {
        let nodes = self.cluster.specs().len();
        match fault {
            Fault::Pause => {
                if !self.cluster.pause(target.node).await {
                    return Err(NotInjected::NotNow);
                }
                let (nemesis, node) = (Arc::clone(self), target.node);
                let heal = Box::pin(async move {
                    nemesis.cluster.resume(node).await;
                    Ok(())
                });
                Ok(Injected { hit: vec![node], detail: json!("SIGSTOP"), lasts: Lasts::Cut, heal })
            }
            Fault::RollingRestart => {
                let nemesis = Arc::clone(self);
                let heal = Box::pin(async move { nemesis.roll().await });
                Ok(Injected { hit: (0..nodes).collect(), detail: json!("SIGTERM"), lasts: Lasts::Procedure, heal })
            }
            _ => {
                let count = match fault {
                    Fault::KillOne => 1,
                    Fault::KillMajority => nodes / 2 + 1,
                    _ => nodes,
                };
                let mut victims = vec![target.node];
                victims.extend(target.others.iter().take(count - 1));
                dice.shuffle(&mut victims);
                if !self.all_running(&victims).await {
                    return Err(NotInjected::NotNow);
                }
                let hit = self.cluster.kill_together(&victims).await;
                Ok(Injected { heal: self.start_again(&hit), hit, detail: json!("SIGKILL"), lasts: Lasts::Down })
            }
        }
    }

    /// A heal that starts nodes.
    pub(super) fn start_again(self: &Arc<Self>, nodes: &[usize]) -> super::Heal {
        let (nemesis, nodes) = (Arc::clone(self), nodes.to_vec());
        Box::pin(async move {
            for node in nodes {
                nemesis.start(node).await;
            }
            Ok(())
        })
    }

    /// Every node in turn, with the other binary if there is one; a node that others broke meanwhile is left to them.
    async fn roll(self: &Arc<Self>) -> Result<(), String> {
        let mut in_time = 0;
        for node in 0..self.cluster.specs().len() {
            let Ok(_taken) = self.take(node).await else { continue };
            self.disturb(node, "stopped");
            let ended = self.cluster.stop(node).await;
            in_time += u64::from(ended.is_some());
            if let Some(Ended { code, .. }) = ended
                && code != Some(0)
            {
                self.shared.findings.note(Breach::Crash, node as u64, -1, || {
                    format!("node-{} ended with {code:?} after SIGTERM; its log ends: {}", node + 1, self.cluster.log_tail(node))
                });
            }
            self.cluster.change_version(node);
            self.start(node).await;
            self.wait_ready(node, ROLLING_READY_MAX).await;
        }
        if in_time > 0 {
            self.complete(Fault::RollingRestart);
        }
        Ok(())
    }

    /// Waits until a node says ready; false if that took longer than `patience`.
    pub(super) async fn wait_ready(&self, node: usize, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        while self.shared.client.ready(node).await.is_err() {
            if Instant::now() >= deadline {
                return false;
            }
            tokio::time::sleep(READY_POLL).await;
        }
        true
    }

    /// Whether all these nodes run, and no fault has one of them for itself.
    pub(super) async fn all_running(&self, nodes: &[usize]) -> bool {
        for node in nodes {
            if self.busy[*node].available_permits() == 0 || !self.cluster.is_running(*node).await {
                return false;
            }
        }
        true
    }
}
