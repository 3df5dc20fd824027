//! Spans on their way to a collector: a bounded queue and one task that posts what it holds. Whoever
//! hands a span in waits for nobody; what finds the queue full is left out and counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::otlp::{Exporter, NoExporter};
use super::{SampleRatio, Span, TraceContext, TraceSettings};
use crate::http::client::MAX_AGE;

/// Spans that may wait.
const QUEUE: usize = 4096;
/// Spans that are posted together at the most.
const BATCH: usize = 512;
/// How long the first span of a batch waits for company.
const LINGER: Duration = Duration::from_secs(1);
/// How long one post may take.
pub(super) const POST_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the end of a process waits for the last posts.
const LAST_POSTS: Duration = Duration::from_secs(3);

/// Where finished spans go: a collector, or nowhere. Clones share one queue.
#[derive(Clone, Default)]
pub struct Spans(Option<Arc<Queue>>);

struct Queue {
    spans: mpsc::Sender<Span>,
    left_out: Arc<AtomicU64>,
    ratio: SampleRatio,
}

/// The task behind [`Spans`].
#[derive(Default)]
pub struct Posting(Option<(CancellationToken, JoinHandle<()>)>);

impl Spans {
    /// Spans go nowhere.
    pub fn off() -> Self {
        Self::default()
    }

    /// Spans of `service` go to the collector that `settings` name, if they do, until
    /// [`Posting::finish`]. Call it within a tokio runtime.
    pub fn start(settings: &TraceSettings, service: &'static str) -> Result<(Self, Posting), NoExporter> {
        let Some(endpoint) = &settings.otlp_endpoint else { return Ok((Self::off(), Posting::default())) };
        let endpoint = endpoint.traces();
        let build = move || Exporter::new(&endpoint, service);
        let exporter = build()?;
        let (spans, waiting) = mpsc::channel(QUEUE);
        let left_out = Arc::new(AtomicU64::new(0));
        let stop = CancellationToken::new();
        let made_at = Instant::now();
        let build = Box::new(build);
        let task = Task { build, exporter, made_at, waiting, left_out: left_out.clone(), failing: false };
        let posting = Posting(Some((stop.clone(), tokio::spawn(task.run(stop)))));
        let queue = Queue { spans, left_out, ratio: settings.otlp_sample_ratio };
        Ok((Self(Some(Arc::new(queue))), posting))
    }

    /// The context of an event, sampled as its publisher has decided, else as the settings say.
    pub fn context_of(&self, traceparent: Option<&str>, event_id: &str) -> TraceContext {
        let context = TraceContext::of_event(traceparent, event_id);
        match &self.0 {
            Some(queue) if context.is_derived() && queue.ratio.takes(&context) => context.sampled(),
            _ => context,
        }
    }

    /// Whether spans of `context` are of any use, so that nobody makes them in vain.
    pub fn wants(&self, context: &TraceContext) -> bool {
        self.0.is_some() && context.is_sampled()
    }

    /// Hands in a finished span; it is left out where nobody wants it or the queue is full.
    pub fn finish(&self, span: Span) {
        let Some(queue) = self.0.as_ref().filter(|_| self.wants(&span.context)) else { return };
        if queue.spans.try_send(span).is_err() {
            queue.left_out.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Posting {
    /// Posts what waits, for three seconds at the most, and ends.
    pub async fn finish(self) {
        let Some((stop, task)) = self.0 else { return };
        stop.cancel();
        if timeout(LAST_POSTS, task).await.is_err() {
            tracing::warn!("spans.last_not_exported");
        }
    }
}

struct Task {
    build: Box<dyn Fn() -> Result<Exporter, NoExporter> + Send + Sync>,
    exporter: Exporter,
    made_at: Instant,
    waiting: mpsc::Receiver<Span>,
    left_out: Arc<AtomicU64>,
    failing: bool,
}

impl Task {
    async fn run(mut self, stop: CancellationToken) {
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            // When it is stopped, what is in the queue still comes out, and then `None`.
            let first = tokio::select! {
                first = self.waiting.recv() => first,
                () = stop.cancelled() => { self.waiting.close(); self.waiting.recv().await }
            };
            let Some(first) = first else { return };
            batch.push(first);
            stop.run_until_cancelled(self.fill(&mut batch)).await;
            while batch.len() < BATCH
                && let Ok(span) = self.waiting.try_recv()
            {
                batch.push(span);
            }
            self.post(std::mem::replace(&mut batch, Vec::with_capacity(BATCH))).await;
        }
    }

    /// Leaves connections that are too old: the collector may have moved to another address.
    fn renew(&mut self) {
        if self.made_at.elapsed() < MAX_AGE {
            return;
        }
        match (self.build)() {
            Ok(exporter) => self.exporter = exporter,
            Err(error) => tracing::warn!(%error, "spans.exporter_not_renewed"),
        }
        self.made_at = Instant::now();
    }

    /// Waits until the batch is full or has lingered.
    async fn fill(&mut self, batch: &mut Vec<Span>) {
        let filling = async {
            while batch.len() < BATCH
                && let Some(span) = self.waiting.recv().await
            {
                batch.push(span);
            }
        };
        tokio::select! { () = filling => {}, () = sleep(LINGER) => {} }
    }

    /// A batch that can't be posted is given up: spans are worth less than memory. Logged when that
    /// begins and when it ends.
    async fn post(&mut self, batch: Vec<Span>) {
        self.renew();
        let spans = batch.len() as u64;
        let left_out = self.left_out.swap(0, Ordering::Relaxed);
        let error = match timeout(POST_TIMEOUT, self.exporter.export(batch)).await {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error),
            Err(_) => Some("no answer in time".to_owned()),
        };
        match (&error, self.failing) {
            (Some(error), false) => tracing::warn!(spans, error, "spans.not_exported"),
            (None, true) => tracing::info!("spans.exported_again"),
            _ => {}
        }
        if left_out > 0 {
            tracing::warn!(spans = left_out, "spans.left_out");
        }
        self.failing = error.is_some();
    }
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, Utc};

