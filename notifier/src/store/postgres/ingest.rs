//! Events in: one statement keeps a batch and makes its notifications. What it could not keep is compared with
//! what is stored.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use runtime::database::{PgPool, StoreError, StoreResult};
use sqlx::postgres::PgArguments;
use sqlx::query::QueryAs;
use uuid::Uuid;

use super::{PostgresStore, identities};
use crate::domain::{Day, NewEvent};
use crate::store::plan::{self, Planned};
use crate::store::recognition::{MAX_PASSES, Recognition};
use crate::store::{Admission, Ingested};

pub(super) async fn ingest(
    store: &PostgresStore,
    events: &[NewEvent],
    admission: &mut dyn Admission,
    token: Uuid,
    now: DateTime<Utc>,
) -> StoreResult<Ingested> {
    // What is younger than the retention is taken, though something as old was removed: by a clock that
    // was ahead.
    let first_kept = store.retention.first_kept_id(now);
    let mut recognition = Recognition::of(events);
    for _ in 0..MAX_PASSES {
        recognition.begin_pass(&identities::names(&store.pool, &recognition).await?);
        let chosen = recognition.chosen();
        note_arrivals(&store.pool, &chosen, first_kept, now).await?;
        let (version, directory) = match store.cache.newest() {
            Some(newest) => newest,
            None => store.read_directory().await?,
        };
        let mut planned = plan::plan(&chosen, &directory, admission, token, now);
        let keep = keep(version, &chosen, &recognition.to_name(), &planned, (first_kept, now));
        let kept = match keep.fetch_one(&store.steady).await {
            Err(error) if is_named_meanwhile(&error) => None,
            kept => Some(kept?),
        };
        let Some(kept) = kept.filter(|kept| kept.version == version) else {
            recognition.abandon_pass();
            store.read_directory().await?;
            continue;
        };
        plan::withhold(&mut planned, &kept.unreachable.into_iter().collect());
        let fresh: HashSet<Uuid> = kept.fresh.into_iter().collect();
        let part = plan::caused(&planned, &fresh);
        recognition.kept(&fresh, part);
        if !recognition.is_settled() {
            recognition
                .compare(&identities::stored(&store.pool, &recognition.open_keys()).await?, kept.floor);
        }
        if recognition.is_settled() {
            return Ok(recognition.finish());
        }
    }
    Err(restless())
}

/// Why a batch was not kept after all passes.
pub(super) fn restless() -> StoreError {
    let restless = std::io::Error::new(std::io::ErrorKind::WouldBlock, "subscriptions change all the time");
    sqlx::Error::Io(restless).into()
}

/// Whether another process has kept an event of the same source and id since the names were read.
pub(super) fn is_named_meanwhile(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(sqlx::error::DatabaseError::is_unique_violation)
}

/// What keeping a batch came upon.
#[derive(sqlx::FromRow)]
pub(super) struct Kept {
    /// Of the subscriptions; if it is not the one that the batch was matched at, nothing was kept.
    pub(super) version: i64,
    /// No key below it was kept.
    pub(super) floor: Uuid,
    /// The keys of the events that were not known.
    pub(super) fresh: Vec<Uuid>,
    /// The subscriptions that nothing was handed out to since they are unreachable.
    pub(super) unreachable: Vec<Uuid>,
}

/// The statement that keeps a batch, `$named` between its parts. The version is shared, so that ingesting
/// processes don't wait for each other, only for changes. Every notification is new, since its event is.
/// `IS TRUE` keeps the fresh keys a set to look into, where a join would compare each with each.
macro_rules! keep {
    ($named:literal) => {
        concat!(
            "
    WITH matched AS MATERIALIZED (
        SELECT version FROM subscriptions_version FOR SHARE
    ), fresh AS (
        INSERT INTO events (key, id, source, type, time, subject, merchant, traceparent, body, received_at,
            feed_position)
        SELECT new.*, $10, (SELECT epoch + pg_current_xact_id()::text::bigint FROM feed) FROM UNNEST($1::uuid[], $2::text[], $3::text[], $4::text[], $5::timestamptz[],
            $6::text[], $7::text[], $8::text[], $9::text[])
            AS new (key, id, source, type, time, subject, merchant, traceparent, body)
        WHERE (SELECT version FROM matched) = $11 AND new.key >= (SELECT LEAST(floor, $18) FROM retention)
        ON CONFLICT (key) DO NOTHING RETURNING key
    ), unreachable AS MATERIALIZED (
        SELECT subscription_id FROM subscription_health
        WHERE subscription_id = ANY ($17) AND probe_at IS NOT NULL
    ), made AS (
        INSERT INTO waiting (id, event_key, subscription_id, lease_token, leased_until, due_at, created_at,
            updated_at)
        SELECT new.id, new.event_key, new.subscription_id,
            CASE WHEN new.reachable THEN new.lease_token END,
            CASE WHEN new.reachable THEN new.leased_until END, $10, $10, $10
        FROM (
            SELECT planned.*, subscription_id NOT IN (SELECT subscription_id FROM unreachable) AS reachable
            FROM UNNEST($12::uuid[], $13::uuid[], $14::uuid[], $15::uuid[], $16::timestamptz[])
                AS planned (id, event_key, subscription_id, lease_token, leased_until)
        ) new
        WHERE (new.event_key IN (SELECT key FROM fresh)) IS TRUE
    )",
            $named,
            "
    SELECT (SELECT version FROM matched) AS version, (SELECT LEAST(floor, $18) FROM retention) AS floor,
        ARRAY(SELECT key FROM fresh) AS fresh,
        ARRAY(SELECT subscription_id FROM unreachable) AS unreachable"
        )
    };
}

