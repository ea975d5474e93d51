//! Series with their values at all steps.

use super::DecodeError;
use super::codec::{FrameError, Reader, put_float, put_histogram, put_label_sets, put_number, put_words};
use crate::budget::Budget;
use crate::eval::block::{Block, RowMut, SeriesMeta, is_set};
use std::sync::Arc;

/// A bit for each step follows.
const SPARSE: u8 = 0;
/// Each step has a float.
const FULL: u8 = 1;

/// Appends labels and dropped names.
pub(super) fn encode_metas(metas: &[SeriesMeta], out: &mut Vec<u8>) {
    put_label_sets(out, metas.iter().map(|meta| &meta.labels));
    for eight in metas.chunks(8) {
        out.push(eight.iter().enumerate().fold(0, |bits, (i, meta)| bits | u8::from(meta.drop_name) << i));
    }
}

/// Reads what [`encode_metas`] wrote.
pub(super) fn decode_metas(reader: &mut Reader<'_>) -> Result<Vec<SeriesMeta>, FrameError> {
    let sets = reader.label_sets()?;
    let bits = reader.take(sets.len().div_ceil(8))?;
    let meta = |(i, labels)| SeriesMeta { labels, drop_name: bits[i / 8] >> (i % 8) & 1 == 1 };
    Ok(sets.into_iter().enumerate().map(meta).collect())
}

/// Appends series and values.
pub(super) fn encode(block: &Block, out: &mut Vec<u8>) {
    encode_metas(&block.series, out);
    for i in 0..block.len() {
        let row = block.row(i);
        if row.is_full() {
            out.push(FULL);
        } else {
            out.push(SPARSE);
            put_words(out, row.valid);
        }
        row.for_each(|_, value| put_float(out, value));
        put_number(out, row.histograms.len() as u64);
        for (step, histogram) in row.histograms {
            put_number(out, *step as u64);
            put_histogram(out, histogram);
        }
    }
}

/// Reads what [`encode`] wrote of a grid of so many steps.
pub(super) fn decode(reader: &mut Reader<'_>, steps: usize, budget: &Budget) -> Result<Block, DecodeError> {
    let metas = decode_metas(reader)?;
    // Every row takes at least a byte of the frame, but a row of few values takes many more here.
    if metas.len() > reader.left() {
        return Err(reader.error("count beyond the end").into());
    }
    let _held = budget.reserve(0, (metas.len() as u64).saturating_mul(steps as u64 * 8))?;
    let mut block = Block::with_rows(steps, metas.len());
    for meta in metas {
        let mut outcome = Ok(());
        let is_kept = block.push_with(meta, |row| outcome = decode_row(reader, steps, row));
        outcome?;
        if !is_kept {
            return Err(reader.error("row without a value").into());
        }
    }
    Ok(block)
}

fn decode_row(reader: &mut Reader<'_>, steps: usize, row: &mut RowMut<'_>) -> Result<(), FrameError> {
    match reader.byte()? {
        FULL => {
            reader.floats(steps)?.zip(row.values.iter_mut()).for_each(|(value, slot)| *slot = value);
            for (i, word) in row.valid.iter_mut().enumerate() {
                *word = if steps - i * 64 >= 64 { u64::MAX } else { (1 << (steps % 64)) - 1 };
            }
        }
        SPARSE => {
            let words = reader.words(steps.div_ceil(64))?;
            if !steps.is_multiple_of(64) && words.last().is_some_and(|last| last >> (steps % 64) != 0) {
                return Err(reader.error("bit beyond the last step"));
            }
            let count: usize = words.iter().map(|word| word.count_ones() as usize).sum();
            let mut values = reader.floats(count)?;
            for step in 0..steps {
                if is_set(&words, step) {
                    row.set(step, values.next().unwrap_or(f64::NAN));
                }
            }
        }
        _ => return Err(reader.error("unknown kind of row")),
    }
    let mut next = 0;
    for _ in 0..reader.count(2)? {
        let step = usize::try_from(reader.number()?).unwrap_or(usize::MAX);
        if step < next || step >= steps || is_set(row.valid, step) {
            return Err(reader.error("histogram at a step where none can be"));
        }
        next = step + 1;
        row.set_histogram(step, Arc::new(reader.histogram()?));
    }
    Ok(())
}
