import io.netty.bootstrap.Bootstrap;
import io.netty.buffer.ByteBuf;
import io.netty.buffer.Unpooled;
import io.netty.channel.Channel;
import io.netty.channel.ChannelHandlerContext;
import io.netty.channel.ChannelInitializer;
import io.netty.channel.ChannelPipeline;
import io.netty.channel.SimpleChannelInboundHandler;
import io.netty.channel.nio.NioEventLoopGroup;
import io.netty.channel.socket.SocketChannel;
import io.netty.channel.socket.nio.NioSocketChannel;
import io.netty.handler.codec.http.DefaultHttpHeaders;
import io.netty.handler.codec.http.FullHttpResponse;
import io.netty.handler.codec.http.HttpClientCodec;
import io.netty.handler.codec.http.HttpObjectAggregator;
import io.netty.handler.codec.http.websocketx.*;
import io.netty.util.Version;
import java.net.URI;
import java.util.Arrays;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;

/** Netty against the server at ADDRESS:PORT: the one live client of Hixie-76, 7, 8 and 13. usage: Netty ADDRESS:PORT VERSION */
public class Netty {
    static final NioEventLoopGroup group = new NioEventLoopGroup(1);

    static class Client extends SimpleChannelInboundHandler<Object> {
        final LinkedBlockingQueue<Object> events = new LinkedBlockingQueue<>();
        final WebSocketClientHandshaker handshaker;
        final Channel channel;

        Client(URI uri, WebSocketVersion version) throws Exception {
            handshaker = WebSocketClientHandshakerFactory.newHandshaker(uri, version, "chat", false, new DefaultHttpHeaders(), 1 << 22);
            Client self = this;
            Bootstrap bootstrap = new Bootstrap().group(group).channel(NioSocketChannel.class).handler(new ChannelInitializer<SocketChannel>() {
                protected void initChannel(SocketChannel channel) {
                    ChannelPipeline pipeline = channel.pipeline();
                    pipeline.addLast(new HttpClientCodec(), new HttpObjectAggregator(8192), self);
                }
            });
            channel = bootstrap.connect(uri.getHost(), uri.getPort()).sync().channel();
            check("handshake", "open".equals(next()));
        }

        Object next() throws Exception {
            Object event = events.poll(30, TimeUnit.SECONDS);
            check("an answer in time", event != null);
            return event;
        }

        public void channelActive(ChannelHandlerContext context) {
            handshaker.handshake(context.channel());
        }

        public void channelInactive(ChannelHandlerContext context) {
            events.add("end");
        }

        protected void channelRead0(ChannelHandlerContext context, Object message) {
            if (!handshaker.isHandshakeComplete()) {
                handshaker.finishHandshake(context.channel(), (FullHttpResponse) message);
                events.add("open");
            } else if (message instanceof CloseWebSocketFrame) {
                events.add(((CloseWebSocketFrame) message).statusCode());
            } else {
                events.add(((WebSocketFrame) message).retain());
            }
        }

        public void exceptionCaught(ChannelHandlerContext context, Throwable error) {
            events.add(error);
            context.close();
        }

        /** A message, put together from its fragments. */
        ByteBuf message() throws Exception {
            ByteBuf whole = Unpooled.buffer();
            while (true) {
                Object event = next();
                check("no message but " + event, event instanceof WebSocketFrame);
                WebSocketFrame frame = (WebSocketFrame) event;
                whole.writeBytes(frame.content());
                if (frame.isFinalFragment()) {
                    return whole;
                }
            }
        }
    }

    static void check(String what, boolean holds) {
        if (!holds) {
            System.err.println(what);
            System.exit(1);
        }
    }

    public static void main(String[] args) throws Exception {
        WebSocketVersion version = WebSocketVersion.valueOf("V" + (args[1].length() < 2 ? "0" : "") + args[1]);
        boolean hixie = version == WebSocketVersion.V00;
        URI uri = new URI("ws://" + args[0] + "/echo");
        Client client = new Client(uri, version);
        // Netty's decoder of Hixie-76 drops bytes of a frame that comes in more than one read.
        for (int size : hixie ? new int[] {0, 1, 125, 126, 400} : new int[] {0, 1, 125, 126, 30000, 65535, 65536, 1 << 20}) {
            String text = "x".repeat(size);
            client.channel.writeAndFlush(new TextWebSocketFrame(text));
            String echo = client.message().toString(java.nio.charset.StandardCharsets.UTF_8);
            check("echo of text of " + size + ": " + echo.length(), text.equals(echo));
            if (!hixie) {
                byte[] bytes = new byte[size];
                Arrays.fill(bytes, (byte) 0xA5);
                client.channel.writeAndFlush(new BinaryWebSocketFrame(Unpooled.wrappedBuffer(bytes)));
                check("echo of " + size + " bytes", Unpooled.wrappedBuffer(bytes).equals(client.message()));
            }
        }
        client.channel.writeAndFlush(hixie ? new CloseWebSocketFrame() : new CloseWebSocketFrame(4000, "so long"));
        Object closed = client.next();
        check("our own Close: " + closed, hixie ? closed.equals(-1) : closed.equals(4000));
        Client quit = new Client(uri, version);
        quit.channel.writeAndFlush(new TextWebSocketFrame("quit"));
        closed = quit.next();
        check("after quit: " + closed, hixie ? closed.equals(-1) : closed.equals(1000));
        String draft = hixie ? "76" : version.toHttpHeaderValue();
        System.out.println("Netty\t" + Version.identify().get("netty-codec-http").artifactVersion() + "\t" + draft + "\tno\t"
            + client.handshaker.actualSubprotocol() + "\t" + (hixie ? "closing handshakes" : "close codes 4000, 1000"));
        System.exit(0);
    }
}
