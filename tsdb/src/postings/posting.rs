//! The series of one label pair. Most pairs are on one series (pod names, ids), so a bitmap is the exception.

use crate::select::Postings;
use roaring::RoaringBitmap;

#[derive(Clone, Debug, Default)]
pub(crate) enum Posting {
    #[default]
    Empty,
    One(u32),
    /// Two or three ids, in no order; the last is repeated when there are two.
    Few([u32; 3]),
    Bitmap(Box<RoaringBitmap>),
}

impl Posting {
    pub(crate) fn insert(&mut self, sid: u32) {
        match self {
            Self::Empty => *self = Self::One(sid),
            Self::One(a) if *a == sid => {}
            Self::One(a) => *self = Self::Few([*a, sid, sid]),
            Self::Few(ids) if ids.contains(&sid) => {}
            Self::Few([a, b, c]) if b == c => *self = Self::Few([*a, *b, sid]),
            Self::Few(ids) => *self = Self::Bitmap(Box::new(ids.iter().copied().chain([sid]).collect())),
            Self::Bitmap(bitmap) => {
                bitmap.insert(sid);
            }
        }
    }

    pub(crate) fn remove(&mut self, sid: u32) {
        match self {
            Self::Empty => {}
            Self::One(a) => {
                if *a == sid {
                    *self = Self::Empty;
                }
            }
            Self::Few(ids) => {
                let mut left = ids.iter().copied().filter(|id| *id != sid);
                *self = match (left.next(), left.next(), left.next()) {
                    (Some(a), Some(b), None) if a == b => Self::One(a),
                    (Some(a), Some(b), c) => Self::Few([a, b, c.unwrap_or(b)]),
                    (Some(a), None, _) => Self::One(a),
                    (None, ..) => Self::Empty,
                };
            }
            Self::Bitmap(bitmap) => {
                bitmap.remove(sid);
                if bitmap.is_empty() {
                    *self = Self::Empty;
                }
            }
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        matches!(self, Self::Empty)
    }

    /// For the evaluator of matchers.
    pub(crate) fn read(&self) -> Postings<'_> {
        match self {
            Self::Empty => Postings::Listed(&[]),
            Self::One(a) => Postings::Listed(std::slice::from_ref(a)),
            Self::Few(ids) => Postings::Listed(if ids[1] == ids[2] { &ids[..2] } else { &ids[..] }),
            Self::Bitmap(bitmap) => Postings::Bitmap(bitmap),
        }
    }

    /// Number of series.
    pub(crate) fn len(&self) -> u64 {
        self.read().len()
    }
}
