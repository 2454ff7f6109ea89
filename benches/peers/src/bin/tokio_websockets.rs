//! tokio-websockets' echo, on 127.0.0.1 at the port given.

use futures_util::{SinkExt, StreamExt};
use tokio_websockets::{Limits, ServerBuilder};

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::io::Result<()> {
    let listener = peers::listener()?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(tokio::task::unconstrained(async move {
            let builder = ServerBuilder::new().limits(Limits::unlimited());
            let Ok((_, mut socket)) = builder.accept(stream).await else { return };
            while let Some(Ok(message)) = socket.next().await {
                if (message.is_text() || message.is_binary()) && socket.send(message).await.is_err() {
                    return;
                }
            }
        }));
    }
}
