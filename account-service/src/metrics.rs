//! What `/metrics` shows of this service.

use chrono::{DateTime, Utc};
use prometheus::{IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};

use crate::domain::{
    CreditSource, DayState, DifferenceKind, ExceptionKind, Standing, UnreconciledDays, Verdict,
};

/// Counters and gauges of one service instance.
#[derive(Clone)]
pub struct Metrics {
    results: IntCounterVec,
    pay_service_calls: IntCounterVec,
    open_exceptions: IntGaugeVec,
    waiting_requests: IntGauge,
    oldest_request: IntGauge,
    differences: IntCounterVec,
    running_reconciliations: IntGauge,
    oldest_reconciliation: IntGauge,
    open_differences: IntGauge,
    unreconciled_days: IntGaugeVec,
    oldest_unreconciled_day: IntGauge,
}

/// How a call to pay-service went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// It answered the question.
    Answered,
    /// It refused what was asked.
    Refused,
    /// Nothing is known.
    Unknown,
}

impl Metrics {
    /// Registers counters and gauges.
    pub fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let results = IntCounterVec::new(
            Opts::new(
                "ringback_recharge_results_total",
                "Recharge results by how they came and what became of them",
            ),
            &["source", "verdict"],
        )?;
        let pay_service_calls = IntCounterVec::new(
            Opts::new("ringback_pay_service_calls_total", "Calls to pay-service by call and outcome"),
            &["call", "outcome"],
        )?;
        let open_exceptions = IntGaugeVec::new(
            Opts::new("ringback_exceptions_open", "Exceptions that wait for a person"),
            &["kind"],
        )?;
        let waiting_requests =
            IntGauge::new("ringback_requests_waiting", "Requests that pay-service will be asked about")?;
        let oldest_request =
            IntGauge::new("ringback_requests_oldest_seconds", "How long the oldest of them has waited")?;
        let differences = IntCounterVec::new(
            Opts::new("ringback_reconciliation_differences_total", "Differences that reconciliations found"),
            &["kind"],
        )?;
        let running_reconciliations =
            IntGauge::new("ringback_reconciliations_running", "Reconciliations that are not finished")?;
        let oldest_reconciliation = IntGauge::new(
            "ringback_reconciliations_oldest_seconds",
            "How long ago the oldest was asked for",
        )?;
        let open_differences = IntGauge::new(
            "ringback_reconciliation_differences_open",
            "Recharges that reconciliations found to differ, and whose exceptions wait for a person",
        )?;
        let unreconciled_days = IntGaugeVec::new(
            Opts::new("ringback_unreconciled_days", "Days that are over and not reconciled"),
            &["state"],
        )?;
        let oldest_unreconciled_day = IntGauge::new(
            "ringback_unreconciled_days_oldest_seconds",
            "For how long the oldest of them has been over",
        )?;
        registry.register(Box::new(open_differences.clone()))?;
        registry.register(Box::new(unreconciled_days.clone()))?;
        registry.register(Box::new(oldest_unreconciled_day.clone()))?;
        registry.register(Box::new(differences.clone()))?;
        registry.register(Box::new(running_reconciliations.clone()))?;
        registry.register(Box::new(oldest_reconciliation.clone()))?;
        registry.register(Box::new(results.clone()))?;
        registry.register(Box::new(pay_service_calls.clone()))?;
        registry.register(Box::new(open_exceptions.clone()))?;
        registry.register(Box::new(waiting_requests.clone()))?;
        registry.register(Box::new(oldest_request.clone()))?;
        for kind in DifferenceKind::ALL {
            differences.with_label_values(&[kind.as_str()]).inc_by(0);
        }
        let metrics = Self {
            results,
            pay_service_calls,
            open_exceptions,
            waiting_requests,
            oldest_request,
            differences,
            running_reconciliations,
            oldest_reconciliation,
            open_differences,
            unreconciled_days,
            oldest_unreconciled_day,
        };
        metrics.standing(&Standing::default(), DateTime::UNIX_EPOCH);
        metrics.days(&UnreconciledDays::default(), DateTime::UNIX_EPOCH);
        Ok(metrics)
    }

    pub(crate) fn standing(&self, standing: &Standing, now: DateTime<Utc>) {
        for kind in ExceptionKind::ALL {
            let open = standing.open_exceptions.iter().find(|(open, _)| *open == kind);
            let open = open.map_or(0, |(_, count)| i64::try_from(*count).unwrap_or(i64::MAX));
            self.open_exceptions.with_label_values(&[kind.as_str()]).set(open);
        }
        self.waiting_requests.set(i64::try_from(standing.waiting_requests).unwrap_or(i64::MAX));
        let age =
            |oldest: Option<DateTime<Utc>>| oldest.map_or(0, |oldest| (now - oldest).num_seconds().max(0));
        self.oldest_request.set(age(standing.oldest_request));
        let running = i64::try_from(standing.running_reconciliations).unwrap_or(i64::MAX);
        self.running_reconciliations.set(running);
        self.oldest_reconciliation.set(age(standing.oldest_reconciliation));
        self.open_differences.set(i64::try_from(standing.open_differences).unwrap_or(i64::MAX));
    }

    pub(crate) fn days(&self, days: &UnreconciledDays, now: DateTime<Utc>) {
        for state in DayState::ALL {
            let count = i64::try_from(days.in_state(state)).unwrap_or(i64::MAX);
            self.unreconciled_days.with_label_values(&[state.as_str()]).set(count);
        }
        self.oldest_unreconciled_day.set(days.oldest_age(now).num_seconds());
    }

    pub(crate) fn result(&self, source: CreditSource, verdict: &Verdict) {
        let word = match verdict {
            Verdict::Credited(_) => "credited",
            Verdict::Already(_) => "already",
            Verdict::Noted => "noted",
            Verdict::Refused(refusal) => refusal.kind().as_str(),
        };
        self.results.with_label_values(&[source.as_str(), word]).inc();
    }

    pub(crate) fn difference(&self, kind: DifferenceKind) {
        self.differences.with_label_values(&[kind.as_str()]).inc();
    }

    pub(crate) fn passed_over(&self, source: CreditSource) {
        self.results.with_label_values(&[source.as_str(), "passed_over"]).inc();
    }

    pub(crate) fn unreadable(&self, source: CreditSource) {
        self.results.with_label_values(&[source.as_str(), "unreadable"]).inc();
    }

    pub(crate) fn pay_service_call(&self, call: &'static str, outcome: Call) {
        let outcome = match outcome {
            Call::Answered => "answered",
            Call::Refused => "refused",
            Call::Unknown => "unknown",
        };
        self.pay_service_calls.with_label_values(&[call, outcome]).inc();
    }
}
