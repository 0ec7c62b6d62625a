//! `kvcli cluster replace`: a new node takes the place of a voter.
//!
//! What is left to do follows from the membership alone, each time anew. So the command can be
//! killed anywhere and run again, and several runs of it do not disturb each other. The new node
//! comes in as a learner; once it has caught up, one change makes it a voter and takes the old one
//! out. Until that change ends the old voters decide, and with it both the old and the new ones:
//! there is never one voter less.

use std::time::{Duration, Instant};

use clap::Args;
use kvcli::wire::{Member, StatusResponse};
use kvcli::{ClientError, Endpoint};

use super::change::{check_different, show};
use crate::cli::Context;
use crate::exit::Problem;
use crate::output;

/// Between two looks at the membership.
const LOOK_AGAIN: Duration = Duration::from_millis(250);
/// It gives up when nothing has moved for this long: no step was done, and the new node has
/// received nothing.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long one request to catch up may take, before progress is shown.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(2);

#[derive(Debug, Args)]
pub(super) struct ReplaceArgs {
    /// The voter that goes; it may be dead
    old: u64,
    /// The node that takes its place: running, with an id that the cluster never had
    new: u64,
    /// Where peers reach the new node, host:port; without addresses the command waits until the
    /// node has joined by itself (`kvnode serve --join`)
    #[arg(requires = "client_addr")]
    raft_addr: Option<Endpoint>,
    /// Where clients reach the new node, host:port
    client_addr: Option<Endpoint>,
}

/// What is left to do.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    /// Nothing that this command could do: for a leader, the end of a change, or the new node.
    Wait(&'static str),
    /// Add the new node, which is reached there.
    Add { raft_addr: String, client_addr: String },
    /// Wait until the learner, which is reached there, has caught up; then exchange the two.
    Exchange { raft_addr: String, client_addr: String },
    /// Both vote: remove the old one.
    Remove,
    /// Nothing.
    Done,
}

