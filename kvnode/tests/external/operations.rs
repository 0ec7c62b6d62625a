//! Runs the commands of docs/operations as an operator would: a test for each scenario, which is
//! the word behind `sh` where a block begins. Blocks marked `background` start a node, in place of
//! the one of that id if there is one; every other line must succeed.
//!
//! The addresses and directories of the pages are those of one cluster. Each is replaced by what
//! the cluster of the test has.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::support::document::{blocks, commands, operations, shell};
use crate::support::{
    Cluster, ClusterOptions, Dice, Ended, Load, LoadOptions, Ports, alone, files, free_ports, run_to_end,
    wait,
};

const RUN_TIMEOUT: Duration = Duration::from_secs(70);
const PROGRESS_TIMEOUT: Duration = Duration::from_secs(20);
/// The node that a scenario may add.
const ADDED: u64 = 4;

/// Scenarios whose commands another program runs: its text, and what that says.
const RUN_ELSEWHERE: [(&str, &str, &str); 9] = [
    ("backup", include_str!("../cluster/restore.rs"), "lines(page, \"backup\""),
    ("restore", include_str!("../cluster/restore.rs"), "lines(page, \"restore\""),
    ("recover", include_str!("../cluster/recover.rs"), "lines(page, \"recover\""),
    ("tls", include_str!("../cluster/tls.rs"), "\"sh tls\""),
    ("replace", include_str!("../cluster/damage_live.rs"), "sh replace"),
    ("compose", include_str!("../../../deploy/tests/compose.rs"), "commands(\"compose\")"),
    ("rules", include_str!("../../../deploy/tests/rules.rs"), "commands(\"rules\")"),
    ("dashboard", include_str!("../../../deploy/tests/dashboard.rs"), "commands(\"dashboard\")"),
    ("ci", include_str!("../../../.ci/run"), "```sh ci"),
];

/// What needs a running systemd, a Kubernetes, or Elastic's images.
const NOT_RUN: [(&str, &str); 5] = [
    ("elk", "docker compose -f deploy/compose.yaml --profile elk up -d"),
    ("systemd", "systemctl daemon-reload"),
    ("systemd", "systemctl enable --now kvnode"),
    ("systemd", "systemctl restart kvnode"),
    ("kubernetes", "kubectl apply -f deploy/kubernetes/kvnode.yaml"),
];

/// A cluster, and the document's names for its parts.
struct Runbook {
    cluster: Cluster,
    spare: Ports,
}

/// A line of the document and how it ended.
#[derive(Debug)]
struct Ran {
    line: String,
    ended: Ended,
}

impl Runbook {
    async fn start(nodes: usize) -> Self {
        Self::over(Cluster::start(ClusterOptions { nodes, ..ClusterOptions::default() }).await)
    }

    fn over(cluster: Cluster) -> Self {
        Self { cluster, spare: free_ports(1)[0] }
    }

    /// Runs the scenario to its end; answers its lines but those that start nodes.
    async fn follow(&mut self, scenario: &str) -> Vec<Ran> {
        let endpoints = self.cluster.endpoints();
        let (run, background) = (format!("sh {scenario}"), format!("sh {scenario} background"));
        let (mut ran, mut started) = (Vec::new(), 0);
        for (mark, text) in blocks(&operations()) {
            for line in commands(text).into_iter().filter(|_| mark == run) {
                let ended = self.run(&line, &endpoints).await;
                assert!(ended.code == Some(0) || is_a_verdict(&line, &ended), "{line}: {ended:#?}");
                ran.push(Ran { line, ended });
            }
            for line in commands(text).into_iter().filter(|_| mark == background) {
                self.serve(&line).await;
                started += 1;
            }
        }
        assert!(ran.len() + started > 0, "docs/operations has no scenario {scenario}");
        ran
    }

    async fn run(&self, line: &str, endpoints: &[String]) -> Ended {
        let mut command = shell(&self.here(line), self.cluster.path());
        command.env("KVCLI_ENDPOINTS", endpoints.join(","));
        run_to_end(command, RUN_TIMEOUT).await
    }

