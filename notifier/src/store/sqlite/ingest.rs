//! Events in.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use runtime::database::{StoreError, StoreResult, hex, list};
use serde_json::json;
use sqlx::SqliteConnection;
use uuid::Uuid;

use super::{health, identities};
use crate::domain::{Directory, NewEvent};
use crate::store::plan::{self, Planned};
use crate::store::recognition::{MAX_PASSES, Recognition};
use crate::store::{Admission, Ingested};

pub(super) async fn ingest(
    connection: &mut SqliteConnection,
    directory: &Directory,
    events: &[NewEvent],
    admission: &mut dyn Admission,
    token: Uuid,
    (first_kept, now): (Uuid, DateTime<Utc>),
) -> StoreResult<Ingested> {
    let (floor, batch): (Uuid, i64) = sqlx::query_as(
        "UPDATE retention SET feed_position = feed_position + 1 RETURNING floor, feed_position",
    )
    .fetch_one(&mut *connection)
    .await?;
    // What is younger than the retention is taken, though something as old was removed: by a clock that
    // was ahead.
    let floor = floor.min(first_kept);
    let mut recognition = Recognition::of(events);
    for _ in 0..MAX_PASSES {
        recognition.begin_pass(&identities::names(connection, &recognition).await?);
        let chosen = recognition.chosen();
        note_arrivals(connection, &chosen, floor, now).await?;
        let young: Vec<&NewEvent> = chosen.into_iter().filter(|event| event.key.0 >= floor).collect();
        let fresh = insert_events(connection, &young, batch, now).await?;
        let to_name = recognition.to_name().into_iter().filter(|event| fresh.contains(&event.key.0));
        identities::insert(connection, to_name).await?;
        let new: Vec<&NewEvent> = young.into_iter().filter(|event| fresh.contains(&event.key.0)).collect();
        let mut planned = plan::plan(&new, directory, admission, token, now);
        let unreachable = health::unreachable(connection, plan::handed_out_to(&planned)).await?;
        plan::withhold(&mut planned, &unreachable);
        insert_notifications(connection, &planned, now).await?;
        let part = plan::caused(&planned, &fresh);
        recognition.kept(&fresh, part);
        if !recognition.is_settled() {
            recognition.compare(&identities::stored(connection, &recognition.open_keys()).await?, floor);
        }
        if recognition.is_settled() {
            return Ok(recognition.finish());
        }
    }
    Err(StoreError::Corrupt("a batch of events that no pass settles".into()))
}

/// The keys of those that were not known.
async fn insert_events(
    connection: &mut SqliteConnection,
    events: &[&NewEvent],
    batch: i64,
    now: DateTime<Utc>,
) -> StoreResult<HashSet<Uuid>> {
    let row = |event: &&NewEvent| {
        json!([
            hex(event.key.0),
            event.id,
            event.source,
            event.kind,
            event.time.timestamp_micros(),
            event.subject,
            event.merchant,
            event.traceparent,
            String::from_utf8_lossy(&event.body),
        ])
    };
    let fresh: Vec<Uuid> = sqlx::query_scalar(
        "INSERT INTO events (key, id, source, type, time, subject, merchant, traceparent, body, received_at,
             feed_position)
         SELECT unhex(value ->> 0), value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6,
             value ->> 7, value ->> 8, ?2, ?3
         FROM json_each(?1) WHERE TRUE ON CONFLICT DO NOTHING RETURNING key",
    )
    .bind(list(events.iter().map(row)))
    .bind(now.timestamp_micros())
    .bind(batch)
    .fetch_all(connection)
    .await?;
    Ok(fresh.into_iter().collect())
}

/// They are new, since their events are.
async fn insert_notifications(
    connection: &mut SqliteConnection,
    planned: &[Planned<'_>],
    now: DateTime<Utc>,
) -> StoreResult<()> {
    let row = |one: &Planned<'_>| {
        json!([
            hex(one.id.0),
            hex(one.event.key.0),
            hex(one.endpoint.subscription.0),
            one.lease.map(|lease| hex(lease.token())),
            one.lease.map(|lease| lease.until().timestamp_micros()),
        ])
    };
    sqlx::query(
        "INSERT INTO waiting (id, event_key, subscription_id, due_at, lease_token, leased_until, created_at,
             updated_at)
         SELECT unhex(value ->> 0), unhex(value ->> 1), unhex(value ->> 2), ?2, unhex(value ->> 3), value ->> 4,
             ?2, ?2
         FROM json_each(?1)",
    )
    .bind(list(planned.iter().map(row)))
    .bind(now.timestamp_micros())
    .execute(connection)
    .await?;
    Ok(())
}

/// Remembers when events that are not known come in at another time than their own.
async fn note_arrivals(
    connection: &mut SqliteConnection,
    events: &[&NewEvent],
    floor: Uuid,
    now: DateTime<Utc>,
) -> StoreResult<()> {
    let mut known = HashSet::new();
    let odd = plan::odd(events, now);
    for key in &odd {
        let found: Option<Uuid> = sqlx::query_scalar("SELECT key FROM events WHERE key = ?1")
            .bind(key)
            .fetch_optional(&mut *connection)
            .await?;
        known.extend(found);
    }
    for day in plan::days(odd.into_iter().filter(|key| *key >= floor && !known.contains(key))) {
        sqlx::query(
            "INSERT INTO arrivals (day, first_at, last_at) VALUES (?1, ?2, ?3)
             ON CONFLICT (day) DO UPDATE SET first_at = min(first_at, excluded.first_at),
                 last_at = max(last_at, excluded.last_at)",
        )
        .bind(day.number())
        .bind(now.timestamp_micros())
        .bind((now + plan::ARRIVALS_AHEAD).timestamp_micros())
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}
