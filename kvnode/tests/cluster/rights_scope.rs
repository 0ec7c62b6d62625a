//! Attacks the borders of a principal's prefixes: at followers, by calls and over streams.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use kvcli::{Client, ReadMode, ScanOptions};
use proto::kv::v1::{DeleteRequest, GetRequest, PutRequest};
use tonic::Code;

use crate::support::guarded::{Guarded, entry, scanned_over};
use crate::support::session::Session;
use crate::support::{beside_others, kv_over};

/// What a principal has at one key of its own it has at no key beside it: whichever node is asked,
/// as a call and over a stream; and what was refused has changed nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_prefix_ends_where_it_ends_also_through_a_follower() {
    let _place = beside_others();
    let entries =
        [entry("carts", r#""read", "write""#, r#""carts/", "c""#), entry("writer", r#""write""#, r#""w/""#)];
    let guarded = Guarded::start(3, &["carts", "writer"], &entries).await;
    let operator = guarded.cluster.client();
    for key in ["b", "cart", "carts", "carts/1", "carts0", "d", "w/1"] {
        operator.put(key, "before").await.unwrap();
    }
    for node in &guarded.cluster.nodes {
        let carts = guarded.client(node, "carts");
        carts.put("carts/2", "mine").await.unwrap();
        let pair = carts.get("carts/2", ReadMode::Linearizable).await.unwrap().pair.unwrap();
        assert_eq!(pair.value, "mine");
        carts.delete("carts/2").await.unwrap();
        for key in ["b", "d", "w/1", "B", "\u{0}"] {
            for (what, ended) in [
                ("put", carts.put(key.to_owned(), "x").await.map(drop)),
                ("get", carts.get(key.to_owned(), ReadMode::Linearizable).await.map(drop)),
                ("stale get", carts.get(key.to_owned(), ReadMode::Stale).await.map(drop)),
                ("delete", carts.delete(key.to_owned()).await.map(drop)),
            ] {
                let error = ended.expect_err(key).to_string();
                assert!(error.contains("outside of the scope of principal 'carts'"), "{what} {key}: {error}");
            }
        }
        // By calls, which kvcli makes none of for these.
        let mut kv = kv_over(guarded.channel(node, "carts"));
        let request = PutRequest { key: "d".into(), value: "x".into(), ..PutRequest::default() };
        assert_eq!(kv.put(request).await.unwrap_err().code(), Code::PermissionDenied);
        let request = GetRequest { key: "d".into(), stale: true };
        assert_eq!(kv.get(request).await.unwrap_err().code(), Code::PermissionDenied);
        let request = DeleteRequest { key: "d".into(), ..DeleteRequest::default() };
        assert_eq!(kv.delete(request).await.unwrap_err().code(), Code::PermissionDenied);
        // A write that is answered with what was there before is a read as well.
        let mut kv = kv_over(guarded.channel(node, "writer"));
        let told = PutRequest { key: "w/1".into(), return_previous: true, ..PutRequest::default() };
        assert_eq!(kv.put(told.clone()).await.unwrap_err().code(), Code::PermissionDenied);
        let told_deleted =
            DeleteRequest { key: "w/1".into(), return_previous: true, ..DeleteRequest::default() };
        assert_eq!(kv.delete(told_deleted).await.unwrap_err().code(), Code::PermissionDenied);
        kv.put(PutRequest { return_previous: false, ..told }).await.unwrap();
    }
    for key in ["b", "d"] {
        let pair = operator.get(key, ReadMode::Linearizable).await.unwrap().pair.unwrap();
        assert_eq!((&*pair.value, pair.version), (&b"before"[..], 1), "{key}");
    }
}

async fn scanned(client: &Client, prefix: &str, limit: Option<u64>) -> Result<Vec<String>, String> {
    let options = ScanOptions { prefix: prefix.to_owned().into(), limit, ..ScanOptions::default() };
    let mut scan = client.scan(options).await.map_err(|e| e.to_string())?;
    let mut keys = Vec::new();
    while let Some(pairs) = scan.next_page().await.map_err(|e| e.to_string())? {
        keys.extend(pairs.into_iter().map(|pair| String::from_utf8(pair.key.to_vec()).unwrap()));
    }
    Ok(keys)
}

/// A scan is cut at the borders of the principal's prefixes, whatever it asks for: a wider prefix,
/// a narrower one, everything, and with a limit. Over pages: there are more pairs than one has.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scan_is_cut_at_the_borders_of_the_prefixes() {
    let _place = beside_others();
    let entries = [entry("tenant", r#""read""#, r#""t/b/", "t/d", "t/b/2", "x""#)];
    let guarded = Guarded::start(3, &["tenant"], &entries).await;
    let operator = guarded.cluster.client();
    let keys =
        ["t", "t/a", "t/b", "t/b/", "t/b/1", "t/b/2", "t/b/20", "t/b0", "t/c", "t/d", "t/d/1", "t/e", "x"];
    for key in keys {
        operator.put(key, "v").await.unwrap();
    }
    let many: Vec<String> = (0..1500).map(|number| format!("t/d/2/{number:04}")).collect();
    join_all(many.iter().map(|key| operator.put(key.clone(), "v")))
        .await
        .into_iter()
        .for_each(|put| drop(put.unwrap()));
    let model = |prefix: &str| -> Vec<String> {
        let own = |key: &&String| ["t/b/", "t/d", "x"].iter().any(|own| key.starts_with(own));
        let all: BTreeSet<String> = keys.iter().map(|key| (*key).to_owned()).chain(many.clone()).collect();
        all.iter().filter(|key| key.starts_with(prefix)).filter(own).cloned().collect()
    };
    let node = guarded.follower().await;
    let tenant = guarded.client(node, "tenant");
    let mut session = Session::over(guarded.channel(node, "tenant")).await;
    for prefix in ["", "t", "t/", "t/b", "t/b/", "t/b/1", "t/b/2", "t/d", "t/d/2/000", "x", "x/none"] {
        assert_eq!(scanned(&tenant, prefix, None).await.unwrap(), model(prefix), "{prefix}");
        assert_eq!(scanned_over(&mut session, prefix).await.unwrap(), model(prefix), "{prefix}");
        for limit in [1, 3, 5, 1200] {
            let first: Vec<_> = model(prefix).into_iter().take(limit).collect();
            assert_eq!(
                scanned(&tenant, prefix, Some(limit as u64)).await.unwrap(),
                first,
                "{prefix} {limit}"
            );
        }
    }
    for prefix in ["a", "t/a", "t/b0", "t/c", "u", "y"] {
        let error = scanned(&tenant, prefix, None).await.unwrap_err();
        assert!(error.contains("outside of the scope"), "{prefix}: {error}");
        assert_eq!(scanned_over(&mut session, prefix).await.unwrap_err(), Code::PermissionDenied, "{prefix}");
    }
}
