//! Attacks `deploy/compose.yaml`: containers are cut off, killed and made anew, and everything must
//! be found again.
//!
//! The image is made of the programs that cargo has built anyway, with the shared libraries they
//! need: linking them statically, as `deploy/build-image` does without an argument, would compile
//! half of the workspace a second time. Prometheus comes from Debian's package, because no registry
//! is asked.

mod cluster;

use serde_json::Value;

use self::cluster::{Cluster, ITSELF, SERVICES, compose_command, key, lacks_docker};
use crate::support::yaml::parsed;
use crate::support::{alone, document, output, repository};

/// Of the two programs without symbols, and of the C library if they are not static. The runbook
/// says so, too.
const MAX_IMAGE_BYTES: u64 = 32_000_000;

#[test]
fn a_cluster_of_containers_survives_what_happens_to_containers() {
    if lacks_docker("a_cluster_of_containers_survives_what_happens_to_containers") {
        return;
    }
    let _alone = alone();
    let cluster = Cluster::build();
    let bytes = cluster.image_bytes("kvnode");
    println!("the image has {bytes} bytes");
    assert!(bytes < MAX_IMAGE_BYTES, "the image has {bytes} bytes");

    cluster.up();
    cluster.assert_unprivileged();
    cluster.assert_pages_link_to_each_other();
    for n in 0..10 {
        cluster.put(1, n);
    }

    // Cut off, node 3 refuses; the others go on without it.
    cluster.disconnect(3);
    for n in 10..20 {
        cluster.put(2, n);
    }
    let cut_off = cluster.kvcli(3, ITSELF, &["--timeout", "3s", "get", &key(10)]);
    assert_eq!(cut_off.code, Some(2), "a node that is alone answered a linearizable read: {cut_off:?}");
    cluster.reconnect(3);
    cluster.assert_found_on(3, 20);

    // Stopped as process 1, each ends by itself and says that all went well.
    cluster.stop();
    cluster.up();
    (1..=3).for_each(|node| cluster.assert_found_on(node, 20));
    assert!(cluster.init_log().contains("was initialised before"), "{}", cluster.init_log());

    // Killed together, and made anew: only the volumes are left.
    cluster.put(3, 20);
    cluster.compose(&["kill"]);
    cluster.compose(&["down"]);
    cluster.up();
    (1..=3).for_each(|node| cluster.assert_found_on(node, 21));

    cluster.assert_scraped();
}

#[test]
fn the_runbook_says_how_large_the_image_may_get() {
    let runbook = std::fs::read_to_string(repository("docs/operations/deployment.md")).unwrap();
    let said = format!("under {} MB", MAX_IMAGE_BYTES / 1_000_000);
    assert!(runbook.contains(&said), "docs/operations/deployment.md does not say {said}");
}

/// The commands of docs/operations in their order, with images that can be had here: Grafana's is a
/// stub.
#[test]
fn the_commands_of_the_runbook_work() {
    if lacks_docker("the_commands_of_the_runbook_work") {
        return;
    }
    let _alone = alone();
    let cluster = Cluster::new();
    cluster.build_prometheus();
    cluster.build_grafana_stub();
    let mut ran = Vec::new();
    for line in document::commands("compose") {
        let ended = cluster.documented(&line);
        assert_eq!(ended.code, Some(0), "{line}: {ended:?}");
        let what = line.split_whitespace().rev().find(|word| !word.starts_with('-')).unwrap().to_owned();
        match (&*what, line.ends_with("--volumes")) {
            ("up", _) => cluster.await_ready(),
            ("status", _) => assert!(ended.stdout.contains("3 of 3 voters answer"), "{ended:?}"),
            ("down", true) => assert_eq!(cluster.volumes(), 0),
            ("down", false) => assert!(cluster.volumes() >= 3),
            _ => {}
        }
        ran.push(what);
    }
    assert_eq!(ran, ["deploy/build-image", "up", "status", "down", "down"]);
}

/// What is for the logs starts only when it is asked for. (`config --services` lists all services
/// in any case, so it is the file that is looked at.)
#[test]
fn the_services_for_logs_and_no_others_are_in_a_profile() {
    let file = parsed("deploy/compose.yaml");
    let services = file["services"].as_object().unwrap();
    for (name, service) in services {
        let for_logs = ["elasticsearch", "kibana", "elk-setup", "filebeat"].contains(&name.as_str());
        let expected = if for_logs { serde_json::json!(["elk"]) } else { Value::Null };
        assert_eq!(service["profiles"], expected, "{name}");
    }
    assert_eq!(services.len(), SERVICES.len() + 5, "{:?}", services.keys());
}

/// Status pages link to each other under these: a browser on this machine knows no name of the
/// private network.
#[test]
fn status_pages_are_advertised_where_this_machine_reaches_them() {
    if lacks_docker("status_pages_are_advertised_where_this_machine_reaches_them") {
        return;
    }
    let config = output(compose_command().arg("config").env("KV_HTTP_PORT_2", "8202"));
    for (node, port) in [(1, 7201), (2, 8202), (3, 7203)] {
        let advertised = format!("KVNODE_ADVERTISE_HTTP_ADDR: 127.0.0.1:{port}");
        assert!(config.contains(&advertised), "node {node}: no {advertised} in {config}");
    }
}
