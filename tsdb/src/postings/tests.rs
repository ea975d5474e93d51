use super::*;
use crate::cardinality::{Cardinality, HeadCounts, counted};
use crate::select::{Merged, Postings, names_into, select, values_into};
use model::{Labels, MatchOp, Matcher};
use proptest::collection::vec;
use proptest::prelude::*;

const VALUES: [&str; 5] = ["", "a", "b", "ab", "c"];

fn labels(x: usize, y: usize) -> Labels {
    Labels::from_pairs([("__name__", "m"), ("x", VALUES[x]), ("y", VALUES[y])])
}

proptest! {
    #[test]
    fn index_selects_what_matches_after_any_churn(
        steps in vec((0u32..12, 0usize..5, 0usize..5, any::<bool>()), 0..80),
        op in 0usize..4,
        pattern in 0usize..11,
    ) {
        let mut index = Index::default();
        let mut live: BTreeMap<u32, (Labels, Arc<[u32]>)> = BTreeMap::new();
        for (sid, x, y, remove) in steps {
            if remove {
                if let Some((_, pairs)) = live.remove(&sid) {
                    index.remove(sid, &pairs);
                }
            } else if let std::collections::btree_map::Entry::Vacant(place) = live.entry(sid) {
                let labels = labels(x, y);
                let pairs = index.insert(sid, labels.iter());
                place.insert((labels, pairs));
            }
        }
        let op = [MatchOp::Equal, MatchOp::NotEqual, MatchOp::Regex, MatchOp::NotRegex][op];
        let matcher = Matcher::new("x", op, ["", "a", "b", "a|b", "a|", ".*", ".+", "a.*", "zz", "(a|b)", "ab|c"][pattern]).unwrap();
        let found: Vec<u32> = select(&index, std::slice::from_ref(&matcher)).unwrap().iter().collect();
        let expected: Vec<u32> = live.iter().filter(|(_, (l, _))| matcher.matches_labels(l)).map(|(sid, _)| *sid).collect();
        prop_assert_eq!(found, expected);
        for (labels, pairs) in live.values() {
            let read: Vec<_> = pairs.iter().map(|pair| index.pair(*pair).unwrap()).collect();
            prop_assert_eq!(read, labels.iter().collect::<Vec<_>>());
        }
        let labels: Vec<&Labels> = live.values().map(|(labels, _)| labels).collect();
        for limit in [0, 2, 100] {
            let told = index.counted().tell(HeadCounts::default(), (limit, 1));
            prop_assert_eq!(Cardinality::merge([told.as_slice()], limit).unwrap(), counted(&labels, limit));
        }
        for (name, value) in [("__name__", "m"), ("x", "a"), ("x", "zz"), ("y", "")] {
            let series = labels.iter().filter(|l| !value.is_empty() && l.get(name) == Some(value)).count();
            prop_assert_eq!(index.series_of(name, value), series as u64);
        }
        for (sid, (_, pairs)) in &live {
            index.remove(*sid, pairs);
        }
        prop_assert_eq!(index.names.len(), 0);
        prop_assert_eq!(index.text_bytes, 0);
        prop_assert_eq!(index.free.len(), index.pairs.len());
    }
}

#[test]
fn names_and_values_can_be_limited_to_some_series() {
    let mut index = Index::default();
    for sid in 0..6 {
        index.insert(sid, labels(1 + sid as usize % 3, usize::from(sid == 5)).iter());
    }
    let among = RoaringBitmap::from_iter([0, 3]);
    let is_meant = |postings: Postings<'_>| postings.intersects(&among);
    let values = |limit, is_meant| {
        let mut merged = Merged::new(limit);
        let Ok(()) = values_into(&index, "x", is_meant, &mut merged);
        merged.finish()
    };
    assert_eq!(values(0, Some(&is_meant as &dyn Fn(Postings<'_>) -> bool)), ["a"]);
    assert_eq!(values(0, None), ["a", "ab", "b"]);
    assert_eq!(values(2, None), ["a", "ab"]);
    let names = |limit, is_meant| {
        let mut merged = Merged::new(limit);
        let Ok(()) = names_into(&index, is_meant, &mut merged);
        merged.finish()
    };
    assert_eq!(names(0, Some(&is_meant as &dyn Fn(Postings<'_>) -> bool)), ["__name__", "x"]);
    assert_eq!(names(0, None), ["__name__", "x", "y"]);
    assert_eq!(names(1, None), ["__name__"]);
}
