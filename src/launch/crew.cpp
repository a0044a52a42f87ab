#include "launch/crew.h"

#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <deque>
#include <optional>
#include <string_view>
#include <thread>
#include <utility>

#include "config/message.h"
#include "launch/process.h"

namespace tandem::launch {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

/// How often a worker is told that its launcher lives; it ends after a while without.
constexpr seconds kPulse{1};
/// How long one poll waits, at most.
constexpr milliseconds kPoll{100};
/// Between a worker's end and its next start: doubled from the first to the last.
constexpr seconds kPauseFirst{1};
constexpr seconds kPauseLast{10};
/// A worker that ran so long begins with the first pause again.
constexpr seconds kSteady{60};
/// For a started worker to answer, after the first time.
constexpr seconds kAnswer{30};
/// For a worker to end when asked, and after SIGTERM.
constexpr seconds kEnd{5};
constexpr seconds kTerminate{1};
/// Lines of a worker that an error quotes.
constexpr std::size_t kQuotedLines = 5;

/// Whole lines of what a descriptor gives; a longer one than kMaxLineBytes comes in pieces.
class Lines {
 public:
  template <class Take>
  void add(std::string_view bytes, const Take& take) {
    pending_ += bytes;
    for (std::size_t end; (end = pending_.find('\n')) != std::string::npos;) {
      take(pending_.substr(0, end));
      pending_.erase(0, end + 1);
    }
    if (pending_.size() > kMaxLineBytes) take(std::exchange(pending_, {}));
  }
  template <class Take>
  void end(const Take& take) {
    if (!pending_.empty()) take(std::exchange(pending_, {}));
  }

 private:
  std::string pending_;
};

struct Worker {
  Target target;
  Process process;
  Lines output;
  Lines error;
  std::deque<std::string> said;      // the last lines
  std::optional<WorkerReply> reply;  // of the process that runs
  bool runs = false;
  Clock::time_point since{};  // it started, or ended
  Clock::duration pause = kPauseFirst;
};

/// The last lines of a worker, for an error.
std::string quoted(const Worker& worker) {
  std::string text;
  for (const std::string& line : worker.said) text += (text.empty() ? "" : " | ") + line;
  return text.empty() ? "without a word" : text;
}

/// What most people have to mend, behind what the shell says.
std::string hint(const Worker& worker, std::string_view end) {
  if (worker.target.ssh.empty() || !end.ends_with("code 127")) return "";
  return " (no such program there: name it with --binary, or \"binary\" in the host file)";
}

}  // namespace

struct Crew::State {
  std::vector<Worker> workers;
  std::string executable;
  Say say;
  Clock::time_point next_pulse{};
  std::atomic<bool> ending{false};
  std::thread thread;

  Status start(Worker& worker);
  void pump(int wake);
  void read(std::size_t index, Fd& fd, bool is_output);
  void take(std::size_t index, const std::string& line, bool is_output);
  void pulse();
  void watch();
  void revive(std::size_t index);
  bool any_runs();
  void end();
  Status await(const std::vector<std::size_t>& started, Deadline deadline, int wake);
  Error dead(Worker& worker, const std::string& how) const;
};

Status Crew::State::start(Worker& worker) {
  worker.since = Clock::now();
  worker.reply.reset();
  worker.said.clear();
  auto process = Process::start(worker_command(worker.target, executable));
  if (!process)
    return Error{process.error().code, worker.target.name + ": " + process.error().message};
  worker.process = std::move(*process);
  worker.runs = true;
  // A pipe takes so much at once; what it does not take the worker misses, and says so.
  const std::string line = encode(worker.target.settings) + '\n';
  static_cast<void>(::write(worker.process.input.get(), line.data(), line.size()));
  return {};
}

void Crew::State::take(std::size_t index, const std::string& line, bool is_output) {
  Worker& worker = workers[index];
  if (is_output && !worker.reply) {
    auto reply = parse_reply(line);
    if (reply) {
      worker.reply = std::move(*reply);
      return;
    }
  }
  const std::string text = config::one_line(line);
  worker.said.push_back(text);
  if (worker.said.size() > kQuotedLines) worker.said.pop_front();
  say(index, text, false);
}

void Crew::State::read(std::size_t index, Fd& fd, bool is_output) {
  Lines& lines = is_output ? workers[index].output : workers[index].error;
  const auto take_line = [&](const std::string& line) { take(index, line, is_output); };
  char bytes[4096];
  const ssize_t count = ::read(fd.get(), bytes, sizeof bytes);
  if (count > 0) return lines.add({bytes, static_cast<std::size_t>(count)}, take_line);
  if (count < 0 && (errno == EAGAIN || errno == EINTR)) return;
  lines.end(take_line);
  fd.reset();
}

/// Reads what workers say, for kPoll at most.
void Crew::State::pump(int wake) {
  std::vector<pollfd> fds;
  std::vector<std::pair<std::size_t, bool>> owners;
  for (std::size_t i = 0; i < workers.size(); ++i) {
    for (const bool is_output : {true, false}) {
      const Fd& fd = is_output ? workers[i].process.output : workers[i].process.error;
      if (!fd.valid()) continue;
      fds.push_back({fd.get(), POLLIN, 0});
      owners.emplace_back(i, is_output);
    }
  }
  if (wake >= 0) fds.push_back({wake, POLLIN, 0});
  ::poll(fds.data(), static_cast<nfds_t>(fds.size()), static_cast<int>(kPoll.count()));
  for (std::size_t k = 0; k < owners.size(); ++k) {
    if (fds[k].revents == 0) continue;
    const auto [index, is_output] = owners[k];
    Process& process = workers[index].process;
    read(index, is_output ? process.output : process.error, is_output);
  }
  pulse();
}

