//! One series of a request, in either version: its labels, and its samples, histograms, exemplars and metadata to be read.

use super::histogram::WireHistogram;
use super::wire::{Schema, Wire, WireType};
use super::{DecodeError, LabelBytes};
use crate::ingest::admit::LABELS_KEPT_MAX;
use model::{Sample, Timestamp};
use tsdb::metadata::MetricKind;

const LABEL: Schema = Schema(&[(1, WireType::Bytes, None), (2, WireType::Bytes, None)]);
const EXEMPLAR_1: Schema = Schema(&[(1, WireType::Bytes, Some(&LABEL)), (2, WireType::Fixed64, None), (3, WireType::Varint, None)]);
const EXEMPLAR_2: Schema = Schema(&[(2, WireType::Fixed64, None), (3, WireType::Varint, None)]);
const METADATA_2: Schema = Schema(&[(1, WireType::Varint, None), (3, WireType::Varint, None), (4, WireType::Varint, None)]);
/// Repeated numbers of a histogram may be packed or not, so only what is always length-delimited or single is fixed here.
const HISTOGRAM: Schema = Schema(&[
    (1, WireType::Varint, None),
    (2, WireType::Fixed64, None),
    (3, WireType::Fixed64, None),
    (4, WireType::Varint, None),
    (5, WireType::Fixed64, None),
    (6, WireType::Varint, None),
    (7, WireType::Fixed64, None),
    (8, WireType::Bytes, Some(&BUCKET_SPAN)),
    (11, WireType::Bytes, Some(&BUCKET_SPAN)),
    (14, WireType::Varint, None),
    (15, WireType::Varint, None),
]);
const BUCKET_SPAN: Schema = Schema(&[(1, WireType::Varint, None), (2, WireType::Varint, None)]);

/// Version of the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// `prometheus.WriteRequest`.
    V1,
    /// `io.prometheus.write.v2.Request`.
    V2,
}

impl Version {
    fn histogram_field(self) -> u32 {
        if self == Self::V1 { 4 } else { 3 }
    }

    fn exemplar_field(self) -> u32 {
        if self == Self::V1 { 3 } else { 4 }
    }
}

/// Why the labels of a series of version 2 cannot be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RefError {
    /// A name without a value.
    #[error("invalid labelRefs length {length}")]
    OddLength {
        /// References.
        length: usize,
    },
    /// A reference beyond the symbols.
    #[error("labelRefs {at} = {reference} outside of symbols table (size {symbols})")]
    OutOfRange {
        /// Place of the reference.
        at: usize,
        /// The reference.
        reference: u64,
        /// Number of symbols.
        symbols: usize,
    },
}

/// What version 2 says about the metric of a series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeriesMetadata<'a> {
    /// Type.
    pub kind: MetricKind,
    /// Help.
    pub help: &'a [u8],
    /// Unit.
    pub unit: &'a [u8],
}

/// One series as it stands in the body.
#[derive(Clone, Copy, Debug)]
pub struct RawSeries<'a>(pub(super) Wire<'a>);

