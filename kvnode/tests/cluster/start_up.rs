//! Attacks the start: any order, absent peers, repeated initialisation, and nodes started with the
//! wrong identity.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::support::{Cluster, ClusterOptions, Kvcli, Series, Serve, beside_others, run_to_end, wait};
use kvcli::ReadMode;
use proto::node::v1::{InitRequest, Role};

/// How long some nodes are kept waiting for the others: six election timeouts.
const ABSENCE: Duration = Duration::from_secs(8);
/// Elections that a busy machine may cause, because a leader was not heard in time. A storm has one
/// for each timeout.
const ELECTIONS_BY_CHANCE: u64 = 2;
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(10);

/// Nodes wait 8 s for peers that refuse connections: two of three and one alone, in a cluster that
/// is not initialised yet and in one that is. Attacked: the election storm. The term must stay
/// while they wait (a node that cannot win must not raise it) and move by no more than 1 when the
/// absent come; where there is a leader, chance may elect another. All four clusters wait at the
/// same time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_wait_quietly_for_absent_peers() {
    let _place = beside_others();
    tokio::join!(wait_uninitialised(2), wait_uninitialised(1), wait_initialised(2), wait_initialised(1));
}

/// `present` of three are up before the cluster exists.
async fn wait_uninitialised(present: usize) {
    let mut cluster = Cluster::prepare(ClusterOptions::default());
    cluster.nodes[..present].iter_mut().for_each(|node| node.start());
    cluster.all_up().await;
    terms_stay(&cluster, 0, 0).await;
    if present == 2 {
        // Two of three are a majority.
        cluster.client().init().await.unwrap();
        assert!(greatest_term(&cluster).await.unwrap() <= 1 + ELECTIONS_BY_CHANCE);
    }
    cluster.start_all();
    cluster.all_up().await;
    cluster.client().init().await.unwrap();
    takes_part(&cluster, 1).await;
}

/// `present` of three are left of a cluster that works.
async fn wait_initialised(present: usize) {
    let mut cluster = Cluster::start(ClusterOptions::default()).await;
    cluster.client().put("before", "x").await.unwrap();
    // Of two the leader stays; a node left alone is a follower, who would like to be elected.
    let absent: Vec<_> = cluster.followers().await.into_iter().take(1).collect();
    let absent = if present == 2 { absent } else { [absent, vec![cluster.leader().await]].concat() };
    absent.iter().for_each(|id| cluster.node_mut(*id).kill());
    let term = greatest_term(&cluster).await.unwrap();
    let by_chance = if present == 2 { ELECTIONS_BY_CHANCE } else { 0 };
    let term = terms_stay(&cluster, term, by_chance).await;
    cluster.start_all();
    cluster.all_up().await;
    takes_part(&cluster, term + 1).await;
    let answer = cluster.client().get("before", ReadMode::Linearizable).await.unwrap();
    assert_eq!(answer.pair.unwrap().value, "x");
}

/// From `term` on, but for so many elections; answers the term in the end.
async fn terms_stay(cluster: &Cluster, term: u64, by_chance: u64) -> u64 {
    wait::holds_for("the term stays while peers are away", ABSENCE, async || {
        let now = greatest_term(cluster).await?;
        wait::is((term..=term + by_chance).contains(&now), || format!("term {term} became {now}"))
    })
    .await;
    greatest_term(cluster).await.unwrap()
}

/// A leader, a write, and every node has it: in a term no greater than `most`, but for what chance
/// elects.
async fn takes_part(cluster: &Cluster, most: u64) {
    cluster.leader().await;
    cluster.client().put("after", "y").await.unwrap();
    cluster.settled().await;
    let term = greatest_term(cluster).await.unwrap();
    assert!(term <= most + ELECTIONS_BY_CHANCE, "the term went to {term}, beyond {most}");
}

async fn greatest_term(cluster: &Cluster) -> Result<u64, String> {
    Ok(cluster.statuses().await?.iter().map(|status| status.term).max().unwrap())
}

/// Nodes are started in the order 3, 1, 2, each only when the one before waits for its peers;
/// `kvcli cluster init`, run while one is still missing, is enough.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_may_start_in_any_order() {
    let _place = beside_others();
    let mut cluster = Cluster::prepare(ClusterOptions::default());
    let span = Duration::from_secs(2);
    for id in [3, 1] {
        cluster.node_mut(id).start();
        cluster.node_mut(id).up().await;
        wait::holds_for("it waits", span, async || {
            let status = cluster.node(id).status().await?;
            let quiet = !status.initialized && status.term == 0 && status.role() == Role::Learner;
            wait::is(quiet, || format!("{status:?}"))
        })
        .await;
    }
    Kvcli::new(&[cluster.node(3).client_addr()]).ok("cluster init").await;
    let client = cluster.client();
    client.put("early", "bird").await.unwrap();
    cluster.node_mut(2).start();
    cluster.node_mut(2).up().await;
    assert_eq!(cluster.same_state().await.pairs.len(), 1);
    assert!(greatest_term(&cluster).await.unwrap() <= 2 + ELECTIONS_BY_CHANCE);
}

