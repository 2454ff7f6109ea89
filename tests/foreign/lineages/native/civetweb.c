/* CivetWeb's client against the server at HOST PORT. usage: civetweb HOST PORT */
#include <civetweb.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const size_t sizes[] = {0, 1, 125, 126, 65535, 65536, 1 << 20};
static char message[1 << 20];
static size_t size;   /* of the echo that is awaited */
static int opcode;    /* of the same */
static int code;      /* of the Close that came */
static sem_t event;   /* an echo, a Close, or the end of the connection */

static void fail(const char *what) {
    fprintf(stderr, "%s (message of %zu bytes)\n", what, size);
    exit(1);
}

static void await(void) {
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 30;
    if (sem_timedwait(&event, &until)) fail("nothing in time");
}

static int heard(struct mg_connection *connection, int bits, char *data, size_t length, void *user) {
    (void)connection, (void)user;
    if ((bits & 15) == MG_WEBSOCKET_OPCODE_CONNECTION_CLOSE) {
        code = length < 2 ? 1005 : (unsigned char)data[0] << 8 | (unsigned char)data[1];
        sem_post(&event);
        return 0;
    }
    if ((bits & 15) != opcode || length != size || memcmp(data, message, size)) fail("another echo");
    sem_post(&event);
    return 1;
}

static void ended(const struct mg_connection *connection, void *user) { (void)connection, (void)user; }

static struct mg_connection *dial(char **argv) {
    char error[200] = "";
    struct mg_connection *connection = mg_connect_websocket_client(argv[1], atoi(argv[2]), 0, error, sizeof error, "/echo", NULL, heard, ended, NULL);
    if (!connection) fail(error);
    return connection;
}

int main(int argc, char **argv) {
    if (argc != 3) return 2;
    mg_init_library(0);
    sem_init(&event, 0, 0);
    memset(message, 'x', sizeof message);
    struct mg_connection *connection = dial(argv);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (opcode = MG_WEBSOCKET_OPCODE_TEXT; opcode <= MG_WEBSOCKET_OPCODE_BINARY; opcode++) {
            size = sizes[i];
            if (mg_websocket_client_write(connection, opcode, message, size) < 0) fail("write");
            await();
        }
    mg_websocket_client_write(connection, MG_WEBSOCKET_OPCODE_CONNECTION_CLOSE, "\x0f\xa0so long", 9);
    await();
    if (code != 4000) fail("no Close 4000");
    connection = dial(argv);
    mg_websocket_client_write(connection, MG_WEBSOCKET_OPCODE_TEXT, "quit", 4);
    await();
    if (code != 1000) fail("no Close 1000 after quit");
    printf("CivetWeb\t%s\t13\tno\tnone\tclose codes 4000, 1000\n", mg_version());
    return 0;
}
