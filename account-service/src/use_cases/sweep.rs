//! The sweep: requests that nothing was heard of are asked about until their result is final. Any
//! number of processes share them by leases.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future::join_all;
use messaging::Ladder;
use runtime::Sources;
use runtime::background::{Progress, RoundError, Worker};
use runtime::database::bounded;
use runtime::problem::Chain;
use uuid::Uuid;

use super::PostResults;
use super::pace::{MAX_BATCH, Pace};
use super::wrong_answers::Asked;
use crate::domain::{
    Arrival, CreditSource, DueRequest, ExceptionKind, Heard, Incident, MAX_PAUSE, Status, Verdict,
};
use crate::metrics::Call;
use crate::pay_service::{Answer, PayService, Unanswered};
use crate::store::{Furthest, Store};

/// How many questions are out at once.
const AT_ONCE: u32 = 8;
/// What a lease lasts beyond the questions: room for reading and writing.
const MARGIN: Duration = Duration::from_secs(30);

/// Asks about requests.
pub struct Sweep {
    store: Arc<dyn Store>,
    pay_service: Arc<dyn PayService>,
    post: PostResults,
    sources: Sources,
    merchant: String,
    ladder: Ladder,
    timeout: Duration,
    pace: Pace,
}

/// How fast and how often.
#[derive(Debug, Clone)]
pub struct SweepPlan {
    /// The waits before each question about a request.
    pub ladder: Ladder,
    /// How many questions a second at most.
    pub rate: u32,
    /// How long pay-service may take to answer one.
    pub timeout: Duration,
}

impl SweepPlan {
    /// The default ladder.
    pub const LADDER: &str = "30s,1m,5m,10m,30m,1h,2h,5h,10h";
    /// The default rate.
    pub const RATE: u32 = 100;

    /// The default ladder and rate, for a pay-service that may take this long.
    pub fn standard(timeout: Duration) -> Self {
        let ladder = Self::LADDER.parse().expect("a ladder of nine steps within the bounds");
        Self { ladder, rate: Self::RATE, timeout }
    }
}

/// A question and what came of it; `None` when it was not put.
struct Question {
    due: DueRequest,
    answer: Option<Result<Option<Answer>, Unanswered>>,
}

/// What a round's answers come to.
#[derive(Default)]
struct Findings {
    arrivals: Vec<Arrival>,
    /// The place of each arrival's question.
    places: Vec<usize>,
    incidents: Vec<Incident>,
    heard: Vec<Heard>,
}

impl Sweep {
    /// A sweep that posts with `post`.
    pub fn new(
        store: Arc<dyn Store>,
        pay_service: Arc<dyn PayService>,
        post: PostResults,
        sources: Sources,
        merchant: String,
        plan: SweepPlan,
    ) -> Self {
        let SweepPlan { ladder, rate, timeout } = plan;
        let pace = Pace::new(rate);
        Self { store, pay_service, post, sources, merchant, ladder, timeout, pace }
    }

    /// How far ahead of the clock a sweep by this plan stores times.
    pub fn furthest(plan: &SweepPlan) -> Furthest {
        let delta = |time| TimeDelta::from_std(time).unwrap_or(TimeDelta::days(1));
        let SweepPlan { ladder, timeout, .. } = plan;
        Furthest {
            steps: ladder.steps().iter().map(|step| delta(step.0)).collect(),
            pause: delta(MAX_PAUSE),
            lease: delta(timeout.saturating_mul(MAX_BATCH.div_ceil(AT_ONCE)) + MARGIN),
        }
    }

    /// Longer than a round of unanswered questions takes.
    fn lease(&self, now: DateTime<Utc>) -> DateTime<Utc> {
        let rounds = self.pace.batch().div_ceil(AT_ONCE);
        let lease = self.timeout.saturating_mul(rounds) + MARGIN;
        now + TimeDelta::from_std(lease).unwrap_or(TimeDelta::minutes(10))
    }

    /// Puts the questions, a few at once; stops when none of a few is answered.
    async fn ask_all(&self, due: Vec<DueRequest>) -> Vec<Question> {
        let mut questions: Vec<Question> =
            due.into_iter().map(|due| Question { due, answer: None }).collect();
        for few in questions.chunks_mut(AT_ONCE as usize) {
            let answers = join_all(few.iter().map(|question| self.ask(&question.due))).await;
            let out = answers.iter().all(is_outage);
            for (question, answer) in few.iter_mut().zip(answers) {
                question.answer = Some(answer);
            }
            if out {
                break;
            }
        }
        questions
    }

    /// What pay-service says of the request, as long as it says it about this very request of ours.
    async fn ask(&self, due: &DueRequest) -> Result<Option<Answer>, Unanswered> {
        let order = due.request.merchant_order_no;
        let (answer, tx_no) = match due.request.state.tx_no() {
            Some(tx_no) => (self.pay_service.payresult(tx_no).await, Some(tx_no)),
            None => (self.pay_service.payresult_of_order(order).await, None),
        };
        let checked = |answer: Answer| match tx_no {
            Some(tx_no) => answer.about(tx_no)?.of_merchant(&self.merchant),
            None => answer.about_order(order)?.of_merchant(&self.merchant),
        };
        let answer = answer.and_then(|answer| answer.map(checked).transpose());
        let outcome = if answer.is_ok() { Call::Answered } else { Call::Unknown };
        self.post.metrics.pay_service_call("payresult", outcome);
        answer
    }