    /// Starts the node that the line names, after SIGTERM to the one of that id that runs.
    async fn serve(&mut self, line: &str) {
        let id = line.split_once("--id ").and_then(|(_, rest)| rest.split_whitespace().next()?.parse().ok());
        let id: u64 = id.unwrap_or_else(|| panic!("no --id in {line}"));
        if !self.cluster.nodes.iter().any(|node| node.id() == id) {
            self.cluster.push(id, self.spare, String::new());
        }
        let mut command = shell(&self.here(line), self.cluster.path());
        let node = self.cluster.node_mut(id);
        if node.is_started() {
            assert!(node.stop().await.success(), "{}", node.log_tail());
        }
        node.start_as(&mut command);
        node.up().await;
    }

    /// The line with this cluster's addresses and directories.
    fn here(&self, line: &str) -> String {
        let nodes = self.cluster.nodes.iter();
        let known =
            nodes.map(|node| (node.id(), node.ports(), Some(node.serve.data_dir.display().to_string())));
        let known: Vec<_> = known.chain([(ADDED, self.spare, None)]).collect();
        known.into_iter().fold(line.to_owned(), |line, (id, ports, data_dir)| {
            let addresses =
                [(7000, ports.client_addr()), (7100, ports.raft_addr()), (7200, ports.http_addr())];
            let line = addresses
                .iter()
                .fold(line, |line, (base, real)| line.replace(&format!("127.0.0.1:{}", base + id), real));
            match data_dir {
                Some(dir) => line.replace(&format!(" data/{id}"), &format!(" {dir}")),
                None => line,
            }
        })
    }

    async fn make_leader(&self, id: u64) {
        wait::until("the node leads", PROGRESS_TIMEOUT, async || {
            if self.cluster.leader().await == id {
                return Ok(());
            }
            Err(format!("{:?}", self.cluster.client().transfer_leader(id).await.err()))
        })
        .await;
    }
}

/// A cluster with a damaged node is not well, and the command that says so exits with 1.
fn is_a_verdict(line: &str, ended: &Ended) -> bool {
    line == "kvcli cluster status" && ended.code == Some(1) && ended.stdout.contains("health  degraded")
}

