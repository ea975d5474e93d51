//! Series whose samples lie on more than one shard, because the shard map changed within the time that a query looks at.

use crate::budget::{Budget, Reservation};
use crate::error::EvalError;
use crate::eval::share::Send;
use crate::frame::{FRAME_BYTES, Frame, Piece};
use crate::plan::fragment::Fragment;
use crate::source::{RawSeries, Select, SelectId, SeriesSet, SeriesSource, SourceError, Visitor};
use model::hash::{jump_hash, placement_hash};
use model::{Generation, Labels, ShardId, Timestamp};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The generations of shards that hold samples of a query, if they are several.
///
/// A series that is on the same shard in all of them is evaluated there as always. All others are *moved*: the shards send what
/// they hold of them, and who asked evaluates them as one more shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Residence {
    /// The constant that placement hashes are keyed with.
    pub key: u64,
    /// For each generation its shards, in the order that the jump hash counts them; none is empty.
    pub generations: Vec<Vec<ShardId>>,
}

impl Residence {
    /// The generations of `list`, by time, that hold samples after `start_ms` and up to `end_ms`; none if it is at most one.
    #[must_use]
    pub fn between(list: &[Generation], key: u64, start_ms: Timestamp, end_ms: Timestamp) -> Option<Self> {
        let next_from = |i: usize| list.get(i + 1).map_or(i64::MAX, |next| next.from_ms);
        let meets = |(i, generation): &(usize, &Generation)| generation.from_ms <= end_ms && next_from(*i) > start_ms.saturating_add(1);
        let generations: Vec<Vec<ShardId>> =
            list.iter().enumerate().filter(meets).map(|(_, generation)| generation.shards.clone()).collect();
        (generations.len() > 1).then_some(Self { key, generations })
    }

    /// Whether all samples of a series are on one shard.
    #[must_use]
    pub fn stays(&self, labels: &Labels) -> bool {
        let hash = placement_hash(labels, self.key);
        let mut shards = self.generations.iter().map(|shards| shards.get(jump_hash(hash, shards.len() as u32) as usize));
        let first = shards.next();
        shards.all(|shard| Some(shard) == first)
    }
}

/// A source without the moved series, which it keeps apart.
struct Resident<'a> {
    source: &'a dyn SeriesSource,
    residence: &'a Residence,
    budget: &'a Budget,
    moved: RefCell<BTreeMap<SelectId, Vec<Arc<RawSeries>>>>,
    held: RefCell<Vec<Reservation>>,
}

impl SeriesSource for Resident<'_> {
    fn select(&self, select: &Select) -> Result<SeriesSet, SourceError> {
        let all = self.source.select(select)?.series;
        let (stays, moved) = all.into_iter().partition(|series| self.residence.stays(&series.labels));
        self.moved.borrow_mut().insert(select.id, moved);
        Ok(SeriesSet { series: stays })
    }

    fn visit(&self, select: &Select, visit: Visitor<'_>) -> Result<(), EvalError> {
        let mut moved = Vec::new();
        self.source.visit(select, &mut |series| {
            if self.residence.stays(series.labels) {
                return visit(series);
            }
            let raw = series.to_raw();
            self.held.borrow_mut().push(self.budget.reserve(0, raw.heap_bytes() as u64)?);
            moved.push(Arc::new(raw));
            Ok(())
        })?;
        self.moved.borrow_mut().insert(select.id, moved);
        Ok(())
    }
}

impl Fragment {
    /// As [`Fragment::execute`], of the series that stay; of those that moved the samples are sent.
    ///
    /// # Errors
    /// Those of `send` alone.
    pub fn execute_resident(
        &self,
        source: &dyn SeriesSource,
        residence: &Residence,
        budget: &Budget,
        send: Send<'_>,
    ) -> Result<(), EvalError> {
        let resident = Resident { source, residence, budget, moved: RefCell::default(), held: RefCell::default() };
        let mut last = None;
        self.execute(&resident, budget, &mut |frame| {
            if frame.is_last() {
                last = Some(frame);
                return Ok(());
            }
            send(frame)
        })?;
        let moved = resident.moved.take();
        for (select, series) in moved {
            send_samples(select, series, send)?;
        }
        last.map_or(Ok(()), send)
    }
}

/// Sends moved series in pieces of a size that a message takes.
fn send_samples(select: SelectId, series: Vec<Arc<RawSeries>>, send: Send<'_>) -> Result<(), EvalError> {
    let (mut piece, mut bytes) = (Vec::new(), 0);
    for one in series {
        bytes += one.heap_bytes();
        piece.push(one);
        if bytes >= FRAME_BYTES {
            send(Frame(Piece::Moved { select, series: std::mem::take(&mut piece) }))?;
            bytes = 0;
        }
    }
    if piece.is_empty() { Ok(()) } else { send(Frame(Piece::Moved { select, series: piece })) }
}
