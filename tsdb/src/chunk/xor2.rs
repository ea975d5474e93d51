//! The XOR2-like code: time and value share control bits.
//!
//! The stream begins with the first value, 64 bits; the first time stands outside. Then, per sample:
//!
//! ```text
//! 0                     delta of delta 0, value as before
//! 10 <changed>          delta of delta 0
//! 110 <6 bits> <value>  delta of delta in -32..=31
//! 1110 <13> <value>     in -4096..=4095
//! 11110                 delta of delta 0, stale marker
//! 111110 <20> <value>   in -524288..=524287
//! 111111 <64> <value>   any
//!
//! <value>:   0 as before | 1 <changed>
//! <changed>: 0 <bits of the last window> | 10 <5 leading> <6 significant - 1> <bits> | 11 stale marker
//! ```

#![deny(clippy::indexing_slicing)]

use super::bits::{BitReader, push};
use crate::error::Corruption;
use model::sample::STALE_NAN_BITS;

/// Most bytes that one sample can add to a stream: 6 + 64 + 1 + 2 + 5 + 6 + 64 bits.
pub(super) const SAMPLE_BYTES_MAX: usize = 19;

/// What the next sample is coded against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct State {
    pub(super) last_ms: i64,
    pub(super) delta: i64,
    pub(super) value_bits: u64,
    pub(super) leading: u8,
    /// Width of the last window; 0 before the first.
    pub(super) significant: u8,
}

impl State {
    pub(super) fn first(t: i64, value_bits: u64) -> Self {
        Self { last_ms: t, delta: 0, value_bits, leading: 0, significant: 0 }
    }

    /// Appends a sample's code; `t` must be later than the last.
    #[inline]
    pub(super) fn append(&mut self, bytes: &mut Vec<u8>, used: &mut u8, t: i64, value_bits: u64) {
        let delta = t.wrapping_sub(self.last_ms);
        let dod = delta.wrapping_sub(self.delta);
        let same = value_bits == self.value_bits;
        self.last_ms = t;
        self.delta = delta;
        if dod == 0 {
            if same {
                return push(bytes, used, 0, 1);
            }
            if value_bits == STALE_NAN_BITS {
                self.value_bits = value_bits;
                return push(bytes, used, 0b11110, 5);
            }
            push(bytes, used, 0b10, 2);
        } else {
            match dod {
                -32..=31 => push(bytes, used, 0b110 << 6 | low_bits(dod, 6), 9),
                -4096..=4095 => push(bytes, used, 0b1110 << 13 | low_bits(dod, 13), 17),
                -524_288..=524_287 => push(bytes, used, 0b11_1110 << 20 | low_bits(dod, 20), 26),
                _ => {
                    push(bytes, used, 0b11_1111, 6);
                    push(bytes, used, dod as u64, 64);
                }
            }
            push(bytes, used, u64::from(!same), 1);
        }
        if !same {
            self.append_changed(bytes, used, value_bits);
        }
    }

    #[inline]
    fn append_changed(&mut self, bytes: &mut Vec<u8>, used: &mut u8, value_bits: u64) {
        let xor = value_bits ^ self.value_bits;
        self.value_bits = value_bits;
        if value_bits == STALE_NAN_BITS {
            return push(bytes, used, 0b11, 2);
        }
        let leading = xor.leading_zeros().min(31);
        let significant = 64 - leading - xor.trailing_zeros();
        let (window_leading, window) = (u32::from(self.leading), u32::from(self.significant));
        let fits = window > 0 && leading >= window_leading && xor.trailing_zeros() >= 64 - window_leading - window;
        if fits && window <= significant + 12 {
            push(bytes, used, 0, 1);
            push(bytes, used, xor >> (64 - window_leading - window), window);
        } else {
            push(bytes, used, 0b10 << 11 | u64::from(leading) << 6 | u64::from(significant - 1), 13);
            push(bytes, used, xor >> xor.trailing_zeros(), significant);
            (self.leading, self.significant) = (leading as u8, significant as u8);
        }
    }

    #[inline]
    fn read_changed(&mut self, bits: &mut BitReader<'_>) -> Result<(), Corruption> {
        if bits.take(1)? == 1 {
            if bits.take(1)? == 1 {
                self.value_bits = STALE_NAN_BITS;
                return Ok(());
            }
            self.leading = bits.take(5)? as u8;
            self.significant = bits.take(6)? as u8 + 1;
            if self.leading + self.significant > 64 {
                return Err(Corruption::new("window wider than a value"));
            }
        }
        if self.significant == 0 {
            return Err(Corruption::new("no window to use again"));
        }
        let window = u32::from(self.significant);
        self.value_bits ^= bits.take(window)? << (64 - u32::from(self.leading) - window);
        Ok(())
    }

