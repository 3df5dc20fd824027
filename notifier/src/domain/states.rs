//! A choice among the states of notifications, which lists and bulk actions are narrowed to.

use std::fmt;

use super::notification::StateName;

/// The word for all that is neither delivered nor cancelled.
pub const UNDELIVERED: &str = "undelivered";

/// Some of the states, or all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct States(u8);

/// A word names no state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "must be one or more of pending, delivering, held, delivered, exhausted, cancelled, or undelivered (all but \
     delivered and cancelled)"
)]
pub struct UnknownState;

impl States {
    /// Every state.
    pub const ALL: Self = Self::of(&StateName::ALL);
    /// What is not final.
    pub const WAITING: Self = Self::of(&[StateName::Pending, StateName::Delivering, StateName::Held]);
    /// What is final.
    pub const FINAL: Self = Self::of(&[StateName::Delivered, StateName::Exhausted, StateName::Cancelled]);
    /// What has not reached its receiver, and was not given up by a person.
    pub const UNDELIVERED: Self =
        Self::of(&[StateName::Pending, StateName::Delivering, StateName::Held, StateName::Exhausted]);

    /// These states.
    pub const fn of(states: &[StateName]) -> Self {
        let mut chosen = 0;
        let mut index = 0;
        while index < states.len() {
            chosen |= 1 << states[index] as u8;
            index += 1;
        }
        Self(chosen)
    }

    /// Reads names of states and [`UNDELIVERED`].
    pub fn parse<'a>(words: impl IntoIterator<Item = &'a str>) -> Result<Self, UnknownState> {
        let mut chosen = Self(0);
        for word in words {
            let named = match word {
                UNDELIVERED => Self::UNDELIVERED,
                name => Self::of(&[StateName::parse(name).ok_or(UnknownState)?]),
            };
            chosen = Self(chosen.0 | named.0);
        }
        if chosen.is_empty() { Err(UnknownState) } else { Ok(chosen) }
    }

    /// Whether `state` is among them.
    pub fn contains(self, state: StateName) -> bool {
        !self.and(Self::of(&[state])).is_empty()
    }

    /// Those that are in both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// These but for `state`.
    #[must_use]
    pub fn without(self, state: StateName) -> Self {
        Self(self.0 & !Self::of(&[state]).0)
    }

    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Each of them.
    pub fn iter(self) -> impl Iterator<Item = StateName> {
        StateName::ALL.into_iter().filter(move |state| self.contains(*state))
    }
}

impl Default for States {
    fn default() -> Self {
        Self::ALL
    }
}

/// Their names, separated by commas.
impl fmt::Display for States {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.iter().map(StateName::as_str).collect::<Vec<_>>().join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_name_states_and_undelivered_is_all_that_is_neither_delivered_nor_cancelled() {
        let read = |text: &str| States::parse(text.split(','));
        assert_eq!(read("held,pending"), Ok(States::of(&[StateName::Pending, StateName::Held])));
        let undelivered = read("undelivered").expect("a word");
        let others: Vec<_> =
            StateName::ALL.into_iter().filter(|state| !undelivered.contains(*state)).collect();
        assert_eq!(others, [StateName::Delivered, StateName::Cancelled]);
        assert_eq!(read("undelivered,cancelled,delivered"), Ok(States::ALL));
        for wrong in ["", "lost", "held,", "Held", "held pending"] {
            assert_eq!(read(wrong), Err(UnknownState), "{wrong}");
        }
        assert_eq!(States::parse([]), Err(UnknownState));
    }

    #[test]
    fn what_is_written_is_read_again() {
        for states in [States::ALL, States::WAITING, States::FINAL, States::of(&[StateName::Held])] {
            assert_eq!(States::parse(states.to_string().split(',')), Ok(states));
        }
        assert_eq!(States::UNDELIVERED.to_string(), "pending,delivering,held,exhausted");
    }
}
