//! A module's memory from a file of `tests/fixtures/modules`.

use anyhow::{Context, ensure};
use netdrop_exporter::collectors::optics::module::{HALF, HalfPage, Pages};
use serde_json::Value;

/// Where a file has the halves of pages. SFP modules have `a0` and `a2`, which can be longer.
const NAMES: [(&str, HalfPage); 11] = [
    ("a0", HalfPage::Lower),
    ("a2", HalfPage::Diagnostics),
    ("lower", HalfPage::Lower),
    ("page00", HalfPage::Page00),
    ("page01", HalfPage::Page01),
    ("page02", HalfPage::Page02),
    ("page03", HalfPage::Page03),
    ("page11", HalfPage::Page11),
    ("page11_b1", HalfPage::Page11Bank1),
    ("page11_b2", HalfPage::Page11Bank2),
    ("page11_b3", HalfPage::Page11Bank3),
];

/// The pages in a file.
///
/// # Errors
///
/// It is not JSON, or has no bytes.
pub(crate) fn pages(json: &[u8]) -> anyhow::Result<Pages> {
    let file: Value = serde_json::from_slice(json)?;
    let bytes = file["bytes"].as_object().context("it has no bytes")?;
    let mut pages = Pages::new();
    for (name, half) in NAMES {
        let Some(text) = bytes.get(name) else {
            continue;
        };
        let text = text
            .as_str()
            .with_context(|| format!("{name} is no text"))?;
        let mut bytes = bytes_of(text).with_context(|| format!("{name} is not hexadecimal"))?;
        bytes.truncate(HALF);
        pages.set(half, bytes);
    }
    Ok(pages)
}

fn bytes_of(text: &str) -> anyhow::Result<Vec<u8>> {
    let digits: Vec<char> = text.chars().filter(|it| !it.is_whitespace()).collect();
    ensure!(digits.len().is_multiple_of(2), "half a byte is missing");
    let bytes = digits.chunks(2).map(|pair| {
        let pair: String = pair.iter().collect();
        Ok(u8::from_str_radix(&pair, 16)?)
    });
    bytes.collect()
}
