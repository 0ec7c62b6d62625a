//! Many requests of one stream: begun without a task for each, and answered in any order.
//!
//! On the leader, writes that are begun together go to the proposals together, and reads that are
//! begun together share a confirmation and a task. What is left, which is everything on a node that
//! does not lead and what has to be tried again, runs as a call of its own would.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Interval, MissedTickBehavior, interval};
use tonic::Status;

use super::admission::Place;
use super::call::Call;
use super::limits::MAX_STREAM_REQUESTS;
use super::proposal::{Applied, Reply};
use super::requests::{Answered, Found, Question, note_applied, response_of};
use super::server::Api;
use super::status_codes::{self, Failure};
use crate::application::{Command, RequestId};
use crate::connections::{Requests, UnderWay};
use crate::metrics::Op;
use crate::standing::Leader;

/// How often requests whose time is over are looked for.
const SWEEP_INTERVAL: Duration = Duration::from_millis(20);

/// A request, not begun yet.
pub(crate) struct Work<T> {
    /// What its stream knows it by.
    pub(crate) token: T,
    pub(crate) op: Op,
    pub(crate) call: Call,
    pub(crate) task: Task,
}

/// What a request asks for.
#[derive(Clone)]
pub(crate) enum Task {
    Write(Command),
    Read(Arc<dyn Question>),
    ReadStale(Arc<dyn Question>),
}

/// What a request was answered.
pub(crate) enum Done {
    Written(Answered<Bytes>),
    Read(Answered<Found>),
}

/// How a request ended.
pub(crate) type Ended<T> = (T, Result<Done, Status>);

/// The requests of one stream.
///
/// Invariant: every request in `under_way` is ended once, by its outcome or by its deadline, and
/// then it is there no more; an outcome for a number that is not there is dropped.
pub(crate) struct Pipeline<T> {
    api: Arc<Api>,
    under_way: HashMap<u64, Request<T>>,
    next_number: u64,
    applied: Applieds,
    /// Reads, and whatever runs as a call of its own. Given up with the stream.
    tasks: JoinSet<Vec<(u64, End)>>,
    sweep: Interval,
    connection: Option<Requests>,
    /// The connection is not idle.
    busy: Option<UnderWay>,
    ended: Vec<Ended<T>>,
}

type Outcome = (u64, Result<Applied, Failure>);

struct Applieds {
    sender: mpsc::UnboundedSender<Outcome>,
    receiver: mpsc::UnboundedReceiver<Outcome>,
    received: Vec<Outcome>,
}

/// A request under way.
struct Request<T> {
    token: T,
    op: Op,
    call: Call,
    started: Instant,
    task: Task,
    /// It waits for this node's own disk.
    is_local: bool,
    _places: (Place, Option<Place>),
}

enum End {
    Done(Result<Done, Status>),
    /// Nothing was done: it may be tried again.
    Again,
}

