// Boost.Beast against the server at HOST PORT. usage: beast HOST PORT
#include <boost/asio/connect.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/beast/core.hpp>
#include <boost/version.hpp>
#include <boost/beast/websocket.hpp>
#include <iostream>
#include <string>

namespace beast = boost::beast;
namespace websocket = beast::websocket;
using tcp = boost::asio::ip::tcp;
using Stream = websocket::stream<tcp::socket>;

static void check(bool holds, std::string const& what) {
    if (!holds) {
        std::cerr << what << "\n";
        std::exit(1);
    }
}

static websocket::response_type open(Stream& ws, char** argv) {
    tcp::resolver resolver{ws.get_executor()};
    boost::asio::connect(ws.next_layer(), resolver.resolve(argv[1], argv[2]));
    websocket::permessage_deflate deflate;
    deflate.client_enable = true;
    ws.set_option(deflate);
    ws.set_option(websocket::stream_base::decorator(
        [](websocket::request_type& request) { request.set(beast::http::field::sec_websocket_protocol, "chat"); }));
    ws.read_message_max(1 << 22);
    websocket::response_type response;
    ws.handshake(response, std::string(argv[1]) + ":" + argv[2], "/echo");
    return response;
}

int main(int, char** argv) {
    boost::asio::io_context context;
    Stream ws{context};
    auto response = open(ws, argv);
    for (std::size_t size : {0, 1, 125, 126, 65535, 65536, 1 << 20}) {
        for (bool binary : {false, true}) {
            std::string message(size, binary ? '\xA5' : 'x');
            ws.binary(binary);
            ws.write(boost::asio::buffer(message));
            beast::flat_buffer echo;
            ws.read(echo);
            check(ws.got_binary() == binary, "the kind of an echo");
            check(beast::buffers_to_string(echo.data()) == message, "echo of " + std::to_string(size));
        }
    }
    // In five fragments of its own, each of them compressed.
    std::string message(5000, 'y');
    ws.text(true);
    for (int part = 0; part < 5; part += 1) ws.write_some(part == 4, boost::asio::buffer(message.data() + 1000 * part, 1000));
    beast::flat_buffer echo;
    ws.read(echo);
    check(beast::buffers_to_string(echo.data()) == message, "echo of fragments");
    ws.close({static_cast<websocket::close_code>(4000), "so long"});
    check(ws.reason().code == 4000, "our own Close: " + std::to_string(ws.reason().code));

    Stream quit{context};
    open(quit, argv);
    quit.write(boost::asio::buffer(std::string("quit")));
    beast::error_code error;
    beast::flat_buffer nothing;
    quit.read(nothing, error);
    check(error == websocket::error::closed && quit.reason().code == 1000, "after quit: " + error.message());
    auto extensions = std::string(response[beast::http::field::sec_websocket_extensions]);
    std::cout << "Boost.Beast\t" << "of Boost " << BOOST_LIB_VERSION << "\t13\t" << (extensions.empty() ? "no" : "yes") << "\t"
              << std::string(response[beast::http::field::sec_websocket_protocol]) << "\tclose codes 4000, 1000" << std::endl;
}
