//! Which series `limit_ratio` keeps: those whose hash is in the lower part of all hashes. Prometheus hashes label sets alike,
//! so both keep the same series.

use model::Labels;

/// The position of a label set among all, in `0.0..=1.0`.
pub(super) fn position(labels: &Labels) -> f64 {
    let mut bytes = Vec::with_capacity(128);
    for (name, value) in labels {
        push_sized(&mut bytes, name);
        push_sized(&mut bytes, value);
    }
    xxh64(&bytes) as f64 / u64::MAX as f64
}

/// Whether a series at `position` belongs to the lower `ratio`, or, if that is negative, to the upper `-ratio`.
pub(super) fn keeps(ratio: f64, position: f64) -> bool {
    if ratio >= 0.0 { position < ratio } else { position >= 1.0 + ratio }
}

/// A text behind its length: one byte, or 255 and three bytes, lowest first.
fn push_sized(bytes: &mut Vec<u8>, text: &str) {
    match u8::try_from(text.len()) {
        Ok(length) if length < 255 => bytes.push(length),
        _ => {
            bytes.push(255);
            bytes.extend_from_slice(&(text.len() as u32).to_le_bytes()[..3]);
        }
    }
    bytes.extend_from_slice(text.as_bytes());
}

const PRIMES: [u64; 5] =
    [0x9E37_79B1_85EB_CA87, 0xC2B2_AE3D_27D4_EB4F, 0x1656_67B1_9E37_79F9, 0x85EB_CA77_C2B2_AE63, 0x27D4_EB2F_1656_67C5];

/// XXH64 with seed 0.
fn xxh64(bytes: &[u8]) -> u64 {
    let [p1, p2, p3, p4, p5] = PRIMES;
    let (blocks, mut rest) = bytes.as_chunks::<32>();
    let mut hash = if blocks.is_empty() { p5 } else { stripes(blocks) }.wrapping_add(bytes.len() as u64);
    while let Some((word, after)) = rest.split_first_chunk::<8>() {
        hash = (hash ^ round(0, u64::from_le_bytes(*word))).rotate_left(27).wrapping_mul(p1).wrapping_add(p4);
        rest = after;
    }
    if let Some((word, after)) = rest.split_first_chunk::<4>() {
        let word = u64::from(u32::from_le_bytes(*word));
        hash = (hash ^ word.wrapping_mul(p1)).rotate_left(23).wrapping_mul(p2).wrapping_add(p3);
        rest = after;
    }
    for byte in rest {
        hash = (hash ^ u64::from(*byte).wrapping_mul(p5)).rotate_left(11).wrapping_mul(p1);
    }
    hash = (hash ^ (hash >> 33)).wrapping_mul(p2);
    hash = (hash ^ (hash >> 29)).wrapping_mul(p3);
    hash ^ (hash >> 32)
}

fn stripes(blocks: &[[u8; 32]]) -> u64 {
    let [p1, p2, _, p4, _] = PRIMES;
    let mut lanes = [p1.wrapping_add(p2), p2, 0, p1.wrapping_neg()];
    for block in blocks {
        for (lane, word) in lanes.iter_mut().zip(block.as_chunks::<8>().0) {
            *lane = round(*lane, u64::from_le_bytes(*word));
        }
    }
    let rotated = lanes.iter().zip([1, 7, 12, 18]).map(|(lane, by)| lane.rotate_left(by));
    let joined = rotated.fold(0_u64, u64::wrapping_add);
    lanes.iter().fold(joined, |hash, lane| (hash ^ round(0, *lane)).wrapping_mul(p1).wrapping_add(p4))
}

fn round(lane: u64, word: u64) -> u64 {
    lane.wrapping_add(word.wrapping_mul(PRIMES[1])).rotate_left(31).wrapping_mul(PRIMES[0])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_the_published_vectors() {
        assert_eq!(xxh64(b""), 0xEF46_DB37_51D8_E999);
        assert_eq!(xxh64(b"a"), 0xD24E_C4F1_A98C_6E5B);
        assert_eq!(xxh64(b"abc"), 0x44BC_2CF5_AD77_0999);
        assert_eq!(xxh64(b"Nobody inspects the spammish repetition"), 0xFBCE_A83C_8A37_8BF1);
    }

    #[test]
    fn a_ratio_and_its_complement_share_the_series() {
        for position in [0.0, 0.2, 0.5, 0.999] {
            assert_ne!(keeps(0.3, position), keeps(-0.7, position));
        }
    }
}
