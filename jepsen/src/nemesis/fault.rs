//! The kinds of fault, their classes, and which of them a run asks for.

use std::collections::BTreeMap;
use std::str::FromStr;

/// What a fault is done to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// Processes: killed, stopped, restarted.
    Process,
    /// The network.
    Network,
    /// Disks.
    Disk,
    /// Wall clocks.
    Clock,
    /// Files of the database.
    Files,
    /// Who is in the cluster, and who holds what.
    Membership,
}

/// The kinds of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// SIGKILL of one node, started again later.
    KillOne,
    /// SIGKILL of a majority at once.
    KillMajority,
    /// SIGKILL of all nodes at once.
    KillAll,
    /// SIGSTOP of one node, SIGCONT later.
    Pause,
    /// Every node in turn: SIGTERM, start, wait until it is ready.
    RollingRestart,
    /// One node neither reaches the others nor is reached.
    Isolate,
    /// One node does not reach the others but is reached, or the reverse.
    OneWay,
    /// Two halves do not reach each other.
    Halves,
    /// Every node reaches a majority, and no two the same one.
    Ring,
    /// Two halves reach each other through one node only.
    Bridge,
    /// The leader of most groups and less than half of the others on one side.
    LeaderMinority,
    /// Clients do not reach one node; the nodes reach each other.
    Clients,
    /// Packets take long.
    Delay,
    /// Packets vanish.
    Loss,
    /// Packets arrive twice.
    Duplicate,
    /// Packets overtake each other.
    Reorder,
    /// Bits of packets flip.
    Corrupt,
    /// Links are slow.
    Rate,
    /// One node loses its power, and with it what it had not synced.
    PowerOne,
    /// All nodes lose their power at once.
    PowerAll,
    /// The disk of one node has less free space than a node wants.
    DiskFull,
    /// The disk of every node has less free space than a node wants.
    DiskFullAll,
    /// The disk of one node has no free block.
    DiskNoSpace,
    /// The file system of one node turns read-only.
    DiskReadOnly,
    /// Every access to the disk of one node fails.
    DiskError,
    /// One node comes back with an old copy of its disk.
    DiskOld,
    /// One node comes back with an empty disk.
    DiskWiped,
    /// The wall clock of a minority jumps, by milliseconds to a year.
    ClockJump,
    /// The wall clock of one node jumps to and fro.
    ClockStrobe,
    /// Bits flip in files of one node that is down.
    BitFlip,
    /// A file of one node that is down loses its end.
    Truncate,
    /// A part of a file of one node that is down is overwritten by another part.
    ChunkCopy,
    /// Bits flip in a stored table of one node that runs.
    LiveBitFlip,
    /// One node is drained and removed, and comes back as a new store.
    DrainRejoin,
    /// A replica moves.
    MoveReplica,
    /// A leadership moves.
    MoveLeader,
    /// One node dies for good; the cluster replaces it, and an empty one joins.
    Replace,
    /// A workspace gets more or fewer shards.
    Scale,
}

impl Fault {
    /// All kinds.
    pub const ALL: [Self; 38] = [
        Self::KillOne,
        Self::KillMajority,
        Self::KillAll,
        Self::Pause,
        Self::RollingRestart,
        Self::Isolate,
        Self::OneWay,
        Self::Halves,
        Self::Ring,
        Self::Bridge,
        Self::LeaderMinority,
        Self::Clients,
        Self::Delay,
        Self::Loss,
        Self::Duplicate,
        Self::Reorder,
        Self::Corrupt,
        Self::Rate,
        Self::PowerOne,
        Self::PowerAll,
        Self::DiskFull,
        Self::DiskFullAll,
        Self::DiskNoSpace,
        Self::DiskReadOnly,
        Self::DiskError,
        Self::DiskOld,
        Self::DiskWiped,
        Self::ClockJump,
        Self::ClockStrobe,
        Self::BitFlip,
        Self::Truncate,
        Self::ChunkCopy,
        Self::LiveBitFlip,
        Self::DrainRejoin,
        Self::MoveReplica,
        Self::MoveLeader,
        Self::Replace,
        Self::Scale,
    ];

