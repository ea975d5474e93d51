use super::*;
use proptest::prelude::*;

const U48_MAX: u64 = (1 << 48) - 1;

proptest! {
    #[test]
    fn keys_round_trip_and_sort_as_their_fields(
        a in (any::<u16>(), any::<u32>(), any::<u32>(), 0..=U48_MAX, any::<u32>()),
        b in (any::<u16>(), any::<u32>(), any::<u32>(), 0..=U48_MAX, any::<u32>()),
        fp128: u128,
    ) {
        let chunk = |(day, local, metric, part, first_sid)| ChunkKey { day, local, metric, part, first_sid };
        prop_assert_eq!(ChunkKey::decode(&chunk(a).encode()).unwrap(), chunk(a));
        prop_assert_eq!(chunk(a).encode().cmp(&chunk(b).encode()), a.cmp(&b));
        let (day, local, section, part, page) = a;
        let index = IndexKey { day, local, section, part, page };
        prop_assert_eq!(IndexKey::decode(&index.encode()).unwrap(), index);
        let series = SeriesKey { local, sid: page };
        prop_assert_eq!(SeriesKey::decode(&series.encode()).unwrap(), series);
        let head = HeadKey { local, generation: section, page };
        prop_assert_eq!(HeadKey::decode(&head.encode()).unwrap(), head);
        let fpr = FprKey { local, fp128 };
        prop_assert_eq!(FprKey::decode(&fpr.encode()).unwrap(), fpr);
        for (family, key) in [
            (Family::Chunk, chunk(a).encode().to_vec()),
            (Family::Series, series.encode().to_vec()),
            (Family::Fpr, fpr.encode().to_vec()),
            (Family::Head, head.encode().to_vec()),
        ] {
            let portable = family.portable(&key).unwrap();
            prop_assert_eq!(portable.len() + 4, key.len());
            prop_assert_eq!(family.with_local(&portable, local).unwrap(), key);
        }
    }
}

#[test]
fn key_bytes_are_frozen() {
    let chunk = ChunkKey { day: 0x0102, local: 0x0304_0506, metric: 0x0708_090a, part: 0x0b0c_0d0e_0f10, first_sid: 0x1112_1314 };
    let bytes: Vec<u8> = (1..=20).collect();
    assert_eq!(chunk.encode(), bytes[..]);
    assert_eq!(Family::Chunk.portable(&chunk.encode()).unwrap(), [&bytes[..2], &bytes[6..]].concat());
    let index = IndexKey { day: 0x0102, local: 0x0304_0506, section: 0x0708_090a, part: 0x0b0c_0d0e_0f10, page: 0x1112_1314 };
    assert_eq!(index.encode(), bytes[..]);
    assert_eq!(MetaKey { local: 0x0102_0304, tag: MetaTag::Pending }.encode(), [1, 2, 3, 4, 3]);
    assert_eq!(SeriesKey { local: 0x0102_0304, sid: 0x0506_0708 }.encode(), bytes[..8]);
    assert_eq!(HeadKey { local: 0x0102_0304, generation: 0x0506_0708, page: 0x090a_0b0c }.encode(), bytes[..12]);
    assert_eq!(FprKey { local: 0x0102_0304, fp128: 0x0506_0708_090a_0b0c_0d0e_0f10_1112_1314 }.encode(), bytes[..]);
    for tag in [MetaTag::Node, MetaTag::Identity, MetaTag::Manifest, MetaTag::Pending] {
        let key = MetaKey { local: 9, tag };
        assert_eq!(MetaKey::decode(&key.encode()).unwrap(), key);
    }
    assert!(MetaKey::decode(&[0, 0, 0, 1, 9]).is_err());
    assert!(ChunkKey::decode(&bytes[..19]).is_err());
    assert!(HeadKey::decode(&bytes[..13]).is_err());
    assert!(Family::from_number(0).is_err());
}
