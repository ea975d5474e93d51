use super::*;
use crate::ingest::admit::LABELS_KEPT_MAX;
use proptest::prelude::*;
use prost::Message;

/// Remote write 1.0 as prost reads it, with texts as bytes: this decoder leaves UTF-8 to admission.
mod reference {
    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct WriteRequest {
        #[prost(message, repeated, tag = "1")]
        pub(super) timeseries: Vec<TimeSeries>,
        #[prost(message, repeated, tag = "3")]
        pub(super) metadata: Vec<Metadata>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Metadata {
        #[prost(uint64, tag = "1")]
        pub(super) kind: u64,
        #[prost(bytes = "vec", tag = "2")]
        pub(super) family: Vec<u8>,
        #[prost(bytes = "vec", tag = "4")]
        pub(super) help: Vec<u8>,
        #[prost(bytes = "vec", tag = "5")]
        pub(super) unit: Vec<u8>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct TimeSeries {
        #[prost(message, repeated, tag = "1")]
        pub(super) labels: Vec<Label>,
        #[prost(message, repeated, tag = "2")]
        pub(super) samples: Vec<Sample>,
        #[prost(message, repeated, tag = "3")]
        pub(super) exemplars: Vec<Exemplar>,
        #[prost(message, repeated, tag = "4")]
        pub(super) histograms: Vec<Histogram>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Label {
        #[prost(bytes = "vec", tag = "1")]
        pub(super) name: Vec<u8>,
        #[prost(bytes = "vec", tag = "2")]
        pub(super) value: Vec<u8>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Sample {
        #[prost(double, tag = "1")]
        pub(super) value: f64,
        #[prost(int64, tag = "2")]
        pub(super) timestamp: i64,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Exemplar {
        #[prost(message, repeated, tag = "1")]
        pub(super) labels: Vec<Label>,
        #[prost(double, tag = "2")]
        pub(super) value: f64,
        #[prost(int64, tag = "3")]
        pub(super) timestamp: i64,
    }

    /// The fields whose encoding is fixed; the packed ones are unknown to both sides.
    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Histogram {
        #[prost(uint64, tag = "1")]
        pub(super) count: u64,
        #[prost(double, tag = "2")]
        pub(super) count_float: f64,
        #[prost(double, tag = "3")]
        pub(super) sum: f64,
        #[prost(sint32, tag = "4")]
        pub(super) schema: i32,
        #[prost(double, tag = "5")]
        pub(super) zero_threshold: f64,
        #[prost(uint64, tag = "6")]
        pub(super) zero_count: u64,
        #[prost(double, tag = "7")]
        pub(super) zero_count_float: f64,
        #[prost(message, repeated, tag = "8")]
        pub(super) negative_spans: Vec<BucketSpan>,
        #[prost(message, repeated, tag = "11")]
        pub(super) positive_spans: Vec<BucketSpan>,
        #[prost(int64, tag = "14")]
        pub(super) reset_hint: i64,
        #[prost(int64, tag = "15")]
        pub(super) timestamp: i64,
    }

    #[derive(Clone, Copy, PartialEq, prost::Message)]
    pub(super) struct BucketSpan {
        #[prost(sint32, tag = "1")]
        pub(super) offset: i32,
        #[prost(uint32, tag = "2")]
        pub(super) length: u32,
    }
}

type Pairs = Vec<(Vec<u8>, Vec<u8>)>;
/// Labels, number of labels, (timestamp, bits) of samples.
type Read = Vec<(Pairs, usize, Vec<(i64, u64)>)>;

fn read(body: &[u8]) -> Result<Read, DecodeError> {
    let mut reader = WriteRequestReader::new(body);
    let mut all = Vec::new();
    while let Some(series) = reader.next_series()? {
        let labels = series.labels.iter().map(|(n, v)| (n.to_vec(), v.to_vec())).collect();
        let announced = series.body.samples.len();
        let samples: Vec<_> = series.body.samples.map(|s| (s.timestamp_ms, s.value.to_bits())).collect();
        assert_eq!(announced, samples.len());
        all.push((labels, series.label_count, samples));
    }
    Ok(all)
}

fn expected(request: &reference::WriteRequest) -> Read {
    let pairs = |labels: &[reference::Label]| labels.iter().map(|l| (l.name.clone(), l.value.clone())).collect();
    let samples = |samples: &[reference::Sample]| samples.iter().map(|s| (s.timestamp, s.value.to_bits())).collect();
    request.timeseries.iter().map(|t| (pairs(&t.labels), t.labels.len(), samples(&t.samples))).collect()
}

fn label() -> impl Strategy<Value = reference::Label> {
    (prop::collection::vec(any::<u8>(), 0..12), prop::collection::vec(any::<u8>(), 0..200))
        .prop_map(|(name, value)| reference::Label { name, value })
}

fn sample() -> impl Strategy<Value = reference::Sample> {
    (any::<u64>(), any::<i64>()).prop_map(|(bits, timestamp)| reference::Sample { value: f64::from_bits(bits), timestamp })
}

fn exemplar() -> impl Strategy<Value = reference::Exemplar> {
    (prop::collection::vec(label(), 0..3), sample()).prop_map(|(labels, s)| reference::Exemplar {
        labels,
        value: s.value,
        timestamp: s.timestamp,
    })
}

fn histogram() -> impl Strategy<Value = reference::Histogram> {
    let spans =
        || prop::collection::vec((any::<i32>(), any::<u32>()).prop_map(|(offset, length)| reference::BucketSpan { offset, length }), 0..3);
    (any::<u64>(), any::<f64>(), any::<i32>(), spans(), spans(), any::<i64>()).prop_map(|(count, sum, schema, negative, positive, at)| {
        reference::Histogram { count, sum, schema, negative_spans: negative, positive_spans: positive, timestamp: at, ..Default::default() }
    })
}

fn request() -> impl Strategy<Value = reference::WriteRequest> {
    let series = (
        prop::collection::vec(label(), 0..8),
        prop::collection::vec(sample(), 0..6),
        prop::collection::vec(exemplar(), 0..2),
        prop::collection::vec(histogram(), 0..2),
    )
        .prop_map(|(labels, samples, exemplars, histograms)| reference::TimeSeries { labels, samples, exemplars, histograms });
    let metadata = (any::<u64>(), prop::collection::vec(any::<u8>(), 0..20)).prop_map(|(kind, help)| reference::Metadata {
        kind,
        help,
        ..Default::default()
    });
    (prop::collection::vec(series, 0..6), prop::collection::vec(metadata, 0..3))
        .prop_map(|(timeseries, metadata)| reference::WriteRequest { timeseries, metadata })
}

#[derive(Clone, Debug)]
enum Mutation {
    Set(prop::sample::Index, u8),
    Remove(prop::sample::Index),
    Insert(prop::sample::Index, u8),
    Cut(prop::sample::Index),
}

fn mutation() -> impl Strategy<Value = Mutation> {
    // Bytes that mean something to the wire format come up often: small keys, lengths, wire types, varint ends.
    let byte = prop_oneof![any::<u8>(), 0u8..40, prop::sample::select(vec![0x80, 0xff, 0x7f, 0x01, 0x09, 0x0a, 0x12, 0x1a, 0x22])];
    prop_oneof![
        (any::<prop::sample::Index>(), byte.clone()).prop_map(|(at, byte)| Mutation::Set(at, byte)),
        any::<prop::sample::Index>().prop_map(Mutation::Remove),
        (any::<prop::sample::Index>(), byte).prop_map(|(at, byte)| Mutation::Insert(at, byte)),
        any::<prop::sample::Index>().prop_map(Mutation::Cut),
    ]
}

fn mutate(body: &mut Vec<u8>, mutation: &Mutation) {
    match mutation {
        _ if body.is_empty() => {}
        Mutation::Set(at, byte) => {
            let at = at.index(body.len());
            body[at] = *byte;
        }
        Mutation::Remove(at) => {
            body.remove(at.index(body.len()));
        }
        Mutation::Insert(at, byte) => body.insert(at.index(body.len()), *byte),
        Mutation::Cut(at) => body.truncate(at.index(body.len())),
    }
}

/// Both readers must say the same, but for groups, which only prost takes.
fn agree(body: &[u8]) -> Result<(), TestCaseError> {
    match (read(body), reference::WriteRequest::decode(body)) {
        (Err(DecodeError::Protobuf { fault: Fault::Group { .. }, .. }), _) | (Err(_), Err(_)) => {}
        (ours, theirs) => {
            let theirs = theirs.map_err(|e| TestCaseError::fail(format!("prost refuses, {e}: {body:02x?}")))?;
            let ours = ours.map_err(|e| TestCaseError::fail(format!("only prost takes, {e}: {body:02x?}")))?;
            prop_assert_eq!(ours, expected(&theirs));
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_encoded_request_reads_as_prost_reads_it(request in request()) {
        prop_assert_eq!(read(&request.encode_to_vec()), Ok(expected(&request)));
    }

    #[test]
    fn mutated_bytes_never_panic_and_are_judged_as_prost_judges_them(
        request in request(),
        mutations in prop::collection::vec(mutation(), 1..6),
    ) {
        let mut body = request.encode_to_vec();
        for mutation in &mutations {
            mutate(&mut body, mutation);
            agree(&body)?;
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic_and_are_judged_as_prost_judges_them(body in prop::collection::vec(any::<u8>(), 0..64)) {
        agree(&body)?;
    }

    #[test]
    fn snappy_blocks_come_back_and_broken_ones_are_refused(
        body in prop::collection::vec(0u8..4, 0..3000),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut buffer = SnappyBuffer::default();
        let mut block = snap::raw::Encoder::new().compress_vec(&body).unwrap();
        prop_assert_eq!(buffer.decode(&block, &BodyLimits::default()), Ok(&body[..]));
        let at = at.index(block.len());
        block[at] = byte;
        if let Ok(decoded) = buffer.decode(&block, &BodyLimits::default()) {
            prop_assert_eq!(decoded, snap::raw::Decoder::new().decompress_vec(&block).unwrap());
        }
    }
}

#[test]
fn the_generated_types_read_the_same_bytes() {
    use proto::prometheus::{Label, Sample, TimeSeries, WriteRequest};
    let label = |name: &str, value: &str| Label { name: name.into(), value: value.into() };
    let request = WriteRequest {
        timeseries: vec![TimeSeries {
            labels: vec![label("__name__", "up"), label("job", "node")],
            samples: vec![Sample { value: 1.0, timestamp: -5 }, Sample { value: f64::NEG_INFINITY, timestamp: i64::MAX }],
            exemplars: vec![],
        }],
        metadata: vec![],
    };
    let read = read(&request.encode_to_vec()).unwrap();
    assert_eq!(read[0].0, [(b"__name__".to_vec(), b"up".to_vec()), (b"job".to_vec(), b"node".to_vec())]);
    assert_eq!(read[0].2, [(-5, 1f64.to_bits()), (i64::MAX, f64::NEG_INFINITY.to_bits())]);
}

#[test]
fn values_keep_every_bit() {
    for bits in [0x7ff0_0000_0000_0002, 0x7ff8_0000_0000_0001, 0xfff0_0000_0000_0000, 0x8000_0000_0000_0000, u64::MAX] {
        let mut body = vec![0x0a, 0x0b, 0x12, 0x09, 0x09];
        body.extend(u64::to_le_bytes(bits));
        assert_eq!(read(&body).unwrap()[0].2, [(0, bits)]);
    }
}

#[test]
fn faults_name_the_place() {
    let fault = |body: &[u8]| match read(body) {
        Err(DecodeError::Protobuf { offset, fault }) => (offset, fault),
        other => panic!("{body:02x?} read as {other:?}"),
    };
    let cases: [(&[u8], (usize, Fault)); 12] = [
        (&[0x0a], (1, Fault::Truncated)),
        (&[0x0a, 0x05, 0x00], (2, Fault::Truncated)),
        (&[0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02], (1, Fault::VarintOverflow)),
        (&[0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01], (11, Fault::Truncated)),
        (&[0x08, 0x01], (1, Fault::WireType { field: 1, found: 0 })),
        (&[0x0a, 0x02, 0x10, 0x00], (3, Fault::WireType { field: 2, found: 0 })),
        (&[0x0a, 0x02, 0x12, 0x01], (4, Fault::Truncated)),
        (&[0x0a, 0x04, 0x12, 0x02, 0x15, 0x00], (5, Fault::WireType { field: 2, found: 5 })),
        (&[0x0b, 0x0c], (0, Fault::Group { field: 1 })),
        (&[0x00, 0x00], (0, Fault::FieldNumber)),
        (&[0x0e], (0, Fault::WireType { field: 1, found: 6 })),
        (&[0x80, 0x80, 0x80, 0x80, 0x10], (0, Fault::FieldNumber)),
    ];
    for (body, expected) in cases {
        assert_eq!(fault(body), expected, "{body:02x?}");
    }
    assert_eq!(read(&[0x0a, 0x05, 0x00]).unwrap_err().to_string(), "malformed remote write request at byte 2: unexpected end of input");
}

#[test]
fn sizes_are_checked_before_memory_is_taken() {
    let limits = BodyLimits { compressed_bytes: 64, decoded_bytes: 1000 };
    let mut buffer = SnappyBuffer::default();
    let claim = |n: u64| {
        let mut block = Vec::new();
        prost::encoding::encode_varint(n, &mut block);
        block.resize(40, 0);
        block
    };
    assert_eq!(buffer.decode(&[0; 65], &limits), Err(DecodeError::TooLarge { actual: 65, limit: 64 }));
    assert_eq!(buffer.decode(&claim(1001), &limits), Err(DecodeError::TooLarge { actual: 1001, limit: 1000 }));
    assert_eq!(
        buffer.decode(&claim(u64::from(u32::MAX)), &limits).unwrap_err().to_string(),
        "received message larger than max (4294967295 vs 1000)"
    );
    assert_eq!(buffer.decode(&claim(1 << 32), &limits), Err(DecodeError::TooLarge { actual: 1 << 32, limit: 1000 }));
    // 40 bytes cannot hold 1,000: refused without a buffer of 1,000.
    assert_eq!(buffer.decode(&claim(1000), &limits), Err(DecodeError::Snappy));
    assert_eq!(buffer.buffer.capacity(), 0);
    assert_eq!(buffer.decode(&[], &limits), Err(DecodeError::Snappy));
    assert_eq!(buffer.decode(&[0], &limits), Ok(&[][..]));
    assert_eq!(buffer.decode(&[0xff; 12], &limits), Err(DecodeError::Snappy));
}

#[test]
fn a_block_tells_its_decoded_size() {
    let block = snap::raw::Encoder::new().compress_vec(&[7u8; 100_000]).unwrap();
    assert!(block.len() < 10_000);
    assert_eq!((claimed_bytes(&block), claimed_bytes(&[]), claimed_bytes(&[0xff; 12])), (100_000, 0, 0));
}

#[test]
fn a_zero_run_of_the_largest_size_is_taken() {
    // The densest block there is: nothing valid may be refused as a false claim.
    let body = vec![0u8; 4 << 20];
    let block = snap::raw::Encoder::new().compress_vec(&body).unwrap();
    assert_eq!(SnappyBuffer::default().decode(&block, &BodyLimits::default()).map(<[u8]>::len), Ok(body.len()));
}

#[test]
fn a_large_buffer_is_given_back() {
    let mut buffer = SnappyBuffer::default();
    let limits = BodyLimits::default();
    let large = snap::raw::Encoder::new().compress_vec(&vec![7u8; BUFFER_KEPT_BYTES + 1]).unwrap();
    let small = snap::raw::Encoder::new().compress_vec(b"small").unwrap();
    assert_eq!(buffer.decode(&large, &limits).map(<[u8]>::len), Ok(BUFFER_KEPT_BYTES + 1));
    assert_eq!(buffer.decode(&small, &limits), Ok(&b"small"[..]));
    assert!(buffer.buffer.capacity() <= BUFFER_KEPT_BYTES);
}

#[test]
fn labels_of_a_bomb_are_counted_and_not_kept() {
    let labels = 1_000_000usize;
    let mut body = vec![0x0a];
    prost::encoding::encode_varint(labels as u64 * 2, &mut body);
    body.extend([0x0a, 0x00].repeat(labels));
    let mut reader = WriteRequestReader::new(&body);
    let series = reader.next_series().unwrap().unwrap();
    assert_eq!((series.label_count, series.labels.len()), (labels, LABELS_KEPT_MAX));
    assert!(series.labels.capacity() <= 2 * LABELS_KEPT_MAX);
}
