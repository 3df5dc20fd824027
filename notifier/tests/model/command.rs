//! What can happen to a notifier, in any order.

use proptest::prelude::*;

/// How many subscriptions a case has.
pub const SUBSCRIPTIONS: usize = 2;

/// One thing that happens. Numbers pick one of what there is, whatever there is.
#[derive(Debug, Clone)]
pub enum Command {
    /// Events come in, for the first time; `room`: there is room to send at once.
    Ingest { count: usize, room: bool },
    /// An event comes in again, changed or not, along with a new one.
    IngestAgain { pick: usize, change: Change },
    /// A process looks for due work.
    Claim { subscription: usize, quota: u32, retries_first: bool },
    /// Attempts end and are recorded as a group, in time or late. What is never recorded died with
    /// its process.
    Record { ended: Vec<(usize, Ending)> },
    /// A process gives a lease back that it made no attempt with.
    GiveBack { pick: usize },
    /// The last group is recorded again, by a process that did not hear of its commit.
    RecordAgain,
    /// Time passes.
    Pass { millis: u64 },
    /// Time passes until something is due, or until just before.
    PassToDue { pick: usize, just_before: bool },
    /// Time passes until something is due; what is due then is claimed, attempted and recorded.
    Ring { pick: usize, ending: Ending },
    /// Events come in; nobody is reached by so many rounds of attempts, each as soon as one is due. Then
    /// some hours pass, and one more round ends like that.
    Outage { subscription: usize, rounds: usize, hours: u64, ending: Ending },
    /// PATCH `state`.
    SetState { subscription: usize, state: Wanted },
    /// PATCH `ladder`, in seconds.
    SetLadder { subscription: usize, steps: Vec<u64> },
    /// PATCH `timeout`, in seconds.
    SetTimeout { subscription: usize, seconds: u64 },
    /// DELETE.
    Delete { subscription: usize },
    /// An operator resends.
    Resend { pick: usize },
    /// An operator cancels.
    Cancel { pick: usize },
    /// An operator asks for a replay, unless one is running.
    Replay { subscription: usize, state: Option<Filter> },
    /// The replay goes on.
    AdvanceReplay { limit: u32 },
    /// The log is read.
    Look,
}

/// What differs when an event comes in again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    Nothing,
    Time,
    Source,
    Content,
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    Delivered,
    Failed,
    TimedOut,
    NotConnected,
    /// Our own way out failed.
    NoWayOut,
    /// 503, with a `Retry-After` of so many seconds or without.
    Busy(Option<u64>),
    /// 410.
    Gone,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    Active,
    Paused,
    Disabled,
}

/// A state that a replay is narrowed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Filter {
    Pending,
    Held,
    Delivered,
    Exhausted,
    Cancelled,
}

fn ending() -> impl Strategy<Value = Ending> {
    prop_oneof![
        4 => Just(Ending::Delivered),
        5 => Just(Ending::Failed),
        1 => Just(Ending::TimedOut),
        3 => Just(Ending::NotConnected),
        1 => Just(Ending::NoWayOut),
        2 => prop::sample::select(vec![None, None, Some(0), Some(1), Some(90), Some(7200), Some(1_000_000)])
            .prop_map(Ending::Busy),
        1 => Just(Ending::Gone),
    ]
}

fn command() -> impl Strategy<Value = Command> {
    let subscription = 0..SUBSCRIPTIONS;
    let pick = 0..1000_usize;
    let state =
        prop_oneof![3 => Just(Wanted::Active), 1 => Just(Wanted::Paused), 1 => Just(Wanted::Disabled)];
    let filter = prop::sample::select(vec![
        Filter::Pending,
        Filter::Held,
        Filter::Delivered,
        Filter::Exhausted,
        Filter::Cancelled,
    ]);
    let changes = prop::sample::select(vec![Change::Nothing, Change::Time, Change::Source, Change::Content]);
    let ladders = prop::sample::select(vec![vec![1], vec![60, 300], vec![1, 1, 1], vec![30, 1, 3600]]);
    let millis =
        prop::sample::select(vec![1, 500, 1_000, 10_000, 20_000, 60_000, 300_000, 3_600_000, 180_000_000]);
    prop_oneof![
        5 => (1..3_usize, any::<bool>()).prop_map(|(count, room)| Command::Ingest { count, room }),
        3 => (pick.clone(), changes).prop_map(|(pick, change)| Command::IngestAgain { pick, change }),
        9 => (subscription.clone(), 1..5_u32, any::<bool>()).prop_map(
            |(subscription, quota, retries_first)| Command::Claim { subscription, quota, retries_first }
        ),
        8 => prop::collection::vec((pick.clone(), ending()), 1..4).prop_map(|ended| Command::Record { ended }),
        2 => pick.clone().prop_map(|pick| Command::GiveBack { pick }),
        1 => Just(Command::RecordAgain),
        4 => millis.prop_map(|millis| Command::Pass { millis }),
        5 => (pick.clone(), any::<bool>())
            .prop_map(|(pick, just_before)| Command::PassToDue { pick, just_before }),
        14 => (pick.clone(), ending()).prop_map(|(pick, ending)| Command::Ring { pick, ending }),
        1 => (subscription.clone(), 3..9_usize, 0..5_u64, ending()).prop_map(
            |(subscription, rounds, hours, ending)| Command::Outage { subscription, rounds, hours, ending }
        ),
        4 => (subscription.clone(), state)
            .prop_map(|(subscription, state)| Command::SetState { subscription, state }),
        1 => (subscription.clone(), ladders)
            .prop_map(|(subscription, steps)| Command::SetLadder { subscription, steps }),
        1 => (subscription.clone(), 1..31_u64)
            .prop_map(|(subscription, seconds)| Command::SetTimeout { subscription, seconds }),
        1 => subscription.clone().prop_map(|subscription| Command::Delete { subscription }),
        3 => pick.clone().prop_map(|pick| Command::Resend { pick }),
        2 => pick.prop_map(|pick| Command::Cancel { pick }),
        4 => (subscription, prop::option::of(filter))
            .prop_map(|(subscription, state)| Command::Replay { subscription, state }),
        4 => (1..4_u32).prop_map(|limit| Command::AdvanceReplay { limit }),
        1 => Just(Command::Look),
    ]
}

/// A case.
pub fn commands() -> impl Strategy<Value = Vec<Command>> {
    prop::collection::vec(command(), 1..30)
}