impl<'a> RawSeries<'a> {
    /// All bytes of the series.
    #[must_use]
    pub fn bytes(&self) -> &'a [u8] {
        self.0.rest()
    }

    /// The labels that a series of version 1 begins with, as they stand there; whether they are well formed was not looked at.
    #[must_use]
    pub fn leading_labels(&self) -> &'a [u8] {
        let (mut wire, mut end) = (self.0, 0);
        while let Ok(Some((1, wire_type))) = wire.key() {
            if wire.bytes(1, wire_type).is_err() {
                break;
            }
            end = self.0.rest().len() - wire.rest().len();
        }
        self.0.rest().get(..end).unwrap_or_default()
    }

    /// A series of version 2 as its references, if nothing but samples without a start, at least one, and metadata follow them.
    #[must_use]
    #[inline]
    pub fn referring(&self) -> Option<ReferringSeries<'a>> {
        let mut series = self.0;
        let Ok(Some((1, WireType::Bytes))) = series.key() else { return None };
        let mut found = ReferringSeries { refs: series.message(1, WireType::Bytes).ok()?, samples: Samples::default(), metadata: None };
        while let Some((field, wire_type)) = series.key().ok()? {
            match field {
                2 => {
                    let (sample, start_ms) = series.message(2, wire_type).and_then(read_sample).ok()?;
                    if start_ms != 0 {
                        return None;
                    }
                    found.samples.found(sample, series);
                }
                5 => found.metadata = Some(series.message(5, wire_type).ok()?),
                _ => return None,
            }
        }
        (found.samples.len() > 0).then_some(found)
    }

    /// The samples behind `labels_bytes` bytes of labels in a series of version 1, if nothing but well-formed samples is there.
    #[must_use]
    #[inline]
    pub fn samples_behind(&self, labels_bytes: usize) -> Option<Samples<'a>> {
        let mut series = self.0;
        series.pass(labels_bytes)?;
        let mut samples = Samples::default();
        while let Ok(Some((2, wire_type))) = series.key() {
            let (sample, _) = series.message(2, wire_type).and_then(read_sample).ok()?;
            samples.found(sample, series);
            if series.rest().is_empty() {
                return Some(samples);
            }
        }
        None
    }
}

/// A series of version 2 of which only its references to symbols were looked at.
#[derive(Clone, Debug)]
pub struct ReferringSeries<'a> {
    refs: Wire<'a>,
    /// Its samples.
    pub samples: Samples<'a>,
    /// What it says about its metric, as it stands there.
    metadata: Option<Wire<'a>>,
}

impl<'a> ReferringSeries<'a> {
    /// Hands over the references in their order; false if they are not well formed.
    #[inline]
    pub fn each_ref(&self, visit: impl FnMut(u64)) -> bool {
        let mut refs = self.refs;
        refs.varints_to_end(visit).is_ok()
    }

    /// The bytes of what it says about its metric.
    #[must_use]
    pub fn metadata_bytes(&self) -> &'a [u8] {
        self.metadata.map(|message| message.rest()).unwrap_or_default()
    }

    /// Reads what it says about its metric; `None` if that is not well formed.
    #[must_use]
    pub fn metadata(&self, symbols: &[&'a [u8]]) -> Option<Option<SeriesMetadata<'a>>> {
        let Some(message) = self.metadata else { return Some(None) };
        message.check(&METADATA_2).ok()?;
        read_metadata(message, symbols).ok()?.ok()
    }
}

/// One series: its labels as sent, what it holds to be read.
#[derive(Debug)]
pub struct SeriesReader<'r, 'a> {
    /// Labels in the order sent; at most [`LABELS_KEPT_MAX`].
    pub labels: &'r mut Vec<LabelBytes<'a>>,
    /// How many labels were sent.
    pub label_count: usize,
    /// Why its labels, or what it says about its metric, cannot be told.
    pub refs: Result<(), RefError>,
    /// What it says about its metric (version 2), if anything.
    pub metadata: Option<SeriesMetadata<'a>>,
    /// The rest.
    pub body: SeriesBody<'a>,
}

/// Samples, histograms and exemplars of one series; samples are known to be well formed.
#[derive(Clone, Debug)]
pub struct SeriesBody<'a> {
    version: Version,
    /// The samples in the order sent.
    pub samples: Samples<'a>,
    /// Number of histograms.
    pub histograms: usize,
    /// Number of exemplars.
    pub exemplars: usize,
    wire: Wire<'a>,
    /// When all of it started, as early drafts of version 2 say it.
    created_ms: Timestamp,
}

/// An exemplar as sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WireExemplar {
    /// Milliseconds.
    pub timestamp_ms: Timestamp,
    /// The observed value.
    pub value: f64,
}

impl<'a> SeriesBody<'a> {
    /// Floats and histograms.
    #[must_use]
    pub fn sample_count(&self) -> u32 {
        u32::try_from(self.samples.len() + self.histograms).unwrap_or(u32::MAX)
    }

