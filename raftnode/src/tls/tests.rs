//! Attacks the handshakes: which certificates the verifier accepts, and from which node.

use std::path::Path;
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair, SanType,
};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncWriteExt as _, duplex};
use tokio_rustls::TlsConnector;

use super::current::NODE_HOST;
use super::{Port, Tls, TlsError, reason};
use crate::config::{NodeConfig, TlsOptions};

type Ca = CertifiedIssuer<'static, KeyPair>;

fn ca() -> Ca {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// Writes the certificate of a node to `dir`, and its CA; the options that name them.
fn node(dir: &Path, ca: &Ca, uris: &[&str], expired: bool) -> TlsOptions {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.subject_alt_names = uris.iter().map(|uri| SanType::URI((*uri).try_into().unwrap())).collect();
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    if expired {
        params.not_after = (SystemTime::now() - Duration::from_secs(60)).into();
    }
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, ca).unwrap();
    std::fs::create_dir_all(dir).unwrap();
    let write = |name: &str, text: String| {
        let path = dir.join(name);
        std::fs::write(&path, text).unwrap();
        Some(path)
    };
    TlsOptions {
        peer_cert: write("cert.pem", certificate.pem()),
        peer_key: write("key.pem", key.serialize_pem()),
        peer_ca: write("ca.pem", ca.pem()),
        ..TlsOptions::default()
    }
}

fn load(id: u64, cluster: &str, options: TlsOptions) -> Result<Tls, TlsError> {
    let address: crate::Address = "localhost:1".parse().unwrap();
    let config = NodeConfig::new(id, "d".into(), address.clone(), address.clone(), address);
    Tls::load(&NodeConfig { cluster_name: cluster.to_owned(), tls: options, ..config })
}

/// A handshake on the port for peers of `to`; what each side says of it, and whom the accepting
/// side has found.
async fn meet(
    from: &Tls,
    to: &Tls,
    wanted: Option<u64>,
) -> (Result<(), String>, Result<Option<u64>, String>) {
    let (near, far) = duplex(64 * 1024);
    let config = from.current().node.clone().unwrap().to(wanted).unwrap();
    let dialling = async {
        let connected =
            TlsConnector::from(config).connect(ServerName::try_from(NODE_HOST).unwrap(), near).await;
        let mut stream = connected.map_err(|e| reason(&e))?;
        // In TLS 1.3 the accepting side's verdict comes after the handshake.
        drop(stream.write_all(b"x").await);
        let mut byte = [0];
        let read = tokio::io::AsyncReadExt::read(&mut stream, &mut byte).await;
        read.map(drop).map_err(|e| reason(&e))
    };
    let accepting = async {
        let (mut stream, proven) = to.port(Port::Peer).unwrap().accept(far).await?;
        drop(stream.shutdown().await);
        Ok(proven.node)
    };
    tokio::join!(dialling, accepting)
}

#[tokio::test]
async fn nodes_of_one_cluster_know_each_other_by_name() {
    let (dir, ca) = (tempfile::tempdir().unwrap(), ca());
    let one = load(1, "kv", node(&dir.path().join("1"), &ca, &["raft://kv/node/1"], false)).unwrap();
    let two = load(2, "kv", node(&dir.path().join("2"), &ca, &["raft://kv/node/2"], false)).unwrap();
    assert_eq!(meet(&one, &two, Some(2)).await, (Ok(()), Ok(Some(1))));
    assert_eq!(meet(&one, &two, None).await, (Ok(()), Ok(Some(1))));
    let (said, heard) = meet(&one, &two, Some(3)).await;
    assert!(said.unwrap_err().contains("is of node 2, and node 3 was dialled"));
    assert!(heard.unwrap_err().contains("refuses this one"));
}

#[tokio::test]
async fn strangers_are_told_what_is_wrong_and_so_is_this_side() {
    let (dir, ours) = (tempfile::tempdir().unwrap(), ca());
    let one = load(1, "kv", node(&dir.path().join("1"), &ours, &["raft://kv/node/1"], false)).unwrap();
    // Of another cluster of the same CA.
    let other =
        load(2, "other", node(&dir.path().join("2"), &ours, &["raft://other/node/2"], false)).unwrap();
    let (said, heard) = meet(&other, &one, None).await;
    assert!(said.unwrap_err().contains("raft://kv/node/1, and this is cluster 'other'"));
    heard.unwrap_err();
    let (said, heard) = meet(&one, &other, None).await;
    assert!(said.unwrap_err().contains("raft://other/node/2, and this is cluster 'kv'"));
    heard.unwrap_err();
    // Of another CA.
    let forged = load(2, "kv", node(&dir.path().join("3"), &ca(), &["raft://kv/node/2"], false)).unwrap();
    let (said, heard) = meet(&one, &forged, Some(2)).await;
    assert!(said.unwrap_err().contains("not signed by a CA that this side trusts"));
    assert!(heard.unwrap_err().contains("does not trust the CA"));
    // Expired, which does not keep a node from starting.
    let late = load(2, "kv", node(&dir.path().join("4"), &ours, &["raft://kv/node/2"], true)).unwrap();
    assert!(late.expiry_seconds()[0].1 < 0);
    let (said, heard) = meet(&one, &late, Some(2)).await;
    assert!(said.unwrap_err().contains("has expired; renew it there"));
    assert!(heard.unwrap_err().contains("has expired; renew it here"));
    let (said, heard) = meet(&late, &one, Some(1)).await;
    assert!(said.unwrap_err().contains("has expired; renew it here"));
    assert!(heard.unwrap_err().contains("has expired; renew it there"));
}

#[test]
fn a_certificate_is_of_this_node_alone() {
    let (dir, ca) = (tempfile::tempdir().unwrap(), ca());
    for uris in
        [&[][..], &["raft://kv/node/2"], &["raft://kv/node/1", "raft://kv/node/2"], &["raft://other/node/1"]]
    {
        let error = load(1, "kv", node(dir.path(), &ca, uris, false)).unwrap_err();
        assert!(matches!(error, TlsError::NotThisNode { .. }), "{uris:?}: {error}");
    }
    let good = node(dir.path(), &ca, &["raft://kv/node/1"], false);
    load(1, "kv", good.clone()).unwrap();
    std::fs::write(good.peer_ca.as_ref().unwrap(), self::ca().pem()).unwrap();
    assert!(matches!(load(1, "kv", good.clone()).unwrap_err(), TlsError::Untrusted { .. }));
    std::fs::write(good.peer_key.as_ref().unwrap(), KeyPair::generate().unwrap().serialize_pem()).unwrap();
    assert!(matches!(load(1, "kv", good).unwrap_err(), TlsError::KeyOfAnother { .. }));
}

/// Half a handshake ends at its deadline.
#[tokio::test]
async fn a_handshake_has_a_deadline() {
    let (dir, ca) = (tempfile::tempdir().unwrap(), ca());
    let one = load(1, "kv", node(dir.path(), &ca, &["raft://kv/node/1"], false)).unwrap();
    let (mut near, far) = duplex(1024);
    near.write_all(&[0x16, 3, 1, 2, 0, 1]).await.unwrap();
    let error = one.port(Port::Peer).unwrap().accept(far).await.err().unwrap();
    assert!(error.contains("no handshake within 5s"), "{error}");
}