    /// What it is done to.
    #[must_use]
    pub fn class(self) -> Class {
        match self {
            Self::KillOne | Self::KillMajority | Self::KillAll | Self::Pause | Self::RollingRestart => Class::Process,
            Self::PowerOne | Self::PowerAll | Self::DiskFull | Self::DiskFullAll | Self::DiskNoSpace => Class::Disk,
            Self::DiskReadOnly | Self::DiskError | Self::DiskOld | Self::DiskWiped => Class::Disk,
            Self::ClockJump | Self::ClockStrobe => Class::Clock,
            Self::BitFlip | Self::Truncate | Self::ChunkCopy | Self::LiveBitFlip => Class::Files,
            Self::DrainRejoin | Self::MoveReplica | Self::MoveLeader | Self::Replace | Self::Scale => Class::Membership,
            _ => Class::Network,
        }
    }

    /// The least number of nodes with which it makes sense.
    #[must_use]
    pub fn nodes_min(self) -> usize {
        match self {
            Self::Halves | Self::Ring | Self::Bridge | Self::LeaderMinority => 3,
            Self::DiskOld | Self::DiskWiped | Self::BitFlip | Self::Truncate | Self::ChunkCopy | Self::LiveBitFlip => 3,
            Self::ClockJump | Self::ClockStrobe | Self::MoveLeader => 3,
            Self::DrainRejoin | Self::MoveReplica | Self::Replace => 4,
            Self::KillMajority | Self::KillAll | Self::Isolate | Self::OneWay | Self::PowerAll | Self::RollingRestart => 2,
            _ => 1,
        }
    }

    /// Whether single packets, or links of clients, must be within reach.
    #[must_use]
    pub fn needs_switch(self) -> bool {
        use Fault::{Clients, Corrupt, Delay, Duplicate, Loss, Rate, Reorder};
        matches!(self, Clients | Delay | Loss | Duplicate | Reorder | Corrupt | Rate)
    }

    /// Whether it begins only when no other goes on, and none begins until it is healed: what it must show is waited for.
    #[must_use]
    pub fn is_alone(self) -> bool {
        matches!(self, Self::DiskFull | Self::DiskFullAll | Self::DiskNoSpace)
    }

    /// Whether what a node stored may be lost: it must be the only one, until the cluster has replaced it.
    #[must_use]
    pub fn is_destructive(self) -> bool {
        use Fault::{DiskOld, DiskWiped, DrainRejoin, Replace};
        self.class() == Class::Files || matches!(self, DiskOld | DiskWiped | DrainRejoin | Replace)
    }
}

impl Class {
    /// Name on the command line.
    #[must_use]
    pub fn name(self) -> String {
        format!("{self:?}").to_lowercase()
    }
}

/// The kinds of fault that a run asks for, as the command line names them: classes or kinds, or `all`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// In the order of [`Fault::ALL`].
    pub kinds: Vec<Fault>,
    /// The text that gives these kinds again.
    pub text: String,
}

impl FromStr for Asked {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known: BTreeMap<String, Vec<Fault>> = Fault::ALL.iter().fold(BTreeMap::new(), |mut known, fault| {
            for name in [fault.class().name(), format!("{fault:?}").to_lowercase(), "all".to_string()] {
                known.entry(name).or_default().push(*fault);
            }
            known
        });
        let mut kinds = Vec::new();
        for word in text.split(',') {
            let found = known.get(&word.trim().to_lowercase().replace('-', ""));
            kinds.extend(found.ok_or_else(|| {
                let names: Vec<&str> = known.keys().map(String::as_str).collect();
                format!("{word:?} is none of {}", names.join(", "))
            })?);
        }
        kinds.sort_unstable();
        kinds.dedup();
        Ok(Self { kinds, text: text.to_string() })
    }
}

impl Asked {
    /// Whether a kind of this class is asked for.
    #[must_use]
    pub fn has(&self, class: Class) -> bool {
        self.kinds.iter().any(|fault| fault.class() == class)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_kinds_and_all_are_understood_and_nonsense_is_refused() {
        let asked: Asked = "clock,power-all,PowerAll".parse().unwrap();
        assert_eq!(asked.kinds, vec![Fault::PowerAll, Fault::ClockJump, Fault::ClockStrobe]);
        assert!(asked.has(Class::Disk) && !asked.has(Class::Network));
        assert_eq!("all".parse::<Asked>().unwrap().kinds, Fault::ALL);
        assert!("disk,nonsense".parse::<Asked>().unwrap_err().contains("\"nonsense\" is none of all, "));
    }

    #[test]
    fn every_kind_stands_once_in_the_order_of_the_enum() {
        assert!(Fault::ALL.is_sorted() && Fault::ALL.windows(2).all(|pair| pair[0] != pair[1]));
    }
}
