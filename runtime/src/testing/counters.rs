//! What Postgres counts of reading, for tests of plans. Counters are a connection's own: pools of one
//! connection each show what was done on them.

use crate::database::Postgres;

/// Makes what these connections have counted so far visible.
pub async fn flush(connections: &Postgres) {
    for pool in [&connections.steady, &connections.planned] {
        let flush = "SELECT pg_stat_force_next_flush(), pg_stat_clear_snapshot()";
        sqlx::query(flush).execute(pool).await.expect("counters");
    }
}

/// Entries of indexes and rows of tables that were read so far.
pub async fn rows_read(connections: &Postgres) -> i64 {
    flush(connections).await;
    let count = "SELECT (SELECT sum(idx_tup_read) FROM pg_stat_user_indexes)::bigint
                 + (SELECT sum(seq_tup_read) FROM pg_stat_user_tables)::bigint";
    sqlx::query_scalar(count).fetch_one(&connections.planned).await.expect("a count")
}

/// Pages of indexes that were touched so far: what an index passes over on its own is in no count of
/// entries.
pub async fn index_pages(connections: &Postgres) -> i64 {
    flush(connections).await;
    let count = "SELECT sum(idx_blks_hit + idx_blks_read)::bigint FROM pg_statio_user_indexes";
    sqlx::query_scalar(count).fetch_one(&connections.planned).await.expect("a count")
}