/// For a batch whose events all have a `UUIDv7`: the hot path.
const KEEP: &str = keep!("");

/// For any batch. An identity that another process has written meanwhile makes the statement fail as a whole.
const KEEP_NAMED: &str = keep!(
    ", named AS (
        INSERT INTO identities (source, id, key)
        SELECT new.source, new.id, new.key FROM UNNEST($19::text[], $20::text[], $21::uuid[]) AS new (source, id, key)
        WHERE (new.key IN (SELECT key FROM fresh)) IS TRUE
    )"
);

pub(super) fn keep<'q>(
    version: i64,
    events: &[&NewEvent],
    to_name: &[&NewEvent],
    planned: &[Planned<'_>],
    (first_kept, now): (Uuid, DateTime<Utc>),
) -> QueryAs<'q, sqlx::Postgres, Kept, PgArguments> {
    let texts = |of: fn(&NewEvent) -> &str| -> Vec<String> {
        events.iter().map(|event| of(event).to_owned()).collect()
    };
    let options = |of: fn(&NewEvent) -> Option<&String>| -> Vec<Option<String>> {
        events.iter().map(|event| of(event).cloned()).collect()
    };
    let bodies: Vec<String> =
        events.iter().map(|event| String::from_utf8_lossy(&event.body).into_owned()).collect();
    let leases = || planned.iter().map(|one| one.lease);
    let keep = sqlx::query_as(if to_name.is_empty() { KEEP } else { KEEP_NAMED })
        .bind(events.iter().map(|event| event.key.0).collect::<Vec<_>>())
        .bind(texts(|event| &event.id))
        .bind(texts(|event| &event.source))
        .bind(texts(|event| &event.kind))
        .bind(events.iter().map(|event| event.time).collect::<Vec<_>>())
        .bind(options(|event| event.subject.as_ref()))
        .bind(options(|event| event.merchant.as_ref()))
        .bind(options(|event| event.traceparent.as_ref()))
        .bind(bodies)
        .bind(now)
        .bind(version)
        .bind(planned.iter().map(|one| one.id.0).collect::<Vec<_>>())
        .bind(planned.iter().map(|one| one.event.key.0).collect::<Vec<_>>())
        .bind(planned.iter().map(|one| one.endpoint.subscription.0).collect::<Vec<_>>())
        .bind(leases().map(|lease| lease.map(|lease| lease.token())).collect::<Vec<_>>())
        .bind(leases().map(|lease| lease.map(|lease| lease.until())).collect::<Vec<_>>())
        .bind(plan::handed_out_to(planned).into_iter().collect::<Vec<_>>())
        .bind(first_kept);
    if to_name.is_empty() {
        return keep;
    }
    keep.bind(to_name.iter().map(|event| event.source.clone()).collect::<Vec<_>>())
        .bind(to_name.iter().map(|event| event.id.clone()).collect::<Vec<_>>())
        .bind(to_name.iter().map(|event| event.key.0).collect::<Vec<_>>())
}

/// Remembers when events that are not known come in at another time than their own. Written before they are
/// kept, and for a minute ahead, so that a flood of late events does not write it for each batch.
pub(super) async fn note_arrivals(
    pool: &PgPool,
    events: &[&NewEvent],
    first_kept: Uuid,
    now: DateTime<Utc>,
) -> StoreResult<()> {
    let odd = plan::odd(events, now);
    if odd.is_empty() {
        return Ok(());
    }
    let (floor, known): (Uuid, Vec<Uuid>) = sqlx::query_as(
        "SELECT (SELECT LEAST(floor, $2) FROM retention), ARRAY(SELECT key FROM events WHERE key = ANY ($1))",
    )
    .bind(&odd)
    .bind(first_kept)
    .fetch_one(pool)
    .await?;
    let known: HashSet<Uuid> = known.into_iter().collect();
    let days = plan::days(odd.into_iter().filter(|key| *key >= floor && !known.contains(key)));
    if days.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "INSERT INTO arrivals (day, first_at, last_at)
         SELECT new.day, $2, $3 FROM UNNEST($1::bigint[]) AS new (day)
         WHERE NOT EXISTS (
             SELECT FROM arrivals a WHERE a.day = new.day AND a.first_at <= $2 AND a.last_at >= $2)
         ON CONFLICT (day) DO UPDATE SET first_at = LEAST(arrivals.first_at, EXCLUDED.first_at),
             last_at = GREATEST(arrivals.last_at, EXCLUDED.last_at)",
    )
    .bind(days.into_iter().map(Day::number).collect::<Vec<_>>())
    .bind(now)
    .bind(now + plan::ARRIVALS_AHEAD)
    .execute(pool)
    .await?;
    Ok(())
}
