//! How much of many recharges is read to sum some of them up.

use pay_service::domain::Statement;
use pay_service::store::{PostgresStore, Store};
use runtime::database::Postgres;
use runtime::testing::counters::rows_read;
use runtime::testing::temporary_postgres_url;
use sqlx::postgres::PgPoolOptions;

/// A recharge a second; the first hundred are a small merchant's and for one account, all others a big one's.
const FILL: &str =
    "INSERT INTO recharges (tx_no, merchant, merchant_order_no, account_no, amount, currency, channel,
        created_at, status, settled_at)
    SELECT (left(millis, 8) || '-' || right(millis, 4) || '-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid,
        CASE WHEN n > 100 THEN 'big' ELSE 'small' END, n::text, CASE WHEN n > 100 THEN 'big' ELSE 'small' END,
        1000000000000, 'CNY', 'instant', time, 'succeeded', time
    FROM (SELECT n, timestamptz '2026-01-01T00:00:00Z' + n * interval '1 s' AS time
            FROM generate_series(1, 100000) n) r,
        LATERAL (SELECT lpad(to_hex((extract(epoch FROM time) * 1000)::bigint), 12, '0') AS millis) m";

#[tokio::test]
async fn totals_of_a_merchant_an_account_or_a_period_read_little_more_than_what_they_sum_up() {
    let url = temporary_postgres_url().await;
    let pool = PgPoolOptions::new().max_connections(1).connect(&url).await.expect("a server");
    let connections = Postgres::from(pool);
    let store = PostgresStore::migrate(connections.clone()).await.expect("the schema is made");
    for statement in [FILL, "VACUUM ANALYZE"] {
        sqlx::query(statement).execute(&connections.planned).await.expect("rows");
    }
    let time = |text: &str| Some(text.parse().expect("a time"));
    let of = |merchant: &str| Statement { merchant: Some(merchant.into()), ..Statement::default() };
    let hour = Statement {
        created_from: time("2026-01-01T10:00:00Z"),
        created_to: time("2026-01-01T10:05:00Z"),
        ..Statement::default()
    };
    for (statement, count) in [
        (of("small"), 100_u64),
        (Statement { account_no: Some("small".into()), ..Statement::default() }, 100),
        (hour.clone(), 300),
        (Statement { merchant: Some("big".into()), ..hour }, 300),
    ] {
        let before = rows_read(&connections).await;
        let totals = store.totals(&statement).await.expect("a store").expect("few");
        let read = rows_read(&connections).await - before;
        let found: Vec<_> = totals.iter().map(|total| (total.count, total.sum)).collect();
        assert_eq!(found, [(count, i64::try_from(count).expect("few") * 1_000_000_000_000)], "{statement:?}");
        assert!(read < 2_000, "{read} read for {statement:?}");
    }
    let all = store.totals(&of("big")).await.expect("a store").expect("fewer than are summed up at once");
    assert_eq!(all[0].sum, 99_900 * 1_000_000_000_000);
}
