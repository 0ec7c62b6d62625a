//! Attacks rights with real processes: everything that can be asked, without the right to it; nodes
//! that administer each other; options that would leave a hole.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::join_all;
use prost::Message as _;
use prost_types::FileDescriptorProto;
use proto::kv::v1::operation::Request as Asked;
use proto::kv::v1::{DeleteRequest, ScanRequest};
use tonic::transport::Channel;
use tonic::{Code, Request, Status};
use tonic_prost::ProstCodec;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tonic_reflection::pb::v1::{ServerReflectionRequest, ServerReflectionResponse};

use crate::support::guarded::{Guarded, entry};
use crate::support::session::{Session, failure, get, put};
use crate::support::{as_client, beside_others, free_ports, wait};

/// How long anything here may take, a loaded machine included.
const PATIENCE: Duration = Duration::from_secs(30);

async fn call(channel: Channel, path: &str) -> Result<(), Status> {
    let mut grpc = tonic::client::Grpc::new(channel);
    grpc.ready().await.unwrap();
    let empty = Request::new(tokio_stream::iter([()]));
    let answers = grpc.streaming(empty, path.parse().unwrap(), ProstCodec::<(), ()>::default()).await;
    // The first answer: a stream is accepted before it says anything.
    answers?.into_inner().message().await.map(drop)
}

async fn reflect(channel: &Channel, question: MessageRequest) -> MessageResponse {
    let request = ServerReflectionRequest { host: String::new(), message_request: Some(question) };
    let mut client = ServerReflectionClient::new(channel.clone());
    let mut answers =
        client.server_reflection_info(tokio_stream::iter([request])).await.unwrap().into_inner();
    let ServerReflectionResponse { message_response, .. } = answers.message().await.unwrap().unwrap();
    message_response.unwrap()
}

/// The path of every method that reflection lists.
async fn methods(channel: &Channel) -> BTreeSet<String> {
    let MessageResponse::ListServicesResponse(list) =
        reflect(channel, MessageRequest::ListServices(String::new())).await
    else {
        panic!("no list of services")
    };
    let mut methods = BTreeSet::new();
    for service in list.service {
        let question = MessageRequest::FileContainingSymbol(service.name.clone());
        let MessageResponse::FileDescriptorResponse(files) = reflect(channel, question).await else {
            panic!("{} is not described", service.name)
        };
        for bytes in files.file_descriptor_proto {
            let file = FileDescriptorProto::decode(&*bytes).unwrap();
            for described in &file.service {
                let name = format!("{}.{}", file.package(), described.name());
                let of_it = described.method.iter().map(|method| format!("/{name}/{}", method.name()));
                methods.extend(of_it.filter(|_| name == service.name));
            }
        }
    }
    methods
}

/// What is not refused to a principal without any right, and of this what is not refused to anyone.
const OF_ANY_PRINCIPAL: [&str; 4] = [
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "/kv.v1.Kv/Session",
    "/node.v1.Cluster/Health",
    "/node.v1.Cluster/Status",
];
const OF_ANYONE: &str = "/grpc.health.v1.Health/";

/// Calls everything that reflection lists without rights: a service that is added without a check
/// is found here. (What is not listed anywhere needs the right to administer.) First by a client
/// that is no principal, then by one without any right.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_method_that_reflection_lists_is_refused_without_rights() {
    let _place = beside_others();
    let guarded = Guarded::start(1, &["powerless"], &[entry("powerless", "", "")]).await;
    let node = guarded.cluster.node(1);
    let methods = methods(&guarded.channel(node, "operator")).await;
    assert!(methods.len() > 16 && methods.contains("/kv.v1.Kv/Put"), "{methods:#?}");
    let expect = async |name: &str, path: &str, code: Code| {
        let refused = call(guarded.channel(node, name), path).await.expect_err(path);
        assert_eq!(refused.code(), code, "{path} by {name}: {refused:?}");
        let says = |name| refused.metadata().get(name).map(|value| value.to_str().unwrap());
        assert_eq!(
            (says("node-id"), says("node-not-applied")),
            (Some("1"), Some("1")),
            "{path}: {refused:?}"
        );
        assert!(refused.message().contains("--auth-file"), "{refused:?}");
    };
    join_all(methods.iter().filter(|path| !path.starts_with(OF_ANYONE)).map(async |path| {
        // Alice has a certificate of the right CA, and is no principal.
        expect("alice", path, Code::Unauthenticated).await;
        if !OF_ANY_PRINCIPAL.contains(&&**path) {
            expect("powerless", path, Code::PermissionDenied).await;
        }
    }))
    .await;
    let mut session = Session::over(guarded.channel(node, "powerless")).await;
    for asked in every_operation("k") {
        let answer = session.ask(asked.clone()).await;
        assert_eq!(failure(&answer).code, Code::PermissionDenied as u32, "{asked:?}: {answer:?}");
        assert!(failure(&answer).not_applied, "{answer:?}");
    }
}

