//! The command line of `kvnode cert`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// `kvnode cert`.
#[derive(Debug, Clone, Args)]
pub struct CertArgs {
    /// The directory of the CA, and of what it signs
    #[arg(long, global = true, value_name = "DIR", default_value = "certificates")]
    pub dir: PathBuf,
    /// What to make.
    #[command(subcommand)]
    pub kind: CertKind,
}

/// What `kvnode cert` can make.
#[derive(Debug, Clone, Subcommand)]
pub enum CertKind {
    /// A CA: ca.pem, and ca-key.pem, which signs all others
    Ca(CertCaArgs),
    /// The certificate of a node, for all of its ports: node-ID.pem and node-ID-key.pem
    Node(CertNodeArgs),
    /// The certificate of a client: client-NAME.pem and client-NAME-key.pem
    Client(CertClientArgs),
}

/// `kvnode cert ca`.
#[derive(Debug, Clone, Args)]
pub struct CertCaArgs {
    /// What it is called in messages
    #[arg(long, value_name = "NAME", default_value = "kvnode")]
    pub name: String,
    /// Valid for so many days
    #[arg(long, value_name = "N", default_value_t = 3650, value_parser = clap::value_parser!(u32).range(1..=36_500))]
    pub days: u32,
    /// Replace a CA that is there
    #[arg(long)]
    pub force: bool,
}

/// `kvnode cert node`.
#[derive(Debug, Clone, Args)]
pub struct CertNodeArgs {
    /// What the node has for --cluster-name
    #[arg(long, value_name = "NAME", default_value = "kv")]
    pub cluster_name: String,
    /// What the node has for --id
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub id: u64,
    /// A host name or IP address that clients reach it at; may be repeated
    #[arg(long, value_name = "HOST", required = true)]
    pub host: Vec<String>,
    /// Valid for so many days
    #[arg(long, value_name = "N", default_value_t = 365, value_parser = clap::value_parser!(u32).range(1..=36_500))]
    pub days: u32,
    /// Replace a certificate that is there
    #[arg(long)]
    pub force: bool,
}

/// `kvnode cert client`.
#[derive(Debug, Clone, Args)]
pub struct CertClientArgs {
    /// Who it is
    #[arg(long, value_name = "NAME")]
    pub name: String,
    /// Valid for so many days
    #[arg(long, value_name = "N", default_value_t = 365, value_parser = clap::value_parser!(u32).range(1..=36_500))]
    pub days: u32,
    /// Replace a certificate that is there
    #[arg(long)]
    pub force: bool,
}
