use super::*;
use proptest::collection::vec;
use proptest::prelude::*;

fn values() -> impl Strategy<Value = Vec<u64>> {
    let value = (0u32..65, any::<u64>()).prop_map(|(bits, v)| if bits == 0 { 0 } else { v >> (64 - bits) });
    let below = (1u64..10_000).prop_flat_map(|radix| vec(0..radix, 0..700));
    let sparse =
        (vec(value.clone(), 0..700), vec(any::<bool>(), 700), 0u64..3000, any::<bool>()).prop_map(|(values, kept, base, narrow)| {
            let values = values.into_iter().zip(kept);
            values
                .map(|(v, kept)| {
                    if !kept {
                        0
                    } else if narrow {
                        base + v % 7
                    } else {
                        v
                    }
                })
                .collect()
        });
    prop_oneof![
        vec(value, 0..700),
        (0u32..64).prop_flat_map(|bits| vec((any::<u64>()).prop_map(move |v| v >> bits), 0..700)),
        below,
        sparse
    ]
}

fn packed(values: &[u64]) -> Vec<u8> {
    let mut out = Vec::new();
    pack(values, &mut out);
    out
}

fn unpacked(bytes: &[u8], count: usize) -> Result<Vec<u64>, Corruption> {
    let (mut reader, mut out) = (Reader::new(bytes), vec![7; 3]);
    unpack(&mut reader, count, &mut out)?;
    reader.end()?;
    out.truncate(count);
    Ok(out)
}

proptest! {
    #[test]
    fn packed_values_come_back_and_damage_never_panics(values in values(), at: prop::sample::Index, flip in 1u8..) {
        let mut bytes = packed(&values);
        // Gaps and counts above 127 take one byte more than was reckoned.
        prop_assert!(bytes.len() <= packed_bytes(&values) + values.len().div_ceil(BLOCK));
        prop_assert_eq!(&unpacked(&bytes, values.len()).unwrap(), &values);
        if !bytes.is_empty() {
            let i = at.index(bytes.len());
            prop_assert!(unpacked(&bytes[..i], values.len()).is_err());
            bytes[i] ^= flip;
            let _ = unpacked(&bytes, values.len());
        }
    }

    #[test]
    fn any_bytes_are_unpacked_or_refused(code in any::<u8>(), exceptions in 0u8..130, radix in 0u8..128, bytes in vec(any::<u8>(), 0..1200), count in 1usize..700) {
        let mut block = vec![code, exceptions, radix];
        block.extend(bytes);
        let mut out = Vec::new();
        let _ = unpack(&mut Reader::new(&block), count, &mut out);
        prop_assert!(out.len() <= count.next_multiple_of(BLOCK));
    }
}

#[test]
fn every_count_and_width_comes_back_alone() {
    for width in 1..=64 {
        for count in (1..=2 * BLOCK).chain([LIST_MAX - 1, LIST_MAX, LIST_MAX + 1, 700]) {
            let values = vec![u64::MAX >> (64 - width); count];
            assert_eq!(unpacked(&packed(&values), count).unwrap(), values, "{count} values of {width} bits");
        }
    }
}

#[test]
fn the_least_and_greatest_digits_of_every_radix_come_back() {
    for greatest in (2u64..2000).chain([7130, 7131, 2_642_244, 2_642_245]) {
        for count in [1, 2, 3, 5, 21, 22, 39, 40, 41, 96, 127, 128] {
            let values: Vec<u64> = (0..count).map(|i| if i % 3 == 0 { greatest } else { greatest * (i % 5) / 4 }).collect();
            assert_eq!(unpacked(&packed(&values), values.len()).unwrap(), values, "up to {greatest}, {count} values");
            let values = vec![greatest; count as usize];
            assert_eq!(unpacked(&packed(&values), values.len()).unwrap(), values, "all {greatest}, {count} values");
        }
    }
}

#[test]
fn few_wide_values_are_patched() {
    let mut values = vec![1u64; BLOCK];
    values[5] = 1 << 40;
    assert_eq!(packed(&values).len(), 2 + BLOCK / 8 + 1 + 6);
}

#[test]
fn values_among_zeroes_take_a_bit_for_each_place() {
    let values: Vec<u64> = (0..BLOCK as u64).map(|i| if i % 2 == 0 { 0 } else { (1 << 29) + i }).collect();
    assert_eq!(packed(&values).len(), 2 + BLOCK / 8 + BLOCK / 2 * 30 / 8);
}

#[test]
fn values_well_below_a_power_of_two_take_a_part_of_a_bit_less() {
    // Nine digits of radix 80 to a number of 57 bits; two are left for two bytes.
    let values: Vec<u64> = (0..BLOCK as u64).map(|i| i * 7919 % 80).collect();
    assert_eq!(packed(&values).len(), 3 + (14usize * 57).div_ceil(8) + 2);
}

#[test]
fn one_list_holds_a_page_unless_its_parts_differ() {
    let alike: Vec<u64> = (0..480).map(|i| i * 7919 % 64).collect();
    assert_eq!(packed(&alike).len(), 2 + 480 * 6 / 8);
    let unlike: Vec<u64> = (0..480).map(|i| if i < 256 { i % 2 } else { i * 7919 % 64 }).collect();
    assert_eq!(packed(&unlike).len(), 1 + 4 * 2 + 256 / 8 + 224 * 6 / 8);
    assert_eq!(packed(&unlike)[0], BLOCKS);
}

#[test]
fn list_bytes_are_frozen() {
    assert_eq!(packed(&[1, 2, 3]), [2, 0, 0b11_1001]);
    let digits: Vec<u64> = (0..40).map(|i| i % 3).collect();
    assert_eq!(packed(&digits)[..4], [WIDTH_MAX + 5, 0, 3, 49]);
    let mut patched = vec![0; 64];
    (patched[9], patched[40]) = (5, 300);
    assert_eq!(packed(&patched)[..3], [0, 2, 9]);
}
