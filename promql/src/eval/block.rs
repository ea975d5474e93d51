//! Series-major tiles: the values of some series at all steps of a grid.

use crate::budget::{Budget, Reservation};
use crate::error::EvalError;
use crate::source::{histogram_bytes, histogram_samples};
use crate::stats::Seen;
use model::Labels;
use model::histogram::FloatHistogram;
use std::ops::Range;
use std::sync::Arc;

/// Series of one tile when values are streamed from operator to operator.
pub(crate) const TILE_SERIES: usize = 256;

/// Rows for which a tile has room at first: many queries find few series.
const FIRST_ROWS: usize = 16;

/// A native histogram at a step.
pub(crate) type StepHistogram = (usize, Arc<FloatHistogram>);

/// Values of `rows` series at `steps` steps. A bit says whether there is a float. Native histograms are rare: each row has a list of
/// them beside its floats, sorted by step; at no step has a row both.
#[derive(Debug)]
pub(crate) struct Tile {
    steps: usize,
    words: usize,
    values: Vec<f64>,
    valid: Vec<u64>,
    histograms: Vec<Vec<StepHistogram>>,
}

impl Tile {
    /// An empty tile with room for `rows`.
    pub(crate) fn with_rows(steps: usize, rows: usize) -> Self {
        let words = steps.div_ceil(64);
        let (values, valid) = (Vec::with_capacity(steps * rows), Vec::with_capacity(words * rows));
        Self { steps, words, values, valid, histograms: Vec::with_capacity(rows) }
    }

    /// Adds a row without values.
    pub(crate) fn push_row(&mut self) -> RowMut<'_> {
        let (at, word_at) = (self.values.len(), self.valid.len());
        self.values.resize(at + self.steps, 0.0);
        self.valid.resize(word_at + self.words, 0);
        let histograms = self.histograms.push_mut(Vec::new());
        RowMut { values: &mut self.values[at..], valid: &mut self.valid[word_at..], histograms }
    }

    /// Adds a copy of a row.
    pub(crate) fn push_copy(&mut self, row: Row<'_>) {
        self.values.extend_from_slice(row.values);
        self.valid.extend_from_slice(row.valid);
        self.histograms.push(row.histograms.to_vec());
    }

    /// Removes the last row.
    pub(crate) fn pop_row(&mut self) {
        self.values.truncate(self.values.len().saturating_sub(self.steps));
        self.valid.truncate(self.valid.len().saturating_sub(self.words));
        self.histograms.pop();
    }

    /// Row `index`.
    pub(crate) fn row(&self, index: usize) -> Row<'_> {
        Row {
            values: &self.values[index * self.steps..(index + 1) * self.steps],
            valid: &self.valid[index * self.words..(index + 1) * self.words],
            histograms: &self.histograms[index],
        }
    }

    /// Row `index`, to change.
    pub(crate) fn row_mut(&mut self, index: usize) -> RowMut<'_> {
        RowMut {
            values: &mut self.values[index * self.steps..(index + 1) * self.steps],
            valid: &mut self.valid[index * self.words..(index + 1) * self.words],
            histograms: &mut self.histograms[index],
        }
    }

    /// Keeps the rows of which `keeps` says so, in their order.
    fn retain(&mut self, keeps: &[bool]) {
        let mut to = 0;
        for (from, _) in keeps.iter().enumerate().filter(|(_, keeps)| **keeps) {
            if from != to {
                self.values.copy_within(from * self.steps..(from + 1) * self.steps, to * self.steps);
                self.valid.copy_within(from * self.words..(from + 1) * self.words, to * self.words);
                self.histograms.swap(from, to);
            }
            to += 1;
        }
        self.values.truncate(to * self.steps);
        self.valid.truncate(to * self.words);
        self.histograms.truncate(to);
    }

    fn clear(&mut self) {
        self.values.clear();
        self.valid.clear();
        self.histograms.clear();
    }

    fn append(&mut self, other: &mut Self) {
        self.values.append(&mut other.values);
        self.valid.append(&mut other.valid);
        self.histograms.append(&mut other.histograms);
    }
}

