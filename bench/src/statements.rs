//! What Postgres spent its time on, as its extension `pg_stat_statements` counts it.

use std::io::Write;

use sqlx::{Connection, PgConnection};

use crate::ground::Ground;

/// Tables of which more rows were read from end to end than this are shown.
const MANY_ROWS: i64 = 10_000;
const SHOWN: i64 = 14;

type Row = (f64, f64, i64, i64, f64, i64, String);

/// Counts planning beside execution from now on, which costs a little itself.
pub async fn count_planning(ground: &Ground) -> anyhow::Result<()> {
    if let Ground::Servers { postgres, .. } = ground {
        let mut connection = PgConnection::connect(postgres.url()).await?;
        for command in ["ALTER SYSTEM SET pg_stat_statements.track_planning = on", "SELECT pg_reload_conf()"]
        {
            sqlx::query(command).execute(&mut connection).await?;
        }
    }
    Ok(())
}

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
        "SELECT total_exec_time, total_plan_time, calls, rows, mean_exec_time, wal_bytes::bigint,
                regexp_replace(left(query, 110), '\\s+', ' ', 'g')
         FROM pg_stat_statements ORDER BY total_exec_time + total_plan_time DESC LIMIT $1",
    )
    .bind(SHOWN)
    .fetch_all(&mut connection)
    .await?;
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "{:>9} {:>9} {:>8} {:>9} {:>8} {:>8}  statement",
        "run ms", "plan ms", "calls", "rows", "mean ms", "WAL MB"
    )?;
    for (run, plan, calls, rows, mean, wal, query) in rows {
        let wal = wal as f64 / 1e6;
        writeln!(out, "{run:>9.0} {plan:>9.0} {calls:>8} {rows:>9} {mean:>8.3} {wal:>8.1}  {query}")?;
    }
    for line in read_from_end_to_end(postgres.url()).await? {
        writeln!(out, "{line}")?;
    }
    Ok(())
}

/// Tables that no index was used for, in every database: what a query planner without statistics
/// does to a table that has just grown.
async fn read_from_end_to_end(url: &str) -> anyhow::Result<Vec<String>> {
    let mut lines = Vec::new();
    let mut connection = PgConnection::connect(url).await?;
    let databases: Vec<String> =
        sqlx::query_scalar("SELECT datname::text FROM pg_database WHERE datname LIKE 'ringback_%'")
            .fetch_all(&mut connection)
            .await?;
    for database in databases {
        let address = url.trim_end_matches("postgres");
        let mut connection = PgConnection::connect(&format!("{address}{database}")).await?;
        let rows: Vec<(String, i64, i64, i64)> = sqlx::query_as(
            "SELECT relname::text, seq_scan, seq_tup_read, coalesce(idx_scan, 0) FROM pg_stat_user_tables
             WHERE seq_tup_read > $1 ORDER BY seq_tup_read DESC",
        )
        .bind(MANY_ROWS)
        .fetch_all(&mut connection)
        .await?;
        lines.extend(rows.into_iter().map(|(table, scans, read, by_index)| {
            format!("{table}: {scans} scans from end to end read {read} rows; {by_index} scans by index")
        }));
    }
    Ok(lines)
}

/// How long the notifier's statements that find due work took, ms: on average, and the slowest of all.
pub async fn claim(ground: &Ground) -> anyhow::Result<Option<(f64, f64)>> {
    let Ground::Servers { postgres, .. } = ground else { return Ok(None) };
    let mut connection = PgConnection::connect(postgres.url()).await?;
    Ok(sqlx::query_as(
        "SELECT sum(total_exec_time) / sum(calls), max(max_exec_time) FROM pg_stat_statements
         WHERE query LIKE '%FROM waiting%'
           AND (query LIKE '%lease_token = $5%' OR query LIKE '%min(first.leased_until)%')
         HAVING sum(calls) > 0",
    )
    .fetch_optional(&mut connection)
    .await?)
}
