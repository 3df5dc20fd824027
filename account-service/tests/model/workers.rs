//! The rounds of the workers: taking from the queue, and sweeping; how they stop, go on and die.

use super::command::Stop;
use super::driver::{Deed, Driver, Kind, Work};
use super::pay_service::Answered;
use super::rig::{Round, Run, Running};

impl Driver<'_> {
    /// A process that was stopped dies before it begins anew.
    pub fn make_ready(&mut self, process: usize) {
        if self.rig.processes[process].stopped.is_some() {
            self.die(process);
        }
    }

    pub fn die(&mut self, process: usize) {
        if let Some((_, work)) = &self.rig.processes[process].stopped {
            let claimed = usize::from(work.pace.claimed.is_some());
            self.saw("deaths at work", 1);
            self.saw("deaths on a stretch", claimed);
        }
        self.rig.processes[process].die();
    }

    pub async fn take(&mut self, process: usize, stop: Stop) {
        self.make_ready(process);
        let mut workers = self.rig.processes[process].take_workers();
        let round = Box::pin(async move {
            let intake = workers.intake.as_mut().expect("there is a queue");
            let ended = intake.run_once().await;
            (workers, ended)
        });
        self.go(process, round, Work::new(Kind::Take, self.now()), stop).await;
    }

    pub async fn sweep(&mut self, process: usize, stop: Stop) {
        self.make_ready(process);
        let mut workers = self.rig.processes[process].take_workers();
        let round = Box::pin(async move {
            let ended = workers.sweep.run_once().await;
            (workers, ended)
        });
        self.go(process, round, Work::new(Kind::Sweep, self.now()), stop).await;
    }

    /// What was stopped goes on, late as it is.
    pub async fn go_on(&mut self, process: usize, stop: Stop) {
        let Some((round, work)) = self.rig.processes[process].stopped.take() else { return };
        self.saw("went on late", 1);
        self.rig.processes[process].place.gate.go_on();
        self.go(process, round, work, stop).await;
    }

    pub async fn go(&mut self, process: usize, round: Running<Round>, mut work: Work, stop: Stop) {
        let run = self.rig.processes[process].place.run(round, stop).await;
        for done in self.rig.processes[process].place.journal.take() {
            self.apply(&mut work, done);
        }
        let (workers, ended) = match run {
            Run::Stopped(round) => {
                self.rig.processes[process].stopped = Some((round, work));
                return;
            }
            Run::Ended(round) => round,
        };
        ended.expect("nothing fails here but pay-service");
        self.rig.processes[process].workers = Some(workers);
        match work.kind {
            Kind::Take => Self::check_taken(&work),
            Kind::Walk => Self::check_walk(&work),
            _ => Self::check_sweep(&work),
        }
    }

    fn check_taken(work: &Work) {
        assert!(work.has(Deed::Settled) || work.received.is_empty(), "what was received is settled");
    }

    /// Nothing that was heard is forgotten.
    fn check_sweep(work: &Work) {
        let Some((_, claimed)) = &work.claimed else { return };
        assert!(work.has(Deed::SetNextAsks) || claimed.is_empty(), "each is asked about again, or done with");
        let told = work.asked.iter().any(|asked| matches!(asked.answered, Answered::Told(_)));
        assert_eq!(work.verdicts.is_some(), told, "what pay-service told is posted");
        let kept = claimed.iter().any(|request| Self::incident(work, request).is_some());
        assert_eq!(work.has(Deed::Kept), kept, "what does not fit is kept");
    }
}
