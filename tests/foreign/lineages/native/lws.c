/* libwebsockets against the server at HOST PORT. usage: lws HOST PORT */
#include <libwebsockets.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* It asserts on compressing an empty message (4.1.6), so there is none. */
static const size_t sizes[] = {1, 125, 126, 65535, 65536, 1 << 20};
enum { SIZES = sizeof sizes / sizeof *sizes };
static struct lws_context *context;
static char *host;
static int port, done;
/* Of the connection that is open: which message is under way, how much of it was sent and heard, and whether it quits. */
static unsigned at;
static size_t heard;
static int quits, closing;
static unsigned code;
static unsigned char buf[LWS_PRE + (1 << 20)];

static void fail(const char *what) {
    fprintf(stderr, "%s (message %u)\n", what, at);
    exit(1);
}

static void dial(void) {
    struct lws_client_connect_info info = {0};
    info.context = context;
    info.address = info.host = info.origin = host;
    info.port = port;
    info.path = "/echo";
    info.protocol = "chat";
    info.local_protocol_name = "chat";
    if (!lws_client_connect_via_info(&info)) fail("no connection");
}

static int callback(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in, size_t size) {
    (void)user;
    switch (reason) {
    case LWS_CALLBACK_CLIENT_CONNECTION_ERROR:
        fail(in ? in : "refused");
        break;
    case LWS_CALLBACK_CLIENT_ESTABLISHED:
        lws_callback_on_writable(wsi);
        break;
    case LWS_CALLBACK_CLIENT_WRITEABLE:
        if (closing) {
            lws_close_reason(wsi, 4000, (unsigned char *)"so long", 7);
            return -1;
        }
        size = quits ? 4 : sizes[at];
        memset(buf + LWS_PRE, 'x', size);
        if (quits) memcpy(buf + LWS_PRE, "quit", 4);
        if (lws_write(wsi, buf + LWS_PRE, size, quits || at % 2 ? LWS_WRITE_TEXT : LWS_WRITE_BINARY) < (int)size) fail("write");
        break;
    case LWS_CALLBACK_CLIENT_RECEIVE:
        for (size_t i = 0; i < size; i++)
            if (((char *)in)[i] != 'x') fail("another echo");
        heard += size;
        if (!lws_is_final_fragment(wsi) || lws_remaining_packet_payload(wsi)) break;
        if (heard != sizes[at]) fail("another size");
        heard = 0;
        closing = ++at == SIZES;
        lws_callback_on_writable(wsi);
        break;
    case LWS_CALLBACK_WS_PEER_INITIATED_CLOSE:
        code = size >= 2 ? ((unsigned char *)in)[0] << 8 | ((unsigned char *)in)[1] : 1005;
        break;
    case LWS_CALLBACK_CLIENT_CLOSED:
        if (quits) {
            done = 1;
        } else {
            quits = 1;
            closing = 0;
            dial();
        }
        break;
    default:
        break;
    }
    return lws_callback_http_dummy(wsi, reason, user, in, size);
}

static const struct lws_protocols protocols[] = {{"chat", callback, 0, 1 << 16, 0, NULL, 0}, {NULL, NULL, 0, 0, 0, NULL, 0}};
static const struct lws_extension extensions[] = {
    {"permessage-deflate", lws_extension_callback_pm_deflate, "permessage-deflate; client_no_context_takeover; client_max_window_bits"},
    {NULL, NULL, NULL}};

int main(int argc, char **argv) {
    struct lws_context_creation_info info = {0};
    if (argc != 3) return 2;
    host = argv[1];
    port = atoi(argv[2]);
    lws_set_log_level(LLL_ERR, NULL);
    info.port = CONTEXT_PORT_NO_LISTEN;
    info.protocols = protocols;
    info.extensions = extensions;
    context = lws_create_context(&info);
    dial();
    while (!done && lws_service(context, 0) >= 0) {
    }
    if (code != 1000) fail("code after quit");
    printf("libwebsockets\t%s\t13\tyes\tchat\tclose codes 4000 (sent), 1000\n", lws_get_library_version());
    return 0;
}