    /// Reads the histograms in the order sent.
    ///
    /// # Errors
    /// [`DecodeError::Protobuf`].
    pub fn each_histogram(&self, mut visit: impl FnMut(WireHistogram)) -> Result<(), DecodeError> {
        let wanted = self.version.histogram_field();
        let mut wire = self.wire;
        let mut left = self.histograms;
        while left > 0
            && let Some((field, found)) = wire.key()?
        {
            if field != wanted {
                wire.skip(field, found)?;
                continue;
            }
            left -= 1;
            let mut histogram = WireHistogram::read(wire.message(field, found)?)?;
            if self.version == Version::V1 {
                histogram.start_ms = 0;
            } else if histogram.start_ms == 0 {
                histogram.start_ms = self.created_ms;
            }
            visit(histogram);
        }
        Ok(())
    }

    /// Reads the exemplars in the order sent; `labels` holds those of each while it is visited.
    ///
    /// # Errors
    /// [`DecodeError::Protobuf`].
    pub fn each_exemplar(
        &self,
        symbols: &[&'a [u8]],
        labels: &mut Vec<LabelBytes<'a>>,
        mut visit: impl FnMut(Result<WireExemplar, RefError>, &mut Vec<LabelBytes<'a>>),
    ) -> Result<(), DecodeError> {
        let wanted = self.version.exemplar_field();
        let mut wire = self.wire;
        let mut left = self.exemplars;
        while left > 0
            && let Some((field, found)) = wire.key()?
        {
            if field != wanted {
                wire.skip(field, found)?;
                continue;
            }
            left -= 1;
            let exemplar = self.read_exemplar(wire.message(field, found)?, symbols, labels)?;
            visit(exemplar, labels);
        }
        Ok(())
    }

    fn read_exemplar(
        &self,
        mut wire: Wire<'a>,
        symbols: &[&'a [u8]],
        labels: &mut Vec<LabelBytes<'a>>,
    ) -> Result<Result<WireExemplar, RefError>, DecodeError> {
        let mut read = WireExemplar { timestamp_ms: 0, value: 0.0 };
        let mut refs = Refs::new(symbols);
        labels.clear();
        while let Some((field, found)) = wire.key()? {
            match field {
                1 if self.version == Version::V1 => {
                    let label = read_label(wire.message(field, found)?)?;
                    if labels.len() < LABELS_KEPT_MAX {
                        labels.push(label);
                    }
                }
                1 => wire.varints(field, found, |reference| refs.push(reference, labels))?,
                2 => read.value = f64::from_bits(wire.fixed64(field, found)?),
                3 => read.timestamp_ms = wire.varint_field(field, found)?.cast_signed(),
                _ => wire.skip(field, found)?,
            }
        }
        Ok(refs.finish().map(|_| read))
    }
}

/// Pairs up references to symbols.
struct Refs<'s, 'a> {
    symbols: &'s [&'a [u8]],
    count: usize,
    name: &'a [u8],
    error: Option<RefError>,
}

impl<'s, 'a> Refs<'s, 'a> {
    fn new(symbols: &'s [&'a [u8]]) -> Self {
        Self { symbols, count: 0, name: &[], error: None }
    }

    #[inline]
    fn push(&mut self, reference: u64, labels: &mut Vec<LabelBytes<'a>>) {
        let at = self.count;
        self.count += 1;
        let symbol = usize::try_from(reference).ok().and_then(|reference| self.symbols.get(reference));
        let Some(symbol) = symbol else {
            self.error.get_or_insert(RefError::OutOfRange { at, reference, symbols: self.symbols.len() });
            return;
        };
        if at.is_multiple_of(2) {
            self.name = symbol;
        } else if labels.len() < LABELS_KEPT_MAX {
            labels.push((self.name, symbol));
        }
    }

    /// The number of labels.
    fn finish(self) -> Result<usize, RefError> {
        if !self.count.is_multiple_of(2) {
            return Err(RefError::OddLength { length: self.count });
        }
        self.error.map_or(Ok(self.count / 2), Err)
    }
}

/// Reads a `prometheus.TimeSeries`.
pub(super) fn read_series_1<'r, 'a>(
    mut series: Wire<'a>,
    labels: &'r mut Vec<LabelBytes<'a>>,
) -> Result<SeriesReader<'r, 'a>, DecodeError> {
    labels.clear();
    let mut label_count = 0;
    let mut body = SeriesBody::new(Version::V1, series);
    while let Some((field, wire_type)) = series.key()? {
        match field {
            1 => {
                let label = read_label(series.message(field, wire_type)?)?;
                label_count += 1;
                if labels.len() < LABELS_KEPT_MAX {
                    labels.push(label);
                }
            }
            2 => {
                let sample = read_sample(series.message(field, wire_type)?)?;
                body.samples.found(sample.0, series);
            }
            3 => {
                series.message(field, wire_type)?.check(&EXEMPLAR_1)?;
                body.exemplars += 1;
            }
            4 => {
                series.message(field, wire_type)?.check(&HISTOGRAM)?;
                body.histograms += 1;
            }
            _ => series.skip(field, wire_type)?,
        }
    }
    Ok(SeriesReader { labels, label_count, refs: Ok(()), metadata: None, body })
}

/// Reads an `io.prometheus.write.v2.TimeSeries`.
pub(super) fn read_series_2<'r, 'a>(
    mut series: Wire<'a>,
    symbols: &[&'a [u8]],
    labels: &'r mut Vec<LabelBytes<'a>>,
) -> Result<SeriesReader<'r, 'a>, DecodeError> {
    labels.clear();
    let mut body = SeriesBody::new(Version::V2, series);
    let mut refs = Refs::new(symbols);
    let mut metadata = None;
    while let Some((field, found)) = series.key()? {
        match field {
            1 => series.varints(field, found, |reference| refs.push(reference, labels))?,
            2 => {
                let (sample, start_ms) = read_sample(series.message(field, found)?)?;
                body.samples.found(sample, series);
                body.samples.has_starts |= start_ms != 0;
            }
            3 => {
                series.message(field, found)?.check(&HISTOGRAM)?;
                body.histograms += 1;
            }
            4 => {
                series.message(field, found)?.check(&EXEMPLAR_2)?;
                body.exemplars += 1;
            }
            5 => {
                let message = series.message(field, found)?;
                message.check(&METADATA_2)?;
                metadata = Some(message);
            }
            6 => body.created_ms = series.varint_field(field, found)?.cast_signed(),
            _ => series.skip(field, found)?,
        }
    }
    body.samples.has_starts |= body.created_ms != 0;
    let mut told = refs.finish();
    let metadata = match metadata.map(|message| read_metadata(message, symbols)).transpose()? {
        Some(Ok(metadata)) => metadata,
        Some(Err(error)) => {
            told = told.and(Err(error));
            None
        }
        None => None,
    };
    let label_count = told.unwrap_or(labels.len());
    Ok(SeriesReader { labels, label_count, refs: told.map(drop), metadata, body })
}

type MaybeMetadata<'a> = Result<Option<SeriesMetadata<'a>>, RefError>;

fn read_metadata<'a>(mut wire: Wire<'a>, symbols: &[&'a [u8]]) -> Result<MaybeMetadata<'a>, DecodeError> {
    let (mut kind, mut refs) = (0, [0u64; 2]);
    while let Some((field, found)) = wire.key()? {
        match field {
            1 => kind = wire.varint_field(field, found)?,
            3 => refs[0] = wire.varint_field(field, found)?,
            4 => refs[1] = wire.varint_field(field, found)?,
            _ => wire.skip(field, found)?,
        }
    }
    let symbol = |at: usize, reference: u64| -> Result<&'a [u8], RefError> {
        let found = usize::try_from(reference).ok().and_then(|reference| symbols.get(reference)).copied();
        found.ok_or(RefError::OutOfRange { at, reference, symbols: symbols.len() })
    };
    let [help_ref, unit_ref] = refs;
    let texts = symbol(0, help_ref).and_then(|help| Ok((help, symbol(1, unit_ref)?)));
    Ok(texts.map(|(help, unit)| {
        let kind = MetricKind::from_number(kind);
        let says_something = kind != MetricKind::Unknown || !help.is_empty() || !unit.is_empty();
        says_something.then_some(SeriesMetadata { kind, help, unit })
    }))
}

fn read_label(mut label: Wire<'_>) -> Result<LabelBytes<'_>, DecodeError> {
    let (mut name, mut value): LabelBytes<'_> = (&[], &[]);
    while let Some((field, wire_type)) = label.key()? {
        match field {
            1 => name = label.bytes(field, wire_type)?,
            2 => value = label.bytes(field, wire_type)?,
            _ => label.skip(field, wire_type)?,
        }
    }
    Ok((name, value))
}

/// A sample, and the start that version 2 has with it.
#[inline]
fn read_sample(mut sample: Wire<'_>) -> Result<(Sample, Timestamp), DecodeError> {
    let mut read = Sample { timestamp_ms: 0, value: 0.0 };
    let mut start_ms = 0;
    while let Some((field, wire_type)) = sample.key()? {
        match field {
            1 => read.value = f64::from_bits(sample.fixed64(field, wire_type)?),
            2 => read.timestamp_ms = sample.varint_field(field, wire_type)?.cast_signed(),
            3 if wire_type == WireType::Varint => start_ms = sample.varint_field(field, wire_type)?.cast_signed(),
            _ => sample.skip(field, wire_type)?,
        }
    }
    Ok((read, start_ms))
}

impl<'a> SeriesBody<'a> {
    fn new(version: Version, wire: Wire<'a>) -> Self {
        Self { version, samples: Samples::default(), histograms: 0, exemplars: 0, wire, created_ms: 0 }
    }
}

/// The samples of one series, in the order sent.
#[derive(Clone, Debug)]
pub struct Samples<'a> {
    first: Option<Sample>,
    rest: Wire<'a>,
    count: usize,
    /// Whether the start of a counter is known for some of them.
    pub has_starts: bool,
}

impl Default for Samples<'_> {
    fn default() -> Self {
        Self { first: None, rest: Wire::new(&[]), count: 0, has_starts: false }
    }
}

impl<'a> Samples<'a> {
    #[inline]
    fn found(&mut self, sample: Sample, rest: Wire<'a>) {
        if self.count == 0 {
            self.first = Some(sample);
            self.rest = rest;
        }
        self.count += 1;
    }

