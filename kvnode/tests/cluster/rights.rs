//! Attacks rights with real processes: requests without any, with others, before and after the file
//! changes, at a follower, over a stream, and at the border of a prefix.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use futures_util::future::join_all;
use kvcli::{Client, ReadMode, ScanOptions};
use prost::Message as _;
use prost_types::FileDescriptorProto;
use proto::kv::v1::operation::Request as Asked;
use proto::kv::v1::operation_response::Response as Answer;
use proto::kv::v1::{DeleteRequest, GetRequest, PutRequest, ScanRequest};
use tonic::transport::Channel;
use tonic::{Code, Request, Status};
use tonic_prost::ProstCodec;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tonic_reflection::pb::v1::{ServerReflectionRequest, ServerReflectionResponse};

use crate::support::session::{Session, failure, get, operation, put, value_of};
use crate::support::{
    Certificates, Cluster, ClusterOptions, Dice, Kvcli, Node, as_client, beside_others, channel, free_ports,
    kv_over, run_to_end, wait,
};

/// How long anything here may take, a loaded machine included.
const PATIENCE: Duration = Duration::from_secs(30);

/// A cluster in which clients prove themselves by certificates or tokens. The operator may do
/// everything, and is who the cluster's own requests are of.
struct Guarded {
    cluster: Cluster,
    certificates: Certificates,
    file: PathBuf,
}

const OPERATOR: &str = "[[principal]]\nname = \"operator\"\ncertificate = \"operator\"\n\
                        rights = [\"read\", \"write\", \"admin\"]\nscope = [\"\"]\n";

/// An entry of the file for the holder of a certificate.
fn entry(name: &str, rights: &str, scope: &str) -> String {
    format!(
        "[[principal]]\nname = \"{name}\"\ncertificate = \"{name}\"\nrights = [{rights}]\nscope = [{scope}]\n"
    )
}

impl Guarded {
    /// Nothing runs yet; these clients have certificates, and the file has these entries.
    fn prepare(nodes: usize, clients: &[&str], entries: &[String]) -> Self {
        let mut cluster = Cluster::prepare(ClusterOptions { nodes, ..ClusterOptions::default() });
        let certificates = Certificates::of_cluster(&cluster.path().join("certificates"), nodes as u64 + 1);
        certificates.make("client --name operator");
        for name in clients {
            certificates.make(&format!("client --name {name}"));
        }
        let file = cluster.path().join("auth.toml");
        let auth = ["--auth-file".to_owned(), file.to_str().unwrap().to_owned()];
        for node in &mut cluster.nodes {
            node.serve.flags = [certificates.all_flags(node.id()), auth.to_vec()].concat();
            node.tls = Some(as_client(&certificates, "operator"));
        }
        cluster.tls = certificates.client_options(Some("operator")).tls;
        let guarded = Self { cluster, certificates, file };
        guarded.set(entries);
        guarded
    }

    async fn start(nodes: usize, clients: &[&str], entries: &[String]) -> Self {
        let mut guarded = Self::prepare(nodes, clients, entries);
        guarded.cluster.start_all();
        guarded.cluster.all_up().await;
        guarded.cluster.client().init().await.unwrap();
        guarded.cluster.leader().await;
        guarded
    }

    /// Replaces the file at once, as an operator should.
    fn set(&self, entries: &[String]) {
        let new = self.file.with_extension("new");
        std::fs::write(&new, format!("{OPERATOR}{}", entries.concat())).unwrap();
        std::fs::rename(&new, &self.file).unwrap();
    }

    fn channel(&self, node: &Node, name: &str) -> Channel {
        channel(&node.client_addr(), Some(&as_client(&self.certificates, name)))
    }

    fn client(&self, node: &Node, name: &str) -> Client {
        Client::connect([node.client_addr()], self.certificates.client_options(Some(name))).unwrap()
    }

    async fn follower(&self) -> &Node {
        self.cluster.node(self.cluster.followers().await[0])
    }
}

