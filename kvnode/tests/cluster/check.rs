//! `kvnode check` on the directories of real nodes: after `kill -9` and after a clean stop all is
//! well and nothing has been changed; a running node is left alone; damage is named, with what to
//! do about it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::support::{
    Cluster, ClusterOptions, Dice, Ended, Load, LoadOptions, State, beside_others, run_to_end, used_bytes,
    wait,
};

const ALL_WELL: i32 = 0;
const PROBLEMS: i32 = 1;
const NOT_CHECKED: i32 = 2;
const BAD_ARGUMENTS: i32 = 3;
const MAX_RUN: Duration = Duration::from_secs(60);
const LOAD_TIMEOUT: Duration = Duration::from_secs(60);

fn kvnode(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kvnode"));
    command.args(args).env_remove("KVNODE_DATA_DIR").env_remove("KVNODE_CONFIG");
    command
}

async fn check(data_dir: &Path) -> Ended {
    let mut command = kvnode(&["check"]);
    command.arg("--data-dir").arg(data_dir);
    run_to_end(command, MAX_RUN).await
}

async fn check_json(data_dir: &Path) -> (Option<i32>, serde_json::Value) {
    let mut command = kvnode(&["check", "--output", "json"]);
    command.arg("--data-dir").arg(data_dir);
    let ended = run_to_end(command, MAX_RUN).await;
    let report = serde_json::from_str(&ended.stdout).unwrap_or_else(|e| panic!("{e}: {ended:#?}"));
    (ended.code, report)
}

/// Every file and directory below `root`: content and time of its last change.
fn fingerprint(root: &Path) -> BTreeMap<PathBuf, (Vec<u8>, std::time::SystemTime)> {
    let mut found = BTreeMap::from([(root.to_owned(), (Vec::new(), modified(root)))]);
    for entry in std::fs::read_dir(root).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(fingerprint(&path));
        } else {
            found.insert(path.clone(), (std::fs::read(&path).unwrap(), modified(&path)));
        }
    }
    found
}

fn modified(path: &Path) -> std::time::SystemTime {
    path.metadata().unwrap().modified().unwrap()
}

fn assert_untouched(before: &BTreeMap<PathBuf, (Vec<u8>, std::time::SystemTime)>, root: &Path) {
    let after = fingerprint(root);
    let changed: Vec<_> =
        before.keys().chain(after.keys()).filter(|path| before.get(*path) != after.get(*path)).collect();
    assert!(changed.is_empty(), "the check changed {changed:?}");
}

/// Three nodes under load, with snapshots and purges, are killed in the middle of it; each
/// directory is well, and so it is after a start on what the check has read, and a clean stop. A
/// node that runs is not checked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn directories_of_killed_and_of_stopped_nodes_are_well() {
    let _place = beside_others();
    let mut dice = Dice::new("check");
    let options = ClusterOptions { snapshot_entries: Some(200), ..ClusterOptions::default() };
    let mut cluster = Cluster::start(options).await;
    let options = LoadOptions { writers: 32, readers: 0, own_keys: 64, ..LoadOptions::default() };
    let mut load = Load::start(&cluster.client_with(Duration::from_secs(3)), options, &mut dice);
    load.progress(4000, LOAD_TIMEOUT).await;
    let purged = async |what: &str, beyond: [u64; 3]| {
        let mut purged = [0; 3];
        wait::until(what, LOAD_TIMEOUT, async || {
            for (index, status) in purged.iter_mut().zip(cluster.statuses().await?) {
                *index = status.purged_index;
            }
            wait::is(purged.iter().zip(beyond).all(|(index, beyond)| *index > beyond), || {
                format!("{purged:?}")
            })
        })
        .await;
        purged
    };
    // Twice: a purge is shown before it is written, and written before what is appended later. This
    // test failed where a node was killed in between.
    let first = purged("every node has purged", [0; 3]).await;
    purged("every node has purged again", first).await;
    cluster.kill_all();
    drop(load);

    let dirs: Vec<PathBuf> = cluster.nodes.iter().map(|node| node.serve.data_dir.clone()).collect();
    let cluster_id = stamped(&dirs[0], "cluster_id");
    for (id, dir) in (1..).zip(&dirs) {
        let before = fingerprint(dir);
        let ended = check(dir).await;
        assert_eq!(ended.code, Some(ALL_WELL), "{ended:#?}");
        for part in
            [&*format!("node {id} of cluster {cluster_id}"), "All is well.", "log   ", "vote", "state  "]
        {
            assert!(ended.stdout.contains(part), "no '{part}' in {ended:#?}");
        }
        assert_eq!(ended.stderr, "", "progress is for terminals");
        let (_, report) = check_json(dir).await;
        assert_eq!(report["is_well"], true, "{report:#}");
        assert!(report["log"]["purged"]["index"].as_u64() > Some(0), "{report:#}");
        assert!(report["state"]["pairs"].as_u64() > Some(1000), "{report:#}");
        // What it was purged up to has been made durable before.
        assert!(report["state"]["applied"]["index"].as_u64() >= report["log"]["purged"]["index"].as_u64());
        assert_untouched(&before, dir);
    }

    cluster.start_all();
    cluster.all_up().await;
    cluster.leader().await;
    for dir in &dirs {
        let ended = check(dir).await;
        assert_eq!(ended.code, Some(NOT_CHECKED), "{ended:#?}");
        assert!(ended.stderr.contains("in use by a running kvnode; stop that node first"), "{ended:#?}");
    }
    cluster.same_state().await;
    for node in &mut cluster.nodes {
        assert!(node.stop().await.success());
    }
    for dir in &dirs {
        let ended = check(dir).await;
        assert_eq!(ended.code, Some(ALL_WELL), "{ended:#?}");
    }
}

