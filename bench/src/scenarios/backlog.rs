//! `flow` at a steady rate while more and more notifications wait in the tables: what a claim costs,
//! how long a fresh result takes, how much memory the notifier holds. Postgres only.

use anyhow::Context;
use sqlx::PgPool;

use super::flow::Flow;
use super::system::System;
use crate::figures::Figures;
use crate::process_stats::peak_memory_mib;
use crate::run::Bench;
use crate::statements;

/// As many subscriptions share what waits.
const SUBSCRIPTIONS: i64 = 100;
const AT_ONCE: i64 = 100_000;

/// At each level of `--waiting`, all on one system.
pub async fn measure(bench: &Bench<'_>) -> anyhow::Result<Figures> {
    let rate = bench.settings.rates.first().copied().context("a rate is needed")?;
    let system = System::start(bench).await?;
    let pool = system.notifier_books.postgres().context("backlog runs on --backend postgres")?;
    let mut flow = Flow { bench, system: &system, recharges: 0, told: 0 };
    flow.subscribe().await;
    let mut figures = Figures::default();
    let mut waiting = 0;
    for level in &bench.settings.waiting {
        bench.progress.step(&format!("backlog: filling up to {level}"));
        let level = i64::try_from(*level)?;
        fill(pool, waiting, level).await?;
        waiting = waiting.max(level);
        statements::forget(bench.ground).await?;
        figures.extend(flow.open_loop(rate, &format!("{level} waiting:")).await?);
        if let Some((mean, slowest)) = statements::claim(bench.ground).await? {
            figures.add(format!("{level} waiting: claim"), "ms", mean);
            figures.add(format!("{level} waiting: slowest claim"), "ms", slowest);
        }
    }
    compare(&bench.settings.waiting, &mut figures);
    figures.add("notifier peak memory", "MiB", peak_memory_mib(system.notifier_process));
    sqlx::query("DELETE FROM waiting WHERE attempts = 1").execute(pool).await?;
    flow.check().await?;
    Ok(figures)
}

fn compare(levels: &[usize], figures: &mut Figures) {
    let (Some(first), Some(last)) = (levels.first(), levels.last()) else { return };
    for what in ["commit to webhook p50", "commit to webhook p99", "claim"] {
        let at = |level: &usize| figures.get(&format!("{level} waiting: {what}"));
        let (first, last) = (at(first), at(last));
        figures.add_ratio(format!("{what}, most / none waiting"), last, first);
    }
}

/// Notifications number `from` to `to` that failed once and wait for steps of their ladders, which
/// are spread over ten hours; with their events. Written as the notifier's tables are, since going
/// through ten million attempts would take most of an hour.
async fn fill(pool: &PgPool, from: i64, to: i64) -> anyhow::Result<()> {
    for first in (from..to).step_by(usize::try_from(AT_ONCE)?) {
        let last = (first + AT_ONCE).min(to) - 1;
        for statement in [FILL_EVENTS, FILL_NOTIFICATIONS] {
            sqlx::query(statement).bind(first).bind(last).bind(SUBSCRIPTIONS).execute(pool).await?;
        }
    }
    if to > from {
        sqlx::query("ANALYZE").execute(pool).await?;
    }
    Ok(())
}

const FILL_EVENTS: &str = "
    INSERT INTO events (key, id, source, type, time, subject, merchant, traceparent, body, received_at)
    SELECT key, key::text, '/bench', 'recharge.succeeded', now(), n::text, 'm' || n % $3, NULL,
           '{\"type\":\"recharge.succeeded\",\"data\":{\"tx_no\":\"' || key || '\"}}', now()
    FROM generate_series($1::bigint, $2) AS n,
         LATERAL (SELECT ('0199' || lpad(to_hex(n), 8, '0') || '7000' || '8' || substr(md5(n::text), 1, 15))::uuid AS key) k";

const FILL_NOTIFICATIONS: &str = "
    INSERT INTO waiting (id, event_key, subscription_id, attempts, climb, again, due_at, created_at, updated_at)
    SELECT key, key, ('01990000-0000-7000-8000-' || lpad(to_hex(n % $3), 12, '0'))::uuid, 1, 1, true,
           now() + interval '1 hour' + (n % 36000) * interval '1 second', now(), now()
    FROM generate_series($1::bigint, $2) AS n,
         LATERAL (SELECT ('0199' || lpad(to_hex(n), 8, '0') || '7000' || '8' || substr(md5(n::text), 1, 15))::uuid AS key) k";
