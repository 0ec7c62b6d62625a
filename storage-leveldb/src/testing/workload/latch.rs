//! What must hold after a fault.

use openraft::EntryPayload;
use openraft::storage::{IOFlushed, RaftLogStorage};
use openraft::type_config::TypeConfigExt;
use openraft::vote::RaftTerm;

use super::Workload;
use crate::error::StorageError;
use crate::state::Application;
use crate::testing::broken::{Broken, promise};
use crate::testing::ids::{log_id, logged, vote};
use crate::testing::subject::TestTypes;

/// The other owner thread, and a snapshot being built, may each be in the middle of an operation that they began before
/// the fault was latched.
const OPERATIONS_UNDER_WAY: u64 = 2;

impl<C: TestTypes, A: Application<C>> Workload<C, A> {
    /// After a fault: it is latched, and everything is refused without reaching the disk.
    pub(crate) async fn check_latched(&mut self) -> Result<(), Broken> {
        let (vote, entry) = {
            let model = self.model.lock();
            (vote::<C>(model.term.next()), log_id::<C>(model.term, model.log_end))
        };
        let entry = logged::<C>(entry, EntryPayload::Blank)?.entry()?;
        let disk = self.disk.clone();
        let Some(store) = self.store.as_mut() else {
            return Ok(());
        };
        promise!(store.health.fault().is_some(), "an error was answered, but no fault is latched");
        let operations = disk.operations();
        promise!(store.log.save_vote(&vote).await.is_err(), "a vote was saved after a fault");
        let (done, flushed) = C::oneshot();
        let appended = match store.log.append([entry], IOFlushed::signal(done)).await {
            Ok(()) => flushed.await.map_err(|_| StorageError::Closed)?,
            Err(e) => Err(e),
        };
        promise!(appended.is_err(), "an entry was appended after a fault");
        promise!(store.reader.query(()).await.is_err(), "a query was answered after a fault");
        promise!(store.inbox.create().await.is_err(), "a snapshot was received after a fault");
        drop(self.store.take());
        let more = disk.operations().saturating_sub(operations);
        promise!(more <= OPERATIONS_UNDER_WAY, "the disk was changed {more} times after a fault");
        Ok(())
    }
}
