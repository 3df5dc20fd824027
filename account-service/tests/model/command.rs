//! What can happen around an account-service, in any order.

use proptest::prelude::*;

use super::rig::PAGE;

/// How many accounts are ever spoken of: one in yuan, one in dollars, one that is opened late, one
/// that never is.
pub const ACCOUNTS: usize = 4;
/// How many processes share the database and the queue.
pub const PROCESSES: usize = 2;

/// After how many places, one before and one after each step, the process stops. A worker may go on
/// later; whoever is answering a call dies there.
pub type Stop = Option<u32>;

/// One thing that happens. Numbers pick one of what there is, whatever there is.
#[derive(Debug, Clone)]
pub enum Command {
    /// Somebody creates a recharge at pay-service, in the currency of its account or in the other.
    Create { account: usize, amount: i64, other: bool, result: Option<Final> },
    /// Somebody repeats an order at a pay-service that has lost it: a second recharge of it.
    Repeat { pick: usize, result: Option<Final> },
    /// An order that is credited is repeated, paid again and rung; the operator decides about it.
    PayTwice { pick: usize, knowing: bool },
    /// Somebody asks here for a recharge.
    Request { account: usize, amount: i64, taking: Taking, stop: Stop },
    /// A request that was under way for long arrives at pay-service.
    Arrive { pick: usize },
    /// A recharge gets its result at pay-service.
    Settle { pick: usize, result: Final },
    /// The notifier rings with a result: the first time or once more, in whatever order.
    Ring { pick: usize, lie: Option<Lie>, stop: Stop },
    /// Results come into the queue, in whatever order and number.
    Publish { picks: Vec<(usize, Option<Lie>)> },
    /// A process takes what is in the queue.
    Take { process: usize, stop: Stop },
    /// A process sweeps, once something is `due` or as it is; pay-service answers so in turn.
    Sweep { process: usize, due: bool, moods: Vec<Mood>, stop: Stop },
    /// A process is stopped while it sweeps, and goes on when another has taken its lease.
    Overtake { moods: Vec<Mood>, stop: u32 },
    /// Somebody asks for the reconciliation of a period.
    Reconcile { period: Span, stop: Stop },
    /// A process goes on with reconciliations, once one is `due` or as it is: some stretches of them,
    /// the last of which may be stopped. pay-service tells its statement so.
    Walk { process: usize, due: bool, telling: Telling, stretches: u32, stop: Stop },
    /// A process is stopped on a stretch, and goes on when another has taken its lease.
    OvertakeWalk { telling: Telling, stop: u32 },
    /// A process is stopped on a stretch, a result comes, and it goes on.
    RingMeanwhile { pick: usize, stop: u32 },
    /// A stopped process goes on.
    GoOn { process: usize, stop: Stop },
    /// A process dies, and another takes its place.
    Die { process: usize },
    /// Somebody asks how a recharge stands.
    Query { pick: usize, mood: Mood, stop: Stop },
    /// Time passes.
    Pass { seconds: u64 },
    /// The late account is opened.
    Open,
    /// The operator has a dead letter put back.
    Requeue { pick: usize, stop: Stop },
    /// The operator decides about an exception, perhaps knowing of another credit of its order.
    Resolve { pick: usize, credit: bool, knowing: bool, stop: Stop },
    /// The books are read.
    Look,
}

/// A period: its first millisecond since the first recharge, and how many it has.
pub type Span = (u64, u64);
/// More than there ever is.
pub const WHOLE: Span = (0, 1000);

/// How pay-service tells its statement: so many recharges at a time, and so in turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Telling {
    pub size: usize,
    pub moods: Vec<Mood>,
}

/// What pay-service does when it is asked for a recharge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taking {
    /// It takes it and says so.
    Taken,
    /// It settles it inside the call.
    Instant,
    /// It takes it, but its answer is lost.
    AnswerLost,
    /// It is not there, and the request never arrives.
    Down,
    /// It is not there, but the request is under way to it.
    UnderWay,
    /// It refuses it.
    Refused,
    /// It takes it, and answers something else.
    Wrong(Mood),
}

