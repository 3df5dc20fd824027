//! Events in: one statement keeps a batch and makes its notifications.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use runtime::database::StoreResult;
use sqlx::PgPool;
use sqlx::postgres::PgArguments;
use sqlx::query::QueryAs;
use uuid::Uuid;

use super::PostgresStore;
use crate::domain::{Day, NewEvent};
use crate::store::plan::{self, Planned};
use crate::store::{Admission, Ingested};

/// How often a batch is matched again because subscriptions have changed meanwhile.
const TRIES: usize = 10;

pub(super) async fn ingest(
    store: &PostgresStore,
    events: &[NewEvent],
    admission: &mut dyn Admission,
    token: Uuid,
    now: DateTime<Utc>,
) -> StoreResult<Ingested> {
    let ordered = plan::in_order(events);
    let known = note_arrivals(&store.pool, &ordered, now).await?;
    for _ in 0..TRIES {
        let (version, directory) = match store.cache.newest() {
            Some(newest) => newest,
            None => store.read_directory().await?,
        };
        let mut planned = plan::plan(&ordered, &directory, admission, token, now);
        let kept = keep(version, &ordered, &planned, now).fetch_one(&store.steady).await?;
        if kept.version == version {
            plan::withhold(&mut planned, &kept.unreachable.into_iter().collect());
            return Ok(plan::ingested(
                &ordered,
                &planned,
                &kept.fresh.into_iter().collect(),
                kept.floor,
                &known,
            ));
        }
        store.read_directory().await?;
    }
    let restless = std::io::Error::new(std::io::ErrorKind::WouldBlock, "subscriptions change all the time");
    Err(sqlx::Error::Io(restless).into())
}

/// What keeping a batch came upon.
#[derive(sqlx::FromRow)]
struct Kept {
    /// Of the subscriptions; if it is not the one that the batch was matched at, nothing was kept.
    version: i64,
    /// No key below it was kept.
    floor: Uuid,
    /// The keys of the events that were not known.
    fresh: Vec<Uuid>,
    /// The subscriptions that nothing was handed out to since they are unreachable.
    unreachable: Vec<Uuid>,
}

/// The version is shared, so that ingesting processes don't wait for each other, only for changes.
/// Every notification is new, since its event is. `IS TRUE` keeps the fresh keys a set to look into,
/// where a join would compare each with each.
const KEEP: &str = "
    WITH matched AS MATERIALIZED (
        SELECT version FROM subscriptions_version FOR SHARE
    ), fresh AS (
        INSERT INTO events (key, id, source, type, time, subject, merchant, traceparent, body, received_at)
        SELECT new.*, $10 FROM UNNEST($1::uuid[], $2::text[], $3::text[], $4::text[], $5::timestamptz[],
            $6::text[], $7::text[], $8::text[], $9::text[])
            AS new (key, id, source, type, time, subject, merchant, traceparent, body)
        WHERE (SELECT version FROM matched) = $11 AND new.key >= (SELECT floor FROM retention)
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
    )
    SELECT (SELECT version FROM matched) AS version, (SELECT floor FROM retention) AS floor,
        ARRAY(SELECT key FROM fresh) AS fresh,
        ARRAY(SELECT subscription_id FROM unreachable) AS unreachable";

fn keep<'q>(
    version: i64,
    events: &[&NewEvent],
    planned: &[Planned<'_>],
    now: DateTime<Utc>,
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
    sqlx::query_as(KEEP)
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
}

/// Remembers when events come in that do so at another time than their own; those of them that are
/// known. Written before they are kept, and for a minute ahead, so that a flood of late events does
/// not write it for each batch.
async fn note_arrivals(
    pool: &PgPool,
    events: &[&NewEvent],
    now: DateTime<Utc>,
) -> StoreResult<HashSet<Uuid>> {
    let odd = plan::odd(events, now);
    if odd.is_empty() {
        return Ok(HashSet::new());
    }
    let (floor, known): (Uuid, Vec<Uuid>) = sqlx::query_as(
        "SELECT (SELECT floor FROM retention), ARRAY(SELECT key FROM events WHERE key = ANY ($1))",
    )
    .bind(&odd)
    .fetch_one(pool)
    .await?;
    let known: HashSet<Uuid> = known.into_iter().collect();
    let days = plan::days(odd.into_iter().filter(|key| *key >= floor && !known.contains(key)));
    if days.is_empty() {
        return Ok(known);
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
    Ok(known)
}
