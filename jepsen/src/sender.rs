//! A sender that treats answers as Prometheus's remote write does, behind a balancer that knows which nodes say that they are ready.
//!
//! It repeats a request after a transport error, a timeout or a 5xx, waiting as long as `Retry-After` says or else 30 ms, twice as long each time up to
//! 5 s. Any other answer but 2xx drops the data, as does a 429: Prometheus repeats those only if told to.

use crate::client::{Client, WriteAnswer};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;
use tokio::time::Instant;

/// How long one attempt may take, as in Prometheus.
pub const REMOTE_TIMEOUT: Duration = Duration::from_secs(30);
const BACKOFF_MIN: Duration = Duration::from_millis(30);
const BACKOFF_MAX: Duration = Duration::from_secs(5);
const PROBE_EVERY: Duration = Duration::from_millis(500);

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// Whether it was acknowledged.
    pub is_acked: bool,
    /// How often it was sent.
    pub attempts: u32,
    /// From the first attempt to the last answer.
    pub took: Duration,
    /// The last answer that was no 2xx, if there was one.
    pub error: Option<String>,
}

/// What a sender does after an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Done,
    Drop,
    Wait(Duration),
}

/// The senders of one load. Cloning gives another handle of the same.
#[derive(Debug, Clone)]
pub struct Senders {
    client: Client,
    ready: Arc<Vec<AtomicBool>>,
    turn: Arc<AtomicUsize>,
}

impl Senders {
    /// Senders to the nodes of `client`.
    #[must_use]
    pub fn new(client: Client) -> Self {
        let ready = (0..client.nodes()).map(|_| AtomicBool::new(true)).collect();
        Self { client, ready: Arc::new(ready), turn: Arc::default() }
    }

    /// Asks the nodes whether they are ready, until dropped.
    pub async fn watch(self) {
        loop {
            let asked = (0..self.client.nodes()).map(|node| {
                let senders = self.clone();
                tokio::spawn(async move { senders.ready[node].store(senders.client.ready(node).await.is_ok(), Relaxed) })
            });
            for probe in asked.collect::<Vec<_>>() {
                let _ended = probe.await;
            }
            tokio::time::sleep(PROBE_EVERY).await;
        }
    }

    /// The next node in turn that is ready; any if none is.
    fn pick(&self) -> usize {
        let nodes = self.client.nodes();
        let first = self.turn.fetch_add(1, Relaxed);
        let in_turn = (0..nodes).map(|i| (first + i) % nodes);
        in_turn.clone().find(|node| self.ready[*node].load(Relaxed)).unwrap_or(first % nodes)
    }

    /// Sends a request until it is acknowledged or refused for good, or `patience` is spent.
    pub async fn deliver(&self, body: Vec<u8>, patience: Duration) -> Delivery {
        let body = Arc::<[u8]>::from(body);
        let (began, mut backoff) = (Instant::now(), BACKOFF_MIN);
        let mut delivery = Delivery { is_acked: false, attempts: 0, took: Duration::ZERO, error: None };
        loop {
            let answer = self.client.write_within(self.pick(), body.to_vec(), REMOTE_TIMEOUT).await;
            delivery.attempts += 1;
            delivery.took = began.elapsed();
            let next = after(&answer, backoff);
            if next != Next::Done {
                delivery.error = Some(format!("{} {}", answer.code, answer.text));
            }
            match next {
                Next::Done => delivery.is_acked = true,
                Next::Wait(pause) if began.elapsed() + pause < patience => {
                    tokio::time::sleep(pause).await;
                    backoff = (pause * 2).min(BACKOFF_MAX);
                    continue;
                }
                Next::Drop | Next::Wait(_) => {}
            }
            return delivery;
        }
    }
}

/// What comes after an answer, if the pause would be `backoff`.
fn after(answer: &WriteAnswer, backoff: Duration) -> Next {
    match answer.code {
        200..=299 => Next::Done,
        0 | 500..=599 => Next::Wait(answer.retry_after.filter(|seconds| *seconds > 0).map_or(backoff, Duration::from_secs)),
        _ => Next::Drop,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::Outcome;

    #[test]
    fn answers_are_treated_as_prometheus_treats_them() {
        let next = |code, retry_after| {
            let answer = WriteAnswer { outcome: Outcome::Info, code, text: String::new(), retry_after };
            after(&answer, BACKOFF_MIN)
        };
        assert_eq!([200, 204].map(|code| next(code, None)), [Next::Done; 2]);
        assert_eq!([400, 404, 413, 429].map(|code| next(code, Some(1))), [Next::Drop; 4]);
        assert_eq!([0, 500, 503].map(|code| next(code, None)), [Next::Wait(BACKOFF_MIN); 3]);
        assert_eq!((next(503, Some(2)), next(503, Some(0))), (Next::Wait(Duration::from_secs(2)), Next::Wait(BACKOFF_MIN)));
    }

    #[tokio::test]
    async fn a_node_that_is_not_ready_gets_nothing_unless_none_is() {
        let senders = Senders::new(Client::new(&["127.0.0.1:1".into(), "127.0.0.1:2".into()]).unwrap());
        assert_eq!([senders.pick(), senders.pick(), senders.pick()], [0, 1, 0]);
        senders.ready[1].store(false, Relaxed);
        assert_eq!([senders.pick(), senders.pick()], [0, 0]);
        senders.ready[0].store(false, Relaxed);
        assert_ne!(senders.pick(), senders.pick());
        let lost = senders.deliver(vec![1], Duration::from_millis(100)).await;
        assert!(!lost.is_acked && lost.attempts >= 2 && lost.error.is_some_and(|text| text.starts_with("0 ")));
    }
}
