//! Golden pages.

use std::{env, fs, path::PathBuf};

use prometheus::proto::MetricFamily;

use super::text;

/// Compares families, as text, with `exporter/tests/golden/<name>.prom`; with `UPDATE_GOLDEN=1` it
/// writes that file instead.
pub(crate) fn assert_golden(name: &str, families: Vec<MetricFamily>) {
    let page = text::join(text::encode(families).iter());
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/{name}.prom"));
    if env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, page).expect("a golden page that can be written");
        return;
    }
    let golden = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        page == golden,
        "{} differs; UPDATE_GOLDEN=1 rewrites it from:\n{page}",
        path.display()
    );
}
