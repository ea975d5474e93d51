//! Clients: send what they are told to, over the simulated network.

use super::http::{self, Request};
use super::samples::SampleId;
use super::wire::{self, METRIC};
use crate::interposed::EPOCH;
use crate::network::{HTTP_PORT, host_of};
use model::StoreId;
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// How long a client waits for an answer.
const PATIENCE: Duration = Duration::from_secs(12);
/// The evaluation time of every query is so long after the beginning, so that all samples are before it.
const EVALUATED_AFTER: Duration = Duration::from_secs(900);

/// What a client is to send.
#[derive(Clone, Debug)]
pub(super) enum Ask {
    Write(Arc<[SampleId]>),
    Points,
    Count,
    /// Any request that only its status matters of.
    Operate(&'static str, String, String),
}

/// What came of it; 0 as status of what had no answer.
#[derive(Clone, Debug)]
pub(super) struct Answered {
    pub(super) number: u64,
    pub(super) status: u16,
    pub(super) body: Vec<u8>,
}

/// A request for a client.
pub(super) type Job = (u64, StoreId, Ask);

/// The clients of a simulation: one host, many requests at a time.
#[derive(Debug)]
pub(super) struct Clients {
    pub(super) seed: u64,
    pub(super) jobs: Mutex<Option<mpsc::Receiver<Job>>>,
    pub(super) answers: Mutex<Vec<Answered>>,
}

impl Clients {
    pub(super) async fn run(self: Arc<Self>) -> turmoil::Result {
        let Some(mut jobs) = self.jobs.lock().take() else { return Ok(()) };
        while let Some((number, store, ask)) = jobs.recv().await {
            let clients = Arc::clone(&self);
            tokio::spawn(async move {
                let request = request(clients.seed, &ask);
                let sent = tokio::time::timeout(PATIENCE, http::send(&host_of(store), HTTP_PORT, &request)).await;
                let (status, body) = match sent {
                    Ok(Ok(answer)) => answer,
                    Ok(Err(error)) => (0, error.to_string().into_bytes()),
                    Err(_) => (0, b"no answer in time".to_vec()),
                };
                clients.answers.lock().push(Answered { number, status, body });
            });
        }
        Ok(())
    }
}

fn request(seed: u64, ask: &Ask) -> Request {
    match ask {
        Ask::Write(samples) => Request {
            method: "POST",
            path: "/api/v1/write".to_owned(),
            headers: vec![
                ("content-type", "application/x-protobuf"),
                ("content-encoding", "snappy"),
                ("x-prometheus-remote-write-version", "0.1.0"),
            ],
            body: wire::write_body(seed, samples),
        },
        Ask::Points => query(&format!("{METRIC}[1h]")),
        Ask::Count => query(&format!("sum(count_over_time({METRIC}[1h]))")),
        Ask::Operate(method, path, form) => Request {
            method,
            path: path.clone(),
            headers: vec![("content-type", "application/x-www-form-urlencoded")],
            body: form.clone().into_bytes(),
        },
    }
}

/// A text as the value of a form's field.
pub(super) fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

fn query(expression: &str) -> Request {
    let time = (EPOCH + EVALUATED_AFTER).as_secs();
    let form = format!("time={time}&query={}", encoded(expression));
    Request {
        method: "POST",
        path: "/api/v1/query".to_owned(),
        headers: vec![("content-type", "application/x-www-form-urlencoded")],
        body: form.into_bytes(),
    }
}