/// One series' values.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row<'a> {
    /// One float a step; meaningless where there is none.
    pub(crate) values: &'a [f64],
    /// Bit `step % 64` of word `step / 64` is set where there is a float.
    pub(crate) valid: &'a [u64],
    /// The histograms, sorted by step.
    pub(crate) histograms: &'a [StepHistogram],
}

impl<'a> Row<'a> {
    /// The float at `step`, if there is one.
    pub(crate) fn get(&self, step: usize) -> Option<f64> {
        is_set(self.valid, step).then(|| self.values[step])
    }

    /// The histogram at `step`, if there is one.
    pub(crate) fn histogram(&self, step: usize) -> Option<&'a Arc<FloatHistogram>> {
        self.histograms.binary_search_by_key(&step, |(at, _)| *at).ok().map(|i| &self.histograms[i].1)
    }

    /// Whether there is a float or a histogram at `step`.
    pub(crate) fn has(&self, step: usize) -> bool {
        is_set(self.valid, step) || self.histogram(step).is_some()
    }

    /// Whether there is neither a float nor a histogram at all.
    pub(crate) fn is_empty(&self) -> bool {
        self.histograms.is_empty() && self.valid.iter().all(|w| *w == 0)
    }

    /// Bits as in `valid`, of floats and histograms.
    pub(crate) fn present(&self) -> std::borrow::Cow<'a, [u64]> {
        if self.histograms.is_empty() {
            return std::borrow::Cow::Borrowed(self.valid);
        }
        let mut words = self.valid.to_vec();
        self.histograms.iter().for_each(|(step, _)| words[step / 64] |= 1 << (step % 64));
        std::borrow::Cow::Owned(words)
    }

    /// Whether all of the `steps` have a float.
    pub(crate) fn is_full(&self) -> bool {
        self.count() == self.values.len()
    }

    /// Calls `each` with every step that has a float, and with it. Runs of 64 steps without a gap take no look at their bits.
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

    /// Calls `each` with runs of steps that all have a float: the first step, and the floats.
    #[inline]
    pub(crate) fn for_each_run(self, mut each: impl FnMut(usize, &[f64])) {
        for (i, (word, values)) in self.valid.iter().zip(self.values.chunks(64)).enumerate() {
            let mut rest = *word;
            while rest != 0 {
                let from = rest.trailing_zeros();
                let length = (rest >> from).trailing_ones();
                each(i * 64 + from as usize, &values[from as usize..(from + length) as usize]);
                // A shift by all bits would be none.
                rest = if from + length == 64 { 0 } else { rest >> (from + length) << (from + length) };
            }
        }
    }

    /// Number of floats.
    pub(crate) fn count(self) -> usize {
        self.valid.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// The steps that have a float, with it.
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
    /// See [`Row`].
    pub(crate) histograms: &'a mut Vec<StepHistogram>,
}

