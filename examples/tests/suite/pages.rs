//! The code of the guide's pages: every block of Rust in them is here, or in another file that is
//! compiled, as it stands on the page; and what it says is so.
include!("../../src/bin/stockroom/program.rs");

const PAGES: [(&str, &str); 5] = [
    ("first-application.md", include_str!("../../../docs/guide/first-application.md")),
    ("testing.md", include_str!("../../../docs/guide/testing.md")),
    ("determinism.md", include_str!("../../../docs/guide/determinism.md")),
    ("changing-your-types.md", include_str!("../../../docs/guide/changing-your-types.md")),
    ("without-the-framework.md", include_str!("../../../docs/guide/without-the-framework.md")),
];
const SOURCES: [&str; 3] = [
    include_str!("../../src/bin/stockroom/program.rs"),
    include_str!("pages.rs"),
    include_str!("processes.rs"),
];

/// Code without what depends on the width of lines.
fn squeezed(code: &str) -> String {
    let code: String = code.split_whitespace().collect();
    code.replace(",)", ")")
}

#[test]
fn the_code_of_the_pages_is_compiled() {
    let sources = SOURCES.map(squeezed);
    for (name, page) in PAGES {
        let inside = page.split("\n```").skip(1).step_by(2);
        let code = inside.filter_map(|block| block.strip_prefix("rust,ignore\n"));
        let mut seen = 0;
        for code in code {
            let found = sources.iter().any(|source| source.contains(&squeezed(code)));
            assert!(found, "{name} shows what no source has:\n{code}");
            seen += 1;
        }
        assert!(seen >= 3, "{name}: {seen} blocks");
    }
}

/// first-application.md, "What a failure says".
mod names {
    use super::{Command, Node, Response, Stockroom};

    use std::time::Duration;

    use raftnode::RequestId;

