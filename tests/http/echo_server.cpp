// The HTTP layer alone, for the Python tests: prints its URL, serves until its input ends or
// SIGTERM.
//
//   echo_server [name=value]...   host, port, key, origin, host_name, cert, private_key,
//   insecure=1,
//                                 threads, connections, each limit in bytes or milliseconds, and
//                                 files=N, so many descriptors that others hold
//
// Routes: /health "ok"; /echo the request as JSON; /stream?n=N N pieces of server-sent events, one
// every `every` ms (default 0), each padded to `bytes`; /big?bytes=N one body; /hang no answer
// until the client is gone; /counters the server's counters, this process's memory and open
// answers; /drain drains; /throw throws.

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <iostream>
#include <map>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/platform.h"
#include "server/http/server.h"

namespace {

using namespace tandem;
using namespace tandem::server;
using std::chrono::milliseconds;

// One thread that makes answers which take time, as an engine would.
class Worker {
 public:
  Worker() : thread_([this] { run(); }) {}
  ~Worker() {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    ready_.notify_all();
    thread_.join();
  }
  void at(Deadline when, std::function<void()> work) {
    {
      const std::lock_guard lock(mutex_);
      jobs_.emplace(when, std::move(work));
    }
    ready_.notify_all();
  }

 private:
  void run() {
    std::unique_lock lock(mutex_);
    while (!stopping_) {
      if (jobs_.empty()) {
        ready_.wait(lock);
      } else if (jobs_.begin()->first > Clock::now()) {
        ready_.wait_until(lock, jobs_.begin()->first);
      } else {
        auto work = std::move(jobs_.begin()->second);
        jobs_.erase(jobs_.begin());
        lock.unlock();
        work();
        work = nullptr;
        lock.lock();
      }
    }
  }
  std::mutex mutex_;
  std::condition_variable ready_;
  std::multimap<Deadline, std::function<void()>> jobs_;
  bool stopping_ = false;
  std::thread thread_;
};

std::size_t number(const std::string& query, const std::string& name, std::size_t otherwise) {
  const std::string all = "&" + query;
  const std::size_t at = all.find("&" + name + "=");
  return at == std::string::npos ? otherwise : std::stoul(all.substr(at + name.size() + 2));
}

// The process under test, with all that its routes need.
class Echo {
 public:
  void serve(HttpRequest request, std::shared_ptr<Responder> out) {
    if (request.path == "/health") return text(*out, "ok");
    if (request.path == "/echo") return echo(request, *out);
    if (request.path == "/big")
      return text(*out, std::string(number(request.query, "bytes", 1), 'x'));
    if (request.path == "/hang") return hang(std::move(out));
    if (request.path == "/stream") return stream(request.query, std::move(out));
    if (request.path == "/counters") return counters(*out);
    if (request.path == "/throw") throw std::runtime_error("a route's mistake");
    if (request.path == "/drain") {
      text(*out, "draining");
      return running().drain();
    }
    HttpResponse response;
    response.status = 404;
    response.body = R"({"error":{"message":"no such route","code":null}})";
    out->send(std::move(response));
  }

  // Known only after the first requests may have come.
  std::atomic<HttpServer*> server{nullptr};

 private:
  // An answer under way, counted while it lives.
  using Open = std::shared_ptr<void>;
  Open open() {
    ++open_;
    return Open(&open_, [](void* count) { --*static_cast<std::atomic<int>*>(count); });
  }

  HttpServer& running() {
    server.wait(nullptr);
    return *server.load();
  }

  static void text(Responder& out, std::string body) {
    HttpResponse response;
    response.content_type = "text/plain";
    response.body = std::move(body);
    out.send(std::move(response));
  }

  static void echo(const HttpRequest& request, Responder& out) {
    nlohmann::ordered_json json{{"method", request.method}, {"path", request.path},
                                {"query", request.query},   {"body", request.body},
                                {"key", request.key},       {"id", request.id}};
    for (const Header& header : request.headers) {
      json["headers"].push_back({header.name, header.value});
    }
    HttpResponse response;
    response.body = json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
    out.send(std::move(response));
  }

  void hang(std::shared_ptr<Responder> out) {
    auto held = std::make_shared<std::pair<std::shared_ptr<Responder>, Open>>(out, open());
    out->on_close([this, held] {
      ++told_;
      worker_.at(Clock::now(), [held] { held->first.reset(); });
    });
  }

  void stream(const std::string& query, std::shared_ptr<Responder> out) {
    struct Job {
      std::shared_ptr<Responder> out;
      std::size_t left, every, bytes;
      Open open;
    };
    auto job = std::make_shared<Job>(Job{out, number(query, "n", 3), number(query, "every", 0),
                                         number(query, "bytes", 16), open()});
    HttpResponse response;
    response.content_type = "text/event-stream";
    out->begin(std::move(response));
    out->on_close([this] { ++told_; });
    step(std::move(job));
  }

