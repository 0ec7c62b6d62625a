//! Attacks the second promise with memory that fails: a bit is flipped in the memory of a running
//! node, from outside. Nothing on any disk is damaged, and the pair is only ever asked for by
//! queries, so no other node could tell.
//!
//! How it could fail: the wrong value is answered, and later written to disk under a checksum that
//! fits it, where it stays for ever.

use std::fs::{File, read_to_string};
use std::os::unix::fs::FileExt;
use std::time::Duration;

use kvcli::ReadMode;

use crate::support::{Cluster, ClusterOptions, Dice, beside_others, refuses_everything, wait};
use tonic::Code;

/// What the operator is promised.
const FOUND_WITHIN: Duration = Duration::from_secs(60);
/// Of a process's memory so much is read at once.
const PIECE_BYTES: usize = 1 << 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bit_flipped_in_memory_stops_the_node_within_a_minute() {
    let _place = beside_others();
    let mut dice = Dice::new("a bit flipped in memory");
    let cluster = Cluster::start(ClusterOptions::default()).await;
    let value = dice.bytes(64);
    let client = cluster.client();
    client.put("key", value.clone()).await.unwrap();
    cluster.settled().await;
    let followers = cluster.followers().await;
    let victim = cluster.node(dice.pick(&followers));

    let flipped = flip_everywhere(victim.pid(), &value);
    println!("{flipped} copies in the memory of node {}", victim.id());
    assert!(flipped > 0, "the value is nowhere in memory");
    wait::until("the flipped bit is found", FOUND_WITHIN, async || {
        let status = victim.status().await?;
        wait::is(status.fault.contains("the memory of this machine has failed"), || format!("{status:?}"))
    })
    .await;
    refuses_everything(victim, Code::DataLoss, "memory of this machine").await;
    // The others are well, and have what was written.
    let found = client.get("key", ReadMode::Linearizable).await.unwrap();
    assert_eq!(found.pair.unwrap().value, value);
    client.put("key", "another").await.unwrap();
}

/// Flips a bit in every copy of `value` that the process has in memory it may write to.
fn flip_everywhere(pid: u32, value: &[u8]) -> usize {
    let memory = File::options().read(true).write(true).open(format!("/proc/{pid}/mem")).unwrap();
    let maps = read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let writable =
        maps.lines().filter(|line| line.split(' ').nth(1).is_some_and(|may| may.starts_with("rw")));
    let mut flipped = 0;
    for line in writable {
        let (from, to) = line.split(' ').next().unwrap().split_once('-').unwrap();
        let bound = |hex| usize::from_str_radix(hex, 16).unwrap();
        let mut at = bound(from);
        while at < bound(to) {
            let mut piece = vec![0; PIECE_BYTES.min(bound(to) - at)];
            // Some of what is mapped cannot be read.
            if memory.read_exact_at(&mut piece, at as u64).is_ok() {
                for found in (0..piece.len()).filter(|found| piece[*found..].starts_with(value)) {
                    memory.write_all_at(&[value[0] ^ 4], (at + found) as u64).unwrap();
                    flipped += 1;
                }
            }
            // A value may begin in this piece and end in the next.
            at += if at + piece.len() < bound(to) { piece.len() - value.len() } else { piece.len() };
        }
    }
    flipped
}
