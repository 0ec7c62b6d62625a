//! Random requests of random principals, judged as a model judges them.

use std::collections::BTreeMap;

use kvcli::ScanOptions;
use proto::kv::v1::operation::Request as Asked;
use proto::kv::v1::operation_response::Response as Answer;
use proto::kv::v1::{DeleteRequest, PutRequest};
use tonic::Code;

use crate::support::guarded::{Guarded, entry, scanned_over};
use crate::support::session::{Session, failure, get, value_of};
use crate::support::{Dice, beside_others};

/// Random principals ask random things over streams; what they are answered is what a model of
/// rights and prefixes over a map says.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_requests_are_judged_as_a_model_does() {
    let _place = beside_others();
    let mut dice = Dice::new("random_requests_are_judged_as_a_model_does");
    let letters = ["a", "b", "/"];
    let text = |dice: &mut Dice, most: usize| -> String {
        (0..dice.below(most + 1)).map(|_| dice.pick(&letters)).collect()
    };
    let names = ["p0", "p1", "p2", "p3"];
    let mut principals = Vec::new();
    for name in names {
        let rights: Vec<_> = ["read", "write", "admin"].into_iter().filter(|_| dice.below(4) > 0).collect();
        let scope: Vec<String> = (0..dice.below(4)).map(|_| text(&mut dice, 3)).collect();
        println!("{name}: {rights:?} {scope:?}");
        principals.push((name, rights, scope));
    }
    let quoted = |texts: &[String]| {
        let quoted: Vec<_> = texts.iter().map(|text| format!("\"{text}\"")).collect();
        quoted.join(", ")
    };
    let entries: Vec<_> = principals
        .iter()
        .map(|(name, rights, scope)| {
            let rights: Vec<_> = rights.iter().map(|right| (*right).to_owned()).collect();
            entry(name, &quoted(&rights), &quoted(scope))
        })
        .collect();
    let guarded = Guarded::start(1, &names, &entries).await;
    let node = guarded.cluster.node(1);
    let mut sessions = Vec::new();
    for name in names {
        sessions.push(Session::over(guarded.channel(node, name)).await);
    }
    let (mut model, operator) = (BTreeMap::<String, String>::new(), guarded.cluster.client());
    for number in 0..60 {
        let key = format!("{}{}", dice.pick(&letters), text(&mut dice, 4));
        operator.put(key.clone(), number.to_string()).await.unwrap();
        model.insert(key, number.to_string());
    }
    let (mut allowed, mut refused) = (0, 0);
    for number in 0..600 {
        let at = dice.below(principals.len());
        let (name, rights, scope) = &principals[at];
        let session = &mut sessions[at];
        let key = format!("{}{}", dice.pick(&letters), text(&mut dice, 4));
        let covers = |key: &str| scope.iter().any(|own| key.starts_with(own.as_str()));
        let (may_read, may_write) = (rights.contains(&"read"), rights.contains(&"write"));
        let is_allowed = match dice.below(4) {
            0 => {
                let tells = dice.below(2) == 0;
                let request = PutRequest {
                    key: key.clone().into(),
                    value: number.to_string().into(),
                    return_previous: tells,
                    ..PutRequest::default()
                };
                let may = may_write && covers(&key) && (may_read || !tells);
                match session.ask(Asked::Put(request)).await {
                    Answer::Put(answer) => {
                        let before = model.insert(key.clone(), number.to_string()).filter(|_| tells);
                        let told =
                            answer.previous.map(|pair| String::from_utf8(pair.value.to_vec()).unwrap());
                        assert_eq!(told, before, "{name} puts {key}");
                        assert!(may, "{name} puts {key}");
                    }
                    answer => {
                        assert_eq!(
                            failure(&answer).code,
                            Code::PermissionDenied as u32,
                            "{name} {key}: {answer:?}"
                        );
                        assert!(!may, "{name} is refused to put {key}: {answer:?}");
                    }
                }
                may
            }
            1 => {
                let request = DeleteRequest { key: key.clone().into(), ..DeleteRequest::default() };
                let may = may_write && covers(&key);
                match session.ask(Asked::Delete(request)).await {
                    Answer::Delete(answer) => {
                        let was_there = model.remove(&key).is_some();
                        assert!(may && answer.deleted == u64::from(was_there), "{name} deletes {key}");
                    }
                    answer => {
                        assert_eq!(
                            failure(&answer).code,
                            Code::PermissionDenied as u32,
                            "{name} {key}: {answer:?}"
                        );
                        assert!(!may, "{name} is refused to delete {key}: {answer:?}");
                    }
                }
                may
            }
            2 => {
                let may = may_read && covers(&key);
                match session.ask(get(&key)).await {
                    answer @ Answer::Get(_) => {
                        let known = model.get(&key).map(|value| value.as_bytes());
                        assert!(may && value_of(&answer) == known, "{name} gets {key}: {answer:?}");
                    }
                    answer => {
                        assert_eq!(
                            failure(&answer).code,
                            Code::PermissionDenied as u32,
                            "{name} {key}: {answer:?}"
                        );
                        assert!(!may, "{name} is refused to get {key}: {answer:?}");
                    }
                }
                may
            }
            _ => {
                let prefix = text(&mut dice, 3);
                let touches = covers(&prefix) || scope.iter().any(|own| own.starts_with(&prefix));
                let may = may_read && touches;
                let expected = model.keys().filter(|key| key.starts_with(&prefix) && covers(key));
                let expected = may.then(|| expected.cloned().collect::<Vec<_>>());
                let found = scanned_over(session, &prefix).await;
                assert_eq!(found.clone().ok(), expected, "{name} scans '{prefix}': {found:?}");
                may
            }
        };
        if is_allowed { allowed += 1 } else { refused += 1 }
    }
    println!("{allowed} allowed, {refused} refused");
    let mut all = Vec::new();
    let mut scan = operator.scan(ScanOptions::default()).await.unwrap();
    while let Some(pairs) = scan.next_page().await.unwrap() {
        let text = |bytes: bytes::Bytes| String::from_utf8(bytes.to_vec()).unwrap();
        all.extend(pairs.into_iter().map(|pair| (text(pair.key), text(pair.value))));
    }
    assert_eq!(all, model.into_iter().collect::<Vec<_>>(), "what was refused has changed nothing");
}