    use super::*;
    use crate::testing::collector::Collector;
    use crate::trace::Kind;

    fn span(context: TraceContext) -> Span {
        let started_at: DateTime<Utc> = "2026-01-01T00:00:00Z".parse().expect("a time");
        Span {
            name: "attempt",
            kind: Kind::Client,
            context: context.child(&[b"1"]),
            parent: Some(context),
            started_at,
            ended_at: started_at + Duration::from_millis(7),
            attributes: vec![("attempt.number", 3.into())],
            error: Some("timeout"),
        }
    }

    #[tokio::test]
    async fn a_span_reaches_the_collector_as_it_was() {
        let collector = Collector::start().await;
        let (spans, posting) = Spans::start(&collector.settings(), "notifier").expect("an exporter");
        let context = spans.context_of(None, "evt");
        spans.finish(span(context));
        posting.finish().await;
        let [collected] = &collector.wait_for(1).await[..] else { panic!("one span") };
        assert_eq!(context.to_string(), format!("00-{}-{}-01", collected.trace_id(), collected.parent_id()));
        assert_eq!(collected.span_id(), format!("{:016x}", context.child(&[b"1"]).span_id()));
        assert_eq!((collected.service.as_str(), collected.span.name.as_str()), ("notifier", "attempt"));
        assert_eq!(collected.span.end_time_unix_nano - collected.span.start_time_unix_nano, 7_000_000);
        let attribute = |key| collected.attribute(key).expect("an attribute");
        assert_eq!((attribute("attempt.number"), attribute("error.type")), ("3".into(), "timeout".into()));
    }

    #[tokio::test]
    async fn the_exporter_leaves_its_connections_after_a_minute_and_spans_still_arrive() {
        let collector = Collector::start().await;
        let (spans, posting) = Spans::start(&collector.settings(), "notifier").expect("an exporter");
        for (sent, event) in ["first", "second", "third"].into_iter().enumerate() {
            spans.finish(span(spans.context_of(None, event)));
            collector.wait_for(sent + 1).await;
            tokio::time::pause();
            tokio::time::advance(Duration::from_secs(40)).await;
            tokio::time::resume();
        }
        assert_eq!(collector.connections().await, 2);
        posting.finish().await;
    }

    #[tokio::test]
    async fn what_the_publisher_has_not_sampled_is_kept_nowhere() {
        let collector = Collector::start().await;
        let (spans, posting) = Spans::start(&collector.settings(), "notifier").expect("an exporter");
        let unsampled = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";
        let context = spans.context_of(Some(unsampled), "evt");
        assert_eq!((context.to_string().as_str(), spans.wants(&context)), (unsampled, false));
        spans.finish(span(context));
        spans.finish(span(spans.context_of(None, "other")));
        posting.finish().await;
        assert_eq!(collector.wait_for(1).await.len(), 1);
        assert!(!Spans::off().context_of(None, "evt").is_sampled());
    }

    #[tokio::test]
    async fn a_collector_that_hangs_delays_nobody_and_the_end_is_bounded() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let collector = Collector::start().await;
        let settings =
            TraceSettings { otlp_endpoint: Some(url.parse().expect("a URL")), ..collector.settings() };
        let (spans, posting) = Spans::start(&settings, "notifier").expect("an exporter");
        let context = spans.context_of(None, "evt");
        for _ in 0..3 * QUEUE {
            spans.finish(span(context));
        }
        let queue = spans.0.as_ref().expect("it is on");
        assert_eq!(queue.left_out.load(Ordering::Relaxed), 2 * QUEUE as u64);
        tokio::time::pause();
        posting.finish().await;
    }
}
