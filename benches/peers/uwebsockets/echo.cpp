// uWebSockets' echo, on 127.0.0.1 at the port given, in TLS where a certificate and its key follow.
#include "App.h"
#include <cstdlib>

struct Nothing {};

template <class App> int serve(App &&app, int port) {
    app.template ws<Nothing>("/*", {
        .compression = uWS::DISABLED,
        .maxPayloadLength = 64 * 1024 * 1024,
        .idleTimeout = 0,
        .maxBackpressure = 64 * 1024 * 1024,
        .sendPingsAutomatically = false,
        .message = [](auto *socket, std::string_view message, uWS::OpCode code) { socket->send(message, code, false); },
    }).listen("127.0.0.1", port, [](auto *listener) { if (!listener) std::exit(1); }).run();
    return 1;
}

int main(int count, char **words) {
    if (count == 4) return serve(uWS::SSLApp({.key_file_name = words[3], .cert_file_name = words[2]}), std::atoi(words[1]));
    return serve(uWS::App(), std::atoi(words[1]));
}
