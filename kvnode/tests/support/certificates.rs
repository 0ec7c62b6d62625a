//! Certificates for tests, made as an operator makes them and in ways that none should.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use kvcli::{ClientOptions, ClientTls};
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, Issuer, KeyPair, SanType};
use tonic::transport::{Certificate, ClientTlsConfig, Identity};

use super::serve::clean;

/// A CA in a directory, and what it has signed: `ca.pem`, `node-1.pem`, `node-1-key.pem`, …
#[derive(Debug, Clone)]
pub struct Certificates {
    dir: PathBuf,
}

impl Certificates {
    /// A new CA, made by `kvnode cert ca`.
    pub fn new(dir: &Path) -> Self {
        let certificates = Self::there(dir);
        certificates.make("ca");
        certificates
    }

    /// Those that are in a directory.
    pub fn there(dir: &Path) -> Self {
        Self { dir: dir.to_owned() }
    }

    /// A CA and certificates of nodes 1 to `nodes` of cluster `kv`, and of the client `alice`.
    pub fn of_cluster(dir: &Path, nodes: u64) -> Self {
        let certificates = Self::new(dir);
        (1..=nodes).for_each(|id| certificates.node(id));
        certificates.make("client --name alice");
        certificates
    }

    /// `kvnode cert` with this directory and these arguments.
    pub fn make(&self, line: &str) {
        let mut command = clean(Command::new(env!("CARGO_BIN_EXE_kvnode")));
        command.arg("cert").args(line.split_whitespace()).arg("--dir").arg(&self.dir);
        let output = command.output().expect("kvnode cert runs");
        assert!(output.status.success(), "kvnode cert {line}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// The certificate of a node of cluster `kv`; one that is there is replaced.
    pub fn node(&self, id: u64) {
        self.make(&format!("node --cluster-name kv --id {id} --host localhost --host 127.0.0.1 --force"));
    }

    pub fn path(&self, name: &str) -> String {
        self.dir.join(name).to_str().expect("a name in UTF-8").to_owned()
    }

    /// Flags for TLS between nodes.
    pub fn peer_flags(&self, id: u64) -> Vec<String> {
        self.flags_for(&["peer-cert", "peer-key", "peer-ca"], id)
    }

    /// Flags for TLS on all ports, and certificates of clients.
    pub fn all_flags(&self, id: u64) -> Vec<String> {
        let names = ["client-cert", "client-key", "client-ca", "http-cert", "http-key"];
        [self.peer_flags(id), self.flags_for(&names, id)].concat()
    }

    fn flags_for(&self, names: &[&str], id: u64) -> Vec<String> {
        let file = |name: &str| match name.rsplit('-').next() {
            Some("cert") => format!("node-{id}.pem"),
            Some("key") => format!("node-{id}-key.pem"),
            _ => "ca.pem".to_owned(),
        };
        names.iter().flat_map(|name| [format!("--{name}"), self.path(&file(name))]).collect()
    }

    /// A client that proves itself as this one, or not at all.
    pub fn client_options(&self, name: Option<&str>) -> ClientOptions {
        let identity = name.map(|name| {
            let file = |end: &str| PathBuf::from(self.path(&format!("client-{name}{end}.pem")));
            (file(""), file("-key"))
        });
        let tls = ClientTls { ca: self.path("ca.pem").into(), identity };
        ClientOptions { tls: Some(tls), timeout: Duration::from_secs(15), ..ClientOptions::default() }
    }

    /// A certificate for node `id` of cluster `kv`, valid from `from` to `to` seconds from now:
    /// what `kvnode cert` does not make.
    pub fn node_in_time(&self, id: u64, from: i64, to: i64) {
        let read = |name: &str| std::fs::read_to_string(self.path(name)).expect("the CA is there");
        let ca_key = KeyPair::from_pem(&read("ca-key.pem")).expect("a key");
        let issuer = Issuer::from_ca_cert_pem(&read("ca.pem"), ca_key).expect("a CA");
        let key = KeyPair::generate().expect("a key");
        let hosts = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let mut params = CertificateParams::new(hosts).expect("names");
        let uri = format!("raft://kv/node/{id}");
        params.subject_alt_names.push(SanType::URI(uri.as_str().try_into().expect("ASCII")));
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        (params.not_before, params.not_after) = (moment(from).into(), moment(to).into());
        let certificate = params.signed_by(&key, &issuer).expect("it signs");
        // The key first: a node that looks between the two is to find a pair that does not fit.
        std::fs::write(self.path(&format!("node-{id}-key.pem")), key.serialize_pem()).expect("written");
        std::fs::write(self.path(&format!("node-{id}.pem")), certificate.pem()).expect("written");
    }
}

fn moment(seconds_from_now: i64) -> SystemTime {
    let span = Duration::from_secs(seconds_from_now.unsigned_abs());
    if seconds_from_now < 0 { SystemTime::now() - span } else { SystemTime::now() + span }
}

/// A client that proves itself as `name`, as tonic takes it.
pub fn as_client(certificates: &Certificates, name: &str) -> ClientTlsConfig {
    let read = |file: &str| std::fs::read(certificates.path(file)).expect("it is there");
    let key = read(&format!("client-{name}-key.pem"));
    ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(read("ca.pem")))
        .identity(Identity::from_pem(read(&format!("client-{name}.pem")), key))
        .domain_name("localhost")
}
