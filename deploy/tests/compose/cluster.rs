//! The containers of `deploy/compose.yaml`, under names, ports and images of their own, and what is
//! done to them.

use std::io::Write as _;
use std::net::TcpListener;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::support::{Ended, Prometheus, get, is, output, programs, repository, run, until};

const READY_TIMEOUT: Duration = Duration::from_secs(60);
pub const SERVICES: [&str; 5] = ["kvnode1", "kvnode2", "kvnode3", "init", "prometheus"];
const ALL: &str = "kvnode1:7001,kvnode2:7001,kvnode3:7001";
pub const ITSELF: &str = "127.0.0.1:7001";

/// A Docker daemon cannot be run everywhere: set to `docker`, its tests are skipped.
const MAY_LACK_VARIABLE: &str = "KV_TESTS_MAY_LACK";

/// Whether `test` is to be skipped, after saying so.
pub fn lacks_docker(test: &str) -> bool {
    let lacks = std::env::var(MAY_LACK_VARIABLE).as_deref() == Ok("docker");
    if lacks {
        // Past the test harness, which does not show a passed test's output.
        let line = format!("\nSKIPPED: {test}, as {MAY_LACK_VARIABLE} says that there is no Docker\n");
        drop(std::io::stderr().write_all(line.as_bytes()));
    }
    lacks
}

fn has_plugin() -> bool {
    let version = Command::new("docker").args(["compose", "version"]).output();
    version.is_ok_and(|output| output.status.success())
}

pub fn compose_command() -> Command {
    let mut command = if has_plugin() { Command::new("docker") } else { Command::new("docker-compose") };
    if has_plugin() {
        command.arg("compose");
    }
    command.arg("-f").arg(repository("deploy/compose.yaml"));
    command
}

pub fn key(n: u32) -> String {
    format!("key-{n}")
}

/// Its containers, volumes, network and images go when it is dropped.
pub struct Cluster {
    /// Of this run, so that no other run's containers are touched.
    project: String,
    /// Of this machine, and free. Status pages advertise them, so they must be known before.
    http_ports: [u16; 3],
}

impl Cluster {
    pub fn new() -> Self {
        // All are held at once, so that none is found twice.
        let held = [(); 3].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let http_ports = held.map(|listener| listener.local_addr().unwrap().port());
        Self { project: format!("kvtest{}", std::process::id()), http_ports }
    }

    pub fn build() -> Self {
        let cluster = Self::new();
        output(&mut cluster.build_image());
        cluster.build_prometheus();
        cluster
    }

    pub fn build_image(&self) -> Command {
        let mut build = Command::new(repository("deploy/build-image"));
        build.arg(programs()).env("KVNODE_IMAGE", self.image("kvnode"));
        build
    }

    /// A line of the document, by this cluster's name and with the programs that cargo has built.
    pub fn documented(&self, line: &str) -> Ended {
        if line == "deploy/build-image" {
            return run(&mut self.build_image());
        }
        let arguments =
            line.strip_prefix("docker compose -f deploy/compose.yaml ").unwrap_or_else(|| panic!("{line}"));
        // A test has no terminal.
        let arguments = arguments.replacen("exec ", "exec -T ", 1);
        run(self.command().args(arguments.split_whitespace()))
    }

    /// Something that runs on, as Grafana would: another Prometheus.
    pub fn build_grafana_stub(&self) {
        let context = tempfile::tempdir().unwrap();
        std::fs::write(context.path().join("stub.yml"), "global: {}\n").unwrap();
        let arguments =
            r#""--config.file=/stub.yml", "--storage.tsdb.path=/prometheus", "--web.listen-address=:3000""#;
        let lines = format!(
            "FROM {}\nCOPY stub.yml /stub.yml\nENTRYPOINT [\"/bin/prometheus\", {arguments}]\n",
            self.image("prometheus")
        );
        std::fs::write(context.path().join("Dockerfile"), lines).unwrap();
        let mut build = Command::new("docker");
        output(build.args(["build", "--quiet", "--tag", &self.image("grafana")]).arg(context.path()));
    }

    pub fn volumes(&self) -> usize {
        let named = format!("label=com.docker.compose.project={}", self.project);
        output(Command::new("docker").args(["volume", "ls", "--quiet", "--filter", &named])).lines().count()
    }

