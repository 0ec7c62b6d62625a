//! Clusters that ask for rights.

use std::path::PathBuf;

use kvcli::Client;
use proto::kv::v1::ScanRequest;
use proto::kv::v1::operation::Request as Asked;
use proto::kv::v1::operation_response::Response as Answer;
use tonic::Code;
use tonic::transport::Channel;

use super::session::{Session, operation};
use super::{Certificates, Cluster, ClusterOptions, Node, as_client, channel};

/// A cluster in which clients prove themselves by certificates or tokens. The operator may do
/// everything, and is who the cluster's own requests are of.
pub struct Guarded {
    pub cluster: Cluster,
    pub certificates: Certificates,
    pub file: PathBuf,
}

const OPERATOR: &str = "[[principal]]\nname = \"operator\"\ncertificate = \"operator\"\n\
                        rights = [\"read\", \"write\", \"admin\"]\nscope = [\"\"]\n";

/// An entry of the file for the holder of a certificate.
pub fn entry(name: &str, rights: &str, scope: &str) -> String {
    format!(
        "[[principal]]\nname = \"{name}\"\ncertificate = \"{name}\"\nrights = [{rights}]\nscope = [{scope}]\n"
    )
}

impl Guarded {
    /// Nothing runs yet; these clients have certificates, and the file has these entries.
    pub fn prepare(nodes: usize, clients: &[&str], entries: &[String]) -> Self {
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

    pub async fn start(nodes: usize, clients: &[&str], entries: &[String]) -> Self {
        let mut guarded = Self::prepare(nodes, clients, entries);
        guarded.cluster.start_all();
        guarded.cluster.all_up().await;
        guarded.cluster.client().init().await.unwrap();
        guarded.cluster.leader().await;
        guarded
    }

    /// Replaces the file at once, as an operator should.
    pub fn set(&self, entries: &[String]) {
        let new = self.file.with_extension("new");
        std::fs::write(&new, format!("{OPERATOR}{}", entries.concat())).unwrap();
        std::fs::rename(&new, &self.file).unwrap();
    }

    pub fn channel(&self, node: &Node, name: &str) -> Channel {
        channel(&node.client_addr(), Some(&as_client(&self.certificates, name)))
    }

    pub fn client(&self, node: &Node, name: &str) -> Client {
        Client::connect([node.client_addr()], self.certificates.client_options(Some(name))).unwrap()
    }

    pub async fn follower(&self) -> &Node {
        self.cluster.node(self.cluster.followers().await[0])
    }
}

/// A token that `kvnode token` has made, and its hash.
pub fn token() -> (String, String) {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_kvnode")).arg("token").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let word = |line: usize| text.lines().nth(line).unwrap().split_whitespace().nth(1).unwrap().to_owned();
    (word(0), word(1))
}

/// All keys of a scan over a session.
pub async fn scanned_over(session: &mut Session, prefix: &str) -> Result<Vec<String>, Code> {
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