  template <class Job>
  void step(std::shared_ptr<Job> job) {
    worker_.at(after(milliseconds(job->every)), [this, job] {
      if (job->left == 0) return job->out->end();
      const std::string text = fmt::format("data: {}", --job->left);
      const std::string pad(job->bytes > text.size() ? job->bytes - text.size() : 0, '.');
      if (!job->out->write(text + pad + "\n\n")) return;
      step(job);
    });
  }

  static int open_descriptors() {
    const long most = std::min(::sysconf(_SC_OPEN_MAX), 20000L);
    int count = 0;
    for (int fd = 0; fd < most; ++fd) count += ::fcntl(fd, F_GETFD) >= 0;
    return count;
  }

  void counters(Responder& out) {
    const HttpCounters now = running().counters();
    const nlohmann::json json{{"connections", now.connections},
                              {"requests", now.requests},
                              {"refusals", now.refusals},
                              {"gone", now.gone},
                              {"slow", now.slow},
                              {"evicted", now.evicted},
                              {"bytes_in", now.bytes_in},
                              {"bytes_out", now.bytes_out},
                              {"ever", now.connections_ever},
                              {"told", told_.load()},
                              {"open", open_.load()},
                              {"descriptors", open_descriptors()},
                              {"resident", platform::resident_bytes()}};
    HttpResponse response;
    response.body = json.dump();
    out.send(std::move(response));
  }

  std::atomic<int> open_{0};  // answers under way
  std::atomic<int> told_{0};  // calls of on_close
  Worker worker_;
};

bool set(HttpOptions& options, const std::string& name, const std::string& value) {
  HttpLimits& limits = options.limits;
  const auto size = [&](std::size_t& to) { to = std::stoul(value); };
  const auto time = [&](milliseconds& to) { to = milliseconds(std::stol(value)); };
  if (!options.tls && (name == "cert" || name == "private_key")) options.tls.emplace();
  const std::map<std::string, std::function<void()>> setters{
      {"line_bytes", [&] { size(limits.line_bytes); }},
      {"head_bytes", [&] { size(limits.head_bytes); }},
      {"fields", [&] { size(limits.fields); }},
      {"body_bytes", [&] { size(limits.body_bytes); }},
      {"bodies_bytes", [&] { size(limits.bodies_bytes); }},
      {"out_bytes", [&] { size(limits.out_bytes); }},
      {"outs_bytes", [&] { size(limits.outs_bytes); }},
      {"ahead_bytes", [&] { size(limits.ahead_bytes); }},
      {"body_rate", [&] { size(limits.body_rate); }},
      {"head_time", [&] { time(limits.head_time); }},
      {"body_time", [&] { time(limits.body_time); }},
      {"idle_time", [&] { time(limits.idle_time); }},
      {"stall_time", [&] { time(limits.stall_time); }},
      {"linger_time", [&] { time(limits.linger_time); }},
      {"connections", [&] { limits.connections = std::stoi(value); }},
      {"key", [&] { options.keys.push_back(value); }},
      {"origin", [&] { options.origins.push_back(value); }},
      {"host_name", [&] { options.host_names.push_back(value); }},
      {"host", [&] { options.host = value; }},
      {"port", [&] { options.port = static_cast<std::uint16_t>(std::stoul(value)); }},
      {"threads", [&] { options.threads = std::stoi(value); }},
      {"insecure", [&] { options.insecure = value == "1"; }},
      {"cert", [&] { options.tls->certificate = value; }},
      {"private_key", [&] { options.tls->private_key = value; }},
      {"files", [&] {
         for (int i = std::stoi(value); i > 0; --i) ::dup(STDERR_FILENO);
       }}};
  const auto setter = setters.find(name);
  if (setter != setters.end()) setter->second();
  return setter != setters.end();
}

}  // namespace

int main(int argc, char** argv) {
  HttpOptions options;
  options.port = 0;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    const std::size_t equals = word.find('=');
    if (equals == std::string::npos ||
        !set(options, word.substr(0, equals), word.substr(equals + 1))) {
      std::cerr << "echo_server: unknown option " << word << "\n";
      return 2;
    }
  }
  sigset_t ends;
  ::sigemptyset(&ends);
  ::sigaddset(&ends, SIGTERM);
  ::pthread_sigmask(SIG_BLOCK, &ends, nullptr);
  ::signal(SIGPIPE, SIG_IGN);
  Echo echo;
  auto started =
      HttpServer::start(options, [&](HttpRequest request, std::shared_ptr<Responder> out) {
        echo.serve(std::move(request), std::move(out));
      });
  if (!started) {
    std::cerr << "echo_server: error: " << started.error().message << "\n";
    return 2;
  }
  HttpServer& server = **started;
  echo.server = &server;
  echo.server.notify_all();
  std::cout << server.url() << std::endl;
  std::thread orphaned([] {
    char byte = 0;
    while (::read(STDIN_FILENO, &byte, 1) > 0) continue;
    ::kill(::getpid(), SIGTERM);
  });
  orphaned.detach();
  int signal = 0;
  ::sigwait(&ends, &signal);
  const bool whole = server.stop(after(std::chrono::seconds(10)));
  return whole ? 0 : 1;
}
