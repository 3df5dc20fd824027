//! What must be reached on a two-core machine, so that a run says by itself whether it was.

use crate::settings::{Backend, Scenario, Settings};

/// A figure at its border.
enum Border {
    AtLeast(f64),
    AtMost(f64),
}

use Border::{AtLeast, AtMost};

const TARGETS: &[(Scenario, Option<Backend>, &str, Border)] = &[
    (Scenario::Drain, Some(Backend::Postgres), "1 subscription / HTTP POSTs", AtLeast(0.30)),
    (Scenario::Drain, Some(Backend::Postgres), "100 subscriptions / HTTP POSTs", AtLeast(0.30)),
    (Scenario::Flow, Some(Backend::Postgres), "closed loop", AtLeast(3000.0)),
    (Scenario::Flow, Some(Backend::AllInOne), "closed loop", AtLeast(3000.0)),
    (Scenario::Flow, Some(Backend::Postgres), "200/s commit to webhook p50", AtMost(3.0)),
    (Scenario::Flow, Some(Backend::Postgres), "200/s commit to webhook p99", AtMost(10.0)),
    (Scenario::Flow, Some(Backend::AllInOne), "start", AtMost(200.0)),
    (Scenario::Flow, Some(Backend::AllInOne), "resident idle", AtMost(60.0)),
    (Scenario::Credit, Some(Backend::Postgres), "queue, one account", AtLeast(20_000.0)),
    (Scenario::Credit, Some(Backend::Postgres), "webhook", AtLeast(2500.0)),
    (Scenario::Neighbours, None, "p99 with / without", AtMost(1.10)),
    (Scenario::Neighbours, None, "throughput with / without", AtLeast(0.90)),
    (Scenario::Growth, None, "cost, last / first", AtMost(1.20)),
    (Scenario::Backlog, None, "commit to webhook p50, most / none waiting", AtMost(1.20)),
    (Scenario::Backlog, None, "claim, most / none waiting", AtMost(1.20)),
    (Scenario::Backlog, None, "notifier peak memory", AtMost(150.0)),
];

/// The target of the figure `name`, and whether `value` reaches it.
pub fn judge(settings: &Settings, name: &str, value: f64) -> Option<(String, bool)> {
    let fits = |(scenario, backend, figure, _): &&(Scenario, Option<Backend>, &str, Border)| {
        *scenario == settings.scenario && backend.is_none_or(|one| one == settings.backend) && *figure == name
    };
    TARGETS.iter().find(fits).map(|(.., border)| match border {
        AtLeast(least) => (format!("at least {least}"), value >= *least),
        AtMost(most) => (format!("at most {most}"), value <= *most),
    })
}
