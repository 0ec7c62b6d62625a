//! Attacks the second promise with files that were damaged while the node was down: it must not
//! answer from them, and must say which it is. Damage under a running node is in
//! [`crate::damage_live`].
//!
//! How it could fail: a lost vote or a lost acknowledged entry goes unnoticed, and a majority
//! forgets; a missing or changed value is answered; the node ends or hangs and does not say why.

use std::path::Path;
use std::time::Duration;

use crate::support::{
    Cluster, ClusterOptions, Damage, Dice, Harm, Load, LoadOptions, Node, OlderCopies, State, beside_others,
    files, refuses_everything, used_bytes, wait,
};
use futures_util::future::try_join_all;
use proto::node::v1 as pb;
use tonic::Code;

/// Every kind of file in a data directory, as a path in it; `*` stands for numbers and the like. A
/// missing lock file is harmless: the node serves, and LevelDB's logs, which come next, have
/// something in them.
const KINDS: [&str; 15] = [
    "IDENTITY",
    "LOCK",
    "storage/LOCK",
    "storage/log/segment-*/*.log",
    "storage/log/segment-*/*.ldb",
    "storage/log/segment-*/MANIFEST-*",
    "storage/log/segment-*/CURRENT",
    "storage/log/segment-*/WITNESS",
    "storage/log/MANIFEST",
    "storage/state/MANIFEST",
    "storage/state/table-*/*.ldb",
    "storage/state/table-*/MANIFEST-*",
    "storage/state/table-*/CURRENT",
    "storage/state/table-*/WITNESS",
    "storage/FORMAT",
];
/// Of these there is an older version only as long as the node has not been started again.
const REPLACED_AT_A_START: [&str; 2] = ["storage/log/segment-*/*.log", "storage/log/segment-*/MANIFEST-*"];
/// Lost as a whole, none of them may be started empty.
const DIRECTORIES: [&str; 5] =
    ["storage", "storage/log", "storage/log/segment-*", "storage/state", "storage/state/table-*"];
/// Empty, and only locked.
const LOCKS: [&str; 2] = ["storage/LOCK", "LOCK"];
/// A start, an election, and catching up on a loaded machine.
const OUTCOME_TIMEOUT: Duration = Duration::from_secs(20);
const PROGRESS_TIMEOUT: Duration = Duration::from_secs(15);
/// Acknowledged while the damaged node is down.
const PUTS_MEANWHILE: usize = 8;
/// How many directories may be lost without being missed.
const LEFT_BEHIND_MAX: usize = 3;

/// What a damaged node did.
#[derive(Debug)]
enum Outcome {
    /// It stays up and names the fault.
    Refused(String),
    /// It ended at once and said why: whose data it is cannot be known.
    Ended(String),
    /// It serves, and stores what the others store.
    Harmless,
}

/// How the nodes met the damage.
#[derive(Debug, Default)]
struct Count {
    refused: usize,
    /// Of these, how often a missing file was named by its directory only.
    by_directory: usize,
    ended: usize,
    harmless: usize,
    /// Of all these, how often a file was an older version of itself.
    older: usize,
}

/// A node is stopped (cleanly, then by `kill -9`) under load; then, for every kind of file in its
/// directory, a bit is flipped, the end is cut off, the file is removed, or replaced by what it was
/// before the last load, and the node is started; then whole directories are lost. It must name the
/// file and refuse everything, or serve exactly what the others store. The others acknowledge
/// writes meanwhile. Damage is undone in place and never by an older copy of the directory, so what
/// a refusing node left there must be good, too: in the end all nodes store the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a hundred starts of a node: .ci/run"]
async fn a_damaged_file_is_named_or_harmless() {
    let _place = beside_others();
    let mut dice = Dice::new("damage");
    let mut cluster = Cluster::start(ClusterOptions::default()).await;
    let options = LoadOptions { writers: 4, readers: 1, ..LoadOptions::default() };
    let mut count = Count::default();
    for politely in [true, false] {
        let mut load = Load::start(&cluster.client(), options, &mut dice);
        let (id, older) = stopped_follower(&mut cluster, &mut load, politely, &mut dice).await;
        let ledger = load.stop().await;
        for kind in REPLACED_AT_A_START {
            one_damage(&mut cluster, id, (kind, Harm::Older), &older, politely, &mut dice, &mut count).await;
        }
        for kind in KINDS {
            for harm in Harm::ALL {
                one_damage(&mut cluster, id, (kind, harm), &older, politely, &mut dice, &mut count).await;
            }
        }
        begin_a_table(&cluster.node(id).serve.data_dir);
        for dir in DIRECTORIES {
            lost_directory(&mut cluster, id, dir).await;
        }
        cluster.node_mut(id).start();
        cluster.node_mut(id).up().await;
        ledger.assert_kept(&cluster.same_state().await);
    }
    println!("{count:?}");
    assert!(count.refused > 30 && count.ended > 3, "hardly anything was noticed: {count:?}");
    assert!(count.older >= 6, "hardly anything was older: {count:?}");
}

