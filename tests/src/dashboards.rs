//! The Grafana dashboards as somebody looks at them: variables chosen, every query asked of a real Prometheus, as
//! Grafana's Prometheus data source does it (`packages/grafana-prometheus/src/datasource.ts`).

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::prometheus::{Prometheus, encode};

const DASHBOARDS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../dashboards");

/// The width of a whole row of panels on a screen of 1920 pixels, and the columns of Grafana's grid.
const ROW_PIXELS: f64 = 1880.0;
const COLUMNS: f64 = 24.0;

/// Seconds between two scrapes for which the dashboards are made. A test that scrapes more often lives so much faster.
const SCRAPE_SECONDS: f64 = 60.0;

/// What the query of an annotation is called.
const ANNOTATION: &str = "annotation";

/// Somebody who looks at dashboards.
#[derive(Debug, Clone)]
pub struct Viewer<'a> {
    /// Whom the dashboards ask.
    pub prometheus: &'a Prometheus,
    /// Seconds between two scrapes, as the data source's setting says.
    pub scrape_interval: u32,
    /// The time range, in seconds since 1970.
    pub range: (f64, f64),
    /// Values of variables other than those that the dashboard chooses.
    pub choices: Vec<(&'static str, &'static str)>,
}

/// A dashboard with all its data.
#[derive(Debug)]
pub struct View {
    /// The dashboard's `uid`.
    pub uid: String,
    /// What each variable can be.
    pub options: BTreeMap<String, Vec<String>>,
    /// What each variable is.
    pub chosen: BTreeMap<String, Vec<String>>,
    /// The answers to all queries, those of the annotations last.
    pub answers: Vec<Answer>,
    /// How each variable stands in a query.
    written: BTreeMap<String, String>,
    range: (f64, f64),
}

/// What Prometheus answered to one query.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The panel's or annotation's title.
    pub title: String,
    /// Which of its queries.
    pub query: String,
    /// The query with the variables filled in.
    pub expression: String,
    /// The series, as the HTTP API gives them.
    pub series: Vec<Value>,
}

/// When a query asks for values: all the time, or at the end.
#[derive(Debug, Clone, Copy)]
enum Time {
    Range,
    End,
}

/// The time between two points of a graph, and what `$__rate_interval` is then, in seconds.
#[derive(Debug, Clone, Copy)]
struct Step {
    seconds: f64,
    rate_interval: f64,
}

/// How long a dashboard says that a step is at least: `1m`.
fn minutes(text: &str) -> f64 {
    let minutes = text.strip_suffix('m').and_then(|text| text.parse().ok());
    minutes.unwrap_or_else(|| panic!("unknown least interval {text}"))
}

/// The dashboards of the repository.
pub fn all() -> Vec<Value> {
    let mut paths: Vec<_> = fs::read_dir(DASHBOARDS)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "json"))
        .collect();
    paths.sort();
    assert!(!paths.is_empty(), "there are no dashboards in {DASHBOARDS}");
    paths.iter().map(|path| read(path)).collect()
}