/// `init` on all three nodes at the same instant, and once more later: one cluster, one leader,
/// nothing lost, and every answer says so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn initialising_twice_and_everywhere_at_once_is_harmless() {
    let _place = beside_others();
    let cluster = Cluster::start_uninitialised(ClusterOptions::default()).await;
    let inits = cluster.nodes.iter().map(|node| {
        let mut admin = node.admin();
        async move { admin.init(InitRequest {}).await }
    });
    for answer in futures_util::future::join_all(inits).await {
        assert_eq!(answer.unwrap().into_inner().members.len(), 3);
    }
    let client = cluster.client();
    let revision = client.put("key", "value").await.unwrap().header.unwrap().revision;
    for node in &cluster.nodes {
        let again = node.admin().init(InitRequest {}).await.unwrap().into_inner();
        assert!(again.already_initialized, "{again:?}");
    }
    let pair = client.get("key", ReadMode::Linearizable).await.unwrap().pair.unwrap();
    assert_eq!((pair.mod_revision, pair.value.as_ref()), (revision, &b"value"[..]));
    let state = cluster.same_state().await;
    assert_eq!(state.pairs.len(), 1);
}

/// A node of a working cluster is started again with another id: it exits with a message that names
/// both, with the code that keeps a supervisor from trying again, and changes nothing in its
/// directory. With its own id, and without a peer list or with another name of the cluster, it
/// comes back with its data: the cluster knows better than its options.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_with_the_wrong_id_refuses_to_start_and_touches_nothing() {
    let _place = beside_others();
    let mut cluster = Cluster::start(ClusterOptions::default()).await;
    cluster.client().put("key", "value").await.unwrap();
    cluster.settled().await;
    assert!(cluster.node_mut(1).stop().await.success());

    let right = cluster.node(1).serve.clone();
    let files = fingerprint(&right.data_dir);
    let other_id = Serve { id: 2, peers: swap_first_two(&right.peers), ..right.clone() };
    let ended = run_to_end(other_id.command(), REFUSAL_TIMEOUT).await;
    assert_eq!(ended.code, Some(3), "{ended:#?}");
    for part in ["node 1", "node 2", "--id 1"] {
        assert!(ended.stderr.contains(part), "no '{part}' in {ended:#?}");
    }
    assert_eq!(fingerprint(&right.data_dir), files, "something was changed in the directory");

    let (none, renamed) = (String::new(), "other".to_owned());
    cluster.node_mut(1).serve = Serve { peers: none, cluster_name: renamed, ..right };
    cluster.node_mut(1).start();
    cluster.node_mut(1).up().await;
    assert_eq!(cluster.same_state().await.get(b"key").unwrap().value, "value");
}

/// Ids 1 and 2 change places, so that node 2 has node 1's addresses and the list agrees with
/// itself.
fn swap_first_two(peers: &str) -> String {
    peers.replace("1=127", "x=127").replace("2=127", "1=127").replace("x=127", "2=127")
}

/// Every file below `root` with its size, its content's hash, and when it was last changed.
fn fingerprint(root: &Path) -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    let mut dirs = vec![root.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                dirs.push(path);
                continue;
            }
            let content = std::fs::read(&path).unwrap();
            let mut hasher = std::hash::DefaultHasher::new();
            std::hash::Hash::hash(&content, &mut hasher);
            let hash = std::hash::Hasher::finish(&hasher);
            let modified = path.metadata().unwrap().modified().unwrap();
            files.insert(
                path.display().to_string(),
                format!("{} bytes, {hash:016x}, {modified:?}", content.len()),
            );
        }
    }
    files
}

/// Shells and container runtimes hand down 1024 open files, which some 500 idle clients use up
/// together with a large state: the next file that storage could not open would have ended the
/// node.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_may_open_as_many_files_as_it_is_allowed_to() {
    let _place = beside_others();
    let mut cluster = Cluster::prepare(ClusterOptions { nodes: 1, ..ClusterOptions::default() });
    let command = cluster.node(1).serve.command();
    let mut limited = Command::new("sh");
    limited.args(["-c", "ulimit -S -n 256 && exec \"$0\" \"$@\" --exit-on-stdin-eof"]);
    limited.arg(command.get_program()).args(command.get_args());
    cluster.node_mut(1).start_as(&mut limited);
    cluster.node_mut(1).up().await;
    let (_, text) = cluster.node(1).http("/metrics").await.unwrap();
    let limit = Series::parse(&text).sum("process_max_fds", &[]);
    assert!(limit > 256.0, "{limit} open files");
}
