//! Turns merged settings into a [`Config`], collecting every complaint on the way.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use raftnode::config::Listener;
use raftnode::trace::OtlpEndpoint;
use raftnode::{
    Address, AuthOptions, JoinOptions, MemoryLimits, NodeConfig, NodeId, Peers, SNAPSHOT_ENTRIES, TlsOptions,
};

use super::Config;
use super::settings::{Setting, Settings};
use raftnode::logging::{LogFilter, LogFormat, LogOptions};

/// Used when no cluster name is given.
const DEFAULT_CLUSTER_NAME: &str = "kv";
/// Longest cluster name.
const MAX_CLUSTER_NAME_BYTES: usize = 64;
/// Fewest entries between snapshots: below this a node does little else.
const MIN_SNAPSHOT_ENTRIES: u64 = 100;

/// Everything that is wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct ConfigErrors(Vec<String>);

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for error in &self.0 {
            writeln!(f, "error: {error}")?;
        }
        write!(f, "\nFor every option, try 'kvnode --help'.")
    }
}

pub(crate) fn config(settings: &Settings, errors: Vec<String>) -> Result<Config, ConfigErrors> {
    let mut check = Check { settings, errors };
    match (check.config(), check.errors) {
        (Some(config), errors) if errors.is_empty() => Ok(config),
        (_, errors) => Err(ConfigErrors(errors)),
    }
}

pub(crate) fn data_dir(settings: &Settings, errors: Vec<String>) -> Result<PathBuf, ConfigErrors> {
    let mut check = Check { settings, errors };
    match (check.required("data-dir"), check.errors) {
        (Some(dir), errors) if errors.is_empty() => Ok(dir.text.into()),
        (_, errors) => Err(ConfigErrors(errors)),
    }
}

struct Check<'a> {
    settings: &'a Settings,
    errors: Vec<String>,
}

