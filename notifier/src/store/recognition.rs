//! Which events of a batch are new, which are known, and which are refused.
//!
//! A batch is kept in passes. Nearly always there is one: every event is new under its first key, and nothing
//! is looked up. What could not be kept is compared with the event that lies under its key: that is the same
//! event, or it has the same identity and another content, or it is another event; then the key is taken, and
//! the next pass tries the next one.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use messaging::EventKey;
use uuid::Uuid;

use super::Ingested;
use crate::domain::{EventRefusal, NewEvent};

/// How many keys an event may try.
const MAX_KEYS: u8 = 5;
/// How many passes a batch may take; each settles something or moves it to its next key.
pub(super) const MAX_PASSES: usize = 20;

/// The keys of events by their sources and ids.
pub(super) type Names = HashMap<(String, String), Uuid>;

/// A batch of events that is being kept.
pub(super) struct Recognition<'a> {
    /// Those that this pass keeps: each identity and each key once.
    chosen: Vec<Open<'a>>,
    /// Those that a later pass may keep.
    later: Vec<Open<'a>>,
    /// The places of events that repeat another one of the batch, and the place of that one.
    copies: Vec<(usize, usize)>,
    ingested: Ingested,
}

/// An event that is neither kept nor known nor refused yet.
struct Open<'a> {
    place: usize,
    event: Cow<'a, NewEvent>,
    /// How many keys it has tried.
    keys: u8,
    /// Whether its key was found by its source and id.
    is_named: bool,
}

impl Open<'_> {
    /// Whether its key has to be kept by its source and id, since it depends on the event's time.
    fn needs_name(&self) -> bool {
        !self.is_named && !self.event.has_timed_id()
    }

    fn name_by(&mut self, names: &Names) {
        if names.is_empty() || !self.needs_name() {
            return;
        }
        let (source, id) = self.event.identity();
        if let Some(key) = names.get(&(source.to_owned(), id.to_owned())) {
            self.event.to_mut().key = EventKey(*key);
            self.is_named = true;
        }
    }

    fn try_next_key(&mut self) {
        let next = self.event.key.next(&self.event.source, &self.event.id);
        self.event.to_mut().key = next;
        self.keys += 1;
    }
}

impl<'a> Recognition<'a> {
    /// Of `events`; those that repeat another one of them share its fate.
    pub(super) fn of(events: &'a [NewEvent]) -> Self {
        let mut first: HashMap<(&str, &str), usize> = HashMap::with_capacity(events.len());
        let (mut later, mut copies) = (Vec::with_capacity(events.len()), Vec::new());
        for (place, event) in events.iter().enumerate() {
            let earlier = *first.entry(event.identity()).or_insert(place);
            if earlier != place && event.differences(&events[earlier]).is_empty() {
                copies.push((place, earlier));
            } else {
                later.push(Open { place, event: Cow::Borrowed(event), keys: 1, is_named: false });
            }
        }
        Self { chosen: Vec::new(), later, copies, ingested: Ingested::default() }
    }

    /// The identities, sources and ids apart, by which the next pass may find keys.
    pub(super) fn unnamed(&self) -> (Vec<String>, Vec<String>) {
        let unnamed = self.later.iter().filter(|one| one.needs_name());
        unnamed.map(|one| (one.event.source.clone(), one.event.id.clone())).unzip()
    }

    /// Begins a pass: events get the keys that they are known under by `names`, and what to keep is chosen.
    pub(super) fn begin_pass(&mut self, names: &Names) {
        let mut open = std::mem::take(&mut self.later);
        for one in &mut open {
            one.name_by(names);
        }
        let (mut identities, mut keys) = (HashSet::new(), HashSet::new());
        let is_first: Vec<bool> = open
            .iter()
            .map(|one| identities.insert(one.event.identity()) && keys.insert(one.event.key))
            .collect();
        for (one, is_first) in open.into_iter().zip(is_first) {
            if is_first { self.chosen.push(one) } else { self.later.push(one) }
        }
        self.chosen.sort_by_key(|one| one.event.key);
    }

    /// What this pass keeps, in the order of keys: batches that overlap then wait for each other instead of
    /// deadlocking.
    pub(super) fn chosen(&self) -> Vec<&NewEvent> {
        self.chosen.iter().map(|one| &*one.event).collect()
    }

    /// Those of them whose keys are to be kept by source and id, in the order of these.
    pub(super) fn to_name(&self) -> Vec<&NewEvent> {
        let mut to_name: Vec<&NewEvent> =
            self.chosen.iter().filter(|one| one.needs_name()).map(|one| &*one.event).collect();
        to_name.sort_by_key(|event| event.identity());
        to_name
    }

    /// Begins the pass again: nothing was kept.
    pub(super) fn abandon_pass(&mut self) {
        self.later.append(&mut self.chosen);
    }

    /// What was chosen is kept, as far as it is in `fresh`, and has caused `part`.
    pub(super) fn kept(&mut self, fresh: &HashSet<Uuid>, part: Ingested) {
        let kept = self.chosen.extract_if(.., |one| fresh.contains(&one.event.key.0));
        self.ingested.fresh.extend(kept.map(|one| one.place));
        self.ingested.add(part);
    }

    /// The keys of what is not settled yet.
    pub(super) fn open_keys(&self) -> Vec<Uuid> {
        self.chosen.iter().chain(&self.later).map(|one| one.event.key.0).collect()
    }

    /// Ends the pass: what is open is compared with the events that are `stored` under its keys. Of what was
    /// chosen and is below `floor`, nothing was kept.
    pub(super) fn compare(&mut self, stored: &HashMap<Uuid, NewEvent>, floor: Uuid) {
        let later = std::mem::take(&mut self.later).into_iter().map(|one| (one, false));
        let open: Vec<_> =
            std::mem::take(&mut self.chosen).into_iter().map(|one| (one, true)).chain(later).collect();
        for (mut one, was_chosen) in open {
            let refusal = match stored.get(&one.event.key.0) {
                None if was_chosen && one.event.key.0 < floor => Some(EventRefusal::Expired),
                None => {
                    self.later.push(one);
                    continue;
                }
                Some(known) if known.identity() == one.event.identity() => {
                    let differences = one.event.differences(known);
                    (!differences.is_empty()).then_some(EventRefusal::Contradicts(differences))
                }
                Some(_) if one.keys >= MAX_KEYS => Some(EventRefusal::NoKeyLeft),
                Some(_) => {
                    one.try_next_key();
                    self.later.push(one);
                    continue;
                }
            };
            self.ingested.refused.extend(refusal.map(|refusal| (one.place, refusal)));
        }
    }

    /// Whether every event is kept, known or refused.
    pub(super) fn is_settled(&self) -> bool {
        self.chosen.is_empty() && self.later.is_empty()
    }

    /// What the batch has caused.
    pub(super) fn finish(mut self) -> Ingested {
        let refused = &mut self.ingested.refused;
        let of_first: HashMap<usize, EventRefusal> = refused.iter().cloned().collect();
        let copies = self.copies.iter();
        refused.extend(copies.filter_map(|(place, first)| Some((*place, of_first.get(first)?.clone()))));
        refused.sort_by_key(|(place, _)| *place);
        self.ingested
    }
}
