//! The verdict on one sample (`core.md` C6).

use crate::entry::Limits;
use crate::head::{Found, Line, STORABLE_MS};
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

/// Against what samples are judged, besides the content of their series.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules<'a> {
    /// Entry time.
    pub(crate) now_ms: Timestamp,
    pub(crate) limits: &'a Limits,
    /// Retention dropped everything before.
    pub(crate) dropped_before_ms: Timestamp,
}

/// Time of a series' newest sample, and its content unless it was deleted.
pub(crate) type Newest = Option<(Timestamp, Option<Content>)>;

/// The newest sample of a line.
pub(crate) fn newest_of(line: &Line) -> Newest {
    line.newest.map(|(t, content)| (t, (!line.is_newest_deleted).then_some(content)))
}

/// Judges a float or histogram against entry time, the shard's settings and the series' content.
///
/// `find` looks (series, timestamp) up in the logical content; it is asked only for timestamps not later than the newest.
pub(crate) fn judge<E>(
    rules: Rules<'_>,
    newest: Newest,
    (t, content): (Timestamp, Content),
    find: impl FnOnce() -> Result<Option<Content>, E>,
) -> Result<Decision, E> {
    let Rules { now_ms, limits, dropped_before_ms } = rules;
    if t > now_ms.saturating_add(FUTURE_MS_MAX) || t >= STORABLE_MS.end {
        return Ok(Decision::Refuse(Refusal::TooFarInFuture));
    }
    if t < STORABLE_MS.start.max(dropped_before_ms).max(now_ms.saturating_sub(limits.retention_ms)) {
        return Ok(Decision::Refuse(Refusal::TooOld));
    }
    let Some((newest_ms, newest_content)) = newest.filter(|(newest, _)| t <= *newest) else {
        let is_late = t < now_ms.saturating_sub(limits.late_window_ms);
        return Ok(if is_late { Decision::Refuse(Refusal::TooOld) } else { Decision::Append });
    };
    let found = if t == newest_ms { newest_content } else { find()? };
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
