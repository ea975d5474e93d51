use super::*;
use proptest::collection::vec;
use proptest::prelude::*;

#[test]
fn c6_messages_are_prometheus_own() {
    let labels = model::Labels::from_pairs([("__name__", "up"), ("job", "a\"b")]).to_string();
    let texts = Refusal::ALL.map(|kind| kind.message(&labels));
    assert_eq!(
        texts,
        [
            r#"out of order sample for series {__name__="up", job="a\"b"}"#,
            r#"too old sample for series {__name__="up", job="a\"b"}"#,
            r#"out of bounds: timestamp is too far in the future for series {__name__="up", job="a\"b"}"#,
            r#"duplicate sample for timestamp for series {__name__="up", job="a\"b"}"#,
        ]
    );
}

fn first_error() -> impl Strategy<Value = FirstError> {
    (any::<u32>(), 0u8..4, ".{0,20}", any::<i64>()).prop_map(|(ordinal, kind, labels, timestamp_ms)| FirstError {
        ordinal,
        kind: Refusal::from_byte(kind).unwrap(),
        labels,
        timestamp_ms,
    })
}

fn verdict() -> impl Strategy<Value = PartVerdict> {
    let numbers = (any::<u32>(), any::<u32>(), any::<[u32; 4]>(), any::<[u32; 3]>());
    (numbers, prop::option::of(first_error()), vec(any::<u32>(), 0..4), any::<bool>()).prop_map(
        |((accepted, unchanged, rejected, [histograms, exemplars, exemplars_dropped]), first_error, stale_rows, unresolved)| PartVerdict {
            accepted,
            unchanged,
            histograms,
            exemplars,
            exemplars_dropped,
            rejected,
            first_error,
            stale_rows,
            unresolved,
        },
    )
}

proptest! {
    #[test]
    fn responses_round_trip_and_cut_ones_are_refused(parts in vec(verdict(), 0..5), at: prop::sample::Index) {
        let response = ApplyResponse { parts };
        let bytes = response.encode();
        prop_assert_eq!(ApplyResponse::decode(&bytes).unwrap(), response);
        prop_assert!(ApplyResponse::decode(&bytes[..at.index(bytes.len())]).is_err());
    }

    #[test]
    fn a_verdict_alone_round_trips_and_cut_or_longer_ones_are_refused(verdict in verdict(), at: prop::sample::Index) {
        let bytes = verdict.encode();
        prop_assert_eq!(PartVerdict::decode(&bytes).unwrap(), verdict);
        prop_assert!(PartVerdict::decode(&bytes[..at.index(bytes.len())]).is_err());
        prop_assert!(PartVerdict::decode(&[&bytes[..], &[0]].concat()).is_err());
    }
}
