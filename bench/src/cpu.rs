//! Who uses the CPU: the services, the servers beneath them, and this program.

use crate::figures::Figures;
use crate::ground::Ground;
use crate::process_stats::{Family, cpu_seconds_alone};

/// CPU time from a moment on, by name.
pub struct Meter(Vec<Watched>);

struct Watched {
    name: &'static str,
    party: Party,
    before: f64,
}

#[derive(Clone, Copy)]
enum Party {
    /// With everything it started.
    Family(Family),
    /// Without: the services are this program's children.
    Alone(u32),
}

impl Party {
    fn cpu_seconds(self) -> f64 {
        match self {
            Self::Family(family) => family.cpu_seconds(),
            Self::Alone(process) => cpu_seconds_alone(process),
        }
    }
}

impl Meter {
    /// Watches the servers and this program from now on.
    pub fn start(ground: &Ground) -> Self {
        let mut meter = Self(Vec::new());
        for (name, process) in ground.processes() {
            meter.watch(name, process);
        }
        let party = Party::Alone(std::process::id());
        meter.0.push(Watched { name: "benchmark", party, before: party.cpu_seconds() });
        meter
    }

    /// Watches `process` and its children from now on.
    pub fn watch(&mut self, name: &'static str, process: u32) {
        let party = Party::Family(Family(process));
        self.0.push(Watched { name, party, before: party.cpu_seconds() });
    }

    /// Counts all that `process` and its children have used since they began.
    pub fn watch_from_birth(&mut self, name: &'static str, process: u32) {
        self.0.push(Watched { name, party: Party::Family(Family(process)), before: 0.0 });
    }

    /// The time used since for each of `count` things, under `name`; those of one name together.
    pub fn add_each(&self, figures: &mut Figures, name: &str, count: usize) {
        let mut told: Vec<(&str, f64)> = Vec::new();
        for watched in &self.0 {
            let used = watched.party.cpu_seconds() - watched.before;
            match told.iter_mut().find(|(name, _)| *name == watched.name) {
                Some((_, sum)) => *sum += used,
                None => told.push((watched.name, used)),
            }
        }
        for (who, used) in told {
            figures.add(format!("{name}: {who} CPU each"), "µs", used * 1e6 / count as f64);
        }
    }
}
