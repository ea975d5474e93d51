use super::*;
use model::Labels;
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;

struct Model {
    series: Vec<Labels>,
    all: RoaringBitmap,
}

impl Source for Model {
    type Error = Infallible;

    fn all(&self) -> &RoaringBitmap {
        &self.all
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        ["x", "y"].into_iter()
    }

    fn value_count(&self, name: &str) -> u64 {
        self.series.iter().filter_map(|labels| labels.get(name)).collect::<BTreeSet<_>>().len() as u64
    }

    fn visit(&self, name: &str, values: Values<'_>, visit: Visit<'_>) -> Result<(), Infallible> {
        let mut by_value: BTreeMap<&str, Vec<u32>> = BTreeMap::new();
        for (sid, labels) in (0u32..).zip(&self.series) {
            labels.get(name).into_iter().for_each(|value| by_value.entry(value).or_default().push(sid));
        }
        let is_meant = |value: &str| match values {
            Values::One(one) => value == one,
            Values::Where { prefix, keep } => value.starts_with(prefix) && keep(value),
        };
        let _ = by_value.into_iter().filter(|(value, _)| is_meant(value)).try_for_each(|(value, sids)| {
            if sids.len() % 2 == 0 {
                visit(value, Postings::Bitmap(&sids.into_iter().collect()))
            } else {
                visit(value, Postings::Listed(&sids))
            }
        });
        Ok(())
    }

    fn texts(&self, name: &str, visit: &mut dyn FnMut(&str) -> ControlFlow<()>) -> Result<(), Infallible> {
        self.visit(name, Values::ALL, &mut |value, _| visit(value))
    }

    fn len_of(&self, _: &Matcher) -> Option<u64> {
        None
    }
}

proptest! {
    #[test]
    fn selection_is_what_every_matcher_accepts(
        series in vec((0u8..4, 0u8..4), 0..20),
        matchers in vec((0usize..3, 0usize..4, 0usize..11), 0..4),
    ) {
        let value = |n: u8| ["", "a", "b", "ab"][usize::from(n)];
        let labels: Vec<Labels> = series.iter().map(|(x, y)| Labels::from_pairs([("x", value(*x)), ("y", value(*y))])).collect();
        let source = Model { all: (0..labels.len() as u32).collect(), series: labels };
        let matchers: Vec<Matcher> = matchers
            .iter()
            .map(|(name, op, pattern)| {
                let op = [MatchOp::Equal, MatchOp::NotEqual, MatchOp::Regex, MatchOp::NotRegex][*op];
                Matcher::new(["x", "y", "z"][*name], op, ["", "a", "b", "a|b", "a|", ".*", ".+", "a.*", "ab|zz", "(a|b)", "(?:ab|c\\.d)"][*pattern]).unwrap()
            })
            .collect();
        let found: Vec<u32> = select(&source, &matchers).unwrap().iter().collect();
        let expected: Vec<u32> = (0u32..)
            .zip(&source.series)
            .filter(|(_, labels)| matchers.iter().all(|m| m.matches_labels(labels)))
            .map(|(sid, _)| sid)
            .collect();
        prop_assert_eq!(found, expected);
    }
}
