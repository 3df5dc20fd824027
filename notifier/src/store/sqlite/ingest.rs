//! Events in.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use runtime::database::StoreResult;
use sqlx::SqliteConnection;
use uuid::Uuid;

use super::health;
use crate::domain::{Directory, NewEvent};
use crate::store::plan::{self, Planned};
use crate::store::{Admission, Ingested};

pub(super) async fn ingest(
    connection: &mut SqliteConnection,
    directory: &Directory,
    events: &[NewEvent],
    admission: &mut dyn Admission,
    token: Uuid,
    now: DateTime<Utc>,
) -> StoreResult<Ingested> {
    let floor: Uuid = sqlx::query_scalar("SELECT floor FROM retention").fetch_one(&mut *connection).await?;
    let ordered = plan::in_order(events);
    let known = note_arrivals(connection, &ordered, floor, now).await?;
    let mut fresh = HashSet::new();
    let mut new = Vec::new();
    for event in ordered.iter().filter(|event| event.key.0 >= floor) {
        if insert_event(connection, event, now).await? {
            fresh.insert(event.key.0);
            new.push(*event);
        }
    }
    let mut planned = plan::plan(&new, directory, admission, token, now);
    let unreachable = health::unreachable(connection, plan::handed_out_to(&planned)).await?;
    plan::withhold(&mut planned, &unreachable);
    for one in &planned {
        insert_notification(connection, one, now).await?;
    }
    Ok(plan::ingested(&ordered, &planned, &fresh, floor, &known))
}

/// Whether the event was not known.
async fn insert_event(
    connection: &mut SqliteConnection,
    event: &NewEvent,
    now: DateTime<Utc>,
) -> StoreResult<bool> {
    let inserted = sqlx::query(
        "INSERT INTO events (key, id, source, type, time, subject, merchant, traceparent, body, received_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10) ON CONFLICT DO NOTHING",
    )
    .bind(event.key.0)
    .bind(&event.id)
    .bind(&event.source)
    .bind(&event.kind)
    .bind(event.time.timestamp_micros())
    .bind(&event.subject)
    .bind(&event.merchant)
    .bind(&event.traceparent)
    .bind(String::from_utf8_lossy(&event.body).into_owned())
    .bind(now.timestamp_micros())
    .execute(connection)
    .await?;
    Ok(inserted.rows_affected() == 1)
}

/// It is new, since its event is.
async fn insert_notification(
    connection: &mut SqliteConnection,
    one: &Planned<'_>,
    now: DateTime<Utc>,
) -> StoreResult<()> {
    sqlx::query(
        "INSERT INTO waiting (id, event_key, subscription_id, due_at, lease_token, leased_until, created_at,
             updated_at)
         VALUES (?1, ?2, ?3, ?6, ?4, ?5, ?6, ?6)",
    )
    .bind(one.id.0)
    .bind(one.event.key.0)
    .bind(one.endpoint.subscription.0)
    .bind(one.lease.map(|lease| lease.token()))
    .bind(one.lease.map(|lease| lease.until().timestamp_micros()))
    .bind(now.timestamp_micros())
    .execute(connection)
    .await?;
    Ok(())
}

/// Remembers when events come in that do so at another time than their own; those of them that are
/// known.
async fn note_arrivals(
    connection: &mut SqliteConnection,
    events: &[&NewEvent],
    floor: Uuid,
    now: DateTime<Utc>,
) -> StoreResult<HashSet<Uuid>> {
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
    Ok(known)
}
