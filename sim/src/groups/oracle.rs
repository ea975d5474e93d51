//! The clients' view: what was acknowledged stays, nothing appears that nobody asked for, reads are linear.

use super::machine::Contents;
use crate::interposed::mix;
use model::ShardId;
use std::collections::{BTreeMap, BTreeSet};

/// How an operation ended for its client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Acknowledged, at this position.
    Done(u64),
    /// Acknowledged, without a position.
    DoneSomewhere,
    /// Certainly not done.
    Refused(String),
    /// Perhaps done, perhaps later.
    Unknown(String),
}

/// What is known of one group.
#[derive(Debug, Default)]
struct Known {
    asked: BTreeSet<u64>,
    refused: BTreeSet<u64>,
    acknowledged: BTreeMap<u64, u64>,
    acknowledged_somewhere: BTreeSet<u64>,
    /// Hash chained over the operations, by number of operations.
    chains: BTreeMap<u64, u64>,
    /// Operations that whoever reads from now on must see.
    seen: u64,
}

/// All groups.
#[derive(Debug, Default)]
pub struct Oracle {
    groups: BTreeMap<ShardId, Known>,
    /// Operations acknowledged.
    pub acknowledged_count: u64,
    /// Reads answered.
    pub reads_count: u64,
    /// Operations with an unknown outcome.
    pub unknown_count: u64,
}

impl Oracle {
    /// A client asks for an operation.
    pub fn ask(&mut self, group: ShardId, op: u64) {
        self.groups.entry(group).or_default().asked.insert(op);
    }

    /// A client was answered.
    ///
    /// # Errors
    /// The answer contradicts what was seen before.
    pub fn answer(&mut self, group: ShardId, op: u64, outcome: &Outcome) -> Result<(), String> {
        let known = self.groups.entry(group).or_default();
        match outcome {
            Outcome::Done(position) => {
                self.acknowledged_count += 1;
                known.seen = known.seen.max(position + 1);
                if let Some(other) = known.acknowledged.insert(*position, op) {
                    return Err(format!("shard {group}: operations {other} and {op} were both acknowledged at position {position}"));
                }
            }
            Outcome::DoneSomewhere => {
                self.acknowledged_count += 1;
                known.acknowledged_somewhere.insert(op);
            }
            Outcome::Refused(_) => {
                known.refused.insert(op);
            }
            Outcome::Unknown(_) => self.unknown_count += 1,
        }
        Ok(())
    }

    /// What a read that begins now must see at least.
    #[must_use]
    pub fn begin_read(&self, group: ShardId) -> u64 {
        self.groups.get(&group).map_or(0, |known| known.seen)
    }

    /// A read that had to see `least` saw `length` operations and their hash.
    ///
    /// # Errors
    /// The read was stale, or contradicts another.
    pub fn end_read(&mut self, group: ShardId, least: u64, (length, chain): (u64, u64)) -> Result<(), String> {
        self.reads_count += 1;
        let known = self.groups.entry(group).or_default();
        if length < least {
            return Err(format!("shard {group}: a read saw {length} operations after {least} were acknowledged or read"));
        }
        known.seen = known.seen.max(length);
        let other = *known.chains.entry(length).or_insert(chain);
        if other == chain { Ok(()) } else { Err(format!("shard {group}: two reads of {length} operations saw different ones")) }
    }

    /// At rest, a replica holds this.
    ///
    /// # Errors
    /// Something was lost, done twice, done although nobody asked or although it was refused, or read otherwise.
    pub fn audit(&self, group: ShardId, contents: &Contents) -> Result<(), String> {
        let Some(known) = self.groups.get(&group) else { return Ok(()) };
        let mut once = BTreeSet::new();
        let mut chain = 0;
        for (position, op) in contents.ops.iter().enumerate() {
            let position = position as u64;
            if let Some(other) = known.chains.get(&position)
                && *other != chain
            {
                return Err(format!("shard {group}: what was read of the first {position} operations is not what was done"));
            }
            chain = mix(chain ^ op);
            if !once.insert(*op) {
                return Err(format!("shard {group}: operation {op} was done twice"));
            }
            if !known.asked.contains(op) {
                return Err(format!("shard {group}: nobody asked for operation {op}"));
            }
            if known.refused.contains(op) {
                return Err(format!("shard {group}: operation {op} was refused and done"));
            }
            if let Some(acknowledged) = known.acknowledged.get(&position)
                && acknowledged != op
            {
                return Err(format!("shard {group}: {acknowledged} was acknowledged at position {position}, where {op} is"));
            }
        }
        if let Some(lost) = known.acknowledged_somewhere.difference(&once).next() {
            return Err(format!("shard {group}: operation {lost} was acknowledged and is gone"));
        }
        match known.acknowledged.keys().next_back() {
            Some(last) if *last >= contents.ops.len() as u64 => {
                Err(format!("shard {group}: position {last} was acknowledged, only {} operations are left", contents.ops.len()))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GROUP: ShardId = ShardId(1);

    fn asked(ops: &[u64]) -> (Oracle, Contents) {
        let (mut oracle, mut contents) = (Oracle::default(), Contents::default());
        for op in ops {
            oracle.ask(GROUP, *op);
            contents.push(*op);
        }
        (oracle, contents)
    }

    #[test]
    fn lost_phantom_repeated_and_refused_operations_are_found() {
        let (mut oracle, contents) = asked(&[7, 8]);
        assert_eq!(oracle.audit(GROUP, &contents), Ok(()));
        oracle.answer(GROUP, 8, &Outcome::Done(1)).unwrap();
        let mut shorter = Contents::default();
        shorter.push(7);
        assert!(oracle.audit(GROUP, &shorter).unwrap_err().contains("only 1 operations are left"));
        let mut longer = contents.clone();
        longer.push(9);
        assert!(oracle.audit(GROUP, &longer).unwrap_err().contains("nobody asked"));
        longer = contents.clone();
        longer.push(7);
        assert!(oracle.audit(GROUP, &longer).unwrap_err().contains("twice"));
        oracle.answer(GROUP, 7, &Outcome::Refused(String::new())).unwrap();
        assert!(oracle.audit(GROUP, &contents).unwrap_err().contains("refused and done"));
    }

    #[test]
    fn stale_and_divergent_reads_are_found() {
        let (mut oracle, contents) = asked(&[1, 2, 3]);
        let least = oracle.begin_read(GROUP);
        oracle.answer(GROUP, 2, &Outcome::Done(1)).unwrap();
        assert_eq!(oracle.end_read(GROUP, least, (0, 0)), Ok(()), "it began before");
        let least = oracle.begin_read(GROUP);
        assert!(oracle.end_read(GROUP, least, (1, 5)).is_err());
        assert_eq!(oracle.end_read(GROUP, least, (3, contents.chain)), Ok(()));
        assert!(oracle.end_read(GROUP, least, (3, 4)).is_err());
        assert!(oracle.end_read(GROUP, oracle.begin_read(GROUP), (2, 4)).is_err(), "what was once read stays");
    }
}