    pub fn build_prometheus(&self) {
        let root = tempfile::tempdir().unwrap();
        let program = output(Command::new("sh").args(["-c", "command -v prometheus"]));
        output(Command::new(repository("deploy/pack-program")).arg(program).arg(root.path()));
        std::fs::create_dir(root.path().join("prometheus")).unwrap();
        let dockerfile = tempfile::NamedTempFile::new().unwrap();
        let lines = "FROM scratch\nCOPY --chown=65534:65534 . /\nUSER 65534:65534\nENTRYPOINT [\"/bin/prometheus\"]\n";
        std::fs::write(dockerfile.path(), lines).unwrap();
        let mut build = Command::new("docker");
        build.args(["build", "--quiet", "--tag", &self.image("prometheus"), "--file"]);
        output(build.arg(dockerfile.path()).arg(root.path()));
    }

    pub fn image(&self, name: &str) -> String {
        format!("{}-{name}:latest", self.project)
    }

    /// All of its layers, unpacked.
    pub fn image_bytes(&self, name: &str) -> u64 {
        let mut inspect = Command::new("docker");
        inspect.args(["image", "inspect", "--format", "{{.Size}}", &self.image(name)]);
        output(&mut inspect).parse().unwrap()
    }

    /// Any free ports of this machine, and the images made here.
    pub fn command(&self) -> Command {
        let mut command = compose_command();
        command.args(["--project-name", &self.project]);
        command.env("KVNODE_IMAGE", self.image("kvnode")).env("PROMETHEUS_IMAGE", self.image("prometheus"));
        for port in ["KV_CLIENT_PORT_1", "KV_CLIENT_PORT_2", "KV_CLIENT_PORT_3"] {
            command.env(port, "0");
        }
        for (node, port) in (1..).zip(self.http_ports) {
            command.env(format!("KV_HTTP_PORT_{node}"), port.to_string());
        }
        command.env("GRAFANA_IMAGE", self.image("grafana"));
        for port in ["PROMETHEUS_PORT", "GRAFANA_PORT"] {
            command.env(port, "0");
        }
        command
    }

    pub fn compose(&self, arguments: &[&str]) -> String {
        output(self.command().args(arguments))
    }

    /// Starts everything but Grafana, whose image is not to be had here.
    pub fn up(&self) {
        self.compose(&[&["up", "--detach"], &SERVICES[..]].concat());
        self.await_ready();
    }

    /// Until the one-shot container has ended well and every node has a leader.
    pub fn await_ready(&self) {
        until("the cluster is initialised", READY_TIMEOUT, || {
            let state = self.inspect("init", "{{.State.Status}} {{.State.ExitCode}}");
            is(state == "exited 0", || format!("{state}: {}", self.init_log()))
        });
        for node in 1..=3 {
            until(&format!("node {node} has a leader"), READY_TIMEOUT, || {
                let ended = self.kvcli(node, ITSELF, &["get", "no-such-key"]);
                is(ended.code == Some(1), || format!("{ended:?}"))
            });
            until(&format!("node {node} is healthy"), READY_TIMEOUT, || {
                let health = self.inspect(&format!("kvnode{node}"), "{{.State.Health.Status}}");
                is(health == "healthy", || health)
            });
        }
    }

    pub fn stop(&self) {
        self.compose(&["stop", "kvnode1", "kvnode2", "kvnode3"]);
        for node in 1..=3 {
            let state = self.inspect(&format!("kvnode{node}"), "{{.State.Status}} {{.State.ExitCode}}");
            assert_eq!(state, "exited 0", "node {node} did not end by itself");
        }
    }

    /// The container of a service, running or not.
    pub fn container(&self, service: &str) -> String {
        let named = |label: &str, value: &str| format!("label=com.docker.compose.{label}={value}");
        let mut list = Command::new("docker");
        list.args(["ps", "--all", "--quiet", "--filter", &named("project", &self.project)]);
        output(list.args(["--filter", &named("service", service)]))
    }

    pub fn inspect(&self, service: &str, format: &str) -> String {
        output(Command::new("docker").args(["inspect", "--format", format, &self.container(service)]))
    }

    pub fn init_log(&self) -> String {
        let ended = run(Command::new("docker").args(["logs", &self.container("init")]));
        ended.stdout + &ended.stderr
    }

    /// Runs kvcli in the container of a node.
    pub fn kvcli(&self, node: u32, endpoints: &str, arguments: &[&str]) -> Ended {
        let container = self.container(&format!("kvnode{node}"));
        let mut exec = Command::new("docker");
        exec.args(["exec", &container, "/bin/kvcli", "--endpoints", endpoints]);
        run(exec.args(arguments))
    }

