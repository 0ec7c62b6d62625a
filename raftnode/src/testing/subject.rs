//! What is tested: an application, and commands for it.

use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use storage_leveldb::StorageError;
use storage_leveldb::testing as storage;
use storage_leveldb::testing::Random;

use super::cluster::ClusterTest;
use super::exercised::unreadable;
use super::storage_tests::{CrashTest, DeterminismTest, FaultTest, Watch};
use crate::application::{Application, Batch, ClusterTime, Command, Hosted, RequestId, Stamp, Typed, View};

/// Commands in one entry, at most.
const MAX_COMMANDS: usize = 4;
/// Queries behind a batch.
const QUERIES: usize = 4;
/// Few clients, so that writes are repeated and come too late.
const CLIENTS: u64 = 2;
/// Sequences of theirs.
const SEQUENCES: u64 = 1000;
/// How far apart two entries are, at most.
const MAX_STEP_MILLIS: u64 = 10_000;

/// Makes a random command for the state that it will meet.
pub(super) type MakeCommand<A> =
    Arc<dyn Fn(&mut Random, &mut View<'_, '_>) -> <A as Application>::Command + Send + Sync>;

/// Makes a random query for the state that it asks.
pub(super) type MakeQuery<A> =
    Arc<dyn Fn(&mut Random, &mut View<'_, '_>) -> <A as Application>::Query + Send + Sync>;

/// An application under test: how it is made, and how a random command of it is.
pub struct Subject<A: Application> {
    pub(super) application: Arc<dyn Fn() -> A + Send + Sync>,
    pub(super) command: MakeCommand<A>,
    pub(super) query: Option<MakeQuery<A>>,
    pub(super) may_answer_alike: bool,
}

impl<A: Application> Clone for Subject<A> {
    fn clone(&self) -> Self {
        let (application, command) = (Arc::clone(&self.application), Arc::clone(&self.command));
        Self { application, command, query: self.query.clone(), ..*self }
    }
}

impl<A: Application> Subject<A> {
    /// `application` makes the application, `command` a random command. It sees the state that the
    /// command's entry will meet: other commands of the same entry may come first.
    pub fn new(
        application: impl Fn() -> A + Send + Sync + 'static,
        command: impl Fn(&mut Random, &mut View<'_, '_>) -> A::Command + Send + Sync + 'static,
    ) -> Self {
        let (application, command) = (Arc::new(application), Arc::new(command));
        Self { application, command, query: None, may_answer_alike: false }
    }

    /// `query` makes a random query: the [determinism test](Self::determinism_test) asks some
    /// behind every batch, and compares the answers.
    #[must_use]
    pub fn queries(
        self,
        query: impl Fn(&mut Random, &mut View<'_, '_>) -> A::Query + Send + Sync + 'static,
    ) -> Self {
        Self { query: Some(Arc::new(query)), ..self }
    }

    /// A run is not vacuous although all responses, or all answers to queries, are of one kind:
    /// there is no other case to meet. It need not be said of a type that has but one value, such
    /// as `()`, or one variant.
    #[must_use]
    pub fn may_answer_alike(self) -> Self {
        Self { may_answer_alike: true, ..self }
    }

    /// Does the same log have the same effects and answers on every member?
    #[must_use]
    pub fn determinism_test(&self) -> DeterminismTest {
        let (watch, test) = (self.watch(), storage::DeterminismTest::seeing(self.host(), self.batch()));
        let test = match self.query.clone() {
            Some(query) => {
                let watch = watch.clone();
                test.probed(move |hosted, view, index| answers::<A>(&query, &watch, hosted, view, index))
            }
            None => test,
        };
        DeterminismTest { test: test.watched(watch.watcher::<A>()), watch }
    }

    /// Does every promise hold after a power failure?
    #[must_use]
    pub fn crash_test(&self) -> CrashTest {
        let (watch, test) = (self.watch(), storage::CrashTest::seeing(self.host(), self.batch()));
        CrashTest { test: test.watched(watch.watcher::<A>()), watch }
    }

    /// Is what is wrong with a file or a disk noticed?
    #[must_use]
    pub fn fault_test(&self) -> FaultTest {
        let (watch, test) = (self.watch(), storage::FaultTest::seeing(self.host(), self.batch()));
        FaultTest { test: test.watched(watch.watcher::<A>()), watch }
    }

    /// Does a cluster keep its promises while nodes lose power, and messages are lost and late?
    #[must_use]
    pub fn cluster_test(&self) -> ClusterTest<A> {
        ClusterTest::new(self.clone())
    }

    fn watch(&self) -> Watch {
        Watch::new(self.may_answer_alike)
    }

    fn host(&self) -> impl Fn() -> Hosted + Send + Sync + 'static + use<A> {
        let application = Arc::clone(&self.application);
        move || Hosted::new(Arc::new(Typed(Arc::new(application()))))
    }

    /// Several commands, some of them under a name, at some time.
    fn batch(
        &self,
    ) -> impl Fn(&mut Random, &mut storage_leveldb::View<'_>) -> Batch + Send + Sync + 'static + use<A> {
        let command = Arc::clone(&self.command);
        move |random, view| {
            let mut view = View::new(view);
            let count = 1 + random.position(MAX_COMMANDS);
            let one = |_| {
                let request_id = request_id(random);
                let bytes = encoded("a command", &command(random, &mut view));
                Command { request_id, since: A::SCHEMA, bytes }
            };
            let commands: Vec<_> = (0..count).map(one).collect();
            // Not in order: a leader may have been elected whose clock was behind.
            let time = ClusterTime::from_millis(random.below(MAX_STEP_MILLIS));
            Batch::new(Stamp { schema: A::SCHEMA, time }, &commands)
        }
    }
}

fn request_id(random: &mut Random) -> Option<RequestId> {
    let client_id = [u8::try_from(random.below(CLIENTS)).unwrap_or_default(); 16];
    random.one_in(2).then(|| RequestId { client_id, sequence: 1 + random.below(SEQUENCES) })
}

/// What is answered to some queries: the same behind the same entry.
#[allow(clippy::panic, reason = "a test ends here, and says why")]
fn answers<A: Application>(
    query: &MakeQuery<A>,
    watch: &Watch,
    hosted: &Hosted,
    view: &mut storage_leveldb::View<'_>,
    index: u64,
) -> Vec<u8> {
    let mut random = Random::new(index);
    let mut answers = Vec::new();
    for _ in 0..QUERIES {
        let query = encoded("a query", &query(&mut random, &mut View::new(view)));
        match hosted.host().query(view, &query) {
            Ok(answer) => {
                watch.answered::<A>(&answer);
                answers.extend_from_slice(&answer);
            }
            Err(StorageError::UnsendableAnswer(reason)) => {
                panic!("{}", unreadable("an answer", &reason));
            }
            Err(e) => answers.extend_from_slice(e.to_string().as_bytes()),
        }
    }
    answers
}

#[allow(clippy::panic, reason = "a test ends here, and says why")]
pub(super) fn encoded<T: Serialize + DeserializeOwned>(what: &str, value: &T) -> Bytes {
    match storage_leveldb::command::encode_command(value) {
        Ok(bytes) => bytes.into(),
        Err(e) => panic!("{what} is no good: {e}"),
    }
}