    async fn take(
        node: &Node<Stockroom>,
        client_id: [u8; 16],
        sequence: u64,
    ) -> Result<Response, raftnode::Error> {
        let id = RequestId { client_id, sequence };
        loop {
            let command = Command::Take { item: "bolts".to_owned(), count: 1 };
            match node.write_once(id, command).await {
                Err(raftnode::Error::Unknown(_) | raftnode::Error::NotApplied(_)) => {}
                outcome => return outcome,
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

/// testing.md, "What a command does".
mod machine {
    use super::{Command, Query, Response, Stockroom};
    use raftnode::testing::Machine;
    use raftnode::{ClusterTime, RequestId};

    fn take(count: u64) -> Command {
        Command::Take { item: "bolts".to_owned(), count }
    }

    #[tokio::test]
    async fn what_is_not_there_is_not_taken() {
        let mut machine = Machine::new(Stockroom).await;
        let delivery = Command::Deliver { item: "bolts".to_owned(), count: 10 };
        assert_eq!(machine.apply(delivery).await, Response::Left(10));
        assert_eq!(machine.apply(take(12)).await, Response::TooFew { left: 10 });
        assert_eq!(machine.query(Query::Left("bolts".to_owned())).await.unwrap(), 10);
    }

    #[tokio::test]
    async fn a_repeated_take_takes_once() {
        let mut machine = Machine::new(Stockroom).await;
        machine.apply(Command::Deliver { item: "bolts".to_owned(), count: 10 }).await;
        let named = |sequence| Some(RequestId { client_id: [7; 16], sequence });
        let time = ClusterTime::from_millis(5_000);
        let commands = vec![(named(2), take(3)), (named(2), take(3)), (named(1), take(3))];
        let outcomes = machine.apply_entry(time, commands).await;
        assert_eq!(outcomes, [Ok(Response::Left(7)), Ok(Response::Left(7)), Err(2)]);
    }
}

/// testing.md, "Every member, every crash, every disk".
mod subject {
    use super::{Command, Query, Stockroom};
    use raftnode::View;
    use raftnode::testing::{Random, Subject};

    fn command(random: &mut Random, view: &mut View<'_, '_>) -> Command {
        let item = format!("item {}", random.below(5));
        if random.one_in(2) {
            return Command::Deliver { item, count: random.below(20) };
        }
        let left = view.load(item.as_bytes()).unwrap().unwrap_or(0);
        // What is there, or one more.
        Command::Take { item, count: left + random.below(2) }
    }

    fn subject() -> Subject<Stockroom> {
        Subject::new(|| Stockroom, command)
            .queries(|random, _| Query::Left(format!("item {}", random.below(5))))
    }

    #[test]
    fn a_log_means_the_same_on_every_member() {
        subject().determinism_test().run().unwrap();
    }

    #[test]
    fn every_promise_holds_after_a_power_failure() {
        const POINTS: u64 = 300;
        let report = subject().crash_test().points(POINTS).steps(12).run().unwrap();
        assert!(report.found.points >= POINTS, "{report}");
    }

    #[test]
    fn no_missing_or_shortened_file_changes_an_answer() {
        let test = subject().fault_test();
        for report in [test.missing_files().unwrap(), test.truncated_files().unwrap()] {
            assert!(report.found.total().detected > 0, "{report}");
        }
    }

    #[test]
    fn a_cluster_keeps_its_promises_under_trouble() {
        println!("{}", subject().cluster_test().seed(1).run().unwrap());
    }
}

/// testing.md, "A cluster in ten lines".
mod cluster {
    use super::{Command, Stockroom};
    use raftnode::testing::{Cluster, Survival};

    #[tokio::test(flavor = "multi_thread")]
    async fn a_delivery_survives_the_power_failure_of_all() {
        let cluster = Cluster::start(3, 1, || Stockroom).await.unwrap();
        let leader = cluster.leader().await.unwrap();
        cluster.network().isolate(leader, cluster.nodes());
        let other = cluster.nodes().into_iter().find(|node| *node != leader).unwrap();
        let delivery = Command::Deliver { item: "bolts".to_owned(), count: 10 };
        cluster.write(other, delivery).await.unwrap();
        for node in cluster.nodes() {
            cluster.crash(node, Survival::Nothing).await;
        }
        println!("{}", cluster.check().await.unwrap());
    }
}

/// determinism.md, "Time".
mod leases {
    use std::time::Duration;

    use raftnode::{At, ClusterTime};
    use serde::{Deserialize, Serialize};

    #[derive(Serialize, Deserialize)]
    struct Lease {
        owner: String,
        until_ms: u64,
    }

    fn lease(owner: String, at: At) -> Lease {
        Lease { owner, until_ms: (at.time + Duration::from_secs(10)).as_millis() }
    }

    fn has_expired(lease: &Lease, at: At) -> bool {
        ClusterTime::from_millis(lease.until_ms) <= at.time
    }

    #[test]
    fn a_lease_ends_by_the_clusters_time() {
        let at = |ms| At { position: 1, time: ClusterTime::from_millis(ms), schema: 1, request_id: None };
        let lease = lease("me".to_owned(), at(5_000));
        assert!(!has_expired(&lease, at(14_999)) && has_expired(&lease, at(15_000)));
    }
}

/// The same page: a task that sweeps, and merges.
mod visits {
    use std::time::Duration;

    use raftnode::testing::Machine;
    use raftnode::{Application, At, Node, View};
    use serde::{Deserialize, Serialize};

    use raftnode::{MergeOperator, StorageError, Transaction};

    struct Sums;

    impl MergeOperator for Sums {
        fn merge(&self, _: &[u8], older: &[u8], operand: &[u8]) -> Result<Vec<u8>, String> {
            let number = |bytes: &[u8]| bytes.try_into().map(u64::from_le_bytes).map_err(|_| "no number");
            let sum = number(older)?.wrapping_add(number(operand)?);
            Ok(sum.to_le_bytes().to_vec())
        }
    }

    fn count_visit(txn: &mut Transaction<'_, '_>, page: &str) -> Result<(), StorageError> {
        txn.merge(page.as_bytes(), &1_u64.to_le_bytes())
    }

    #[derive(Serialize, Deserialize)]
    enum Command {
        Visit(String),
        Sweep,
    }

    struct Locks;

    impl Application for Locks {
        const SCHEMA: u32 = 1;
        type Command = Command;
        type Response = ();
        type Query = String;
        type Answer = u64;

        fn apply(&self, txn: &mut Transaction<'_, '_>, _: At, command: Command) -> Result<(), StorageError> {
            match command {
                Command::Visit(page) => count_visit(txn, &page),
                Command::Sweep => Ok(()),
            }
        }

        fn query(&self, view: &mut View<'_, '_>, page: String) -> Result<u64, StorageError> {
            let stored = view.get(page.as_bytes())?.unwrap_or_default();
            Ok(u64::from_le_bytes(stored[..].try_into().unwrap_or_default()))
        }

        fn merge_operator(&self) -> Option<&dyn MergeOperator> {
            Some(&Sums)
        }
    }

    async fn with_a_sweeper(node: Node<Locks>) {
        tokio::spawn(sweep(node.clone()));

        async fn sweep(node: Node<Locks>) {
            loop {
                tokio::time::sleep(Duration::from_secs(1)).await;
                if node.leads() {
                    // A sweep that was not applied is made up for by the next.
                    let _ = node.write(Command::Sweep).await;
                }
            }
        }
    }

    #[tokio::test]
    async fn visits_are_counted() {
        let mut machine = Machine::new(Locks).await;
        for _ in 0..3 {
            machine.apply(Command::Visit("front".to_owned())).await;
        }
        assert_eq!(machine.query("front".to_owned()).await.unwrap(), 3);
    }
}

/// changing-your-types.md.
mod versions {
    use raftnode::{Application, At, View};

    use raftnode::{StorageError, Transaction};
    use serde::{Deserialize, Serialize};

    #[derive(Serialize, Deserialize)]
    enum StoredItem {
        V1 { count: u64 },
        V2 { count: u64, shelf: Option<String> },
    }

    struct Item {
        count: u64,
        shelf: Option<String>,
    }

    impl From<StoredItem> for Item {
        fn from(stored: StoredItem) -> Self {
            match stored {
                StoredItem::V1 { count } => Self { count, shelf: None },
                StoredItem::V2 { count, shelf } => Self { count, shelf },
            }
        }
    }

    fn item(txn: &mut Transaction<'_, '_>, key: &[u8]) -> Result<Option<Item>, StorageError> {
        Ok(txn.load::<StoredItem>(key)?.map(Item::from))
    }

    #[derive(Serialize, Deserialize)]
    enum Command {
        Take { item: String },
        TakeFrom { item: String, shelf: String },
    }

    #[test]
    fn commands_mean_what_they_meant_in_version_1() {
        let take = [0, 4, b'b', b'o', b'l', b't'];
        let command: Command = raftnode::decode(b"Take", &take).unwrap();
        assert!(matches!(&command, Command::Take { item } if item == "bolt"));
        assert_eq!(raftnode::encode(b"Take", &command).unwrap(), take);
    }

    const FEE: u64 = 1;

    struct Second;

    impl Application for Second {
        type Command = Command;
        type Response = u64;
        type Query = ();
        type Answer = ();

        const SCHEMA: u32 = 2;

        fn since(command: &Command) -> u32 {
            match command {
                Command::Take { .. } => 1,
                Command::TakeFrom { .. } => 2,
            }
        }

        fn apply(
            &self,
            txn: &mut Transaction<'_, '_>,
            at: At,
            command: Command,
        ) -> Result<u64, StorageError> {
            let fee = if at.schema >= 2 { FEE } else { 0 };
            let (Command::Take { item: key } | Command::TakeFrom { item: key, .. }) = command;
            let mut found = item(txn, key.as_bytes())?.unwrap_or(Item { count: 0, shelf: None });
            found.count = found.count.saturating_sub(1 + fee);
            let Item { count, shelf } = found;
            txn.store(key.as_bytes(), &StoredItem::V2 { count, shelf })?;
            Ok(count)
        }

        fn query(&self, _: &mut View<'_, '_>, (): ()) -> Result<(), StorageError> {
            Ok(())
        }
    }

    #[test]
    fn an_older_value_becomes_the_newer_one() {
        let item = Item::from(StoredItem::V1 { count: 3 });
        assert_eq!((item.count, item.shelf), (3, None));
        assert_eq!(Second::since(&Command::Take { item: String::new() }), 1);
    }
}

/// without-the-framework.md.
mod alone {
    openraft::declare_raft_types!(
        Types: D = String, R = Option<String>, NodeId = u64, Node = openraft::BasicNode
    );

    use storage_leveldb::scan::KeyRange;
    use storage_leveldb::{Application, StorageError, Transaction, View};

    struct Queue;

    impl Application<Types> for Queue {
        type Query = ();
        type Answer = usize;

        fn apply(
            &self,
            txn: &mut Transaction<'_>,
            index: u64,
            item: &String,
        ) -> Result<Option<String>, StorageError> {
            txn.put(&index.to_be_bytes(), item.as_bytes());
            Ok(None)
        }

        fn query(&self, view: &mut View<'_>, (): ()) -> Result<usize, StorageError> {
            view.scan(KeyRange::all()).try_fold(0, |items, pair| pair.map(|_| items + 1))
        }
    }

    use network_grpc::{GrpcNetwork, LocalIdentity, MemberIdentity, NetworkOptions, RaftService};
    use openraft::{Config, Raft, SnapshotPolicy};
    use storage_leveldb::config::check_config;
    use storage_leveldb::{Options, StateMachine, StateReader, Storage, durable_config};

    async fn start(
        dir: &std::path::Path,
        id: u64,
        member: MemberIdentity,
        listener: tokio::net::TcpListener,
    ) -> anyhow::Result<(Raft<Types, StateMachine<Types, Queue>>, StateReader<Types, Queue>)> {
        let store = Storage::open(dir, Queue, Options::default()).await?;
        let config = Config { snapshot_policy: SnapshotPolicy::LogsSinceLast(10_000), ..durable_config() };
        check_config(&config)?;

        let (identity, options) = (LocalIdentity::member_of(id, member), NetworkOptions::default());
        let network = GrpcNetwork::new(identity.clone(), options.clone());
        let raft = Raft::new(id, config.into(), network, store.log, store.state).await?;

        let inbox = move |announced| {
            let inbox = store.inbox.clone();
            async move { inbox.create_for(&announced).await }
        };
        let service = RaftService::new(raft.clone(), identity, inbox, options.clone());
        let server = network_grpc::server_builder(&options).add_service(service.into_server());
        tokio::spawn(server.serve_with_incoming(network_grpc::incoming(listener)));
        Ok((raft, store.reader))
    }

    #[tokio::test]
    async fn a_cluster_of_one_takes_an_item() {
        use network_grpc::{ClusterId, Incarnation};

        let dir = tempfile::tempdir().unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap().to_string();
        let incarnation = Some(Incarnation::random(0));
        let member = MemberIdentity { cluster_id: ClusterId::random(), incarnation };
        let (raft, reader) = start(dir.path(), 1, member, listener).await.unwrap();
        let node = openraft::BasicNode::new(addr);
        raft.initialize(std::collections::BTreeMap::from([(1, node)])).await.unwrap();
        raft.wait(None).state(openraft::ServerState::Leader, "it leads").await.unwrap();
        raft.client_write("an item".to_owned()).await.unwrap();
        assert_eq!(reader.query(()).await.unwrap(), 1);
        raft.shutdown().await.unwrap();
    }
}
