//! A node, as its application and the program around it see it.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use proto::node::v1 as pb;
use tonic::{Response, Status};

use super::error::{Error, Failed, StartError};
use super::lifetime::Lifetime;
use super::part::Part;
use crate::api::{
    self, Answered, Api, Call, DEFAULT_DEADLINE, Found, MAX_ANSWER_BYTES, MAX_COMMAND_BYTES, Place, Question,
    check_answer_length, check_length, status_codes,
};
use crate::application::{Application, Ask, Command, RequestId, View, as_sent, unless_it_panics};
use crate::metrics::Op;
use crate::raft::NodeId;
use crate::shutdown::StopRequests;

/// A member of a cluster that runs the application `A`. Cheap to clone.
///
/// Dropping it stops nothing: [`until_stopped`](Self::until_stopped) and [`stop`](Self::stop) do.
pub struct Node<A: Application> {
    application: Arc<A>,
    part: Part,
    lifetime: Shared,
}

/// What runs of the node, for whichever of its handles stops it; none once it was.
pub(super) type Shared = Arc<Mutex<Option<Lifetime>>>;

impl<A: Application> Clone for Node<A> {
    fn clone(&self) -> Self {
        let (application, part) = (Arc::clone(&self.application), self.part.clone());
        Self { application, part, lifetime: Arc::clone(&self.lifetime) }
    }
}

impl<A: Application> fmt::Debug for Node<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node").field("id", &self.id()).finish_non_exhaustive()
    }
}

impl<A: Application> Node<A> {
    pub(super) fn new(application: Arc<A>, part: Part, lifetime: Shared) -> Self {
        Self { application, part, lifetime }
    }

    pub(super) fn begin(&self, lifetime: Lifetime) {
        *self.lifetime.lock().unwrap_or_else(PoisonError::into_inner) = Some(lifetime);
    }

    /// This node's id.
    #[must_use]
    pub fn id(&self) -> NodeId {
        match &self.part {
            Part::Serving(api) => api.local().id,
            Part::Faulty(faulty) => faulty.id,
        }
    }

    /// Has a command applied, by whichever node leads.
    ///
    /// # Errors
    /// [`Error`]: it says whether the command may have been applied.
    pub async fn write(&self, command: A::Command) -> Result<A::Response, Error> {
        self.written(None, command).await
    }

    /// The same under a name: however often it arrives, it is applied once, and answered with the
    /// first response.
    ///
    /// # Errors
    /// As for [`write`](Self::write); also if a later write of this client was applied before.
    pub async fn write_once(&self, id: RequestId, command: A::Command) -> Result<A::Response, Error> {
        self.written(Some(id), command).await
    }

    async fn written(&self, id: Option<RequestId>, command: A::Command) -> Result<A::Response, Error> {
        let call = Call::within(DEFAULT_DEADLINE);
        let work = async { self.write_for(&call, id, command).await.map(|answered| answered.value) };
        Ok(self.answer(Op::WRITE, &call, work).await?.into_inner())
    }

    /// Answers a query with everything in it that was acknowledged before the call, whichever node
    /// it is asked of.
    ///
    /// # Errors
    /// [`Error`]: never [`Error::Unknown`].
    pub async fn read(&self, query: A::Query) -> Result<A::Answer, Error> {
        let call = Call::within(DEFAULT_DEADLINE);
        let work = async { self.read_for(&call, query).await.map(|answered| answered.value) };
        Ok(self.answer(Op::READ, &call, work).await.map_err(Error::of_read)?.into_inner())
    }

    /// Answers a query from what this node has applied, however old that is.
    ///
    /// # Errors
    /// [`Error`]: never [`Error::Unknown`].
    pub async fn read_stale(&self, query: A::Query) -> Result<A::Answer, Error> {
        let call = Call::within(DEFAULT_DEADLINE);
        let work = async { self.read_stale_for(query).await.map(|answered| answered.value) };
        Ok(self.answer(Op::READ, &call, work).await.map_err(Error::of_read)?.into_inner())
    }

