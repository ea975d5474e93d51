//! The workload of metadata: workspaces are created, read and deleted through all nodes; each is an object of its own.
//!
//! The node repeats a command whose answer it lost, so a delete may succeed twice; a client token makes one workspace, for ever.

use crate::check::Breach;
use crate::dice::Dice;
use crate::history::{Op, Outcome};
use crate::load::Shared;
use crate::wgl::{Event, Model, Verdict, check};
use parking_lot::Mutex;
use reqwest::Method;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;

const CLIENTS: u64 = 3;
/// Objects that may exist at once: every workspace has groups of its own, which cost.
const ALIVE_MAX: u64 = 3;
const CHECK_MAX: Duration = Duration::from_secs(60);
const PAUSE_MS: (u64, u64) = (200, 900);
/// Operations on one object; then a new one takes its place.
const OPS_PER_OBJECT: u64 = 40;

/// One operation on the workspace of one token, with its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WorkspaceOp {
    /// Create it: its id, or none if it is gone for good.
    Create(Option<String>),
    /// Delete it by its id: whether the cluster knew it.
    Delete(String, bool),
    /// Read it by its id: whether it was there.
    Read(String, bool),
}

/// The workspace of one token.
#[derive(Debug)]
pub struct Workspace;

/// What has become of a token.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum State {
    /// Nothing.
    Fresh,
    /// It made this workspace; empty as long as no answer told its id.
    Made(String),
    /// Its workspace was deleted.
    Deleted(String),
}

impl Model for Workspace {
    type State = State;
    type Op = WorkspaceOp;

    fn initial(&self) -> State {
        State::Fresh
    }

    fn step(&self, state: &State, op: &WorkspaceOp, known: bool) -> Option<State> {
        let same = |known_id: &str, id: &str| known_id.is_empty() || known_id == id;
        match (op, state) {
            (WorkspaceOp::Create(_), State::Fresh) if !known => Some(State::Made(String::new())),
            (WorkspaceOp::Create(Some(id)), State::Fresh) => Some(State::Made(id.clone())),
            (WorkspaceOp::Create(Some(id)), State::Made(made)) if known => same(made, id).then(|| State::Made(id.clone())),
            (WorkspaceOp::Create(None), State::Deleted(_)) => Some(state.clone()),
            (WorkspaceOp::Create(_), _) => (!known).then(|| state.clone()),
            (WorkspaceOp::Delete(id, true), State::Made(made) | State::Deleted(made)) => same(made, id).then(|| State::Deleted(id.clone())),
            (WorkspaceOp::Delete(..), State::Made(made)) if !known => Some(State::Deleted(made.clone())),
            (WorkspaceOp::Delete(_, false), State::Fresh | State::Deleted(_)) => Some(state.clone()),
            (WorkspaceOp::Delete(..), _) => (!known).then(|| state.clone()),
            (WorkspaceOp::Read(id, found), _) => {
                let there = matches!(state, State::Made(made) if same(made, id));
                (!known || there == *found).then(|| state.clone())
            }
        }
    }
}

/// The histories of all objects.
#[derive(Debug, Default)]
pub struct MetaLog {
    events: Mutex<BTreeMap<u64, Vec<Event<WorkspaceOp>>>>,
    ids: Mutex<BTreeMap<u64, String>>,
}

/// What the check of all objects found.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct MetaFigures {
    /// Objects.
    pub objects: u64,
    /// Operations with a known answer.
    pub known: u64,
    /// Operations of unknown outcome.
    pub unknown: u64,
    /// Objects whose changes alone are fine and of which a read was stale.
    pub stale: u64,
}

/// Starts the clients. They begin nothing new once `stop` is true.
pub fn start(tasks: &mut JoinSet<()>, shared: &Arc<Shared>, stop: &watch::Receiver<bool>) {
    for client in 0..CLIENTS {
        tasks.spawn(run(Arc::clone(shared), client, stop.clone()));
    }
}

