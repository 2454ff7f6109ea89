//! The pages that a browser is shown.

use super::refusal::push;
use super::site::{Page, Site};

impl Page {
    /// The text as it stands in the sources.
    fn html(self) -> &'static str {
        match self {
            Page::Test => include_str!("../../pages/index.html"),
            Page::Board => include_str!("../../pages/board.html"),
        }
    }
}

/// Text as the value of an HTML attribute in double quotes.
fn attribute(text: &str) -> String {
    text.replace('&', "&amp;").replace('"', "&quot;")
}

pub fn write_page(response: &mut Vec<u8>, page: Page, site: &Site) {
    // The page mentions what it is told of.
    let services = match (site.boards, site.stats) {
        (false, false) => "",
        (true, false) => "boards",
        (false, true) => "stats",
        (true, true) => "boards stats",
    };
    let path = attribute(site.echo_paths.example());
    let lifetime = site.board_lifetime.map_or(0.0, |lifetime| lifetime.as_secs_f64());
    let body = format!("<body class=\"{services}\" data-echo=\"{path}\" data-lifetime=\"{lifetime}\">");
    let html = page.html().replacen("<body>", &body, 1);
    // Old WebKit does not take `*` for the schemes of WebSocket.
    push(
        response,
        format_args!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: {}\r\nCache-Control: no-cache\r\n\
             Content-Security-Policy: default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:; \
             connect-src * ws: wss:\r\nConnection: close\r\n\r\n{html}",
            html.len()
        ),
    );
}
