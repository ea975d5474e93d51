//! One decoded request into one buffer of rows for each shard.

mod parts;

use crate::ingest::admit::{AdmitLimits, Refusal, admit_labels, is_label_text, series_text};
use crate::ingest::decode::{
    BadHistogram, BodyLimits, DecodeError, LabelBytes, RawSeries, Samples, SeriesBody, SeriesMetadata, SeriesReader, SnappyBuffer, Version,
    WriteRequestReader,
};
use crate::ingest::known::{Entry, Key, KnownSeries, Lookup, SymbolHashes};
use crate::ingest::verdict::Rejections;
use model::hash::PlacementHasher;
use model::labels::METRIC_NAME;
use model::{GenerationList, Sample};
use parking_lot::Mutex;
pub use parts::Part;
use parts::{Adding, Identified, OpenParts};
use std::collections::BTreeMap;
use std::sync::Arc;
use tsdb::metadata::{FamilyMetadata, MetricKind};
use tsdb::record::{Exemplar, Record, Value};
use tsdb::rows::push_label;
use xxhash_rust::xxh3::{xxh3_64_with_seed, xxh3_128_with_seed};

/// Ends each name and each value in the bytes that identify a series, as in `model::hash`.
const SEPARATOR: u8 = 0xff;
/// Bytes a scratch buffer keeps between requests.
const SCRATCH_KEPT_BYTES: usize = 64 << 10;
/// Bytes of an exemplar's labels beyond which they have more runes than Prometheus takes.
const EXEMPLAR_BYTES_MAX: usize = 2048;
/// Idle splitters that keep their buffers.
const SPLITTERS_KEPT: usize = 8;

/// What of the workspace decides a split.
#[derive(Clone, Copy, Debug)]
pub struct SplitRules<'a> {
    /// What is admitted.
    pub admit: &'a AdmitLimits,
    /// Where samples go.
    pub generations: &'a GenerationList,
    /// The workspace's constant key of placement and identity hashes.
    pub hash_key: u64,
    /// Series whose labels need not be read and are left out of the rows; with `None` every row has its labels.
    pub known: Option<&'a KnownSeries>,
}

/// A write request, ready for its shards.
#[derive(Clone, Debug, Default)]
pub struct SplitRequest {
    /// One part for each (generation, shard) that gets a sample or metadata; several if they are large.
    pub parts: Vec<Part>,
    /// What was refused here; shards may refuse more.
    pub rejected: Rejections,
    /// Samples refused here, by [`Refusal::reason`].
    pub discarded: Vec<(&'static str, u32)>,
    /// Floats and histograms in the parts.
    pub samples: u32,
    /// Families in the parts.
    pub metadata: u32,
    /// Admitted series, with samples or without.
    pub series: u32,
    /// What [`KnownSeries::learn`] should take in once the shards have judged the parts.
    pub learned: Vec<Entry>,
}

impl SplitRequest {
    fn refuse(&mut self, ordinal: u32, refusal: Refusal, samples: u32, labels: &[LabelBytes<'_>]) {
        self.refuse_for(ordinal, refusal.reason(), samples, || refusal.text(labels));
    }

    fn refuse_for(&mut self, ordinal: u32, reason: &'static str, samples: u32, text: impl FnOnce() -> String) {
        self.rejected.push(ordinal, samples, text);
        match self.discarded.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, discarded)) => *discarded = discarded.saturating_add(samples),
            None => self.discarded.push((reason, samples)),
        }
    }
}

/// Splits requests one after another, reusing its buffers. One for each worker.
#[derive(Debug)]
pub struct Splitter {
    snappy: SnappyBuffer,
    scratch: Scratch,
}

#[derive(Debug)]
struct Scratch {
    hash_key: u64,
    hasher: PlacementHasher,
    identity: Vec<u8>,
    region: Vec<u8>,
    known_key: Option<Key>,
    symbol_hashes: SymbolHashes,
}

impl Default for Splitter {
    fn default() -> Self {
        let scratch = Scratch {
            hash_key: 0,
            hasher: PlacementHasher::new(0),
            identity: Vec::new(),
            region: Vec::new(),
            known_key: None,
            symbol_hashes: SymbolHashes::default(),
        };
        Self { snappy: SnappyBuffer::default(), scratch }
    }
}

/// Splitters between requests.
#[derive(Debug, Default)]
pub struct Splitters {
    idle: Mutex<Vec<Splitter>>,
}

