//! Deficit round robin over workspaces: a flood of one never stands before another's next small write.
//!
//! What is taken out at once is a batch of whole rounds. In a round every workspace that waits may take its quantum of bytes, and keeps
//! what it could not use of it for the next one, so that a request larger than a quantum comes too. Within a workspace requests keep
//! the order in which they came.

use model::WorkspaceId;
use std::collections::{HashMap, VecDeque};

/// A workspace's bytes in one round at least: what every workspace may have in every batch.
pub(super) const QUANTUM_BYTES_MIN: usize = 64 << 10;

#[derive(Debug)]
struct Queue<T> {
    requests: VecDeque<(usize, T)>,
    bytes: usize,
    /// Bytes it may take now; carried from round to round while something waits.
    deficit: usize,
}

impl<T> Queue<T> {
    /// Moves to `batch` what fits one more quantum; answers how many bytes that was.
    fn serve(&mut self, quantum: usize, batch: &mut Vec<T>) -> usize {
        self.deficit += quantum;
        let before = self.bytes;
        while self.requests.front().is_some_and(|(bytes, _)| *bytes <= self.deficit) {
            if let Some((bytes, request)) = self.requests.pop_front() {
                self.deficit -= bytes;
                self.bytes -= bytes;
                batch.push(request);
            }
        }
        before - self.bytes
    }
}

/// Requests that wait, by workspace.
#[derive(Debug)]
pub(super) struct FairQueue<T> {
    /// Only workspaces for which something waits.
    queues: HashMap<WorkspaceId, Queue<T>>,
    /// The same ones, in the order of their turns.
    turns: VecDeque<WorkspaceId>,
}

impl<T> Default for FairQueue<T> {
    fn default() -> Self {
        Self { queues: HashMap::new(), turns: VecDeque::new() }
    }
}

impl<T> FairQueue<T> {
    /// Puts a request behind those of its workspace. One of zero bytes counts as one byte.
    pub(super) fn push(&mut self, workspace: &WorkspaceId, bytes: usize, request: T) {
        let bytes = bytes.max(1);
        let queue = self.queues.entry(workspace.clone()).or_insert_with(|| {
            self.turns.push_back(workspace.clone());
            Queue { requests: VecDeque::new(), bytes: 0, deficit: 0 }
        });
        queue.requests.push_back((bytes, request));
        queue.bytes += bytes;
    }

    /// Bytes that wait for a workspace.
    pub(super) fn bytes(&self, workspace: &WorkspaceId) -> usize {
        self.queues.get(workspace).map_or(0, |queue| queue.bytes)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.turns.is_empty()
    }

    /// Takes out whole rounds until `bytes_max` is reached or nothing waits. The last round may go past it: a batch holds a share of
    /// every workspace that waited when it was begun.
    pub(super) fn take(&mut self, bytes_max: usize) -> Vec<T> {
        let mut batch = Vec::new();
        let mut bytes = 0;
        while bytes < bytes_max && !self.turns.is_empty() {
            let quantum = ((bytes_max - bytes) / self.turns.len()).max(QUANTUM_BYTES_MIN);
            for _ in 0..self.turns.len() {
                let Some(workspace) = self.turns.pop_front() else { break };
                let queue = self.queues.get_mut(&workspace).expect("a workspace with a turn has a queue");
                bytes += queue.serve(quantum, &mut batch);
                if queue.requests.is_empty() {
                    self.queues.remove(&workspace);
                } else {
                    self.turns.push_back(workspace);
                }
            }
        }
        batch
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BATCH: usize = 1 << 20;
    const COST_MAX: usize = 3 << 20;

    fn workspace(number: u8) -> WorkspaceId {
        WorkspaceId::new(&format!("ws-{number}"))
    }

    #[derive(Clone, Debug)]
    enum Step {
        Push(u8, usize),
        Take,
    }

    fn step() -> impl Strategy<Value = Step> {
        let cost = prop_oneof![8 => 0..2_000_usize, 3 => 0..300_000_usize, 1 => 0..COST_MAX];
        prop_oneof![5 => (0..6_u8, cost).prop_map(|(key, cost)| Step::Push(key, cost)), 1 => Just(Step::Take)]
    }

    type Model = HashMap<u8, VecDeque<(usize, usize)>>;

    /// Compares one batch with what waited before it, and removes it from the model.
    fn check(model: &mut Model, batch: &[(u8, usize, usize)]) {
        let before = model.clone();
        let mut served: HashMap<u8, usize> = HashMap::new();
        for (key, number, cost) in batch {
            let next = model.get_mut(key).and_then(VecDeque::pop_front);
            assert_eq!(next, Some((*number, *cost)), "order within {key}");
            *served.entry(*key).or_default() += cost;
        }
        model.retain(|_, queue| !queue.is_empty());
        let total: usize = served.values().sum();
        assert!(total < BATCH + before.len() * (QUANTUM_BYTES_MIN + COST_MAX), "{total} bytes in one batch");
        assert!(total >= BATCH || model.is_empty(), "a batch with room left something waiting");
        for (key, queue) in &before {
            let head = queue.front().map_or(0, |(_, cost)| *cost);
            assert!(head > QUANTUM_BYTES_MIN || served.contains_key(key), "a small head of {key} waited");
        }
        // Who waited from the first to the last had the same quanta.
        let throughout: Vec<usize> =
            model.keys().filter(|key| before.contains_key(key)).map(|key| served.get(key).copied().unwrap_or(0)).collect();
        if let (Some(least), Some(most)) = (throughout.iter().min(), throughout.iter().max()) {
            assert!(most - least <= 2 * COST_MAX, "{least} and {most} bytes were served");
        }
    }

    proptest! {
        #[test]
        fn c16_batches_keep_order_lose_nothing_and_serve_every_workspace(steps in prop::collection::vec(step(), 1..200)) {
            let mut fair = FairQueue::default();
            let mut model = Model::default();
            let mut number = 0;
            for step in steps.into_iter().chain(std::iter::repeat_n(Step::Take, 100)) {
                match step {
                    Step::Push(key, cost) => {
                        number += 1;
                        fair.push(&workspace(key), cost, (key, number, cost.max(1)));
                        model.entry(key).or_default().push_back((number, cost.max(1)));
                    }
                    Step::Take => check(&mut model, &fair.take(BATCH)),
                }
                for key in 0..6 {
                    let waiting = model.get(&key).map_or(0, |queue| queue.iter().map(|(_, cost)| cost).sum::<usize>());
                    prop_assert_eq!(fair.bytes(&workspace(key)), waiting);
                }
            }
            prop_assert_eq!(fair.is_empty(), model.is_empty());
        }
    }

    #[test]
    fn c16_flood_shares_every_batch_equally_with_a_second_flood() {
        let mut fair = FairQueue::default();
        for number in 0..4000 {
            fair.push(&workspace(1), 1000, (1, number));
        }
        for number in 0..4000 {
            fair.push(&workspace(2), 1000, (2, number));
        }
        let batch = fair.take(BATCH);
        let first = batch.iter().filter(|(key, _)| *key == 1).count();
        assert!(batch.len() >= 1000 && first.abs_diff(batch.len() - first) <= 2, "{first} of {}", batch.len());
    }
}
