use super::inbox::EXPIRED;
use super::*;
use crate::testing::{TestCluster, fast_config};
use model::ReplicaId;
use proto::raft::frame::Body;
use proto::raft::{Append, LogId, Vote, VoteRequest};
use tokio::time::Instant;

/// A connection to a store's inbox, driven by hand.
struct Wire {
    to_inbox: mpsc::Sender<Arrived>,
    answers: mpsc::Receiver<Frame>,
}

impl Wire {
    fn to(cluster: &TestCluster, store: StoreId) -> Self {
        let inbox = cluster.nodes[&store].groups.as_ref().unwrap().inbox();
        let (to_inbox, incoming) = mpsc::channel(8);
        let (outgoing, answers) = mpsc::channel(8);
        tokio::spawn(async move { inbox.serve(Connection { outgoing, incoming }).await });
        Self { to_inbox, answers }
    }

    async fn ask(&mut self, stream: u64, sequence: u64, body: Body, deadline: Option<Instant>) -> Body {
        let frame = Frame { to_replica: 1, from_replica: 9, stream, sequence, body: Some(body), ..Frame::default() };
        self.to_inbox.send(Arrived { frame, deadline }).await.unwrap();
        let answer = tokio::time::timeout(Duration::from_secs(10), self.answers.recv()).await.unwrap().unwrap();
        assert_eq!((answer.stream, answer.sequence), (stream, sequence));
        answer.body.unwrap()
    }
}

fn past() -> Option<Instant> {
    Instant::now().checked_sub(Duration::from_millis(1))
}

fn soon() -> Option<Instant> {
    Some(Instant::now() + Duration::from_secs(10))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn request_past_its_deadline_is_dropped_before_any_work() {
    let cluster = TestCluster::start(1, fast_config()).await.unwrap();
    let mut wire = Wire::to(&cluster, StoreId(1));
    let vote = |term| Body::Vote(VoteRequest { vote: Some(Vote { term, leader: 9, committed: false }), ..VoteRequest::default() });
    assert_eq!(wire.ask(1, 0, vote(7), past()).await, Body::Rejected(EXPIRED.to_owned()));
    assert_eq!(cluster.group(StoreId(1)).status().term, 0, "the vote was not looked at");
    assert!(matches!(wire.ask(2, 0, vote(8), soon()).await, Body::VoteAnswer(answer) if answer.granted));
    assert!(matches!(wire.ask(3, 0, vote(9), None).await, Body::VoteAnswer(answer) if answer.granted));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn append_past_its_deadline_ends_its_exchange() {
    let cluster = TestCluster::start(1, fast_config()).await.unwrap();
    let mut wire = Wire::to(&cluster, StoreId(1));
    let entry = |index, prev: Option<u64>| {
        let id = |index| LogId { term: 3, leader: 9, index };
        let payload = Some(proto::raft::entry::Payload::Blank(true));
        let vote = Some(Vote { term: 3, leader: 9, committed: true });
        Body::Append(Append {
            vote,
            prev: prev.map(id),
            entries: vec![proto::raft::Entry { log_id: Some(id(index)), payload }],
            commit: None,
        })
    };
    assert!(matches!(wire.ask(1, 0, entry(0, None), soon()).await, Body::AppendAnswer(_)));
    assert_eq!(wire.ask(1, 1, entry(1, Some(0)), past()).await, Body::Rejected(EXPIRED.to_owned()));
    // Taken for what was dropped, this one's answer would acknowledge an entry that is not here.
    assert!(matches!(wire.ask(1, 2, entry(2, Some(1)), soon()).await, Body::Rejected(_)));
    assert_eq!(cluster.group(StoreId(1)).status().last_log_index, Some(0));
    assert!(matches!(wire.ask(2, 0, entry(1, Some(0)), soon()).await, Body::AppendAnswer(_)));
    assert_eq!(cluster.group(StoreId(1)).status().last_log_index, Some(1));
}

#[test]
fn arrival_starts_the_deadline() {
    let frame = Frame { deadline_ms: 500, ..Frame::default() };
    let left = Arrived::from(frame).deadline.unwrap() - Instant::now();
    assert!(left > Duration::from_millis(400) && left <= Duration::from_millis(500), "{left:?}");
    assert_eq!(Arrived::from(Frame::default()).deadline, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answer_waits_a_quarter_of_what_its_request_could() {
    let cluster = TestCluster::start(1, fast_config()).await.unwrap();
    let mut wire = Wire::to(&cluster, StoreId(1));
    let body = Some(Body::Vote(VoteRequest { vote: Some(Vote { term: 1, leader: 9, committed: false }), ..VoteRequest::default() }));
    let frame = Frame { to_replica: ReplicaId(1).0, stream: 1, patience_ms: 8, body, ..Frame::default() };
    wire.to_inbox.send(frame.into()).await.unwrap();
    assert_eq!(wire.answers.recv().await.unwrap().patience_ms, 2);
}
