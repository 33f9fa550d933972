//! Families as text.

use std::slice;

use prometheus::TextEncoder;
use prometheus::proto::{LabelPair, Metric, MetricFamily};

/// A family in the text format.
#[derive(Debug)]
pub(super) struct FamilyText {
    name: String,
    text: String,
}

/// Encodes what one collector said: its families of one name are joined (the format allows a name
/// only once), and those that have nothing to say are left out.
pub(super) fn encode(families: Vec<MetricFamily>) -> Vec<FamilyText> {
    let encoded = arrange(families).into_iter().map(|family| {
        let mut text = String::new();
        // The encoder fails only without samples or without a name, which `arrange` removed;
        // writing to a string cannot fail.
        TextEncoder
            .encode_utf8(slice::from_ref(&family), &mut text)
            .expect("a family with a name and samples");
        FamilyText {
            name: family.name().to_owned(),
            text,
        }
    });
    encoded.collect()
}

/// One text of all families, sorted by name.
pub(super) fn join<'a>(families: impl Iterator<Item = &'a FamilyText>) -> String {
    let mut families: Vec<_> = families.collect();
    families.sort_by(|a, b| a.name.cmp(&b.name));
    let mut text = String::with_capacity(families.iter().map(|family| family.text.len()).sum());
    text.extend(families.iter().map(|family| family.text.as_str()));
    text
}

/// Sorts families and series, joins families of one name (the format allows a name only once) and
/// removes those that have nothing to say.
fn arrange(mut families: Vec<MetricFamily>) -> Vec<MetricFamily> {
    families.retain(|family| !family.get_metric().is_empty() && !family.name().is_empty());
    families.sort_by(|a, b| a.name().cmp(b.name()));
    families.dedup_by(|next, kept| {
        let same = next.name() == kept.name();
        if same {
            kept.mut_metric().append(next.mut_metric());
        }
        same
    });
    for family in &mut families {
        family
            .mut_metric()
            .sort_by(|a, b| label_values(a).cmp(label_values(b)));
    }
    families
}

fn label_values(metric: &Metric) -> impl Iterator<Item = &str> {
    metric.get_label().iter().map(LabelPair::value)
}

#[cfg(test)]
mod tests {
    use prometheus::proto::MetricType;

    use super::*;
    use crate::metrics::{family, sample};

    fn text_of(families: Vec<MetricFamily>) -> String {
        join(encode(families).iter())
    }

    #[test]
    fn label_values_are_escaped() {
        let labels = [("device", "a\"b\\c\nd"), ("state", "")];
        let text = text_of(vec![family(
            "m",
            "",
            MetricType::GAUGE,
            [sample(&labels, 1.0)],
        )]);
        assert_eq!(
            text,
            "# TYPE m gauge\nm{device=\"a\\\"b\\\\c\\nd\",state=\"\"} 1\n"
        );
    }

    #[test]
    fn large_counters_print_every_digit() {
        let value: u64 = 9_007_199_254_740_991;
        let text = text_of(vec![family(
            "m_total",
            "Help.",
            MetricType::COUNTER,
            [sample(&[], value as f64)],
        )]);
        assert_eq!(
            text,
            "# HELP m_total Help.\n# TYPE m_total counter\nm_total 9007199254740991\n"
        );
    }

    #[test]
    fn families_and_series_are_sorted_and_families_of_one_name_are_joined() {
        let gauge =
            |name, device| family(name, "", MetricType::GAUGE, [sample(&[("d", device)], 1.0)]);
        let text = text_of(vec![gauge("b", "x"), gauge("a", "z"), gauge("a", "y")]);
        assert_eq!(
            text,
            "# TYPE a gauge\na{d=\"y\"} 1\na{d=\"z\"} 1\n# TYPE b gauge\nb{d=\"x\"} 1\n"
        );
    }
}
