use std::panic::resume_unwind;
use std::sync::atomic::AtomicU64;

use super::*;

/// A collector made of a function.
struct Fake<F>(&'static str, F);

impl<F> Collector for Fake<F>
where
    F: Fn(&mut Vec<MetricFamily>) -> anyhow::Result<()> + Send + Sync,
{
    fn name(&self) -> &'static str {
        self.0
    }

    fn collect(&self, families: &mut Vec<MetricFamily>) -> anyhow::Result<()> {
        (self.1)(families)
    }
}

fn one_gauge(name: &str) -> MetricFamily {
    family(name, "Help.", MetricType::GAUGE, [sample(&[], 1.0)])
}

fn exposition(
    collect: impl Fn(&mut Vec<MetricFamily>) -> anyhow::Result<()> + Send + Sync + 'static,
) -> Exposition {
    let mut exposition = Exposition::new();
    exposition.add(Box::new(Fake("fake", collect)));
    exposition
}

fn has_line(text: &str, line: &str) -> bool {
    text.lines().any(|l| l == line)
}

#[test]
fn families_without_series_are_left_out() {
    let empty = || family("empty", "Help.", MetricType::GAUGE, []);
    let text = exposition(move |families| {
        families.extend([empty(), one_gauge("full")]);
        Ok(())
    })
    .scrape();
    assert!(!text.contains("empty"), "{text}");
    assert!(has_line(&text, "full 1"), "{text}");
}

#[test]
fn what_was_collected_before_an_error_is_served() {
    let text = exposition(|families| {
        families.push(one_gauge("early"));
        Err(anyhow!("out of luck"))
    })
    .scrape();
    assert!(has_line(&text, "early 1"), "{text}");
    assert!(
        has_line(&text, "netdrop_collector_success{collector=\"fake\"} 0"),
        "{text}"
    );
}

#[test]
fn a_panic_fails_its_collector_only() {
    let mut exposition = exposition(|_| resume_unwind(Box::new("boom")));
    exposition.add(Box::new(Fake("other", |families: &mut Vec<_>| {
        families.push(one_gauge("other_metric"));
        Ok(())
    })));
    let text = exposition.scrape();
    assert!(has_line(&text, "other_metric 1"), "{text}");
    assert!(
        has_line(&text, "netdrop_collector_success{collector=\"fake\"} 0"),
        "{text}"
    );
    assert!(
        has_line(&text, "netdrop_collector_success{collector=\"other\"} 1"),
        "{text}"
    );
    assert!(
        text.contains("netdrop_collector_duration_seconds{collector=\"fake\"}"),
        "{text}"
    );
}

#[test]
fn a_collector_that_could_not_start_is_shown_as_failed() {
    let mut exposition = Exposition::new();
    exposition.add_failed("drops");
    let text = exposition.scrape();
    assert!(
        has_line(&text, "netdrop_collector_success{collector=\"drops\"} 0"),
        "{text}"
    );
    assert!(!text.contains("duration"), "{text}");
}

#[test]
fn a_failure_is_remembered_until_the_recovery() {
    let running = Running::new(Box::new(Fake("fake", |_: &mut Vec<_>| Ok(()))));
    running.failing.store(true, Ordering::Relaxed);
    assert!(running.collect().0);
    assert!(!running.failing.load(Ordering::Relaxed));
}

#[test]
fn a_failure_that_its_collector_has_logged_is_not_logged_again() {
    let failing = |_: &mut Vec<_>| Err(AlreadyLogged("gone".to_owned()).into());
    let running = Running::new(Box::new(Fake("fake", failing)));
    assert!(!running.collect().0);
    assert!(!running.failing.load(Ordering::Relaxed));
}

/// Collects how often it was asked, under a version that the test sets.
struct Versioned {
    version: Arc<AtomicU64>,
    asked: AtomicU64,
}

impl Collector for Versioned {
    fn name(&self) -> &'static str {
        "versioned"
    }

    fn collect(&self, families: &mut Vec<MetricFamily>) -> anyhow::Result<()> {
        let asked = self.asked.fetch_add(1, Ordering::Relaxed) + 1;
        let gauge = MetricType::GAUGE;
        families.push(family("asked", "", gauge, [sample(&[], asked as f64)]));
        match self.version.load(Ordering::Relaxed) {
            0 => Err(anyhow!("out of luck")),
            _ => Ok(()),
        }
    }

    fn version(&self) -> Option<u64> {
        Some(self.version.load(Ordering::Relaxed))
    }
}

#[test]
fn a_collector_is_asked_again_when_its_version_changed_or_it_failed() {
    let version = Arc::new(AtomicU64::new(7));
    let mut exposition = Exposition::new();
    exposition.add(Box::new(Versioned {
        version: Arc::clone(&version),
        asked: AtomicU64::new(0),
    }));
    for (now, asked) in [(7, 1), (7, 1), (8, 2), (8, 2), (0, 3), (0, 4), (8, 5)] {
        version.store(now, Ordering::Relaxed);
        let text = exposition.scrape();
        assert!(has_line(&text, &format!("asked {asked}")), "{now}: {text}");
    }
}

#[test]
fn the_build_is_described() {
    let text = Exposition::new().scrape();
    let start = format!("netdrop_exporter_build_info{{version=\"{VERSION}\",revision=\"");
    assert!(text.contains(&start), "{text}");
    assert!(text.contains("-linux-"), "{text}");
}

#[test]
fn a_selection_has_what_was_collected_or_not_excluded() {
    let mut exposition = Exposition::new();
    for name in ["a", "b"] {
        let collect = move |families: &mut Vec<_>| {
            families.push(one_gauge(&format!("of_{name}")));
            Ok(())
        };
        exposition.add(Box::new(Fake(name, collect)));
    }
    exposition.add_failed("c");
    let select = |collect: &[&str], exclude: &[&str]| {
        let [collect, exclude] =
            [collect, exclude].map(|names| names.iter().map(|&n| n.to_owned()).collect::<Vec<_>>());
        Selection::new(&exposition, &collect, &exclude)
    };
    let all: [(&[&str], &[&str]); 2] = [(&[], &[]), (&["a", "b", "c", "a"], &[])];
    for (collect, exclude) in all {
        assert_eq!(select(collect, exclude), Ok(Selection::ALL));
    }
    let some: [(&[&str], &[&str], &str); 4] = [
        (&["a"], &[], "a"),
        (&[], &["b", "c"], "a"),
        (&["c", "b"], &[], "bc"),
        (&[], &["a", "b", "c"], ""),
    ];
    for (collect, exclude, has) in some {
        let text = exposition.scrape_some(&select(collect, exclude).expect("a selection"));
        for name in ["a", "b", "c"] {
            let succeeds = u8::from(name != "c");
            let line = format!("netdrop_collector_success{{collector=\"{name}\"}} {succeeds}");
            assert_eq!(has_line(&text, &line), has.contains(name), "{text}");
            let is_served = has.contains(name) && name != "c";
            assert_eq!(
                has_line(&text, &format!("of_{name} 1")),
                is_served,
                "{text}"
            );
        }
        assert!(text.contains("netdrop_exporter_build_info{"), "{text}");
    }
    assert_eq!(select(&["a"], &["b"]), Err(SelectionError::Both));
    let unknown = select(&[], &["a", "x"]).expect_err("x is none").to_string();
    assert_eq!(
        unknown,
        "there is no collector \"x\" here; there are: a, b, c"
    );
}
