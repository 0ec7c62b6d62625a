//! Attacks the alerts: each must fire when it should and be silent when it should, as
//! `deploy/prometheus/tests.yml` has it. The commands are the runbook's.

use std::process::Command;

use crate::support::{document, output, repository};

#[test]
fn promtool_accepts_the_configuration_and_the_rules_pass_their_tests() {
    let commands = document::commands("rules");
    for line in &commands {
        let arguments = line.strip_prefix("promtool ").unwrap_or_else(|| panic!("{line}"));
        output(Command::new("promtool").args(arguments.split(' ')).current_dir(repository(".")));
    }
    let kinds: Vec<_> = commands.iter().filter_map(|line| line.split(' ').nth(1)).collect();
    assert_eq!(kinds, ["check", "test"]);
}

/// An alert that no test names could be wrong unnoticed.
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