fn read(path: &Path) -> Value {
    let text = fs::read_to_string(path).unwrap();
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

impl Viewer<'_> {
    /// Opens a dashboard: asks for the variables, then for everything else.
    ///
    /// # Panics
    /// When Prometheus does not take a query, or a variable has nothing to choose from.
    pub fn open(&self, dashboard: &Value) -> View {
        let mut view = View {
            uid: text(&dashboard["uid"]),
            options: BTreeMap::new(),
            chosen: BTreeMap::new(),
            answers: Vec::new(),
            written: BTreeMap::new(),
            range: self.range,
        };
        for variable in list(&dashboard["templating"]["list"]) {
            if variable["type"] != "datasource" {
                self.choose(variable, &mut view);
            }
        }
        for panel in list(&dashboard["panels"]) {
            if panel["type"] == "row" {
                continue;
            }
            let columns = panel["gridPos"]["w"].as_f64().unwrap();
            for target in list(&panel["targets"]) {
                let step = self.step(ROW_PIXELS * columns / COLUMNS, &target["interval"]);
                let time = if target["instant"] == true {
                    Time::End
                } else {
                    Time::Range
                };
                let query = text(&target["expr"]);
                let answer = self.ask(&view, &panel["title"], &target["refId"], &query, step, time);
                view.answers.push(answer);
            }
        }
        for annotation in list(&dashboard["annotations"]["list"]) {
            // Not the one that Grafana adds itself.
            if let Some(query) = annotation["expr"].as_str() {
                let (step, kind) = (self.step(ROW_PIXELS, &Value::Null), json!(ANNOTATION));
                let answer = self.ask(&view, &annotation["name"], &kind, query, step, Time::Range);
                view.answers.push(answer);
            }
        }
        view
    }

    fn choose(&self, variable: &Value, view: &mut View) {
        let name = text(&variable["name"]);
        let options = match variable["type"].as_str() {
            Some("query") if name == "host" => {
                let host = without_port(&view.chosen["instance"][0]);
                vec![host.to_owned()]
            }
            Some("query") => self.label_values(&text(&variable["query"]), view),
            _ => list(&variable["options"])
                .iter()
                .map(|option| text(&option["value"]))
                .collect(),
        };
        // Where nobody uses the label `cluster`, the choice is none or all.
        let is_none = options.is_empty() && name == "cluster";
        assert!(is_none || !options.is_empty(), "{}: no {name}", view.uid);
        let chosen = match self.choices.iter().find(|(variable, _)| *variable == name) {
            Some((_, value)) => vec![(*value).to_owned()],
            None => default_choice(variable, &options),
        };
        view.written
            .insert(name.clone(), written(variable, &chosen));
        view.options.insert(name.clone(), options);
        view.chosen.insert(name, chosen);
    }

    /// What `label_values(selector, label)` gives.
    fn label_values(&self, query: &str, view: &View) -> Vec<String> {
        let arguments = query.strip_prefix("label_values(").unwrap();
        let arguments = arguments.strip_suffix(')').unwrap();
        let (selector, label) = arguments.rsplit_once(", ").unwrap();
        let step = self.step(ROW_PIXELS, &Value::Null);
        let selector = encode(&self.fill_in(selector, view, step));
        let (start, end) = self.range;
        let values = self.prometheus.api(&format!(
            "label/{label}/values?match[]={selector}&start={start}&end={end}"
        ));
        list(&values).iter().map(text).collect()
    }

    /// One point a pixel, and none between two scrapes; `least` is what the query says itself.
    fn step(&self, pixels: f64, least: &Value) -> Step {
        let (start, end) = self.range;
        let scrape = f64::from(self.scrape_interval);
        let least = least.as_str().map_or(scrape, |least| {
            (60.0 * minutes(least) * scrape / SCRAPE_SECONDS).max(scrape)
        });
        let seconds = ((end - start) / pixels).ceil().max(least);
        Step {
            seconds,
            rate_interval: (seconds + least).max(4.0 * least),
        }
    }

    fn fill_in(&self, query: &str, view: &View, step: Step) -> String {
        let rate_interval = step.rate_interval;
        let range = (self.range.1 - self.range.0).round();
        // The longer name of two that begin alike first.
        let macros = [
            ("__rate_interval_ms", format!("{}", rate_interval * 1000.0)),
            ("__rate_interval", format!("{rate_interval}s")),
            ("__interval", format!("{}s", step.seconds)),
            ("__range_s", format!("{range}")),
            ("__range", format!("{range}s")),
            ("__from", format!("{}", (self.range.0 * 1000.0).round())),
        ];
        let mut filled = query.to_owned();
        for (name, value) in &macros {
            filled = filled.replace(&format!("${name}"), value);
        }
        if let Some(host) = view.chosen.get("host") {
            // In quotes, a backslash stands for itself when it is doubled.
            let host = escape(&host[0]).replace('\\', r"\\");
            filled = filled.replace("${host:regex}", &host);
        }
        for (name, value) in &view.written {
            // Ours stand in quotes, always.
            filled = filled.replace(&format!("\"${name}\""), &format!("{value:?}"));
        }
        assert!(!filled.contains('$'), "unknown variable: {filled}");
        filled
    }

    fn ask(
        &self,
        view: &View,
        title: &Value,
        name: &Value,
        query: &str,
        step: Step,
        time: Time,
    ) -> Answer {
        let expression = self.fill_in(query, view, step);
        let query = encode(&expression);
        let (start, end) = self.range;
        let path = match time {
            Time::Range => {
                let step = step.seconds;
                let start = (start / step).floor() * step;
                format!("query_range?query={query}&start={start}&end={end}&step={step}")
            }
            Time::End => format!("query?query={query}&time={end}"),
        };
        Answer {
            title: text(title),
            query: text(name),
            expression,
            series: list(&self.prometheus.api(&path)["result"]).clone(),
        }
    }
}

