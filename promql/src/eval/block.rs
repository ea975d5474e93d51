//! Series-major tiles: the values of some series at all steps of a grid.

use crate::budget::{Budget, Reservation};
use crate::error::EvalError;
use model::Labels;

/// Series of one tile when values are streamed from operator to operator.
pub(crate) const TILE_SERIES: usize = 256;

/// Values of `rows` series at `steps` steps; a bit says whether there is one.
#[derive(Debug)]
pub(crate) struct Tile {
    steps: usize,
    words: usize,
    values: Vec<f64>,
    valid: Vec<u64>,
}

impl Tile {
    /// An empty tile with room for `rows`.
    pub(crate) fn with_rows(steps: usize, rows: usize) -> Self {
        let words = steps.div_ceil(64);
        Self { steps, words, values: Vec::with_capacity(steps * rows), valid: Vec::with_capacity(words * rows) }
    }

    /// Adds a row without values.
    pub(crate) fn push_row(&mut self) -> RowMut<'_> {
        let (at, word_at) = (self.values.len(), self.valid.len());
        self.values.resize(at + self.steps, 0.0);
        self.valid.resize(word_at + self.words, 0);
        RowMut { values: &mut self.values[at..], valid: &mut self.valid[word_at..] }
    }

    /// Adds a copy of a row.
    pub(crate) fn push_copy(&mut self, row: Row<'_>) {
        self.values.extend_from_slice(row.values);
        self.valid.extend_from_slice(row.valid);
    }

    /// Removes the last row.
    pub(crate) fn pop_row(&mut self) {
        self.values.truncate(self.values.len().saturating_sub(self.steps));
        self.valid.truncate(self.valid.len().saturating_sub(self.words));
    }

    /// Row `index`.
    pub(crate) fn row(&self, index: usize) -> Row<'_> {
        Row {
            values: &self.values[index * self.steps..(index + 1) * self.steps],
            valid: &self.valid[index * self.words..(index + 1) * self.words],
        }
    }

    /// Row `index`, to change.
    pub(crate) fn row_mut(&mut self, index: usize) -> RowMut<'_> {
        RowMut {
            values: &mut self.values[index * self.steps..(index + 1) * self.steps],
            valid: &mut self.valid[index * self.words..(index + 1) * self.words],
        }
    }

    fn append(&mut self, other: &mut Self) {
        self.values.append(&mut other.values);
        self.valid.append(&mut other.valid);
    }
}

/// One series' values.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row<'a> {
    /// One value a step; meaningless where there is none.
    pub(crate) values: &'a [f64],
    /// Bit `step % 64` of word `step / 64` is set where there is a value.
    pub(crate) valid: &'a [u64],
}

impl<'a> Row<'a> {
    /// The value at `step`, if there is one.
    pub(crate) fn get(&self, step: usize) -> Option<f64> {
        is_set(self.valid, step).then(|| self.values[step])
    }

    /// Whether there is no value at all.
    pub(crate) fn is_empty(&self) -> bool {
        self.valid.iter().all(|w| *w == 0)
    }

    /// Whether all of the `steps` have a value.
    pub(crate) fn is_full(&self) -> bool {
        self.count() == self.values.len()
    }

    /// Calls `each` with every step that has a value, and with it. Runs of 64 steps without a gap take no look at their bits.
    #[inline]
    pub(crate) fn for_each(self, mut each: impl FnMut(usize, f64)) {
        for (i, (word, values)) in self.valid.iter().zip(self.values.chunks(64)).enumerate() {
            let first = i * 64;
            if *word == u64::MAX {
                values.iter().enumerate().for_each(|(k, value)| each(first + k, *value));
            } else {
                let mut rest = *word;
                while rest != 0 {
                    let bit = rest.trailing_zeros() as usize;
                    each(first + bit, values[bit]);
                    rest &= rest - 1;
                }
            }
        }
    }

    /// Number of values.
    pub(crate) fn count(self) -> usize {
        self.valid.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// The steps that have a value, with it.
    pub(crate) fn iter(self) -> impl Iterator<Item = (usize, f64)> + 'a {
        let values = self.values;
        set_bits(self.valid).map(move |step| (step, values[step]))
    }
}

/// One series' values, to change.
#[derive(Debug)]
pub(crate) struct RowMut<'a> {
    /// See [`Row`].
    pub(crate) values: &'a mut [f64],
    /// See [`Row`].
    pub(crate) valid: &'a mut [u64],
}

