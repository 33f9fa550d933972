use std::sync::Mutex;
use std::sync::mpsc as blocking;
use std::time::Duration;

use prometheus::proto::{MetricFamily, MetricType};
use tokio::time::{advance, timeout};

use super::*;
use crate::metrics::{Collector, family, sample};

const DEADLINE: Duration = Duration::from_secs(10);

/// Reports each scrape as it begins, and ends it only when told to. Serves the scrape's number.
struct Gate {
    begun: mpsc::UnboundedSender<u32>,
    end: Mutex<(u32, blocking::Receiver<()>)>,
}

impl Collector for Gate {
    fn name(&self) -> &'static str {
        "gate"
    }

    fn collect(&self, families: &mut Vec<MetricFamily>) -> anyhow::Result<()> {
        // Two scrapes at a time would be an error here.
        let mut end = self.end.try_lock().expect("one scrape at a time");
        end.0 += 1;
        self.begun.send(end.0).expect("the test listens");
        end.1.recv().expect("the test ends it");
        families.push(family(
            "scrape_number",
            "",
            MetricType::GAUGE,
            [sample(&[], f64::from(end.0))],
        ));
        Ok(())
    }
}

struct Gated {
    scraper: Scraper,
    begun: mpsc::UnboundedReceiver<u32>,
    end: blocking::Sender<()>,
}

impl Gated {
    fn new() -> Self {
        let (begun_sender, begun) = mpsc::unbounded_channel();
        let (end, end_receiver) = blocking::channel();
        let mut exposition = Exposition::new();
        exposition.add(Box::new(Gate {
            begun: begun_sender,
            end: Mutex::new((0, end_receiver)),
        }));
        Self {
            scraper: Scraper::start(Arc::new(exposition), page::Page::new("/")),
            begun,
            end,
        }
    }

    /// A request that is in the queue, or served, when this returns.
    async fn request(&self) -> Request {
        self.request_until(None).await
    }

    async fn request_until(&self, deadline: Option<Instant>) -> Request {
        let scraper = self.scraper.clone();
        let wanted = Wanted {
            deadline,
            ..everything()
        };
        let request = task::spawn(async move { scraper.scrape(wanted).await });
        // On the one thread of these tests the request runs up to its wait.
        task::yield_now().await;
        request
    }

    async fn begun(&mut self) -> u32 {
        let begun = timeout(DEADLINE, self.begun.recv()).await;
        begun.expect("a scrape begins").expect("the gate is there")
    }
}

type Request = task::JoinHandle<Result<Bytes, NoPage>>;

fn everything() -> Wanted {
    Wanted {
        output: Output::Metrics(Selection::ALL),
        coding: Coding::Identity,
        deadline: None,
    }
}

async fn number(request: Request) -> u32 {
    let body = timeout(DEADLINE, request).await.expect("an answer in time");
    let body = body.expect("no panic").expect("a scrape");
    let text = String::from_utf8(body.to_vec()).expect("text");
    let line = text.lines().find_map(|l| l.strip_prefix("scrape_number "));
    line.expect("the number").parse().expect("a number")
}

#[tokio::test]
async fn requests_that_arrive_during_a_scrape_share_the_next_one() {
    let mut gated = Gated::new();
    let first = gated.request().await;
    assert_eq!(gated.begun().await, 1);
    let second = gated.request().await;
    let third = gated.request().await;
    gated.end.send(()).expect("end of the first");
    assert_eq!(number(first).await, 1);
    assert_eq!(gated.begun().await, 2);
    gated.end.send(()).expect("end of the second");
    assert_eq!(number(second).await, 2);
    assert_eq!(number(third).await, 2);
    assert!(gated.begun.try_recv().is_err(), "no third scrape");
}

#[tokio::test]
async fn a_client_that_gives_up_harms_nobody_and_costs_no_scrape() {
    let mut gated = Gated::new();
    let gone = gated.request().await;
    assert_eq!(gated.begun().await, 1);
    let gone_too = gated.request().await;
    let stays = gated.request().await;
    gone.abort();
    gone_too.abort();
    gated.end.send(()).expect("end of the first");
    assert_eq!(gated.begun().await, 2);
    let gone_last = gated.request().await;
    gone_last.abort();
    task::yield_now().await;
    gated.end.send(()).expect("end of the second");
    assert_eq!(number(stays).await, 2);
    task::yield_now().await;
    assert!(gated.begun.try_recv().is_err(), "no scrape for nobody");
}

#[tokio::test(start_paused = true)]
async fn a_page_that_would_come_too_late_is_not_begun() {
    let mut gated = Gated::new();
    let millis = Duration::from_millis;
    let within = |time| Some(Instant::now() + time);
    let slow = gated.request().await;
    assert_eq!(gated.begun().await, 1);
    let gives_up = gated.request_until(within(millis(59))).await;
    advance(millis(60)).await;
    gated.end.send(()).expect("end of the first");
    assert_eq!(number(slow).await, 1);
    assert_eq!(gives_up.await.expect("no panic"), Err(NoPage::TooLate));

    // The last one took 60 ms, but that is forgotten by and by.
    for _ in 0..2 {
        let impatient = gated.request_until(within(millis(10))).await;
        assert_eq!(impatient.await.expect("no panic"), Err(NoPage::TooLate));
    }
    assert!(gated.begun.try_recv().is_err(), "no scrape for nobody");
    let in_time = gated.request_until(within(millis(10))).await;
    assert_eq!(gated.begun().await, 2);
    gated.end.send(()).expect("end of the second");
    assert_eq!(number(in_time).await, 2);
}

#[tokio::test]
async fn a_scrape_that_panics_is_answered_and_the_next_one_runs() {
    let scraper = {
        let mut exposition = Exposition::new();
        exposition.add(Box::new(PanicsOnce(Mutex::new(true))));
        Scraper::start(Arc::new(exposition), page::Page::new("/"))
    };
    assert_eq!(scraper.scrape(everything()).await, Err(NoPage::Failed));
    assert!(scraper.scrape(everything()).await.is_ok());
}

/// Panics where the exposition does not catch it: it asks for the name first.
struct PanicsOnce(Mutex<bool>);

impl Collector for PanicsOnce {
    fn name(&self) -> &'static str {
        let mut first = self.0.lock().expect("not poisoned");
        if std::mem::take(&mut *first) {
            drop(first);
            std::panic::resume_unwind(Box::new("boom"));
        }
        "panics"
    }

    fn collect(&self, _: &mut Vec<MetricFamily>) -> anyhow::Result<()> {
        Ok(())
    }
}
