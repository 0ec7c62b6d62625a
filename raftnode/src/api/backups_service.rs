//! The service `Backups`.

use std::sync::Arc;

use proto::node::v1 as pb;
use proto::node::v1::backups_server::Backups;
use tonic::{Request, Response, Status};

use super::backup::Parts;
use super::call::{Call, DEFAULT_CLUSTER_DEADLINE};
use super::server::Api;
use crate::metrics::Op;

pub(super) struct BackupsService(pub(super) Arc<Api>);

#[tonic::async_trait]
impl Backups for BackupsService {
    type SaveStream = Parts;

    async fn save(&self, request: Request<pb::SaveRequest>) -> Result<Response<Parts>, Status> {
        let call = Call::of(request.metadata(), DEFAULT_CLUSTER_DEADLINE);
        self.0.answer(Op::SAVE_BACKUP, &call, self.0.save_backup(&call)).await
    }
}