    /// Through one node's container, to whichever node leads.
    pub fn put(&self, node: u32, n: u32) {
        let ended = self.kvcli(node, ALL, &["put", &key(n), &n.to_string()]);
        assert_eq!(ended.code, Some(0), "{}: {ended:?}", key(n));
    }

    /// Everything that was acknowledged, asked of one node alone.
    pub fn assert_found_on(&self, node: u32, count: u32) {
        until(&format!("node {node} answers"), READY_TIMEOUT, || {
            let ended = self.kvcli(node, ITSELF, &["get", &key(0)]);
            is(ended.code == Some(0), || format!("{ended:?}"))
        });
        for n in 0..count {
            let ended = self.kvcli(node, ITSELF, &["get", &key(n)]);
            assert_eq!(
                (ended.code, ended.stdout.trim_end()),
                (Some(0), &*n.to_string()),
                "{}: {ended:?}",
                key(n)
            );
        }
    }

    pub fn network(&self) -> String {
        format!("{}_kv", self.project)
    }

    pub fn disconnect(&self, node: u32) {
        let container = self.container(&format!("kvnode{node}"));
        output(Command::new("docker").args(["network", "disconnect", &self.network(), &container]));
    }

    /// The name under which the others know it is lost with the network.
    pub fn reconnect(&self, node: u32) {
        let service = format!("kvnode{node}");
        let container = self.container(&service);
        let mut connect = Command::new("docker");
        output(connect.args(["network", "connect", "--alias", &service, &self.network(), &container]));
    }

    /// No root, no capabilities, no writes but to the volume: as the files say, and as the kernel
    /// sees it.
    pub fn assert_unprivileged(&self) {
        let shown = self
            .inspect("kvnode1", "{{.Config.User}} {{.HostConfig.ReadonlyRootfs}} {{.HostConfig.CapDrop}}");
        assert_eq!(shown, "65532:65532 true [ALL]");
        let pid = self.inspect("kvnode1", "{{.State.Pid}}");
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line = |name: &str| status.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        assert!(line("Uid:").split_whitespace().skip(1).all(|uid| uid == "65532"), "{}", line("Uid:"));
        assert!(line("CapEff:").ends_with("\t0000000000000000"), "{}", line("CapEff:"));
        // In its own namespace it is process 1, which the kernel gives no default handling of
        // signals.
        assert!(line("NSpid:").ends_with("\t1"), "{}", line("NSpid:"));
    }

    /// What a page of one node says of another is a link that works here.
    pub fn assert_pages_link_to_each_other(&self) {
        let shown = until("a page shows all nodes", READY_TIMEOUT, || {
            let text = get(&format!("127.0.0.1:{}", self.http_ports[0]), "/api/cluster")?;
            let shown: Value = serde_json::from_str(&text).map_err(|e| e.to_string())?;
            let count = shown["members"]
                .as_array()
                .map_or(0, |all| all.iter().filter(|m| m["reachable"] == true).count());
            is(count == 3, || text).map(|()| shown)
        });
        for member in shown["members"].as_array().unwrap() {
            get(member["said"]["http_addr"].as_str().unwrap(), "/livez").unwrap();
        }
    }

    pub fn assert_scraped(&self) {
        let port = self.compose(&["port", "prometheus", "9090"]);
        let prometheus = Prometheus::at(&port);
        until("Prometheus has all three targets up", READY_TIMEOUT, || {
            let up = prometheus.number("sum(up{job=\"kvnode\", cluster=\"kv\"})")?;
            is(up == 3.0, || format!("{up} are up"))
        });
        until("the rules run", READY_TIMEOUT, || {
            let members = prometheus.number("cluster:raft_members:count")?;
            is(members == 3.0, || format!("{members} members"))
        });
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let logs = self.command().args(["logs", "--no-color", "--tail", "20"]).output();
            eprintln!(
                "{}",
                logs.map(|logs| String::from_utf8_lossy(&logs.stdout).into_owned()).unwrap_or_default()
            );
        }
        // What is left behind is reported by nothing else; a test that failed has more important
        // things to say.
        let _ = self.command().args(["down", "--volumes", "--remove-orphans", "--timeout", "1"]).output();
        let images = [self.image("kvnode"), self.image("grafana"), self.image("prometheus")];
        let _ = Command::new("docker").args(["rmi", "--force"]).args(images).output();
    }
}
