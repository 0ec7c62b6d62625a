//! A member that is sent a snapshot, in a process of its own: one TCP connection that carries the
//! length of the metadata, the metadata, and the snapshot up to the end.

use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Instant;

use openraft::storage::RaftStateMachine;
use openraft::type_config::alias::SnapshotMetaOf;
use storage_leveldb::{Options, Storage};
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader, copy_buf};
use tokio::net::{TcpListener, TcpStream};

use crate::args::{Args, Name};
use crate::child::{Child, say};
use crate::pairs::{Pairs, Snapshot, Store, Types};
use crate::process::{peak_rss, reset_peak, rss};

/// Bytes taken at once.
const COPY_BYTES: usize = 256 * 1024;

/// How an installation went, in the follower.
pub(crate) struct Installed {
    /// From connecting until it was written.
    pub(crate) received_seconds: f64,
    /// Making it durable and verifying it.
    pub(crate) verified_seconds: f64,
    pub(crate) installed_seconds: f64,
    pub(crate) baseline_rss: u64,
    pub(crate) peak_rss: u64,
}

/// The child: receives one snapshot into `--dir` and installs it.
pub(crate) async fn run(args: &Args) {
    let mut store: Store =
        Storage::open(args.dir.as_deref().unwrap(), Pairs, Options::default()).await.unwrap();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    say("port", listener.local_addr().unwrap().port());
    let (connection, _) = listener.accept().await.unwrap();
    let baseline = rss();
    reset_peak();

    let started = Instant::now();
    let mut connection = BufReader::with_capacity(COPY_BYTES, connection);
    let mut meta = vec![0; connection.read_u32().await.unwrap() as usize];
    connection.read_exact(&mut meta).await.unwrap();
    let meta: SnapshotMetaOf<Types> = codec::decode(&meta).unwrap();
    let mut snapshot = store.inbox.create().await.unwrap();
    copy_buf(&mut connection, &mut snapshot).await.unwrap();
    snapshot.flush().await.unwrap();
    say("received", started.elapsed().as_secs_f64());

    let started = Instant::now();
    snapshot.shutdown().await.unwrap();
    say("verified", started.elapsed().as_secs_f64());

    let started = Instant::now();
    store.state.install_snapshot(&meta, snapshot).await.unwrap();
    say("installed", started.elapsed().as_secs_f64());
    assert_eq!(store.state.applied_state().await.unwrap().0, meta.last_log_id);
    say("baseline", baseline);
    say("peak", peak_rss());
    tokio::task::spawn_blocking(move || drop(store)).await.unwrap();
}

/// Sends a snapshot to a follower that begins empty in `dir`.
pub(crate) async fn send_to_new(snapshot: Snapshot, args: &Args, dir: &Path) -> Installed {
    let mut child = Child::start(Name::ChildFollower, args, dir, 0, 0);
    let port = child.said("port").await as u16;
    let mut connection = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap();
    let meta = codec::encode(&snapshot.meta).unwrap();
    connection.write_u32(u32::try_from(meta.len()).unwrap()).await.unwrap();
    connection.write_all(&meta).await.unwrap();
    copy_buf(&mut BufReader::with_capacity(COPY_BYTES, snapshot.snapshot), &mut connection).await.unwrap();
    connection.shutdown().await.unwrap();
    let installed = Installed {
        received_seconds: child.said("received").await,
        verified_seconds: child.said("verified").await,
        installed_seconds: child.said("installed").await,
        baseline_rss: child.said("baseline").await as u64,
        peak_rss: child.said("peak").await as u64,
    };
    child.end().await;
    installed
}
