//! The verdict on one sample (`core.md` C6).

use crate::entry::Limits;
use crate::head::{Found, STORABLE_MS};
use crate::record::Content;
use crate::verdict::Refusal;
use model::Timestamp;
use model::limits::FUTURE_MS_MAX;

/// What becomes of a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Accepted as the newest of its series.
    Append,
    /// Accepted between others.
    Insert,
    /// The series holds it already.
    Unchanged,
    Refuse(Refusal),
}

/// Judges a float or histogram against entry time, the shard's settings and the series' content.
///
/// `find` looks (series, timestamp) up in the logical content; it is asked only for timestamps not later than the newest.
pub(crate) fn judge<E>(
    now_ms: Timestamp,
    limits: &Limits,
    newest: Option<(Timestamp, Content)>,
    (t, content): (Timestamp, Content),
    find: impl FnOnce() -> Result<Option<Content>, E>,
) -> Result<Decision, E> {
    if t > now_ms.saturating_add(FUTURE_MS_MAX) || t >= STORABLE_MS.end {
        return Ok(Decision::Refuse(Refusal::TooFarInFuture));
    }
    if t < STORABLE_MS.start {
        return Ok(Decision::Refuse(Refusal::TooOld));
    }
    let Some((newest_ms, newest_content)) = newest.filter(|(newest, _)| t <= *newest) else {
        let is_late = t < now_ms.saturating_sub(limits.late_window_ms);
        return Ok(if is_late { Decision::Refuse(Refusal::TooOld) } else { Decision::Append });
    };
    let found = if t == newest_ms { Some(newest_content) } else { find()? };
    Ok(match found {
        Some(present) if present.is_same(content) => Decision::Unchanged,
        Some(_) => Decision::Refuse(Refusal::Duplicate),
        None if t >= now_ms.saturating_sub(limits.out_of_order_window_ms) => Decision::Insert,
        None if limits.out_of_order_window_ms == 0 => Decision::Refuse(Refusal::OutOfOrder),
        None => Decision::Refuse(Refusal::TooOld),
    })
}

/// What a look-up in the head says, if it says it all.
pub(crate) fn settled(found: Found) -> Option<Option<Content>> {
    match found {
        Found::Content(content) => Some(Some(content)),
        Found::Absent => Some(None),
        Found::MaybeStored => None,
    }
}