async fn run(shared: Arc<Shared>, client: u64, mut stop: watch::Receiver<bool>) {
    let mut dice = Dice::new(shared.workload.seed, 3000 + client);
    let mut done = 0;
    while !*stop.borrow() {
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(dice.between(PAUSE_MS.0, PAUSE_MS.1))) => {}
            _ = stop.changed() => break,
        }
        // All clients meet on the same few objects, and move on together.
        let object = done / OPS_PER_OBJECT * ALIVE_MAX + dice.below(ALIVE_MAX);
        done += 1;
        let node = dice.index(shared.client.nodes());
        let roll = if done % OPS_PER_OBJECT > OPS_PER_OBJECT - 8 { 0 } else { dice.below(100) };
        let id = shared.meta.ids.lock().get(&object).cloned();
        match (roll, id) {
            (0..25, Some(id)) => delete(&shared, client, object, node, &id).await,
            (25..75, Some(id)) => read(&shared, client, object, node, &id).await,
            _ => create(&shared, client, object, node).await,
        }
    }
}

async fn create(shared: &Shared, client: u64, object: u64, node: usize) {
    let token = format!("jepsen-{}-{object}", shared.workload.run());
    let body = json!({"alias": token, "clientToken": token});
    let call = Call { shared, client, object, node };
    call.send(Method::POST, "/workspaces", Some(body), |code, answer| {
        let id = answer["workspaceId"].as_str().map(str::to_string);
        match code {
            202 | 200 => id.map(|id| WorkspaceOp::Create(Some(id))),
            409 => Some(WorkspaceOp::Create(None)),
            _ => None,
        }
    })
    .await;
}

async fn delete(shared: &Shared, client: u64, object: u64, node: usize, id: &str) {
    let call = Call { shared, client, object, node };
    call.send(Method::DELETE, &format!("/workspaces/{id}"), None, |code, _| match code {
        202 | 204 | 200 => Some(WorkspaceOp::Delete(id.to_string(), true)),
        404 => Some(WorkspaceOp::Delete(id.to_string(), false)),
        _ => None,
    })
    .await;
}

async fn read(shared: &Shared, client: u64, object: u64, node: usize, id: &str) {
    let call = Call { shared, client, object, node };
    call.send(Method::GET, &format!("/workspaces/{id}"), None, |code, _| match code {
        200 => Some(WorkspaceOp::Read(id.to_string(), true)),
        404 => Some(WorkspaceOp::Read(id.to_string(), false)),
        _ => None,
    })
    .await;
}

struct Call<'a> {
    shared: &'a Shared,
    client: u64,
    object: u64,
    node: usize,
}

impl Call<'_> {
    /// Sends one request and notes it; what its answer does not tell is unknown.
    async fn send(&self, method: Method, path: &str, body: Option<Value>, read: impl Fn(u16, &Value) -> Option<WorkspaceOp>) {
        let shared = self.shared;
        let invoked = shared.history.now_us();
        let answer = shared.client.call(self.node, method.clone(), path, body.as_ref()).await;
        let now = shared.history.now_us();
        let (code, answer) = answer.unwrap_or_default();
        let told = read(code, &answer);
        if let Some(WorkspaceOp::Create(Some(id))) = &told {
            shared.meta.ids.lock().entry(self.object).or_insert_with(|| id.clone());
        }
        let id = path.rsplit('/').next().unwrap_or_default().to_string();
        let op = told.clone().or(match method {
            Method::POST => Some(WorkspaceOp::Create(None)),
            Method::DELETE => Some(WorkspaceOp::Delete(id, true)),
            // A read that was not answered says nothing.
            _ => None,
        });
        let outcome = if told.is_some() { Outcome::Ok } else { Outcome::Info };
        let v = json!({"object": self.object, "op": format!("{op:?}")});
        let p = 20_000 + self.client as i64;
        shared.history.record(&Op { t: [invoked, now], p, n: self.node + 1, f: "meta", v, outcome, code });
        if let Some(op) = op {
            let event = Event { invoked, returned: told.is_some().then_some(now), op };
            shared.meta.events.lock().entry(self.object).or_default().push(event);
        }
    }
}

