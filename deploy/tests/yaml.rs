//! Attacks the YAML files that only programs which cannot be had here read: Grafana's provisioning,
//! Filebeat's configuration, Kubernetes' files. They parse, and what they say of the containers and
//! files around them is so.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

use crate::support::repository;
use crate::support::yaml::{documents, parsed};

/// Below these, every file that is named like one.
fn yaml_files(below: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(repository(below)).unwrap() {
        let entry = entry.unwrap();
        let path = format!("{below}/{}", entry.file_name().to_str().unwrap());
        if entry.file_type().unwrap().is_dir() {
            found.extend(yaml_files(&path));
        } else if [".yml", ".yaml"].iter().any(|end| path.ends_with(end)) {
            found.push(path);
        }
    }
    found
}

#[test]
fn every_file_parses() {
    let files = yaml_files("deploy");
    for file in &files {
        let documents = documents(file);
        assert!(!documents.is_empty() && documents.iter().all(Value::is_object), "{file}: {documents:?}");
    }
    assert!(files.len() >= 10, "{files:?}");
}

fn service(name: &str) -> Value {
    let service = parsed("deploy/compose.yaml")["services"][name].take();
    assert!(service.is_object(), "compose.yaml has no service {name}");
    service
}

/// Where a file or directory of this repository is inside a container.
fn mounted_at(service: &Value, source: &str) -> String {
    let wanted = repository(source);
    let volumes = service["volumes"].as_array().unwrap().iter().map(|volume| volume.as_str().unwrap());
    let mut targets = volumes.filter_map(|volume| {
        let (from, to) = volume.split_once(':')?;
        let from = repository("deploy").join(from).canonicalize().ok()?;
        (from == wanted).then(|| to.trim_end_matches(":ro").to_owned())
    });
    targets.next().unwrap_or_else(|| panic!("{source} is mounted nowhere: {service}"))
}

/// Grafana finds the data source under its name on the private network, its provisioning where it
/// looks for it, and the dashboard where the provisioning says; the interval it takes for the time
/// between scrapes is that.
#[test]
fn grafana_is_told_what_is_there() {
    let (grafana, prometheus) = (service("grafana"), service("prometheus"));
    assert_eq!(mounted_at(&grafana, "deploy/dashboards/provisioning"), "/etc/grafana/provisioning");

    let sources = parsed("deploy/dashboards/provisioning/datasources/prometheus.yaml");
    let source = &sources["datasources"][0];
    let url = source["url"].as_str().unwrap();
    let port = url.strip_prefix("http://prometheus:").unwrap_or_else(|| panic!("{url}"));
    let published = prometheus["ports"][0].as_str().unwrap();
    assert!(published.ends_with(&format!(":{port}")), "{url}, but {published}");
    assert_eq!((&source["type"], &source["isDefault"]), (&"prometheus".into(), &true.into()));
    let scrapes = parsed("deploy/prometheus/prometheus.yml");
    assert_eq!(source["jsonData"]["timeInterval"], scrapes["global"]["scrape_interval"]);

    let providers = parsed("deploy/dashboards/provisioning/dashboards/kvnode.yaml");
    let provider = &providers["providers"][0];
    let dashboard = mounted_at(&grafana, "deploy/dashboards/kvnode.json");
    let directory = Path::new(&dashboard).parent().unwrap().to_str();
    assert_eq!((provider["type"].as_str(), provider["options"]["path"].as_str()), (Some("file"), directory));
    let home = &grafana["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"];
    assert_eq!(home.as_str(), Some(&*dashboard));
}

/// Prometheus finds its configuration and rules where it is told to, and scrapes the three nodes on
/// the port on which the image serves HTTP.
#[test]
fn prometheus_is_told_what_is_there() {
    let prometheus = service("prometheus");
    let directory = mounted_at(&prometheus, "deploy/prometheus");
    let config = format!("--config.file={directory}/prometheus.yml");
    assert!(prometheus["command"].as_array().unwrap().contains(&config.into()), "{prometheus}");

    let config = parsed("deploy/prometheus/prometheus.yml");
    for rules in config["rule_files"].as_array().unwrap() {
        let groups = parsed(&format!("deploy/prometheus/{}", rules.as_str().unwrap()));
        assert!(!groups["groups"].as_array().unwrap().is_empty(), "{rules}");
    }
    let dockerfile = std::fs::read_to_string(repository("deploy/Dockerfile")).unwrap();
    let port = dockerfile.split("KVNODE_HTTP_ADDR=0.0.0.0:").nth(1).and_then(|rest| rest.lines().next());
    let nodes = ["kvnode1", "kvnode2", "kvnode3"].map(|name| format!("{name}:{}", port.unwrap()));
    let job = &config["scrape_configs"][0];
    assert_eq!(job["static_configs"][0]["targets"], serde_json::json!(nodes));
    // Every rule, alert and panel selects this.
    assert_eq!(job["job_name"], "kvnode");
}

