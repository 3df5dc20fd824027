//! What was done for good, held against what had to be done, and done to the model.

use account_service::domain::{Arrival, CreditSource, DueRequest, Incident, Request as Recorded};
use bytes::Bytes;
use chrono::{DateTime, SubsecRound, Utc};
use messaging::Event;
use messaging::broker::Settlement;
use uuid::Uuid;

use super::driver::{Deed, Driver, Kind, Work};
use super::exceptions::Kind as What;
use super::model::{Request, Verdict};
use super::mortal::Done;
use super::pay_service::{Answered, Told, account_no};
use super::rig::QUEUE_LADDER;

/// What is kept of an answer that does not fit: about what, as which kind, and what was received.
type Unfit = (Uuid, What, Option<Told>, Option<String>);

impl Driver<'_> {
    pub fn apply(&mut self, work: &mut Work, done: Done) {
        match done {
            Done::Asked(asked) => {
                self.note_lies(&asked.answered);
                work.asked.push(asked);
            }
            Done::Posted(arrivals) => self.posted(work, &arrivals),
            Done::Kept(incidents) => self.kept(work, &incidents),
            Done::Recorded(request, ask_at) => {
                work.recorded = Some(request.merchant_order_no);
                self.recorded(&request, ask_at);
            }
            Done::Withdrawn(order) => {
                assert_eq!(work.asked.last().map(|asked| &asked.answered), Some(&Answered::Refused));
                self.model.requests.retain(|request| request.order != order || request.known.is_some());
            }
            Done::Noted(order, recharge, fits) => {
                let Some(Answered::Told(told)) = work.asked.last().map(|asked| &asked.answered) else {
                    panic!("nothing was answered that could be noted: {work:?}")
                };
                assert_eq!(recharge, told.recharge());
                assert_eq!(self.model.answered(order, told), fits, "{told:?}");
                work.deeds.extend(fits.then_some(Deed::Noted));
            }
            Done::Claimed { token, at, until, due } => {
                assert!(until > at, "a lease lasts");
                let lease = (token, until.trunc_subsecs(6));
                work.began = at;
                work.claimed = Some((token, self.claimed(at, lease, &due)));
            }
            Done::NextAsksSet(token, next) => self.next_asks_set(work, token, &next),
            Done::Received(messages) => {
                let read = |(tag, failed, body): (u64, u32, Bytes)| (tag, failed, self.message(&body));
                work.received = messages.into_iter().map(read).collect();
            }
            Done::Settled(settlements) => self.settled(work, &settlements),
            Done::Step(step) => self.step(work, *step),
            Done::Resolved(id, decision, outcome) => {
                let Kind::Resolve { place, credit, despite } = work.kind else {
                    panic!("nobody decided {id}")
                };
                assert_eq!(decision.reason, "as the bank says");
                let expected = self.model.resolve(place, credit, despite);
                let outcome = outcome.expect("there is such an exception");
                assert_eq!(outcome.is_ok(), expected.is_ok(), "{outcome:?}");
                self.saw("credited despite", usize::from(despite.is_some() && expected.is_ok()));
                work.resolved = Some(expected);
            }
        }
    }

    /// pay-service itself may tell another amount.
    pub fn note_lies(&mut self, answered: &Answered) {
        if let Answered::Told(told) = answered {
            let is_so = |recharge: &Told| (recharge.tx, recharge.amount) == (told.tx, told.amount);
            if !self.books().recharges.iter().any(is_so) {
                self.lied_about.insert(told.tx);
            }
        }
    }

    fn message(&self, body: &[u8]) -> Told {
        let id: Uuid = Event::parse(body).expect("an event").id.parse().expect("a uuid");
        self.published[usize::try_from(id.as_u128()).expect("a place")].clone()
    }

    /// What there is to post, by what was told.
    fn told(work: &Work) -> Vec<Told> {
        match &work.kind {
            Kind::Ring(told) => vec![told.clone()],
            Kind::Take => work.received.iter().map(|(.., told)| told.clone()).collect(),
            Kind::Sweep | Kind::Query(_) => {
                let answers = work.asked.iter().filter_map(|asked| match &asked.answered {
                    Answered::Told(told) => Some((asked.number, told.clone())),
                    _ => None,
                });
                let mut answers: Vec<(Uuid, Told)> = answers.collect();
                let place = |number: &Uuid| {
                    work.claimed.iter().flat_map(|(_, all)| all).position(|one| asked_by(one) == *number)
                };
                answers.sort_by_key(|(number, _)| place(number));
                answers.into_iter().map(|(_, told)| told).collect()
            }
            Kind::Request | Kind::Resolve { .. } | Kind::Requeue | Kind::Reconcile(_) | Kind::Walk => {
                Vec::new()
            }
        }
    }

    fn posted(&mut self, work: &mut Work, arrivals: &[Arrival]) {
        let source = match work.kind {
            Kind::Ring(_) => CreditSource::Webhook,
            Kind::Take => CreditSource::Queue,
            Kind::Sweep => CreditSource::Sweep,
            _ => CreditSource::Query,
        };
        let told: Vec<Told> = Self::told(work).into_iter().filter(|told| !told.foreign).collect();
        let posted: Vec<_> =
            arrivals.iter().map(|arrival| (arrival.recharge.clone(), arrival.source)).collect();
        let expected: Vec<_> = told.iter().map(|told| (told.recharge(), source)).collect();
        assert_eq!(posted, expected, "what is told is posted, and nothing else");
        assert!(work.verdicts.is_none(), "once");
        let verdicts: Vec<Verdict> =
            told.iter().map(|told| self.model.told(told, source.is_answer())).collect();
        for (tx, verdict) in told.iter().map(|told| told.tx).zip(&verdicts) {
            self.credited(tx, *verdict, source.as_str());
            let road = match work.kind {
                Kind::Ring(_) => "credited by webhook",
                Kind::Take => "credited from the queue",
                Kind::Sweep => "credited by sweep",
                _ => "credited at all",
            };
            self.saw(road, usize::from(*verdict == Verdict::Credited));
            self.saw("told again", usize::from(*verdict == Verdict::Already));
            self.saw("refused", usize::from(verdict.refusal().is_some()));
            let second = Some(What::OrderCreditedAlready);
            self.saw("orders credited already", usize::from(verdict.refusal() == second));
        }
        work.verdicts = Some(verdicts);
    }

    /// Remembers on which way it was credited, if it was.
    pub fn credited(&mut self, tx: Uuid, verdict: Verdict, source: &'static str) {
        if verdict == Verdict::Credited {
            self.model.credited_by.insert(tx, source);
        }
    }

    fn recorded(&mut self, request: &Recorded, ask_at: DateTime<Utc>) {
        let account = (0..4).find(|account| account_no(*account) == request.account_no.as_str());
        self.model.requests.push(Request {
            order: request.merchant_order_no,
            account: account.expect("one of ours"),
            amount: request.amount.minor_units(),
            dollars: request.currency.as_str() == "USD",
            known: None,
            ask_at: Some(ask_at),
            lease: None,
            asks: 0,
            misses: 0,
        });
    }

    fn kept(&mut self, work: &mut Work, incidents: &[Incident]) {
        let unfit: Vec<Unfit> = match &work.kind {
            Kind::Sweep => {
                let claimed = work.claimed.iter().flat_map(|(_, claimed)| claimed);
                claimed.filter_map(|request| Self::incident(work, request)).collect()
            }
            Kind::Query(tx) => work.asked.iter().filter_map(|asked| wrong(&asked.answered, *tx)).collect(),
            Kind::Request => {
                let order = work.recorded.expect("recorded before");
                work.asked.iter().filter_map(|asked| Self::unfit_answer(&asked.answered, order)).collect()
            }
            other => panic!("nothing is kept beside what is posted: {other:?}"),
        };
        let kept: Vec<_> = incidents.iter().map(|i| (i.subject, i.kind.as_str(), i.result.clone())).collect();
        let expected: Vec<_> = unfit
            .iter()
            .map(|(subject, kind, result, _)| (*subject, kind.word(), result.as_ref().map(Told::recharge)))
            .collect();
        assert_eq!(kept, expected, "what does not fit is kept, and nothing else");
        for (subject, kind, result, received) in unfit {
            self.saw("not taken", usize::from(kind == What::NotTaken));
            self.saw("forgotten", usize::from(kind == What::NotAtPayService));
            self.saw("wrong answers", usize::from(kind == What::WrongAnswer));
            self.model.keep(subject, kind, result, received);
        }
        work.deeds.insert(Deed::Kept);
    }

    fn unfit_answer(answered: &Answered, order: Uuid) -> Option<Unfit> {
        match answered {
            Answered::Told(told) => Some((told.tx, What::ContradictsRequest, Some(told.clone()), None)),
            answered => wrong(answered, order),
        }
    }

    /// What does not fit about the answer to a question of the sweep.
    pub fn incident(work: &Work, request: &Request) -> Option<Unfit> {
        let number = asked_by(request);
        let asked = work.asked.iter().find(|asked| asked.number == number)?;
        match (&asked.answered, request.known) {
            (Answered::NotThere, Some(_)) => Some((number, What::NotAtPayService, None, None)),
            (Answered::NotThere, None) => {
                request.is_asked_last().then_some((number, What::NotTaken, None, None))
            }
            (answered, _) => wrong(answered, number),
        }
    }

    /// The requests that are now under this lease, as they were.
    fn claimed(
        &mut self,
        at: DateTime<Utc>,
        (token, until): (Uuid, DateTime<Utc>),
        due: &[DueRequest],
    ) -> Vec<Request> {
        let waiting: Vec<(DateTime<Utc>, Uuid)> = self
            .model
            .requests
            .iter()
            .filter_map(|request| Some((request.ask_at.filter(|ask_at| *ask_at <= at)?, request.order)))
            .collect();
        let orders: Vec<Uuid> = due.iter().map(|due| due.request.merchant_order_no).collect();
        let is_taken = |order: &Uuid| orders.contains(order);
        assert!(
            orders.iter().all(|order| waiting.iter().any(|(_, w)| w == order)),
            "due, under no live lease"
        );
        assert!(due.is_empty() == waiting.is_empty(), "what is due is taken");
        let newest = waiting.iter().filter(|(_, order)| is_taken(order)).map(|(at, _)| *at).max();
        let left = waiting.iter().filter(|(_, order)| !is_taken(order)).map(|(at, _)| *at).min();
        assert!(left.is_none_or(|left| newest.is_none_or(|newest| newest <= left)), "the longest due first");
        let mut claimed = Vec::new();
        for one in due {
            let request = self.model.request(one.request.merchant_order_no).expect("known");
            assert_eq!((one.asks, one.misses), (request.asks, request.misses));
            assert_eq!(one.request.state.tx_no(), request.known.map(|(tx, _)| tx));
            claimed.push(request.clone());
            let taken_over = usize::from(request.lease.is_some());
            (request.ask_at, request.lease) = (Some(until), Some(token));
            self.saw("leases taken over", taken_over);
        }
        claimed
    }

    /// Law 3, and what becomes of each message.
    fn settled(&mut self, work: &mut Work, settlements: &[(u64, Settlement)]) {
        let ours = work.received.iter().filter(|(.., told)| !told.foreign).count();
        assert_eq!(work.verdicts.as_ref().map_or(0, Vec::len), ours, "settled after it is posted");
        let mut verdicts = work.verdicts.iter().flatten();
        let mut expected = Vec::new();
        for (tag, failed, told) in &work.received {
            let refusal = if told.foreign { None } else { verdicts.next().and_then(|v| v.refusal()) };
            let step = usize::try_from(*failed).ok().and_then(|failed| QUEUE_LADDER.get(failed));
            expected.push(match (refusal, step) {
                (None, _) => (*tag, "acknowledged".to_owned()),
                (Some(kind), Some(step)) if kind.may_pass() => (*tag, format!("again in {step} s")),
                (Some(_), _) => (*tag, "given up".to_owned()),
            });
        }
        let mut settled: Vec<_> = settlements.iter().map(|(tag, how)| (*tag, word(how))).collect();
        settled.sort_unstable();
        assert_eq!(settled, expected);
        self.saw("given up", settled.iter().filter(|(_, how)| how == "given up").count());
        work.deeds.insert(Deed::Settled);
    }
}

/// The number by which pay-service is asked about a request.
pub fn asked_by(request: &Request) -> Uuid {
    request.known.map_or(request.order, |(tx, _)| tx)
}

fn wrong(answered: &Answered, subject: Uuid) -> Option<Unfit> {
    match answered {
        Answered::Wrong(received) => Some((subject, What::WrongAnswer, None, received.clone())),
        _ => None,
    }
}

fn word(settlement: &Settlement) -> String {
    match settlement {
        Settlement::Ack => "acknowledged".into(),
        Settlement::Requeue => "handed back".into(),
        Settlement::Retry { step, .. } => format!("again in {} s", step.0.as_secs()),
        Settlement::DeadLetter { .. } => "given up".into(),
    }
}