    #[inline]
    fn read_dod(&mut self, bits: &mut BitReader<'_>, width: u32) -> Result<(), Corruption> {
        let raw = bits.take(width)?;
        let dod = ((raw << (64 - width)) as i64) >> (64 - width);
        self.delta = self.delta.wrapping_add(dod);
        if bits.take(1)? == 1 { self.read_changed(bits) } else { Ok(()) }
    }

    /// Reads samples until `slots` are full.
    fn decode_rest<'s>(
        &mut self,
        bits: &mut BitReader<'_>,
        mut slots: impl ExactSizeIterator<Item = (&'s mut i64, &'s mut f64)>,
    ) -> Result<(), Corruption> {
        while slots.len() > 0 {
            bits.refill();
            let run = bits.peek().leading_zeros().min(bits.available()).min(63);
            if run > 0 {
                let run = run.min(u32::try_from(slots.len()).unwrap_or(u32::MAX));
                bits.skip(run)?;
                for (time, value) in slots.by_ref().take(run as usize) {
                    self.last_ms = self.last_ms.wrapping_add(self.delta);
                    (*time, *value) = (self.last_ms, f64::from_bits(self.value_bits));
                }
                continue;
            }
            if !self.read_available(bits) {
                self.read(bits)?;
            }
            if let Some((time, value)) = slots.next() {
                (*time, *value) = (self.last_ms, f64::from_bits(self.value_bits));
            }
        }
        Ok(())
    }

    /// Reads one sample of a usual form, if all of it is among the bits that are available; else answers `false` and reads nothing.
    #[inline]
    fn read_available(&mut self, bits: &mut BitReader<'_>) -> bool {
        let next = bits.peek();
        let signed = |from: u32, width: u32| (next << from) as i64 >> (64 - width);
        let ones = (!next).leading_zeros();
        let (dod, mut used) = match ones {
            1 => (0, 2),
            2 => (signed(3, 6), 10),
            3 => (signed(4, 13), 18),
            _ => return false,
        };
        let mut xor = 0;
        let (mut leading, mut significant) = (self.leading, self.significant);
        // Where the time has bits of its own, one more tells whether the value changed.
        if ones == 1 || next << (used - 1) >> 63 == 1 {
            match next << used >> 62 {
                0b00 | 0b01 => used += 1,
                0b10 => {
                    leading = (next << (used + 2) >> 59) as u8;
                    significant = (next << (used + 7) >> 58) as u8 + 1;
                    used += 13;
                }
                _ => return false,
            }
            let window = u32::from(significant);
            if window == 0 || leading + significant > 64 || used + window > 64 {
                return false;
            }
            xor = next << used >> (64 - window) << (64 - u32::from(leading) - window);
            used += window;
        }
        if !bits.drop_available(used) {
            return false;
        }
        self.delta = self.delta.wrapping_add(dod);
        self.last_ms = self.last_ms.wrapping_add(self.delta);
        self.value_bits ^= xor;
        (self.leading, self.significant) = (leading, significant);
        true
    }

    /// Reads one sample that is not of the form `0`.
    #[inline]
    fn read(&mut self, bits: &mut BitReader<'_>) -> Result<(), Corruption> {
        let ones = (!bits.peek()).leading_zeros().min(6);
        bits.skip((ones + 1).min(6))?;
        match ones {
            1 => self.read_changed(bits)?,
            2 => self.read_dod(bits, 6)?,
            3 => self.read_dod(bits, 13)?,
            4 => self.value_bits = STALE_NAN_BITS,
            5 => self.read_dod(bits, 20)?,
            _ => self.read_dod(bits, 64)?,
        }
        self.last_ms = self.last_ms.wrapping_add(self.delta);
        Ok(())
    }
}

fn low_bits(value: i64, width: u32) -> u64 {
    value as u64 & ((1 << width) - 1)
}

/// Appends the `count` samples of `stream` to `ts` and `values`; gives the time of the last.
pub(super) fn decode(stream: &[u8], count: usize, first_ms: i64, ts: &mut Vec<i64>, values: &mut Vec<f64>) -> Result<i64, Corruption> {
    // Every sample but the first takes at least a bit, so the input bounds what is allocated.
    if count == 0 || count - 1 > stream.len().saturating_sub(8).saturating_mul(8) {
        return Err(Corruption::new("more samples than bits"));
    }
    let (mut bits, from) = (BitReader::new(stream), ts.len());
    let mut state = State::first(first_ms, bits.take(64)?);
    // Room for all at once: whether it grows is not asked for every sample.
    ts.resize(from + count, first_ms);
    values.resize(from + count, f64::from_bits(state.value_bits));
    let times = ts.get_mut(from + 1..).unwrap_or_default();
    let outcome = state.decode_rest(&mut bits, times.iter_mut().zip(values.get_mut(from + 1..).unwrap_or_default()));
    if outcome.is_err() {
        ts.truncate(from);
        values.truncate(from);
    }
    outcome.map(|()| state.last_ms)
}