    /// Writes down what was heard; when a request is asked about next comes last, so that a process
    /// that dies before asks again.
    async fn keep(&mut self, token: Uuid, questions: Vec<Question>) -> Result<(), RoundError> {
        let mut findings = self.findings(&questions);
        if !findings.arrivals.is_empty() {
            let verdicts = self.post.post(&findings.arrivals).await?;
            for ((arrival, place), verdict) in findings.arrivals.iter().zip(&findings.places).zip(verdicts) {
                findings.heard[*place] = heard(arrival.recharge.status, &verdict);
            }
        }
        let now = self.sources.clock.now();
        if !findings.incidents.is_empty() {
            bounded(self.store.note(&findings.incidents, now)).await?;
        }
        let next = questions.iter().zip(&findings.heard);
        let next: Vec<_> = next
            .map(|(q, heard)| q.due.next(*heard, &self.ladder, now, self.sources.entropy.lot()))
            .collect();
        bounded(self.store.set_next_asks(token, &next)).await?;
        Ok(())
    }

    fn findings(&self, questions: &[Question]) -> Findings {
        let mut findings = Findings::default();
        for (place, Question { due, answer }) in questions.iter().enumerate() {
            let about = Asked {
                tx_no: due.request.state.tx_no(),
                order: Some(due.request.merchant_order_no),
                source: CreditSource::Sweep,
            };
            let (heard, incident) = match answer {
                None => (Heard::NotAsked, None),
                Some(Ok(Some(Answer { recharge, received }))) => {
                    findings.arrivals.push(Arrival::new(
                        recharge.clone(),
                        CreditSource::Sweep,
                        received.clone(),
                    ));
                    findings.places.push(place);
                    (Heard::NothingNew, None)
                }
                Some(Ok(None)) => self.not_there(due, about),
                Some(Err(error)) => match about.wrong_answer(error) {
                    Some(incident) => (Heard::NothingNew, Some(incident)),
                    None => (Heard::Unanswered, None),
                },
            };
            findings.heard.push(heard);
            findings.incidents.extend(incident);
        }
        findings
    }

    /// pay-service knows nothing of the request. That may be so as long as it is under way to it, but
    /// not after the whole ladder; and never once it has given it a number.
    fn not_there(&self, due: &DueRequest, about: Asked) -> (Heard, Option<Incident>) {
        if about.tx_no.is_some() {
            let detail = "pay-service knows no recharge of this tx_no, which it gave itself";
            return (Heard::Gone, about.incident(ExceptionKind::NotAtPayService, detail.into(), None));
        }
        let detail = "pay-service has never heard of this request";
        let incident = about.incident(ExceptionKind::NotTaken, detail.into(), None);
        (Heard::NeverTaken, incident.filter(|_| due.is_last(&self.ladder)))
    }

    /// Whether pay-service was out for the whole round.
    fn set_pace(&mut self, asked: u32, outage: Option<String>) {
        let steady = self.sources.clock.steady();
        match outage {
            None => self.pace.answered(asked, steady),
            Some(error) => {
                tracing::warn!(error, "sweep.pay_service_unanswered");
                self.pace.outage(steady, self.sources.entropy.lot());
            }
        }
    }
}

/// What a result that was posted means for its request. What was refused is with a person now.
fn heard(status: Status, verdict: &Verdict) -> Heard {
    match verdict {
        Verdict::Noted | Verdict::Refused(_) if status == Status::Pending => Heard::NothingNew,
        _ => Heard::Settled,
    }
}

fn is_outage(answer: &Result<Option<Answer>, Unanswered>) -> bool {
    matches!(answer, Err(error) if error.wrong_answer().is_none())
}

/// The last error of a round in which nothing was answered.
fn outage(questions: &[Question]) -> Option<String> {
    let answers: Vec<_> = questions.iter().filter_map(|question| question.answer.as_ref()).collect();
    let Some(Err(last)) = answers.last() else { return None };
    answers.iter().all(|answer| is_outage(answer)).then(|| Chain(last).to_string())
}

#[async_trait]
impl Worker for Sweep {
    fn name(&self) -> &'static str {
        "requests.sweep"
    }

    async fn run_once(&mut self) -> Result<Progress, RoundError> {
        if let Some(rest) = self.pace.rest(self.sources.clock.steady()) {
            return Ok(Progress::IdleFor(rest));
        }
        let now = self.sources.clock.now();
        let token = self.sources.ids.next();
        let claimed = self.store.claim_requests(token, now, self.lease(now), self.pace.batch());
        let due = bounded(claimed).await?;
        if due.is_empty() {
            return Ok(Progress::Idle);
        }
        let questions = self.ask_all(due).await;
        let asked = questions.iter().filter(|question| question.answer.is_some()).count();
        let outage = outage(&questions);
        self.keep(token, questions).await?;
        self.set_pace(u32::try_from(asked).unwrap_or(u32::MAX), outage);
        Ok(Progress::IdleFor(self.pace.rest(self.sources.clock.steady()).unwrap_or_default()))
    }
}