impl RowMut<'_> {
    /// Sets the value at `step`.
    pub(crate) fn set(&mut self, step: usize, value: f64) {
        self.values[step] = value;
        self.valid[step / 64] |= 1 << (step % 64);
    }

    /// Sets, step by step, the value that `value` returns, if any, in a row without values.
    #[inline]
    pub(crate) fn fill_with(&mut self, mut value: impl FnMut(usize) -> Option<f64>) {
        for (i, (word, values)) in self.valid.iter_mut().zip(self.values.chunks_mut(64)).enumerate() {
            let mut bits = 0;
            for (k, slot) in values.iter_mut().enumerate() {
                if let Some(value) = value(i * 64 + k) {
                    *slot = value;
                    bits |= 1 << k;
                }
            }
            *word = bits;
        }
    }

    /// Removes the value at `step`.
    pub(crate) fn clear(&mut self, step: usize) {
        self.valid[step / 64] &= !(1 << (step % 64));
    }

    /// Sets one value at every step.
    pub(crate) fn fill(&mut self, value: f64) {
        for step in 0..self.values.len() {
            self.set(step, value);
        }
    }

    /// The row as it is now.
    pub(crate) fn as_row(&self) -> Row<'_> {
        Row { values: self.values, valid: self.valid }
    }
}

/// Whether bit `index` is set.
pub(crate) fn is_set(words: &[u64], index: usize) -> bool {
    words[index / 64] >> (index % 64) & 1 == 1
}

/// Indices of the bits that are set, ascending.
pub(crate) fn set_bits(words: &[u64]) -> impl Iterator<Item = usize> + '_ {
    words.iter().enumerate().flat_map(|(i, word)| {
        let mut rest = *word;
        std::iter::from_fn(move || {
            let bit = rest.trailing_zeros() as usize;
            (rest != 0).then(|| {
                rest &= rest - 1;
                i * 64 + bit
            })
        })
    })
}

/// Who a row belongs to.
#[derive(Clone, Debug)]
pub(crate) struct SeriesMeta {
    /// Labels, the name still among them if `drop_name`.
    pub(crate) labels: Labels,
    /// Whether the name goes away at the end of the query.
    pub(crate) drop_name: bool,
}

/// Series and their tile.
#[derive(Debug)]
pub(crate) struct Block {
    /// `series[i]` owns row `i`.
    pub(crate) series: Vec<SeriesMeta>,
    /// The values.
    pub(crate) tile: Tile,
    steps: usize,
    held: Vec<Reservation>,
}

impl Block {
    /// A block without series.
    pub(crate) fn new(steps: usize) -> Self {
        Self::with_rows(steps, 0)
    }

    /// A block without series, with room for `rows`.
    pub(crate) fn with_rows(steps: usize, rows: usize) -> Self {
        Self { series: Vec::with_capacity(rows), tile: Tile::with_rows(steps, rows), steps, held: Vec::new() }
    }

    /// Number of series.
    pub(crate) fn len(&self) -> usize {
        self.series.len()
    }

    /// Whether it holds no series.
    pub(crate) fn is_empty(&self) -> bool {
        self.series.is_empty()
    }

    /// Number of values.
    pub(crate) fn values(&self) -> usize {
        self.tile.valid.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// Steps of its grid.
    pub(crate) fn steps(&self) -> usize {
        self.steps
    }

    /// Values of series `index`.
    pub(crate) fn row(&self, index: usize) -> Row<'_> {
        self.tile.row(index)
    }

    /// Adds a series with a copy of a row.
    pub(crate) fn push(&mut self, meta: SeriesMeta, row: Row<'_>) {
        self.series.push(meta);
        self.tile.push_copy(row);
    }

    /// Adds a series whose row `fill` writes; leaves it out if that wrote nothing.
    pub(crate) fn push_with(&mut self, meta: SeriesMeta, fill: impl FnOnce(&mut RowMut<'_>)) -> bool {
        let mut row = self.tile.push_row();
        fill(&mut row);
        if row.as_row().is_empty() {
            self.tile.pop_row();
            return false;
        }
        self.series.push(meta);
        true
    }

    /// Appends all series of another block of the same grid.
    pub(crate) fn append(&mut self, mut other: Self) {
        self.series.append(&mut other.series);
        self.tile.append(&mut other.tile);
        self.held.append(&mut other.held);
    }

    /// Accounts for what it holds now, until it is dropped.
    pub(crate) fn account(mut self, budget: &Budget) -> Result<Self, EvalError> {
        self.held.clear();
        let samples = self.values() as u64;
        let labels = self.series.len() * size_of::<SeriesMeta>();
        let bytes = (self.tile.values.capacity() + self.tile.valid.capacity()) * 8 + labels;
        self.held.push(budget.reserve(samples, bytes as u64)?);
        Ok(self)
    }
}
