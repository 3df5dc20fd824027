//! The reconciliations that a service does, held against those of the model.

use account_service::domain::{Credit, Findings, Period, Reconciliation, Stretch as RealStretch};
use account_service::pay_service::StatementQuery;
use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use uuid::Uuid;

use super::asking::pause;
use super::driver::{Driver, Kind, Work};
use super::model::Verdict;
use super::mortal_walks::Step;
use super::pay_service::{Answered, State, Told};
use super::report::{
    expected, expected_line, expected_verdict, line, millis, parts, shown, sums, told_parts, verdict,
};
use super::rig::{PAGE, TIMEOUT};
use super::statement::{Page, millisecond};
use super::walks::{Compared, Differs, Stretch, Sums, Walk};

/// What somebody has seen and done of a stretch.
#[derive(Debug, Clone, Default)]
pub struct Pace {
    /// The lease's token, and the reconciliation under it as it was.
    pub claimed: Option<(Uuid, Walk)>,
    /// What is credited of it, and whether there is more behind.
    read: Option<(Vec<Told>, bool)>,
    pub heard: Heard,
    pub is_kept: bool,
    pub is_put_off: bool,
}

/// What pay-service has told of its statement.
#[derive(Debug, Clone, Default)]
pub enum Heard {
    #[default]
    NotAsked,
    /// Nothing, or not what was asked for.
    NoPage,
    Page(Page),
}

