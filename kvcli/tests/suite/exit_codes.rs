//! One exit code for each way a command can end.

use std::process::Stdio;
use std::time::Duration;

use tonic::Code;

use crate::fake::{Fake, Step, closed_address};
use crate::program::{kvcli, run};

#[tokio::test]
async fn done_is_0_and_missing_is_1() {
    let fake = Fake::start().await;
    let put = run(&fake.address, &["put", "k", "v"]).await.expect_code(0);
    assert_eq!(put.text(), "OK\n");
    let get = run(&fake.address, &["get", "k"]).await.expect_code(0);
    assert_eq!((get.text(), get.stderr.as_str()), ("v\n", ""));
    let delete = run(&fake.address, &["delete", "k"]).await.expect_code(0);
    assert_eq!(delete.text(), "OK\n");
    for command in ["get", "delete"] {
        let missing = run(&fake.address, &[command, "k\t"]).await.expect_code(1);
        assert_eq!((missing.text(), missing.stderr.as_str()), ("", "kvcli: no such key: k\\t\n"));
    }
}

#[tokio::test]
async fn errors_are_json_too_when_asked_for() {
    let fake = Fake::start().await;
    let missing = run(&fake.address, &["get", "k", "--output", "json"]).await.expect_code(1);
    assert!(missing.stdout.is_empty());
    let error: serde_json::Value = serde_json::from_str(&missing.stderr).unwrap();
    assert_eq!(error["exit_code"], 1);
}

#[tokio::test]
async fn unreachable_is_2_within_the_timeout() {
    let endpoints = [closed_address(), closed_address()].join(",");
    for args in [
        &["put", "k", "v"][..],
        &["get", "k"],
        &["get", "k", "--stale"],
        &["scan"],
        &["cluster", "status"],
        &["health"],
        &["cluster", "members"],
        &["cluster", "init"],
        &["cluster", "promote", "1"],
        &["bench", "--seconds", "1"],
    ] {
        let ended = run(&endpoints, &[args, &["--timeout", "400ms"]].concat()).await.expect_code(2);
        assert!(ended.took < Duration::from_secs(3), "{args:?} took {:?}", ended.took);
        assert!(ended.stderr.contains("Connection refused"), "{ended:?}");
        assert!(ended.stdout.is_empty());
    }
}

#[tokio::test]
async fn no_leader_is_2_and_not_an_unknown_outcome() {
    let fake = Fake::start().await;
    fake.always(Step::Fail(Code::Unavailable, None));
    for command in [&["put", "k", "v"][..], &["delete", "k"], &["get", "k"]] {
        let ended = run(&fake.address, &[command, &["--timeout", "300ms"]].concat()).await;
        assert!(ended.expect_code(2).stderr.contains("scripted Unavailable"));
    }
}

#[tokio::test]
async fn refused_is_4_at_the_first_attempt() {
    for code in [
        Code::InvalidArgument,
        Code::FailedPrecondition,
        Code::ResourceExhausted,
        Code::DataLoss,
        Code::Unimplemented,
        Code::PermissionDenied,
    ] {
        let fake = Fake::start().await;
        fake.always(Step::Fail(code, None));
        let ended = run(&fake.address, &["put", "k", "v"]).await.expect_code(4);
        assert!(ended.stderr.contains(&format!("scripted {code:?}")), "{ended:?}");
        assert_eq!(fake.seen().len(), 1, "{code:?} was retried");
        run(&fake.address, &["get", "k"]).await.expect_code(4);
    }
}

#[tokio::test]
async fn a_put_that_may_have_been_applied_is_5() {
    for step in [Step::ApplyAndCut, Step::Hang, Step::Fail(Code::Unknown, None)] {
        let fake = Fake::start().await;
        fake.always(step.clone());
        let args = ["put", "k", "v", "--timeout", "600ms"];
        let ended = run(&fake.address, &args).await.expect_code(5);
        assert!(ended.stderr.contains("outcome unknown"), "{step:?}: {ended:?}");
        assert!(ended.took < Duration::from_secs(3), "{step:?} took {:?}", ended.took);
    }
}

#[tokio::test]
async fn a_refusal_after_a_lost_answer_is_5() {
    let fake = Fake::start().await;
    fake.script([Step::ApplyAndCut]);
    fake.always(Step::Fail(Code::ResourceExhausted, None));
    run(&fake.address, &["put", "k", "v"]).await.expect_code(5);
    // Unavailable means that this attempt was not applied; the first one may have been.
    let fake = Fake::start().await;
    fake.script([Step::ApplyAndCut]);
    fake.always(Step::Fail(Code::Unavailable, None));
    run(&fake.address, &["put", "k", "v", "--timeout", "400ms"]).await.expect_code(5);
}

#[tokio::test]
async fn a_read_without_an_answer_is_2() {
    for step in [Step::ApplyAndCut, Step::Hang, Step::FailBare(Code::Unavailable)] {
        let fake = Fake::start().await;
        fake.always(step);
        for args in [&["get", "k"][..], &["scan"]] {
            run(&fake.address, &[args, &["--timeout", "300ms"]].concat()).await.expect_code(2);
        }
    }
    let fake = Fake::start().await;
    fake.with(|state| state.frozen = true);
    for args in [&["get", "k"][..], &["scan"], &["cluster", "status"], &["cluster", "members"], &["health"]] {
        run(&fake.address, &[args, &["--timeout", "300ms"]].concat()).await.expect_code(2);
    }
}

/// Found: a gRPC library answers UNAVAILABLE itself when the connection breaks after the request
/// was sent, and 63 of 1,655 such puts had been applied.
#[tokio::test]
async fn a_put_that_failed_without_proof_is_5() {
    for code in [Code::Unavailable, Code::ResourceExhausted, Code::FailedPrecondition, Code::DataLoss] {
        let fake = Fake::start().await;
        fake.always(Step::FailBare(code));
        run(&fake.address, &["put", "k", "v", "--timeout", "300ms"]).await.expect_code(5);
        run(&fake.address, &["cluster", "promote", "4", "--timeout", "300ms"]).await.expect_code(5);
    }
}

/// Found: a put whose answer did not fit on the disk ended as if it had failed.
#[tokio::test]
async fn a_put_whose_answer_cannot_be_printed_is_done() {
    let fake = Fake::start().await;
    for (args, text) in [
        (&["put", "k", "v"][..], "the value is stored"),
        (&["put", "k", "v", "-o", "json"], "the value is stored"),
        (&["delete", "k"], "the key is deleted"),
        (&["cluster", "promote", "4"], "node 4 votes"),
    ] {
        let mut command = kvcli();
        command.args(args).args(["--endpoints", &fake.address]);
        command.stdout(std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap());
        let child = command.stderr(Stdio::piped()).spawn().unwrap();
        let output = child.wait_with_output().await.unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(0), "{stderr}");
        assert!(stderr.contains(text) && stderr.contains("could not be printed"), "{stderr}");
        assert_eq!(args.contains(&"json"), stderr.starts_with('{'), "{stderr}");
    }
    // A reader that went away is no reason for a remark.
    let mut command = kvcli();
    command
        .args(["put", "k", "v", "--endpoints", &fake.address])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().await.unwrap();
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]));
}
