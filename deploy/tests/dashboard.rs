//! Attacks the dashboard as a file; `metrics.rs` asks its queries.

use std::process::Command;

use serde_json::Value;

use crate::support::{document, output, repository};

/// A panel that was changed in one of the two files would be taken back by the other later.
#[test]
fn the_dashboard_is_what_its_script_makes() {
    let dir = tempfile::tempdir().unwrap();
    let there = dir.path().join("deploy/dashboards");
    std::fs::create_dir_all(&there).unwrap();
    std::fs::copy(repository("deploy/dashboards/generate.py"), there.join("generate.py")).unwrap();
    for line in document::commands("dashboard") {
        output(Command::new("sh").args(["-ec", &line]).current_dir(dir.path()));
    }
    let made = std::fs::read_to_string(there.join("kvnode.json")).unwrap();
    let kept = std::fs::read_to_string(repository("deploy/dashboards/kvnode.json")).unwrap();
    assert!(made == kept, "run deploy/dashboards/generate.py, and commit kvnode.json");
}

#[test]
fn every_panel_has_a_unit_a_description_and_a_query() {
    for panel in panels() {
        let title = &panel["title"];
        let text = |value: &Value| value.as_str().is_some_and(|text| !text.is_empty());
        assert!(text(title), "{panel}");
        assert!(text(&panel["description"]), "{title} has no description");
        assert!(text(&panel["fieldConfig"]["defaults"]["unit"]), "{title} has no unit");
        assert!(!queries(&panel).is_empty() && !queries(&panel).contains(&""), "{title} has no query");
    }
}

/// All panels but rows.
pub fn panels() -> Vec<Value> {
    let text = std::fs::read_to_string(repository("deploy/dashboards/kvnode.json")).unwrap();
    let mut dashboard: Value = serde_json::from_str(&text).unwrap();
    let Value::Array(panels) = dashboard["panels"].take() else { panic!("no panels") };
    let panels: Vec<_> = panels.into_iter().filter(|panel| panel["type"] != "row").collect();
    assert!(panels.len() >= 20, "{} panels", panels.len());
    panels
}

pub fn queries(panel: &Value) -> Vec<&str> {
    panel["targets"].as_array().into_iter().flatten().filter_map(|target| target["expr"].as_str()).collect()
}
