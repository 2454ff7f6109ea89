import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.WebSocket;
import java.nio.ByteBuffer;
import java.util.Arrays;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionStage;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;

/** The JDK's own client (java.net.http) against the echo at URL, in TLS as well. usage: Jdk URL */
public class Jdk {
    static class Listener implements WebSocket.Listener {
        final LinkedBlockingQueue<Object> messages = new LinkedBlockingQueue<>();
        final CompletableFuture<Integer> closed = new CompletableFuture<>();
        private final StringBuilder text = new StringBuilder();
        private byte[] bytes = new byte[0];

        public CompletionStage<?> onText(WebSocket ws, CharSequence data, boolean last) {
            text.append(data);
            if (last) {
                messages.add(text.toString());
                text.setLength(0);
            }
            ws.request(1);
            return null;
        }

        public CompletionStage<?> onBinary(WebSocket ws, ByteBuffer data, boolean last) {
            int before = bytes.length;
            bytes = Arrays.copyOf(bytes, before + data.remaining());
            data.get(bytes, before, bytes.length - before);
            if (last) {
                messages.add(bytes);
                bytes = new byte[0];
            }
            ws.request(1);
            return null;
        }

        public CompletionStage<?> onClose(WebSocket ws, int code, String reason) {
            closed.complete(code);
            return null;
        }

        public void onError(WebSocket ws, Throwable error) {
            closed.completeExceptionally(error);
        }
    }

    static void check(String what, boolean holds) {
        if (!holds) {
            System.err.println(what);
            System.exit(1);
        }
    }

    public static void main(String[] args) throws Exception {
        URI uri = URI.create(args[0]);
        HttpClient http = HttpClient.newHttpClient();
        Listener listener = new Listener();
        WebSocket ws = http.newWebSocketBuilder().subprotocols("chat").buildAsync(uri, listener).get(30, TimeUnit.SECONDS);
        for (int size : new int[] {0, 1, 125, 126, 65535, 65536, 1 << 20}) {
            String message = "x".repeat(size);
            ws.sendText(message, true).get(30, TimeUnit.SECONDS);
            check("echo of text of " + size, message.equals(listener.messages.poll(30, TimeUnit.SECONDS)));
            byte[] bytes = new byte[size];
            Arrays.fill(bytes, (byte) 0xA5);
            ws.sendBinary(ByteBuffer.wrap(bytes), true).get(30, TimeUnit.SECONDS);
            check("echo of " + size + " bytes", Arrays.equals(bytes, (byte[]) listener.messages.poll(30, TimeUnit.SECONDS)));
        }
        ws.sendClose(4000, "so long").get(30, TimeUnit.SECONDS);
        check("our own Close", listener.closed.get(30, TimeUnit.SECONDS) == 4000);
        Listener quitting = new Listener();
        http.newWebSocketBuilder().buildAsync(uri, quitting).get(30, TimeUnit.SECONDS).sendText("quit", true);
        check("code after quit", quitting.closed.get(30, TimeUnit.SECONDS) == 1000);
        System.out.println("JDK java.net.http\t" + System.getProperty("java.version") + "\t13\tno\t" + ws.getSubprotocol() + "\tclose codes 4000, 1000");
        System.exit(0);
    }
}
