//! Get, and the linearizable query that get and scan stand on.

use proto::kv::v1 as kv;
use storage_leveldb::StorageError;
use tonic::Status;

use super::call::Call;
use super::forward::{Effect, Hop};
use super::header::header;
use super::route::{self, LEADER_WAIT};
use super::server::Api;
use super::status_codes::{self, Failure};
use super::write::pair;
use crate::app::{Answer, Query};

impl Api {
    pub(super) async fn get(&self, call: &Call, request: kv::GetRequest) -> Result<kv::GetResponse, Status> {
        let query = || Query::Get { key: request.key.clone() };
        if request.stale {
            self.refuse_outsiders()?;
            return Ok(self.get_response(self.query(query()).await?));
        }
        let here = async || {
            let read = async {
                self.confirm_read().await?;
                Ok(self.get_response(self.query(query()).await?))
            };
            route::within(call, Effect::Read, read).await
        };
        let there = async |hop: Hop| Ok(hop.kv().get(hop.request(request.clone())).await?.into_inner());
        self.on_leader(call, LEADER_WAIT, Effect::Read, here, there).await
    }

    fn get_response(&self, answer: Answer) -> kv::GetResponse {
        kv::GetResponse {
            header: header(&self.local, answer.applied_index),
            pair: answer.found.into_iter().next().map(|found| pair(found.key, found.record)),
        }
    }

    /// Returns once a query here sees every write acknowledged before the call.
    pub(super) async fn confirm_read(&self) -> Result<(), Failure> {
        if self.local.has_lost_quorum() {
            return Err(status_codes::no_quorum().into());
        }
        let confirmed = self.local.unless_disk_hangs(self.read_index.confirm()).await;
        confirmed.unwrap_or_else(|| Err(status_codes::disk_hangs().into()))
    }

    /// Answers from the state applied here, however old it is.
    pub(super) async fn query(&self, query: Query) -> Result<Answer, Status> {
        self.local.reader.query(query).await.map_err(|e| self.unanswered(&e))
    }

    /// The same for a query that reads many pairs: on a thread that may wait for the disk, because nothing else that this
    /// thread serves should wait with it.
    pub(super) async fn long_query(&self, query: Query) -> Result<Answer, Status> {
        let reader = self.local.reader.clone();
        let answer = tokio::task::spawn_blocking(move || reader.query_blocking(query)).await;
        answer.unwrap_or(Err(StorageError::Closed)).map_err(|e| self.unanswered(&e))
    }

    fn unanswered(&self, e: &StorageError) -> Status {
        match status_codes::check_standing(&self.local) {
            Err(standing) => standing,
            Ok(()) => Status::unavailable(format!("{e}; ask another node")),
        }
    }

    /// A stale answer of a node that never was part of a cluster would be no answer at all.
    pub(super) fn refuse_outsiders(&self) -> Result<(), Status> {
        status_codes::check_affiliation(&self.local)
    }
}
