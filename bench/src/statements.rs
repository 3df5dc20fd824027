//! What Postgres spent its time on, as its extension `pg_stat_statements` counts it.

use std::io::Write;

use sqlx::{Connection, PgConnection};

use crate::ground::Ground;

const SHOWN: i64 = 14;

type Row = (f64, i64, i64, f64, i64, String);

/// Begins to count anew.
pub async fn forget(ground: &Ground) -> anyhow::Result<()> {
    if let Ground::Servers { postgres, .. } = ground {
        let mut connection = PgConnection::connect(postgres.url()).await?;
        sqlx::query("SELECT pg_stat_statements_reset()").execute(&mut connection).await?;
    }
    Ok(())
}

/// Prints the most expensive statements since then.
pub async fn print(ground: &Ground) -> anyhow::Result<()> {
    let Ground::Servers { postgres, .. } = ground else { return Ok(()) };
    let mut connection = PgConnection::connect(postgres.url()).await?;
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT total_exec_time, calls, rows, mean_exec_time, wal_bytes::bigint,
                regexp_replace(left(query, 110), '\\s+', ' ', 'g')
         FROM pg_stat_statements ORDER BY total_exec_time DESC LIMIT $1",
    )
    .bind(SHOWN)
    .fetch_all(&mut connection)
    .await?;
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "{:>9} {:>8} {:>9} {:>8} {:>8}  statement",
        "total ms", "calls", "rows", "mean ms", "WAL MB"
    )?;
    for (total, calls, rows, mean, wal, query) in rows {
        let wal = wal as f64 / 1e6;
        writeln!(out, "{total:>9.0} {calls:>8} {rows:>9} {mean:>8.3} {wal:>8.1}  {query}")?;
    }
    Ok(())
}

/// How long the notifier's claim took on average, ms, and how often it ran.
pub async fn claim(ground: &Ground) -> anyhow::Result<Option<(f64, i64)>> {
    let Ground::Servers { postgres, .. } = ground else { return Ok(None) };
    let mut connection = PgConnection::connect(postgres.url()).await?;
    Ok(sqlx::query_as(
        "SELECT mean_exec_time, calls FROM pg_stat_statements
         WHERE query LIKE '%FROM notifications%SKIP LOCKED%' ORDER BY calls DESC LIMIT 1",
    )
    .fetch_optional(&mut connection)
    .await?)
}
