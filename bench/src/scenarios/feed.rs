//! How long a page of a merchant's feed takes when very many events are kept: a walk from the oldest to the newest, of
//! the merchant that has half of them and of one that has few. Postgres only.

use anyhow::Context;
use sqlx::PgPool;
use uuid::Uuid;

use crate::books::Books;
use crate::clock::now;
use crate::figures::Figures;
use crate::run::Bench;
use crate::services::{Running, Services, Wish};

const EVENTS: usize = 1_000_000;
const AT_ONCE: i64 = 100_000;
/// Every second event is the big merchant's, every thousandth the small one's.
const BIG: &str = "m0";
const SMALL: &str = "m999";

/// Fills the tables, then walks.
pub async fn measure(bench: &Bench<'_>) -> anyhow::Result<Figures> {
    let services = Services::on_empty_footing(bench).await;
    let notifier = services.notifier("notifier").await;
    let wish = Wish {
        name: "bench".into(),
        url: "http://127.0.0.1:9/".into(),
        merchant: Some(BIG.into()),
        in_flight: bench.settings.in_flight,
    };
    wish.make(&notifier.api).await;
    let list = notifier.api.get("/v1/subscriptions").await.expect(200);
    let subscription: Uuid = list["items"][0]["id"].as_str().context("an id")?.parse()?;
    let books = Books::open(&services.footing.notifier_database).await?;
    let pool = books.postgres().context("feed runs on --backend postgres")?;
    let events = i64::try_from(bench.settings.events_or(EVENTS))?;
    fill(bench, pool, events, subscription).await?;
    let mut figures = Figures::default();
    for (name, query) in [
        ("big merchant, page of 200", format!("merchant={BIG}&limit=200")),
        ("small merchant, page of 50", format!("merchant={SMALL}&limit=50")),
        ("big merchant, a type that is rare", format!("merchant={BIG}&limit=50&event_types=order.rare")),
    ] {
        bench.progress.step(name);
        walk(&notifier, name, &query, &mut figures).await?;
    }
    notifier.stop().await;
    Ok(figures)
}

/// Reads all pages, one after the other.
async fn walk(notifier: &Running, name: &str, query: &str, figures: &mut Figures) -> anyhow::Result<()> {
    let (mut latencies, mut events, mut after) = (Vec::new(), 0, String::new());
    loop {
        let from = now();
        let page = notifier.api.get(&format!("/v1/feed?{query}{after}")).await.expect(200);
        latencies.push(now() - from);
        events += page["items"].as_array().context("a list")?.len();
        after = format!("&after={}", page["next_cursor"].as_str().context("a cursor")?);
        if page["has_more"] == false {
            break;
        }
    }
    figures.add(format!("{name}: events"), "", events as f64);
    figures.add_latencies(&format!("{name}:"), latencies);
    Ok(())
}

/// Events over ninety days, four to a transaction, and a delivered notification for each of the big merchant's. Written
/// as the notifier's tables are, since publishing them would take long.
async fn fill(bench: &Bench<'_>, pool: &PgPool, events: i64, subscription: Uuid) -> anyhow::Result<()> {
    for first in (0..events).step_by(usize::try_from(AT_ONCE)?) {
        bench.progress.step(&format!("feed: {first} events"));
        let last = (first + AT_ONCE).min(events) - 1;
        sqlx::query(FILL).bind(first).bind(last).bind(events).bind(subscription).execute(pool).await?;
    }
    // Transactions are numbered on from what was filled in.
    sqlx::query("UPDATE feed SET epoch = $1").bind(events).execute(pool).await?;
    sqlx::query("VACUUM ANALYZE").execute(pool).await?;
    Ok(())
}

const FILL: &str = "
    WITH kept AS (
        INSERT INTO events (key, id, source, type, time, subject, merchant, body, received_at, feed_position)
        SELECT key, key::text, '/bench', CASE WHEN n % 10000 = 0 THEN 'order.rare' ELSE 'order.paid' END, time, n::text,
            CASE WHEN n % 2 = 0 THEN 'm0' ELSE 'm' || n % 1000 END,
            '{\"type\":\"order.paid\",\"timestamp\":\"2026-01-01T00:00:00Z\",\"data\":{\"tx_no\":\"' || key || '\"}}', time, n / 4
        FROM generate_series($1::bigint, $2) AS n,
            LATERAL (SELECT now() - ($3 - n) * (interval '90 days' / $3) AS time) t,
            LATERAL (SELECT lpad(to_hex((extract(epoch FROM time) * 1000)::bigint), 12, '0') AS millis) m,
            LATERAL (SELECT (left(millis, 8) || '-' || right(millis, 4) || '-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid AS key) k
        RETURNING key, merchant, received_at
    )
    INSERT INTO notifications (id, event_key, subscription_id, state, attempts, created_at, updated_at)
    SELECT key, key, $4, 'delivered', 1, received_at, received_at FROM kept WHERE merchant = 'm0'";
