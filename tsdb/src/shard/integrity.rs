//! Looking after parts at rest: read all of them from time to time, never answer from a damaged one.

use super::Shard;
use crate::error::StoreError;
use crate::store::Day;
use std::sync::atomic::AtomicBool;

/// Where a pass over all parts stands: day and number of the last part read.
pub type ScrubPlace = (Day, u64);

/// What became of one part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scrubbed {
    /// From here the pass goes on.
    pub place: ScrubPlace,
    /// Bytes of the part.
    pub bytes: u64,
    /// Whether it is damaged, and quarantined now.
    pub is_damaged: bool,
}

impl Shard {
    /// Reads the part behind `after` whole and quarantines it if it is damaged; none behind the last. Blocks on the disk.
    ///
    /// # Errors
    /// [`StoreError::Cancelled`] once `stop` is set, or RocksDB failed otherwise than by damaged bytes.
    pub fn scrub_next(&self, after: Option<ScrubPlace>, stop: &AtomicBool) -> Result<Option<Scrubbed>, StoreError> {
        let view = self.store().view();
        let is_quarantined = |id: u64| view.quarantined().any(|part| part.id == id);
        let mut parts = view.parts().iter().filter(|part| after < Some((part.day, part.id)) && !is_quarantined(part.id));
        let Some(part) = parts.next() else { return Ok(None) };
        let scrubbed = Scrubbed { place: (part.day, part.id), bytes: part.bytes, is_damaged: false };
        match view.verify_part(part, stop) {
            Ok(()) => Ok(Some(scrubbed)),
            Err(error) if error.is_damage() => {
                tracing::error!(shard = %self.id, part = part.id, day = part.day.0, %error, "a stored part is damaged and will not be read");
                self.store().note_damage(&error);
                let _alone = self.checkpointing.lock();
                self.store().quarantine(part.id)?;
                Ok(Some(Scrubbed { is_damaged: true, ..scrubbed }))
            }
            Err(error) => Err(error),
        }
    }

    /// Bytes of all listed parts.
    #[must_use]
    pub fn stored_bytes(&self) -> u64 {
        self.store().view().parts().iter().map(|part| part.bytes).sum()
    }

    /// Days with a damaged part, each with whether samples are concerned; an index alone is rebuilt by the next rewrite.
    #[must_use]
    pub fn damaged_days(&self) -> Vec<(Day, bool)> {
        let view = self.store().view();
        let mut days: Vec<(Day, bool)> = Vec::new();
        for part in view.quarantined() {
            match days.last_mut().filter(|(day, _)| *day == part.day) {
                Some((_, has_samples)) => *has_samples |= part.kind.has_samples(),
                None => days.push((part.day, part.kind.has_samples())),
            }
        }
        days
    }
}
