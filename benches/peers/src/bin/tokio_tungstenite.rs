//! tokio-tungstenite's echo.

use futures_util::{SinkExt, StreamExt};
use peers::{Echo, Stream};

struct Tungstenite;

impl Echo for Tungstenite {
    async fn echo(stream: impl Stream) {
        let Ok(mut socket) = tokio_tungstenite::accept_async(stream).await else { return };
        while let Some(Ok(message)) = socket.next().await {
            if (message.is_text() || message.is_binary()) && socket.send(message).await.is_err() {
                return;
            }
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::io::Result<()> {
    peers::serve::<Tungstenite>().await
}
