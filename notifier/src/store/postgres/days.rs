//! Days as partitions: made ahead, dropped whole.
//!
//! A day is the same three partitions of `events`, `notifications` and `attempts`, made and dropped
//! together. Whoever does so holds one lock of all processes, and gives up soon where it waits for a
//! table that others use: those queue behind it meanwhile.

use chrono::{DateTime, NaiveDate, Utc};
use runtime::database::{PgPool, PgTransaction, StoreResult};
use sqlx::{AssertSqlSafe, PgConnection};

use crate::domain::Day;

/// The tables with partitions, and the column that says which.
const TABLES: [(&str, &str); 3] =
    [("events", "key"), ("notifications", "id"), ("attempts", "notification_id")];

/// The lock of all processes, by an arbitrary number.
const LOCK: i64 = 0x7269_6E67_6461_7973;

/// A transaction in which nobody else makes, drops or empties days. It waits long for that, and
/// then for no table longer than Postgres takes to look for a deadlock (1 s).
pub(super) async fn begin(pool: &PgPool) -> StoreResult<PgTransaction> {
    let mut transaction = pool.begin().await?;
    match lock(&mut transaction).await {
        Ok(()) => Ok(transaction),
        Err(error) => Err(transaction.fail(error).await),
    }
}

async fn lock(connection: &mut PgConnection) -> StoreResult<()> {
    let limit = "SELECT set_config('lock_timeout', $1, TRUE)";
    sqlx::query(limit).bind("10s").execute(&mut *connection).await?;
    sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(LOCK).execute(&mut *connection).await?;
    sqlx::query(limit).bind("500ms").execute(&mut *connection).await?;
    Ok(())
}

/// The days that have partitions, oldest first.
pub(super) async fn existing(connection: &mut PgConnection) -> StoreResult<Vec<Day>> {
    let names: Vec<String> = sqlx::query_scalar(
        "SELECT c.relname::text FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
         WHERE i.inhparent = 'events'::regclass",
    )
    .fetch_all(connection)
    .await?;
    let mut days: Vec<Day> = names.iter().filter_map(|name| named(name)).collect();
    days.sort_unstable();
    Ok(days)
}

fn named(partition: &str) -> Option<Day> {
    let date = NaiveDate::parse_from_str(partition.strip_prefix("events_")?, "%Y%m%d").ok()?;
    Some(Day::of(date.and_time(chrono::NaiveTime::MIN).and_utc()))
}

/// Makes the partitions of a day, unless they are there, and moves into them what came in before.
/// Whether it did.
pub(super) async fn make(pool: &PgPool, day: Day) -> StoreResult<bool> {
    let mut transaction = begin(pool).await?;
    let made = make_within(&mut transaction, day).await;
    transaction.conclude(made).await
}

async fn make_within(connection: &mut PgConnection, day: Day) -> StoreResult<bool> {
    if existing(connection).await?.contains(&day) {
        return Ok(false);
    }
    // What is attached below is matched with what lies in these, so nothing may come in meanwhile.
    let lock = "LOCK TABLE events_default, notifications_default, attempts_default IN ACCESS EXCLUSIVE MODE";
    sqlx::query(lock).execute(&mut *connection).await?;
    let (first, next) = (day.first_id(), day.plus(1).first_id());
    for (table, id) in TABLES {
        // Names, which can't be bound, of digits and of letters from above; the bounds are ids.
        for statement in [
            format!("CREATE TABLE {table}_{day} (LIKE {table} INCLUDING ALL)"),
            format!(
                "WITH moved AS (
                     DELETE FROM {table}_default WHERE {id} >= '{first}' AND {id} < '{next}' RETURNING *
                 ) INSERT INTO {table}_{day} SELECT * FROM moved"
            ),
            format!(
                "ALTER TABLE {table} ATTACH PARTITION {table}_{day} FOR VALUES FROM ('{first}') TO ('{next}')"
            ),
        ] {
            sqlx::query(AssertSqlSafe(statement)).execute(&mut *connection).await?;
        }
    }
    Ok(true)
}

/// Drops the partitions of a day and raises the floor above it, unless something of it waits or came
/// in since `before`. Whether it did.
pub(super) async fn drop(pool: &PgPool, day: Day, before: DateTime<Utc>) -> StoreResult<bool> {
    // Asked without the locks first: a day that must stay is asked about again and again.
    let mut connection = pool.acquire().await?;
    let kept = stays(&mut connection, day, before).await?;
    connection.release();
    if kept {
        return Ok(false);
    }
    let mut transaction = begin(pool).await?;
    let dropped = drop_within(&mut transaction, day, before).await;
    transaction.conclude(dropped).await
}

async fn drop_within(connection: &mut PgConnection, day: Day, before: DateTime<Utc>) -> StoreResult<bool> {
    let lock = "LOCK TABLE ONLY events, ONLY notifications, ONLY attempts IN ACCESS EXCLUSIVE MODE";
    sqlx::query(lock).execute(&mut *connection).await?;
    if stays(connection, day, before).await? || !existing(connection).await?.contains(&day) {
        return Ok(false);
    }
    raise_floor(connection, day).await?;
    let drop = format!("DROP TABLE events_{day}, notifications_{day}, attempts_{day}");
    sqlx::query(AssertSqlSafe(drop)).execute(&mut *connection).await?;
    sqlx::query("DELETE FROM arrivals WHERE day = $1").bind(day.number()).execute(connection).await?;
    Ok(true)
}

/// Whether a day must stay whole.
pub(super) async fn stays(
    connection: &mut PgConnection,
    day: Day,
    before: DateTime<Utc>,
) -> StoreResult<bool> {
    Ok(sqlx::query_scalar(
        "SELECT EXISTS (SELECT FROM waiting WHERE id >= $1 AND id <= $2)
             OR EXISTS (SELECT FROM arrivals WHERE day = $3 AND last_at > $4)",
    )
    .bind(day.span().from)
    .bind(day.span().to)
    .bind(day.number())
    .bind(before)
    .fetch_one(connection)
    .await?)
}

/// Before anything of `day` is removed.
pub(super) async fn raise_floor(connection: &mut PgConnection, day: Day) -> StoreResult<()> {
    sqlx::query("UPDATE retention SET floor = $1 WHERE floor < $1")
        .bind(day.plus(1).first_id())
        .execute(connection)
        .await?;
    Ok(())
}
