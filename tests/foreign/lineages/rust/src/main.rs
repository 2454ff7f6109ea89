//! Rust's clients of other lineages against the server at ADDRESS:PORT, each behind one face.
//! usage: lineages NAME ADDRESS:PORT

use std::time::Duration;

use bytes::BytesMut;
use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;

type Failed = Box<dyn std::error::Error + Send + Sync>;

/// What a client heard; a close with the code that it tells.
#[derive(Debug, PartialEq)]
enum Heard {
    Text(Vec<u8>),
    Binary(Vec<u8>),
    Closed(Option<u16>),
}

/// A connection to the echo, opened with the subprotocol "chat" offered.
trait Client: Sized {
    async fn open(address: &str) -> Result<Self, Failed>;
    /// The subprotocol as the client tells it.
    fn protocol(&self) -> String {
        "not told".to_owned()
    }
    async fn send(&mut self, message: &Heard) -> Result<(), Failed>;
    /// Closes with 4000.
    async fn close(&mut self) -> Result<(), Failed>;
    async fn hear(&mut self) -> Result<Heard, Failed>;
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("text is UTF-8")
}

struct FastWebsockets(
    fastwebsockets::FragmentCollector<hyper_util::rt::TokioIo<hyper::upgrade::Upgraded>>,
    Option<String>,
);

struct Spawn;
impl<F: Future<Output: Send> + Send + 'static> hyper::rt::Executor<F> for Spawn {
    fn execute(&self, future: F) {
        tokio::spawn(future);
    }
}

impl Client for FastWebsockets {
    async fn open(address: &str) -> Result<Self, Failed> {
        let stream = TcpStream::connect(address).await?;
        let request = hyper::Request::get("/echo")
            .header("Host", address)
            .header("Upgrade", "websocket")
            .header("Connection", "upgrade")
            .header("Sec-WebSocket-Key", fastwebsockets::handshake::generate_key())
            .header("Sec-WebSocket-Version", "13")
            .header("Sec-WebSocket-Protocol", "chat")
            .body(http_body_util::Empty::<bytes::Bytes>::new())?;
        let (ws, response) = fastwebsockets::handshake::client(&Spawn, request, stream).await?;
        let protocol =
            response.headers().get("Sec-WebSocket-Protocol").map(|value| value.to_str().map(str::to_owned));
        Ok(Self(fastwebsockets::FragmentCollector::new(ws), protocol.transpose()?))
    }
    fn protocol(&self) -> String {
        self.1.clone().unwrap_or("none".to_owned())
    }
    async fn send(&mut self, message: &Heard) -> Result<(), Failed> {
        use fastwebsockets::Frame;
        Ok(self
            .0
            .write_frame(match message {
                Heard::Text(data) => Frame::text(data.clone().into()),
                Heard::Binary(data) => Frame::binary(data.clone().into()),
                Heard::Closed(_) => unreachable!(),
            })
            .await?)
    }
    async fn close(&mut self) -> Result<(), Failed> {
        Ok(self.0.write_frame(fastwebsockets::Frame::close(4000, b"so long")).await?)
    }
    async fn hear(&mut self) -> Result<Heard, Failed> {
        use fastwebsockets::OpCode;
        let frame = self.0.read_frame().await?;
        let data = frame.payload.to_vec();
        Ok(match frame.opcode {
            OpCode::Text => Heard::Text(data),
            OpCode::Binary => Heard::Binary(data),
            _ => Heard::Closed(data.first_chunk().map(|code| u16::from_be_bytes(*code))),
        })
    }
}

type Compat = tokio_util::compat::Compat<TcpStream>;
struct Soketto(soketto::Sender<Compat>, soketto::Receiver<Compat>, Option<String>);

