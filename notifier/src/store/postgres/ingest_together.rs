//! Events in that belong together: all of them are kept in one transaction, or none.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use runtime::database::{PgTransaction, StoreResult};
use uuid::Uuid;

use super::ingest::{is_named_meanwhile, keep, note_arrivals, restless};
use super::{PostgresStore, identities};
use crate::domain::NewEvent;
use crate::store::plan;
use crate::store::recognition::{MAX_PASSES, Recognition};
use crate::store::{Admission, Ingested};

pub(super) async fn ingest(
    store: &PostgresStore,
    events: &[NewEvent],
    admission: &mut dyn Admission,
    token: Uuid,
    now: DateTime<Utc>,
) -> StoreResult<Ingested> {
    for _ in 0..MAX_PASSES {
        let mut transaction = store.steady.begin().await?;
        let ingested = within(&mut transaction, store, events, admission, token, now).await?;
        match ingested {
            Some(ingested) if ingested.refused.is_empty() => {
                transaction.commit().await?;
                return Ok(ingested);
            }
            Some(Ingested { refused, .. }) => {
                transaction.rollback().await?;
                return Ok(Ingested { refused, ..Ingested::default() });
            }
            None => transaction.rollback().await?,
        }
    }
    Err(restless())
}

/// The same within a transaction; `None`: another process has kept an event of the same source and id since its name
/// was looked up, and the transaction has failed.
async fn within(
    transaction: &mut PgTransaction,
    store: &PostgresStore,
    events: &[NewEvent],
    admission: &mut dyn Admission,
    token: Uuid,
    now: DateTime<Utc>,
) -> StoreResult<Option<Ingested>> {
    let first_kept = store.retention.first_kept_id(now);
    // Before the transaction has a number, for the feed.
    sqlx::query("LOCK TABLE ONLY events IN ROW EXCLUSIVE MODE").execute(&mut **transaction).await?;
    // Held until the transaction ends: subscriptions don't change meanwhile.
    let version: i64 = sqlx::query_scalar("SELECT version FROM subscriptions_version FOR SHARE")
        .fetch_one(&mut **transaction)
        .await?;
    let directory = store.directory_at(version, transaction).await?;
    let mut recognition = Recognition::of(events);
    for _ in 0..MAX_PASSES {
        recognition.begin_pass(&identities::names(&mut **transaction, &recognition).await?);
        let chosen = recognition.chosen();
        note_arrivals(&store.pool, &chosen, first_kept, now).await?;
        let mut planned = plan::plan(&chosen, &directory, admission, token, now);
        let keep = keep(version, &chosen, &recognition.to_name(), &planned, (first_kept, now));
        let kept = match keep.fetch_one(&mut **transaction).await {
            Err(error) if is_named_meanwhile(&error) => return Ok(None),
            kept => kept?,
        };
        plan::withhold(&mut planned, &kept.unreachable.into_iter().collect());
        let fresh: HashSet<Uuid> = kept.fresh.into_iter().collect();
        let part = plan::caused(&planned, &fresh);
        recognition.kept(&fresh, part);
        if !recognition.is_settled() {
            let stored = identities::stored(&mut **transaction, &recognition.open_keys()).await?;
            recognition.compare(&stored, kept.floor);
        }
        if recognition.is_settled() {
            return Ok(Some(recognition.finish()));
        }
    }
    Err(restless())
}