    /// The samples with their starts (0 if not known), of the series in `body`.
    pub fn with_starts(body: &SeriesBody<'a>) -> impl Iterator<Item = (Sample, Timestamp)> + 'a {
        let (mut wire, created_ms) = (body.wire, body.created_ms);
        // The series was walked to its end before, so no step here can fail.
        std::iter::from_fn(move || {
            while let Ok(Some((field, wire_type))) = wire.key() {
                if field == 2 {
                    let (sample, start_ms) = wire.message(field, wire_type).and_then(read_sample).ok()?;
                    return Some((sample, if start_ms == 0 { created_ms } else { start_ms }));
                }
                wire.skip(field, wire_type).ok()?;
            }
            None
        })
    }
}

impl Iterator for Samples<'_> {
    type Item = Sample;

    fn next(&mut self) -> Option<Sample> {
        if self.count == 0 {
            return None;
        }
        self.count -= 1;
        if let Some(first) = self.first.take() {
            return Some(first);
        }
        // The series was walked to its end before, so no step here can fail.
        while let Ok(Some((field, wire_type))) = self.rest.key() {
            if field == 2 {
                return self.rest.message(field, wire_type).and_then(read_sample).ok().map(|(sample, _)| sample);
            }
            self.rest.skip(field, wire_type).ok()?;
        }
        None
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.count, Some(self.count))
    }
}

impl ExactSizeIterator for Samples<'_> {}