impl Splitters {
    /// Lends a splitter to `work`.
    pub fn with<T>(&self, work: impl FnOnce(&mut Splitter) -> T) -> T {
        let mut splitter = self.idle.lock().pop().unwrap_or_default();
        let result = work(&mut splitter);
        let mut idle = self.idle.lock();
        if idle.len() < SPLITTERS_KEPT {
            idle.push(splitter);
        }
        result
    }
}

impl Splitter {
    /// Decodes, judges and splits the body of one request. The whole body is walked, so an error leaves nothing behind.
    ///
    /// # Errors
    /// The body as a whole is refused; series that are refused by themselves are in [`SplitRequest::rejected`].
    pub fn split(
        &mut self,
        version: Version,
        body: &[u8],
        limits: &BodyLimits,
        rules: &SplitRules<'_>,
    ) -> Result<SplitRequest, DecodeError> {
        let decoded = self.snappy.decode(body, limits)?;
        split_decoded(&mut self.scratch, version, decoded, rules)
    }

    /// As [`Splitter::split`], for a body that is decompressed already.
    ///
    /// # Errors
    /// [`DecodeError::Protobuf`].
    pub fn split_decoded(&mut self, version: Version, decoded: &[u8], rules: &SplitRules<'_>) -> Result<SplitRequest, DecodeError> {
        split_decoded(&mut self.scratch, version, decoded, rules)
    }
}

fn split_decoded(scratch: &mut Scratch, version: Version, decoded: &[u8], rules: &SplitRules<'_>) -> Result<SplitRequest, DecodeError> {
    scratch.prepare(rules.hash_key);
    let key = scratch.known_key.take().filter(|key| key.is_of(rules.hash_key, rules.admit));
    let key = key.unwrap_or_else(|| Key::new(rules.hash_key, rules.admit));
    let mut reader = WriteRequestReader::of(version, decoded)?;
    let symbols = reader.symbols();
    let mut hashes = std::mem::take(&mut scratch.symbol_hashes);
    let known = rules.known.filter(|_| version == Version::V1 || hashes.hash(&key, &symbols));
    let mut splitting = Splitting {
        parts: OpenParts::new(rules.generations),
        request: SplitRequest::default(),
        families: BTreeMap::new(),
        limits: rules.admit,
        lookup: known.map(|known| known.lookup(&key)),
        version,
        symbols,
        exemplar_labels: Vec::new(),
        exemplar_region: Vec::new(),
        said: (0, &[]),
    };
    let mut ordinal = 0u32;
    while let Some(raw) = reader.next_raw()? {
        match splitting.find(&raw, &mut hashes) {
            Some((known, samples)) => {
                if let Some((refusal, lost)) = splitting.known(ordinal, known, samples) {
                    splitting.request.refuse(ordinal, refusal, lost, reader.read(raw)?.labels);
                }
            }
            None => splitting.series(scratch, ordinal, reader.read(raw)?)?,
        }
        ordinal = ordinal.saturating_add(1);
    }
    for metadata in reader.metadata() {
        splitting.family(metadata.family, metadata.says);
    }
    let request = splitting.finish(rules.hash_key);
    (scratch.known_key, scratch.symbol_hashes) = (Some(key), hashes);
    Ok(request)
}