/// What pay-service does when it is asked how a recharge stands, or for a page of its statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    /// It tells.
    Right,
    /// It does not answer.
    Down,
    /// It knows nothing of it.
    Forgetful,
    /// It answers nonsense.
    Nonsense,
    /// It tells of another recharge.
    Another,
    /// It tells of another merchant's.
    Foreign,
    /// It tells another amount.
    Amount,
    /// It tells what was right before the result.
    Stale,
}

/// How a result is told otherwise than it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lie {
    Amount,
    Account(usize),
    Currency,
    Result(Final),
    /// As another that pay-service knows nothing of.
    MadeUp,
    /// As another merchant's.
    Foreign,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Final {
    Succeeded,
    Failed,
    Closed,
}

fn result() -> impl Strategy<Value = Final> {
    prop_oneof![6 => Just(Final::Succeeded), 1 => Just(Final::Failed), 1 => Just(Final::Closed)]
}

fn lie() -> impl Strategy<Value = Option<Lie>> {
    prop_oneof![
        20 => Just(None),
        1 => Just(Some(Lie::Amount)),
        1 => (0..ACCOUNTS).prop_map(|account| Some(Lie::Account(account))),
        1 => Just(Some(Lie::Currency)),
        1 => Just(Some(Lie::MadeUp)),
        2 => result().prop_map(|result| Some(Lie::Result(result))),
        1 => Just(Some(Lie::Foreign)),
    ]
}

fn mood() -> impl Strategy<Value = Mood> + Clone {
    let wrong = [Mood::Nonsense, Mood::Another, Mood::Foreign, Mood::Amount, Mood::Stale];
    prop_oneof![
        9 => Just(Mood::Right),
        2 => Just(Mood::Down),
        3 => Just(Mood::Forgetful),
        2 => prop::sample::select(wrong.to_vec()),
    ]
}

fn taking() -> impl Strategy<Value = Taking> {
    let wrong = [Mood::Nonsense, Mood::Another, Mood::Foreign, Mood::Amount].map(Taking::Wrong);
    prop_oneof![
        3 => Just(Taking::Taken),
        2 => Just(Taking::Instant),
        3 => Just(Taking::AnswerLost),
        1 => Just(Taking::Down),
        2 => Just(Taking::UnderWay),
        1 => Just(Taking::Refused),
        2 => prop::sample::select(wrong.to_vec()),
    ]
}

fn stop(places: u32) -> impl Strategy<Value = Stop> {
    prop_oneof![3 => Just(None), 1 => (0..places).prop_map(Some)]
}

/// As often as not.
fn often(places: u32) -> impl Strategy<Value = Stop> {
    prop::option::of(0..places)
}

fn account() -> impl Strategy<Value = usize> {
    prop_oneof![5 => Just(0_usize), 2 => Just(1_usize), 2 => Just(2_usize), 1 => Just(3_usize)]
}

/// What pay-service does and what is asked of it.
fn beginnings() -> BoxedStrategy<Command> {
    let pick = 0..1000_usize;
    prop_oneof![
        8 => (account(), 1..4_i64, prop::bool::weighted(0.1), prop::option::of(result()))
            .prop_map(|(account, amount, other, result)| Command::Create { account, amount, other, result }),
        1 => (pick.clone(), any::<bool>()).prop_map(|(pick, knowing)| Command::PayTwice { pick, knowing }),
        1 => (pick.clone(), prop::option::of(result())).prop_map(|(pick, result)| Command::Repeat { pick, result }),
        7 => (account(), 1..4_i64, taking(), stop(10))
            .prop_map(|(account, amount, taking, stop)| Command::Request { account, amount, taking, stop }),
        1 => pick.clone().prop_map(|pick| Command::Arrive { pick }),
        8 => (pick, result()).prop_map(|(pick, result)| Command::Settle { pick, result }),
    ]
    .boxed()
}