/// A follower with every kind of file: restarted once, so that there is a table of the state; with
/// a snapshot of its own, which makes another; and with entries behind it in the log. The copies
/// are from before the snapshot and from behind it.
async fn stopped_follower(
    cluster: &mut Cluster,
    load: &mut Load,
    politely: bool,
    dice: &mut Dice,
) -> (u64, OlderCopies) {
    load.progress(200, PROGRESS_TIMEOUT).await;
    let id = dice.pick(&cluster.followers().await);
    cluster.node_mut(id).restart().await;
    load.progress(200, PROGRESS_TIMEOUT).await;
    let mut older = OlderCopies::new(&cluster.node(id).serve.data_dir, cluster.path().join("older"));
    older.take();
    wait::until("a snapshot is built", PROGRESS_TIMEOUT, async || {
        let built = cluster.node(id).admin().snapshot(pb::SnapshotRequest {}).await;
        built.map(drop).map_err(|e| e.to_string())
    })
    .await;
    load.progress(20, PROGRESS_TIMEOUT).await;
    older.take();
    load.progress(200, PROGRESS_TIMEOUT).await;
    end(cluster.node_mut(id), politely).await;
    load.progress(200, PROGRESS_TIMEOUT).await;
    (id, older)
}

async fn end(node: &mut Node, politely: bool) {
    if politely {
        assert!(node.stop().await.success(), "{}", node.log_tail());
    } else {
        node.kill();
    }
}

async fn one_damage(
    cluster: &mut Cluster,
    id: u64,
    (kind, harm): (&str, Harm),
    older: &OlderCopies,
    politely: bool,
    dice: &mut Dice,
    count: &mut Count,
) {
    if LOCKS.contains(&kind) && harm != Harm::Remove {
        return;
    }
    let mut found = files(&cluster.node(id).serve.data_dir, kind);
    // A node that latched a fault may leave a table that it had only begun.
    found.retain(|path| LOCKS.contains(&kind) || path.metadata().unwrap().len() > 0);
    assert!(!found.is_empty(), "no {kind} in the directory of node {id}");
    if harm == Harm::Older {
        found.retain(|path| older.version_of(path).is_some());
        if found.is_empty() {
            return;
        }
        count.older += 1;
    }
    // Of LevelDB's logs only the newest has more than a header.
    let path = match kind.ends_with(".log") {
        true => found.iter().max_by_key(|path| used_bytes(&std::fs::read(path).unwrap())).unwrap(),
        false => &found[dice.below(found.len())],
    };
    let damage = if LOCKS.contains(&kind) {
        std::fs::remove_file(path).unwrap();
        None
    } else {
        Some(Damage::inflict(path, harm, older, dice))
    };
    let what = damage.as_ref().map_or_else(|| format!("{} removed", path.display()), ToString::to_string);
    cluster.node_mut(id).start();
    put_some(cluster).await;
    let outcome = outcome(cluster, id).await;
    match &outcome {
        Outcome::Refused(reason) => {
            count.refused += 1;
            let node = cluster.node(id);
            let named = named_as(reason, path, harm);
            let name = named.unwrap_or_else(|| panic!("{what}: not named: {reason}"));
            count.by_directory += usize::from(name != path.display().to_string());
            refuses_everything(node, Code::DataLoss, &name).await;
            let status = cluster.node_mut(id).stop().await;
            assert_eq!(status.code(), Some(1), "{what}: a failed node ends well");
        }
        Outcome::Ended(log) => {
            count.ended += 1;
            let name = path.display().to_string();
            assert!(
                kind == "IDENTITY"
                    && (log.contains(&name)
                        || harm == Harm::Remove && log.contains("no IDENTITY")
                        || harm == Harm::Older && log.contains("is a copy")),
                "{what}: {log}"
            );
            cluster.node_mut(id).kill();
        }
        Outcome::Harmless => {
            count.harmless += 1;
            end(cluster.node_mut(id), politely).await;
        }
    }
    println!("{what}: {outcome:?}");
    // A node that has gone on from an older MANIFEST has removed the tables that only the newer one
    // names: the older one is right now.
    let has_gone_on = matches!(outcome, Outcome::Harmless) && harm == Harm::Older;
    if let Some(damage) = damage.filter(|_| !has_gone_on) {
        damage.undo();
    }
}

