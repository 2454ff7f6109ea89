// POCO's WebSocket against the server at HOST PORT. usage: poco HOST PORT
#include <Poco/Buffer.h>
#include <Poco/Net/HTTPClientSession.h>
#include <Poco/Net/HTTPRequest.h>
#include <Poco/Net/HTTPResponse.h>
#include <Poco/Net/WebSocket.h>
#include <Poco/Version.h>
#include <iostream>

using namespace Poco::Net;

static HTTPResponse response;

static WebSocket dial(const std::string &host, int port) {
    HTTPClientSession session(host, static_cast<Poco::UInt16>(port));
    HTTPRequest request(HTTPRequest::HTTP_GET, "/echo", HTTPMessage::HTTP_1_1);
    request.set("Sec-WebSocket-Protocol", "chat");
    WebSocket socket(session, request, response);
    socket.setReceiveTimeout(Poco::Timespan(120, 0));
    return socket;
}

static std::string hear(WebSocket &socket, int &opcode) {
    Poco::Buffer<char> buffer(0);
    int flags = 0;
    socket.receiveFrame(buffer, flags);
    opcode = flags & WebSocket::FRAME_OP_BITMASK;
    return std::string(buffer.begin(), buffer.size());
}

/// The code of the Close that comes next, 0 if something else does.
static int closed(WebSocket &socket) {
    int opcode = 0;
    std::string body = hear(socket, opcode);
    if (opcode != WebSocket::FRAME_OP_CLOSE || body.size() < 2) return 0;
    return static_cast<unsigned char>(body[0]) << 8 | static_cast<unsigned char>(body[1]);
}

int main(int argc, char **argv) {
    if (argc != 3) return 2;
    const int port = std::stoi(argv[2]);
    WebSocket socket = dial(argv[1], port);
    for (int size : {0, 1, 125, 126, 65535, 65536, 1 << 20})
        for (int kind : {WebSocket::FRAME_TEXT, WebSocket::FRAME_BINARY}) {
            const std::string message(size, 'x');
            socket.sendFrame(message.data(), size, kind);
            int opcode = 0;
            if (hear(socket, opcode) != message || opcode != (kind & WebSocket::FRAME_OP_BITMASK)) {
                std::cerr << "another echo of " << size << " bytes\n";
                return 1;
            }
        }
    const std::string protocol = response.get("Sec-WebSocket-Protocol", "none");
    socket.shutdown(4000, "so long");
    const int own = closed(socket);
    WebSocket quitter = dial(argv[1], port);
    quitter.sendFrame("quit", 4);
    const int quit = closed(quitter);
    if (own != 4000 || quit != 1000) {
        std::cerr << "close codes " << own << ", " << quit << "\n";
        return 1;
    }
    std::cout << "POCO\t" << (POCO_VERSION >> 24) << "." << (POCO_VERSION >> 16 & 255) << "." << (POCO_VERSION >> 8 & 255) << "\t13\tno\t"
              << protocol << "\tclose codes 4000, 1000\n";
}
