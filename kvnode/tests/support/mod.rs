//! What the cluster tests share: real `kvnode` processes on real sockets, and ways to ask them,
//! load them, kill them and compare them. Every test file includes this module and uses a part of
//! it.
//!
//! From below: `wait` and `dice` know nothing of nodes; `process` owns one child; `serve` is a
//! node's command line; `small_disk`, `damage`, `interposer`, `front` and `document` are what is
//! done to nodes; `certificates` makes those of a cluster with TLS, and
//! `guarded` a cluster that asks for rights;
//! `node` and `cluster` are what tests hold; `rpc`, `http` and `kvcli_binary` talk
//! to them, and `session` does over one stream; `load` writes and remembers what was promised;
//! `state` compares what is stored, and `refusal` looks at a node that must answer nothing;
//! `browser` is a real one, and `status_page` what it shows.
#![allow(unused_imports, reason = "each test uses a part")]
mod belonging;
pub mod browser;
pub mod busy;
mod certificates;
mod cluster;
mod damage;
mod dice;
pub mod document;
mod exclusive;
mod front;
pub mod guarded;
mod http;
mod interposer;
mod kvcli_binary;
mod ledger;
mod load;
mod node;
mod ports;
mod process;
mod refusal;
mod rpc;
mod serve;
pub mod session;
mod small_disk;
mod state;
pub mod status_page;
mod tally;
pub mod wait;

pub use belonging::{adopted, cluster_in, cluster_of, is_one_cluster};
pub use certificates::{Certificates, as_client};
pub use cluster::{Cluster, ClusterOptions};
pub use damage::{Damage, Harm, OlderCopies, copy_dir, files, used_bytes};
pub use dice::Dice;
pub use exclusive::{Places, alone, beside_others};
pub use front::Front;
pub use http::{Series, get as http_get, get_with as http_get_with};
pub use interposer::Interposer;
pub use kvcli_binary::{Kvcli, assert_refused};
pub use ledger::Ledger;
pub use load::{Load, LoadOptions};
pub use node::Node;
pub use ports::{Ports, free_ports};
pub use process::{Ended, Process, is_running, run_to_end, signal};
pub use refusal::refuses_everything;
pub use rpc::{admin_client, channel, kv_client, kv_over};
pub use serve::{Serve, peer_list};
pub use small_disk::SmallDisk;
pub use state::State;
pub use tally::Pause;