/// A bit is flipped in one file after the other, at a random place: the check names the file and
/// what to do, or it is harmless, and the node started on it has exactly what it had.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damage_is_named_with_what_to_do() {
    let _place = beside_others();
    let mut dice = Dice::new("check_damage");
    let options = ClusterOptions { nodes: 1, snapshot_entries: Some(100), ..ClusterOptions::default() };
    let mut cluster = Cluster::start(options).await;
    let client = cluster.client();
    for n in 0..250 {
        client.put(format!("key-{n:03}"), "value".repeat(50)).await.unwrap();
    }
    let expected = State::of(cluster.node(1)).await;
    assert!(cluster.node_mut(1).stop().await.success());

    let dir = cluster.node(1).serve.data_dir.clone();
    let storage = dir.join("storage");
    let (mut found, mut harmless) = (0, Vec::new());
    for (path, (content, _)) in fingerprint(&storage) {
        if path.is_dir() || content.is_empty() {
            continue;
        }
        let shown = path.strip_prefix(&dir).unwrap().display().to_string();
        let used = used_bytes(&content);
        let mut damaged = content.clone();
        let at = dice.below(used);
        damaged[at] ^= 1 << dice.below(8);
        std::fs::write(&path, &damaged).unwrap();
        let (code, report) = check_json(&dir).await;
        if code == Some(PROBLEMS) {
            let problems = report["problems"].as_array().unwrap();
            let problem = problems.iter().find(|problem| problem["path"] == shown.as_str());
            let problem = problem.unwrap_or_else(|| panic!("{shown} at {at} is not named: {report:#}"));
            assert!(problem["advice"].as_str().unwrap().contains("kvcli cluster remove 1"), "{problem:#}");
            found += 1;
        } else {
            assert_eq!(code, Some(ALL_WELL), "{report:#}");
            harmless.push((path.clone(), damaged));
        }
        std::fs::write(&path, &content).unwrap();
    }
    println!("{found} flipped bits found, {} harmless", harmless.len());
    assert!(found > 15);
    // Only the records of a WITNESS that do not count any more.
    for (path, damaged) in harmless {
        assert!(path.ends_with("WITNESS"), "a flipped bit in {} was not found", path.display());
        if path.exists() {
            std::fs::write(&path, damaged).unwrap();
        }
    }
    cluster.node_mut(1).start();
    cluster.node_mut(1).up().await;
    cluster.leader().await;
    State::of(cluster.node(1)).await.assert_same(&expected);
    assert!(cluster.node_mut(1).stop().await.success());

    // Two files at once, for people.
    let tables =
        fingerprint(&storage).into_keys().filter(|path| path.extension().is_some_and(|end| end == "ldb"));
    let two: Vec<PathBuf> = tables.take(2).collect();
    for path in &two {
        let mut content = std::fs::read(path).unwrap();
        content[1] ^= 1;
        std::fs::write(path, content).unwrap();
    }
    let ended = check(&dir).await;
    assert_eq!(ended.code, Some(PROBLEMS), "{ended:#?}");
    let names = two.iter().map(|path| path.strip_prefix(&dir).unwrap().display().to_string());
    let parts = [
        "What to do: Do not start this node",
        "kvcli cluster remove 1",
        "docs/operations/recovery.md",
        "2 problems",
        "offset 0",
    ];
    for part in names.chain(parts.map(str::to_owned)) {
        assert!(ended.stdout.contains(&part), "no '{part}' in {ended:#?}");
    }
}

