//! The benchmark.

use crate::fake::Fake;
use crate::program::run;

#[tokio::test(flavor = "multi_thread")]
async fn a_table_with_a_line_per_number_of_clients() {
    let fake = Fake::start().await;
    let args = ["bench", "put", "--clients", "1,32", "--ops", "500"];
    let ended = run(&fake.address, &args).await.expect_code(0);
    let lines: Vec<_> = ended.text().lines().collect();
    assert_eq!(lines.len(), 5, "{ended:?}");
    assert!(lines[2].starts_with("CLIENTS"));
    let first_cells = [3, 4].map(|line: usize| lines[line].split_whitespace().next().unwrap());
    assert_eq!(first_cells, ["1", "32"]);
    let puts = fake.seen().into_iter().filter(|seen| seen.operation == "put");
    let ids: Vec<_> = puts.map(|put| put.request_id.unwrap()).collect();
    assert_eq!(ids.len(), 1000);
    // No request id is used twice, by whatever client.
    let distinct: std::collections::HashSet<_> = ids.iter().map(|id| (&id.client_id, id.sequence)).collect();
    assert_eq!(distinct.len(), 1000);
    let sessions: std::collections::HashSet<_> = ids.iter().map(|id| &id.client_id).collect();
    assert_eq!(sessions.len(), 33);
}

#[tokio::test(flavor = "multi_thread")]
async fn gets_find_their_keys() {
    let fake = Fake::start().await;
    let args = ["bench", "get", "--clients", "4", "--ops", "200", "--key-space", "50", "--output", "json"];
    let json = run(&fake.address, &args).await.expect_code(0).json();
    assert_eq!(fake.with(|state| state.pairs.len()), 50);
    assert!(fake.with(|state| state.pairs.iter().all(|(k, v)| k.len() == 16 && v.len() == 256)));
    let stage = &json["stages"][0];
    assert_eq!((&stage["operations"], &stage["errors"]), (&200.into(), &0.into()));
    assert!(stage["latency_micros"]["p50"].as_u64().unwrap() > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_are_counted_and_named() {
    let fake = Fake::start().await;
    fake.with(|state| state.refuse_writes = true);
    let args = ["bench", "--clients", "2", "--ops", "20"];
    let ended = run(&fake.address, &args).await.expect_code(4);
    let row = ended.text().lines().last().unwrap();
    assert_eq!(row.split_whitespace().last(), Some("20"), "{ended:?}");
    assert!(ended.stderr.contains("! 2 clients, first error: put: refused by"), "{ended:?}");
}