impl Client for Soketto {
    async fn open(address: &str) -> Result<Self, Failed> {
        use soketto::handshake::{Client, ServerResponse};
        use tokio_util::compat::TokioAsyncReadCompatExt;
        let socket = TcpStream::connect(address).await?.compat();
        let mut client = Client::new(socket, address, "/echo");
        client.add_protocol("chat");
        let protocol = match client.handshake().await? {
            ServerResponse::Accepted { protocol } => protocol,
            other => return Err(format!("{other:?}").into()),
        };
        let (sender, receiver) = client.into_builder().finish();
        Ok(Self(sender, receiver, protocol))
    }
    fn protocol(&self) -> String {
        self.2.clone().unwrap_or("none".to_owned())
    }
    async fn send(&mut self, message: &Heard) -> Result<(), Failed> {
        match message {
            Heard::Text(data) => self.0.send_text(text(data)).await?,
            Heard::Binary(data) => self.0.send_binary(data).await?,
            Heard::Closed(_) => unreachable!(),
        }
        Ok(self.0.flush().await?)
    }
    // It knows no other code than 1000 and does not tell one.
    async fn close(&mut self) -> Result<(), Failed> {
        Ok(self.0.close().await?)
    }
    async fn hear(&mut self) -> Result<Heard, Failed> {
        let mut data = Vec::new();
        Ok(match self.1.receive_data(&mut data).await {
            Ok(kind) if kind.is_text() => Heard::Text(data),
            Ok(_) => Heard::Binary(data),
            Err(soketto::connection::Error::Closed) => Heard::Closed(None),
            Err(other) => return Err(other.into()),
        })
    }
}

struct TokioTungstenite(
    tokio_tungstenite::WebSocketStream<tokio_tungstenite::MaybeTlsStream<TcpStream>>,
    String,
);

impl Client for TokioTungstenite {
    async fn open(address: &str) -> Result<Self, Failed> {
        use tokio_tungstenite::tungstenite::ClientRequestBuilder;
        let request =
            ClientRequestBuilder::new(format!("ws://{address}/echo").parse()?).with_sub_protocol("chat");
        let (ws, response) = tokio_tungstenite::connect_async(request).await?;
        let protocol = response.headers()["Sec-WebSocket-Protocol"].to_str()?.to_owned();
        Ok(Self(ws, protocol))
    }
    fn protocol(&self) -> String {
        self.1.clone()
    }
    async fn send(&mut self, message: &Heard) -> Result<(), Failed> {
        use tokio_tungstenite::tungstenite::Message;
        Ok(self
            .0
            .send(match message {
                Heard::Text(data) => Message::text(text(data)),
                Heard::Binary(data) => Message::binary(data.clone()),
                Heard::Closed(_) => unreachable!(),
            })
            .await?)
    }
    async fn close(&mut self) -> Result<(), Failed> {
        use tokio_tungstenite::tungstenite::protocol::CloseFrame;
        Ok(self.0.close(Some(CloseFrame { code: 4000.into(), reason: "so long".into() })).await?)
    }
    async fn hear(&mut self) -> Result<Heard, Failed> {
        use tokio_tungstenite::tungstenite::Message;
        Ok(match self.0.next().await.ok_or("no Close")?? {
            Message::Text(data) => Heard::Text(data.as_bytes().to_vec()),
            Message::Binary(data) => Heard::Binary(data.to_vec()),
            Message::Close(frame) => Heard::Closed(frame.map(|frame| frame.code.into())),
            other => return Err(format!("{other:?}").into()),
        })
    }
}

struct TokioWebsockets(
    tokio_websockets::WebSocketStream<tokio_websockets::MaybeTlsStream<TcpStream>>,
    String,
);

impl Client for TokioWebsockets {
    async fn open(address: &str) -> Result<Self, Failed> {
        let url = format!("ws://{address}/echo");
        let limits = tokio_websockets::Limits::unlimited();
        let builder = tokio_websockets::ClientBuilder::new().uri(&url)?.limits(limits);
        let (name, value) = ("sec-websocket-protocol", "chat");
        let (ws, response) = builder.add_header(name.try_into()?, value.try_into()?)?.connect().await?;
        let protocol = response.headers()[name].to_str()?.to_owned();
        Ok(Self(ws, protocol))
    }
    fn protocol(&self) -> String {
        self.1.clone()
    }
    async fn send(&mut self, message: &Heard) -> Result<(), Failed> {
        use tokio_websockets::Message;
        Ok(self
            .0
            .send(match message {
                Heard::Text(data) => Message::text(text(data)),
                Heard::Binary(data) => Message::binary(data.clone()),
                Heard::Closed(_) => unreachable!(),
            })
            .await?)
    }
    async fn close(&mut self) -> Result<(), Failed> {
        let code = tokio_websockets::CloseCode::try_from(4000)?;
        Ok(self.0.send(tokio_websockets::Message::close(Some(code), "so long")).await?)
    }
    async fn hear(&mut self) -> Result<Heard, Failed> {
        let message = self.0.next().await.ok_or("no Close")??;
        Ok(if let Some((code, _)) = message.as_close() {
            Heard::Closed(Some(code.into()))
        } else if message.is_text() {
            Heard::Text(message.into_payload().to_vec())
        } else {
            Heard::Binary(message.into_payload().to_vec())
        })
    }
}