impl Driver<'_> {
    pub fn step(&mut self, work: &mut Work, step: Step) {
        match step {
            Step::Begun(new, kept) => self.begun(work, &new, kept),
            Step::Claimed { token, at, until, walk } => {
                assert!(until > at + TimeDelta::from_std(TIMEOUT).expect("short"), "longer than a question");
                work.began = at;
                let walk = self.walk_claimed(at, (token, until), walk.as_ref());
                work.pace.claimed = walk.map(|walk| (token, walk));
            }
            Step::Read { period, after, limit, credits } => {
                self.read(work, (period, after), limit, &credits);
            }
            Step::Told(query, page) => self.page_told(work, &query, page),
            Step::Kept { token, stretch, at, outcome } => {
                assert_eq!(Some(token), work.pace.claimed.as_ref().map(|(own, _)| *own), "its own lease");
                self.kept_stretch(work, &stretch, at, outcome);
            }
            Step::PutOff(token, walk) => self.put_off(work, token, &walk),
        }
    }

    fn begun(&mut self, work: &mut Work, new: &Reconciliation, kept: bool) {
        let Kind::Reconcile(period) = work.kind else { panic!("nobody asked for it: {work:?}") };
        assert!(kept, "few are under way");
        let walk = Walk {
            id: new.id,
            period,
            after: None,
            pages: 0,
            recharges: 0,
            sums: Sums::new(),
            found: Vec::new(),
            due: Some(new.asked_at.trunc_subsecs(6)),
            lease: None,
            failures: 0,
        };
        assert_eq!(shown(new), expected(&walk));
        self.model.walks.push(walk);
        work.begun = Some(new.id);
    }

    /// The one that is now under this lease, as it was.
    fn walk_claimed(
        &mut self,
        at: DateTime<Utc>,
        (token, until): (Uuid, DateTime<Utc>),
        claimed: Option<&Reconciliation>,
    ) -> Option<Walk> {
        let next = self.model.next_due().filter(|due| *due <= at);
        let Some(claimed) = claimed else {
            assert_eq!(next, None, "what is due is taken");
            return None;
        };
        let walk = self.model.walk(claimed.id);
        assert_eq!(walk.due, next, "the longest due first, under no live lease");
        let (was, due) = (walk.clone(), until.trunc_subsecs(6));
        (walk.due, walk.lease) = (Some(due), Some(token));
        assert_eq!(shown(claimed), expected(walk));
        self.saw("reconciliations taken over", usize::from(was.lease.is_some()));
        Some(was)
    }

    fn read(&self, work: &mut Work, (period, after): (Period, Option<Uuid>), limit: u16, read: &[Credit]) {
        let walk = &work.pace.claimed.as_ref().expect("claimed before").1;
        assert_eq!((millis(period), after, limit), (walk.period, walk.after, PAGE + 1));
        let (first, end) = walk.period;
        let of_period = |told: &&Told| (first..end).contains(&millisecond(told.tx));
        let behind = self.model.credits.values().filter(|told| after.is_none_or(|after| told.tx > after));
        let expected: Vec<Told> = behind.filter(of_period).take(limit.into()).cloned().collect();
        let read: Vec<_> = read.iter().map(parts).collect();
        assert_eq!(read, expected.iter().map(told_parts).collect::<Vec<_>>());
        let page = usize::from(PAGE);
        work.pace.read = Some((expected.iter().take(page).cloned().collect(), expected.len() > page));
    }

    fn page_told(&mut self, work: &mut Work, query: &StatementQuery, page: Option<Page>) {
        assert!(work.pace.read.is_some(), "what is credited is read before");
        let walk = &work.pace.claimed.as_ref().expect("claimed before").1;
        assert_eq!((millis(query.period), query.after, query.limit), (walk.period, walk.after, PAGE));
        let right = page.filter(|page| page.answers(walk.period, walk.after));
        for told in right.iter().flat_map(|page| &page.rows) {
            self.note_lies(&Answered::Told(told.clone()));
        }
        work.pace.heard = right.map_or(Heard::NoPage, Heard::Page);
    }

    fn kept_stretch(
        &mut self,
        work: &mut Work,
        stretch: &RealStretch,
        at: DateTime<Utc>,
        outcome: Option<(Reconciliation, Findings)>,
    ) {
        let Pace {
            claimed: Some((token, claimed)),
            read: Some((credits, more)),
            heard: Heard::Page(page),
            ..
        } = work.pace.clone()
        else {
            panic!("both sides are read before: {work:?}")
        };
        let cut = Stretch::cut(&page, &credits, more);
        let there: Vec<_> = stretch.there.iter().map(|told| told.recharge.clone()).collect();
        assert_eq!(there, cut.there.iter().map(Told::recharge).collect::<Vec<_>>());
        let here: Vec<_> = stretch.here.iter().map(parts).collect();
        assert_eq!(here, cut.here.iter().map(told_parts).collect::<Vec<_>>());
        assert_eq!(stretch.last, cut.last);
        work.pace.is_kept = true;
        if self.model.walk(claimed.id).lease != Some(token) {
            assert_eq!(outcome, None, "its lease is lost");
            self.saw("stretches whose lease was lost", 1);
            return;
        }
        let (walk, findings) = outcome.expect("its lease is live");
        let meanwhile = |told: &&Told| {
            self.model.credits.contains_key(&told.tx) && !cut.here.iter().any(|here| here.tx == told.tx)
        };
        let (pending, told): (Vec<&Told>, _) =
            cut.there.iter().filter(meanwhile).partition(|told| told.state == State::Pending);
        self.saw("credited meanwhile", told.len());
        self.saw("succeeded meanwhile", pending.len());
        let (compared, verdicts) = self.model.reconcile(&cut);
        for (told, verdict) in cut.there.iter().zip(&verdicts) {
            self.credited(told.tx, *verdict, "statement");
        }
        let stored = self.model.walk(claimed.id);
        stored.advance(&cut, &compared, at.trunc_subsecs(6));
        assert_eq!(shown(&walk), expected(stored));
        self.saw(
            "reconciliations of several stretches",
            usize::from(walk.is_finished() && walk.progress.pages > 1),
        );
        self.compare_findings(&compared, &verdicts, &findings);
    }

    fn compare_findings(&mut self, compared: &Compared, verdicts: &[Verdict], findings: &Findings) {
        assert_eq!(sums(&findings.totals), compared.sums);
        let posted: Vec<_> = findings.verdicts.iter().map(verdict).collect();
        assert_eq!(posted, verdicts.iter().copied().map(expected_verdict).collect::<Vec<_>>());
        let found: Vec<_> = findings.differences.iter().map(line).collect();
        assert_eq!(found, compared.found.iter().map(expected_line).collect::<Vec<_>>());
        for found in &compared.found {
            let what = match found.differs {
                Differs::MissingHere => "credited by statement",
                Differs::Refused => "refused by statement",
                Differs::OrderCreditedAlready => "orders credited already",
                Differs::NotSucceededThere => "not succeeded there",
                Differs::NotThere => "not there",
                Differs::Account | Differs::Currency | Differs::Amount => "credited otherwise",
            };
            self.saw(what, 1);
        }
    }

    fn put_off(&mut self, work: &mut Work, token: Uuid, walk: &Reconciliation) {
        assert!(matches!(work.pace.heard, Heard::NoPage), "no page was told that answers: {work:?}");
        let Some((own, claimed)) = &work.pace.claimed else { panic!("nothing was claimed") };
        assert_eq!((token, walk.id), (*own, claimed.id), "under its own lease");
        let due = walk.state.due_at().expect("it goes on");
        let (least, most) = pause(claimed.failures);
        assert!(due >= work.began + TimeDelta::seconds(least), "not too early: {walk:?}");
        assert!(due <= self.now() + TimeDelta::seconds(most), "not too late: {walk:?}");
        work.pace.is_put_off = true;
        let mut put_off = claimed.clone();
        (put_off.due, put_off.failures) = (Some(due.trunc_subsecs(6)), claimed.failures + 1);
        assert_eq!(shown(walk), expected(&put_off), "nothing else changes");
        let stored = self.model.walk(walk.id);
        let late = stored.lease != Some(token);
        if !late {
            *stored = Walk { lease: None, ..put_off };
        }
        self.saw("put off", 1);
        self.saw("put off late", usize::from(late));
    }
}
