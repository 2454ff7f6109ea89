// Pike's Protocols.WebSocket against the server at ADDRESS:PORT. usage: pike pike.pike ADDRESS:PORT
import Protocols.WebSocket;

int closes;
Connection ws;

// It sends an empty frame without a mask, so there is none.
array(array) messages = Array.flatten(map(({ 1, 125, 126, 65535, 65536, 1 << 20 }), lambda(int size) {
    return ({ ([ "opcode": FRAME_TEXT, "size": size ]), ([ "opcode": FRAME_BINARY, "size": size ]) });
}));

void fail(string what) {
    werror("%s\n", what);
    exit(1);
}

void talk(string url, array messages, function ended) {
    array left = messages + ({});
    ws = Connection();
    void say() {
        string data = left[0]["text"] || "x" * left[0]["size"];
        left[0]["opcode"] == FRAME_BINARY ? ws->send_binary(data) : ws->send_text(data);
    };
    ws->onopen = lambda(mixed id) { say(); };
    ws->onmessage = lambda(Frame frame, mixed id) {
        if (frame->opcode != left[0]["opcode"] || frame->data != "x" * left[0]["size"]) fail("another echo of " + left[0]["size"]);
        left = left[1..];
        sizeof(left) ? say() : ws->close(CLOSE_GONE_AWAY);
    };
    ws->onclose = lambda(int code, mixed id) {
        closes++;
        ended();
    };
    if (!ws->connect(Standards.URI(url), ([ "Sec-WebSocket-Protocol": "chat" ]))) fail("no connection");
}

int main(int count, array(string) args) {
    string url = "ws://" + args[1] + "/echo";
    call_out(fail, 60, "nothing for a minute");
    talk(url, messages, lambda() {
        talk(url, ({ ([ "opcode": FRAME_TEXT, "text": "quit" ]) }), lambda() {
            if (closes != 2) fail(sprintf("%d closes", closes));
            write("Pike\t%d.%d.%d\t13\tno\tnot told\tclosed by either side\n", __REAL_MAJOR__, __REAL_MINOR__, __REAL_BUILD__);
            exit(0);
        });
    });
    return -1;
}
