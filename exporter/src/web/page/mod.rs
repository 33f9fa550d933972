//! The page for people at `/`: what is wrong with the links, what is dropped, and whether the exporter works.
//!
//! It shows what `/metrics` shows. There is no script in it, and what it may load is nothing
//! (Content Security Policy Level 3).

mod html;
mod view;

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::fmt::{self, Write};
use std::hash::BuildHasher;
use std::sync::{Mutex, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use prometheus::proto::MetricFamily;
use ring::digest::{SHA256, digest};

use crate::metrics::{REVISION, VERSION};
use html::{Text, ago, grouped};
use view::{Drops, Link, State, View};

const STYLE: &str = include_str!("style.css");

/// Series of drops on the page: what fits two screens.
const MAX_DROPS: usize = 25;

const SOURCE: &str = env!("CARGO_PKG_REPOSITORY");

/// The page, and what the drops were when somebody last looked.
pub(super) struct Page {
    telemetry_path: String,
    last: Mutex<Option<Look>>,
    /// Of labels in [`Look`]; nobody outside can make two series one.
    hasher: RandomState,
}

/// One look: a hash of the labels of each series, which is at most `--collector.drops.max-series`, and its packets.
struct Look {
    at: Instant,
    packets: HashMap<u64, f64>,
}

/// What the browser may do with the page: show it with its own style.
pub(super) fn policy() -> String {
    let hash = STANDARD.encode(digest(&SHA256, STYLE.as_bytes()));
    format!(
        "default-src 'none'; style-src 'sha256-{hash}'; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'"
    )
}

impl Page {
    pub(super) fn new(telemetry_path: &str) -> Self {
        Self {
            telemetry_path: telemetry_path.to_owned(),
            last: Mutex::new(None),
            hasher: RandomState::new(),
        }
    }

    /// The page for what was collected just now.
    pub(super) fn render(&self, families: &[MetricFamily]) -> String {
        let view = View::of(families);
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.map_or(0.0, |since| since.as_secs_f64());
        let mut page = String::with_capacity(16 * 1024);
        // A string takes everything.
        self.write(&mut page, &view, now).ok();
        page
    }

    fn write(&self, to: &mut String, view: &View, now: f64) -> fmt::Result {
        write!(
            to,
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\">\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
             <title>netdrop-exporter</title><style>{STYLE}</style></head>\n<body>\n\
             <h1>netdrop-exporter</h1>\n\
             <p class=\"dim\">Version {VERSION}, revision {REVISION}</p>\n\
             <nav><a href=\"{}\">Metrics</a> <a href=\"{SOURCE}/tree/main/alerts/runbooks\">Runbooks</a> \
             <a href=\"{SOURCE}\">Documentation</a></nav>\n",
            Text(&self.telemetry_path)
        )?;
        write_collectors(to, view)?;
        write_links(to, &view.links, now)?;
        self.write_drops(to, &view.drops)?;
        to.write_str("</body>\n</html>\n")
    }

    fn write_drops(&self, to: &mut String, drops: &[Drops]) -> fmt::Result {
        let rates = self.look(drops);
        to.write_str("<h2>Drops</h2>\n")?;
        if drops.is_empty() {
            return to.write_str("<p>No packet has been dropped, or drops are not counted.</p>\n");
        }
        let mut order: Vec<_> = drops.iter().zip(&rates.of_series).collect();
        order.sort_by(|(a, rate_a), (b, rate_b)| {
            let by_rate = rate_b.total_cmp(rate_a);
            by_rate.then_with(|| b.packets.total_cmp(&a.packets))
        });
        let since = match rates.seconds {
            Some(seconds) => format!("Rates are since the last look, {}.", ago(seconds)),
            None => "Look again for rates.".to_owned(),
        };
        write!(
            to,
            "<p class=\"dim\">{} of {} series. {since}</p>\n<table><thead><tr><th>Reason</th>\
             <th>Meaning</th><th>Device</th><th>Where</th><th>Packets</th><th>Rate</th></tr></thead><tbody>\n",
            order.len().min(MAX_DROPS),
            order.len()
        )?;
        for (drops, rate) in order.into_iter().take(MAX_DROPS) {
            write_series(to, drops, rates.seconds.map(|_| *rate))?;
        }
        to.write_str("</tbody></table>\n")
    }

    /// How fast each series has grown since the last look; this one is remembered.
    fn look(&self, drops: &[Drops]) -> Rates {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let keys: Vec<u64> = drops
            .iter()
            .map(|d| self.hasher.hash_one(&d.labels))
            .collect();
        let packets = keys.iter().copied().zip(drops.iter().map(|d| d.packets));
        let before = last.replace(Look {
            at: now,
            packets: packets.collect(),
        });
        let Some(before) = before else {
            return Rates {
                seconds: None,
                of_series: vec![0.0; drops.len()],
            };
        };
        // Two at once would divide by next to nothing.
        let seconds = now.duration_since(before.at).as_secs_f64().max(0.1);
        let rate = |(key, drops): (&u64, &Drops)| {
            (drops.packets - before.packets.get(key).copied().unwrap_or(0.0)) / seconds
        };
        Rates {
            seconds: Some(seconds),
            of_series: keys.iter().zip(drops).map(rate).collect(),
        }
    }
}

/// Packets a second of each series, if somebody has looked before.
struct Rates {
    seconds: Option<f64>,
    of_series: Vec<f64>,
}

fn write_collectors(to: &mut String, view: &View) -> fmt::Result {
    let failed: Vec<_> = view
        .collectors
        .iter()
        .filter(|collector| !collector.succeeded)
        .map(|collector| collector.name.as_str())
        .collect();
    if failed.is_empty() {
        to.write_str("<p class=\"good\">All collectors work.</p>\n")
    } else {
        let names = failed.join(", ");
        writeln!(
            to,
            "<p class=\"bad\">These collectors fail: {}. The log says why.</p>",
            Text(&names)
        )
    }
}

fn write_links(to: &mut String, links: &[Link], now: f64) -> fmt::Result {
    to.write_str("<h2>Links</h2>\n")?;
    let (quiet, loud): (Vec<_>, Vec<_>) = links
        .iter()
        .partition(|link| link.state() >= State::AdminDown);
    if links.is_empty() {
        return to.write_str("<p>The states of links are not known.</p>\n");
    }
    if loud.is_empty() {
        to.write_str("<p class=\"good\">No link has lost its carrier.</p>\n")?;
    } else {
        write_link_table(to, &loud, now)?;
    }
    if !quiet.is_empty() {
        let others = if loud.is_empty() { "" } else { " other" };
        let plural = if quiet.len() == 1 { "" } else { "s" };
        writeln!(
            to,
            "<details><summary>{}{others} link{plural}</summary>",
            quiet.len()
        )?;
        write_link_table(to, &quiet, now)?;
        to.write_str("</details>\n")?;
    }
    Ok(())
}

fn write_link_table(to: &mut String, links: &[&Link], now: f64) -> fmt::Result {
    to.write_str(
        "<table><thead><tr><th>Link</th><th>State</th><th>Since</th><th>Carrier lost</th><th>Lost while down</th>\
         <th>Kind</th></tr></thead><tbody>\n",
    )?;
    for link in links {
        let (class, state) = match link.state() {
            State::NoCarrier => ("bad", "no carrier"),
            State::Removed => ("bad", "removed"),
            State::Flapped => ("warn", "up, flapped"),
            State::AdminDown => ("dim", "admin down"),
            State::Unknown => ("dim", "unknown"),
            State::Up => ("good", "up"),
        };
        let reason = match link.reason.as_str() {
            "" => String::new(),
            reason => format!(": {reason}"),
        };
        let since = link.last.as_ref().map(|(_, time)| ago(now - time));
        let kind = format!("{} {}", link.kind, link.driver);
        writeln!(
            to,
            "<tr><td data-is=\"Link\"><code>{}</code></td><td data-is=\"State\"><span class=\"{class}\">{state}{}</span>\
             </td><td data-is=\"Since\">{}</td><td data-is=\"Carrier lost\">{}</td>\
             <td data-is=\"Lost while down\">{}</td><td data-is=\"Kind\">{}</td></tr>",
            Text(&link.device),
            Text(&reason),
            since.unwrap_or_default(),
            count(link.losses, "time"),
            count(link.lost, "packet"),
            Text(kind.trim())
        )?;
    }
    to.write_str("</tbody></table>\n")
}

/// Nothing, or so many of them.
fn count(number: f64, what: &str) -> String {
    match number {
        0.0 => String::new(),
        1.0 => format!("1 {what}"),
        many => format!("{} {what}s", grouped(many)),
    }
}

fn write_series(to: &mut String, drops: &Drops, rate: Option<f64>) -> fmt::Result {
    let reason = drops.label("reason");
    let own = ["reason", "device"];
    let others: Vec<_> = drops
        .labels
        .iter()
        .filter(|(name, value)| !own.contains(&name.as_str()) && !value.is_empty())
        .map(|(name, value)| format!("{name} {value}"))
        .collect();
    let rate = rate.map_or_else(String::new, |rate| match rate {
        0.0 => "0 /s".to_owned(),
        slow if slow < 10.0 => format!("{slow:.2} /s"),
        fast => format!("{} /s", grouped(fast)),
    });
    writeln!(
        to,
        "<tr><td data-is=\"Reason\"><span><code>{}</code><br><span class=\"dim\">{}</span></span></td>\
         <td data-is=\"Meaning\">{}</td><td data-is=\"Device\">{}</td><td data-is=\"Where\">{}</td>\
         <td data-is=\"Packets\" class=\"n\">{}</td><td data-is=\"Rate\" class=\"n\">{rate}</td></tr>",
        Text(reason),
        drops.category,
        Text(drops.meaning),
        Text(drops.label("device")),
        Text(&others.join(", ")),
        grouped(drops.packets)
    )
}

#[cfg(test)]
mod tests;