impl ReplaceArgs {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        check_different(self.raft_addr.as_ref(), self.client_addr.as_ref())?;
        if self.old == self.new {
            return Err(Problem::BadArguments(format!("node {} cannot replace itself", self.old)).into());
        }
        let mut progress = Progress::new();
        loop {
            let (step, failed) = match context.client.latest_status().await {
                Ok(status) => {
                    let step = self.step(&status)?;
                    progress.saw(&step, matched(&status, self.new), status.last_log_index, &self);
                    if step == Step::Done {
                        let what = format!("node {} has taken the place of node {}", self.new, self.old);
                        show(context, &what, &status.members);
                        return Ok(());
                    }
                    let failed = self.take(context, &step).await.err();
                    (step, failed)
                }
                Err(error) => (Step::Wait("for the cluster to answer"), Some(error)),
            };
            progress.judge(&step, failed)?;
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// What the membership says is left to do.
    fn step(&self, status: &StatusResponse) -> Result<Step, Problem> {
        let Self { old, new, .. } = *self;
        let find = |id: u64| status.members.iter().find(|member| member.id == id);
        if !status.initialized {
            return Err(Problem::Refused("the cluster is not initialised; nothing was changed".to_owned()));
        }
        if status.joint {
            return Ok(Step::Wait("for a change of the membership to end"));
        }
        if status.header.as_ref().is_none_or(|header| header.leader_id == 0) {
            return Ok(Step::Wait("for a leader"));
        }
        let refused = |text: String| Err(Problem::Refused(format!("{text}; nothing was changed")));
        match (find(old), find(new)) {
            (None, Some(new)) if new.voter => Ok(Step::Done),
            (None, _) => refused(format!(
                "node {old} is not a member; if it was removed, let node {new} in by `kvcli cluster add-learner` and \
                 `promote`"
            )),
            (Some(old), _) if !old.voter => refused(format!(
                "node {} is a learner: add node {new}, and remove node {} by `kvcli cluster remove`",
                old.id, old.id
            )),
            (Some(old), None) => self.addition(old),
            (Some(_), Some(known)) => {
                self.check_addresses(known)?;
                let Member { raft_addr, client_addr, voter, .. } = known.clone();
                Ok(if voter { Step::Remove } else { Step::Exchange { raft_addr, client_addr } })
            }
        }
    }

    fn addition(&self, old: &Member) -> Result<Step, Problem> {
        let (Some(raft), Some(client)) = (&self.raft_addr, &self.client_addr) else {
            return Ok(Step::Wait("for the new node to join by itself (kvnode serve --join)"));
        };
        let (raft_addr, client_addr) = (raft.as_str().to_owned(), client.as_str().to_owned());
        let taken = [&old.raft_addr, &old.client_addr];
        if taken.contains(&&raft_addr) || taken.contains(&&client_addr) {
            let (old, new) = (old.id, self.new);
            return Err(Problem::Refused(format!(
                "node {new} has an address of node {old}, and no two members can share one; run `kvcli cluster remove \
                 {old}` first, then `kvcli cluster add-learner {new} {raft_addr} {client_addr}` and `kvcli cluster \
                 promote {new}`; nothing was changed"
            )));
        }
        Ok(Step::Add { raft_addr, client_addr })
    }

    fn check_addresses(&self, known: &Member) -> Result<(), Problem> {
        let differs =
            |given: &Option<Endpoint>, known: &str| given.as_ref().is_some_and(|g| g.as_str() != known);
        if differs(&self.raft_addr, &known.raft_addr) || differs(&self.client_addr, &known.client_addr) {
            return Err(Problem::Refused(format!(
                "node {} is a member at {} (peers) and {} (clients) already; leave the addresses out, or see `kvcli \
                 cluster set-address`; nothing was changed",
                known.id,
                output::escaped(known.raft_addr.as_bytes()),
                output::escaped(known.client_addr.as_bytes())
            )));
        }
        Ok(())
    }

    async fn take(&self, context: &Context, step: &Step) -> Result<(), ClientError> {
        let client = &context.client;
        match step {
            Step::Wait(_) | Step::Done => Ok(()),
            Step::Add { raft_addr, client_addr } => {
                client.add_learner(self.new, raft_addr, client_addr).await.map(drop)
            }
            Step::Exchange { raft_addr, client_addr } => {
                // Of a learner that is there it waits until that has caught up.
                let brief = client.with_timeout(PROGRESS_INTERVAL.min(client.timeout()));
                if brief.add_learner(self.new, raft_addr, client_addr).await?.catching_up {
                    return Ok(());
                }
                output::note(&format!(
                    "node {} has caught up; it becomes a voter and node {} goes, in one change",
                    self.new, self.old
                ));
                client.change_membership(&[self.new], &[self.old], false).await.map(drop)
            }
            Step::Remove => client.change_membership(&[], &[self.old], false).await.map(drop),
        }
    }
}

/// How far the leader has replicated to this member.
fn matched(status: &StatusResponse, id: u64) -> Option<u64> {
    status.replication.iter().find(|replication| replication.id == id).map(|found| found.matched_index)
}

/// What was last seen, and since when nothing has moved.
struct Progress {
    step: Option<Step>,
    matched: Option<u64>,
    moved: Instant,
    refused: Option<Step>,
}

impl Progress {
    fn new() -> Self {
        Self { step: None, matched: None, moved: Instant::now(), refused: None }
    }

    fn saw(&mut self, step: &Step, matched: Option<u64>, last: u64, args: &ReplaceArgs) {
        let ReplaceArgs { old, new, .. } = args;
        if self.step.as_ref() != Some(step) {
            self.moved = Instant::now();
            match step {
                Step::Wait(what) => output::note(&format!("waits {what}")),
                Step::Add { .. } => output::note(&format!("adds node {new} as a learner")),
                Step::Exchange { .. } => output::note(&format!("node {new} is a learner, and catches up")),
                Step::Remove => output::note(&format!("node {new} votes; node {old} goes")),
                Step::Done => {}
            }
            self.step = Some(step.clone());
        } else if matched > self.matched {
            self.moved = Instant::now();
            if let (Step::Exchange { .. }, Some(matched)) = (step, matched) {
                output::note(&format!("node {new} has {matched} of {last} entries of the log"));
            }
        }
        self.matched = matched;
    }

