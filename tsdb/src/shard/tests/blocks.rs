//! Blocks of files that RocksDB itself cannot read any more.

use super::life::up;
use super::*;
use crate::shard::damage::drop_damaged_file;
use crate::store::Day;
use model::SeriesId;
use roaring::RoaringBitmap;
use std::sync::atomic::AtomicBool;

const SERIES: u32 = 600;
const SAMPLES: i64 = 240;
const DAY_MS: i64 = 24 * HOUR;
static RUNNING: AtomicBool = AtomicBool::new(false);

/// Values that fill many blocks.
fn with_many_blocks() -> Replica {
    let mut replica = Replica::new();
    let value = |n: u32, i: i64| {
        let word = (u64::from(n) << 20 | i as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        f64::from_bits(0x3ff0_0000_0000_0000 | (word ^ word >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 12)
    };
    for batch in 0..SAMPLES / 60 {
        let steps = batch * 60..(batch + 1) * 60;
        let rows: Vec<_> = steps.flat_map(|i| (0..SERIES).map(move |n| up(n, T0 + i * 15_000, value(n, i)))).collect();
        replica.write(T0 + HOUR, batch as u128, &rows);
    }
    replica.shard.checkpoint().unwrap();
    replica
}

/// Flips a byte in the middle of every file that begins with a key of `day`; gives the number of files.
fn damage_files(replica: &Replica, day: Day) -> usize {
    let mut damaged = 0;
    for entry in std::fs::read_dir(replica.folder.path().join("rocks")).unwrap() {
        let path = entry.unwrap().path();
        let Ok(mut bytes) = std::fs::read(&path) else { continue };
        let begins = bytes.windows(4).take(16).any(|at| at[..2] == day.0.to_be_bytes() && at[2..] == [0, 0]);
        if begins && bytes.len() > 100_000 {
            let middle = bytes.len() / 2;
            bytes[middle] ^= 0x10;
            std::fs::write(&path, bytes).unwrap();
            damaged += 1;
        }
    }
    damaged
}

#[test]
fn unreadable_block_is_an_error_for_whoever_needs_it_and_checkpoints_go_on_beside_it() {
    let replica = with_many_blocks();
    let part = *replica.shard.store().view().parts().iter().find(|part| part.kind.has_samples()).unwrap();
    assert_eq!(damage_files(&replica, part.day), 1);
    let mut replica = replica.restart();
    let view = replica.shard.store().view();
    let mut refused = 0;
    let metrics = 3;
    for from in 0..SERIES - 8 * metrics {
        // Those of one metric, more than are sought one by one.
        let sids: RoaringBitmap = (from..SERIES).filter(|sid| sid % metrics == from % metrics).collect();
        let metric = view.series(SeriesId(from)).unwrap().unwrap().metric;
        let mut seen = RoaringBitmap::new();
        let scanned = view.scan(&sids, metric, 0, i64::MAX, |page| {
            seen.insert(page.sid.0);
        });
        match scanned {
            Ok(()) => assert_eq!(seen, sids, "nothing is left out"),
            Err(error) => {
                assert!(error.is_damage(), "{error}");
                refused += 1;
            }
        }
    }
    assert!((1..SERIES - 8 * metrics).contains(&refused), "{refused} scans met the block");
    drop(view);
    assert!(replica.shard.read_view().select(&[], TimeRange::ALL, |_| ControlFlow::Continue(())).unwrap_err().is_damage());
    assert!(replica.shard.scrub_next(None, &RUNNING).unwrap().unwrap().is_damaged);
    let refuses = |replica: &Replica| {
        let error = replica.shard.read_view().select(&[], TimeRange::ALL, |_| ControlFlow::Continue(())).unwrap_err();
        assert!(error.is_damage(), "{error}");
    };
    refuses(&replica);
    let repair = replica.shard.begin_repair(part.day).unwrap();
    replica.shard.finish_repair(&repair).unwrap();
    for batch in 0..2 {
        let t = T0 + DAY_MS + batch * HOUR;
        assert_eq!(replica.write(t, 100 + batch as u128, &[up(1, t, 1.0)]).accepted, 1);
        assert!(replica.shard.checkpoint().unwrap().is_some(), "what cannot be deleted is left");
    }
}

/// What another replica would send of a day.
fn sent(other: &Replica, day: Day) -> Vec<RepairSeries> {
    let (mut sent, range) = (Vec::new(), TimeRange { after_ms: day.first_ms() - 1, to_ms: day.last_ms() });
    let visit = |series: crate::view::SelectedSeries<'_>| {
        sent.push(RepairSeries { labels: series.labels.clone(), samples: series.samples() });
        ControlFlow::Continue(())
    };
    other.shard.read_view().select(&[], range, visit).unwrap();
    sent
}

fn scrub_all(replica: &Replica) -> usize {
    let (mut place, mut damaged) = (None, 0);
    while let Some(scrubbed) = replica.shard.scrub_next(place, &RUNNING).unwrap() {
        (place, damaged) = (Some(scrubbed.place), damaged + usize::from(scrubbed.is_damaged));
    }
    damaged
}

fn file_exists(replica: &Replica, name: &str) -> bool {
    replica.folder.path().join("rocks").join(name).exists()
}

#[test]
fn damaged_file_goes_unread_once_nobody_needs_it_and_another_replica_brings_back_its_samples() {
    let mut replica = with_many_blocks();
    let part = *replica.shard.store().view().parts().iter().find(|part| part.kind.has_samples()).unwrap();
    // A further part of the same day, in a file of its own within the keys of the first, and one of the next day.
    let rows: Vec<_> = (0..SAMPLES).map(|i| up(7, T0 + HOUR + HOUR / 2 + i * 1000, i as f64)).collect();
    replica.write(T0 + 2 * HOUR, 50, &rows);
    let rows: Vec<_> = (0..SAMPLES).map(|i| up(9, T0 + DAY_MS + i * 1000, i as f64)).collect();
    replica.write(T0 + DAY_MS + HOUR, 51, &rows);
    replica.shard.checkpoint().unwrap();
    let other = replica.full_replay();
    assert!(damage_files(&replica, part.day) >= 1);
    let mut replica = replica.restart();
    let before_the_quarantine = replica.shard.read_view();
    assert_eq!(scrub_all(&replica), 1);
    let damaged = replica.db.damaged_files().unwrap();
    assert_eq!(damaged.len(), 1);
    let file = &damaged[0];
    assert!(file.has_samples() && replica.shard.has_parts_in(file) && file_exists(&replica, &file.name), "{file:?}");
    let shards = [Arc::clone(&replica.shard)];
    assert!(!drop_damaged_file(&replica.db, file, &shards).unwrap(), "a reader may still meet parts that its view lists as sound");
    assert!(!drop_damaged_file(&replica.db, file, &[]).unwrap(), "data that nobody looks after is not dropped");
    assert!(file_exists(&replica, &file.name));
    drop(before_the_quarantine);
    assert!(drop_damaged_file(&replica.db, file, &shards).unwrap());
    let is_gone = (0..1000).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(10));
        !file_exists(&replica, &file.name)
    });
    assert!(is_gone && replica.db.damaged_files().unwrap().is_empty());
    // Of that day nothing is answered, of the other one everything.
    let after = TimeRange { after_ms: T0 + DAY_MS - 1, to_ms: i64::MAX };
    assert_eq!(contents_of(&replica.shard.read_view(), &[], after), contents_of(&other.shard.read_view(), &[], after));
    let refused = replica.shard.read_view().select(&[], TimeRange::ALL, |_| ControlFlow::Continue(()));
    assert!(refused.unwrap_err().is_damage());

    let repair = replica.shard.begin_repair(part.day).unwrap();
    replica.shard.add_repaired(&repair, sent(&other, part.day)).unwrap();
    replica.shard.finish_repair(&repair).unwrap();
    replica.db.compact_all();
    assert_eq!((replica.db.background_errors(), scrub_all(&replica)), (0, 0));
    assert_eq!(replica.contents(&[]), other.contents(&[]));
    let t = T0 + DAY_MS + 2 * HOUR;
    assert_eq!(replica.write(t, 100, &[up(1, t, 1.0)]).accepted, 1);
    replica.shard.checkpoint().unwrap();
    let expected = replica.contents(&[]);
    drop(shards);
    let replica = replica.restart();
    assert_eq!((replica.contents(&[]), scrub_all(&replica)), (expected, 0));
}

#[test]
fn a_failed_compaction_is_told_and_the_file_is_found_again_after_a_restart() {
    let replica = with_many_blocks();
    let part = *replica.shard.store().view().parts().iter().find(|part| part.kind.has_samples()).unwrap();
    assert_eq!(damage_files(&replica, part.day), 1);
    let replica = replica.restart();
    assert_eq!((scrub_all(&replica), replica.db.background_errors()), (1, 0));
    let replica = replica.restart();
    assert!(replica.db.damaged_files().unwrap().is_empty(), "nobody has read it yet");
    replica.shard.find_damaged_files(part.day, &RUNNING).unwrap();
    let damaged = replica.db.damaged_files().unwrap();
    assert_eq!(damaged.len(), 1);
    replica.db.compact_all();
    assert!(replica.db.background_errors() > 0);
}