    /// Runs until the process is asked to stop by SIGTERM or SIGINT, then hands leadership over,
    /// finishes what is under way and stops. A second signal ends the process at once.
    ///
    /// # Errors
    /// The node had failed before it was asked to stop; its log says how.
    pub async fn until_stopped(&self) -> Result<(), UntilError> {
        let requests = StopRequests::listen(false);
        let requests =
            requests.map_err(|source| StartError::System { action: "listen for signals", source })?;
        #[cfg(feature = "logging")]
        let before_exit: fn() = crate::logging::flush;
        #[cfg(not(feature = "logging"))]
        let before_exit: fn() = || ();
        self.run_until(requests.first(before_exit)).await?;
        Ok(())
    }

    /// Runs until `asked` completes, then stops as [`until_stopped`](Self::until_stopped) does:
    /// for a program that listens for signals by itself, or has a server of its own that is to end
    /// first. `asked` is then that server, which uses the node until it has ended.
    ///
    /// While this runs a node that fails hands leadership over; a program that only calls
    /// [`stop`](Self::stop) in the end does without that.
    ///
    /// # Errors
    /// The node had failed before; what `asked` answered is dropped.
    pub async fn run_until<T>(&self, asked: impl Future<Output = T>) -> Result<T, Failed> {
        match self.take_lifetime() {
            Some(lifetime) => lifetime.run(asked).await,
            None => Ok(asked.await),
        }
    }

    /// Hands leadership over, finishes what is under way and stops. The storage is closed once the
    /// last clone of this is dropped.
    pub async fn stop(&self) {
        if let Some(lifetime) = self.take_lifetime() {
            lifetime.stop().await;
        }
    }