/// The stamp, the storage as a whole, and files of another version.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_missing_or_of_another_version_is_told() {
    let _place = beside_others();
    let mut cluster = Cluster::start(ClusterOptions { nodes: 1, ..ClusterOptions::default() }).await;
    assert!(cluster.node_mut(1).stop().await.success());
    let dir = cluster.node(1).serve.data_dir.clone();
    let (identity, storage) = (dir.join("IDENTITY"), dir.join("storage"));
    let stamp = std::fs::read_to_string(&identity).unwrap();

    std::fs::write(&identity, &stamp[..stamp.len() / 2]).unwrap();
    assert_told(&dir, "IDENTITY", "damaged").await;
    std::fs::remove_file(&identity).unwrap();
    assert_told(&dir, "IDENTITY", "damaged").await;
    std::fs::write(&identity, stamp.replace("node_id = 1", "node_id = 2")).unwrap();
    assert_told(&dir, "IDENTITY", "damaged").await;
    std::fs::write(&identity, with_another_format(&stamp)).unwrap();
    assert_told(&dir, "IDENTITY", "other_format").await;
    std::fs::write(&identity, &stamp).unwrap();
    std::fs::rename(&storage, dir.with_extension("away")).unwrap();
    assert_told(&dir, "storage", "damaged").await;
    std::fs::create_dir(&storage).unwrap();
    assert_told(&dir, "storage/FORMAT", "damaged").await;
    std::fs::remove_dir(&storage).unwrap();
    std::fs::rename(dir.with_extension("away"), &storage).unwrap();
    assert_eq!(check(&dir).await.code, Some(ALL_WELL));
}

/// A value of the IDENTITY file.
fn stamped(dir: &Path, name: &str) -> String {
    let values: toml::Table = std::fs::read_to_string(dir.join("IDENTITY")).unwrap().parse().unwrap();
    values[name].as_str().unwrap().to_owned()
}

/// The stamp as a later version might write it: right in itself.
fn with_another_format(stamp: &str) -> String {
    let stamp = stamp.replace("format = 1", "format = 2");
    let values: toml::Table = stamp.parse().unwrap();
    let names = ["format", "node_id", "peers", "cluster_id", "incarnation", "stored", "born"];
    let text = names.map(|name| match &values[name] {
        toml::Value::String(text) => format!("{text}\n"),
        other => format!("{other}\n"),
    });
    let old = values["checksum"].as_str().unwrap();
    stamp.replace(old, &format!("{:08x}", crc32c::crc32c(text.concat().as_bytes())))
}

async fn assert_told(dir: &Path, path: &str, kind: &str) {
    let (code, report) = check_json(dir).await;
    assert_eq!(code, Some(PROBLEMS), "{report:#}");
    let problems = report["problems"].as_array().unwrap();
    let told = problems.iter().any(|problem| problem["path"] == path && problem["kind"] == kind);
    assert!(told, "{path} is not called {kind} in {report:#}");
}

/// Exit codes of what is no check at all; nothing is made in a stranger's directory.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_checked_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("precious");
    std::fs::create_dir(&dir).unwrap();
    std::fs::write(dir.join("thesis.doc"), "text").unwrap();
    let before = fingerprint(home.path());

    let ended = check(&dir).await;
    assert_eq!(ended.code, Some(NOT_CHECKED), "{ended:#?}");
    assert!(ended.stderr.contains("was not made by kvnode"), "{ended:#?}");
    for missing in [home.path().join("nothing"), dir.join("thesis.doc")] {
        let ended = check(&missing).await;
        assert_eq!(ended.code, Some(NOT_CHECKED), "{ended:#?}");
        assert!(ended.stderr.contains("cannot") && ended.stderr.contains("--data-dir"), "{ended:#?}");
    }
    assert_untouched(&before, home.path());

    let mut by_variable = kvnode(&["check"]);
    by_variable.env("KVNODE_DATA_DIR", &dir);
    assert_eq!(run_to_end(by_variable, MAX_RUN).await.code, Some(NOT_CHECKED));
    for args in
        [&["check"][..], &["check", "--output", "yaml"], &["check", "--data-dir"], &["check", "--id", "1"]]
    {
        let ended = run_to_end(kvnode(args), MAX_RUN).await;
        assert_eq!(ended.code, Some(BAD_ARGUMENTS), "{args:?}: {ended:#?}");
    }
    let help = run_to_end(kvnode(&["check", "--help"]), MAX_RUN).await;
    assert!(help.code == Some(0) && help.stdout.contains("Exit codes: 0 all is well"), "{help:#?}");
}
