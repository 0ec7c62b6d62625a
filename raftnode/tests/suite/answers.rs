//! An application's mistakes: responses, answers and commands that are too long or do not survive
//! encoding and decoding, queries that fail or panic. The node that leads says so to its own caller
//! as to another node, and nothing stops.
use std::collections::BTreeMap;
use std::path::Path;

use raftnode::wire::forwarded_request::Request;
use raftnode::wire::forwarded_response::Response as Answer;
use raftnode::wire::requests_client::RequestsClient;
use raftnode::{
    Application, At, Error, MAX_ANSWER_BYTES, MAX_COMMAND_BYTES, Node, StorageError, Transaction, View, wire,
};
use serde::{Deserialize, Serialize};

use crate::nodes::again;

/// What is to be answered.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
enum Wanted {
    Bytes(usize),
    Tagged,
    Flat,
    /// How many commands were applied.
    Position,
    /// An error.
    Error,
    Panic,
    /// A panic where it is asked whether the query is a long one.
    PanicAtOnce,
}

/// A command: what is to be answered, and what comes with it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Command {
    Answer(Wanted),
    Long(Vec<u8>),
    CannotBeRead(Tagged),
    PanicsWhenRead(Panicking),
}

/// A type whose author has made a mistake.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Panicking(u8);

impl<'de> Deserialize<'de> for Panicking {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        panic!("{}, which is read", u8::deserialize(deserializer)?)
    }
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Given {
    Bytes(Vec<u8>),
    Tagged(Tagged),
    Flat(Flat),
    Position(u64),
}

/// Can be encoded, and not read back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind")]
enum Tagged {
    Only { number: u64 },
}

/// Cannot be encoded: the length of the map is not known before its end.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Flat {
    #[serde(flatten)]
    all: BTreeMap<String, u64>,
}

struct Careless;

impl Careless {
    fn given(wanted: Wanted, position: u64) -> Result<Given, StorageError> {
        Ok(match wanted {
            Wanted::Bytes(count) => Given::Bytes(vec![7; count]),
            Wanted::Tagged => Given::Tagged(Tagged::Only { number: 7 }),
            Wanted::Flat => Given::Flat(Flat { all: BTreeMap::from([("seven".to_owned(), 7)]) }),
            Wanted::Position => Given::Position(position),
            Wanted::Error => return Err(StorageError::corrupt("the query does not like it")),
            Wanted::Panic | Wanted::PanicAtOnce => panic!("the query has a bug"),
        })
    }
}

impl Application for Careless {
    const SCHEMA: u32 = 1;
    type Command = Command;
    type Response = Given;
    type Query = Wanted;
    type Answer = Given;

    fn apply(&self, _: &mut Transaction<'_, '_>, at: At, command: Command) -> Result<Given, StorageError> {
        match command {
            Command::Answer(wanted) => Self::given(wanted, at.position),
            other => Err(StorageError::corrupt(format!("applied: {other:?}"))),
        }
    }

    fn query(&self, view: &mut View<'_, '_>, wanted: Wanted) -> Result<Given, StorageError> {
        Self::given(wanted, view.position()?)
    }

    fn is_long(query: &Wanted) -> bool {
        assert!(!matches!(query, Wanted::PanicAtOnce), "is_long has a bug");
        false
    }
}

async fn cluster(home: &Path) -> [Node<Careless>; 2] {
    crate::nodes::cluster(home, || Careless).await
}

/// Of what must fail.
async fn error(attempt: impl AsyncFnMut() -> Result<Given, Error>) -> Error {
    again(attempt).await.unwrap_err()
}

async fn reads_are_refused(node: &Node<Careless>, wanted: Wanted, said: &str) {
    let linearizable = error(async || node.read(wanted).await).await;
    for error in [linearizable, node.read_stale(wanted).await.unwrap_err()] {
        match error {
            Error::Refused(text) if text.contains(said) => {}
            other => panic!("read {wanted:?} at node {}: {other:?}", node.id()),
        }
    }
}

async fn write(node: &Node<Careless>, wanted: Wanted) -> Given {
    again(async || node.write(Command::Answer(wanted)).await).await.unwrap()
}