void Crew::State::pulse() {
  const auto now = Clock::now();
  if (now < next_pulse) return;
  next_pulse = now + kPulse;
  for (Worker& worker : workers) {
    if (worker.process.input.valid()) {
      static_cast<void>(::write(worker.process.input.get(), "\n", 1));
    }
  }
}

Error Crew::State::dead(Worker& worker, const std::string& how) const {
  return {ErrorCode::kUnavailable, fmt::format("{}: the worker {}{}: {}", worker.target.name, how,
                                               hint(worker, how), quoted(worker))};
}

/// Until all of these have answered.
Status Crew::State::await(const std::vector<std::size_t>& started, Deadline deadline, int wake) {
  while (true) {
    bool all = true;
    for (const std::size_t index : started) {
      Worker& worker = workers[index];
      if (worker.reply) continue;
      all = false;
      // What it said before it ended is read first.
      const bool silent = !worker.process.output.valid() && !worker.process.error.valid();
      if (silent && worker.process.ended()) return dead(worker, *worker.process.ended());
      if (Clock::now() >= deadline) {
        return Error{ErrorCode::kDeadlineExceeded, fmt::format("{}: the worker does not answer: {}",
                                                               worker.target.name, quoted(worker))};
      }
    }
    if (all) return {};
    if (wake >= 0) {
      pollfd woken{wake, POLLIN, 0};
      if (::poll(&woken, 1, 0) > 0) return Error{ErrorCode::kCancelled, "interrupted"};
    }
    pump(wake);
  }
}

/// A worker that ended is started again after a pause, where it was.
void Crew::State::revive(std::size_t index) {
  Worker& worker = workers[index];
  const auto now = Clock::now();
  const bool late = worker.runs && !worker.reply && now - worker.since > kAnswer;
  if (late) worker.process.signal(SIGKILL);
  if (worker.runs && worker.process.ended()) {
    say(index, fmt::format("the worker {}: {}", *worker.process.ended(), quoted(worker)), true);
    worker.pause = now - worker.since > kSteady
                       ? Clock::duration(kPauseFirst)
                       : std::min<Clock::duration>(worker.pause * 2, kPauseLast);
    worker.runs = false;
    worker.since = now;
    return;
  }
  if (worker.runs || now - worker.since < worker.pause) return;
  if (auto started = start(worker); !started) {
    say(index, started.error().message, true);
  } else {
    say(index, "the worker is started again", true);
  }
}

void Crew::State::watch() {
  while (!ending) {
    pump(-1);
    for (std::size_t i = 0; i < workers.size() && !ending; ++i) revive(i);
  }
}

bool Crew::State::any_runs() {
  return std::ranges::any_of(workers,
                             [](Worker& worker) { return worker.runs && !worker.process.ended(); });
}

void Crew::State::end() {
  for (Worker& worker : workers) worker.process.input.reset();
  for (const auto& [wait, signal] : {std::pair(kEnd, SIGTERM), std::pair(kTerminate, SIGKILL)}) {
    for (const Deadline deadline = after(wait); any_runs() && Clock::now() < deadline;) pump(-1);
    for (Worker& worker : workers) worker.process.signal(signal);
  }
}

Crew::Crew(std::unique_ptr<State> state) : state_(std::move(state)) {
  state_->thread = std::thread([state = state_.get()] { state->watch(); });
}

Crew::~Crew() {
  state_->ending = true;
  state_->thread.join();
  state_->end();
}

Result<std::unique_ptr<Crew>> Crew::start(std::vector<Target> targets, std::string executable,
                                          Deadline deadline, int wake, Say say) {
  auto state = std::make_unique<State>();
  state->executable = std::move(executable);
  state->say = std::move(say);
  for (Target& target : targets) {
    Status allowed = target.ssh.empty() ? Status() : check_destination(target.ssh);
    if (allowed.ok() && !target.binary.empty()) allowed = check_binary(target.binary);
    if (!allowed.ok()) return invalid(target.name + ": " + allowed.error().message);
    state->workers.emplace_back().target = std::move(target);
  }
  std::string here;  // as other machines see this one
  for (const bool remote : {true, false}) {
    std::vector<std::size_t> started;
    Status status;
    for (std::size_t i = 0; i < state->workers.size() && status.ok(); ++i) {
      Worker& worker = state->workers[i];
      if (worker.target.ssh.empty() == remote) continue;
      if (!remote && worker.target.settings.address.empty()) worker.target.settings.address = here;
      status = state->start(worker);
      started.push_back(i);
    }
    if (status.ok()) status = state->await(started, deadline, wake);
    if (!status.ok()) {
      state->end();
      return status.error();
    }
    for (const std::size_t i : started) {
      const WorkerReply& reply = *state->workers[i].reply;
      if (here.empty()) here = reply.peer;
      state->workers[i].target.settings.address = reply.address;
      state->workers[i].target.settings.port = reply.port;
    }
  }
  return std::unique_ptr<Crew>(new Crew(std::move(state)));
}

std::vector<config::Host> Crew::hosts() const {
  std::vector<config::Host> hosts;
  for (const Worker& worker : state_->workers) {
    hosts.push_back({worker.target.settings.address, worker.target.settings.port, {}});
  }
  return hosts;
}

}  // namespace tandem::launch
