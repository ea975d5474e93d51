//! Bugs that can be planted, to measure what the simulation finds.
//!
//! Each breaks one known rule where [`is`] is asked for it. Without the feature `planted-bugs` the answer is a constant `false` and
//! nothing of this is in the binary: what is shipped never has the feature.

/// The environment variable that names the bug to plant.
pub const VARIABLE: &str = "PLANTED_BUG";

/// What runs the code of a bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Raft groups.
    Groups,
    /// Whole nodes.
    Nodes,
    /// No simulation: the random histories of shard maps among the tests of `node`.
    Histories,
}

macro_rules! bugs {
    ($($(#[$doc:meta])+ $name:ident = $text:literal, $level:ident, $about:literal;)+) => {
        /// A bug.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Bug {
            $($(#[$doc])+ $name,)+
        }

        /// Every bug: its name, what runs it, and what is wrong with it.
        pub const BUGS: &[(&str, Level, &str)] = &[$(($text, Level::$level, $about),)+];

        #[cfg(feature = "planted-bugs")]
        impl Bug {
            fn name(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)+
                }
            }
        }
    };
}

bugs! {
    /// See [`BUGS`].
    AckBeforeFsync = "ack-before-fsync", Groups, "the log writer answers appends when they are written, before they are synced";
    /// See [`BUGS`].
    VoteNotSynced = "vote-not-synced", Groups, "a vote is given before it is synced";
    /// See [`BUGS`].
    VoteNotStored = "vote-not-stored", Groups, "a vote is kept in memory only";
    /// See [`BUGS`].
    VoteForgotten = "vote-forgotten", Groups, "a restarted replica does not read its vote";
    /// See [`BUGS`].
    SkipReadIndex = "skip-read-index", Groups, "a leader confirms a read without asking a quorum";
    /// See [`BUGS`].
    StaleLease = "stale-lease", Groups, "a leader confirms reads by what a quorum confirmed up to three seconds ago";
    /// See [`BUGS`].
    FollowerReads = "follower-reads", Groups, "a replica answers a read before it has applied what the leader confirmed";
    /// See [`BUGS`].
    PurgeTooFar = "purge-too-far", Groups, "the log is purged one entry past the checkpoint";
    /// See [`BUGS`].
    CheckpointForgetsMembership = "checkpoint-forgets-membership", Groups, "a restarted replica does not read the members in its checkpoint";
    /// See [`BUGS`].
    SnapshotTooNew = "snapshot-too-new", Groups, "a snapshot says that it covers one entry more than it does";
    /// See [`BUGS`].
    SnapshotDropsBlock = "snapshot-drops-block", Groups, "the sender of a snapshot leaves a block out, and counts only what it sent";
    /// See [`BUGS`].
    ApplyTwice = "apply-twice", Groups, "the first entry of a larger slice is applied twice";
    /// See [`BUGS`].
    ApplySkips = "apply-skips", Groups, "the last entry of a larger slice is answered and not applied";
    /// See [`BUGS`].
    AckAtPropose = "ack-at-propose", Groups, "a proposal is answered when the leader takes it in";
    /// See [`BUGS`].
    TruncateNotWritten = "truncate-not-written", Groups, "the log is truncated in memory only";
    /// See [`BUGS`].
    TruncateOffByOne = "truncate-off-by-one", Groups, "a truncation leaves one entry too many on disk";
    /// See [`BUGS`].
    TailNotTruncated = "tail-not-truncated", Groups, "a truncation leaves the entries in the cache of recent ones";
    /// See [`BUGS`].
    CommittedTooFar = "committed-too-far", Groups, "a restarted replica takes its whole log as committed";
    /// See [`BUGS`].
    IgnoreWriteError = "ignore-write-error", Groups, "a failed write of the log is taken as done";
    /// See [`BUGS`].
    JointIgnored = "joint-ignored", Groups, "followers keep only the new half of a joint membership";
    /// See [`BUGS`].
    LogNotCompared = "log-not-compared", Groups, "a candidate claims the newest log there can be";
    /// See [`BUGS`].
    ConflictAsMatch = "conflict-as-match", Groups, "a follower answers a conflict as if its log matched";
    /// See [`BUGS`].
    LeaderRestored = "leader-restored", Groups, "a restarted leader leads on in its old term";
    /// See [`BUGS`].
    ReadOffByOne = "read-off-by-one", Groups, "a read of the log on disk leaves out its first entry";
    /// See [`BUGS`].
    ReadWithoutBarrier = "read-without-barrier", Nodes, "a query reads its replica without asking the leader";
    /// See [`BUGS`].
    AckSomeParts = "ack-some-parts", Nodes, "a write is acknowledged when some of its parts are";
    /// See [`BUGS`].
    CheckpointDropsSeries = "checkpoint-drops-series", Nodes, "a checkpoint does not hold every eighth series";
    /// See [`BUGS`].
    RowsBeyondFence = "rows-beyond-fence", Histories, "a shard takes rows that its map puts elsewhere, its fence among it";
    /// See [`BUGS`].
    SeriesNotRechecked = "series-not-rechecked", Histories, "a shard judges series that it accepted once by the map of that time";
    /// See [`BUGS`].
    StaleMapAsDone = "stale-map-as-done", Nodes, "a router takes a shard's word that rows belong elsewhere for its last";
    /// See [`BUGS`].
    RouterKeepsMap = "router-keeps-map", Nodes, "a node goes on with the shard map that it saw first";
    /// See [`BUGS`].
    ReaderKeepsMap = "reader-keeps-map", Histories, "a shard answers queries by an older map than its own";
    /// See [`BUGS`].
    DeletesNotInCheckpoint = "deletes-not-in-checkpoint", Nodes, "a checkpoint does not hold the deletes";
    /// See [`BUGS`].
    DeleteByNewestMap = "delete-by-newest-map", Nodes, "a delete is not brought to shards of closed generations";
    /// See [`BUGS`].
    FenceNotJudged = "fence-not-judged", Histories, "a shard takes a fence although it holds samples beyond it that would move";
    /// See [`BUGS`].
    DecidedTwice = "decided-twice", Histories, "a generation that was decided is aborted afterwards";
    /// See [`BUGS`].
    BatchRingDropped = "batch-ring-dropped", Histories, "a part that comes again is judged again";
    /// See [`BUGS`].
    StaleVerdictKept = "stale-verdict-kept", Histories, "a verdict that the shard's map was newer is given again after the map has changed";
}

/// Whether this bug is planted.
#[cfg(feature = "planted-bugs")]
#[must_use]
#[allow(clippy::disallowed_methods, reason = "only in binaries that are never shipped")]
pub fn is(bug: Bug) -> bool {
    use std::sync::LazyLock;
    static CHOSEN: LazyLock<Option<String>> = LazyLock::new(|| std::env::var(VARIABLE).ok());
    CHOSEN.as_deref() == Some(bug.name())
}

/// Whether this bug is planted: never.
#[cfg(not(feature = "planted-bugs"))]
#[inline(always)]
#[must_use]
pub const fn is(_bug: Bug) -> bool {
    false
}
