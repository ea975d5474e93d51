//! Warnings and infos of several pieces of a query as those of the whole, where that can be told.

/// Lines of each kind that an evaluation writes out; with more it only counts them.
const SHOWN_MAX: usize = 10;
/// Part of the one info that carries times and counts of the whole range.
const OVER_THE_RANGE: &str = "needed to be fixed for monotonicity";

/// Whether a piece's annotations can be joined with those of others.
pub(super) fn is_joinable(lines: &[String]) -> bool {
    lines.len() <= SHOWN_MAX && !lines.iter().any(|line| line.contains(OVER_THE_RANGE))
}

/// The annotations of the whole, in order; `None` if only an evaluation of the whole can tell.
pub(super) fn join<'a>(pieces: impl IntoIterator<Item = &'a [String]>) -> Option<Vec<String>> {
    let mut joined: Vec<String> = Vec::new();
    for piece in pieces {
        if !is_joinable(piece) {
            return None;
        }
        for line in piece {
            let text = without_position(line);
            match joined.binary_search_by(|known| without_position(known).cmp(text)) {
                // The same text from another place of the query: the whole shows it once, with the place that came last.
                Ok(at) if joined[at] != *line => return None,
                Ok(_) => {}
                Err(at) => joined.insert(at, line.clone()),
            }
        }
    }
    (joined.len() <= SHOWN_MAX).then_some(joined)
}

/// The text before ` (line:column)`.
fn without_position(line: &str) -> &str {
    line.rsplit_once(" (").map_or(line, |(text, _)| text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn annotations_of_pieces_join_only_where_they_say_the_same_of_the_whole() {
        let lines = |texts: &[&str]| texts.iter().map(|t| (*t).to_owned()).collect::<Vec<_>>();
        let (a, b) = (lines(&["w1 (1:2)", "w3 (1:1)"]), lines(&["w2 (1:4)", "w3 (1:1)"]));
        assert_eq!(join([&*a, &*b]).unwrap(), lines(&["w1 (1:2)", "w2 (1:4)", "w3 (1:1)"]));
        assert_eq!(join([&*a, &*lines(&["w3 (1:9)"])]), None);
        let many: Vec<String> = (0..10).map(|i| format!("x{i} (1:1)")).collect();
        assert_eq!(join([&*many]).unwrap(), many);
        assert_eq!(join([&*many, &*a]), None);
        assert_eq!(join([&*lines(&["input needed to be fixed for monotonicity, from buckets 1 to 2 (1:1)"])]), None);
    }
}