impl RowMut<'_> {
    /// Sets the float at `step`.
    pub(crate) fn set(&mut self, step: usize, value: f64) {
        self.values[step] = value;
        self.valid[step / 64] |= 1 << (step % 64);
    }

    /// Sets the histogram at `step`, where there is no float.
    pub(crate) fn set_histogram(&mut self, step: usize, histogram: Arc<FloatHistogram>) {
        match self.histograms.last() {
            // Steps mostly come in order.
            Some((last, _)) if *last >= step => match self.histograms.binary_search_by_key(&step, |(at, _)| *at) {
                Ok(at) => self.histograms[at].1 = histogram,
                Err(at) => self.histograms.insert(at, (step, histogram)),
            },
            _ => self.histograms.push((step, histogram)),
        }
    }

    /// Copies the float or histogram that another row of the same grid has at `step`, to where there is none.
    pub(crate) fn copy_step(&mut self, row: Row<'_>, step: usize) {
        match (row.get(step), row.histogram(step)) {
            (Some(value), _) => self.set(step, value),
            (None, Some(histogram)) => self.set_histogram(step, Arc::clone(histogram)),
            (None, None) => {}
        }
    }

    /// Removes the histograms.
    pub(crate) fn clear_histograms(&mut self) {
        self.histograms.clear();
    }

    /// Copies floats and histograms of another row of the same grid.
    pub(crate) fn copy_from(&mut self, row: Row<'_>) {
        self.values.copy_from_slice(row.values);
        self.valid.copy_from_slice(row.valid);
        self.histograms.clear();
        self.histograms.extend_from_slice(row.histograms);
    }

    /// Keeps floats and histograms only at the steps whose bits are set.
    pub(crate) fn mask(&mut self, words: &[u64]) {
        self.valid.iter_mut().zip(words).for_each(|(valid, word)| *valid &= word);
        self.histograms.retain(|(step, _)| is_set(words, *step));
    }

    /// Sets, step by step, the float that `value` returns, if any, in a row without floats. Asked are the steps of `words` of bits.
    #[inline]
    pub(crate) fn fill_with(&mut self, words: Range<usize>, mut value: impl FnMut() -> Option<f64>) {
        let rows = self.valid.iter_mut().zip(self.values.chunks_mut(64));
        for (word, values) in rows.take(words.end).skip(words.start) {
            let mut bits = 0;
            for (k, slot) in values.iter_mut().enumerate() {
                if let Some(value) = value() {
                    *slot = value;
                    bits |= 1 << k;
                }
            }
            *word = bits;
        }
    }

    /// Removes the float at `step`.
    pub(crate) fn clear(&mut self, step: usize) {
        self.valid[step / 64] &= !(1 << (step % 64));
    }

    /// Sets one float at every step.
    pub(crate) fn fill(&mut self, value: f64) {
        for step in 0..self.values.len() {
            self.set(step, value);
        }
    }

    /// The row as it is now.
    pub(crate) fn as_row(&self) -> Row<'_> {
        Row { values: self.values, valid: self.valid, histograms: self.histograms }
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
    /// Room for the rows that it was made for.
    room: Option<Reservation>,
}

/// Bytes that a row of so many steps takes.
fn row_bytes(steps: usize) -> usize {
    steps.saturating_add(steps.div_ceil(64)).saturating_mul(8) + size_of::<SeriesMeta>() + size_of::<Vec<StepHistogram>>()
}

impl Block {
    /// A block without series.
    pub(crate) fn new(steps: usize) -> Self {
        Self::with_rows(steps, 0)
    }

    /// A block without series, with room for `rows`.
    pub(crate) fn with_rows(steps: usize, rows: usize) -> Self {
        Self { series: Vec::with_capacity(rows), tile: Tile::with_rows(steps, rows), steps, held: Vec::new(), room: None }
    }

    /// A block without series that takes room for `rows` from the budget, until it is dropped.
    ///
    /// # Errors
    /// There is not so much room.
    pub(crate) fn reserved(steps: usize, rows: usize, budget: &Budget) -> Result<Self, EvalError> {
        let room = budget.reserve(0, row_bytes(steps).saturating_mul(rows) as u64)?;
        Ok(Self { room: Some(room), ..Self::with_rows(steps, rows) })
    }

    /// As [`Self::reserved`], where most have fewer rows than the most that there may be: it begins small and grows.
    ///
    /// # Errors
    /// There is not so much room.
    pub(crate) fn growing(steps: usize, rows_max: usize, budget: &Budget) -> Result<Self, EvalError> {
        let room = budget.reserve(0, row_bytes(steps).saturating_mul(rows_max) as u64)?;
        Ok(Self { room: Some(room), ..Self::with_rows(steps, rows_max.min(FIRST_ROWS)) })
    }