struct Ratchet(ratchet_rs::WebSocket<TcpStream, ratchet_rs::NoExt>, Option<String>);

impl Client for Ratchet {
    async fn open(address: &str) -> Result<Self, Failed> {
        let stream = TcpStream::connect(address).await?;
        let config = ratchet_rs::WebSocketConfig { max_message_size: 1 << 24 };
        let protocols = ratchet_rs::SubprotocolRegistry::new(["chat"])?;
        let extensions = ratchet_rs::NoExtProvider;
        let upgraded =
            ratchet_rs::subscribe_with(config, stream, format!("ws://{address}/echo"), extensions, protocols)
                .await?;
        Ok(Self(upgraded.websocket, upgraded.subprotocol))
    }
    fn protocol(&self) -> String {
        self.1.clone().unwrap_or("none".to_owned())
    }
    async fn send(&mut self, message: &Heard) -> Result<(), Failed> {
        use ratchet_rs::PayloadType;
        let (data, kind) = match message {
            Heard::Text(data) => (data, PayloadType::Text),
            Heard::Binary(data) => (data, PayloadType::Binary),
            Heard::Closed(_) => unreachable!(),
        };
        Ok(self.0.write(data, kind).await?)
    }
    async fn close(&mut self) -> Result<(), Failed> {
        use ratchet_rs::{CloseCode, CloseReason};
        let reason = CloseReason::new(CloseCode::Application(4000), Some("so long".to_owned()));
        Ok(self.0.close(reason).await?)
    }
    async fn hear(&mut self) -> Result<Heard, Failed> {
        let mut data = BytesMut::new();
        Ok(match self.0.read(&mut data).await? {
            ratchet_rs::Message::Text => Heard::Text(data.to_vec()),
            ratchet_rs::Message::Binary => Heard::Binary(data.to_vec()),
            ratchet_rs::Message::Close(reason) => Heard::Closed(reason.map(|reason| reason.code.into())),
            other => return Err(format!("{other:?}").into()),
        })
    }
}

/// rust-websocket, which blocks; it is alone on its thread.
struct Websocket(websocket::sync::Client<std::net::TcpStream>);

impl Client for Websocket {
    async fn open(address: &str) -> Result<Self, Failed> {
        let url = format!("ws://{address}/echo");
        Ok(Self(websocket::ClientBuilder::new(&url)?.add_protocol("chat").connect_insecure()?))
    }
    fn protocol(&self) -> String {
        self.0.protocols().first().cloned().unwrap_or("none".to_owned())
    }
    async fn send(&mut self, message: &Heard) -> Result<(), Failed> {
        use websocket::OwnedMessage;
        Ok(self.0.send_message(&match message {
            Heard::Text(data) => OwnedMessage::Text(text(data)),
            Heard::Binary(data) => OwnedMessage::Binary(data.clone()),
            Heard::Closed(_) => unreachable!(),
        })?)
    }
    async fn close(&mut self) -> Result<(), Failed> {
        use websocket::CloseData;
        Ok(self.0.send_message(&websocket::OwnedMessage::Close(Some(CloseData::new(
            4000,
            "so long".to_owned(),
        ))))?)
    }
    async fn hear(&mut self) -> Result<Heard, Failed> {
        use websocket::OwnedMessage;
        Ok(match self.0.recv_message()? {
            OwnedMessage::Text(data) => Heard::Text(data.into_bytes()),
            OwnedMessage::Binary(data) => Heard::Binary(data),
            OwnedMessage::Close(reason) => Heard::Closed(reason.map(|reason| reason.status_code)),
            other => return Err(format!("{other:?}").into()),
        })
    }
}

