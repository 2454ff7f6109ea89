// WebSocket++ against the server at HOST PORT. usage: websocketpp HOST PORT
#include <iostream>
#include <memory>
#include <string>
#include <vector>
#include <websocketpp/client.hpp>
#include <websocketpp/config/asio_no_tls_client.hpp>
#include <websocketpp/extensions/permessage_deflate/enabled.hpp>

using websocketpp::connection_hdl;

struct Config : websocketpp::config::asio_client {
    struct permessage_deflate_config {};
    typedef websocketpp::extensions::permessage_deflate::enabled<permessage_deflate_config> permessage_deflate_type;
};
using Client = websocketpp::client<Config>;

static Client client;
static std::vector<std::pair<int, std::string>> left; // opcodes and messages that are still to be echoed
static std::vector<int> closes;
static std::string protocol, extensions, url;

static void dial(std::vector<std::pair<int, std::string>> messages) {
    left = std::move(messages);
    websocketpp::lib::error_code error;
    auto connection = client.get_connection(url, error);
    connection->add_subprotocol("chat");
    client.connect(connection);
}

static void say(connection_hdl handle) {
    client.send(handle, left.front().second, static_cast<websocketpp::frame::opcode::value>(left.front().first));
}

int main(int argc, char **argv) {
    if (argc != 3) return 2;
    url = std::string("ws://") + argv[1] + ":" + argv[2] + "/echo";
    client.clear_access_channels(websocketpp::log::alevel::all);
    client.clear_error_channels(websocketpp::log::elevel::all);
    client.init_asio();
    client.set_open_handler([](connection_hdl handle) {
        auto connection = client.get_con_from_hdl(handle);
        protocol = connection->get_response_header("Sec-WebSocket-Protocol");
        extensions = connection->get_response_header("Sec-WebSocket-Extensions");
        say(handle);
    });
    client.set_message_handler([](connection_hdl handle, Client::message_ptr message) {
        if (message->get_opcode() != left.front().first || message->get_payload() != left.front().second) {
            std::cerr << "another echo of " << left.front().second.size() << " bytes\n";
            std::exit(1);
        }
        left.erase(left.begin());
        if (left.empty()) client.close(handle, 4000, "so long");
        else say(handle);
    });
    client.set_close_handler([](connection_hdl handle) {
        closes.push_back(client.get_con_from_hdl(handle)->get_remote_close_code());
        if (closes.size() == 1) dial({{1, "quit"}});
    });
    client.set_fail_handler([](connection_hdl handle) {
        std::cerr << client.get_con_from_hdl(handle)->get_ec().message() << "\n";
        std::exit(1);
    });
    std::vector<std::pair<int, std::string>> messages;
    for (size_t size : {1, 125, 126, 65535, 65536, 1 << 20})
        for (int opcode : {1, 2}) messages.push_back({opcode, std::string(size, 'x')});
    dial(messages);
    client.run();
    if (closes != std::vector<int>{4000, 1000}) {
        std::cerr << "close codes differ\n";
        return 1;
    }
    std::cout << "WebSocket++\t" << websocketpp::major_version << "." << websocketpp::minor_version << "." << websocketpp::patch_version << "\t13\t"
              << (extensions.find("deflate") == std::string::npos ? "no" : "yes") << "\t" << protocol << "\tclose codes 4000, 1000\n";
}
