//! Where it is kept when pay-service is asked about requests.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use runtime::database::StoreResult;
use sqlx::FromRow;
use uuid::Uuid;

use super::rows::{RequestRow, StoredTime, corrupt};
use crate::domain::{DueRequest, NextAsk};

/// Requests that pay-service is to be asked about, shared by leases.
#[async_trait]
pub trait SweepStore: Send + Sync + 'static {
    /// Takes up to `limit` requests that are due at `now` under the lease `token` until `until`, the
    /// longest due first.
    async fn claim_requests(
        &self,
        token: Uuid,
        now: DateTime<Utc>,
        until: DateTime<Utc>,
        limit: u32,
    ) -> StoreResult<Vec<DueRequest>>;

    /// Says when requests are asked about next, as far as they are under the lease `token` still.
    async fn set_next_asks(&self, token: Uuid, next: &[NextAsk]) -> StoreResult<()>;
}

/// A request that is to be asked about.
#[derive(FromRow)]
pub(super) struct DueRow<T> {
    #[sqlx(flatten)]
    request: RequestRow<T>,
    asks: i64,
    misses: i64,
}

impl<T: StoredTime> DueRow<T> {
    /// The request it holds.
    pub(super) fn read(self) -> StoreResult<DueRequest> {
        Ok(DueRequest {
            request: self.request.read()?,
            asks: self.asks.try_into().map_err(corrupt)?,
            misses: self.misses.try_into().map_err(corrupt)?,
        })
    }
}
