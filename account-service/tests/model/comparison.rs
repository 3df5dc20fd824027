//! What the books show beside what the model says, and how every case ends.

use account_service::domain::{Credit, Exception, ExceptionFilter, Period, RequestState};
use chrono::{DateTime, Utc};
use runtime::http::Page;
use runtime::testing::property::Seen;
use uuid::Uuid;

use super::command::{Final, PROCESSES, Telling};
use super::driver::Driver;
use super::exceptions::Kind;
use super::pay_service::{State, Told};
use super::report::{parts, told_parts};

const ALL: Page = Page { limit: 200, after: None };
const ALL_TIME: Period = Period { from: DateTime::UNIX_EPOCH, to: DateTime::<Utc>::MAX_UTC };
/// No case takes more rounds until nothing is left to do.
const ROUNDS: usize = 100;

impl Driver<'_> {
    /// All of the books.
    pub async fn look(&self) {
        self.look_at_credits().await;
        for expected in &self.model.requests {
            let request = self.rig.store.request(expected.order).await.expect("a store").expect("recorded");
            let known = match request.state {
                RequestState::Unknown => None,
                RequestState::Known { tx_no, status } => Some((tx_no, status.as_str())),
            };
            let state = |(tx, state)| (tx, Told { state, ..blank() }.word());
            assert_eq!(known, expected.known.map(state), "{expected:?}");
        }
        let exceptions = self.exceptions().await;
        let mut kept: Vec<_> = exceptions.iter().map(shown).collect();
        let expected = self.model.exceptions.iter();
        let mut expected: Vec<_> =
            expected.map(|kept| (kept.subject, kept.kind.word(), kept.state, kept.count)).collect();
        kept.sort_unstable();
        expected.sort_unstable();
        assert_eq!(kept, expected, "no exception is lost, none is made up");
        let about = |kept: &Exception| (kept.id, (kept.incident.subject, kept.incident.kind.as_str()));
        self.look_at_walks(&exceptions.iter().map(about).collect()).await;
        let audit = self.rig.store.audit(10).await.expect("a store");
        assert!(audit.balanced(), "{audit:?}");
        let [balances, expected] = [
            audit.totals.iter().map(|total| total.balances).sum::<i128>(),
            self.model.credits.values().map(|told| i128::from(told.amount)).sum(),
        ];
        assert_eq!(balances, expected, "no credit is elsewhere");
    }

    /// Balances are the sums of these, as the audit says.
    async fn look_at_credits(&self) {
        let credits = self.rig.store.credits_after(ALL_TIME, None, ALL.limit).await.expect("a store");
        let shown = |credit: &Credit| (parts(credit), credit.source.as_str());
        let expected = |told: &Told| (told_parts(told), self.model.credited_by[&told.tx]);
        let credits: Vec<_> = credits.iter().map(shown).collect();
        assert_eq!(credits, self.model.credits.values().map(expected).collect::<Vec<_>>(), "each tx_no once");
    }

    /// Newest first.
    async fn exceptions(&self) -> Vec<Exception> {
        self.rig.store.exceptions(ExceptionFilter::default(), ALL).await.expect("a store")
    }

    /// The exception that the model has in this place.
    pub async fn exception_id(&self, place: usize) -> Option<Uuid> {
        let wanted = &self.model.exceptions[place];
        let alike =
            self.model.exceptions.iter().filter(|k| (k.subject, k.kind) == (wanted.subject, wanted.kind));
        if alike.count() > 1 && wanted.state != "open" {
            return None; // Which of the old ones it is can't be seen.
        }
        let kept = self.exceptions().await;
        let (subject, kind, state, count) = (wanted.subject, wanted.kind.word(), wanted.state, wanted.count);
        let found = kept.iter().find(|kept| shown(kept) == (subject, kind, state, count));
        Some(found.expect("kept").id)
    }

    /// Everything is well again, and all that was entrusted to a road is delivered.
    pub async fn heal(&mut self) {
        for process in 0..PROCESSES {
            self.die(process);
        }
        self.books().tell_so(&Telling { size: 0, moods: Vec::new() });
        self.open(2).await;
        while self.is_undecided() {
            self.settle(0, Final::Succeeded);
        }
        for told in std::mem::take(&mut self.ringing) {
            self.ring(told, None).await;
        }
        self.empty_queue().await;
        let dead = self.rig.queue.messages().dead.len();
        for _ in 0..dead {
            self.requeue(0, None).await;
        }
        self.empty_queue().await;
        for round in 0.. {
            if !self.model.requests.iter().any(|request| request.ask_at.is_some()) {
                break;
            }
            assert!(round < ROUNDS, "the sweep comes to an end: {:?}", self.model.requests);
            self.pass_to_due();
            self.pass(60);
            self.sweep(round % PROCESSES, None).await;
        }
        self.end_walks().await;
    }

    fn is_undecided(&self) -> bool {
        self.books().recharges.iter().any(|told| told.state == State::Pending)
    }

    async fn empty_queue(&mut self) {
        for round in 0.. {
            if self.rig.queue.messages().queued.is_empty() {
                break;
            }
            assert!(round < ROUNDS, "the queue runs empty");
            self.take(round % PROCESSES, None).await;
            self.pass(300);
        }
    }

    /// Heals, and sees that every success is credited once, and nothing else.
    pub async fn finish(mut self) -> Seen {
        self.heal().await;
        let recharges = self.books().recharges.clone();
        for told in &recharges {
            let expected = self.must_be_credited(told) && self.was_heard_of(told);
            assert!(!expected || self.model.credits.contains_key(&told.tx), "lost: {told:?}");
        }
        // Of what nobody brought, a part is asked for, and the statement brings the rest.
        for told in recharges.iter().step_by(3) {
            if self.must_be_credited(told) && !self.model.credits.contains_key(&told.tx) {
                self.query(told.tx, None).await;
            }
        }
        self.reconcile_whole().await;
        for told in &recharges {
            let credit = self.model.credits.get(&told.tx);
            let by_hand = self.model.credited_by.get(&told.tx) == Some(&"exception");
            if self.must_be_credited(told) {
                assert_eq!(credit, Some(told), "credited as it is");
            } else if !by_hand && !self.lied_about.contains(&told.tx) {
                assert_eq!(credit, None, "{told:?}");
            }
        }
        self.look().await;
        let closed = self.model.exceptions.iter().filter(|kept| kept.state == "closed").count();
        self.saw("exceptions that closed", closed);
        self.seen
    }

    /// It succeeded, nobody says otherwise, and its account can take it.
    fn must_be_credited(&self, told: &Told) -> bool {
        let account = self.model.accounts[told.account];
        told.state == State::Final(Final::Succeeded)
            && account.open
            && account.dollars == told.dollars
            && !self.lied_about.contains(&told.tx)
            && !self.is_second(told)
    }

    /// Its order is credited, or was requested here and taken, under another number.
    fn is_second(&self, told: &Told) -> bool {
        let order = |request: &&super::model::Request| request.order.to_string() == told.order;
        let known = self.model.requests.iter().find(order).and_then(|request| request.known);
        self.model.first_of_order(told).is_some() || known.is_some_and(|(tx, _)| tx != told.tx)
    }

    /// A road was to bring it, or the sweep to ask about it.
    fn was_heard_of(&self, told: &Told) -> bool {
        let own = |request: &super::model::Request| request.order.to_string() == told.order;
        let given_up = |order: Uuid| {
            let mut kept = self.model.exceptions.iter();
            kept.any(|kept| (kept.subject, kept.kind) == (order, Kind::NotTaken))
        };
        let swept = self.model.requests.iter().any(|request| own(request) && !given_up(request.order));
        swept || self.entrusted.contains(&told.tx)
    }
}

fn shown(kept: &Exception) -> (Uuid, &'static str, &'static str, u64) {
    (kept.incident.subject, kept.incident.kind.as_str(), kept.state_name().as_str(), kept.count)
}

fn blank() -> Told {
    Told {
        tx: Uuid::nil(),
        order: String::new(),
        account: 0,
        amount: 1,
        dollars: false,
        state: State::Pending,
        foreign: false,
    }
}
