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

proptest! {
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
