#include "server/http/outgoing.h"

#include <fmt/format.h>

#include <ctime>
#include <utility>

#include "server/http/refusal.h"

namespace tandem::server {

Outgoing::Outgoing(AnswerStyle style, std::size_t out_bytes_max, std::shared_ptr<ByteBudget> outs,
                   std::function<void()> wake)
    : style_(std::move(style)),
      out_bytes_max_(out_bytes_max),
      outs_(std::move(outs)),
      wake_(std::move(wake)) {}

Outgoing::~Outgoing() { outs_->give_back(unsent_); }

void Outgoing::put(std::string_view bytes) {
  pending_.append(bytes);
  unsent_ += bytes.size();
  outs_->add(bytes.size());
}

void Outgoing::put_piece(std::string_view piece) {
  // An empty chunk would end the body.
  if (piece.empty() || style_.head_only) return;
  if (style_.http10) return put(piece);
  put(fmt::format("{:x}\r\n", piece.size()));
  put(piece);
  put("\r\n");
}

void Outgoing::wake() {
  if (awake_ || !wake_) return;
  awake_ = true;
  wake_();
}

void Outgoing::send(HttpResponse response) {
  const std::lock_guard lock(mutex_);
  if (closed_ || state_ != State::kWaiting) return;
  state_ = State::kEnded;
  // One large body is the routes' choice; many, each held for a client that does not take it, are
  // an attack.
  const bool large = response.body.size() > out_bytes_max_;
  const bool fits = !large || outs_->take(response.body.size());
  if (!fits) {
    response = answer_of(not_now("too many answers wait for slow clients; try again later", 1));
  } else if (large) {
    outs_->give_back(response.body.size());  // put() counts it
  }
  put(response_head(response, style_, response.body.size(), std::time(nullptr)));
  if (has_body(response.status) && !style_.head_only) put(response.body);
  wake();
}

void Outgoing::begin(HttpResponse response) {
  const std::lock_guard lock(mutex_);
  if (closed_ || state_ != State::kWaiting) return;
  state_ = State::kBegun;
  put(response_head(response, style_, std::nullopt, std::time(nullptr)));
  put_piece(response.body);
  wake();
}

bool Outgoing::write(std::string piece) {
  const std::lock_guard lock(mutex_);
  if (closed_ || too_slow_ || state_ != State::kBegun) return false;
  const bool full = unsent_ + piece.size() > out_bytes_max_ || !outs_->take(piece.size());
  if (unsent_ > 0 && full) {
    too_slow_ = true;
    // Also when it was woken before: it may be stuck in a write that the client does not take.
    if (wake_) wake_();
    return false;
  }
  if (!full) outs_->give_back(piece.size());  // put() counts it together with its chunk's frame
  put_piece(piece);
  wake();
  return true;
}

void Outgoing::end() {
  const std::lock_guard lock(mutex_);
  if (closed_ || state_ != State::kBegun) return;
  state_ = State::kEnded;
  if (!style_.http10 && !style_.head_only) put("0\r\n\r\n");
  wake();
}

void Outgoing::abandon() {
  {
    const std::lock_guard lock(mutex_);
    if (closed_ || too_slow_) return;
    if (state_ == State::kBegun) {
      state_ = State::kCut;
      wake();
    }
  }
  send(answer_of({500, "the request was dropped without an answer"}));
}

bool Outgoing::closed() const {
  const std::lock_guard lock(mutex_);
  return closed_ || too_slow_;
}

void Outgoing::on_close(std::function<void()> gone) {
  {
    const std::lock_guard lock(mutex_);
    if (state_ == State::kEnded) return;
    if (!closed_) {
      gone_.swap(gone);
      return;
    }
  }
  if (gone) gone();
}

Outgoing::Taken Outgoing::take() {
  const std::lock_guard lock(mutex_);
  awake_ = false;
  Taken taken;
  taken.bytes.swap(pending_);
  taken.last = state_ == State::kEnded || state_ == State::kCut;
  taken.keep_alive = style_.keep_alive && state_ == State::kEnded;
  return taken;
}

void Outgoing::sent(std::size_t bytes) {
  const std::lock_guard lock(mutex_);
  if (closed_) return;
  unsent_ -= bytes;
  outs_->give_back(bytes);
}

bool Outgoing::ended() const {
  const std::lock_guard lock(mutex_);
  return state_ == State::kEnded || state_ == State::kCut;
}

bool Outgoing::too_slow() const {
  const std::lock_guard lock(mutex_);
  return too_slow_;
}

void Outgoing::close() {
  std::unique_lock lock(mutex_);
  std::function<void()> gone;
  std::function<void()> wake;
  std::string pending;
  gone_.swap(gone);
  wake_.swap(wake);
  pending_.swap(pending);
  outs_->give_back(std::exchange(unsent_, 0));
  const bool tell = !closed_ && (state_ == State::kWaiting || state_ == State::kBegun);
  closed_ = true;
  lock.unlock();
  if (tell && gone) gone();
}

namespace {

class OutgoingEnd final : public Responder {
 public:
  OutgoingEnd(std::shared_ptr<Outgoing> answer, std::shared_ptr<void> held)
      : answer_(std::move(answer)), held_(std::move(held)) {}
  ~OutgoingEnd() override { answer_->abandon(); }

  void send(HttpResponse response) override {
    held_.reset();
    answer_->send(std::move(response));
  }
  void begin(HttpResponse response) override {
    held_.reset();
    answer_->begin(std::move(response));
  }
  bool write(std::string piece) override { return answer_->write(std::move(piece)); }
  void end() override { answer_->end(); }
  bool closed() const override { return answer_->closed(); }
  void on_close(std::function<void()> gone) override { answer_->on_close(std::move(gone)); }

 private:
  std::shared_ptr<Outgoing> answer_;
  std::shared_ptr<void> held_;
};

}  // namespace

std::shared_ptr<Responder> make_responder(std::shared_ptr<Outgoing> answer,
                                          std::shared_ptr<void> held) {
  return std::make_shared<OutgoingEnd>(std::move(answer), std::move(held));
}

}  // namespace tandem::server