/// Checks the histories of all objects; breaches go to the findings.
#[must_use]
pub fn examine(shared: &Shared) -> MetaFigures {
    let objects = shared.meta.events.lock().clone();
    let mut figures = MetaFigures { objects: objects.len() as u64, ..MetaFigures::default() };
    for (object, events) in objects {
        let known = events.iter().filter(|e| e.returned.is_some()).count() as u64;
        figures.known += known;
        figures.unknown += events.len() as u64 - known;
        let changes: Vec<_> = events.iter().filter(|e| !matches!(e.op, WorkspaceOp::Read(..))).cloned().collect();
        let verdict = check(&Workspace, &changes, CHECK_MAX);
        let all = if verdict == Verdict::Linearizable { check(&Workspace, &events, CHECK_MAX) } else { verdict };
        figures.stale += u64::from(verdict == Verdict::Linearizable && all == Verdict::Violation);
        if all != Verdict::Linearizable {
            let what = if verdict == Verdict::Linearizable { "reads" } else { "changes" };
            shared.findings.note(Breach::Metadata, object, 0, || format!("workspace {object}: {what}: {all:?}: {}", words(&events)));
        }
    }
    figures
}

fn words(events: &[Event<WorkspaceOp>]) -> String {
    let mut sorted: Vec<_> = events.iter().collect();
    sorted.sort_by_key(|e| e.invoked);
    let word = |e: &&Event<WorkspaceOp>| format!("[{}..{}] {:?}", e.invoked, e.returned.map_or("?".to_string(), |r| r.to_string()), e.op);
    sorted.iter().map(word).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(invoked: u64, returned: Option<u64>, op: WorkspaceOp) -> Event<WorkspaceOp> {
        Event { invoked, returned, op }
    }

    fn verdict(events: &[Event<WorkspaceOp>]) -> Verdict {
        check(&Workspace, events, CHECK_MAX)
    }

    fn create(id: &str) -> WorkspaceOp {
        WorkspaceOp::Create(Some(id.to_string()))
    }

    #[test]
    fn a_life_of_a_workspace_is_linearizable() {
        let a = "a".to_string();
        let life = [
            event(0, Some(1), create("a")),
            event(2, Some(3), create("a")),
            event(4, Some(5), WorkspaceOp::Read(a.clone(), true)),
            event(6, None, WorkspaceOp::Delete(a.clone(), true)),
            event(7, Some(8), WorkspaceOp::Read(a.clone(), true)),
            event(9, Some(10), WorkspaceOp::Read(a.clone(), false)),
            event(11, Some(12), WorkspaceOp::Create(None)),
            event(13, Some(14), WorkspaceOp::Delete(a, false)),
        ];
        assert_eq!(verdict(&life), Verdict::Linearizable);
    }

    #[test]
    fn two_workspaces_of_one_token_and_a_workspace_that_comes_back_are_violations() {
        assert_eq!(verdict(&[event(0, Some(1), create("a")), event(2, Some(3), create("b"))]), Verdict::Violation);
        let a = "a".to_string();
        let mut back = vec![event(0, Some(1), create("a")), event(2, Some(3), WorkspaceOp::Delete(a.clone(), true))];
        back.push(event(4, Some(5), WorkspaceOp::Read(a, true)));
        assert_eq!(verdict(&back), Verdict::Violation);
    }

    #[test]
    fn an_unknown_create_may_have_made_what_a_later_answer_names() {
        let unknown = event(0, None, WorkspaceOp::Create(None));
        assert_eq!(verdict(&[unknown.clone(), event(5, Some(6), create("a"))]), Verdict::Linearizable);
        let gone = [unknown, event(5, Some(6), create("a")), event(7, Some(8), WorkspaceOp::Read("a".to_string(), false))];
        assert_eq!(verdict(&gone), Verdict::Violation);
    }
}