/// Standard output of the last line that begins so.
fn printed<'a>(ran: &'a [Ran], line: &str) -> &'a str {
    let found = ran.iter().rev().find(|ran| ran.line.starts_with(line));
    &found.unwrap_or_else(|| panic!("{line} is not in {ran:#?}")).ended.stdout
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn start() {
    let _alone = alone();
    let mut runbook = Runbook::over(Cluster::prepare(ClusterOptions::default()));
    let ran = runbook.follow("start").await;
    assert!(printed(&ran, "kvcli cluster status").contains("3 of 3 voters answer"), "{ran:#?}");
    assert_eq!(printed(&ran, "kvcli cluster members").matches("voter").count(), 3, "{ran:#?}");
    assert_eq!(printed(&ran, "kvcli --endpoints 127.0.0.1:7003 get"), "hello\n");
    assert_eq!(printed(&ran, "kvcli scan"), "greeting\thello\n");
    for (path, sign) in [("readyz", ""), ("livez", "ok"), ("api/status", "{"), ("metrics", "# HELP")] {
        let answer = printed(&ran, &format!("curl http://127.0.0.1:7201/{path}"));
        assert!(answer.starts_with(sign) && !answer.is_empty(), "{path}: {answer}");
    }
    let verbose = ran.iter().find(|ran| ran.line.starts_with("kvcli --verbose")).unwrap();
    assert!(verbose.ended.stderr.starts_with("trace id "), "{verbose:?}");
    runbook.cluster.same_state().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn restart() {
    let _alone = alone();
    let mut runbook = Runbook::start(3).await;
    let before = runbook.cluster.node(2).pid();
    let ran = runbook.follow("restart").await;
    assert_eq!(printed(&ran, "curl"), "ok\n");
    assert_ne!(runbook.cluster.node(2).pid(), before);
}

/// A rolling upgrade under load, with the one version there is: nothing acknowledged is lost, and
/// each node is another process.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn upgrade() {
    let _alone = alone();
    let mut dice = Dice::new("upgrade");
    let mut runbook = Runbook::start(3).await;
    runbook.make_leader(1).await;
    let before: BTreeSet<_> = runbook.cluster.nodes.iter().map(|node| node.pid()).collect();
    let options = LoadOptions { writers: 2, readers: 1, ..LoadOptions::default() };
    let mut load = Load::start(&runbook.cluster.client(), options, &mut dice);
    load.progress(50, PROGRESS_TIMEOUT).await;
    let ran = runbook.follow("upgrade").await;
    load.progress(50, PROGRESS_TIMEOUT).await;
    let ledger = load.stop().await;
    assert!(runbook.cluster.nodes.iter().all(|node| !before.contains(&node.pid())));
    assert!(printed(&ran, "kvcli cluster status").contains("3 of 3 voters answer"), "{ran:#?}");
    assert!(printed(&ran, "curl http://127.0.0.1:7201/api/status").contains("\"version\":"), "{ran:#?}");
    ledger.assert_kept(&runbook.cluster.same_state().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn grow() {
    let _alone = alone();
    let mut runbook = Runbook::start(3).await;
    runbook.cluster.client().put("key", "value").await.unwrap();
    runbook.follow("grow").await;
    let endpoints = runbook.cluster.endpoints();
    wait::until("node 4 votes", PROGRESS_TIMEOUT, async || {
        let ended = runbook.run("kvcli cluster status", &endpoints).await;
        wait::is(ended.stdout.contains("4 of 4 voters answer"), || format!("{ended:#?}"))
    })
    .await;
    assert_eq!(runbook.cluster.same_state().await.pairs.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn add() {
    let _alone = alone();
    let mut runbook = Runbook::start(3).await;
    let ran = runbook.follow("add").await;
    assert!(printed(&ran, "kvcli cluster status").contains("4 of 4 voters answer"), "{ran:#?}");
    runbook.cluster.same_state().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shrink() {
    let _alone = alone();
    let mut runbook = Runbook::start(4).await;
    let ran = runbook.follow("shrink").await;
    assert_eq!(printed(&ran, "kvcli cluster members").matches("voter").count(), 3, "{ran:#?}");
}

/// What the first look at a damaged node shows: where it is damaged, on both surfaces.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault() {
    let _alone = alone();
    let mut runbook = Runbook::start(3).await;
    runbook.cluster.client().put("key", "value").await.unwrap();
    let damaged = runbook.cluster.node_mut(3);
    assert!(damaged.stop().await.success());
    let current = &files(&damaged.serve.data_dir, "storage/state/table-*/CURRENT")[0];
    std::fs::remove_file(current).unwrap();
    damaged.start();
    damaged.up().await;
    let ran = runbook.follow("fault").await;
    for line in ["curl", "kvcli cluster status"] {
        assert!(printed(&ran, line).contains("storage/state/table-"), "{ran:#?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn full_disk() {
    let _alone = alone();
    let mut runbook = Runbook::start(3).await;
    let ran = runbook.follow("full-disk").await;
    assert!(printed(&ran, "df").lines().count() == 2, "{ran:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn check() {
    let _alone = alone();
    let mut runbook = Runbook::start(3).await;
    runbook.cluster.client().put("key", "value").await.unwrap();
    runbook.cluster.settled().await;
    assert!(runbook.cluster.node_mut(3).stop().await.success());
    let ran = runbook.follow("check").await;
    assert_eq!(ran.len(), 2);
    let json: serde_json::Value = serde_json::from_str(&ran[1].ended.stdout).unwrap();
    assert_eq!(json["node_id"], 3, "{json:#}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn quorum() {
    let _alone = alone();
    let mut runbook = Runbook::start(3).await;
    runbook.cluster.client().put("greeting", "hello").await.unwrap();
    runbook.cluster.settled().await;
    [2, 3].into_iter().for_each(|id| runbook.cluster.node_mut(id).kill());
    let ran = runbook.follow("quorum").await;
    assert_eq!(printed(&ran, "kvcli get"), "hello\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transfer() {
    let _alone = alone();
    let mut runbook = Runbook::start(3).await;
    runbook.make_leader(3).await;
    runbook.follow("transfer").await;
    assert_eq!(runbook.cluster.leader().await, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn overload() {
    let _alone = alone();
    let mut runbook = Runbook::start(3).await;
    let ran = runbook.follow("overload").await;
    assert!(printed(&ran, "curl").contains("kv_requests_total{op=\"put\",outcome=\"ok\"}"), "{ran:#?}");
}

/// The file that the page of rights shows is one that a node takes; and the command there makes a
/// token that is known by its hash.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens() {
    let _alone = alone();
    let mut runbook = Runbook::start(1).await;
    let ran = runbook.follow("tokens").await;
    let words: Vec<_> =
        printed(&ran, "kvnode token").lines().filter_map(|line| line.split_whitespace().nth(1)).collect();
    let pages = operations();
    let (_, shown) = blocks(&pages).into_iter().find(|(mark, _)| *mark == "toml").unwrap();
    let old = shown.split('"').find(|part| part.len() == 64).unwrap();
    let file = runbook.cluster.path().join("auth.toml");
    std::fs::write(&file, shown.replace(old, words[1])).unwrap();
    let node = runbook.cluster.node_mut(1);
    assert!(node.stop().await.success());
    node.serve.flags =
        vec!["--auth-file".to_owned(), file.to_str().unwrap().to_owned(), "--auth-over-plaintext".to_owned()];
    node.start();
    let endpoints = runbook.cluster.endpoints();
    const KEY_NOT_FOUND: i32 = 1;
    let asked = async |token: &str| {
        let line = format!("env KVCLI_TOKEN={token} kvcli --token-over-plaintext get carts/1");
        runbook.run(&line, &endpoints).await
    };
    wait::until("the token is known", PROGRESS_TIMEOUT, async || {
        let ended = asked(words[0]).await;
        wait::is(ended.code == Some(KEY_NOT_FOUND), || format!("{ended:#?}"))
    })
    .await;
    let refused = asked(words[1]).await;
    assert!(refused.stderr.contains("--auth-file"), "{refused:#?}");
}

/// A command that no test runs looks like one that works. So every block has a scenario, every
/// scenario a test, and what is not run is a short list.
#[test]
fn every_command_is_run() {
    let here = include_str!("operations.rs");
    let pages = operations();
    let mut not_run = Vec::new();
    for (mark, text) in blocks(&pages) {
        let words: Vec<_> = mark.split_whitespace().collect();
        match words[..] {
            ["json"] => {}
            ["toml"] => assert!(here.contains("*mark == \"toml\""), "nothing reads ```toml"),
            ["sh", "not-run", why] => not_run.extend(text.lines().map(|line| (why, line))),
            ["sh", scenario] | ["sh", scenario, "background"] => {
                let follows = format!("follow(\"{scenario}\")");
                let elsewhere = RUN_ELSEWHERE.iter().find(|(name, _, _)| *name == scenario);
                let run = match elsewhere {
                    Some((_, program, sign)) => program.contains(sign),
                    None => here.contains(&follows),
                };
                assert!(run, "nothing runs the commands of ```{mark}");
            }
            _ => panic!("```{mark} has no scenario: {text}"),
        }
    }
    assert_eq!(not_run, NOT_RUN);
    // Marks are not seen in what is read: a sentence of the section says it.
    for section in pages.split("\n#") {
        for (mark, sentence) in [("sh ci", "`.ci/run`"), ("sh not-run", "o test runs th")] {
            let has_any = blocks(section).iter().any(|(of, _)| of.starts_with(mark));
            assert!(!has_any || section.contains(sentence), "nothing says who runs ```{mark}:\n{section}");
        }
    }
    let fences = pages.lines().filter(|line| line.trim_start().starts_with("```")).count();
    assert_eq!(fences, 2 * blocks(&pages).len(), "a block is indented, or not closed");
    let prose = pages.split("\n```").step_by(2).flat_map(str::lines);
    let indented = prose.into_iter().find(|line| line.starts_with("    ") || line.starts_with('\t'));
    assert_eq!(indented, None, "a block without a scenario");
}
