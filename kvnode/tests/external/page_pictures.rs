//! The README's pictures of the status page.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::support::status_page::{SHOW_TIMEOUT, open, shows};
use crate::support::{Cluster, ClusterOptions, Dice, Load, LoadOptions, alone, wait};

/// Where the pictures go. Without it they go away again.
const PICTURES_VARIABLE: &str = "KV_TESTS_PICTURES";
/// How long the cluster works for a picture that is kept, so that its charts have something to
/// show.
const BUSY: Duration = Duration::from_secs(180);
const SIZE: (u32, u32) = (1280, 880);

/// A busy cluster's page in both themes. `KV_TESTS_PICTURES=docs cargo test --release -p kvnode
/// --test external pictures`, in the directory of the workspace, makes the README's: three minutes
/// of puts, gets and deletes, and a change of leader.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pictures_of_a_busy_cluster() {
    let temporary = tempfile::tempdir().unwrap();
    let kept = std::env::var(PICTURES_VARIABLE).ok();
    let busy = if kept.is_some() { BUSY } else { Duration::ZERO };
    // Tests run in the directory of their package.
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let directory = kept.map_or_else(|| temporary.path().to_owned(), |name| workspace.join(name));
    let _alone = alone();
    let mut cluster = Cluster::prepare(ClusterOptions::default());
    cluster.nodes.iter_mut().for_each(|node| node.serve.cluster_name = "playground".to_owned());
    cluster.start_all();
    cluster.all_up().await;
    cluster.client().init().await.unwrap();
    let leader = cluster.leader().await;
    let browser = open(&cluster, leader).await;
    let options = LoadOptions { writers: 4, readers: 2, deletes_every: 8, ..LoadOptions::default() };
    let load = Load::start(&cluster.client(), options, &mut Dice::new("pictures"));
    let mut handed_over = false;
    let started = Instant::now();
    wait::holds_for("the cluster is busy", busy, async || {
        if !handed_over && started.elapsed() > busy / 2 {
            let other = cluster.followers().await[0];
            cluster.client().transfer_leader(other).await.map_err(|e| e.to_string())?;
            handed_over = true;
        }
        Ok(())
    })
    .await;
    browser.hide_scrollbars();
    for (scheme, name) in [("light", "status-page.png"), ("dark", "status-page-dark.png")] {
        browser.pretend(SIZE.0, SIZE.1, scheme);
        shows(&browser, "#headline", &["Healthy"], SHOW_TIMEOUT).await;
        std::fs::write(directory.join(name), browser.picture()).unwrap();
    }
    load.stop().await;
    let [light, dark] =
        ["status-page.png", "status-page-dark.png"].map(|name| std::fs::read(directory.join(name)).unwrap());
    assert_eq!((size_of(&light), size_of(&dark)), (SIZE, SIZE));
    assert_ne!(light, dark);
}

/// A PNG's first chunk begins with its width and height.
fn size_of(png: &[u8]) -> (u32, u32) {
    assert_eq!(png[..8], *b"\x89PNG\r\n\x1a\n");
    let number = |at: usize| u32::from_be_bytes(png[at..at + 4].try_into().unwrap());
    (number(16), number(20))
}