    /// Whether to go on. What was refused is looked at once more: something else may have changed
    /// the membership just then.
    fn judge(&mut self, step: &Step, failed: Option<ClientError>) -> anyhow::Result<()> {
        match failed {
            Some(refusal @ ClientError::Refused { .. }) if self.refused.as_ref() == Some(step) => {
                Err(refusal.into())
            }
            Some(ClientError::Refused { .. }) => {
                self.refused = Some(step.clone());
                Ok(())
            }
            Some(error) if !may_pass(&error) => Err(error.into()),
            Some(error) if self.moved.elapsed() > PATIENCE => Err(error.into()),
            None if self.moved.elapsed() > PATIENCE => Err(Problem::NothingMoves(format!(
                "nothing has moved for {} s; what was done stays, and the same command goes on from there",
                PATIENCE.as_secs()
            ))
            .into()),
            _ => Ok(()),
        }
    }
}

/// The membership says what became of it.
fn may_pass(error: &ClientError) -> bool {
    matches!(error, ClientError::Unreachable { .. } | ClientError::OutcomeUnknown { .. })
}

#[cfg(test)]
mod tests {
    use kvcli::wire::node::ResponseHeader;

    use super::*;

    fn args(addresses: Option<(&str, &str)>) -> ReplaceArgs {
        let (raft_addr, client_addr) =
            addresses.map(|(raft, client)| (raft.parse().unwrap(), client.parse().unwrap())).unzip();
        ReplaceArgs { old: 3, new: 4, raft_addr, client_addr }
    }

    fn status(members: &[(u64, bool)]) -> StatusResponse {
        let member = |(id, voter): &(u64, bool)| Member {
            id: *id,
            voter: *voter,
            raft_addr: format!("h{id}:2"),
            client_addr: format!("h{id}:1"),
            ..Member::default()
        };
        let header = Some(ResponseHeader { leader_id: 1, ..ResponseHeader::default() });
        let members = members.iter().map(member).collect();
        StatusResponse { header, initialized: true, members, ..StatusResponse::default() }
    }

    const OLD: [(u64, bool); 3] = [(1, true), (2, true), (3, true)];

    #[test]
    fn what_is_left_to_do_follows_from_the_membership() {
        let (there, joins) = (args(Some(("h4:2", "h4:1"))), args(None));
        let at = ("h4:2".to_owned(), "h4:1".to_owned());
        let with = |new: bool| status(&[&OLD[..], &[(4, new)]].concat());
        let [raft_addr, client_addr] = [at.0.clone(), at.1.clone()];
        assert_eq!(there.step(&status(&OLD)).unwrap(), Step::Add { raft_addr, client_addr });
        assert!(matches!(joins.step(&status(&OLD)).unwrap(), Step::Wait(_)));
        for args in [&there, &joins] {
            let (raft_addr, client_addr) = at.clone();
            assert_eq!(args.step(&with(false)).unwrap(), Step::Exchange { raft_addr, client_addr });
            assert_eq!(args.step(&with(true)).unwrap(), Step::Remove);
            assert_eq!(args.step(&status(&[(1, true), (2, true), (4, true)])).unwrap(), Step::Done);
        }
        let under_way = StatusResponse { joint: true, ..with(false) };
        assert!(matches!(there.step(&under_way).unwrap(), Step::Wait(_)));
        let leaderless = StatusResponse { header: None, ..with(false) };
        assert!(matches!(there.step(&leaderless).unwrap(), Step::Wait(_)));
    }

    #[test]
    fn what_would_replace_nothing_is_refused() {
        let refused = |args: ReplaceArgs, status: StatusResponse| args.step(&status).unwrap_err().to_string();
        let addresses = Some(("h4:2", "h4:1"));
        let gone = refused(args(addresses), status(&OLD[..2]));
        assert!(gone.contains("node 3 is not a member"), "{gone}");
        let typed = refused(args(None), status(&[(1, true), (2, true), (4, false)]));
        assert!(typed.contains("node 3 is not a member"), "{typed}");
        let learner = refused(args(addresses), status(&[(1, true), (2, true), (3, false)]));
        assert!(learner.contains("node 3 is a learner"), "{learner}");
        let moved = refused(args(Some(("h5:2", "h4:1"))), status(&[&OLD[..], &[(4, false)]].concat()));
        assert!(moved.contains("h4:2"), "{moved}");
        let reused = refused(args(Some(("h3:2", "h4:1"))), status(&OLD));
        assert!(reused.contains("cluster remove 3"), "{reused}");
        let new = refused(args(addresses), StatusResponse { initialized: false, ..status(&OLD) });
        assert!(new.contains("not initialised"), "{new}");
    }
}
