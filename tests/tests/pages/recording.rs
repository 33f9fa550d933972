//! What a Prometheus has recorded, played to the rules again and again by promtool: hours of a host in seconds.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use netdrop_tests::prometheus::Prometheus;

/// How much of the recording is taken. All of it is from when the host was busy.
const SECONDS: u32 = 180;
/// How often it is repeated: 2 hours.
const TIMES: u32 = 40;

/// Lets promtool say that the rules stay silent over the recording, repeated.
pub(crate) fn assert_quiet_for_hours(
    prometheus: &Prometheus,
    rules: &Path,
    promtool: &Path,
    interval: u32,
) {
    let moments = moments(prometheus, interval);
    let query = format!(
        "query_range?query=%7B__name__%3D~%22netdrop_.*%7Cprocess_start_time_seconds%7Cup%22%7D\
         &step={interval}s&start={}&end={}",
        moments[0],
        moments[moments.len() - 1]
    );
    let data = prometheus.api(&query);
    let series = data["result"].as_array().unwrap();
    assert!(series.len() > 50, "{} series are recorded", series.len());
    let mut test = format!(
        "rule_files: ['{}']\nevaluation_interval: 1m\ntests:\n- interval: {interval}s\n  input_series:\n",
        rules.display()
    );
    for one in series {
        let values = repeated(one, &moments);
        let name = serde_json::to_string(&selector(&one["metric"])).unwrap();
        writeln!(test, "  - {{series: {name}, values: '{values}'}}").unwrap();
    }
    let hours = SECONDS * TIMES;
    let seen = "count(last_over_time(instance_device:netdrop_link_info:watched[10m])) > bool 0";
    write!(
        test,
        "  promql_expr_test:\n  - {{expr: 'count_over_time(ALERTS{{severity!=\"info\"}}[{hours}s])', eval_time: {hours}s, exp_samples: []}}\n  - {{expr: '{seen}', eval_time: {hours}s, exp_samples: [{{labels: '{{}}', value: 1}}]}}\n"
    )
    .unwrap();
    let file = tempfile::NamedTempFile::with_suffix(".yml").unwrap();
    fs::write(file.path(), test).unwrap();
    let output = Command::new(promtool)
        .args(["test", "rules"])
        .arg(file.path())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}{}",
        text(&output.stdout),
        text(&output.stderr)
    );
}

/// The steps of the last [`SECONDS`], by Prometheus' own clock.
fn moments(prometheus: &Prometheus, interval: u32) -> Vec<u64> {
    let now = prometheus.value("vector(time())").unwrap() as u64;
    let steps = u64::from(SECONDS / interval);
    (1..=steps)
        .map(|step| now - u64::from(interval) * (steps - step))
        .collect()
}

/// `name{label="value"}`.
fn selector(metric: &Value) -> String {
    let labels: BTreeMap<_, _> = metric.as_object().unwrap().iter().collect();
    let of = |name: &str| labels[&name.to_owned()].as_str().unwrap();
    let pairs = labels.keys().filter(|name| *name != &"__name__");
    let pairs: Vec<_> = pairs.map(|name| format!("{name}={:?}", of(name))).collect();
    format!("{}{{{}}}", of("__name__"), pairs.join(","))
}

/// The values of a series over all repetitions in promtool's notation. A counter that was there all the time goes
/// on from where the repetition before has ended.
fn repeated(series: &Value, moments: &[u64]) -> String {
    let name = series["metric"]["__name__"].as_str().unwrap();
    let pairs = series["values"].as_array().unwrap().iter();
    let samples: BTreeMap<u64, f64> = pairs
        .map(|pair| {
            let value = pair[1].as_str().unwrap();
            (pair[0].as_f64().unwrap() as u64, value.parse().unwrap())
        })
        .collect();
    let ends = [moments[0], moments[moments.len() - 1]].map(|moment| samples.get(&moment));
    let growth = match ends {
        [Some(first), Some(last)] if name.ends_with("_total") => last - first,
        _ => 0.0,
    };
    let mut text = String::new();
    let mut is_there = false;
    for time in 0..TIMES {
        for moment in moments {
            let sample = samples.get(moment);
            match sample {
                Some(value) => write!(text, "{} ", value + growth * f64::from(time)).unwrap(),
                // As Prometheus notes the end of a series.
                None if is_there => text.push_str("stale "),
                None => text.push_str("_ "),
            }
            is_there = sample.is_some();
        }
    }
    text.trim_end().to_owned()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}
