//! What operators do, to the store and to the model.

use notifier::domain::audit::{Action, Audit};
use notifier::domain::notification::{Refused, StateName};
use notifier::domain::subscription::Patch;
use notifier::domain::{
    Bulk, BulkAction, BulkFilter, Notification, NotificationId, States, SubscriptionAction,
    SubscriptionAudit, SubscriptionState,
};

use super::command::{Filter, Wanted};
use super::driver::Driver;
use super::model::{Life, Name};

/// The replay under way.
pub struct Replaying {
    replay: Bulk,
    /// When it was asked for.
    at: u64,
    subscription: usize,
    filter: Option<Filter>,
    /// The last notification that it has come to.
    cursor: Option<(u64, NotificationId)>,
    matched: u64,
    resent: u64,
}

impl Driver {
    pub(super) async fn set_state(&mut self, subscription: usize, wanted: Wanted) {
        let state = match wanted {
            Wanted::Active => SubscriptionState::Active,
            Wanted::Paused => SubscriptionState::Paused,
            Wanted::Disabled => SubscriptionState::Disabled { reason: "by hand".into() },
        };
        let there = self.model.set_state(subscription, wanted);
        self.patch(subscription, Patch { state: Some(state), ..Patch::default() }, there).await;
    }

    pub(super) async fn patch(&self, subscription: usize, patch: Patch, there: bool) {
        let id = self.subscriptions[subscription];
        let deed = self.deed(SubscriptionAction::of(&patch));
        let patched = self.store.patch(id, None, &patch, &deed).await.expect("a store");
        assert_eq!(patched.map(|patched| patched.is_ok()), there.then_some(true));
    }

    /// What is done to a subscription now.
    pub(super) fn deed(&self, action: SubscriptionAction) -> SubscriptionAudit {
        SubscriptionAudit::new(self.sources.ids.next(), action, "operator", self.now())
    }

    fn audit(&self, action: Action) -> Audit {
        Audit { id: self.sources.ids.next(), action, actor: "operator".into(), reason: None, at: self.now() }
    }

    pub(super) async fn resend(&mut self, pick: usize) {
        let Some(name) = self.pick_name(pick) else { return };
        let audit = self.audit(Action::Resend);
        let resent = self.store.resend(self.id(name), None, &audit).await.expect("a store").expect("there");
        let expected = self.model.resend(name, false);
        self.saw(if expected { "resent" } else { "resends refused" }, 1);
        self.compare_change(name, resent, expected);
    }

    pub(super) async fn cancel(&mut self, pick: usize) {
        let Some(name) = self.pick_name(pick) else { return };
        let audit = self.audit(Action::Cancel);
        let cancelled =
            self.store.cancel(self.id(name), None, &audit).await.expect("a store").expect("there");
        let expected = self.model.cancel(name);
        self.compare_change(name, cancelled, expected);
    }

    fn compare_change(&self, name: Name, changed: Result<Notification, Refused>, expected: bool) {
        assert_eq!(changed.is_ok(), expected, "{name:?}: {changed:?}");
        if let Ok(notification) = changed {
            self.compare(name, &notification);
        }
    }

    pub(super) async fn start_replay(&mut self, subscription: usize, filter: Option<Filter>) {
        if self.replaying.is_some() {
            return;
        }
        let state = filter.map(|filter| match filter {
            Filter::Pending => StateName::Pending,
            Filter::Held => StateName::Held,
            Filter::Delivered => StateName::Delivered,
            Filter::Exhausted => StateName::Exhausted,
            Filter::Cancelled => StateName::Cancelled,
        });
        let all = BulkFilter::all(BulkAction::Replay, self.subscriptions[subscription]);
        let replay = Bulk {
            id: self.sources.ids.next(),
            action: BulkAction::Replay,
            merchant: None,
            filter: BulkFilter { states: state.map_or(all.states, |state| States::of(&[state])), ..all },
            actor: "operator".into(),
            reason: None,
            matched: 0,
            changed: 0,
            created_at: self.now(),
            finished_at: None,
        };
        self.store.create_bulk(&replay, 1).await.expect("a store").expect("none else runs");
        let at = self.model.now;
        self.replaying =
            Some(Replaying { replay, at, subscription, filter, cursor: None, matched: 0, resent: 0 });
    }

    pub(super) async fn advance_replay(&mut self, limit: u32) {
        let Some(mut replaying) = self.replaying.take() else { return };
        let found = self.next_of(&replaying, limit as usize);
        replaying.cursor = found.last().copied().or(replaying.cursor);
        let names = found.iter().map(|(_, id)| self.names[id]).collect::<Vec<_>>();
        let resent = names.into_iter().filter(|name| self.model.resend(*name, true)).count();
        self.saw("replayed", resent);
        self.saw("passed over by replays", found.len() - resent);
        let ids = self.sources.ids.clone();
        let step = self.store.advance_bulk(limit, &move || ids.next(), self.now()).await.expect("a store");
        assert_eq!(step.changed, resent, "those with an attempt under way are left alone");
        replaying.matched += found.len() as u64;
        replaying.resent += resent as u64;
        let shown = self.store.bulk(BulkAction::Replay, replaying.replay.id, None).await;
        let shown = shown.expect("a store").expect("there");
        assert_eq!((shown.matched, shown.changed), (replaying.matched, replaying.resent));
        assert_eq!(shown.finished_at.is_some(), found.len() < limit as usize);
        if shown.finished_at.is_none() {
            self.replaying = Some(replaying);
        }
    }

    /// What the replay comes to next: the oldest that matches now.
    fn next_of(&self, replaying: &Replaying, limit: usize) -> Vec<(u64, NotificationId)> {
        let Replaying { at, subscription, filter, cursor, .. } = *replaying;
        if self.model.subscriptions[subscription].life == Life::Deleted {
            return Vec::new();
        }
        let matching = self.model.matching(subscription, at, filter).into_iter();
        // Oldest by the time of the event, whenever it came in.
        let mut found: Vec<_> =
            matching.map(|(_, name)| (self.publications[name.1].stamped, self.id(name))).collect();
        found.retain(|one| cursor.is_none_or(|cursor| cursor < *one));
        found.sort_unstable();
        found.truncate(limit);
        found
    }
}
