import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import okhttp3.OkHttpClient;
import okhttp3.Request;
import okhttp3.Response;
import okhttp3.WebSocket;
import okhttp3.WebSocketListener;
import okio.ByteString;

/** OkHttp, Android's client, against the server at ADDRESS:PORT. */
public class OkHttp {
    static final LinkedBlockingQueue<Object> events = new LinkedBlockingQueue<>();
    static final OkHttpClient http = new OkHttpClient();
    static String protocol;

    static WebSocket dial(String address) {
        Request request = new Request.Builder().url("ws://" + address + "/echo").header("Sec-WebSocket-Protocol", "chat").build();
        return http.newWebSocket(request, new WebSocketListener() {
            public void onOpen(WebSocket ws, Response response) {
                protocol = response.header("Sec-WebSocket-Protocol");
            }

            public void onMessage(WebSocket ws, String text) {
                events.add(text);
            }

            public void onMessage(WebSocket ws, ByteString bytes) {
                events.add(bytes);
            }

            public void onClosing(WebSocket ws, int code, String reason) {
                events.add(code);
                ws.close(code, null);
            }

            public void onFailure(WebSocket ws, Throwable error, Response response) {
                events.add(error);
            }
        });
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
        WebSocket ws = dial(args[0]);
        for (int size : new int[] {0, 1, 125, 126, 65535, 65536, 1 << 20}) {
            String text = "x".repeat(size);
            ws.send(text);
            check("echo of text of " + size, text.equals(next()));
            ByteString bytes = ByteString.of(new byte[size]);
            ws.send(bytes);
            check("echo of " + size + " bytes", bytes.equals(next()));
        }
        ws.close(4000, "so long");
        Object own = next();
        dial(args[0]).send("quit");
        Object quit = next();
        check("close codes " + own + ", " + quit, Integer.valueOf(4000).equals(own) && Integer.valueOf(1000).equals(quit));
        String version = okhttp3.internal.Version.userAgent().replaceFirst("^okhttp/", "");
        System.out.println("OkHttp\t" + version + "\t13\tno\t" + protocol + "\tclose codes 4000, 1000");
        System.exit(0);
    }
}
