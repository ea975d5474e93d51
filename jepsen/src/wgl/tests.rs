use super::*;
use crate::dice::Dice;
use proptest::prelude::*;

const LIMIT: Duration = Duration::from_secs(20);

/// A register with reads, writes and compare-and-set.
struct Register;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Op {
    Read(u64),
    Write(u64),
    Swap { from: u64, to: u64, swapped: bool },
}

impl Model for Register {
    type State = u64;
    type Op = Op;

    fn initial(&self) -> u64 {
        0
    }

    fn step(&self, state: &u64, op: &Op, known: bool) -> Option<u64> {
        match *op {
            Op::Read(value) => (!known || value == *state).then_some(*state),
            Op::Write(value) => Some(value),
            Op::Swap { from, to, .. } if !known => Some(if *state == from { to } else { *state }),
            Op::Swap { from, to, swapped } => (swapped == (*state == from)).then_some(if swapped { to } else { *state }),
        }
    }
}

fn ok(invoked: u64, returned: u64, op: Op) -> Event<Op> {
    Event { invoked, returned: Some(returned), op }
}

#[test]
fn overlapping_operations_may_come_in_any_order_and_others_in_theirs() {
    let overlap = [ok(0, 10, Op::Write(1)), ok(5, 6, Op::Read(1)), ok(7, 8, Op::Read(1))];
    assert_eq!(check(&Register, &overlap, LIMIT), Verdict::Linearizable);
    let back = [ok(0, 10, Op::Write(1)), ok(2, 3, Op::Read(1)), ok(4, 5, Op::Read(0))];
    assert_eq!(check(&Register, &back, LIMIT), Verdict::Violation);
    let stale = [ok(0, 1, Op::Write(1)), ok(2, 3, Op::Read(0))];
    assert_eq!(check(&Register, &stale, LIMIT), Verdict::Violation);
    assert_eq!(check(&Register, &[], LIMIT), Verdict::Linearizable);
}

#[test]
fn an_unknown_write_may_happen_late_or_never_but_not_before_it_was_sent() {
    let unknown = Event { invoked: 2, returned: None, op: Op::Write(7) };
    let late = [unknown.clone(), ok(3, 4, Op::Read(0)), ok(50, 51, Op::Read(7))];
    assert_eq!(check(&Register, &late, LIMIT), Verdict::Linearizable);
    let never = [unknown.clone(), ok(3, 4, Op::Read(0)), ok(50, 51, Op::Read(0))];
    assert_eq!(check(&Register, &never, LIMIT), Verdict::Linearizable);
    let early = [unknown.clone(), ok(0, 1, Op::Read(7))];
    assert_eq!(check(&Register, &early, LIMIT), Verdict::Violation);
    let gone = [unknown, ok(3, 4, Op::Read(7)), ok(5, 6, Op::Read(0))];
    assert_eq!(check(&Register, &gone, LIMIT), Verdict::Violation);
}

#[test]
fn two_swaps_from_one_value_cannot_both_succeed() {
    let swap = |at, to| ok(at, at + 10, Op::Swap { from: 0, to, swapped: true });
    assert_eq!(check(&Register, &[swap(0, 1), swap(1, 2)], LIMIT), Verdict::Violation);
}

#[test]
fn a_search_that_takes_too_long_is_unknown() {
    // Many overlapping writes of distinct values, and a read of none of them: every order has to be ruled out.
    let mut events: Vec<_> = (1..40).map(|v| ok(v, 1000 + v, Op::Write(v))).collect();
    events.push(ok(500, 2000, Op::Read(99)));
    assert_eq!(check(&Register, &events, Duration::from_millis(50)), Verdict::Unknown);
}

/// A history of `count` operations by `clients` clients on a real register: each happens at one moment between its ends.
fn honest(seed: u64, count: u64, clients: u64) -> Vec<Event<Op>> {
    let mut dice = Dice::new(seed, 1);
    let mut free = vec![0u64; clients as usize];
    let mut drafts: Vec<(u64, u64, u64, bool, Op)> = (0..count)
        .map(|i| {
            let client = dice.index(free.len());
            let invoked = free[client] + dice.between(1, 20);
            let (happens, returned) = (invoked + dice.between(1, 20), invoked + 40);
            free[client] = returned + 1;
            let op = match dice.below(3) {
                0 => Op::Read(0),
                1 => Op::Write(i + 1),
                _ => Op::Swap { from: dice.below(i + 1), to: i + 1, swapped: false },
            };
            (happens, invoked, returned, dice.percent(10), op)
        })
        .collect();
    drafts.sort_unstable_by_key(|d| d.0);
    let mut state = 0;
    let mut events = Vec::new();
    for (_, invoked, returned, is_lost, op) in drafts {
        let happened = !is_lost || dice.percent(50);
        let op = match op {
            Op::Read(_) => Op::Read(state),
            Op::Swap { from, to, .. } => Op::Swap { from, to, swapped: state == from },
            write => write,
        };
        if happened {
            state = Register.step(&state, &op, true).unwrap();
        }
        events.push(Event { invoked, returned: (!is_lost).then_some(returned), op });
    }
    events
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn honest_histories_are_linearizable(seed in any::<u64>(), count in 1..80u64, clients in 1..6u64) {
        prop_assert_eq!(check(&Register, &honest(seed, count, clients), LIMIT), Verdict::Linearizable);
    }

    #[test]
    fn a_planted_stale_or_invented_read_is_found(seed in any::<u64>(), count in 5..60u64, clients in 1..5u64, invent in any::<bool>()) {
        let mut events = honest(seed, count, clients);
        let end = events.iter().filter_map(|e| e.returned).max().unwrap_or(0);
        // A read of the first value after a later write, or of one that nobody wrote, has no place: no unknown operation gives either.
        events.push(ok(end + 1, end + 2, Op::Write(1_000_000)));
        let value = if invent { 2_000_000 } else { 0 };
        events.push(ok(end + 3, end + 4, Op::Read(value)));
        prop_assert_eq!(check(&Register, &events, LIMIT), Verdict::Violation);
    }

    #[test]
    fn a_write_that_two_swaps_claim_to_have_followed_is_found(seed in any::<u64>(), count in 1..40u64) {
        let mut events = honest(seed, count, 3);
        let end = events.iter().filter_map(|e| e.returned).max().unwrap_or(0);
        events.push(ok(end + 1, end + 2, Op::Write(1_000_000)));
        for to in [1_000_001, 1_000_002] {
            events.push(ok(end + 3, end + 9, Op::Swap { from: 1_000_000, to, swapped: true }));
        }
        prop_assert_eq!(check(&Register, &events, LIMIT), Verdict::Violation);
    }
}
