//! The command line itself.

use crate::fake::Fake;
use crate::program::{finish, kvcli, run};

const NOBODY: &str = "127.0.0.1:1";

#[tokio::test]
async fn what_is_not_understood_exits_with_3() {
    let cases: &[&[&str]] = &[
        &[],
        &["--unknown", "get", "k"],
        &["get", "k", "--unknown"],
        &["put", "k", "--unknown"],
        &["frobnicate"],
        &["get"],
        &["put", "k"],
        &["put", "k", "v", "--file", "f"],
        &["put", "k", "v", "w"],
        &["cluster"],
        &["cluster", "frobnicate"],
        &["cluster", "promote"],
        &["cluster", "promote", "one"],
        &["cluster", "add-learner", "4", "nonsense", "a:1"],
        &["cluster", "set-address", "4"],
        &["cluster", "set-address", "4", "--raft", "nonsense"],
        &["get", "k", "--cluster", "kv"],
        &["scan", "--limit", "0"],
        &["get", "k", "--timeout", "5"],
        &["get", "k", "--output", "xml"],
        &["bench", "--clients", "0"],
        &["bench", "--key-size", "8"],
        &["completions", "tcsh"],
        &["put", "k", "--file", "/nonexistent/file"],
    ];
    for args in cases {
        let ended = run(NOBODY, args).await.expect_code(3);
        assert!(!ended.stderr.is_empty(), "{args:?} says nothing");
        assert!(ended.stdout.is_empty(), "{args:?} answers {ended:?}");
    }
}

#[tokio::test]
async fn bad_endpoints_exit_with_3() {
    for endpoints in ["", "nonsense", "a:0", "a:1,,b:1", "https://a:1"] {
        let ended = run(endpoints, &["get", "k"]).await.expect_code(3);
        assert!(ended.stderr.contains("endpoint"), "{ended:?}");
    }
}

#[tokio::test]
async fn keys_and_values_of_the_wrong_length_exit_with_3() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("value");
    std::fs::write(&file, vec![0; 2 * 1024 * 1024]).unwrap();
    let (file, long_key) = (file.to_str().unwrap(), "k".repeat(5 * 1024));
    for args in [
        &["put", "", "v"][..],
        &["get", ""],
        &["delete", ""],
        &["put", &long_key, "v"],
        &["get", &long_key],
        &["scan", "--prefix", &long_key],
        &["put", "k", "--file", file],
    ] {
        let ended = run(NOBODY, args).await.expect_code(3);
        assert!(ended.stderr.contains("bytes"), "{ended:?}");
    }
    let input = vec![0; 2 * 1024 * 1024];
    crate::program::run_with_input(NOBODY, &["put", "k", "-"], &input).await.expect_code(3);
}

#[tokio::test]
async fn help_and_version_exit_with_0_on_stdout() {
    for args in [&["--help"][..], &["--version"], &["put", "--help"], &["cluster", "status", "-h"]] {
        let ended = run(NOBODY, args).await.expect_code(0);
        assert!(!ended.stdout.is_empty() && ended.stderr.is_empty(), "{args:?}: {ended:?}");
    }
}

#[tokio::test]
async fn completions_for_every_shell() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let ended = run(NOBODY, &["completions", shell]).await.expect_code(0);
        assert!(ended.text().contains("transfer-leader"), "{shell}");
    }
}

#[tokio::test]
async fn global_flags_stand_before_or_after_the_command() {
    let fake = Fake::start().await;
    let at = fake.address.as_str();
    for args in [
        &["--endpoints", at, "--output", "json", "--timeout", "9s", "put", "k", "v"][..],
        &["put", "--endpoints", at, "--output", "json", "--timeout", "9s", "k", "v"],
        &["put", "k", "v", "--endpoints", at, "--output", "json", "--timeout", "9s"],
    ] {
        let mut command = kvcli();
        command.args(args);
        let ended = finish(command, b"").await.expect_code(0);
        assert_eq!(ended.json()["revision"], 17);
    }
    let args = ["cluster", "--output", "json", "members", "--timeout", "9s"];
    run(at, &args).await.expect_code(0).json();
}

#[tokio::test]
async fn endpoints_come_from_the_environment_unless_given() {
    let fake = Fake::start().await;
    let mut command = kvcli();
    command.args(["put", "k", "v"]).env("KVCLI_ENDPOINTS", format!("{NOBODY},{}", fake.address));
    finish(command, b"").await.expect_code(0);
    let mut command = kvcli();
    command.args(["put", "k", "v", "--endpoints", &fake.address]);
    command.env("KVCLI_ENDPOINTS", "nonsense");
    finish(command, b"").await.expect_code(0);
}

/// Found: an empty `KVCLI_ENDPOINTS`, as a script leaves it, was a bad endpoint.
#[tokio::test]
async fn empty_variables_count_as_unset() {
    let fake = Fake::start().await;
    let mut command = kvcli();
    command.args(["get", "k", "--timeout", "200ms"]).env("KVCLI_ENDPOINTS", "").env("KVCLI_CLUSTER", "");
    let ended = finish(command, b"").await;
    // There may be a node at the default address.
    assert_ne!(ended.code, 3, "{ended:?}");
    let mut command = kvcli();
    command.args(["put", "k", "v", "--endpoints", &fake.address]).env("KVCLI_CLUSTER", "");
    finish(command, b"").await.expect_code(0);
    let mut command = kvcli();
    command.args(["put", "k", "v", "--endpoints", &fake.address]).env("KVCLI_CLUSTER", "kv");
    finish(command, b"").await.expect_code(3);
}

#[tokio::test]
async fn usage_errors_are_json_too_when_asked_for() {
    for args in [
        &["--output", "json", "get", "k", "--unknown"][..],
        &["frobnicate", "-o", "json"],
        &["-ojson"],
        &["get", "--output=json"],
        &["put", "k", "-o", "json", "--timeout", "5"],
        &["cluster", "-o", "json", "add-learner", "4", "a:1", "a:1"],
    ] {
        let ended = run(NOBODY, args).await.expect_code(3);
        let error: serde_json::Value = serde_json::from_str(&ended.stderr).unwrap();
        assert_eq!(error["exit_code"], 3, "{args:?}");
        assert!(!error["error"].as_str().unwrap().is_empty(), "{args:?}");
        assert!(ended.stdout.is_empty());
    }
    let ended = run(NOBODY, &["put", "--bad", "--", "-o", "json"]).await.expect_code(3);
    assert!(ended.stderr.starts_with("error: "), "{ended:?}");
}
