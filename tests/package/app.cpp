// The program of app.c in C++.

#define UDS_ECHO_IMPLEMENTATION
#include "uds_echo.h"

#include <cstdio>
#include <cstdlib>
#include <string>
#include <unistd.h>

namespace
{
const int rounds = 100, step_ms = 10;
const std::string message = "hello";

class server
{
  public:
    explicit server(const std::string &path) : server_(nullptr)
    {
        uds_echo_server_desc desc = {};
        desc.path = path.c_str();
        uds_echo_server_open(&server_, &desc, nullptr);
    }
    ~server()
    {
        uds_echo_server_close(server_);
    }
    server(const server &) = delete;
    server &operator=(const server &) = delete;

    uds_echo_error step()
    {
        return uds_echo_server_step(server_, step_ms);
    }
    bool stops()
    {
        uds_echo_server_stop(server_, UDS_ECHO_STOP_DRAIN);
        for (int i = 0; i < rounds; i++)
            if (step() == UDS_ECHO_ERR_STOPPED) return true;
        return false;
    }

  private:
    uds_echo_server *server_;
};

bool echoes(server &peer, const std::string &path)
{
    uds_echo_client_desc desc = {};
    uds_echo_client client;
    uds_echo_io io = {};
    std::string reply(message.size(), '?');
    uds_echo_error error = UDS_ECHO_ERR_TIMEOUT;

    desc.path = path.c_str();
    if (uds_echo_client_open(&client, &desc, nullptr) != UDS_ECHO_OK) return false;
    io.out = message.data();
    io.in = &reply[0];
    io.out_size = io.in_size = message.size();
    for (int i = 0; i < rounds && error == UDS_ECHO_ERR_TIMEOUT; i++) {
        error = peer.step();
        if (error == UDS_ECHO_OK) error = uds_echo_client_exchange(&client, &io, 0);
    }
    uds_echo_client_close(&client);
    return error == UDS_ECHO_OK && reply == message;
}

bool runs(const std::string &path)
{
    server peer(path);
    return echoes(peer, path) && peer.stops();
}
} // namespace

int main()
{
    char dir[] = "./XXXXXX";
    if (!mkdtemp(dir)) return 1;
    const bool is_good = runs(std::string(dir) + "/socket");
    if (rmdir(dir) || !is_good) { // a socket file that is left keeps the directory
        std::fprintf(stderr, "app: failed\n");
        return 1;
    }
    std::printf("%d.%d.%d\n", UDS_ECHO_VERSION_MAJOR, UDS_ECHO_VERSION_MINOR, UDS_ECHO_VERSION_PATCH);
    return 0;
}
