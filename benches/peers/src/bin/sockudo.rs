//! sockudo-ws' own echo example.

use bytes::BytesMut;
use futures_util::{SinkExt, StreamExt};
use peers::{Echo, Stream};
use sockudo_ws::handshake::{build_response, generate_accept_key, parse_request};
use sockudo_ws::protocol::Message;
use sockudo_ws::{Config, WebSocketStream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

async fn shake_hands(stream: &mut impl Stream) -> Option<()> {
    let mut head = BytesMut::with_capacity(4096);
    loop {
        if stream.read_buf(&mut head).await.ok()? == 0 {
            return None;
        }
        if let Some((request, _)) = parse_request(&head).ok()? {
            let response = build_response(&generate_accept_key(request.key), None, None);
            stream.write_all(&response).await.ok()?;
            return stream.flush().await.ok();
        }
    }
}

struct Sockudo;

impl Echo for Sockudo {
    async fn echo(mut stream: impl Stream) {
        if shake_hands(&mut stream).await.is_none() {
            return;
        }
        let mut socket = WebSocketStream::server(stream, Config::default());
        while let Some(Ok(message)) = socket.next().await {
            if matches!(message, Message::Close(_)) {
                return;
            }
            if matches!(message, Message::Text(_) | Message::Binary(_)) && socket.send(message).await.is_err() {
                return;
            }
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::io::Result<()> {
    peers::serve::<Sockudo>().await
}
