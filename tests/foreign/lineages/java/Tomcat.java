import java.net.URI;
import java.nio.ByteBuffer;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import javax.websocket.ClientEndpointConfig;
import javax.websocket.CloseReason;
import javax.websocket.CloseReason.CloseCodes;
import javax.websocket.ContainerProvider;
import javax.websocket.Endpoint;
import javax.websocket.EndpointConfig;
import javax.websocket.Extension;
import javax.websocket.MessageHandler;
import javax.websocket.Session;
import javax.websocket.WebSocketContainer;

/** Tomcat's client (javax.websocket) against the server at ADDRESS:PORT. */
public class Tomcat {
    static final Extension DEFLATE = new Extension() {
        public String getName() {
            return "permessage-deflate";
        }

        public List<Parameter> getParameters() {
            return List.of();
        }
    };
    static final LinkedBlockingQueue<Object> events = new LinkedBlockingQueue<>();

    static Session dial(String address) throws Exception {
        Endpoint endpoint = new Endpoint() {
            public void onOpen(Session session, EndpointConfig config) {
                session.addMessageHandler(String.class, (MessageHandler.Whole<String>) events::add);
                session.addMessageHandler(ByteBuffer.class, (MessageHandler.Whole<ByteBuffer>) data -> {
                    byte[] copy = new byte[data.remaining()];
                    data.get(copy);
                    events.add(copy);
                });
            }

            public void onClose(Session session, CloseReason reason) {
                events.add(reason.getCloseCode().getCode());
            }
        };
        WebSocketContainer container = ContainerProvider.getWebSocketContainer();
        container.setDefaultMaxTextMessageBufferSize(1 << 22);
        container.setDefaultMaxBinaryMessageBufferSize(1 << 22);
        ClientEndpointConfig config = ClientEndpointConfig.Builder.create().preferredSubprotocols(List.of("chat"))
            .extensions(List.of(DEFLATE)).build();
        return container.connectToServer(endpoint, config, URI.create("ws://" + address + "/echo"));
    }

    static Object next() throws Exception {
        return events.poll(30, TimeUnit.SECONDS);
    }

    static void check(String what, boolean holds) {
        if (!holds) {
            System.err.println(what);
            System.exit(1);
        }
    }

    public static void main(String[] args) throws Exception {
        Session session = dial(args[0]);
        boolean deflate = session.getNegotiatedExtensions().stream().anyMatch(extension -> extension.getName().contains("deflate"));
        String protocol = session.getNegotiatedSubprotocol();
        for (int size : new int[] {0, 1, 125, 126, 65535, 65536, 1 << 20}) {
            String text = "x".repeat(size);
            session.getBasicRemote().sendText(text);
            check("echo of text of " + size, text.equals(next()));
            byte[] bytes = new byte[size];
            Arrays.fill(bytes, (byte) 0xA5);
            session.getBasicRemote().sendBinary(ByteBuffer.wrap(bytes));
            check("echo of " + size + " bytes", next() instanceof byte[] echo && Arrays.equals(bytes, echo));
        }
        session.close(new CloseReason(CloseCodes.getCloseCode(4000), "so long"));
        Object own = next();
        dial(args[0]).getBasicRemote().sendText("quit");
        Object quit = next();
        check("close codes " + own + ", " + quit, Integer.valueOf(4000).equals(own) && Integer.valueOf(1000).equals(quit));
        String version = session.getClass().getPackage().getImplementationVersion();
        System.out.println("Tomcat\t" + version + "\t13\t" + (deflate ? "yes" : "no") + "\t" + protocol + "\tclose codes 4000, 1000");
        System.exit(0);
    }
}