    /// Removes all series; their room stays, in memory and of the budget.
    pub(crate) fn clear(&mut self) {
        self.series.clear();
        self.tile.clear();
        self.held.clear();
    }

    /// Number of series.
    pub(crate) fn len(&self) -> usize {
        self.series.len()
    }

    /// Whether it holds no series.
    pub(crate) fn is_empty(&self) -> bool {
        self.series.is_empty()
    }

    /// As how many samples its floats and histograms count.
    pub(crate) fn samples(&self) -> u64 {
        let floats = self.tile.valid.iter().map(|word| u64::from(word.count_ones())).sum::<u64>();
        floats + self.histograms().map(|(_, histogram)| histogram_samples(histogram)).sum::<u64>()
    }

    /// Counts its floats and histograms at their steps.
    pub(crate) fn count_into(&self, seen: &mut Seen) {
        // Most series have a value everywhere.
        let mut full = 0;
        for i in 0..self.len() {
            let row = self.row(i);
            if row.is_full() {
                full += 1;
            } else {
                set_bits(row.valid).for_each(|step| seen.add(step, 1));
            }
        }
        seen.add_everywhere(full);
        self.histograms().for_each(|(step, histogram)| seen.add(*step, histogram_samples(histogram)));
    }

    fn histograms(&self) -> impl Iterator<Item = &StepHistogram> {
        self.tile.histograms.iter().flatten()
    }

    /// Steps of its grid.
    pub(crate) fn steps(&self) -> usize {
        self.steps
    }

    /// Whether any series has a histogram.
    pub(crate) fn has_histograms(&self) -> bool {
        self.histograms().next().is_some()
    }

    /// Keeps the series of which `keeps` says so, in their order. The room of the others stays.
    pub(crate) fn retain(&mut self, keeps: &[bool]) {
        if keeps.iter().all(|keeps| *keeps) {
            return;
        }
        self.tile.retain(keeps);
        let mut keeps = keeps.iter();
        self.series.retain(|_| keeps.next().is_some_and(|keeps| *keeps));
    }

    /// Removes the histograms; true if there were any.
    pub(crate) fn clear_histograms(&mut self) -> bool {
        let found = self.has_histograms();
        self.tile.histograms.iter_mut().for_each(Vec::clear);
        found
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
        self.held.extend(other.room.take());
    }

    /// Accounts for what it holds now, until it is dropped.
    pub(crate) fn account(mut self, budget: &Budget) -> Result<Self, EvalError> {
        self.held.clear();
        self.room = None;
        self.held.push(budget.reserve(self.samples(), self.heap_bytes() as u64)?);
        Ok(self)
    }

    /// Takes room for what it holds now, until it is dropped. Its samples are counted by who made it.
    ///
    /// # Errors
    /// There is not so much room.
    pub(crate) fn hold(mut self, budget: &Budget) -> Result<Self, EvalError> {
        self.held.clear();
        self.room = None;
        self.room = Some(budget.reserve(0, self.heap_bytes() as u64)?);
        Ok(self)
    }

    /// Takes room for its histograms too, if it has any.
    ///
    /// # Errors
    /// There is not so much room.
    pub(crate) fn hold_histograms(self, budget: &Budget) -> Result<Self, EvalError> {
        if self.has_histograms() { self.hold(budget) } else { Ok(self) }
    }

    /// Whether the budget knows of the room that it has.
    pub(crate) fn has_room(&self) -> bool {
        self.room.is_some()
    }

    /// Bytes that it takes, labels apart.
    pub(crate) fn heap_bytes(&self) -> usize {
        let rows = self.series.len() * (size_of::<SeriesMeta>() + size_of::<Vec<StepHistogram>>());
        let histograms: usize = self.histograms().map(|(_, h)| size_of::<StepHistogram>() + histogram_bytes(h)).sum();
        (self.tile.values.capacity() + self.tile.valid.capacity()) * 8 + rows + histograms
    }
}
