//! What must hold after a fault.

use std::fmt::Display;

use futures_util::stream;
use openraft::storage::{IOFlushed, RaftLogStorage, RaftStateMachine};
use openraft::type_config::TypeConfigExt;
use openraft::vote::RaftTerm;
use openraft::{EntryPayload, RaftLogReader, RaftSnapshotBuilder};

use super::Workload;
use crate::error::StorageError;
use crate::health::Fault;
use crate::raft::Application;
use crate::testing::broken::{Broken, promise};
use crate::testing::ids::{log_id, logged, vote};
use crate::testing::subject::TestTypes;

/// Those that write segments, prepare them, flush and compact may each be in the middle of an
/// operation that they began before the fault was latched.
const OPERATIONS_UNDER_WAY: u64 = 4;

/// A call after a fault is answered with that fault, and no other.
fn refused<T, E: Display>(call: &str, answer: Result<T, E>, fault: &Fault) -> Result<(), Broken> {
    match answer {
        Ok(_) => Err(Broken::Promise(format!("{call} after the fault: {fault}"))),
        Err(e) => {
            promise!(e.to_string() == fault.to_string(), "{call} is answered with {e}, not with {fault}");
            Ok(())
        }
    }
}

impl<C: TestTypes, A: Application<C>> Workload<C, A> {
    /// After a fault: it is latched, and every call is refused with it, without reaching the disk.
    pub(crate) async fn check_latched(&mut self) -> Result<(), Broken> {
        let Some(store) = &self.store else {
            return Ok(());
        };
        let Some(fault) = store.health.fault() else {
            return Err(Broken::Promise("an error was answered, but no fault is latched".to_owned()));
        };
        let operations = self.disk.operations();
        self.check_log_latched(&fault).await?;
        self.check_state_latched(&fault).await?;
        self.close();
        let more = self.disk.operations().saturating_sub(operations);
        promise!(more <= OPERATIONS_UNDER_WAY, "the disk was changed {more} times after a fault");
        Ok(())
    }

    async fn check_log_latched(&mut self, fault: &Fault) -> Result<(), Broken> {
        let (term, end) = {
            let model = self.model.lock();
            (model.after().term, model.after().log_end)
        };
        let next = log_id::<C>(term, end);
        let entry = logged::<C>(next.clone(), EntryPayload::Blank)?.entry()?;
        let log = &mut self.store()?.log;
        refused("the log's state was answered", log.get_log_state().await, fault)?;
        refused("a committed id was answered", log.read_committed().await, fault)?;
        refused("a vote was saved", log.save_vote(&vote::<C>(term.next(), false)).await, fault)?;
        refused("a committed id was saved", log.save_committed(Some(next.clone())).await, fault)?;
        let (done, flushed) = C::oneshot();
        let appended = match log.append([entry], IOFlushed::signal(done)).await {
            Ok(()) => flushed.await.map_err(|_| StorageError::Closed)?,
            Err(e) => Err(e),
        };
        refused("an entry was appended", appended, fault)?;
        let mut reader = log.get_log_reader().await;
        refused("a vote was answered", reader.read_vote().await, fault)?;
        refused("the log was read", reader.try_get_log_entries(..).await, fault)?;
        refused("the log was read", reader.limited_get_log_entries(0, end).await, fault)?;
        refused("the log was truncated", log.truncate_after(None).await, fault)?;
        refused("the log was purged", log.purge(next).await, fault)
    }

    async fn check_state_latched(&mut self, fault: &Fault) -> Result<(), Broken> {
        let next = {
            let model = self.model.lock();
            log_id::<C>(model.after().term, model.after().log_end)
        };
        let entry = logged::<C>(next, EntryPayload::Blank)?.entry()?;
        let sent = self.reference.snapshot().await?;
        let store = self.store()?;
        refused("a query was answered", store.reader.query(()).await, fault)?;
        refused("the applied state was answered", store.state.applied_state().await, fault)?;
        refused("an entry was applied", store.state.apply(stream::iter([Ok((entry, None))])).await, fault)?;
        let built = store.state.get_snapshot_builder().await.build_snapshot().await;
        refused("a snapshot was built", built, fault)?;
        refused("a snapshot was answered", store.state.get_current_snapshot().await, fault)?;
        refused("a snapshot was received", store.inbox.create().await, fault)?;
        let installed = store.state.install_snapshot(&sent.meta, sent.snapshot).await;
        refused("a snapshot was installed", installed, fault)
    }
}
