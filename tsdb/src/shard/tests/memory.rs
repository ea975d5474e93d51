//! What keeps a head within its share, and how a leader names series.

use super::*;
use crate::config::ShardConfig;
use crate::resolve::PartError;

/// Rows that name their series by hash alone.
fn without_labels(rows: &[(Labels, i64, f64)]) -> Bytes {
    let mut builder = RowsBuilder::default();
    for (ordinal, (labels, timestamp_ms, value)) in rows.iter().enumerate() {
        builder.series(ordinal as u32, hash::fp128(labels, KEY), hash::placement_hash(labels, KEY), &[]);
        builder.sample(Sample { timestamp_ms: *timestamp_ms, value: *value });
    }
    builder.finish()
}

fn input(rows: &[u8]) -> PartInput<'_> {
    PartInput { batch_id: 1, generation: 1, origin: Origin::RemoteWrite, rows }
}

#[test]
fn c16_early_checkpoints_keep_the_head_within_its_share() {
    const SHARE: u64 = 1 << 20;
    const SERIES: u32 = 300;
    const SCRAPES: i64 = 1000;
    let mut replica = Replica::new();
    let config = ShardConfig { head_bytes_max: SHARE, ..ShardConfig::default() };
    replica.shard = Shard::open(replica.shard.store(), config).unwrap();
    for (index, payload) in replica.log.iter().enumerate() {
        replica.shard.apply(point(index as u64), payload).unwrap();
    }
    replica.apply(limits(1, HOUR, 24 * HOUR));
    let (mut checkpoints, mut most) = (0, 0);
    for scrape in 0..SCRAPES {
        // Values that compress badly, so that the samples alone would take several times the share.
        let rows: Vec<_> = (0..SERIES).map(|n| (series(n), T0 + scrape * 15_000, f64::from(n + 1).sqrt() * (scrape + 1) as f64)).collect();
        let time_ms = T0 + scrape * 15_000;
        let before = replica.shard.head_bytes();
        assert_eq!(replica.write(time_ms, scrape as u128, &rows).accepted, SERIES);
        most = most.max(replica.shard.head_bytes());
        // The keeper looks twice a second; here it looks after every scrape.
        if replica.shard.wants_checkpoint(false) == Some(CheckpointReason::HeadBytes) {
            checkpoints += 1;
            replica.shard.checkpoint().unwrap();
            assert!(replica.shard.head_bytes() < before);
        }
    }
    assert!(checkpoints > 1, "{checkpoints} checkpoints, {most} bytes at most");
    // One scrape opens chunks for all series at once before the keeper looks again.
    assert!(most < SHARE + u64::from(SERIES) * 200, "{most} bytes of {SHARE}");
    let samples: usize = replica.contents(&[]).values().map(Vec::len).sum();
    assert_eq!(samples as i64, i64::from(SERIES) * SCRAPES);
}

#[test]
fn rows_without_labels_name_known_series_and_ask_for_labels_of_others() {
    let mut replica = Replica::new();
    let rows = |t: i64| [(series(1), t, 1.0), (series(2), t, 2.0)];
    let mut builder = EntryBuilder::new(T0, 1);
    let nameless = without_labels(&rows(T0));
    assert_eq!(builder.add_part(&replica.shard, input(&nameless)), Err(PartError::NeedsLabels));
    assert_eq!((builder.parts(), builder.samples()), (0, 0), "the entry is as before");
    replica.write(T0, 1, &rows(T0));

    let nameless = without_labels(&rows(T0 + 1));
    builder.add_part(&replica.shard, input(&nameless)).unwrap();
    let response = ApplyResponse::decode(&replica.apply(builder.finish())).unwrap();
    assert_eq!(response.parts[0].accepted, 2);
    assert_eq!(replica.contents(&[])[&series(2).to_string()].len(), 2);

    let mut with_other = EntryBuilder::new(T0, 1);
    let other = without_labels(&[(series(1), T0 + 2, 1.0), (series(3), T0 + 2, 1.0)]);
    assert_eq!(with_other.add_part(&replica.shard, input(&other)), Err(PartError::NeedsLabels));
}

#[test]
fn c16_a_leader_short_of_memory_takes_samples_of_its_series_and_no_others() {
    let mut replica = Replica::new();
    replica.write(T0, 1, &[(series(1), T0, 1.0)]);
    let mut builder = EntryBuilder::new(T0, 1).without_new_series();
    let (old, new) = (encode_rows(&[(series(1), T0 + 1, 1.0)]), encode_rows(&[(series(2), T0 + 1, 1.0)]));
    assert_eq!(builder.add_part(&replica.shard, input(&new)), Err(PartError::NewSeries));
    builder.add_part(&replica.shard, input(&old)).unwrap();
    assert_eq!(builder.parts(), 1);
}

#[test]
fn records_of_many_new_series_leave_the_write_ahead_log_after_the_checkpoint() {
    let mut replica = Replica::new();
    let rows: Vec<_> = (0..6000).map(|n| (series(n), T0, 1.0)).collect();
    for (batch, rows) in rows.chunks(1000).enumerate() {
        assert_eq!(replica.write(T0, batch as u128, rows).accepted, 1000);
    }
    // Series are recorded when their first chunk goes into a part.
    replica.apply(limits(1, HOUR, 2 * HOUR));
    replica.apply(entry::evict_idle(T0 + 200 * HOUR));
    replica.shard.checkpoint().unwrap();
    let logged = || -> u64 {
        let files = std::fs::read_dir(replica.folder.path().join("rocks")).unwrap().flatten();
        let logs = files.filter(|file| file.path().extension().is_some_and(|extension| extension == "log"));
        logs.filter_map(|file| file.metadata().ok()).map(|metadata| metadata.len()).sum()
    };
    // The flush goes on beside.
    let is_small = (0..1000).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(10));
        logged() < 100_000
    });
    assert!(is_small, "{} bytes of log", logged());
    let before = replica.contents(&[]);
    assert_eq!(before.len(), 6000);
    let mut replica = replica.restart();
    assert_eq!(replica.contents(&[]), before);
    assert_eq!(replica.write(T0 + 200 * HOUR, 99, &[(series(5), T0, 1.0)]).unchanged, 1, "known by its hash");
    replica.db.flush().unwrap();
}