/// A request on its way into parts.
struct Splitting<'g, 'b> {
    parts: OpenParts<'g>,
    request: SplitRequest,
    /// What the request says last about each family.
    families: BTreeMap<&'b str, SeriesMetadata<'b>>,
    limits: &'g AdmitLimits,
    lookup: Option<Lookup<'g>>,
    version: Version,
    symbols: Arc<[&'b [u8]]>,
    exemplar_labels: Vec<LabelBytes<'b>>,
    exemplar_region: Vec<u8>,
    /// The metric's name and what was said of it by the last series that was recognised.
    said: (u64, &'b [u8]),
}

impl<'b> Splitting<'_, 'b> {
    /// Looks a series up among those known, and takes over what it says about its metric.
    fn find(&mut self, raw: &RawSeries<'b>, hashes: &mut SymbolHashes) -> Option<(Entry, Samples<'b>)> {
        let lookup = self.lookup.as_mut()?;
        if self.version == Version::V1 {
            return lookup.find(raw);
        }
        let (known, series, metric) = lookup.find_referring(raw, hashes)?;
        // Series of one metric mostly stand together and say the same.
        let says = (metric, series.metadata_bytes());
        if says != self.said {
            let metadata = series.metadata(&self.symbols)?;
            let name = usize::try_from(metric).ok().and_then(|metric| self.symbols.get(metric)).copied();
            if let (Some(metadata), Some(name)) = (metadata, name) {
                self.family(family_of(name, metadata.kind), metadata);
            }
            self.said = says;
        }
        Some((known, series.samples))
    }

    /// Adds a series that was recognised; gives the first refusal and how many samples were refused.
    fn known(&mut self, ordinal: u32, known: Entry, samples: Samples<'_>) -> Option<(Refusal, u32)> {
        self.request.series += 1;
        let identified = Identified { ordinal, fp128: known.fp128, placement: known.placement, region: &[] };
        let mut adding = Adding { series: &identified, current: None, refused: None };
        self.samples(&mut adding, samples);
        adding.refused
    }

    fn samples(&mut self, adding: &mut Adding<'_>, samples: Samples<'_>) {
        for sample in samples {
            if let Some(part) = self.place(adding, sample) {
                self.parts.rows(part).sample(sample);
            }
        }
    }

    fn series(&mut self, scratch: &mut Scratch, ordinal: u32, series: SeriesReader<'_, 'b>) -> Result<(), DecodeError> {
        let SeriesReader { labels, label_count, refs, metadata, body } = series;
        if let Err(error) = refs {
            let lost = body.sample_count();
            self.request.refuse_for(ordinal, "label_invalid", lost, || format!("parsing labels for series: {error}"));
            return Ok(());
        }
        if let Err(refusal) = admit_labels(labels, label_count, self.limits) {
            self.request.refuse(ordinal, refusal, body.sample_count(), labels);
            return Ok(());
        }
        if self.version == Version::V2
            && let Some(text) = unfit(&body)
        {
            self.request.refuse_for(ordinal, "series_invalid", body.sample_count(), || format!("{text} {}", series_text(labels)));
            return Ok(());
        }
        self.request.series += 1;
        let identified = scratch.identify(ordinal, labels);
        let missed = self.lookup.as_ref().and_then(|lookup| lookup.entry_of_missed(identified.fp128, identified.placement));
        self.request.learned.extend(missed);
        let mut adding = Adding { series: &identified, current: None, refused: None };
        if body.samples.has_starts {
            for (sample, start_ms) in Samples::with_starts(&body) {
                self.record(&mut adding, Record { timestamp_ms: sample.timestamp_ms, start_ms, value: Value::Float(sample.value) });
            }
        } else {
            self.samples(&mut adding, body.samples.clone());
        }
        if body.histograms > 0 {
            self.histograms(&mut adding, &body, labels)?;
        }
        if body.exemplars > 0 {
            self.exemplars(adding.current.map(|(_, part)| part), &body)?;
        }
        if let Some((refusal, lost)) = adding.refused {
            self.request.refuse(ordinal, refusal, lost, labels);
        }
        self.said = (0, &[]);
        if let Some(metadata) = metadata
            && let Some((_, name)) = labels.iter().find(|(name, _)| *name == METRIC_NAME.as_bytes())
        {
            self.family(family_of(name, metadata.kind), metadata);
        }
        Ok(())
    }

    /// The part that a sample goes to; `None` if it is refused.
    fn place(&mut self, adding: &mut Adding<'_>, sample: Sample) -> Option<usize> {
        match self.parts.place(adding, sample, self.limits) {
            Ok(part) => {
                self.request.samples += 1;
                Some(part)
            }
            Err(refusal) => {
                adding.refused = Some(adding.refused.map_or((refusal, 1), |(first, lost)| (first, lost + 1)));
                None
            }
        }
    }

    fn record(&mut self, adding: &mut Adding<'_>, record: Record) {
        if let Some(part) = self.place(adding, Sample { timestamp_ms: record.timestamp_ms, value: 0.0 }) {
            self.parts.rows(part).record(&record);
        }
    }

    fn histograms(&mut self, adding: &mut Adding<'_>, body: &SeriesBody<'b>, labels: &[LabelBytes<'b>]) -> Result<(), DecodeError> {
        let mut bad: Option<(BadHistogram, u32)> = None;
        body.each_histogram(|histogram| {
            let (timestamp_ms, start_ms) = (histogram.timestamp_ms, histogram.start_ms);
            match histogram.checked() {
                Ok(histogram) => self.record(adding, Record { timestamp_ms, start_ms, value: Value::Histogram(Arc::new(histogram)) }),
                Err(error) => bad = Some(bad.take().map_or((error, 1), |(first, lost)| (first, lost + 1))),
            }
        })?;
        if let Some((error, lost)) = bad {
            let text = || format!("{error} for series {}", series_text(labels));
            self.request.refuse_for(adding.series.ordinal, "histogram_invalid", lost, text);
        }
        Ok(())
    }

    /// Exemplars go where the last sample of their series went; without a sample there is no series they could belong to.
    fn exemplars(&mut self, part: Option<usize>, body: &SeriesBody<'b>) -> Result<(), DecodeError> {
        let (parts, region) = (&mut self.parts, &mut self.exemplar_region);
        body.each_exemplar(&self.symbols, &mut self.exemplar_labels, |exemplar, labels| {
            let (Ok(exemplar), Some(part)) = (exemplar, part) else { return };
            labels.sort_unstable_by(|a, b| a.0.cmp(b.0));
            labels.retain(|(_, value)| !value.is_empty());
            let is_text = labels.iter().all(|(name, value)| !name.is_empty() && is_label_text(name) && is_label_text(value));
            if !is_text || labels.windows(2).any(|pair| pair[0].0 == pair[1].0) {
                return;
            }
            region.clear();
            labels.iter().for_each(|(name, value)| push_label(region, name, value));
            // Longer ones are refused wherever they come; they need not travel.
            if region.len() <= EXEMPLAR_BYTES_MAX {
                let exemplar = Exemplar { timestamp_ms: exemplar.timestamp_ms, value: exemplar.value, labels: region };
                parts.rows(part).exemplar(&exemplar);
            }
        })
    }

    fn family(&mut self, family: &'b [u8], says: SeriesMetadata<'b>) {
        if let Ok(family) = std::str::from_utf8(family) {
            self.families.insert(family, says);
        }
    }

    fn finish(mut self, hash_key: u64) -> SplitRequest {
        for (family, says) in std::mem::take(&mut self.families) {
            let (Ok(help), Ok(unit)) = (std::str::from_utf8(says.help), std::str::from_utf8(says.unit)) else { continue };
            if let Some(metadata) = (FamilyMetadata { family, kind: says.kind, help, unit }).bounded() {
                self.parts.metadata(&metadata, xxh3_64_with_seed(family.as_bytes(), hash_key));
                self.request.metadata += 1;
            }
        }
        self.request.parts = self.parts.finish();
        self.request
    }
}

/// What version 2 does not allow of a series, in Prometheus's words.
fn unfit(body: &SeriesBody<'_>) -> Option<&'static str> {
    match (body.samples.len(), body.histograms) {
        (0, 0) => Some("TimeSeries must contain at least one sample or histogram for series"),
        (1.., 1..) => Some("TimeSeries must contain either samples or histograms but not both for series"),
        _ => None,
    }
}

/// The family that a series of this name and type belongs to.
fn family_of(name: &[u8], kind: MetricKind) -> &[u8] {
    let suffixes: &[&[u8]] = match kind {
        MetricKind::Histogram | MetricKind::GaugeHistogram => &[b"_bucket", b"_sum", b"_count", b"_gsum", b"_gcount"],
        MetricKind::Summary => &[b"_sum", b"_count"],
        _ => &[],
    };
    suffixes.iter().find_map(|suffix| name.strip_suffix(*suffix)).filter(|family| !family.is_empty()).unwrap_or(name)
}

impl Scratch {
    fn prepare(&mut self, hash_key: u64) {
        if self.hash_key != hash_key {
            self.hash_key = hash_key;
            self.hasher = PlacementHasher::new(hash_key);
        }
        for buffer in [&mut self.identity, &mut self.region] {
            buffer.clear();
            buffer.shrink_to(SCRATCH_KEPT_BYTES);
        }
    }

    fn identify(&mut self, ordinal: u32, labels: &[LabelBytes<'_>]) -> Identified<'_> {
        self.identity.clear();
        self.region.clear();
        for (name, value) in labels {
            self.hasher.label(name, value);
            self.identity.extend_from_slice(name);
            self.identity.push(SEPARATOR);
            self.identity.extend_from_slice(value);
            self.identity.push(SEPARATOR);
            push_label(&mut self.region, name, value);
        }
        let fp128 = xxh3_128_with_seed(&self.identity, self.hash_key);
        Identified { ordinal, fp128, placement: self.hasher.finish(), region: &self.region }
    }
}

#[cfg(test)]
mod tests;
