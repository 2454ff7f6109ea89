//! The pages that a browser is shown.

use super::refusal::push;
use super::routes::{Page, Routes};
use crate::proto::paths::bad_frame::BadFrame;
use crate::proto::paths::bad_handshake::BadHandshake;
use crate::proto::paths::steps::{STEPS, When};

/// What the test page and the page of failures begin with.
const HEAD: &str = include_str!("../../pages/head.html");

impl Page {
    /// The text as it stands in the sources, in two parts.
    fn html(self) -> (&'static str, &'static str) {
        match self {
            Page::Test => (HEAD, include_str!("../../pages/index.html")),
            Page::Paths => (HEAD, include_str!("../../pages/paths.html")),
            Page::Board => ("", include_str!("../../pages/board.html")),
        }
    }
}

/// The tables of `/ws` as a JavaScript object: what the page shows is what is served.
fn steps() -> String {
    let mut text = String::from("{steps:[");
    for step in &STEPS {
        let kind = match step.when {
            When::Opening => 0,
            When::InOrder => 1,
            When::FromHereOn => 2,
            When::Last => 3,
        };
        let takes = step.takes.join("\",\"");
        let takes = if takes.is_empty() { String::new() } else { format!("\"{takes}\"") };
        text += &format!("[\"{}\",[{takes}],{kind},\"{}\",\"{}\"],", step.name, step.text, step.example);
    }
    text += "],handshakes:[";
    BadHandshake::table().for_each(|(name, rule)| text += &format!("[\"{name}\",\"{rule}\"],"));
    text += "],frames:[";
    BadFrame::table().for_each(|(name, rule)| text += &format!("[\"{name}\",\"{rule}\"],"));
    text + "]}"
}

/// Text as the value of an HTML attribute in double quotes.
fn attribute(text: &str) -> String {
    text.replace('&', "&amp;").replace('"', "&quot;")
}

pub fn write_page(response: &mut Vec<u8>, page: Page, routes: &Routes) {
    // The page mentions what it is told of.
    let services: Vec<&str> =
        [(routes.boards, "boards"), (routes.test_paths, "paths"), (routes.stats, "stats")]
            .into_iter()
            .filter_map(|(is_served, name)| is_served.then_some(name))
            .collect();
    let services = services.join(" ");
    let path = attribute(routes.echo_paths.example());
    let lifetime = routes.board_lifetime.map_or(0, |lifetime| lifetime.as_millis());
    let body = format!("<body class=\"{services}\" data-echo=\"{path}\" data-lifetime=\"{lifetime}\">");
    let (head, html) = page.html();
    let mut html = html.replacen("<body>", &body, 1);
    if let Page::Paths = page {
        html = html.replacen("\"steps\"", &steps(), 1);
    }
    // Old WebKit does not take `*` for the schemes of WebSocket.
    push(
        response,
        format_args!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: {}\r\nCache-Control: no-cache\r\n\
             Content-Security-Policy: default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:; \
             connect-src * ws: wss:\r\nConnection: close\r\n\r\n{head}{html}",
            head.len() + html.len()
        ),
    );
}
