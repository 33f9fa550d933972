//! A strict reader of the Prometheus text format, version 0.0.4.
//!
//! It is stricter than Prometheus: what is allowed but not expected of an exporter (a sample without a type,
//! a series twice, time stamps, a family in two pieces) is an error here.

use std::collections::{BTreeMap, BTreeSet};

/// One scrape, read.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    /// Every sample line, in order.
    pub samples: Vec<Sample>,
    /// `# TYPE` by family.
    pub types: BTreeMap<String, String>,
    /// `# HELP` by family, escapes taken off.
    pub help: BTreeMap<String, String>,
}

/// One sample line.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// The metric's name.
    pub name: String,
    /// The labels, escapes taken off.
    pub labels: BTreeMap<String, String>,
    /// The value.
    pub value: f64,
}

impl Sample {
    fn has(&self, name: &str, labels: &[(&str, &str)]) -> bool {
        let has = |&(label, value): &(&str, &str)| {
            self.labels.get(label).map(String::as_str) == Some(value)
        };
        self.name == name && labels.iter().all(has)
    }
}

impl Metrics {
    /// Reads a whole scrape.
    ///
    /// # Panics
    /// At the first line that is not well-formed, with the line.
    pub fn parse(text: &str) -> Self {
        assert!(
            text.is_empty() || text.ends_with('\n'),
            "the last line does not end"
        );
        let mut metrics = Self::default();
        let mut seen = BTreeSet::new();
        let mut family = String::new();
        for line in text.lines() {
            let read = match line.strip_prefix("# ") {
                Some(comment) => metrics.comment(comment, &mut family),
                None => metrics.sample(line, &family, &mut seen),
            };
            read.unwrap_or_else(|| panic!("not well-formed: {line:?}"));
        }
        metrics
    }

    /// The value of the one series with these labels (and possibly others); `None` without such a series.
    ///
    /// # Panics
    /// When several series match, for then the answer would be chance.
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let mut matching = self.series(name, labels);
        let first = matching.next()?;
        let second = matching.next();
        assert!(
            second.is_none(),
            "several series match {name} {labels:?}: {first:?}, {second:?}"
        );
        Some(first.value)
    }

    /// Whether a collector succeeded; `None` if there is no such collector.
    pub fn success(&self, collector: &str) -> Option<bool> {
        let success = self.value("netdrop_collector_success", &[("collector", collector)]);
        success.map(|value| value == 1.0)
    }

    /// The sum of all series with these labels (and possibly others); 0 without any.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.series(name, labels)
            .fold(0.0, |sum, sample| sum + sample.value)
    }

    /// All series with these labels (and possibly others).
    pub fn series(&self, name: &str, labels: &[(&str, &str)]) -> impl Iterator<Item = &Sample> {
        self.samples
            .iter()
            .filter(move |sample| sample.has(name, labels))
    }

    fn comment(&mut self, comment: &str, family: &mut String) -> Option<()> {
        let (keyword, rest) = comment.split_once(' ')?;
        let (name, text) = rest.split_once(' ')?;
        let former = match keyword {
            "HELP" => self.help.insert(name.to_owned(), unescape(text, false)?),
            "TYPE" if matches!(text, "counter" | "gauge") => {
                name.clone_into(family);
                self.types.insert(name.to_owned(), text.to_owned())
            }
            _ => return None,
        };
        former.is_none().then_some(())
    }

    fn sample(&mut self, line: &str, family: &str, seen: &mut BTreeSet<String>) -> Option<()> {
        let name_end = line.find(['{', ' '])?;
        let (name, rest) = line.split_at(name_end);
        if name != family {
            return None;
        }
        let (labels, rest) = match rest.strip_prefix('{') {
            Some(rest) => read_labels(rest)?,
            None => (BTreeMap::new(), rest),
        };
        let value = read_value(rest.strip_prefix(' ')?)?;
        if !seen.insert(format!("{name}{labels:?}")) {
            return None;
        }
        self.samples.push(Sample {
            name: name.to_owned(),
            labels,
            value,
        });
        Some(())
    }
}

/// Reads `a="b",c="d"}` and returns what follows it.
fn read_labels(mut rest: &str) -> Option<(BTreeMap<String, String>, &str)> {
    let mut labels = BTreeMap::new();
    loop {
        let (name, value) = rest.split_once("=\"")?;
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        if name.is_empty() || !name.bytes().all(plain) {
            return None;
        }
        let end = closing_quote(value)?;
        if labels
            .insert(name.to_owned(), unescape(&value[..end], true)?)
            .is_some()
        {
            return None;
        }
        rest = &value[end + 1..];
        match rest.strip_prefix(',') {
            Some(next) => rest = next,
            None => return Some((labels, rest.strip_prefix('}')?)),
        }
    }
}

fn closing_quote(value: &str) -> Option<usize> {
    let mut escaped = false;
    for (at, byte) in value.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return Some(at),
            _ => {}
        }
    }
    None
}

fn unescape(text: &str, quoted: bool) -> Option<String> {
    let mut plain = String::new();
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        plain.push(match character {
            '\\' => match characters.next()? {
                '\\' => '\\',
                'n' => '\n',
                '"' if quoted => '"',
                _ => return None,
            },
            other => other,
        });
    }
    Some(plain)
}

/// Reads a number, and refuses a time stamp after it because that is no number.
fn read_value(text: &str) -> Option<f64> {
    match text {
        "+Inf" => Some(f64::INFINITY),
        "-Inf" => Some(f64::NEG_INFINITY),
        "NaN" => Some(f64::NAN),
        number => number.parse().ok(),
    }
}
