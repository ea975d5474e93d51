//! One exact sum, small as long as two floats hold it.

use crate::frame::codec::{FrameError, Reader, put_float};
use crate::merge::exact::{ExactSums, Rounded, two_sum};

/// A number that is summed exactly; what is not finite is remembered apart.
#[derive(Clone, Debug, Default)]
pub(super) struct ExactSum {
    /// The float nearest to what both hold, and the rest.
    high: f64,
    low: f64,
    /// What did not fit.
    spill: Option<Box<ExactSums>>,
    saw: u8,
}

const SAW_NAN: u8 = 1;
const SAW_POSITIVE_INFINITY: u8 = 2;
const SAW_NEGATIVE_INFINITY: u8 = 4;
/// Written beside what was seen: there is a spill.
const HAS_SPILL: u8 = 8;

impl ExactSum {
    /// Adds any float.
    pub(super) fn add(&mut self, value: f64) {
        match value {
            v if v.is_finite() => self.add_finite(v),
            v if v.is_nan() => self.saw |= SAW_NAN,
            v if v > 0.0 => self.saw |= SAW_POSITIVE_INFINITY,
            _ => self.saw |= SAW_NEGATIVE_INFINITY,
        }
    }

    fn add_finite(&mut self, value: f64) {
        let (sum, error) = two_sum(self.high, value);
        let (rest, lost) = two_sum(self.low, error);
        let (high, low) = two_sum(sum, rest);
        // What overflows on the way leaves NaN in `low`.
        if low.is_finite() && lost == 0.0 {
            (self.high, self.low) = (high, low);
        } else {
            self.spill().add(0, value);
        }
    }

    fn spill(&mut self) -> &mut ExactSums {
        self.spill.get_or_insert_with(|| Box::new(ExactSums::new(1)))
    }

    /// Adds another sum.
    pub(super) fn merge(&mut self, other: &Self) {
        self.saw |= other.saw;
        self.add_finite(other.high);
        self.add_finite(other.low);
        if let Some(theirs) = &other.spill {
            self.spill().merge(theirs);
        }
    }

    fn rounded(&self) -> Rounded {
        match &self.spill {
            None => Rounded { high: self.high + 0.0, low: self.low, exponent: 0 },
            Some(spill) => {
                let mut all = ExactSums::clone(spill);
                all.add(0, self.high);
                all.add(0, self.low);
                all.rounded(0)
            }
        }
    }

    /// The sum, rounded.
    pub(super) fn value(&self) -> f64 {
        self.over(1.0)
    }

    /// The sum over `n`, rounded.
    pub(super) fn over(&self, n: f64) -> f64 {
        match self.saw {
            0 if n == 1.0 => self.rounded().value(),
            0 => self.rounded().divided_by(n),
            SAW_POSITIVE_INFINITY => f64::INFINITY,
            SAW_NEGATIVE_INFINITY => f64::NEG_INFINITY,
            _ => f64::NAN,
        }
    }

    /// Appends the sum as bytes.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.push(self.saw | if self.spill.is_some() { HAS_SPILL } else { 0 });
        put_float(out, self.high);
        put_float(out, self.low);
        if let Some(spill) = &self.spill {
            spill.encode(&[1], out);
        }
    }

    /// Reads what [`Self::encode`] wrote.
    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, FrameError> {
        let flags = reader.byte()?;
        let (high, low) = (reader.float()?, reader.float()?);
        if !high.is_finite() || !low.is_finite() {
            return Err(reader.error("sum is not finite"));
        }
        let spill = if flags & HAS_SPILL != 0 { Some(Box::new(ExactSums::decode(&[1], reader)?)) } else { None };
        Ok(Self { high, low, spill, saw: flags & !HAS_SPILL })
    }
}