/// What a node leaves that is stopped while it writes a table. It comes last, whatever the others
/// are called.
fn begin_a_table(data_dir: &Path) {
    let table = data_dir.join("storage/state/table-99999999");
    std::fs::create_dir(&table).unwrap();
    std::fs::write(table.join("000003.ldb"), "a table that is not complete").unwrap();
}

/// Loses a directory of this name, which must be missed. Only a table that was not complete may not
/// be: it is removed at the next start. (This test took such a table for one in use, whenever the
/// node had been writing one as it was stopped.)
async fn lost_directory(cluster: &mut Cluster, id: u64, dir: &str) {
    for _ in 0..=LEFT_BEHIND_MAX {
        let path = files(&cluster.node(id).serve.data_dir, dir).pop().unwrap();
        if is_missed(cluster, id, &path).await {
            return;
        }
        assert!(dir.contains('*'), "{dir} is lost, and nobody noticed");
    }
    panic!("{LEFT_BEHIND_MAX} times {dir} was lost, and nobody noticed");
}

/// Whether the node refuses to go on without this directory, which is put back then; else it serves
/// what the others serve.
async fn is_missed(cluster: &mut Cluster, id: u64, path: &Path) -> bool {
    let aside = cluster.path().join("aside");
    std::fs::rename(path, &aside).unwrap();
    cluster.node_mut(id).start();
    put_some(cluster).await;
    let outcome = outcome(cluster, id).await;
    println!("{} removed: {outcome:?}", path.display());
    let reason = match outcome {
        Outcome::Refused(reason) => reason,
        Outcome::Harmless => {
            cluster.node_mut(id).kill();
            std::fs::remove_dir_all(aside).unwrap();
            return false;
        }
        Outcome::Ended(log) => panic!("{} is lost, and the node ended: {log}", path.display()),
    };
    let name = path.display().to_string();
    assert!(reason.contains(&name), "{name} is lost: {reason}");
    refuses_everything(cluster.node(id), Code::DataLoss, &name).await;
    cluster.node_mut(id).kill();
    if path.exists() {
        std::fs::remove_dir_all(path).unwrap();
    }
    std::fs::rename(aside, path).unwrap();
    true
}

/// The file that the reason names, or at least its directory if it is missing. Of an older version
/// and the files that it does not fit, either may be the one that is wrong: they are in one
/// directory.
fn named_as(reason: &str, path: &Path, harm: Harm) -> Option<String> {
    let candidates = [Some(path), path.parent().filter(|_| harm == Harm::Older || !path.exists())];
    let mut names = candidates.into_iter().flatten().map(|path| path.display().to_string());
    names.find(|name| reason.contains(name.as_str()))
}

/// Acknowledged whatever the damaged node does.
async fn put_some(cluster: &Cluster) {
    let client = cluster.client();
    let puts = (0..PUTS_MEANWHILE).map(|n| {
        let client = &client;
        async move { client.put(format!("meanwhile/{n}"), "value").await }
    });
    try_join_all(puts).await.expect("the others go on");
}

async fn outcome(cluster: &mut Cluster, id: u64) -> Outcome {
    wait::until("the damaged node refuses or serves", OUTCOME_TIMEOUT, async || {
        let node = cluster.node_mut(id);
        if let Some(status) = node.exit_status() {
            // What a supervisor should not start again.
            assert_eq!(status.code(), Some(3), "{}", node.log_tail());
            return Ok(Outcome::Ended(node.log_of_this_run()));
        }
        let (code, text) = node.http("/readyz").await?;
        if text.contains("storage fault") {
            assert_eq!(code, 503);
            return Ok(Outcome::Refused(text));
        }
        wait::is(code == 200, || text)?;
        let statuses = cluster.statuses().await?;
        let reached = statuses.iter().flat_map(|status| [status.applied_index, status.last_log_index]);
        let reached: Vec<_> = reached.collect();
        wait::is(reached.windows(2).all(|two| two[0] == two[1]), || format!("(applied, last): {reached:?}"))?;
        let other = cluster.nodes.iter().find(|node| node.id() != id).unwrap();
        let expected = State::of(other).await;
        let state = State::try_of(cluster.node(id)).await.map_err(|status| status.to_string())?;
        expected.assert_same(&state);
        Ok(Outcome::Harmless)
    })
    .await
}
