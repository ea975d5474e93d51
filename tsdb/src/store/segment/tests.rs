use super::build::put_postings;
use super::directory::Name;
use super::read::StoredPostings;
use super::*;
use crate::store::pack::pack_plain;
use crate::wire::Reader;
use proptest::collection::vec;
use proptest::prelude::*;
use roaring::RoaringBitmap;

fn directory() -> Directory {
    let name = |text: &str, pages: &[(&str, u64)]| Name {
        text: text.into(),
        values: 300,
        bytes: 7,
        dictionary: pages.iter().map(|(first, number)| ((*first).into(), *number)).collect(),
        postings: pages.iter().map(|(_, number)| *number).collect(),
    };
    Directory { series: [3, 4, 9].into_iter().collect(), names: vec![name("job", &[("a", 0), ("k", 130)]), name("x", &[("", 0)])] }
}

#[test]
fn directory_has_its_bytes_and_cut_ones_are_errors() {
    let bytes = directory().encode();
    let mut golden = vec![FORMAT, 22];
    golden.extend([0x3a, 0x30, 0, 0, 1, 0, 0, 0, 0, 0, 2, 0, 16, 0, 0, 0, 3, 0, 4, 0, 9, 0]);
    golden.extend([2, 3, b'j', b'o', b'b', 0xac, 2, 7, 2, 1, b'a', 0, 1, b'k', 0x82, 1, 2, 0, 0x82, 1]);
    golden.extend([1, b'x', 0xac, 2, 7, 1, 0, 0, 1, 0]);
    assert_eq!(bytes, golden);
    assert_eq!(Directory::decode(&pack_plain(&bytes)), Ok(directory()));
    for cut in 0..bytes.len() {
        assert!(Directory::decode(&pack_plain(&bytes[..cut])).is_err(), "cut at {cut}");
    }
}

#[test]
fn postings_have_their_bytes() {
    let bytes = |sids: Vec<u32>| {
        let mut out = Vec::new();
        put_postings(&mut out, sids);
        out
    };
    assert_eq!(bytes(vec![300, 5]), [2, 5, 0xa7, 2]);
    assert_eq!(bytes((0..9).map(|i| i * 100_000).collect())[..5], [9, 0, 0xa0, 0x8d, 6], "a bitmap of as many containers is larger");
    assert_eq!(bytes((0..60).collect()), [0, 15, 0x3b, 0x30, 0, 0, 1, 0, 0, 59, 0, 1, 0, 0, 0, 59, 0], "one run");
}

proptest! {
    #[test]
    fn postings_come_back(lists in vec((1u32..70_000, vec(any::<u16>(), 1..90)), 1..8)) {
        let lists: Vec<RoaringBitmap> = lists.iter().map(|(step, sids)| sids.iter().map(|sid| u32::from(*sid) * step / 16).collect()).collect();
        let mut page = Vec::new();
        lists.iter().for_each(|sids| put_postings(&mut page, sids.iter().rev().collect()));
        let mut reader = Reader::new(&page);
        for expected in lists {
            let mut read = RoaringBitmap::new();
            StoredPostings::take(&mut reader).unwrap().read(|postings| postings.apply(crate::select::How::Add, &mut read)).unwrap();
            prop_assert_eq!(read, expected);
        }
        reader.end().unwrap();
    }

    #[test]
    fn forged_directories_and_postings_never_panic(at: prop::sample::Index, change: u8, bytes in vec(prop_oneof![0u8..10, any::<u8>()], 0..60)) {
        let mut value = directory().encode();
        let at = at.index(value.len());
        value[at] = change;
        let _ = Directory::decode(&pack_plain(&value));
        let mut reader = Reader::new(&bytes);
        while let Ok(postings) = StoredPostings::take(&mut reader) {
            let _ = postings.read(|postings| {
                let mut all = RoaringBitmap::new();
                postings.apply(crate::select::How::Add, &mut all);
            });
        }
    }
}
