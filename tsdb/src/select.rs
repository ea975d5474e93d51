//! From matchers to series, over any source of postings: the head's index or a segment of a day's.

mod merged;
mod one_by_one;
#[cfg(test)]
mod tests;

pub(crate) use merged::Merged;
pub(crate) use one_by_one::{OneByOne, is_cheaper};

use model::Matcher;
use model::matcher::MatchOp;
use model::regex::Regex;
use roaring::RoaringBitmap;
use std::ops::ControlFlow;

/// The series of one label value.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Postings<'a> {
    /// A few, each once, in no order.
    Listed(&'a [u32]),
    Bitmap(&'a RoaringBitmap),
}

impl Postings<'_> {
    pub(crate) fn len(self) -> u64 {
        match self {
            Self::Listed(sids) => sids.len() as u64,
            Self::Bitmap(bitmap) => bitmap.len(),
        }
    }

    fn add_to(self, union: &mut RoaringBitmap) {
        match self {
            Self::Listed(sids) => union.extend(sids),
            Self::Bitmap(bitmap) => *union |= bitmap,
        }
    }

    /// Keeps of `among` what is here.
    fn keep_in(self, among: &mut RoaringBitmap) {
        match self {
            Self::Listed(sids) => *among = sids.iter().copied().filter(|sid| among.contains(*sid)).collect(),
            Self::Bitmap(bitmap) => *among &= bitmap,
        }
    }

    /// Removes from `among` what is here.
    fn drop_from(self, among: &mut RoaringBitmap) {
        match self {
            Self::Listed(sids) => sids.iter().for_each(|sid| {
                among.remove(*sid);
            }),
            Self::Bitmap(bitmap) => *among -= bitmap,
        }
    }

    pub(crate) fn apply(self, how: How, among: &mut RoaringBitmap) {
        match how {
            How::Add => self.add_to(among),
            How::Keep => self.keep_in(among),
            How::Drop => self.drop_from(among),
        }
    }

    pub(crate) fn intersects(self, with: &RoaringBitmap) -> bool {
        match self {
            Self::Listed(sids) => sids.iter().any(|sid| with.contains(*sid)),
            Self::Bitmap(bitmap) => !bitmap.is_disjoint(with),
        }
    }

    /// Whether `is_meant` says so of any, of those in `among` if that is given.
    pub(crate) fn any_in(self, among: Option<&RoaringBitmap>, mut is_meant: impl FnMut(u32) -> bool) -> bool {
        match (self, among) {
            (Self::Listed(sids), among) => sids.iter().any(|sid| among.is_none_or(|among| among.contains(*sid)) && is_meant(*sid)),
            (Self::Bitmap(bitmap), None) => bitmap.iter().any(is_meant),
            (Self::Bitmap(bitmap), Some(among)) => !bitmap.is_disjoint(among) && (bitmap & among).iter().any(is_meant),
        }
    }
}

/// Which values of a label are meant.
#[derive(Clone, Copy)]
pub(crate) enum Values<'a> {
    One(&'a str),
    /// Those that begin with `prefix` and of which `keep` says so; `keep` is asked of no others.
    Where {
        prefix: &'a str,
        keep: &'a dyn Fn(&str) -> bool,
    },
}

impl Values<'_> {
    pub(crate) const ALL: Values<'static> = Values::Where { prefix: "", keep: &|_| true };
}

/// Is told a value with its series, and whether to go on.
pub(crate) type Visit<'v> = &'v mut dyn FnMut(&str, Postings<'_>) -> ControlFlow<()>;

/// Something that knows which series carry a label: the head's index, or a stored segment.
pub(crate) trait Source {
    /// Why a look-up can fail.
    type Error;

    /// Every series.
    fn all(&self) -> &RoaringBitmap;

    /// The label names, in order.
    fn names(&self) -> impl Iterator<Item = &str>;

    /// Distinct values of `name`.
    fn value_count(&self, name: &str) -> u64;

    /// Hands over the meant values of `name` with their series, in order.
    fn visit(&self, name: &str, values: Values<'_>, visit: Visit<'_>) -> Result<(), Self::Error>;

    /// Hands over all values of `name`, in order.
    fn texts(&self, name: &str, visit: &mut dyn FnMut(&str) -> ControlFlow<()>) -> Result<(), Self::Error>;

    /// Series that [`Source::combine`] would combine with, where that is known without much ado.
    fn len_of(&self, matcher: &Matcher) -> Option<u64>;

    /// Combines `among` with the series that tell about a matcher, see [`About`].
    fn combine(&self, matcher: &Matcher, how: How, among: &mut RoaringBitmap) -> Result<(), Self::Error> {
        combine(self, matcher, how, among)
    }
}

/// Series up to which those left by the matchers before are compared with the postings of each value.
const GATHERED_MAX: u64 = 1 << 16;

/// What to do with the series that tell about a matcher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    Add,
    Keep,
    Drop,
}

