//! Attacks with what a real disk holds: thousands of files, empty, text and binary, with their real
//! names.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use crate::support::{Cluster, ClusterOptions, alone};
use bytes::Bytes;
use proto::kv::v1::kv_client::KvClient;
use proto::kv::v1::{GetRequest, PutRequest};
use tonic::transport::Channel;

/// Concurrent sessions.
const SESSIONS: usize = 24;
const MAX_KEY_BYTES: usize = 4096;
const MAX_FILE_BYTES: u64 = 1024 * 1024;
/// Fewer are not a real input.
const ENOUGH_FILES: usize = 5000;

/// Every file of cargo's source cache up to 1 MiB is put under its path through one follower and
/// read back byte for byte through the other: forwarding in both directions, real sizes up to the
/// limit, empty values, arbitrary bytes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "thousands of files, and needs the machine for itself: .ci/run"]
async fn every_file_comes_back_byte_for_byte_through_another_node() {
    let _alone = alone();
    let files = Arc::new(real_files());
    assert!(files.len() >= ENOUGH_FILES, "only {} files found; is there a cargo registry here?", files.len());
    let cluster = Cluster::start(ClusterOptions::default()).await;
    let followers = cluster.followers().await;
    let (in_by, out_by) = (cluster.node(followers[0]), cluster.node(followers[1]));

    let started = Instant::now();
    let put_bytes = each(&files, in_by.kv(), put).await;
    let put_time = started.elapsed();
    let got_bytes = each(&files, out_by.kv(), get).await;
    println!(
        "{} files, {put_bytes} bytes: put through node {} in {put_time:.1?}, read back through node {} in {:.1?}",
        files.len(),
        in_by.id(),
        out_by.id(),
        started.elapsed() - put_time
    );
    assert_eq!(put_bytes, got_bytes);
    let state = cluster.same_state().await;
    assert_eq!(state.pairs.len(), files.len());
}

/// A file and the key it is stored under.
#[derive(Debug)]
struct Source {
    path: PathBuf,
    key: Bytes,
}

/// Cargo's source cache; where that is small, the toolchain's own files as well.
fn real_files() -> Vec<Source> {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| std::env::home_dir().map(|home| home.join(".cargo"))).unwrap();
    let mut files = Vec::new();
    collect(&home.join("registry/src"), "registry", &mut files);
    if files.len() < ENOUGH_FILES {
        let sysroot = sysroot();
        for part in ["lib/rustlib/src", "share/doc"] {
            collect(&sysroot.join(part), part, &mut files);
        }
    }
    files
}

fn sysroot() -> PathBuf {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let printed = std::process::Command::new(rustc).args(["--print", "sysroot"]).output().unwrap();
    String::from_utf8(printed.stdout).unwrap().trim().into()
}

/// Every file below `root`, under its path relative to `root`.
fn collect(root: &Path, prefix: &str, files: &mut Vec<Source>) {
    let mut dirs = vec![root.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(&dir).into_iter().flatten() {
            let entry = entry.unwrap();
            let (path, metadata) = (entry.path(), entry.metadata().unwrap());
            if metadata.is_dir() {
                dirs.push(path);
            } else if metadata.is_file() && metadata.len() <= MAX_FILE_BYTES {
                let relative = path.strip_prefix(root).unwrap().as_os_str().as_encoded_bytes();
                let key = Bytes::from([prefix.as_bytes(), b"/", relative].concat());
                files.extend((key.len() <= MAX_KEY_BYTES).then_some(Source { path, key }));
            }
        }
    }
}

/// Runs `work` on every file, in several sessions at once; answers the sum of what it answers.
async fn each<F>(
    files: &Arc<Vec<Source>>,
    kv: KvClient<Channel>,
    work: impl Fn(KvClient<Channel>, Bytes, Bytes) -> F,
) -> usize
where
    F: Future<Output = usize>,
{
    let next = AtomicUsize::new(0);
    let session = || async {
        let mut bytes = 0;
        while let Some(source) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
            let value = Bytes::from(std::fs::read(&source.path).unwrap());
            bytes += work(kv.clone(), source.key.clone(), value).await;
        }
        bytes
    };
    futures_util::future::join_all((0..SESSIONS).map(|_| session())).await.into_iter().sum()
}

async fn put(mut kv: KvClient<Channel>, key: Bytes, value: Bytes) -> usize {
    let bytes = value.len();
    let request = PutRequest { key: key.clone(), value, ..PutRequest::default() };
    kv.put(request).await.unwrap_or_else(|e| panic!("put {key:?}: {e}"));
    bytes
}

async fn get(mut kv: KvClient<Channel>, key: Bytes, value: Bytes) -> usize {
    let answer = kv.get(GetRequest { key: key.clone(), stale: false }).await;
    let pair = answer.unwrap_or_else(|e| panic!("get {key:?}: {e}")).into_inner().pair;
    let pair = pair.unwrap_or_else(|| panic!("{key:?} is not there"));
    assert!(
        pair.value == value,
        "{key:?} came back different: {} bytes of {}",
        pair.value.len(),
        value.len()
    );
    pair.value.len()
}