fn token() -> (String, String) {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_kvnode")).arg("token").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let word = |line: usize| text.lines().nth(line).unwrap().split_whitespace().nth(1).unwrap().to_owned();
    (word(0), word(1))
}

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

async fn scanned_over(session: &mut Session, prefix: &str) -> Result<Vec<String>, Code> {
    let scan = ScanRequest { prefix: prefix.to_owned().into(), ..ScanRequest::default() };
    session.send([operation(9, Asked::Scan(scan))]).await;
    let mut keys = Vec::new();
    loop {
        match session.answers(1).await.remove(&9).unwrap() {
            Answer::Scan(part) if part.pairs.is_empty() => return Ok(keys),
            Answer::Scan(part) => {
                keys.extend(part.pairs.into_iter().map(|pair| String::from_utf8(pair.key.to_vec()).unwrap()));
            }
            Answer::Failure(failure) => return Err(Code::from_i32(failure.code as i32)),
            other => panic!("not the answer to a scan: {other:?}"),
        }
    }
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

/// Random principals ask random things over streams; what they are answered is what a model of
/// rights and prefixes over a map says.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_requests_are_judged_as_a_model_does() {
    let _place = beside_others();
    let mut dice = Dice::new("random_requests_are_judged_as_a_model_does");
    let letters = ["a", "b", "/"];
    let text = |dice: &mut Dice, most: usize| -> String {
        (0..dice.below(most + 1)).map(|_| dice.pick(&letters)).collect()
    };
    let names = ["p0", "p1", "p2", "p3"];
    let mut principals = Vec::new();
    for name in names {
        let rights: Vec<_> = ["read", "write", "admin"].into_iter().filter(|_| dice.below(4) > 0).collect();
        let scope: Vec<String> = (0..dice.below(4)).map(|_| text(&mut dice, 3)).collect();
        println!("{name}: {rights:?} {scope:?}");
        principals.push((name, rights, scope));
    }
    let quoted = |texts: &[String]| {
        let quoted: Vec<_> = texts.iter().map(|text| format!("\"{text}\"")).collect();
        quoted.join(", ")
    };
    let entries: Vec<_> = principals
        .iter()
        .map(|(name, rights, scope)| {
            let rights: Vec<_> = rights.iter().map(|right| (*right).to_owned()).collect();
            entry(name, &quoted(&rights), &quoted(scope))
        })
        .collect();
    let guarded = Guarded::start(1, &names, &entries).await;
    let node = guarded.cluster.node(1);
    let mut sessions = Vec::new();
    for name in names {
        sessions.push(Session::over(guarded.channel(node, name)).await);
    }
    let (mut model, operator) = (BTreeMap::<String, String>::new(), guarded.cluster.client());
    for number in 0..60 {
        let key = format!("{}{}", dice.pick(&letters), text(&mut dice, 4));
        operator.put(key.clone(), number.to_string()).await.unwrap();
        model.insert(key, number.to_string());
    }
    let (mut allowed, mut refused) = (0, 0);
    for number in 0..600 {
        let at = dice.below(principals.len());
        let (name, rights, scope) = &principals[at];
        let session = &mut sessions[at];
        let key = format!("{}{}", dice.pick(&letters), text(&mut dice, 4));
        let covers = |key: &str| scope.iter().any(|own| key.starts_with(own.as_str()));
        let (may_read, may_write) = (rights.contains(&"read"), rights.contains(&"write"));
        let is_allowed = match dice.below(4) {
            0 => {
                let tells = dice.below(2) == 0;
                let request = PutRequest {
                    key: key.clone().into(),
                    value: number.to_string().into(),
                    return_previous: tells,
                    ..PutRequest::default()
                };
                let may = may_write && covers(&key) && (may_read || !tells);
                match session.ask(Asked::Put(request)).await {
                    Answer::Put(answer) => {
                        let before = model.insert(key.clone(), number.to_string()).filter(|_| tells);
                        let told =
                            answer.previous.map(|pair| String::from_utf8(pair.value.to_vec()).unwrap());
                        assert_eq!(told, before, "{name} puts {key}");
                        assert!(may, "{name} puts {key}");
                    }
                    answer => {
                        assert_eq!(
                            failure(&answer).code,
                            Code::PermissionDenied as u32,
                            "{name} {key}: {answer:?}"
                        );
                        assert!(!may, "{name} is refused to put {key}: {answer:?}");
                    }
                }
                may
            }
            1 => {
                let request = DeleteRequest { key: key.clone().into(), ..DeleteRequest::default() };
                let may = may_write && covers(&key);
                match session.ask(Asked::Delete(request)).await {
                    Answer::Delete(answer) => {
                        let was_there = model.remove(&key).is_some();
                        assert!(may && answer.deleted == u64::from(was_there), "{name} deletes {key}");
                    }
                    answer => {
                        assert_eq!(
                            failure(&answer).code,
                            Code::PermissionDenied as u32,
                            "{name} {key}: {answer:?}"
                        );
                        assert!(!may, "{name} is refused to delete {key}: {answer:?}");
                    }
                }
                may
            }
            2 => {
                let may = may_read && covers(&key);
                match session.ask(get(&key)).await {
                    answer @ Answer::Get(_) => {
                        let known = model.get(&key).map(|value| value.as_bytes());
                        assert!(may && value_of(&answer) == known, "{name} gets {key}: {answer:?}");
                    }
                    answer => {
                        assert_eq!(
                            failure(&answer).code,
                            Code::PermissionDenied as u32,
                            "{name} {key}: {answer:?}"
                        );
                        assert!(!may, "{name} is refused to get {key}: {answer:?}");
                    }
                }
                may
            }
            _ => {
                let prefix = text(&mut dice, 3);
                let touches = covers(&prefix) || scope.iter().any(|own| own.starts_with(&prefix));
                let may = may_read && touches;
                let expected = model.keys().filter(|key| key.starts_with(&prefix) && covers(key));
                let expected = may.then(|| expected.cloned().collect::<Vec<_>>());
                let found = scanned_over(session, &prefix).await;
                assert_eq!(found.clone().ok(), expected, "{name} scans '{prefix}': {found:?}");
                may
            }
        };
        if is_allowed { allowed += 1 } else { refused += 1 }
    }
    println!("{allowed} allowed, {refused} refused");
    let mut all = Vec::new();
    let mut scan = operator.scan(ScanOptions::default()).await.unwrap();
    while let Some(pairs) = scan.next_page().await.unwrap() {
        let text = |bytes: bytes::Bytes| String::from_utf8(bytes.to_vec()).unwrap();
        all.extend(pairs.into_iter().map(|pair| (text(pair.key), text(pair.value))));
    }
    assert_eq!(all, model.into_iter().collect::<Vec<_>>(), "what was refused has changed nothing");
}

/// The file is read again while nodes run: new rights count, at a stream that is open as well, and
/// so does their end. A file that cannot be used leaves the old one in force, is said once with its
/// line, and shown in a metric.
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

    guarded.set(&[watcher.clone()]);
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

/// A token over a connection without TLS is refused, and by kvcli not even sent, unless that was
/// asked for by name.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_over_plaintext_is_asked_for_by_name() {
    let _place = beside_others();
    let mut cluster = Cluster::prepare(ClusterOptions { nodes: 1, ..ClusterOptions::default() });
    let (token, hash) = token();
    let file = cluster.path().join("auth.toml");
    let entry = format!("[[principal]]\nname = \"o\"\ntoken-sha256 = [\"{hash}\"]\nrights = [\"admin\"]\n");
    std::fs::write(&file, entry).unwrap();
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
    assert!(!node.log().contains(&token) && !node.log().contains(&hash));
}
