//! Scans: large, partial, broken off.

use std::process::Stdio;

use kvcli::{Client, ClientOptions, ScanOptions};
use tokio::io::{AsyncBufReadExt as _, BufReader};

use crate::fake::Fake;
use crate::program::{kvcli, run};

/// More than any message may hold.
const PAIRS: usize = 3000;
const VALUE_BYTES: usize = 4096;

async fn filled() -> Fake {
    let fake = Fake::start().await;
    let pair = |n: usize| (format!("key/{n:05}").into_bytes(), vec![b'x'; VALUE_BYTES]);
    fake.with(|state| state.pairs = (0..PAIRS).map(pair).collect());
    fake
}

#[tokio::test]
async fn larger_than_one_message() {
    let fake = filled().await;
    let ended = run(&fake.address, &["scan"]).await.expect_code(0);
    assert_eq!(ended.text().lines().count(), PAIRS);
    assert_eq!(ended.text().lines().next().unwrap().len(), "key/00000\t".len() + VALUE_BYTES);
    assert!(ended.text().lines().is_sorted());
}

#[tokio::test]
async fn a_page_at_a_time() {
    let fake = filled().await;
    let client = Client::connect([&fake.address], ClientOptions::default()).unwrap();
    let mut scan = client.scan(ScanOptions::default()).await.unwrap();
    let mut pages = Vec::new();
    while let Some(page) = scan.next_page().await.unwrap() {
        pages.push(page.len());
    }
    assert_eq!(pages, vec![100; 30]);
}

#[tokio::test]
async fn prefix_limit_and_keys_only() {
    let fake = filled().await;
    fake.with(|state| state.pairs.insert(b"other\t\xff".to_vec(), b"\\\n".to_vec()));
    let args = ["scan", "--prefix", "key/", "--limit", "2", "--keys-only"];
    let ended = run(&fake.address, &args).await.expect_code(0);
    assert_eq!(ended.text(), "key/00000\nkey/00001\n");
    let ended = run(&fake.address, &["scan", "--prefix", "other"]).await.expect_code(0);
    assert_eq!(ended.text(), "other\\t\\xff\t\\\\\\n\n");
    let args = ["scan", "--prefix", "other", "--keys-only", "--output", "json"];
    let json = run(&fake.address, &args).await.expect_code(0).json();
    assert_eq!(json["key_base64"], "b3RoZXIJ/w==");
    assert_eq!(json.get("value"), None);
    let nothing = run(&fake.address, &["scan", "--prefix", "nothing"]).await.expect_code(0);
    assert!(nothing.stdout.is_empty() && nothing.stderr.is_empty());
}

#[tokio::test]
async fn a_reader_that_goes_away_is_no_error() {
    let fake = filled().await;
    let mut command = kvcli();
    command.args(["scan", "--endpoints", &fake.address]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    stdout.read_line(&mut line).await.unwrap();
    assert!(line.starts_with("key/00000\t"));
    drop(stdout);
    let output = child.wait_with_output().await.unwrap();
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]));
}
