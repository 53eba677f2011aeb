//! Disks that hang, are full, or fail while flows run: the ends of spools are in memory, so nothing is lost and nobody
//! waits.

use std::time::{Duration, Instant};

use aimg_core::{Direction, FlowId};
use aimg_media::{Config, Event, bring_home};
use aimg_spool::Reader;
use aimg_testbed::Disk;

use crate::rig::{DEADLINE, Rig, Sender, assert_same, flow_id, packets, small, whole};

const DISK_BYTES: u64 = 32 << 20;
/// Some 160 packets a chunk; half of one is more than the rig sends at once.
const CHUNK_BYTES: u32 = 32 << 10;
/// Packets of each flow in each of the three acts: several chunks.
const ACT: u16 = 600;

struct Stage {
    rig: Rig,
    senders: Vec<(FlowId, Sender)>,
    // Dropped last.
    disk: Disk,
}

impl Stage {
    /// Both flows of two calls.
    async fn new() -> Self {
        let disk = Disk::new(DISK_BYTES).unwrap();
        let directory = tempfile::tempdir_in(disk.path()).unwrap();
        let rig = Rig::in_memory(Config { chunk_bytes: CHUNK_BYTES, ..small() }, directory);
        let mut senders = Vec::new();
        for session in 0..2 {
            for direction in Direction::BOTH {
                let id = flow_id(session, direction);
                senders.push((id, rig.flow(id).await));
            }
        }
        Self { rig, senders, disk }
    }

    /// All flows receive an act's packets.
    async fn play(&self, act: u16) {
        for (_, sender) in &self.senders {
            self.rig.send_all(sender, &packets(1, act * ACT..(act + 1) * ACT)).await;
        }
    }

    async fn all_is_there(&self) {
        for (id, _) in &self.senders {
            let (closed, kept) = self.rig.close(*id).await;
            assert_same(&kept, &packets(1, 0..3 * ACT));
            assert_eq!(closed.ledger, whole(3 * u64::from(ACT)));
            assert!(!self.rig.live_path(*id).unwrap().exists(), "memory is given back");
        }
    }

    /// Waits until a flow tells that the disk does not take its chunks.
    async fn told(&mut self) -> String {
        loop {
            if let Event::SpoolStuck { reason, .. } = self.rig.event().await {
                return reason;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_disk_is_not_noticed() {
    let stage = Stage::new().await;
    stage.play(0).await;
    stage.disk.freeze().unwrap();
    // Until everything was received, in its ledger and in the live files, with the disk frozen all the time.
    let begin = Instant::now();
    stage.play(1).await;
    let took = begin.elapsed();
    stage.disk.thaw().unwrap();
    stage.play(2).await;
    assert!(took < DEADLINE / 2, "{took:?}");
    let shard = &stage.rig.media.stats().shards[0];
    assert_eq!((shard.dropped_by_us, shard.kernel_dropped), (0, 0));
    stage.all_is_there().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_costs_nothing_once_there_is_room_again() {
    let mut stage = Stage::new().await;
    stage.play(0).await;
    stage.disk.fill().unwrap();
    stage.play(1).await;
    let reason = stage.told().await;
    assert!(reason.contains("No space left"), "{reason}");
    stage.disk.make_room().unwrap();
    stage.play(2).await;
    stage.all_is_there().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_breaks_down_leaves_all_in_memory_for_later() {
    let mut stage = Stage::new().await;
    stage.play(0).await;
    stage.disk.break_down().unwrap();
    stage.play(1).await;
    let reason = stage.told().await;
    assert!(reason.contains("Read-only") || reason.contains("Input/output"), "{reason}");
    stage.play(2).await;
    let Stage { rig, senders, disk } = stage;
    for (id, _) in &senders {
        assert!(rig.media.close(*id).await.is_err(), "its spool is not on the disk");
        assert!(rig.live_path(*id).unwrap().exists());
    }
    // The shelver lets go of their files.
    let begin = Instant::now();
    while let Err(error) = disk.mend() {
        assert!(begin.elapsed() < DEADLINE, "{error}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    for (id, _) in &senders {
        bring_home(&rig.live_path(*id).unwrap(), &rig.spool_path(*id)).unwrap();
        let spool = std::fs::read(rig.spool_path(*id)).unwrap();
        let kept: Vec<_> = Reader::new(&spool).unwrap().map(|r| r.packet.to_vec()).collect();
        // What had left memory before was the disk's to keep.
        let from = kept.iter().position(|p| *p == packets(1, [ACT]).swap_remove(0)).expect("the second act is there");
        assert_same(&kept[from..], &packets(1, ACT..3 * ACT));
    }
}
