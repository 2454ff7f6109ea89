//! tokio-websockets' echo.

use futures_util::{SinkExt, StreamExt};
use peers::{Echo, Stream};
use tokio_websockets::{Limits, ServerBuilder};

struct Websockets;

impl Echo for Websockets {
    async fn echo(stream: impl Stream) {
        let serving = async move {
            let builder = ServerBuilder::new().limits(Limits::unlimited());
            let Ok((_, mut socket)) = builder.accept(stream).await else { return };
            while let Some(Ok(message)) = socket.next().await {
                if (message.is_text() || message.is_binary()) && socket.send(message).await.is_err() {
                    return;
                }
            }
        };
        tokio::task::unconstrained(serving).await;
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::io::Result<()> {
    peers::serve::<Websockets>().await
}
