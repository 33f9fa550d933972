//! The page at `/`, for whoever opens the port in a browser.

use crate::metrics::{REVISION, VERSION};

/// A self-contained HTML page that links to the other paths.
pub(super) fn page(telemetry_path: &str) -> String {
    let telemetry_path = escape(telemetry_path);
    format!(
        "<!DOCTYPE html>\n\
         <html lang=\"en\">\n\
         <head><meta charset=\"utf-8\"><title>netdrop-exporter</title></head>\n\
         <body>\n\
         <h1>netdrop-exporter</h1>\n\
         <p>Packets that the Linux kernel frees as dropped, as Prometheus metrics.</p>\n\
         <p>Version {VERSION}, revision {REVISION}</p>\n\
         <ul>\n\
         <li><a href=\"{telemetry_path}\">Metrics</a></li>\n\
         <li><a href=\"/-/healthy\">Healthy</a></li>\n\
         <li><a href=\"/-/ready\">Ready</a></li>\n\
         </ul>\n\
         </body>\n\
         </html>\n"
    )
}

/// Escapes what has a meaning in HTML text and in a quoted attribute.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_links_to_the_metrics_and_shows_the_version() {
        let page = page("/\"<x>&");
        assert!(
            page.contains("<a href=\"/&quot;&lt;x>&amp;\">Metrics</a>"),
            "{page}"
        );
        assert!(page.contains(VERSION), "{page}");
    }
}