/// The ways on which results come.
fn roads() -> BoxedStrategy<Command> {
    let (pick, process) = (0..1000_usize, 0..PROCESSES);
    let picks = prop::collection::vec((pick.clone(), lie()), 1..5);
    let moods = prop::collection::vec(mood(), 1..4);
    prop_oneof![
        8 => (pick.clone(), lie(), stop(2)).prop_map(|(pick, lie, stop)| Command::Ring { pick, lie, stop }),
        6 => picks.prop_map(|picks| Command::Publish { picks }),
        7 => (process.clone(), stop(6)).prop_map(|(process, stop)| Command::Take { process, stop }),
        8 => (process, prop::bool::weighted(0.8), moods.clone(), stop(10))
            .prop_map(|(process, due, moods, stop)| Command::Sweep { process, due, moods, stop }),
        1 => (moods.clone(), 2..8_u32).prop_map(|(moods, stop)| Command::Overtake { moods, stop }),
        4 => (pick, mood(), stop(6)).prop_map(|(pick, mood, stop)| Command::Query { pick, mood, stop }),
    ]
    .boxed()
}

fn telling() -> impl Strategy<Value = Telling> {
    let mood = prop_oneof![
        4 => Just(Mood::Right),
        1 => Just(Mood::Forgetful),
        1 => Just(Mood::Amount),
        4 => Just(Mood::Stale),
        2 => prop::sample::select(vec![Mood::Down, Mood::Another, Mood::Foreign]),
    ];
    let moods = prop::collection::vec(mood, 1..4);
    (1..=usize::from(PAGE), moods).prop_map(|(size, moods)| Telling { size, moods })
}

/// Reconciliations of periods.
fn walks() -> BoxedStrategy<Command> {
    let period = prop_oneof![2 => Just(WHOLE), 1 => (0..3_u64, 1..4_u64)];
    prop_oneof![
        3 => (period, stop(2)).prop_map(|(period, stop)| Command::Reconcile { period, stop }),
        5 => (0..PROCESSES, prop::bool::weighted(0.8), telling(), 1..3_u32, often(8)).prop_map(
            |(process, due, telling, stretches, stop)| Command::Walk { process, due, telling, stretches, stop }
        ),
        1 => (telling(), 2..8_u32).prop_map(|(telling, stop)| Command::OvertakeWalk { telling, stop }),
        1 => (0..1000_usize, 4..7_u32).prop_map(|(pick, stop)| Command::RingMeanwhile { pick, stop }),
    ]
    .boxed()
}

/// Time, people and processes.
fn surroundings() -> BoxedStrategy<Command> {
    let (pick, process) = (0..1000_usize, 0..PROCESSES);
    prop_oneof![
        6 => (process.clone(), stop(6)).prop_map(|(process, stop)| Command::GoOn { process, stop }),
        1 => process.prop_map(|process| Command::Die { process }),
        4 => prop::sample::select(vec![1, 30, 60, 120, 300, 3600])
            .prop_map(|seconds| Command::Pass { seconds }),
        1 => Just(Command::Open),
        2 => (pick.clone(), stop(6)).prop_map(|(pick, stop)| Command::Requeue { pick, stop }),
        6 => (pick, any::<bool>(), any::<bool>(), stop(2)).prop_map(|(pick, credit, knowing, stop)| {
            Command::Resolve { pick, credit, knowing, stop }
        }),
        1 => Just(Command::Look),
    ]
    .boxed()
}

/// A case.
pub fn commands() -> impl Strategy<Value = Vec<Command>> {
    prop::collection::vec(
        prop_oneof![8 => beginnings(), 11 => roads(), 4 => walks(), 6 => surroundings()],
        1..20,
    )
}
