//! `kvnode cert`: a certification authority for one cluster, and the certificates of its nodes and
//! clients.
//!
//! Nothing here is used by a node. Any other authority will do as well, as long as the certificates
//! of nodes have their names (docs/operations/tls.md).

mod args;
mod authority;
mod files;
mod subject;

use std::path::Path;

use anyhow::Context as _;

pub(crate) use args::{CertArgs, CertKind};
use authority::Authority;
use files::Pair;
use subject::Subject;

/// Makes what is asked for, and says where it is.
///
/// # Errors
/// A name that cannot stand in a certificate, a file that is there already, or one that cannot be
/// read or written.
pub(crate) fn run(args: &CertArgs) -> anyhow::Result<()> {
    let ca = Pair::new(&args.dir, "ca");
    let made = match &args.kind {
        CertKind::Ca(kind) => {
            std::fs::create_dir_all(&args.dir)
                .with_context(|| format!("cannot create {}", args.dir.display()))?;
            let authority = Authority::create(&kind.name, kind.days)?;
            ca.write(&authority.certificate, &authority.key, kind.force)?;
            vec![ca]
        }
        CertKind::Node(kind) => {
            let subject = Subject::node(&kind.cluster_name, kind.id, &kind.host)?;
            issue(&args.dir, &format!("node-{}", kind.id), &subject, kind.days, kind.force)?
        }
        CertKind::Client(kind) => {
            let subject = Subject::client(&kind.name)?;
            issue(&args.dir, &format!("client-{}", kind.name), &subject, kind.days, kind.force)?
        }
    };
    for pair in made {
        println!("certificate  {}", pair.certificate.display());
        println!("key          {}  (keep it secret)", pair.key.display());
    }
    Ok(())
}

/// Signs with the CA in `dir`.
fn issue(dir: &Path, name: &str, subject: &Subject, days: u32, force: bool) -> anyhow::Result<Vec<Pair>> {
    let (certificate, key) = Pair::new(dir, "ca").read().with_context(|| {
        format!("there is no CA in {}; make one with `kvnode cert ca --dir {}`", dir.display(), dir.display())
    })?;
    let (certificate, key) = authority::issue(&certificate, &key, subject, days)?;
    let pair = Pair::new(dir, name);
    pair.write(&certificate, &key, force)?;
    Ok(vec![pair])
}

/// A CA and the certificates of nodes 1 to `nodes` of a cluster on this machine, and of one client,
/// where there are none yet.
///
/// # Errors
/// A file cannot be read or written.
pub(crate) fn local_cluster(dir: &Path, cluster_name: &str, nodes: usize) -> anyhow::Result<()> {
    const DAYS: u32 = 365;
    let is_missing = |name: &str| !Pair::new(dir, name).certificate.exists();
    std::fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
    if is_missing("ca") {
        let authority = Authority::create(cluster_name, DAYS)?;
        Pair::new(dir, "ca").write(&authority.certificate, &authority.key, false)?;
    }
    let hosts = ["localhost".to_owned(), "127.0.0.1".to_owned()];
    for id in (1..=nodes as u64).filter(|id| is_missing(&format!("node-{id}"))) {
        issue(dir, &format!("node-{id}"), &Subject::node(cluster_name, id, &hosts)?, DAYS, false)?;
    }
    if is_missing("client-you") {
        issue(dir, "client-you", &Subject::client("you")?, DAYS, false)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use clap::Parser as _;

    use super::*;
    use crate::config::{Cli, Command};

    fn cert(dir: &Path, line: &str) -> Result<(), String> {
        let line = format!("kvnode cert --dir {} {line}", dir.display());
        let cli = Cli::try_parse_from(line.split_whitespace()).map_err(|e| e.to_string())?;
        let Some(Command::Cert(args)) = cli.command else { panic!("{line}") };
        run(&args).map_err(|e| format!("{e:#}"))
    }

    #[test]
    fn keys_are_secret_and_nothing_is_overwritten_unless_asked() {
        let dir = tempfile::tempdir().unwrap();
        let error = cert(dir.path(), "node --cluster-name kv --id 1 --host localhost").unwrap_err();
        assert!(error.contains("kvnode cert ca"), "{error}");
        cert(dir.path(), "ca").unwrap();
        cert(dir.path(), "node --cluster-name kv --id 1 --host localhost --host 10.0.0.1").unwrap();
        cert(dir.path(), "client --name alice").unwrap();
        for (name, mode) in [
            ("ca-key.pem", 0o600),
            ("node-1-key.pem", 0o600),
            ("client-alice-key.pem", 0o600),
            ("node-1.pem", 0o644),
        ] {
            let found = std::fs::metadata(dir.path().join(name)).unwrap().permissions().mode();
            assert_eq!(found & 0o777, mode, "{name}");
        }
        let before = std::fs::read(dir.path().join("ca-key.pem")).unwrap();
        let error = cert(dir.path(), "ca").unwrap_err();
        assert!(error.contains("ca-key.pem") && error.contains("--force"), "{error}");
        assert_eq!(std::fs::read(dir.path().join("ca-key.pem")).unwrap(), before);
        cert(dir.path(), "ca --force").unwrap();
        assert_ne!(std::fs::read(dir.path().join("ca-key.pem")).unwrap(), before);
    }

    #[test]
    fn names_that_cannot_stand_in_a_certificate_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        cert(dir.path(), "ca").unwrap();
        for (line, part) in [
            ("node --cluster-name a/b --id 1 --host localhost", "--cluster-name"),
            ("node --cluster-name kv --id 0 --host localhost", "id"),
            ("client --name ../x", "--name"),
            ("client --name a --days 0", "days"),
        ] {
            let error = cert(dir.path(), line).unwrap_err();
            assert!(error.contains(part), "{line}: {error}");
        }
    }
}
