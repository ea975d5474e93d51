//! What senders say about metric families: type, help and unit; the last written counts.
//!
//! ```text
//! metadata: kind u8 | family | help | unit        (texts behind their length)
//! ```

use crate::error::Corruption;
use crate::wire::{Reader, put_bytes, put_zigzag};
use model::Timestamp;
use std::collections::BTreeMap;

/// Families that one shard keeps; others are passed over.
pub const FAMILIES_MAX: usize = 50_000;
/// Bytes of a help text that are kept.
pub const HELP_BYTES_MAX: usize = 4096;
/// Bytes of a family's name and of a unit.
pub const NAME_BYTES_MAX: usize = 1024;

/// Type of a metric family, by its number in both versions of remote write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum MetricKind {
    /// Not told.
    #[default]
    Unknown = 0,
    /// Only grows, but for resets.
    Counter = 1,
    /// Goes up and down.
    Gauge = 2,
    /// Counts of buckets.
    Histogram = 3,
    /// Counts of buckets that may go down.
    GaugeHistogram = 4,
    /// Quantiles.
    Summary = 5,
    /// Labels alone.
    Info = 6,
    /// States.
    StateSet = 7,
}

impl MetricKind {
    /// Every kind, by number.
    pub const ALL: [Self; 8] =
        [Self::Unknown, Self::Counter, Self::Gauge, Self::Histogram, Self::GaugeHistogram, Self::Summary, Self::Info, Self::StateSet];

    /// The kind of this number; unknown for a number that has none.
    #[must_use]
    pub fn from_number(number: u64) -> Self {
        usize::try_from(number).ok().and_then(|n| Self::ALL.get(n).copied()).unwrap_or_default()
    }

    /// Prometheus's word for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
            Self::GaugeHistogram => "gaugehistogram",
            Self::Summary => "summary",
            Self::Info => "info",
            Self::StateSet => "stateset",
        }
    }
}

/// What a sender says about one family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FamilyMetadata<'a> {
    /// Its name.
    pub family: &'a str,
    /// Its type.
    pub kind: MetricKind,
    /// What it is.
    pub help: &'a str,
    /// Its unit.
    pub unit: &'a str,
}

impl<'a> FamilyMetadata<'a> {
    /// What is kept of it: texts cut to their bounds; `None` without a name, or with one that is too long.
    #[must_use]
    pub fn bounded(self) -> Option<Self> {
        let Self { family, kind, help, unit } = self;
        let is_name = !family.is_empty() && family.len() <= NAME_BYTES_MAX;
        is_name.then(|| Self { family, kind, help: cut(help, HELP_BYTES_MAX), unit: cut(unit, NAME_BYTES_MAX) })
    }

    /// Appends the encoded form.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.push(self.kind as u8);
        for text in [self.family, self.help, self.unit] {
            put_bytes(out, text.as_bytes());
        }
    }

    /// Takes the encoded form off the front of `r`.
    ///
    /// # Errors
    /// The bytes are cut off, or of an unknown kind.
    pub fn read(r: &mut Reader<'a>) -> Result<Self, Corruption> {
        let kind = *MetricKind::ALL.get(usize::from(r.u8()?)).ok_or(Corruption::new("kind of a metric"))?;
        Ok(Self { kind, family: r.text()?, help: r.text()?, unit: r.text()? })
    }
}

fn cut(text: &str, max: usize) -> &str {
    text.get(..text.floor_char_boundary(max)).unwrap_or_default()
}

/// What a shard knows about one family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// Type.
    pub kind: MetricKind,
    /// Help.
    pub help: Box<str>,
    /// Unit.
    pub unit: Box<str>,
    /// Entry time of the last change: of two shards that know the family, the later counts.
    pub since_ms: Timestamp,
}

/// The families of a shard, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Families {
    by_name: BTreeMap<Box<str>, Known>,
}

impl Families {
    /// Whether writing `metadata` would change nothing.
    pub(crate) fn has(&self, metadata: &FamilyMetadata<'_>) -> bool {
        let FamilyMetadata { family, kind, help, unit } = metadata;
        let is_same = |known: &Known| known.kind == *kind && *known.help == **help && *known.unit == **unit;
        self.by_name.get(*family).is_some_and(is_same)
    }

    /// Takes over what was written at `time_ms`; tells whether the family is kept.
    pub(crate) fn put(&mut self, metadata: &FamilyMetadata<'_>, time_ms: Timestamp) -> bool {
        let FamilyMetadata { family, kind, help, unit } = *metadata;
        if self.by_name.len() >= FAMILIES_MAX && !self.by_name.contains_key(family) {
            return false;
        }
        self.by_name.insert(family.into(), Known { kind, help: help.into(), unit: unit.into(), since_ms: time_ms });
        true
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &Known)> {
        self.by_name.iter().map(|(family, known)| (&**family, known))
    }

    pub(crate) fn get(&self, family: &str) -> Option<&Known> {
        self.by_name.get(family)
    }

    /// Each family as a record of its own.
    pub(crate) fn write(&self, mut record: impl FnMut(&[u8])) {
        let mut out = Vec::new();
        for (family, Known { kind, help, unit, since_ms }) in &self.by_name {
            out.clear();
            put_zigzag(&mut out, *since_ms);
            FamilyMetadata { family, kind: *kind, help, unit }.write(&mut out);
            record(&out);
        }
    }

    /// Reads one record that [`Families::write`] gave.
    pub(crate) fn read(&mut self, r: &mut Reader<'_>) -> Result<(), Corruption> {
        let since_ms = r.zigzag()?;
        self.put(&FamilyMetadata::read(r)?, since_ms);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_written_counts_and_texts_are_bounded() {
        let long = "ä".repeat(HELP_BYTES_MAX);
        let first = FamilyMetadata { family: "up", kind: MetricKind::Gauge, help: &long, unit: "" }.bounded().unwrap();
        assert_eq!(first.help.len(), HELP_BYTES_MAX);
        assert!(FamilyMetadata { family: "", ..first }.bounded().is_none());
        assert!(FamilyMetadata { family: &long, ..first }.bounded().is_none());

        let mut families = Families::default();
        assert!(!families.has(&first) && families.put(&first, 5) && families.has(&first));
        let second = FamilyMetadata { help: "whether it answers", ..first };
        assert!(!families.has(&second) && families.put(&second, 6) && families.has(&second) && !families.has(&first));

        let mut bytes = Vec::new();
        families.write(|record| bytes.extend_from_slice(record));
        let (mut again, mut reader) = (Families::default(), Reader::new(&bytes));
        again.read(&mut reader).unwrap();
        assert_eq!((again.get("up").map(|known| known.since_ms), &again), (Some(6), &families));
        for cut in 0..bytes.len() {
            assert!(Families::default().read(&mut Reader::new(&bytes[..cut])).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn a_full_shard_keeps_what_it_has() {
        let mut families = Families::default();
        for n in 0..FAMILIES_MAX {
            assert!(families.put(&FamilyMetadata { family: &n.to_string(), kind: MetricKind::Gauge, help: "", unit: "" }, 1));
        }
        let new = FamilyMetadata { family: "new", kind: MetricKind::Gauge, help: "", unit: "" };
        assert!(!families.put(&new, 2) && !families.has(&new));
        assert!(families.put(&FamilyMetadata { family: "7", ..new }, 2), "a known family is still updated");
    }
}
