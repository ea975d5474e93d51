//! The series of one label pair. Most pairs are on one series (pod names, ids), so a bitmap is the exception.

use roaring::RoaringBitmap;

#[derive(Clone, Debug, Default)]
pub(crate) enum Posting {
    #[default]
    Empty,
    One(u32),
    /// Two or three ids; the last is repeated when there are two.
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

    pub(crate) fn intersects(&self, with: &RoaringBitmap) -> bool {
        match self {
            Self::Empty => false,
            Self::One(a) => with.contains(*a),
            Self::Few(ids) => ids.iter().any(|id| with.contains(*id)),
            Self::Bitmap(bitmap) => !bitmap.is_disjoint(with),
        }
    }

    pub(crate) fn add_to(&self, union: &mut RoaringBitmap) {
        match self {
            Self::Empty => {}
            Self::One(a) => {
                union.insert(*a);
            }
            Self::Few(ids) => union.extend(ids),
            Self::Bitmap(bitmap) => *union |= bitmap.as_ref(),
        }
    }

    /// Number of series.
    pub(crate) fn len(&self) -> u64 {
        match self {
            Self::Empty => 0,
            Self::One(_) => 1,
            Self::Few([_, b, c]) => 2 + u64::from(b != c),
            Self::Bitmap(bitmap) => bitmap.len(),
        }
    }

    /// Keeps of `among` what is in the posting.
    pub(crate) fn keep_in(&self, among: &mut RoaringBitmap) {
        match self {
            Self::Bitmap(bitmap) => *among &= bitmap.as_ref(),
            few => {
                let mut kept = RoaringBitmap::new();
                few.add_to(&mut kept);
                *among &= kept;
            }
        }
    }

    /// Removes from `among` what is in the posting.
    pub(crate) fn drop_from(&self, among: &mut RoaringBitmap) {
        match self {
            Self::Empty => {}
            Self::One(a) => {
                among.remove(*a);
            }
            Self::Few(ids) => ids.iter().for_each(|id| {
                among.remove(*id);
            }),
            Self::Bitmap(bitmap) => *among -= bitmap.as_ref(),
        }
    }
}