/// What tells about a matcher: the values that it accepts if it refuses the empty value, else the values that it refuses. A series
/// without the label has none of either.
enum About<'a> {
    Nothing,
    All,
    Set(&'a [String]),
    One(&'a str),
    /// Values that begin with the prefix and that the pattern finds, or that it does not find.
    Pattern {
        prefix: &'a str,
        finds: bool,
    },
}

impl<'a> About<'a> {
    fn of(matcher: &'a Matcher) -> Self {
        let value = matcher.value.as_str();
        match (matcher.op, value) {
            (MatchOp::Equal | MatchOp::NotEqual, "") => return Self::All,
            (MatchOp::Equal | MatchOp::NotEqual, value) => return Self::One(value),
            (_, ".*") => return Self::Nothing,
            (_, ".+") => return Self::All,
            _ => {}
        }
        let Some(regex) = matcher.regex() else { return Self::Nothing };
        if regex.is_match("") {
            return Self::Pattern { prefix: "", finds: false };
        }
        match regex.set_matches() {
            Some(set) => Self::Set(set),
            None => Self::Pattern { prefix: regex.prefix(), finds: true },
        }
    }
}

/// [`Source::combine`] without any cache.
pub(crate) fn combine<S: Source + ?Sized>(source: &S, matcher: &Matcher, how: How, among: &mut RoaringBitmap) -> Result<(), S::Error> {
    let name = matcher.name.as_str();
    let about = About::of(matcher);
    if let (About::One(value), How::Keep) = (&about, how) {
        let mut is_there = false;
        source.visit(name, Values::One(value), &mut |_, postings| {
            is_there = true;
            postings.apply(how, among);
            ControlFlow::Break(())
        })?;
        if !is_there {
            among.clear();
        }
        return Ok(());
    }
    if how == How::Keep {
        return keep(source, matcher, &about, among);
    }
    each_about(source, matcher, &about, &mut |_, postings| {
        postings.apply(how, among);
        ControlFlow::Continue(())
    })
}

/// Keeps of `among` what tells about a matcher. What is left of each value is gathered, so that a value costs no more than the
/// smaller of its series and those left; unless so many are left that one union costs less.
fn keep<S: Source + ?Sized>(source: &S, matcher: &Matcher, about: &About<'_>, among: &mut RoaringBitmap) -> Result<(), S::Error> {
    let mut kept = RoaringBitmap::new();
    let is_few = among.len() <= GATHERED_MAX;
    each_about(source, matcher, about, &mut |_, postings| {
        match postings {
            Postings::Bitmap(bitmap) if is_few => kept |= bitmap & &*among,
            postings => postings.add_to(&mut kept),
        }
        ControlFlow::Continue(())
    })?;
    *among &= kept;
    Ok(())
}

/// Hands over the values that tell about a matcher.
fn each_about<S: Source + ?Sized>(source: &S, matcher: &Matcher, about: &About<'_>, each: Visit<'_>) -> Result<(), S::Error> {
    let name = matcher.name.as_str();
    match *about {
        About::Nothing => Ok(()),
        About::All => source.visit(name, Values::ALL, each),
        About::One(value) => source.visit(name, Values::One(value), each),
        About::Set(set) => set.iter().try_for_each(|value| source.visit(name, Values::One(value), each)),
        About::Pattern { prefix, finds } => {
            let keep = |value: &str| matcher.regex().is_some_and(|regex: &Regex| regex.is_match(value)) == finds;
            source.visit(name, Values::Where { prefix, keep: &keep }, each)
        }
    }
}

/// The series of `source` that satisfy all `matchers`, an absent label having the empty value.
///
/// As Prometheus' `PostingsForMatchers`: matchers that refuse the empty value intersect, the others subtract the series whose
/// value they refuse; without any of the first kind everything is the start.
///
/// # Errors
/// The source cannot be read.
pub(crate) fn select<S: Source>(source: &S, matchers: &[Matcher]) -> Result<RoaringBitmap, S::Error> {
    let (refusing, mut needed): (Vec<&Matcher>, Vec<&Matcher>) = matchers.iter().partition(|matcher| matcher.matches_empty());
    // Cheap look-ups first: they make the later ones unnecessary when nothing is left.
    needed.sort_by_cached_key(|matcher| (source.len_of(matcher).unwrap_or(u64::MAX), rank(matcher)));
    let mut needed = needed.into_iter();
    let mut found = match needed.next() {
        Some(first) => {
            let mut found = RoaringBitmap::new();
            source.combine(first, How::Add, &mut found)?;
            found
        }
        None => source.all().clone(),
    };
    for (matcher, how) in needed.map(|matcher| (matcher, How::Keep)).chain(refusing.into_iter().map(|matcher| (matcher, How::Drop))) {
        if found.is_empty() {
            break;
        }
        source.combine(matcher, how, &mut found)?;
    }
    Ok(found)
}

/// Gives `merged` the values of `name`: all, or those of whose series `is_meant` says so.
pub(crate) fn values_into<S: Source>(
    source: &S,
    name: &str,
    is_meant: Option<&dyn Fn(Postings<'_>) -> bool>,
    merged: &mut Merged,
) -> Result<(), S::Error> {
    match is_meant {
        None => source.texts(name, &mut |value| merged.offer(value, || true))?,
        Some(is_meant) => source.visit(name, Values::ALL, &mut |value, postings| merged.offer(value, || is_meant(postings)))?,
    }
    merged.end_source();
    Ok(())
}

/// Gives `merged` the label names: all, or those that have a value of whose series `is_meant` says so.
pub(crate) fn names_into<S: Source>(
    source: &S,
    is_meant: Option<&dyn Fn(Postings<'_>) -> bool>,
    merged: &mut Merged,
) -> Result<(), S::Error> {
    for name in source.names() {
        let mut outcome = Ok(());
        let offered = merged.offer(name, || {
            let Some(is_meant) = is_meant else { return true };
            let mut is_carried = false;
            outcome = source.visit(name, Values::ALL, &mut |_, postings| {
                is_carried = is_meant(postings);
                if is_carried { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            });
            is_carried
        });
        outcome?;
        if offered.is_break() {
            break;
        }
    }
    merged.end_source();
    Ok(())
}

fn rank(matcher: &Matcher) -> u8 {
    match matcher.op {
        MatchOp::Equal => 0,
        MatchOp::Regex => 1,
        MatchOp::NotEqual | MatchOp::NotRegex => 2,
    }
}