impl Check<'_> {
    /// Evaluates every setting before giving up on any, so that all complaints are collected.
    fn config(&mut self) -> Option<Config> {
        let id = self.id();
        let data_dir = self.required("data-dir").map(|dir| dir.text.into());
        let client = self.listener("client-addr", "advertise-client-addr");
        let raft = self.listener("raft-addr", "advertise-raft-addr");
        let http = self.listener("http-addr", "advertise-http-addr");
        let peers = self.peers();
        let join = self.join();
        let cluster_name = self.cluster_name();
        let snapshot_entries = self.snapshot_entries();
        let memory = self.memory();
        let log = self.log();
        let otlp_endpoint = self.otlp_endpoint();
        let tls = self.tls(cluster_name.as_deref().unwrap_or(DEFAULT_CLUSTER_NAME));
        let auth = self.auth(tls.as_ref());
        let node = NodeConfig {
            id: id?,
            cluster_name: cluster_name?,
            data_dir: data_dir?,
            client: client?,
            raft: raft?,
            http: http?,
            peers: peers?,
            join: join?,
            snapshot_entries: snapshot_entries?,
            memory: memory?,
            tls: tls?,
            auth: auth?,
            accept_moved_data: self.settings.accept_moved_data,
        };
        let problems = node.join.problems(&node.own_member(), node.peers.as_ref());
        self.errors.extend(problems.iter().map(ToString::to_string));
        Some(Config {
            node,
            log: log?,
            otlp_endpoint: otlp_endpoint?,
            exit_on_stdin_eof: self.settings.exit_on_stdin_eof,
        })
    }

    /// The outer option: whether the setting is good.
    #[allow(clippy::option_option, reason = "not given, and given wrongly, are different things")]
    fn peers(&mut self) -> Option<Option<Peers>> {
        match self.settings.get("peers").cloned() {
            Some(setting) => self.parse(&setting).map(Some),
            None => Some(None),
        }
    }

    fn join(&mut self) -> Option<JoinOptions> {
        let voter = self.switch("voter");
        let mut members = Vec::new();
        if let Some(setting) = self.settings.get("join").cloned() {
            let Setting { text, origin } = setting;
            for text in text.split(',') {
                let one = Setting { text: text.trim().to_owned(), origin: origin.clone() };
                members.push(self.parse::<Address>(&one)?);
            }
        }
        Some(JoinOptions { members, voter: voter? })
    }

    fn required(&mut self, name: &'static str) -> Option<Setting> {
        match self.settings.get(name) {
            Some(setting) if !setting.text.is_empty() => Some(setting.clone()),
            Some(setting) => self.complain(format!("{}: must not be empty", setting.origin)),
            None => self.complain(format!("--{name} is required")),
        }
    }

    fn parse<T: FromStr<Err: fmt::Display>>(&mut self, setting: &Setting) -> Option<T> {
        match setting.text.parse() {
            Ok(value) => Some(value),
            Err(e) => self.complain(format!("{}: {e}", setting.origin)),
        }
    }

    fn complain<T>(&mut self, error: String) -> Option<T> {
        self.errors.push(error);
        None
    }

    fn id(&mut self) -> Option<NodeId> {
        let setting = self.required("id")?;
        match setting.text.parse() {
            Ok(0) | Err(_) => self.complain(format!(
                "{}: '{}' is not a node id: a number from 1 up",
                setting.origin, setting.text
            )),
            Ok(id) => Some(id),
        }
    }

    fn cluster_name(&mut self) -> Option<String> {
        let Some(setting) = self.settings.get("cluster-name") else {
            return Some(DEFAULT_CLUSTER_NAME.to_owned());
        };
        if (1..=MAX_CLUSTER_NAME_BYTES).contains(&setting.text.len()) {
            return Some(setting.text.clone());
        }
        let length = setting.text.len();
        self.complain(format!("{}: {length} bytes; must be 1 to {MAX_CLUSTER_NAME_BYTES}", setting.origin))
    }

    fn snapshot_entries(&mut self) -> Option<u64> {
        let Some(setting) = self.settings.get("snapshot-entries") else { return Some(SNAPSHOT_ENTRIES) };
        match setting.text.parse() {
            Ok(entries) if entries >= MIN_SNAPSHOT_ENTRIES => Some(entries),
            _ => self.complain(format!(
                "{}: '{}' is not a number from {MIN_SNAPSHOT_ENTRIES} up",
                setting.origin, setting.text
            )),
        }
    }

    fn memory(&mut self) -> Option<MemoryLimits> {
        let default = MemoryLimits::default();
        let log_tail_mib = self.mib("log-tail-mib", default.log_tail_mib);
        let memtable_mib = self.mib("memtable-mib", default.memtable_mib);
        let table_cache_mib = self.mib("table-cache-mib", default.table_cache_mib);
        Some(MemoryLimits {
            log_tail_mib: log_tail_mib?,
            memtable_mib: memtable_mib?,
            table_cache_mib: table_cache_mib?,
        })
    }

    fn mib(&mut self, name: &'static str, default: usize) -> Option<usize> {
        let Some(setting) = self.settings.get(name) else { return Some(default) };
        match setting.text.parse() {
            Ok(mib) if (1..=MemoryLimits::MAX_MIB).contains(&mib) => Some(mib),
            _ => self.complain(format!(
                "{}: '{}' is not a number of MiB from 1 to {}",
                setting.origin,
                setting.text,
                MemoryLimits::MAX_MIB
            )),
        }
    }

    fn log(&mut self) -> Option<LogOptions> {
        let format = match self.settings.get("log-format").cloned() {
            Some(setting) => self.parse::<LogFormat>(&setting),
            None => Some(LogFormat::Text),
        };
        let filter = match self.settings.get("log").cloned() {
            Some(setting) => Some(self.parse::<LogFilter>(&setting)?),
            None => None,
        };
        Some(LogOptions { format: format?, filter })
    }

    /// Given or not.
    fn switch(&mut self, name: &str) -> Option<bool> {
        match self.settings.get(name).cloned() {
            Some(setting) => self.parse(&setting),
            None => Some(false),
        }
    }

    /// `tls`: none if that is wrong by itself.
    fn auth(&mut self, tls: Option<&TlsOptions>) -> Option<AuthOptions> {
        let auth_over_plaintext = self.switch("auth-over-plaintext")?;
        let auth_file = self.settings.get("auth-file").map(|setting| PathBuf::from(&setting.text));
        let options = AuthOptions { auth_file, auth_over_plaintext };
        let problems = tls.map(|tls| options.problems(tls)).unwrap_or_default();
        let is_good = problems.is_empty();
        self.errors.extend(problems.iter().map(ToString::to_string));
        is_good.then_some(options)
    }

    fn tls(&mut self, cluster_name: &str) -> Option<TlsOptions> {
        let allow_plaintext = self.switch("allow-plaintext");
        let file = |name| self.settings.get(name).map(|setting| PathBuf::from(&setting.text));
        let options = TlsOptions {
            client_cert: file("client-cert"),
            client_key: file("client-key"),
            client_ca: file("client-ca"),
            peer_cert: file("peer-cert"),
            peer_key: file("peer-key"),
            peer_ca: file("peer-ca"),
            http_cert: file("http-cert"),
            http_key: file("http-key"),
            allow_plaintext: allow_plaintext?,
        };
        let problems = options.problems(cluster_name);
        let is_good = problems.is_empty();
        self.errors.extend(problems.iter().map(ToString::to_string));
        is_good.then_some(options)
    }

    /// The outer option: whether the setting is good.
    #[allow(clippy::option_option, reason = "not given, and given wrongly, are different things")]
    fn otlp_endpoint(&mut self) -> Option<Option<OtlpEndpoint>> {
        match self.settings.get("otlp-endpoint").cloned() {
            Some(setting) => self.parse(&setting).map(Some),
            None => Some(None),
        }
    }

    fn listener(&mut self, bind: &'static str, advertise: &'static str) -> Option<Listener> {
        let bound = self.required(bind).and_then(|setting| self.parse::<Address>(&setting));
        let advertised = match self.settings.get(advertise).cloned() {
            Some(setting) => Some(self.parse::<Address>(&setting)?),
            None => None,
        };
        let bound = bound?;
        let address = advertised.unwrap_or_else(|| bound.clone());
        if address.is_undialable() {
            return self.complain(format!(
                "--{bind} {bound}: nobody can dial {address}; say with --{advertise} where it is reached"
            ));
        }
        Some(Listener { bind: bound, advertise: address })
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Cli, Config};
    use clap::Parser as _;

    const GOOD: &str =
        "kvnode --id 1 --data-dir d --client-addr a:1 --raft-addr a:2 --http-addr a:3 --peers 1=a:2/a:1";

    fn load(line: &str, env: &[(&str, &str)]) -> Result<Config, String> {
        let cli = Cli::try_parse_from(line.split_whitespace()).unwrap();
        let lookup = |name: &str| env.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned());
        Config::load(&cli.serve, &lookup).map_err(|e| e.to_string())
    }

    #[test]
    fn defaults() {
        let config = load(GOOD, &[]).unwrap();
        assert_eq!(
            (config.node.id, config.node.cluster_name.as_str(), config.node.snapshot_entries),
            (1, "kv", 50_000)
        );
        assert_eq!(config.node.client.advertise, config.node.client.bind);
    }

    #[test]
    fn every_error_is_reported_at_once() {
        let error = load(
            "kvnode --id x --client-addr nope --snapshot-entries 5 --log-format xml --otlp-endpoint c:1 \
             --memtable-mib 0 --table-cache-mib 1048577 --log inof",
            &[],
        )
        .unwrap_err();
        for part in [
            "--id: 'x'",
            "--data-dir is required",
            "--client-addr: 'nope'",
            "--raft-addr is required",
            "--http-addr is required",
            "--snapshot-entries: '5'",
            "--memtable-mib: '0'",
            "--table-cache-mib: '1048577'",
            "--log-format: 'xml'",
            "--otlp-endpoint: 'c:1'",
            "--log: 'inof'",
        ] {
            assert!(error.contains(part), "no '{part}' in:\n{error}");
        }
    }

    #[test]
    fn a_flag_wins_over_a_variable_and_a_variable_over_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("kvnode.toml");
        std::fs::write(&file, "cluster-name = 'file'\nsnapshot-entries = 1000\nid = 7").unwrap();
        let line = format!("{GOOD} --config {}", file.display());
        let env = [("KVNODE_CLUSTER_NAME", "env"), ("KVNODE_ID", "8")];
        let config = load(&line, &env).unwrap();
        assert_eq!(
            (config.node.id, config.node.cluster_name.as_str(), config.node.snapshot_entries),
            (1, "env", 1000)
        );
    }

    /// Found: an empty variable, as a compose file passes one that is not set, was a wrong setting;
    /// and a `RUST_LOG` that cannot be understood was the default without a word.
    #[test]
    fn empty_variables_are_not_set_and_rust_log_is_a_setting() {
        let env =
            [("KVNODE_CLUSTER_NAME", ""), ("KVNODE_PEERS", ""), ("KVNODE_CONFIG", ""), ("RUST_LOG", "")];
        let config = load(GOOD, &env).unwrap();
        assert_eq!((config.node.cluster_name.as_str(), config.log.filter), ("kv", None));
        let filter =
            |line: &str, env: &[(&str, &str)]| load(line, env).unwrap().log.filter.unwrap().to_string();
        assert_eq!(filter(GOOD, &[("RUST_LOG", "debug")]), "debug");
        assert_eq!(filter(GOOD, &[("RUST_LOG", "debug"), ("KVNODE_LOG", "warn")]), "warn");
        assert_eq!(filter(&format!("{GOOD} --log error"), &[("RUST_LOG", "inof")]), "error");
        let error = load(GOOD, &[("RUST_LOG", "inof")]).unwrap_err();
        assert!(error.contains("RUST_LOG: 'inof'"), "{error}");
        assert!(load(&GOOD.replace("--peers 1=a:2/a:1", "--peers="), &[]).is_err(), "an empty flag is given");
    }

    #[test]
    fn errors_name_their_source() {
        let error = load(GOOD, &[("KVNODE_SNAPSHOT_ENTRIES", "many")]).unwrap_err();
        assert!(error.contains("KVNODE_SNAPSHOT_ENTRIES: 'many'"), "{error}");
    }

    #[test]
    fn unknown_and_malformed_lines_in_the_file_are_errors() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("kvnode.toml");
        for (text, part) in
            [("colour = 'red'", "'colour' is no setting"), ("id = [1]", "id: expected"), ("=", "TOML")]
        {
            std::fs::write(&file, text).unwrap();
            let error = load(&format!("{GOOD} --config {}", file.display()), &[]).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
        let error = load(&format!("{GOOD} --config {}/none", dir.path().display()), &[]).unwrap_err();
        assert!(error.contains("cannot read"), "{error}");
    }

    #[test]
    fn a_founder_agrees_with_its_peer_list() {
        let complaint = |line: &str| load(line, &[]).unwrap().node.check_own_entry().unwrap_err().to_string();
        let error = complaint(&GOOD.replace("1=a:2/a:1", "2=a:2/a:1"));
        assert!(error.contains("does not list node 1") && error.contains("1=a:2/a:1"), "{error}");
        let error = complaint(&GOOD.replace("1=a:2/a:1", "1=b:2/a:1"));
        assert!(error.contains("b:2/a:1") && error.contains("a:2/a:1"), "{error}");
        load(GOOD, &[]).unwrap().node.check_own_entry().unwrap();
        let added = load(&GOOD.replace(" --peers 1=a:2/a:1", ""), &[]).unwrap();
        assert_eq!(added.node.peers, None);
        added.node.check_own_entry().unwrap();
    }

    #[test]
    fn an_undialable_listener_needs_an_advertised_address() {
        let line = GOOD.replace("--client-addr a:1", "--client-addr 0.0.0.0:1");
        assert!(load(&line, &[]).unwrap_err().contains("--advertise-client-addr"));
        let config = load(&format!("{line} --advertise-client-addr a:1"), &[]).unwrap();
        assert_eq!(config.node.own_member().client_addr, "a:1");
    }
}