impl View {
    /// The answer to a panel's only query.
    pub fn panel(&self, title: &str) -> &Answer {
        self.query(title, "A")
    }

    /// The answer to one of a panel's queries.
    pub fn query(&self, title: &str, query: &str) -> &Answer {
        let found = self
            .answers
            .iter()
            .find(|answer| answer.title == title && answer.query == query);
        found.unwrap_or_else(|| panic!("{}: no query {query} of {title:?}", self.uid))
    }

    /// Everything, for whoever draws it.
    pub fn to_json(&self) -> Value {
        let answers = self.answers.iter().map(
            |answer| json!({"title": answer.title, "query": answer.query, "series": answer.series}),
        );
        json!({
            "uid": self.uid,
            "from": self.range.0,
            "to": self.range.1,
            "variables": self.chosen,
            "answers": answers.collect::<Vec<_>>(),
        })
    }
}

impl Answer {
    /// The only series with these labels.
    pub fn only(&self, labels: &[(&str, &str)]) -> Option<&Value> {
        let has = |series: &&Value| {
            labels
                .iter()
                .all(|(name, value)| series["metric"][name] == *value)
        };
        let mut found = self.series.iter().filter(has);
        let series = found.next()?;
        assert!(found.next().is_none(), "{}: several series", self.title);
        Some(series)
    }

    /// The last value of the only series with these labels.
    pub fn value(&self, labels: &[(&str, &str)]) -> Option<f64> {
        values(self.only(labels)?).last().copied()
    }
}

/// All values of a series.
pub fn values(series: &Value) -> Vec<f64> {
    let number = |pair: &Value| text(&pair[1]).parse().unwrap();
    match &series["values"] {
        Value::Array(pairs) => pairs.iter().map(number).collect(),
        _ => vec![number(&series["value"])],
    }
}

/// What the dashboard says, as far as it is there to choose; the first if it says nothing.
fn default_choice(variable: &Value, options: &[String]) -> Vec<String> {
    let current = match &variable["current"]["value"] {
        Value::Array(values) => values.iter().map(text).collect(),
        Value::String(value) => vec![value.clone()],
        _ => Vec::new(),
    };
    let known: Vec<_> = current
        .into_iter()
        .filter(|value| value == "$__all" || options.contains(value))
        .collect();
    if known.is_empty() {
        vec![options.first().cloned().unwrap_or_default()]
    } else {
        known
    }
}

/// How a choice stands in a query: a variable of several values as a regular expression.
fn written(variable: &Value, chosen: &[String]) -> String {
    match chosen {
        [all] if all == "$__all" => text(&variable["allValue"]),
        [one] if variable["multi"] == false => one.clone(),
        [one] => escape(one),
        several => {
            let several: Vec<_> = several.iter().map(|value| escape(value)).collect();
            format!("({})", several.join("|"))
        }
    }
}

fn without_port(instance: &str) -> &str {
    match instance.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => instance,
    }
}

/// A value inside a regular expression (`escapeSpecialRegexChars` of the data source).
fn escape(value: &str) -> String {
    value.chars().fold(String::new(), |mut escaped, character| {
        if r"\^$*+?.()|[]{}".contains(character) {
            escaped.push('\\');
        }
        escaped.push(character);
        escaped
    })
}

fn list(value: &Value) -> &Vec<Value> {
    value
        .as_array()
        .unwrap_or_else(|| panic!("no list: {value}"))
}

fn text(value: &Value) -> String {
    value
        .as_str()
        .unwrap_or_else(|| panic!("no text: {value}"))
        .to_owned()
}
