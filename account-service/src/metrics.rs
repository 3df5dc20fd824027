//! What `/metrics` shows of this service.

use prometheus::{IntCounterVec, Opts, Registry};

use crate::domain::{CreditSource, Verdict};

/// Counters of one service instance.
#[derive(Clone)]
pub struct Metrics {
    results: IntCounterVec,
    pay_service_calls: IntCounterVec,
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
    /// Registers the counters.
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
        registry.register(Box::new(results.clone()))?;
        registry.register(Box::new(pay_service_calls.clone()))?;
        Ok(Self { results, pay_service_calls })
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