struct Yawc(yawc::TcpWebSocket);

impl Client for Yawc {
    async fn open(address: &str) -> Result<Self, Failed> {
        let request = yawc::HttpRequestBuilder::new().header("Sec-WebSocket-Protocol", "chat");
        let options = yawc::Options::default().with_limits(1 << 22, 1 << 23);
        Ok(Self(
            yawc::WebSocket::connect(format!("ws://{address}/echo").parse()?)
                .with_options(options)
                .with_request(request)
                .await?,
        ))
    }
    async fn send(&mut self, message: &Heard) -> Result<(), Failed> {
        use yawc::Frame;
        Ok(self
            .0
            .send(match message {
                Heard::Text(data) => Frame::text(data.clone()),
                Heard::Binary(data) => Frame::binary(data.clone()),
                Heard::Closed(_) => unreachable!(),
            })
            .await?)
    }
    async fn close(&mut self) -> Result<(), Failed> {
        Ok(self.0.send(yawc::Frame::close(4000.into(), "so long")).await?)
    }
    async fn hear(&mut self) -> Result<Heard, Failed> {
        let frame = self.0.next_frame().await?;
        let data = frame.payload().to_vec();
        Ok(match frame.opcode() {
            yawc::OpCode::Text => Heard::Text(data),
            yawc::OpCode::Binary => Heard::Binary(data),
            _ => Heard::Closed(data.first_chunk().map(|code| u16::from_be_bytes(*code))),
        })
    }
}

/// Every size as text and as binary, our own Close, and `quit`; the row of the table of clients.
async fn converse<C: Client>(name: &str, address: &str) -> Result<String, Failed> {
    let mut client = C::open(address).await?;
    for size in [0, 1, 125, 126, 65535, 65536, 1 << 20] {
        for message in [Heard::Text(vec![b'x'; size]), Heard::Binary(vec![0xA5; size])] {
            client.send(&message).await?;
            if client.hear().await? != message {
                return Err(format!("another echo of {size} bytes").into());
            }
        }
    }
    let protocol = client.protocol();
    client.close().await?;
    // Some tell the answer to their own Close, some that they are closed.
    let own = client.hear().await.unwrap_or(Heard::Closed(None));
    let mut quit = C::open(address).await?;
    quit.send(&Heard::Text(b"quit".to_vec())).await?;
    let theirs = quit.hear().await?;
    let told = |heard, code| match heard {
        Heard::Closed(None) => Ok("not told".to_owned()),
        Heard::Closed(Some(told)) if told == code => Ok(told.to_string()),
        other => Err(format!("no Close {code} but {other:?}")),
    };
    let codes = format!("close codes {}, {}", told(own, 4000)?, told(theirs, 1000)?);
    Ok(format!("Rust {name}\t{}\t13\tno\t{protocol}\t{codes}", version(name)))
}

/// Which version of a crate is locked.
fn version(name: &str) -> &'static str {
    let name = if name == "ratchet" { "ratchet_rs" } else { name };
    let lock = include_str!("../Cargo.lock");
    let (_, package) = lock.split_once(&format!("name = \"{name}\"\nversion = \"")).expect("it is locked");
    package.split('"').next().expect("a version")
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failed> {
    let [_, name, address] = <[String; 3]>::try_from(std::env::args().collect::<Vec<_>>())
        .map_err(|_| "usage: lineages NAME ADDRESS:PORT")?;
    let row = tokio::time::timeout(Duration::from_secs(60), async {
        match &*name {
            "fastwebsockets" => converse::<FastWebsockets>(&name, &address).await,
            "soketto" => converse::<Soketto>(&name, &address).await,
            "tokio-tungstenite" => converse::<TokioTungstenite>(&name, &address).await,
            "tokio-websockets" => converse::<TokioWebsockets>(&name, &address).await,
            "ratchet" => converse::<Ratchet>(&name, &address).await,
            "websocket" => converse::<Websocket>(&name, &address).await,
            "yawc" => converse::<Yawc>(&name, &address).await,
            other => Err(format!("no client {other}").into()),
        }
    });
    println!("{}", row.await??);
    Ok(())
}