/// Filebeat reads the files of the containers that it is given, unwraps what Docker wraps around a
/// line before it takes the line apart, and writes where the index template expects it, which is
/// what names the pipeline.
#[test]
fn filebeat_is_told_what_is_there() {
    let filebeat = service("filebeat");
    let config = parsed("deploy/elk/filebeat.yml");
    assert_eq!(mounted_at(&filebeat, "deploy/elk/filebeat.yml"), "/usr/share/filebeat/filebeat.yml");

    let input = &config["filebeat.inputs"][0];
    assert_eq!(
        (&input["type"], &input["paths"]),
        (&"filestream".into(), &serde_json::json!(["${LOG_FILES}"]))
    );
    let logs = filebeat["environment"]["LOG_FILES"].as_str().unwrap();
    let is_below = |volume: &Value| {
        let target = volume.as_str().and_then(|volume| volume.split(':').nth(1)).unwrap_or_default();
        logs.starts_with(&format!("{target}/"))
    };
    assert!(
        filebeat["volumes"].as_array().unwrap().iter().any(is_below),
        "{logs} is not mounted: {filebeat}"
    );
    let parsers: Vec<_> =
        input["parsers"].as_array().unwrap().iter().flat_map(|p| p.as_object().unwrap().keys()).collect();
    assert_eq!(parsers, ["container", "ndjson"]);

    let text = std::fs::read_to_string(repository("deploy/elk/filebeat.yml")).unwrap();
    let named = text.split("${").skip(1).filter_map(|rest| rest.split('}').next());
    let named: BTreeSet<_> = named.collect();
    let given: BTreeSet<_> =
        filebeat["environment"].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(named, given, "what the file asks for (left) and what it is given (right)");

    let template = std::fs::read_to_string(repository("deploy/elk/index-template.json")).unwrap();
    let template: Value = serde_json::from_str(&template).unwrap();
    let pattern = template["index_patterns"][0].as_str().unwrap();
    let output = &config["output.elasticsearch"];
    let index = output["index"].as_str().unwrap();
    assert!(index.starts_with(pattern.strip_suffix('*').unwrap()), "{index} is not in {pattern}");
    // One of its own would win over the template's.
    assert_eq!(output["pipeline"], Value::Null);
    let pipeline = template["template"]["settings"]["index.default_pipeline"].as_str().unwrap();
    let setup = std::fs::read_to_string(repository("deploy/elk/setup.sh")).unwrap();
    let made = setup.lines().find_map(|line| {
        let (_, rest) = line.split_once(&format!("/_ingest/pipeline/{pipeline}\" "))?;
        Some(rest.trim().to_owned())
    });
    let made = made.unwrap_or_else(|| panic!("setup.sh makes no pipeline {pipeline}"));
    assert!(repository("deploy/elk").join(&made).exists(), "{made}");
}

/// What a schema does not ask for: a volume for each pod that outlives it, never two on one
/// machine, one away at a time, and probes that ask what their names say, of the port on which the
/// image serves HTTP.
#[test]
fn kubernetes_is_told_what_nodes_need() {
    let documents = documents("deploy/kubernetes/kvnode.yaml");
    let of_kind = |kind: &str| {
        let found = documents.iter().find(|document| document["kind"] == kind);
        found.unwrap_or_else(|| panic!("no {kind}"))
    };
    let (set, budget) = (&of_kind("StatefulSet")["spec"], &of_kind("PodDisruptionBudget")["spec"]);
    let labels = &set["selector"]["matchLabels"];
    assert_eq!(&set["template"]["metadata"]["labels"], labels);
    assert_eq!((&budget["maxUnavailable"], &budget["selector"]["matchLabels"]), (&1.into(), labels));
    assert_eq!(set["replicas"], 3);

    let pod = &set["template"]["spec"];
    let apart = &pod["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"][0];
    assert_eq!(apart["topologyKey"], "kubernetes.io/hostname");
    assert_eq!(&apart["labelSelector"]["matchLabels"], labels);

    let container = &pod["containers"][0];
    let volume = &set["volumeClaimTemplates"][0]["metadata"]["name"];
    let mount = serde_json::json!([{ "name": volume, "mountPath": "/data" }]);
    assert_eq!(container["volumeMounts"], mount);
    let retained = serde_json::json!({ "whenDeleted": "Retain", "whenScaled": "Retain" });
    assert_eq!(set["persistentVolumeClaimRetentionPolicy"], retained);
    let dockerfile = std::fs::read_to_string(repository("deploy/Dockerfile")).unwrap();
    assert!(dockerfile.contains("KVNODE_DATA_DIR=/data"));
    for (probe, path) in
        [("startupProbe", "/livez"), ("livenessProbe", "/livez"), ("readinessProbe", "/readyz")]
    {
        let asked = &container[probe]["httpGet"];
        assert_eq!((&asked["path"], &asked["port"]), (&path.into(), &"http".into()), "{probe}");
    }
    let port = container["ports"].as_array().unwrap().iter().find(|port| port["name"] == "http").unwrap();
    assert!(dockerfile.contains(&format!("KVNODE_HTTP_ADDR=0.0.0.0:{}", port["containerPort"])), "{port}");
}
