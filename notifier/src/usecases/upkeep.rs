//! Keeping the tables in order, in the background: rooms for the days to come, and an end to what is
//! older than the retention. Any number of processes may do it.

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use prometheus::core::Collector;
use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts, Registry};
use runtime::background::{Progress, RoundError, Worker};
use runtime::database::{StoreResult, bounded, bounded_upkeep};

use super::Tools;
use crate::domain::{Day, Retention};
use crate::store::Removed;

/// The safety net: what another process was asked for, or left behind.
pub const POLL: Duration = Duration::from_mins(1);
/// How many rows of a kind one step moves or removes.
const STEP: u32 = 500;
/// How often the days are looked after.
const EVERY: TimeDelta = TimeDelta::hours(1);
/// From yesterday, for what comes in late, to so many days ahead, for when this fails.
const DAYS: std::ops::RangeInclusive<i64> = -1..=3;

/// The longest that all processes are expected to stop for: a process that starts when more has passed since
/// the time that was noted last is not trusted at once.
pub const LONGEST_STOP: TimeDelta = TimeDelta::hours(1);

/// The worker that does it, one step a round.
pub struct Upkeep {
    tools: Tools,
    retention: Retention,
    metrics: Metrics,
    /// When the days are to be looked after again, by the steady clock.
    next: DateTime<Utc>,
    /// The time that this process noted last.
    noted: Option<DateTime<Utc>>,
    /// Another process has noted a much earlier time since.
    is_contradicted: bool,
}

impl Upkeep {
    /// Removes what is older than `retention`; `registry` shows what was.
    pub fn new(tools: Tools, retention: Retention, registry: &Registry) -> prometheus::Result<Self> {
        let metrics = Metrics::register(registry)?;
        let next = DateTime::UNIX_EPOCH;
        Ok(Self { tools, retention, metrics, next, noted: None, is_contradicted: false })
    }

    /// Whether the time that was noted last agrees with `now`. Processes correct what they find to be far ahead
    /// of their clocks, so an earlier time than this process has noted says that another one is at work whose
    /// clock differs: nothing is removed until it no longer does.
    async fn is_agreed(&mut self, now: DateTime<Utc>) -> StoreResult<bool> {
        let seen = bounded(self.tools.store.last_seen()).await?;
        let expected = self.noted.unwrap_or(now) - LONGEST_STOP;
        let contradiction = seen.filter(|seen| *seen < expected);
        if let Some(seen) = contradiction
            && !self.is_contradicted
        {
            tracing::warn!(clock.now = %now, clock.seen = %seen, "retention.clock_contradicted");
        }
        self.is_contradicted = contradiction.is_some();
        Ok(!self.is_contradicted)
    }

    async fn note_time(&mut self, now: DateTime<Utc>) -> StoreResult<()> {
        bounded(self.tools.store.note_time(now)).await?;
        self.noted = Some(now);
        Ok(())
    }

    /// Whether there may be more to do. What one of the two came upon does not keep the other from
    /// being done.
    async fn look_after_days(&self, now: DateTime<Utc>, may_remove: bool) -> StoreResult<bool> {
        let prepared = self.prepare(now).await;
        let removed = if may_remove { self.remove(now).await } else { Ok(false) };
        for _ in [prepared.is_err(), removed.is_err()].into_iter().filter(|failed| *failed) {
            self.metrics.failures.inc();
        }
        prepared?;
        removed
    }

    async fn prepare(&self, now: DateTime<Utc>) -> StoreResult<()> {
        let days: Vec<Day> = DAYS.map(|days| Day::of(now).plus(days)).collect();
        let made = bounded_upkeep(self.tools.store.prepare(&days)).await?;
        if made > 0 {
            tracing::info!(days = made, "days.prepared");
        }
        Ok(())
    }

    async fn remove(&self, now: DateTime<Utc>) -> StoreResult<bool> {
        let removed = bounded_upkeep(self.tools.store.remove(self.retention.end(now), STEP)).await?;
        self.metrics.removed(&removed);
        if removed.days > 0 {
            tracing::info!(days = removed.days, kept_days = removed.kept_days, "days.dropped");
        }
        if removed.any_rows() {
            let Removed { events, notifications, audits, identities, bulks, .. } = removed;
            tracing::info!(events, notifications, audits, identities, bulks, "rows.removed");
        }
        Ok(removed.any_rows())
    }
}

#[async_trait]
impl Worker for Upkeep {
    fn name(&self) -> &'static str {
        "notifier.upkeep"
    }

    async fn run_once(&mut self) -> Result<Progress, RoundError> {
        if bounded_upkeep(self.tools.store.move_cancelled(STEP)).await? > 0 {
            return Ok(Progress::More);
        }
        let clock = &self.tools.sources.clock;
        let (now, steady) = (clock.now(), clock.steady());
        // What is removed is gone, so a clock that is in doubt removes nothing.
        let trusted = clock.is_trusted();
        let agreed = if trusted { self.is_agreed(now).await } else { Ok(false) };
        let noted = if trusted { self.note_time(now).await } else { Ok(()) };
        // The days are looked after whether or not the time could be noted.
        let mut more = false;
        if steady >= self.next {
            let may_remove = *agreed.as_ref().unwrap_or(&false);
            more = self.look_after_days(now, may_remove).await?;
            if !more {
                self.next = steady + if may_remove { EVERY } else { TimeDelta::zero() };
            }
        }
        agreed?;
        noted?;
        Ok(if more { Progress::More } else { Progress::Idle })
    }
}

struct Metrics {
    rows: IntCounterVec,
    days: IntCounter,
    kept_days: IntGauge,
    failures: IntCounter,
}

impl Metrics {
    fn register(registry: &Registry) -> prometheus::Result<Self> {
        let rows = Opts::new("ringback_retention_rows_removed_total", "Rows removed one by one, by what of");
        let metrics = Self {
            rows: IntCounterVec::new(rows, &["kind"])?,
            days: IntCounter::new("ringback_retention_days_dropped_total", "Days dropped whole")?,
            kept_days: IntGauge::new(
                "ringback_retention_days_kept",
                "Days older than the retention that stay since something of them waits or came in late",
            )?,
            failures: IntCounter::new(
                "ringback_upkeep_failures_total",
                "Times that days could not be made or removed",
            )?,
        };
        let collectors: [Box<dyn Collector>; 4] = [
            Box::new(metrics.rows.clone()),
            Box::new(metrics.days.clone()),
            Box::new(metrics.kept_days.clone()),
            Box::new(metrics.failures.clone()),
        ];
        for collector in collectors {
            registry.register(collector)?;
        }
        metrics.removed(&Removed::default());
        Ok(metrics)
    }

    fn removed(&self, removed: &Removed) {
        self.days.inc_by(removed.days);
        self.kept_days.set(i64::try_from(removed.kept_days).unwrap_or(i64::MAX));
        for (kind, rows) in [
            ("event", removed.events),
            ("notification", removed.notifications),
            ("audit", removed.audits),
            ("identity", removed.identities),
            ("bulk", removed.bulks),
        ] {
            self.rows.with_label_values(&[kind]).inc_by(rows);
        }
    }
}
