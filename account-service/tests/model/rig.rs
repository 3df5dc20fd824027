//! Two processes and a front that answers calls, over one database, one queue and one pay-service.

use std::pin::Pin;
use std::sync::{Arc, Mutex};

use account_service::domain::Nightly;
use account_service::store::Store;
use account_service::{Parts, PeriodPlan, ResultQueue, SweepPlan, Workers};
use axum::Router;
use messaging::Broker;
use messaging::webhook::WebhookSecret;
use runtime::background::{Progress, RoundError};
use runtime::identity::Entropy;
use runtime::keys::Keyring;
use runtime::testing::{ManualClock, SeededEntropy};
use runtime::trace::Spans;
use runtime::{Secret, Sources};
use tokio::select;

use super::command::{PROCESSES, Stop};
use super::driver::Work;
use super::gate::Gate;
use super::mortal::{Journal, Mortal};
use super::pay_service::{Books, MERCHANT, Script};
use super::queue::MemoryQueue;

pub const OPERATOR: &str = "operator-key";
/// The waits before each question about a request, in seconds.
pub const SWEEP_LADDER: [i64; 3] = [30, 60, 300];
/// The waits before each further try of the queue, in seconds.
pub const QUEUE_LADDER: [u64; 2] = [60, 300];
/// How many recharges and credits a reconciliation reads at once.
pub const PAGE: u16 = 3;
/// How long pay-service may take to answer.
pub const TIMEOUT: std::time::Duration = std::time::Duration::from_secs(5);

/// What is on its way.
pub type Running<T> = Pin<Box<dyn Future<Output = T>>>;
/// A round, and the process's workers, of which one runs at a time.
pub type Round = (Workers, Result<Progress, RoundError>);

/// Whether a future came to its end or stopped on its way.
pub enum Run<T> {
    Ended(T),
    Stopped(Running<T>),
}

/// What is done in one place, and where it can stop.
pub struct Place {
    pub gate: Gate,
    pub journal: Journal,
}

/// A process with its workers.
pub struct Process {
    pub place: Place,
    make_workers: Box<dyn Fn() -> Workers>,
    /// While they are at rest.
    pub workers: Option<Workers>,
    /// The round that was stopped, and what it has done so far.
    pub stopped: Option<(Running<Round>, Work)>,
}

/// Everything that outlives a case.
pub struct Rig {
    pub store: Arc<dyn Store>,
    pub clock: ManualClock,
    dice: Arc<Dice>,
    pub books: Arc<Mutex<Books>>,
    pub queue: MemoryQueue,
    pub secret: WebhookSecret,
    pub front: Place,
    pub router: Router,
    pub processes: Vec<Process>,
}

/// Entropy that each case begins anew, so that the same commands come to the same.
struct Dice(Mutex<SeededEntropy>);

impl Entropy for Dice {
    fn fill(&self, buffer: &mut [u8]) {
        self.0.lock().expect("nobody panics here").fill(buffer);
    }
}

impl Rig {
    /// On `store`; within a runtime, since the task that posts is started.
    pub fn new(store: Arc<dyn Store>) -> Self {
        let clock = ManualClock::default();
        let dice = Arc::new(Dice(Mutex::new(SeededEntropy::new(1))));
        let sources = Sources::new(Arc::new(clock.clone()), dice.clone());
        let books = Arc::new(Mutex::new(Books::default()));
        let secret = WebhookSecret::generate(&SeededEntropy::new(1));
        let (gate, journal) = (Gate::default(), Journal::default());
        let queue = MemoryQueue { messages: Arc::default(), clock: sources.clock.clone(), gate, journal };
        let place = || Place::new(&store, &sources, &books, &queue, &secret);
        let processes = (0..PROCESSES).map(|_| Process::new(place())).collect();
        let (front, parts) = place();
        let router = parts.assemble().expect("assembles").router;
        Self { store, clock, dice, books, queue, secret, front, router, processes }
    }

    /// For a new case, which begins later than the last one ended.
    pub fn renew(&mut self, seed: u64) {
        self.clock.advance(std::time::Duration::from_secs(1));
        *self.dice.0.lock().expect("nobody panics here") = SeededEntropy::new(seed);
        *self.books.lock().expect("nobody panics here") = Books::default();
        self.queue.clear();
        self.front.gate.die();
        self.front.journal.take();
        for process in &mut self.processes {
            process.die();
            process.place.journal.take();
        }
    }
}

impl Place {
    fn new(
        store: &Arc<dyn Store>,
        sources: &Sources,
        books: &Arc<Mutex<Books>>,
        queue: &MemoryQueue,
        secret: &WebhookSecret,
    ) -> (Self, Parts) {
        let (gate, journal) = (Gate::default(), Journal::default());
        let broker: Arc<dyn Broker> =
            Arc::new(MemoryQueue { gate: gate.clone(), journal: journal.clone(), ..queue.clone() });
        let ladder = |waits: Vec<String>| waits.join(",").parse().expect("a ladder");
        let parts = Parts {
            keyring: Keyring::new(Some(&Secret::new(OPERATOR)), &"shop=key".parse().expect("keys")),
            store: Arc::new(Mortal { store: store.clone(), gate: gate.clone(), journal: journal.clone() }),
            pay_service: Arc::new(Script {
                books: books.clone(),
                gate: gate.clone(),
                journal: journal.clone(),
            }),
            webhook_secrets: Some(vec![secret.clone()]),
            queue: Some(ResultQueue {
                broker,
                ladder: ladder(QUEUE_LADDER.map(|step| format!("{step}s")).into()),
            }),
            merchant: MERCHANT.into(),
            sweep: SweepPlan {
                ladder: ladder(SWEEP_LADDER.map(|step| format!("{step}s")).into()),
                ..SweepPlan::standard(TIMEOUT)
            },
            periods: PeriodPlan { nightly: Nightly::Off, page: PAGE },
            sources: sources.clone(),
            spans: Spans::off(),
        };
        (Self { gate, journal }, parts)
    }

    /// Lets `running` go until it ends or stops.
    pub async fn run<T>(&self, mut running: Running<T>, stop: Stop) -> Run<T> {
        self.gate.arm(stop);
        let run = select! {
            biased;
            ended = &mut running => Some(ended),
            () = self.gate.stopped() => None,
        };
        self.gate.arm(None);
        run.map_or_else(|| Run::Stopped(running), Run::Ended)
    }
}

impl Process {
    fn new((place, parts): (Place, Parts)) -> Self {
        let make_workers = Box::new(parts.into_workers().expect("assembles"));
        Self { place, make_workers, workers: None, stopped: None }
    }

    /// Its workers; a new process makes them.
    pub fn take_workers(&mut self) -> Workers {
        self.workers.take().unwrap_or_else(&self.make_workers)
    }

    /// All that it has in memory is gone; another takes its place.
    pub fn die(&mut self) {
        (self.stopped, self.workers) = (None, None);
        self.place.gate.die();
    }
}
