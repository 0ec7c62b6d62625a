//! The timeout is shared out: a node that accepts requests and answers none leaves time for the
//! others.

use std::time::{Duration, Instant};

use kvcli::{Client, ClientError, ClientOptions, ReadMode, ScanOptions};

use crate::fake::{CLUSTER, Fake, Step};
use crate::program::run;

/// A client that asks no question first, so that its first request meets the frozen nodes.
fn client(endpoints: &[&str], timeout: Duration) -> Client {
    let cluster_id = Some(CLUSTER.parse().unwrap());
    Client::connect(endpoints, ClientOptions { timeout, cluster_id, ..ClientOptions::default() }).unwrap()
}

/// Two nodes that hang and one that answers.
async fn two_frozen() -> [Fake; 3] {
    let fakes = [Fake::start().await, Fake::start().await, Fake::start().await];
    fakes[0].with(|state| state.frozen = true);
    fakes[1].always(Step::Hang);
    fakes
}

/// Found: with a frozen node listed first, `--timeout 5s` ended after five seconds without a try
/// of the others.
#[tokio::test]
async fn every_endpoint_gets_a_try() {
    let timeout = Duration::from_millis(900);
    for operation in ["put", "delete", "get", "stale get", "scan", "status"] {
        let fakes = two_frozen().await;
        let addresses = [&fakes[0].address, &fakes[1].address, &fakes[2].address];
        let client = client(&addresses.map(String::as_str), timeout);
        let started = Instant::now();
        match operation {
            "put" => client.put("k", "v").await.map(drop),
            "delete" => client.delete("k").await.map(drop),
            "get" => client.get("k", ReadMode::Linearizable).await.map(drop),
            "stale get" => client.get("k", ReadMode::Stale).await.map(drop),
            "scan" => client.scan(ScanOptions::default()).await.map(drop),
            _ => client.status().await.map(drop),
        }
        .unwrap_or_else(|error| panic!("{operation}: {error}"));
        assert!(started.elapsed() < timeout, "{operation} took {:?}", started.elapsed());
    }
}

#[tokio::test]
async fn from_the_command_line_too() {
    let fakes = two_frozen().await;
    let endpoints = fakes.each_ref().map(|fake| fake.address.as_str()).join(",");
    for args in [&["put", "k", "v"][..], &["get", "k"], &["scan"], &["cluster", "init"], &["delete", "k"]] {
        let ended = run(&endpoints, &[args, &["--timeout", "2s"]].concat()).await.expect_code(0);
        assert!(ended.took < Duration::from_secs(2), "{args:?} took {:?}", ended.took);
    }
}

/// Its node may be at work: it is not sent elsewhere meanwhile, and has all the time there is.
#[tokio::test]
async fn what_must_not_be_sent_twice_has_all_the_time() {
    let fakes = two_frozen().await;
    let addresses = [&fakes[1].address, &fakes[2].address];
    let client = client(&addresses.map(String::as_str), Duration::from_millis(400));
    let started = Instant::now();
    let result = client.change_membership(&[4], &[], false).await;
    assert!(matches!(result, Err(ClientError::OutcomeUnknown { .. })), "{result:?}");
    assert!(started.elapsed() >= Duration::from_millis(400));
    assert_eq!((fakes[1].seen().len(), fakes[2].seen().len()), (1, 0));
}
