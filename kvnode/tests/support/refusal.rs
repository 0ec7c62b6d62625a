//! How a node with a storage fault must look from everywhere.

use std::time::Duration;

use proto::kv::v1 as kv;
use proto::kv::v1::{GetRequest, PutRequest};
use proto::node::v1 as pb;
use tonic::{Code, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use super::{Node, State, kv_client, wait};

const NOTICE_TIMEOUT: Duration = Duration::from_secs(15);

/// Every surface refuses with `code` and names the file.
pub async fn refuses_everything(node: &Node, code: Code, name: &str) {
    let refused = |what: &str, answer: Result<(), Status>| {
        let status = answer.expect_err(what);
        assert!(status.code() == code && status.message().contains(name), "{what}: {status:?}");
    };
    let (mut kv, mut admin) = (node.kv(), node.admin());
    let get = |stale| GetRequest { key: "meanwhile/0".into(), stale };
    refused("a stale get", kv.get(get(true)).await.map(drop));
    refused("a get", kv.get(get(false)).await.map(drop));
    refused("a put", kv.put(PutRequest { key: "x".into(), ..PutRequest::default() }).await.map(drop));
    refused("a scan", State::try_of(node).await.map(drop));
    refused("init", admin.init(pb::InitRequest {}).await.map(drop));
    let status = admin.status(pb::StatusRequest {}).await.unwrap().into_inner();
    assert!(status.node_id == node.id() && status.fault.contains(name), "{status:?}");

    for path in ["/readyz", "/livez"] {
        let (code, text) = node.http(path).await.unwrap();
        assert!(code == 503 && text.contains(name), "{path}: {code} {text}");
    }
    for path in ["/api/cluster", "/api/status"] {
        // What all open pages share may be a second old.
        wait::until(path, NOTICE_TIMEOUT, async || {
            let (code, text) = node.http(path).await?;
            wait::is(code == 200 && text.contains(name), || format!("{code} {text}"))
        })
        .await;
    }
    assert_eq!(node.http("/metrics").await.unwrap().0, 200);
    // A running node looks at its storage now and then. openraft adds a line of its own for each
    // append under way.
    wait::until("the log says it once", NOTICE_TIMEOUT, async || {
        let log = node.log_of_this_run();
        let said =
            log.lines().filter(|line| line.contains("ERROR storage fault") && line.contains(name)).count();
        wait::is(said == 1, || format!("said {said} times: {log}"))
    })
    .await;
    assert_eq!(health(node).await, ServingStatus::NotServing);
    // Peers take this for "unreachable"; a good node does not know the service on that port.
    let peer = kv_client(&node.ports().raft_addr()).get(get(true)).await.unwrap_err();
    assert!(matches!(peer.code(), Code::Unavailable | Code::Unimplemented), "{peer:?}");
}

async fn health(node: &Node) -> ServingStatus {
    let channel = tonic::transport::Endpoint::from_shared(format!("http://{}", node.client_addr())).unwrap();
    let mut client = HealthClient::new(channel.connect_lazy());
    wait::until("gRPC health follows", NOTICE_TIMEOUT, async || {
        let request = HealthCheckRequest { service: "kv.v1.Kv".to_owned() };
        let answer = client.check(request).await.map_err(|status| status.to_string())?.into_inner();
        let serving = answer.status() == ServingStatus::Serving;
        wait::is(!serving, || "SERVING".to_owned()).map(|()| answer.status())
    })
    .await
}
