//! Pages of a dictionary: values in order, each as its difference to the one before, with the number of its series.
//!
//! Beside a finite state transducer such a page is read several times faster from one end to the other, and no bytes make it panic.

#![deny(clippy::indexing_slicing)]

use crate::error::Corruption;
use crate::wire::{Reader, put_bytes, put_varint};

/// Appends a value behind `before`; sharing ends between characters.
pub(super) fn put_value(out: &mut Vec<u8>, before: &str, value: &str, series: u64) {
    let alike = before.bytes().zip(value.bytes()).take_while(|(a, b)| a == b).count();
    let shared = value.floor_char_boundary(alike);
    put_varint(out, shared as u64);
    put_bytes(out, value.get(shared..).unwrap_or_default().as_bytes());
    put_varint(out, series);
}

/// Reads a page value by value; memory is one value.
#[derive(Debug, Default)]
pub(super) struct ValueReader {
    value: String,
}

impl ValueReader {
    /// The next value and its series, unless the page is at its end.
    pub(super) fn next(&mut self, page: &mut Reader<'_>) -> Result<Option<(&str, u64)>, Corruption> {
        if page.rest().is_empty() {
            return Ok(None);
        }
        let shared = usize::try_from(page.varint()?).unwrap_or(usize::MAX);
        if !self.value.is_char_boundary(shared) {
            return Err(Corruption::new("shared bytes of a value"));
        }
        self.value.truncate(shared);
        self.value.push_str(page.text()?);
        let series = page.varint()?;
        Ok(Some((&self.value, series)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::btree_set;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn values_come_back_in_order(values in btree_set("[aäß€b]{0,6}", 0..40)) {
            let (mut page, mut before) = (Vec::new(), "");
            for (n, value) in values.iter().enumerate() {
                put_value(&mut page, before, value, n as u64);
                before = value;
            }
            let (mut reader, mut decoded) = (Reader::new(&page), ValueReader::default());
            for (n, value) in values.iter().enumerate() {
                prop_assert_eq!(decoded.next(&mut reader).unwrap(), Some((value.as_str(), n as u64)));
            }
            prop_assert_eq!(decoded.next(&mut reader).unwrap(), None);
        }

        #[test]
        fn no_bytes_make_a_dictionary_panic(page in prop::collection::vec(prop_oneof![0u8..6, any::<u8>()], 0..60)) {
            let (mut reader, mut decoded) = (Reader::new(&page), ValueReader::default());
            while let Ok(Some((value, _))) = decoded.next(&mut reader) {
                prop_assert!(value.len() <= page.len());
            }
        }
    }
}
