//! Events on their way in: new ones, and those that come again.

use std::sync::Arc;

use messaging::{Event, EventKey};
use notifier::domain::{Endpoint, NewEvent};
use notifier::store::{Admission, AdmitNone, Ingested};
use serde_json::json;

use super::command::Change;
use super::driver::Driver;
use super::model::{Held, Life, Name, Publication, Taken};

struct AdmitAll;

impl Admission for AdmitAll {
    fn admit(&mut self, _: &Arc<Endpoint>) -> bool {
        true
    }
}

/// Later than any day has hours.
const OTHER_DAY: u64 = 25 * 3_600_000;

impl Driver {
    /// One that was published before, with this changed.
    pub(super) fn published_again(&self, pick: usize, change: Change) -> Option<Publication> {
        let before = *self.publications.get(pick % self.publications.len().max(1))?;
        Some(match change {
            Change::Nothing => before,
            Change::Time => Publication { stamped: before.stamped + OTHER_DAY, ..before },
            // A source that no other event has.
            Change::Source => Publication { source: self.events.len() + 1, ..before },
            Change::Content => Publication { content: before.content + 1, ..before },
        })
    }

    /// An event of the first source under an id of its own: a `UUIDv7` or text by turns.
    fn new_publication(&mut self) -> Publication {
        let id = self.ids.len();
        let uuid = self.sources.ids.next();
        self.ids.push(if id.is_multiple_of(2) { uuid.to_string() } else { format!("order-{id}") });
        Publication { source: 0, id, content: 0, stamped: self.model.now }
    }

    fn published(&self, publication: Publication) -> NewEvent {
        let Publication { source, id, content, stamped } = publication;
        let event = json!({
            "specversion": "1.0", "id": self.ids[id], "source": format!("/source-{source}"),
            "type": "order.paid", "time": self.time(stamped), "data": content,
        });
        NewEvent::from(&Event::parse(event.to_string().as_bytes()).expect("an event"))
    }

    /// The event as it is kept: where another source has taken its `UUIDv7` before, under another key.
    fn kept(&self, publication: Publication) -> NewEvent {
        let event = self.published(publication);
        let is_taken = publication.source > 0 && EventKey::of_id(&event.id).is_some();
        let key = if is_taken { event.key.next(&event.source, &event.id) } else { event.key };
        NewEvent { key, ..event }
    }

    pub(super) async fn ingest(&mut self, count: usize, room: bool, again: Option<Publication>) {
        let mut publications: Vec<Publication> = again.into_iter().collect();
        for _ in 0..count {
            publications.push(self.new_publication());
        }
        let batch: Vec<NewEvent> = publications.iter().map(|one| self.published(*one)).collect();
        let fates: Vec<Taken> = publications.iter().map(|one| self.model.take(*one)).collect();
        for (publication, _) in publications.iter().zip(&fates).filter(|(_, fate)| **fate == Taken::New) {
            self.events.push(self.kept(*publication));
            self.publications.push(*publication);
        }
        let new = fates.iter().filter(|fate| **fate == Taken::New).count();
        self.saw("events of another source with a known id", new - count);
        let (token, model_token) = self.token();
        let held: Vec<Held> = (0..new).flat_map(|_| self.model.ingest(room, model_token)).collect();
        let ingested = if room {
            self.store.ingest(&batch, &mut AdmitAll, token, self.now()).await
        } else {
            self.store.ingest(&batch, &mut AdmitNone, token, self.now()).await
        };
        self.compare_ingested(ingested.expect("a store"), &fates, room, held);
    }

    fn compare_ingested(&mut self, ingested: Ingested, fates: &[Taken], room: bool, held: Vec<Held>) {
        let new = fates.iter().filter(|fate| **fate == Taken::New).count();
        let living = self.model.subscriptions.iter().filter(|s| s.life != Life::Deleted).count();
        let active = self.model.subscriptions.iter().filter(|s| s.life == Life::Active);
        let kept_back = active.clone().filter(|s| s.held_back()).count();
        let active = active.count();
        let Ingested { events, notifications, deliveries, waiting, refused, .. } = ingested;
        assert_eq!((events, notifications), (new, new * living), "each event once");
        assert_eq!(waiting, new * if room { kept_back } else { active });
        let places: Vec<usize> = refused.iter().map(|(place, _)| *place).collect();
        let expected = (0..fates.len()).filter(|place| fates[*place] == Taken::Refused);
        assert_eq!(places, expected.collect::<Vec<_>>(), "only another content is refused: {refused:?}");
        self.saw("contradictions", places.len());
        self.saw("events known", fates.iter().filter(|fate| **fate == Taken::Known).count());
        let named: Vec<Name> = self.model.notifications.keys().copied().collect();
        for name in named {
            self.names.entry(self.id(name)).or_insert(name);
        }
        self.take_in_hand(deliveries, held);
    }
}
