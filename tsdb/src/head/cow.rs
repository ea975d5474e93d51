//! A vector in shared pages: a checkpoint freezes it by cloning the page list, the first write to a page after that copies the page.

use std::sync::Arc;

/// Elements of one page: small, so that the copy after a freeze never holds up apply for long.
const PAGE: usize = 64;

/// A growing vector whose clone costs one reference count a page.
#[derive(Clone, Debug)]
pub(crate) struct CowVec<T> {
    pages: Vec<Arc<Vec<T>>>,
    len: usize,
}

impl<T> Default for CowVec<T> {
    fn default() -> Self {
        Self { pages: Vec::new(), len: 0 }
    }
}

impl<T: Clone> CowVec<T> {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn push(&mut self, value: T) {
        if self.len.is_multiple_of(PAGE) {
            self.pages.push(Arc::new(Vec::with_capacity(PAGE)));
        }
        if let Some(page) = self.pages.last_mut() {
            Arc::make_mut(page).push(value);
        }
        self.len += 1;
    }

    pub(crate) fn get(&self, index: usize) -> Option<&T> {
        self.pages.get(index / PAGE)?.get(index % PAGE)
    }

    /// For writing; copies the page if a freeze still holds it.
    pub(crate) fn get_mut(&mut self, index: usize) -> Option<&mut T> {
        Arc::make_mut(self.pages.get_mut(index / PAGE)?).get_mut(index % PAGE)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.pages.iter().flat_map(|page| page.iter())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frozen_copy_keeps_what_it_saw() {
        let mut live = CowVec::default();
        for i in 0..200 {
            live.push(i);
        }
        let frozen = live.clone();
        *live.get_mut(100).unwrap() = -1;
        live.push(200);
        assert_eq!((frozen.len(), frozen.get(100), frozen.get(200)), (200, Some(&100), None));
        assert_eq!((live.len(), live.get(100), live.get(200)), (201, Some(&-1), Some(&200)));
        assert!(frozen.iter().copied().eq(0..200));
    }
}