async fn read(node: &Node<Careless>, wanted: Wanted) -> Given {
    again(async || node.read(wanted).await).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_answered_is_said_by_the_leader_and_by_the_others_and_stops_nothing() {
    let home = tempfile::tempdir().unwrap();
    let nodes = cluster(home.path()).await;
    let longest = MAX_ANSWER_BYTES - 16;
    let bad = [
        (Wanted::Bytes(MAX_ANSWER_BYTES), "bytes encoded; at most"),
        (Wanted::Tagged, "mend its type"),
        (Wanted::Flat, "mend its type"),
    ];
    let mut applied = 0;
    for node in &nodes {
        assert_eq!(write(node, Wanted::Bytes(longest)).await, Given::Bytes(vec![7; longest]));
        assert_eq!(read(node, Wanted::Bytes(longest)).await, Given::Bytes(vec![7; longest]));
        applied += 1;
        for (wanted, said) in bad {
            match error(async || node.write(Command::Answer(wanted)).await).await {
                Error::Unknown(text) if text.contains("was applied") && text.contains(said) => {}
                other => panic!("write {wanted:?} at node {}: {other:?}", node.id()),
            }
            applied += 1;
            reads_are_refused(node, wanted, said).await;
        }
        assert_eq!(read(node, Wanted::Position).await, Given::Position(applied));
    }
    for node in &nodes {
        node.stop().await;
    }
}

/// Neither an error nor a panic of a query, nor a command that no node could apply, stops a node or
/// another request.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn queries_that_fail_and_commands_that_cannot_be_applied_are_refused() {
    let home = tempfile::tempdir().unwrap();
    let nodes = cluster(home.path()).await;
    for node in &nodes {
        for (wanted, said) in [
            (Wanted::Error, "does not like it"),
            (Wanted::Panic, "the query has a bug"),
            (Wanted::PanicAtOnce, "is_long has a bug"),
        ] {
            reads_are_refused(node, wanted, said).await;
        }
        for (command, said) in [
            (Command::Long(vec![7; MAX_COMMAND_BYTES + 1]), "at most"),
            (Command::CannotBeRead(Tagged::Only { number: 7 }), "cannot be read back"),
            (Command::PanicsWhenRead(Panicking(7)), "7, which is read"),
        ] {
            match error(async || node.write(command.clone()).await).await {
                Error::Refused(text) if text.contains(said) && text.contains("not applied") => {}
                other => panic!("at node {}, not {said}: {other:?}", node.id()),
            }
        }
        write(node, Wanted::Position).await;
        read(node, Wanted::Position).await;
    }
    for node in &nodes {
        node.stop().await;
    }
}

/// Found by a review: what a node passes on was checked where it came in only. The service was on
/// the port for clients, so that one message with any bytes for a command went into the log, and
/// stopped every node of the cluster, at every start. Now it is on the port for peers alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_bytes_that_are_passed_on_get_into_the_log_unread() {
    let home = tempfile::tempdir().unwrap();
    let nodes = cluster(home.path()).await;
    let tagged = Command::CannotBeRead(Tagged::Only { number: 7 });
    let bytes = [
        vec![],
        vec![0xff],
        vec![0; 100],
        codec::encode(&tagged).unwrap(),
        codec::encode(&Command::PanicsWhenRead(Panicking(7))).unwrap(),
    ];
    for node in &nodes {
        let members = node.members().await;
        let own = members.iter().find(|member| member.id == node.id()).unwrap();
        let at = async |addr: &str| RequestsClient::connect(format!("http://{addr}")).await.unwrap();
        let nothing = tokio_stream::iter([wire::ForwardRequest::default()]);
        let refused = at(&own.client_addr).await.forward(nothing).await.unwrap_err();
        assert_eq!(refused.code(), tonic::Code::Unimplemented, "{refused}");
        let mut client = at(&own.raft_addr).await;
        let requests = bytes.iter().flat_map(|command| {
            // Of the program's own schema, and of one that never was.
            [0, 1, 2].map(|since| wire::WriteRequest {
                since,
                command: command.clone().into(),
                request_id: None,
            })
        });
        let requests = requests.map(Request::Write).zip(1..);
        let requests: Vec<_> = requests
            .map(|(request, id)| {
                let (timeout_ms, trace, request) = (5000, Default::default(), Some(request));
                wire::ForwardedRequest { id, timeout_ms, trace, request }
            })
            .collect();
        let mut expected = requests.len();
        let message = wire::ForwardRequest { requests };
        let mut answers = client.forward(tokio_stream::iter([message])).await.unwrap().into_inner();
        while let Some(message) = answers.message().await.unwrap() {
            for wire::ForwardedResponse { id, response } in message.responses {
                expected -= 1;
                match response {
                    Some(Answer::Failure(failure))
                        if failure.message.contains("cannot be read")
                            || failure.message.contains("needs schema 2") => {}
                    other => panic!("{id} at node {}: {other:?}", node.id()),
                }
            }
        }
        assert_eq!(expected, 0, "answers that never came");
        for node in &nodes {
            write(node, Wanted::Position).await;
        }
    }
    for node in &nodes {
        assert_eq!(read(node, Wanted::Position).await, Given::Position(4));
    }
    // Each alone has no majority, so none stops before both have answered.
    for node in &nodes {
        node.stop().await;
    }
}
