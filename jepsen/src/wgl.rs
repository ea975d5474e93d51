//! Is a history of operations on one object linearizable? Wing and Gong's search with Lowe's cache, as porcupine does it.
//!
//! The cost is exponential in the number of operations that overlap, so a history is cut by object first, and the search has a limit of time.
//! Sources: Wing and Gong, "Testing and verifying concurrent objects", 1993; Lowe, "Testing for linearizability", 2017.

use std::collections::HashSet;
use std::hash::Hash;
use std::time::Duration;
use tokio::time::Instant;

/// How often the search looks at the clock.
const CLOCK_STEPS: u64 = 4096;

/// A sequential object.
pub trait Model {
    /// Its state.
    type State: Clone + Eq + Hash;
    /// An operation with what it answered.
    type Op;

    /// The state before the first operation.
    fn initial(&self) -> Self::State;

    /// The state after `op`, if it can answer as it did; `known` is false if nobody knows what it answered.
    fn step(&self, state: &Self::State, op: &Self::Op, known: bool) -> Option<Self::State>;
}

/// One operation of a history. Times are of one clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event<O> {
    /// When it was invoked.
    pub invoked: u64,
    /// When its answer came; none if nobody knows whether it happened: it may happen at any later time, or never.
    pub returned: Option<u64>,
    /// What it was, and answered.
    pub op: O,
}

/// What a check found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// There is an order that explains every answer.
    Linearizable,
    /// There is none.
    Violation,
    /// The time was up. Counts as a failure.
    Unknown,
}

/// The end of the list, and the head before the first entry.
const NONE: usize = usize::MAX;

/// One invocation or return, in a list from which the search takes entries out and puts them back.
struct Entry {
    event: usize,
    /// The entry of the return, at an invocation.
    returns_at: Option<usize>,
    before: usize,
    after: usize,
}

struct List {
    entries: Vec<Entry>,
    first: usize,
}

impl List {
    fn new<O>(events: &[Event<O>]) -> Self {
        // At equal times invocations come first: the operations overlap.
        let mut points: Vec<(u64, bool, usize)> = Vec::new();
        for (i, event) in events.iter().enumerate() {
            points.push((event.invoked, false, i));
            points.push((event.returned.unwrap_or(u64::MAX), true, i));
        }
        points.sort_unstable();
        let mut returns = vec![NONE; events.len()];
        for (at, (_, is_return, event)) in points.iter().enumerate() {
            if *is_return {
                returns[*event] = at;
            }
        }
        let last = points.len().saturating_sub(1);
        let entry = |(at, (_, is_return, event)): (usize, &(u64, bool, usize))| Entry {
            event: *event,
            returns_at: (!is_return).then(|| returns[*event]),
            before: if at == 0 { NONE } else { at - 1 },
            after: if at == last { NONE } else { at + 1 },
        };
        let entries: Vec<Entry> = points.iter().enumerate().map(entry).collect();
        Self { first: if entries.is_empty() { NONE } else { 0 }, entries }
    }

    fn unlink(&mut self, at: usize) {
        let (before, after) = (self.entries[at].before, self.entries[at].after);
        if before == NONE {
            self.first = after
        } else {
            self.entries[before].after = after
        }
        if after != NONE {
            self.entries[after].before = before;
        }
    }

    fn relink(&mut self, at: usize) {
        let (before, after) = (self.entries[at].before, self.entries[at].after);
        if before == NONE {
            self.first = at
        } else {
            self.entries[before].after = at
        }
        if after != NONE {
            self.entries[after].before = at;
        }
    }

    /// Takes an operation out: its invocation and its return.
    fn lift(&mut self, at: usize, returns_at: usize) {
        self.unlink(at);
        self.unlink(returns_at);
    }

    /// Puts it back, in the reverse order.
    fn unlift(&mut self, at: usize, returns_at: usize) {
        self.relink(returns_at);
        self.relink(at);
    }
}

/// Checks one object's history within `limit`.
#[must_use]
pub fn check<M: Model>(model: &M, events: &[Event<M::Op>], limit: Duration) -> Verdict {
    let deadline = Instant::now() + limit;
    let mut list = List::new(events);
    let mut done = vec![0u64; events.len().div_ceil(64)];
    let mut seen: HashSet<(Vec<u64>, M::State)> = HashSet::new();
    let mut taken: Vec<(usize, usize, M::State)> = Vec::new();
    let mut state = model.initial();
    let mut at = list.first;
    let mut steps = 0u64;
    while list.first != NONE {
        steps += 1;
        if steps.is_multiple_of(CLOCK_STEPS) && Instant::now() >= deadline {
            return Verdict::Unknown;
        }
        let entry = &list.entries[at];
        let event = entry.event;
        if let Some(returns_at) = entry.returns_at {
            let next = model.step(&state, &events[event].op, events[event].returned.is_some());
            done[event / 64] |= 1 << (event % 64);
            if let Some(next) = next.filter(|next| seen.insert((done.clone(), next.clone()))) {
                taken.push((at, returns_at, std::mem::replace(&mut state, next)));
                list.lift(at, returns_at);
                at = list.first;
            } else {
                done[event / 64] &= !(1 << (event % 64));
                at = list.entries[at].after;
            }
        } else if events[event].returned.is_none() {
            // All that is left never has to have happened.
            return Verdict::Linearizable;
        } else {
            let Some((back, returns_at, before)) = taken.pop() else { return Verdict::Violation };
            let event = list.entries[back].event;
            done[event / 64] &= !(1 << (event % 64));
            state = before;
            list.unlift(back, returns_at);
            at = list.entries[back].after;
        }
    }
    Verdict::Linearizable
}

#[cfg(test)]
mod tests;
