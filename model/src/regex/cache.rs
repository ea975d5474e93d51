//! Compiled patterns, kept for those who ask for the same ones again and again.

use super::{Regex, RegexError};
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Patterns that a cache holds, at most.
const PATTERNS_MAX: usize = 512;

/// Bytes of a pattern that is kept.
const PATTERN_BYTES_MAX: usize = 128;

/// The patterns asked for lately, compiled.
///
/// Only short patterns without counted repetitions and Unicode classes are kept, since the programs of those alone are sure to be
/// small; any other pattern is compiled anew each time.
#[derive(Debug, Default)]
pub struct RegexCache {
    generations: Mutex<Generations>,
}

/// When the young generation is full, it becomes the old one, whose patterns survive only if they are asked for again.
#[derive(Debug, Default)]
struct Generations {
    young: HashMap<String, Regex>,
    old: HashMap<String, Regex>,
}

impl Generations {
    fn find(&mut self, pattern: &str) -> Option<Regex> {
        if let Some(regex) = self.young.get(pattern) {
            return Some(regex.clone());
        }
        let (pattern, regex) = self.old.remove_entry(pattern)?;
        self.insert(pattern, regex.clone());
        Some(regex)
    }

    fn insert(&mut self, pattern: String, regex: Regex) {
        if self.young.len() >= PATTERNS_MAX / 2 {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(pattern, regex);
    }
}

impl RegexCache {
    /// [`Regex::anchored`], compiled at most once as long as the pattern is in use.
    ///
    /// # Errors
    /// See [`RegexError`]; a refused pattern is not kept.
    pub fn anchored(&self, pattern: &str) -> Result<Regex, RegexError> {
        if !is_small(pattern) {
            return Regex::anchored(pattern);
        }
        if let Some(regex) = self.generations().find(pattern) {
            return Ok(regex);
        }
        // Compiled without the lock: two may do it at once, and the second wins.
        let regex = Regex::anchored(pattern)?;
        self.generations().insert(pattern.to_owned(), regex.clone());
        Ok(regex)
    }

    /// Nothing that is done under the lock can leave the maps inconsistent.
    fn generations(&self) -> MutexGuard<'_, Generations> {
        self.generations.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_small(pattern: &str) -> bool {
    pattern.len() <= PATTERN_BYTES_MAX && !pattern.contains('{') && !pattern.contains("\\p") && !pattern.contains("\\P")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn is_same(a: &Regex, b: &Regex) -> bool {
        Arc::ptr_eq(&a.inner, &b.inner)
    }

    #[test]
    fn a_pattern_is_compiled_once_while_it_is_in_use() {
        let cache = RegexCache::default();
        let first = cache.anchored("a.*b").unwrap();
        assert!(first.is_match("axb") && !first.is_match("ax"));
        for i in 0..10 * PATTERNS_MAX {
            cache.anchored(&format!("x{i}.*y")).unwrap();
            assert!(is_same(&first, &cache.anchored("a.*b").unwrap()), "{i}");
        }
        let generations = cache.generations();
        assert!(generations.young.len() + generations.old.len() <= PATTERNS_MAX);
    }

    #[test]
    fn patterns_not_in_use_make_room() {
        let cache = RegexCache::default();
        let first = cache.anchored("a.*b").unwrap();
        for i in 0..=PATTERNS_MAX {
            cache.anchored(&format!("x{i}.*y")).unwrap();
        }
        assert!(!is_same(&first, &cache.anchored("a.*b").unwrap()));
    }

    #[test]
    fn patterns_that_may_be_large_and_refused_ones_are_not_kept() {
        let cache = RegexCache::default();
        for pattern in ["a{3}.*", "\\pL.*", &"a.".repeat(65)] {
            assert!(!is_same(&cache.anchored(pattern).unwrap(), &cache.anchored(pattern).unwrap()), "{pattern}");
        }
        assert_eq!(cache.anchored("(").unwrap_err(), Regex::anchored("(").unwrap_err());
        let generations = cache.generations();
        assert!(generations.young.is_empty() && generations.old.is_empty());
    }
}