    fn take_lifetime(&self) -> Option<Lifetime> {
        self.lifetime.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// A node did not run, or not to a good end.
#[derive(Debug, thiserror::Error)]
pub enum UntilError {
    /// It had failed.
    #[error(transparent)]
    Failed(#[from] Failed),
    /// It could not be listened for.
    #[error(transparent)]
    Start(#[from] StartError),
}

/// For an application with a gRPC service of its own: requests under the deadline, trace and
/// addressee of a call. Each is to run within [`answer`](Self::answer).
impl<A: Application> Node<A> {
    /// Runs one request: refuses it if this node serves nothing or is full, counts, times and logs
    /// it, and completes its failure with who answered and who leads.
    ///
    /// # Errors
    /// What the work ended with, or the refusal.
    pub async fn answer<T>(
        &self,
        op: Op,
        call: &Call,
        work: impl Future<Output = Result<T, Status>>,
    ) -> Result<Response<T>, Status> {
        self.api()?.answer(op, call, work).await
    }

    /// Has a command applied, by whichever node leads.
    ///
    /// # Errors
    /// The status says whether the command may have been applied.
    pub async fn write_for(
        &self,
        call: &Call,
        request_id: Option<RequestId>,
        command: A::Command,
    ) -> Result<Answered<A::Response>, Status> {
        let command = encoded::<A>(request_id, &command)?;
        response_of::<A>(self.api()?.write(call, command).await?)
    }

    /// Answers a query with everything in it that was acknowledged before the call.
    ///
    /// # Errors
    /// Nothing was changed.
    pub async fn read_for(&self, call: &Call, query: A::Query) -> Result<Answered<A::Answer>, Status> {
        let question = self.question(query)?;
        let Answered { value, node } = self.api()?.read(call, &question).await?;
        Ok(Answered { value: answer_of::<A>(value)?, node })
    }

    /// Answers a query from what this node has applied, however old that is.
    ///
    /// # Errors
    /// Nothing was changed.
    pub async fn read_stale_for(&self, query: A::Query) -> Result<Answered<A::Answer>, Status> {
        let api = self.api()?;
        api.refuse_outsiders()?;
        let Answered { value, node } = api.read_stale(&self.question(query)?).await?;
        Ok(Answered { value: answer_of::<A>(value)?, node })
    }

    /// A place for a request that answers in many parts; hold it as long as it does.
    ///
    /// # Errors
    /// RESOURCE_EXHAUSTED: all are taken.
    pub fn place_for_stream(&self) -> Result<Place, Status> {
        self.api()?.admission.scan()
    }

    /// Who answers, and who leads, as far as that is known now.
    #[must_use]
    pub fn header(&self) -> pb::ResponseHeader {
        match &self.part {
            Part::Serving(api) => api::header(api.local()).unwrap_or_default(),
            Part::Faulty(faulty) => api::header_of_faulty(faulty),
        }
    }

    pub(super) fn part(&self) -> &Part {
        &self.part
    }

    pub(super) fn api(&self) -> Result<&Arc<Api>, Status> {
        match &self.part {
            Part::Serving(api) => Ok(api),
            Part::Faulty(faulty) => Err(status_codes::fault_status(faulty.id, &faulty.fault)),
        }
    }

    pub(super) fn question(&self, query: A::Query) -> Result<TypedQuestion<A>, Status> {
        let long = unless_it_panics(|| A::is_long(&query)).map_err(Status::invalid_argument)?;
        let (application, query) = (Arc::clone(&self.application), Mutex::new(Some(query)));
        Ok(TypedQuestion { application, query, long })
    }
}

/// A command as it goes into the log.
///
/// # Errors
/// INVALID_ARGUMENT: it cannot be encoded and read back, its type panics at that, or it is too
/// large.
pub(super) fn encoded<A: Application>(
    request_id: Option<RequestId>,
    command: &A::Command,
) -> Result<Command, Status> {
    let encoded = unless_it_panics(|| (storage_leveldb::command::encode_command(command), A::since(command)));
    let refused = |e: &dyn fmt::Display| Status::invalid_argument(format!("{e}; not applied"));
    let (bytes, since) = encoded.map_err(|e| refused(&e))?;
    let bytes = Bytes::from(bytes.map_err(|e| refused(&e))?);
    check_length("command", bytes.len(), MAX_COMMAND_BYTES)?;
    Ok(Command { request_id, since, bytes })
}

/// A response as the application has it.
pub(super) fn response_of<A: Application>(
    answered: Answered<Bytes>,
) -> Result<Answered<A::Response>, Status> {
    let Answered { value, node } = answered;
    let unreadable = |e| {
        Status::unknown(format!("the write was applied, its response cannot be read: {e}; mend its type"))
    };
    Ok(Answered { value: codec::decode(&value).map_err(unreadable)?, node })
}

pub(super) fn answer_of<A: Application>(found: Found) -> Result<A::Answer, Status> {
    match found {
        Found::Here(found) => {
            found.downcast().map(|answer| *answer).map_err(|_| Status::internal("an answer of another type"))
        }
        Found::There(bytes) => codec::decode(&bytes)
            .map_err(|e| Status::unavailable(format!("the leader's answer cannot be read: {e}"))),
    }
}

/// A query of this application. It is taken out when it is asked here, which is after all that can
/// be tried again.
pub(super) struct TypedQuestion<A: Application> {
    application: Arc<A>,
    query: Mutex<Option<A::Query>>,
    long: bool,
}

impl<A: Application> Question for TypedQuestion<A> {
    fn ask(&self) -> Option<Ask> {
        let query = self.query.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        let application = Arc::clone(&self.application);
        Some(Box::new(move |view| {
            let (bytes, answer) = as_sent(&application.query(&mut View::new(view), query)?)?;
            check_answer_length(bytes.len())?;
            Ok(Box::new(answer))
        }))
    }

    fn encoded(&self) -> Result<Bytes, Status> {
        let query = self.query.lock().unwrap_or_else(PoisonError::into_inner);
        let query = query.as_ref().ok_or_else(|| Status::internal("a query was asked twice"))?;
        let refused =
            |e: &dyn fmt::Display| Status::invalid_argument(format!("the query cannot be encoded: {e}"));
        let encoded = unless_it_panics(|| codec::encode(query)).map_err(|e| refused(&e))?;
        let bytes = encoded.map_err(|e| refused(&e))?;
        check_length("query", bytes.len(), MAX_ANSWER_BYTES)?;
        Ok(bytes.into())
    }

    fn is_long(&self) -> bool {
        self.long
    }
}
