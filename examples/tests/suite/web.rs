//! The web server that has a node in it, on three processes: links made on any of them are followed
//! on any, kept over the kill of all and had by a new member; a stop answers what is under way.
use crate::support::{Answer, Cluster, Node, until};

const TARGET: &str = "https://docs.rs/raftnode";

/// Sends it until it is answered with something else than "try again".
fn put(node: &Node, path: &str, target: &str) -> Answer {
    until("a link is made", || match node.web("PUT", path, target) {
        Ok(answer) if ![503, 504].contains(&answer.code) => Ok(answer),
        other => Err(other),
    })
}

/// Where the link leads, as soon as there is a leader to say so.
fn follow(node: &Node, path: &str) -> Option<String> {
    let answer = until("a link is followed", || match node.web("GET", path, "") {
        Ok(answer) if ![503, 504].contains(&answer.code) => Ok(answer),
        other => Err(other),
    });
    match answer.code {
        303 => answer.header("location").map(str::to_owned),
        404 => None,
        _ => panic!("{answer:?}"),
    }
}

#[test]
fn links_are_kept_over_the_kill_of_all_and_had_by_a_new_member() {
    let mut cluster = Cluster::start_with_web(env!("CARGO_BIN_EXE_web"));
    assert_eq!(put(&cluster.nodes[0], "/docs", TARGET).code, 201);
    assert_eq!(put(&cluster.nodes[1], "/docs", TARGET).code, 201, "sent again");
    assert_eq!(put(&cluster.nodes[1], "/docs", "https://example.org").code, 409);
    assert_eq!(follow(&cluster.nodes[2], "/docs").as_deref(), Some(TARGET));
    assert_eq!(follow(&cluster.nodes[2], "/none"), None);

    cluster.kill_and_restart_all();
    assert_eq!(follow(&cluster.nodes[0], "/docs").as_deref(), Some(TARGET));
    let fourth = cluster.join();
    assert_eq!(follow(fourth, "/docs").as_deref(), Some(TARGET));
    assert_eq!(put(fourth, "/more", TARGET).code, 201);
}

/// What the codes say: 503 that nothing was changed, 422 that it never will be.
#[test]
fn a_failure_has_the_code_that_says_what_to_do() {
    let mut cluster = Cluster::start_with_web(env!("CARGO_BIN_EXE_web"));
    assert_eq!(put(&cluster.nodes[0], "/docs", TARGET).code, 201);
    cluster.nodes[1].kill();
    cluster.nodes[2].kill();
    let unread = cluster.nodes[0].web("GET", "/docs", "").unwrap();
    assert_eq!(unread.code, 503, "{unread:?}");
    // The leader took it before it noticed that it is alone, or there is none.
    let unwritten = cluster.nodes[0].web("PUT", "/more", TARGET).unwrap();
    assert!([503, 504].contains(&unwritten.code), "{unwritten:?}");
}

/// The web server answers what it has taken on, and only then does the node stop.
#[test]
fn a_request_under_way_is_answered_before_the_end() {
    let mut cluster = Cluster::start_with_web(env!("CARGO_BIN_EXE_web"));
    for index in 0..cluster.nodes.len() {
        let node = &cluster.nodes[index];
        let path = format!("/of-{index}");
        let begun = node.begin_web("PUT", &path, TARGET.len());
        node.ask_to_stop();
        until("it accepts nothing more", || match node.web("GET", "/docs", "") {
            Err(_) => Ok(()),
            Ok(answer) => Err(answer),
        });
        assert_eq!(Node::end_web(begun, TARGET).code, 201);
        let status = cluster.nodes[index].ended();
        assert!(status.success(), "{status}");
        cluster.restart(index);
        assert_eq!(follow(&cluster.nodes[index], &path).as_deref(), Some(TARGET));
    }
}
