//! The exceptions of one batch: which are new, which are repetitions, and which end by themselves.

use std::collections::{BTreeSet, HashMap};

use chrono::{DateTime, Utc};
use messaging::EventKey;
use uuid::Uuid;

use super::exception::{BY_ITSELF, Exception, ExceptionKind, ExceptionState, Incident, Outcome, Resolution};

/// Exceptions as stored, then as changed.
#[derive(Debug, Default)]
pub(super) struct ExceptionBook {
    /// By what they are about, in the order in which they were opened.
    about: HashMap<Uuid, Vec<Exception>>,
    changed: BTreeSet<Uuid>,
}

impl ExceptionBook {
    /// Starts from every exception about the batch's subjects.
    pub(super) fn new(stored: Vec<Exception>) -> Self {
        let mut book = Self::default();
        for exception in stored {
            book.about.entry(exception.incident.subject).or_default().push(exception);
        }
        book.about.values_mut().for_each(|all| all.sort_unstable_by_key(|exception| exception.id));
        book
    }

    /// Keeps `incident` with what the books hold: as one more arrival where it is known, else as a new
    /// exception. At most one exception is open per subject and kind.
    pub(super) fn note(&mut self, incident: Incident, recorded: Box<str>, now: DateTime<Utc>) {
        let about = self.about.entry(incident.subject).or_default();
        let mut alike: Vec<&mut Exception> =
            about.iter_mut().filter(|e| e.incident.kind == incident.kind).collect();
        let ordinal = alike.len();
        // The open one comes first: it takes whatever is told.
        alike.sort_by_key(|exception| !exception.is_open());
        let known = alike.into_iter().find_map(|e| e.repeat(&incident, now).then_some(e.id));
        let id = known.unwrap_or_else(|| {
            let opened = open(incident, ordinal, recorded, now);
            let id = opened.id;
            about.push(opened);
            id
        });
        self.changed.insert(id);
    }

    /// Closes the open exceptions about `subject` whose cause is `gone`.
    pub(super) fn close(
        &mut self,
        subject: Uuid,
        gone: impl Fn(&Exception) -> bool,
        reason: &str,
        now: DateTime<Utc>,
    ) {
        for exception in self.about.get_mut(&subject).into_iter().flatten().filter(|e| gone(e)) {
            let (by, reason) = (BY_ITSELF.to_owned(), reason.to_owned());
            if exception.resolve(Resolution { outcome: Outcome::Closed, by, reason, at: now }) {
                self.changed.insert(exception.id);
            }
        }
    }

    /// The exception with this id.
    pub(super) fn get(&self, id: Uuid) -> Option<&Exception> {
        self.about.values().flatten().find(|exception| exception.id == id)
    }

    /// The exception of this kind about `subject` that the batch has opened, or told again.
    pub(super) fn touched(&self, subject: Uuid, kind: ExceptionKind) -> Option<Uuid> {
        let about = self.about.get(&subject)?.iter();
        let touched = about.filter(|e| e.incident.kind == kind && self.changed.contains(&e.id));
        Some(touched.max_by_key(|e| (e.is_open(), e.last_seen, e.id))?.id)
    }

    /// Ends the exception with this id, if it is open.
    pub(super) fn resolve(&mut self, id: Uuid, resolution: Resolution) {
        let found = self.about.values_mut().flatten().find(|exception| exception.id == id);
        if found.is_some_and(|exception| exception.resolve(resolution)) {
            self.changed.insert(id);
        }
    }

    /// What is to be written, in one order for all processes.
    pub(super) fn into_changed(self) -> Vec<Exception> {
        let mut changed: Vec<Exception> =
            self.about.into_values().flatten().filter(|e| self.changed.contains(&e.id)).collect();
        changed.sort_unstable_by_key(|exception| {
            (exception.incident.subject, exception.incident.kind, exception.id)
        });
        changed
    }
}

/// A new exception. Its id is a `UUIDv7` derived from what it is about, so that none is drawn by lot.
fn open(incident: Incident, ordinal: usize, recorded: Box<str>, now: DateTime<Utc>) -> Exception {
    let millis = u64::try_from(now.timestamp_millis()).unwrap_or(0);
    let time = EventKey(uuid::Builder::from_unix_timestamp_millis(millis, &[0; 10]).into_uuid());
    let parts: [&[u8]; 3] =
        [incident.subject.as_bytes(), incident.kind.as_str().as_bytes(), &ordinal.to_be_bytes()];
    Exception {
        id: time.derived(&parts),
        incident,
        contradiction: None,
        recorded,
        first_seen: now,
        last_seen: now,
        count: 1,
        state: ExceptionState::Open,
    }
}

#[cfg(test)]
mod tests {
    use super::super::credit::CreditSource;
    use super::*;

    fn incident(told: &str) -> Incident {
        Incident {
            subject: Uuid::nil(),
            kind: ExceptionKind::WrongAnswer,
            tx_no: None,
            merchant_order_no: None,
            source: CreditSource::Sweep,
            event_id: None,
            detail: "not readable".into(),
            received: Some(told.into()),
            result: None,
        }
    }

    fn noted(book: &mut ExceptionBook, told: &str) {
        book.note(incident(told), "{}".into(), DateTime::UNIX_EPOCH);
    }

    fn dismissed(id: Uuid, book: &mut ExceptionBook) {
        let (by, reason) = ("operator".into(), "seen".into());
        book.resolve(id, Resolution { outcome: Outcome::Dismissed, by, reason, at: DateTime::UNIX_EPOCH });
    }

    fn only(book: ExceptionBook) -> Exception {
        let mut all = book.into_changed();
        assert_eq!(all.len(), 1, "{all:?}");
        all.remove(0)
    }

    #[test]
    fn repetitions_of_an_open_exception_count_up_and_another_telling_is_kept() {
        let mut book = ExceptionBook::default();
        for told in ["1", "1", "2", "1"] {
            noted(&mut book, told);
        }
        let exception = only(book);
        assert_eq!((exception.count, exception.is_open()), (4, true));
        assert_eq!(
            (exception.incident.received.as_deref(), exception.contradiction.as_deref()),
            (Some("1"), Some("2"))
        );
    }

    #[test]
    fn what_a_person_has_judged_is_not_asked_again_but_something_new_is() {
        let mut book = ExceptionBook::default();
        noted(&mut book, "1");
        let first = book.about[&Uuid::nil()][0].id;
        dismissed(first, &mut book);
        noted(&mut book, "1");
        assert_eq!((book.about[&Uuid::nil()].len(), book.about[&Uuid::nil()][0].count), (1, 2));
        noted(&mut book, "2");
        let second = book.about[&Uuid::nil()][1].id;
        assert_ne!(first, second);
        dismissed(second, &mut book);
        for told in ["1", "2"] {
            noted(&mut book, told);
        }
        let counts: Vec<u64> = book.about[&Uuid::nil()].iter().map(|exception| exception.count).collect();
        assert_eq!(counts, [3, 2]);
    }

    #[test]
    fn what_closed_by_itself_is_opened_anew_when_it_comes_back() {
        let mut book = ExceptionBook::default();
        noted(&mut book, "1");
        book.close(Uuid::nil(), |_| true, "answered", DateTime::UNIX_EPOCH);
        noted(&mut book, "1");
        let states: Vec<bool> = book.into_changed().iter().map(Exception::is_open).collect();
        assert_eq!(states.len(), 2);
        assert_eq!(states.iter().filter(|open| **open).count(), 1);
    }
}
