//! Attacks the alerts: each must fire when it should and be silent when it should, as `deploy/prometheus/tests.yml` has it.

use std::process::Command;

use crate::support::{output, repository, skip};

#[test]
fn promtool_accepts_the_configuration_and_the_rules_pass_their_tests() {
    if !skip::unless_works(
        &["promtool --version"],
        "promtool_accepts_the_configuration_and_the_rules_pass_their_tests",
    ) {
        return;
    }
    let promtool = |args: &[&str]| {
        output(Command::new("promtool").args(args).current_dir(repository("deploy/prometheus")))
    };
    promtool(&["check", "config", "prometheus.yml"]);
    promtool(&["test", "rules", "tests.yml"]);
}

/// An alert that no test names could be wrong and nobody would know.
#[test]
fn every_alert_has_a_test() {
    let read =
        |name: &str| std::fs::read_to_string(repository(&format!("deploy/prometheus/{name}"))).unwrap();
    let (alerts, tests) = (read("alerts.yml"), read("tests.yml"));
    let names: Vec<_> = alerts.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert!(names.len() >= 9, "{names:?}");
    for name in names {
        assert!(tests.contains(&format!("name: {name} fires")), "no test in which {name} fires");
        let looked_at = |line: &&str| {
            line.contains(&format!("alertname: {name}")) || line.contains(&format!("\"{name}\""))
        };
        assert!(
            tests.lines().filter(looked_at).count() >= 2,
            "{name} is not looked at twice: firing, and not"
        );
    }
}