impl<T: Send + 'static> Pipeline<T> {
    /// Over `connection`, which is idle while nothing is under way.
    pub(crate) fn new(api: Arc<Api>, connection: Option<Requests>) -> Self {
        let (sender, receiver) = mpsc::unbounded_channel();
        let mut sweep = interval(SWEEP_INTERVAL);
        sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            api,
            under_way: HashMap::new(),
            next_number: 0,
            applied: Applieds { sender, receiver, received: Vec::new() },
            tasks: JoinSet::new(),
            sweep,
            connection,
            busy: None,
            ended: Vec::new(),
        }
    }

    /// Nothing is under way.
    pub(crate) fn is_empty(&self) -> bool {
        self.under_way.is_empty() && self.ended.is_empty()
    }

    /// More may be begun.
    pub(crate) fn has_room(&self) -> bool {
        self.under_way.len() + self.ended.len() < MAX_STREAM_REQUESTS
    }

    /// A request that is refused before it is begun.
    pub(crate) fn refuse(&mut self, token: T, op: Op, call: &Call, status: Status) {
        let outcome = self.api.ended(op, call, Instant::now(), Err(status));
        self.ended.push((token, outcome));
    }

    /// Begins them in this order.
    pub(crate) fn begin(&mut self, work: impl IntoIterator<Item = Work<T>>) {
        let leads = self.leads_well();
        let serving = self.api.check_serving();
        let (mut proposals, mut reads) = (Vec::new(), Vec::new());
        for work in work {
            let Some(number) = self.admit(work, leads, &serving) else { continue };
            let Some(request) = self.under_way.get(&number) else { continue };
            match &request.task {
                Task::Write(command) if leads => {
                    let reply = Reply::Numbered(self.applied.sender.clone(), number);
                    proposals.push((command.clone(), reply));
                }
                Task::Read(question) if leads && !question.is_long() => {
                    reads.push((number, Arc::clone(question)));
                }
                Task::Write(_) | Task::Read(_) | Task::ReadStale(_) => self.run(number),
            }
        }
        if !proposals.is_empty() {
            self.api.proposals.begin(proposals);
        }
        if !reads.is_empty() {
            self.tasks.spawn(read_all(Arc::clone(&self.api), reads));
        }
        self.note_business();
    }

    /// Whether this node leads and nothing is known that keeps it from answering.
    fn leads_well(&self) -> bool {
        let local = self.api.local();
        local.leader() == Leader::Here && !local.has_lost_quorum() && !local.disk_hangs()
    }

    /// Puts it among those under way, unless it has to be refused.
    fn admit(&mut self, work: Work<T>, leads: bool, serving: &Result<(), Status>) -> Option<u64> {
        let Work { token, op, call, task } = work;
        let places = match serving.clone().and_then(|()| self.places(&task)) {
            Ok(places) => places,
            Err(status) => {
                self.refuse(token, op, &call, status);
                return None;
            }
        };
        let number = self.next_number;
        self.next_number += 1;
        let is_local = leads && !matches!(task, Task::ReadStale(_));
        let request = Request { token, op, call, started: Instant::now(), task, is_local, _places: places };
        self.under_way.insert(number, request);
        Some(number)
    }

    fn places(&self, task: &Task) -> Result<(Place, Option<Place>), Status> {
        let place = self.api.admission.request()?;
        let bytes = match task {
            Task::Write(command) => Some(self.api.admission.write(command.bytes.len())?),
            Task::Read(_) | Task::ReadStale(_) => None,
        };
        Ok((place, bytes))
    }

    /// Runs it as a call of its own.
    fn run(&mut self, number: u64) {
        let Some(request) = self.under_way.get_mut(&number) else { return };
        // It answers for itself when this node's disk hangs.
        request.is_local = false;
        let (api, call, task) = (Arc::clone(&self.api), request.call, request.task.clone());
        self.tasks.spawn(async move {
            let done = match task {
                Task::Write(command) => api.write_admitted(&call, command).await.map(Done::Written),
                Task::Read(question) => api.read(&call, &*question).await.map(Done::Read),
                Task::ReadStale(question) => match api.refuse_outsiders() {
                    Ok(()) => api.read_stale(&*question).await.map(Done::Read),
                    Err(status) => Err(status),
                },
            };
            vec![(number, End::Done(done))]
        });
    }

    /// Waits until some have ended. A call that is given up loses nothing.
    pub(crate) async fn next(&mut self) -> Vec<Ended<T>> {
        while self.ended.is_empty() {
            tokio::select! {
                biased;
                _ = self.applied.receiver.recv_many(&mut self.applied.received, MAX_STREAM_REQUESTS) => {
                    self.take_applied();
                }
                Some(ends) = self.tasks.join_next() => self.take_ends(ends.unwrap_or_default()),
                _ = self.sweep.tick() => self.sweep_late(),
            }
        }
        while let Some(ends) = self.tasks.try_join_next() {
            self.take_ends(ends.unwrap_or_default());
        }
        self.note_business();
        std::mem::take(&mut self.ended)
    }

    fn take_applied(&mut self) {
        for (number, applied) in std::mem::take(&mut self.applied.received) {
            match applied {
                Ok(applied) => {
                    let Some(request) = self.under_way.get(&number) else { continue };
                    note_applied(&request.call, request.task.id(), request.started, &applied);
                    let node = self.api.local().id;
                    let done = response_of(applied.outcome).map(|value| Answered { value, node });
                    self.end(number, done.map(Done::Written));
                }
                Err(Failure::NotApplied(_)) => self.run(number),
                Err(Failure::Final(status) | Failure::Lost(status)) => self.end(number, Err(status)),
            }
        }
    }

    fn take_ends(&mut self, ends: Vec<(u64, End)>) {
        for (number, end) in ends {
            match end {
                End::Done(done) => self.end(number, done),
                End::Again => self.run(number),
            }
        }
    }

    /// Ends those whose time is over, and those that wait for a disk that hangs.
    fn sweep_late(&mut self) {
        let now = tokio::time::Instant::now();
        let hangs = self.api.local().disk_hangs();
        let late = |request: &Request<T>| {
            let writes = matches!(request.task, Task::Write(_));
            match (request.is_local && hangs, request.call.deadline <= now) {
                (true, _) if writes => Some(status_codes::disk_hangs_unknown()),
                (true, _) => Some(status_codes::disk_hangs()),
                (false, true) if writes => Some(status_codes::out_of_time_unknown()),
                (false, true) => Some(status_codes::out_of_time()),
                (false, false) => None,
            }
        };
        let late: Vec<_> =
            self.under_way.iter().filter_map(|(n, request)| Some((*n, late(request)?))).collect();
        for (number, status) in late {
            self.end(number, Err(status));
        }
    }

    fn end(&mut self, number: u64, done: Result<Done, Status>) {
        let Some(Request { token, op, call, started, .. }) = self.under_way.remove(&number) else { return };
        self.ended.push((token, self.api.ended(op, &call, started, done)));
    }

    fn note_business(&mut self) {
        match (&self.connection, self.under_way.is_empty()) {
            (_, true) => self.busy = None,
            (Some(connection), false) if self.busy.is_none() => self.busy = Some(connection.begin()),
            _ => {}
        }
    }
}

/// Those that are still under way were given up by their client.
impl<T> Drop for Pipeline<T> {
    fn drop(&mut self) {
        for request in self.under_way.values() {
            self.api.given_up(request.op, &request.call, request.started);
        }
    }
}

impl Task {
    fn id(&self) -> Option<RequestId> {
        match self {
            Self::Write(command) => command.request_id,
            Self::Read(_) | Self::ReadStale(_) => None,
        }
    }
}

/// Answers queries here, after one confirmation for all of them.
async fn read_all(api: Arc<Api>, reads: Vec<(u64, Arc<dyn Question>)>) -> Vec<(u64, End)> {
    let failure = api.confirm_read().await.err();
    let mut ends = Vec::with_capacity(reads.len());
    for (number, question) in reads {
        let end = match &failure {
            None => End::Done(api.read_stale(&*question).await.map(Done::Read)),
            Some(Failure::NotApplied(_)) => End::Again,
            Some(Failure::Final(status) | Failure::Lost(status)) => End::Done(Err(status.clone())),
        };
        ends.push((number, end));
    }
    ends
}
