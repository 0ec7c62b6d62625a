//! Rights that change while nodes run, and tokens.

use std::time::Duration;

use proto::kv::v1::GetRequest;
use proto::kv::v1::operation_response::Response as Answer;
use tonic::Code;

use crate::support::guarded::{Guarded, entry, token};
use crate::support::session::{Session, failure, get, put};
use crate::support::{
    Cluster, ClusterOptions, Kvcli, beside_others, http_get_with, kv_over, run_to_end, wait,
};

/// How long anything here may take, a loaded machine included.
const PATIENCE: Duration = Duration::from_secs(30);

/// The file is read again while nodes run: new rights count, at a stream that is open as well, and
/// so does their end. A file that cannot be used leaves the old one in force, and is said once with
/// its line.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_file_counts_without_a_restart() {
    let _place = beside_others();
    let (token, hash) = token();
    let watcher =
        format!("[[principal]]\nname = \"watcher\"\ntoken-sha256 = [\"{hash}\"]\nrights = [\"read\"]\n");
    let reader = |rights: &str| [entry("reader", rights, r#""a/""#), watcher.clone()];
    let guarded = Guarded::start(1, &["reader"], &reader(r#""read""#)).await;
    let node = guarded.cluster.node(1);
    let mut session = Session::over(guarded.channel(node, "reader")).await;
    assert_eq!(failure(&session.ask(put("a/1", "v")).await).code, Code::PermissionDenied as u32);

    guarded.set(&reader(r#""read", "write""#));
    wait::until("the new right counts at the open stream", PATIENCE, async || {
        // A session is not to be borrowed by two, and one operation after the other is enough.
        let mut other = Session::over(guarded.channel(node, "reader")).await;
        let answer = other.ask(put("a/1", "v")).await;
        wait::is(matches!(answer, Answer::Put(_)), || format!("{answer:?}"))
    })
    .await;
    assert!(matches!(session.ask(put("a/1", "v")).await, Answer::Put(_)), "the stream was open before");

    std::fs::write(&guarded.file, "[[principal]]\nname = \"reader\"\ncolour = \"red\"\n").unwrap();
    let said = "a changed --auth-file is not used, and the old one stays";
    wait::until("the broken file is said", PATIENCE, async || {
        wait::is(node.log().contains(said), || node.log_tail())
    })
    .await;
    assert!(node.log().contains("auth.toml:3"), "{}", node.log_tail());
    assert!(matches!(session.ask(put("a/2", "v")).await, Answer::Put(_)), "the old file is in force");

    guarded.set(std::slice::from_ref(&watcher));
    wait::until("the end of the principal counts", PATIENCE, async || {
        let answer = kv_over(guarded.channel(node, "reader")).get(GetRequest::default()).await;
        wait::is(answer.as_ref().is_err_and(|e| e.code() == Code::Unauthenticated), || format!("{answer:?}"))
    })
    .await;
    let answer = session.ask(get("a/1")).await;
    assert_eq!(failure(&answer).code, Code::Unauthenticated as u32, "the stream is still open: {answer:?}");
    assert_eq!(node.log().matches(said).count(), 1, "{}", node.log_tail());

    // By a token over TLS, whose principal sees no key.
    let kvcli = async |line: String| {
        let mut command = std::process::Command::new(Kvcli::program());
        command.args(["--endpoints", &node.client_addr(), "--cacert", &guarded.certificates.path("ca.pem")]);
        let alice = ["client-alice.pem", "client-alice-key.pem"].map(|name| guarded.certificates.path(name));
        command.args(["--cert", &alice[0], "--key", &alice[1]]).args(line.split_whitespace());
        command.env("KVCLI_TOKEN", &token);
        run_to_end(command, PATIENCE).await
    };
    assert_eq!(kvcli("cluster status".to_owned()).await.code, Some(0));
    let ended = kvcli("get a/1".to_owned()).await;
    assert!(ended.code == Some(4) && ended.stderr.contains("principal 'watcher'"), "{ended:#?}");
    let file = guarded.file.with_file_name("token");
    std::fs::write(&file, "0".repeat(64)).unwrap();
    let ended = kvcli(format!("--token-file {} get a/1", file.display())).await;
    assert!(ended.code == Some(4) && ended.stderr.contains("its token is not one of"), "{ended:#?}");
}

/// A token over a connection without TLS is refused, and by kvcli not even sent, unless that was
/// asked for by name. Metrics are had with a token, and tell whether the file can be used.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_over_plaintext_is_asked_for_by_name() {
    let _place = beside_others();
    let mut cluster = Cluster::prepare(ClusterOptions { nodes: 1, ..ClusterOptions::default() });
    let (token, hash) = token();
    let file = cluster.path().join("auth.toml");
    let entry =
        format!("[[principal]]\nname = \"o\"\ntoken-sha256 = [\"{hash}\"]\nrights = [\"admin\", \"read\"]\n");
    std::fs::write(&file, &entry).unwrap();
    let node = cluster.node_mut(1);
    node.serve.flags =
        ["--auth-file", file.to_str().unwrap(), "--auth-over-plaintext"].map(str::to_owned).to_vec();
    node.start();
    wait::until("it is up", PATIENCE, async || node.http("/livez").await.map(drop)).await;
    let kvcli = async |flags: &str| {
        let mut command = std::process::Command::new(Kvcli::program());
        command.args(["--endpoints", &node.client_addr()]).args(flags.split_whitespace());
        command.env("KVCLI_TOKEN", &token);
        run_to_end(command, PATIENCE).await
    };
    let ended = kvcli("cluster init").await;
    assert!(ended.code == Some(3) && ended.stderr.contains("--token-over-plaintext"), "{ended:#?}");
    let ended = kvcli("--token-over-plaintext cluster init").await;
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    let usable = async |expected: &str| {
        let bearer = format!("Authorization: Bearer {token}\r\n");
        wait::until("the metric follows the file", PATIENCE, async || {
            let (code, text) = http_get_with(&node.ports().http_addr(), "/metrics", &bearer).await?;
            let line = format!("auth_file_usable {expected}\n");
            wait::is(code == 200 && text.contains(&line), || format!("{code}: no {line}"))
        })
        .await;
    };
    usable("1").await;
    std::fs::write(&file, "[[principal]]\n").unwrap();
    usable("0").await;
    std::fs::write(&file, &entry).unwrap();
    usable("1").await;
    assert!(!node.log().contains(&token) && !node.log().contains(&hash));
}