fn every_operation(key: &str) -> [Asked; 4] {
    let delete = DeleteRequest { key: key.to_owned().into(), ..DeleteRequest::default() };
    let scan = ScanRequest { prefix: key.to_owned().into(), ..ScanRequest::default() };
    [put(key, "v"), get(key), Asked::Delete(delete), Asked::Scan(scan)]
}

/// A node is added, and leadership moves, by an operator, through a follower, where every node asks
/// for rights: the nodes need none of each other. A principal without that right changes nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn administration_needs_the_right_and_nodes_need_none() {
    let _place = beside_others();
    let mut guarded = Guarded::start(3, &["user"], &[entry("user", r#""read", "write""#, r#""""#)]).await;
    let ports = free_ports(1)[0];
    guarded.cluster.push(4, ports, String::new());
    let flags = guarded.certificates.all_flags(4);
    let tls = Some(as_client(&guarded.certificates, "operator"));
    let file = guarded.file.to_str().unwrap().to_owned();
    let node = guarded.cluster.node_mut(4);
    (node.serve.flags, node.tls) = ([flags, vec!["--auth-file".to_owned(), file]].concat(), tls);
    node.start();
    node.up().await;
    let follower = guarded.follower().await;
    let (raft, client) = (ports.raft_addr(), ports.client_addr());
    let user = guarded.client(follower, "user");
    for refused in [
        user.add_learner(4, &raft, &client).await.map(drop),
        user.change_membership(&[], &[3], true).await.map(drop),
        user.transfer_leader(1).await.map(drop),
        user.init().await.map(drop),
    ] {
        let error = refused.unwrap_err().to_string();
        assert!(error.contains("principal 'user' has not the right 'admin'"), "{error}");
    }
    let operator = guarded.client(follower, "operator").with_timeout(PATIENCE);
    operator.add_learner(4, &raft, &client).await.unwrap();
    operator.change_membership(&[4], &[], false).await.unwrap();
    let heir = guarded.cluster.followers().await[0];
    operator.transfer_leader(heir).await.unwrap();
    let health = operator.health().await.unwrap();
    assert_eq!(health.members.len(), 4, "{health:?}");
    let silent: Vec<_> = health.members.iter().filter(|member| member.status.is_none()).collect();
    assert!(silent.is_empty(), "nodes do not answer each other: {silent:?}");
}

/// Options that would leave a hole are refused before anything starts, with what to do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_whose_rights_would_have_a_hole_does_not_start() {
    let _place = beside_others();
    let mut guarded = Guarded::prepare(1, &[], &[]);
    let file = guarded.file.to_str().unwrap().to_owned();
    let auth = |file: &str| vec!["--auth-file".to_owned(), file.to_owned()];
    let all = guarded.certificates.all_flags(1);
    let broken = guarded.file.with_file_name("broken.toml");
    std::fs::write(&broken, "[[principal]]\nname = \"a\"\ntoken-sha256 = [\"x\"]\n").unwrap();
    for (flags, part) in [
        (auth(&file), "--auth-file is given without --peer-cert"),
        ([guarded.certificates.peer_flags(1), auth(&file)].concat(), "without --client-cert"),
        ([all.clone(), auth(&file), vec!["--allow-plaintext".to_owned()]].concat(), "--allow-plaintext"),
        (vec!["--auth-over-plaintext".to_owned()], "without --auth-file"),
        ([all.clone(), auth("nowhere.toml")].concat(), "cannot read nowhere.toml"),
        ([all, auth(broken.to_str().unwrap())].concat(), "broken.toml:3"),
    ] {
        let node = guarded.cluster.node_mut(1);
        node.serve.flags = flags;
        node.start();
        let ends = async || node.exit_status().ok_or("it runs".to_owned());
        let status = wait::until("it ends", PATIENCE, ends).await;
        assert_eq!(status.code(), Some(3), "{part}: {}", node.log_tail());
        assert!(node.log_of_this_run().contains(part), "{part}: {}", node.log_tail());
        node.kill();
    }
}
