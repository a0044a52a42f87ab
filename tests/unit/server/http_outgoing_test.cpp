// An answer between the routes and the connection, without sockets; keys and heads of answers.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <thread>
#include <utility>

#include "server/http/api_keys.h"
#include "server/http/gate.h"
#include "server/http/outgoing.h"
#include "server/http/response_head.h"

namespace tandem::server {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

struct Fixture {
  explicit Fixture(AnswerStyle style = {}, std::size_t out = 1000, std::size_t outs = 10000)
      : budget(std::make_shared<ByteBudget>(outs)),
        answer(std::make_shared<Outgoing>(std::move(style), out, budget, [this] { ++wakes; })) {}
  std::string take() {
    auto taken = answer->take();
    answer->sent(taken.bytes.size());
    last = taken.last;
    keep_alive = taken.keep_alive;
    return taken.bytes;
  }
  int wakes = 0;
  bool last = false;
  bool keep_alive = false;
  std::shared_ptr<ByteBudget> budget;
  std::shared_ptr<Outgoing> answer;
};

HttpResponse text(std::string body) {
  HttpResponse response;
  response.body = std::move(body);
  return response;
}

TEST(Outgoing, PiecesAreChunksAndWakeOnceUntilTaken) {
  Fixture fixture;
  fixture.answer->begin(text("first"));
  EXPECT_TRUE(fixture.answer->write("second"));
  EXPECT_TRUE(fixture.answer->write(""));
  EXPECT_EQ(fixture.wakes, 1);
  EXPECT_THAT(fixture.take(), EndsWith("\r\n\r\n5\r\nfirst\r\n6\r\nsecond\r\n"));
  EXPECT_FALSE(fixture.last);
  fixture.answer->end();
  EXPECT_EQ(fixture.wakes, 2);
  EXPECT_EQ(fixture.take(), "0\r\n\r\n");
  EXPECT_TRUE(fixture.last && fixture.keep_alive);
  EXPECT_EQ(fixture.budget->used(), 0u);
}

TEST(Outgoing, TheFirstAnswerCounts) {
  Fixture fixture;
  fixture.answer->send(text("one"));
  fixture.answer->send(text("two"));
  fixture.answer->begin(text("three"));
  EXPECT_FALSE(fixture.answer->write("four"));
  const std::string bytes = fixture.take();
  EXPECT_THAT(bytes, EndsWith("\r\n\r\none"));
}

TEST(Outgoing, AResponderDroppedWithoutAnswerSends500) {
  Fixture fixture;
  make_responder(fixture.answer).reset();
  EXPECT_THAT(fixture.take(), StartsWith("HTTP/1.1 500 "));
  EXPECT_TRUE(fixture.last);
}

TEST(Outgoing, AnAnswerDroppedInTheMiddleIsCutAndTheConnectionToo) {
  Fixture fixture;
  auto responder = make_responder(fixture.answer);
  responder->begin(text("begun"));
  responder.reset();
  EXPECT_THAT(fixture.take(), EndsWith("begun\r\n"));
  EXPECT_TRUE(fixture.last);
  EXPECT_FALSE(fixture.keep_alive);
}

TEST(Outgoing, ASlowClientsBytesAreBoundedAndItsRouteIsTold) {
  Fixture fixture;
  int gone = 0;
  auto responder = make_responder(fixture.answer);
  responder->on_close([&] { ++gone; });
  responder->begin(text(""));
  int pieces = 0;
  while (responder->write(std::string(100, 'x'))) ++pieces;
  EXPECT_GT(pieces, 3);
  EXPECT_LT(pieces, 10);
  EXPECT_LE(fixture.budget->used(), 1100u);
  EXPECT_TRUE(responder->closed());
  EXPECT_TRUE(fixture.answer->too_slow());
  responder.reset();
  EXPECT_EQ(gone, 0) << "told from a thread of the server, not inside write()";
  fixture.answer->close();
  EXPECT_EQ(gone, 1);
  EXPECT_EQ(fixture.budget->used(), 0u);
}

TEST(Outgoing, AConnectionStuckInAWriteIsWokenForASlowClient) {
  Fixture fixture;
  fixture.answer->begin(text(""));
  fixture.answer->take();
  fixture.answer->write("woken for this, and stuck before it takes it");
  const int before = fixture.wakes;
  while (fixture.answer->write(std::string(100, 'x'))) continue;
  EXPECT_GT(fixture.wakes, before);
}

TEST(Outgoing, OneLargePieceMayPassWhenTheClientHasTakenTheRest) {
  Fixture fixture;
  fixture.answer->begin(text(""));
  fixture.take();
  EXPECT_TRUE(fixture.answer->write(std::string(50000, 'x')));
  EXPECT_FALSE(fixture.answer->write("x"));
}

TEST(Outgoing, ALargeAnswerThatTheSharedBudgetCannotHoldIs503) {
  Fixture fixture;
  fixture.budget->add(9000);
  fixture.answer->send(text(std::string(2000, 'x')));
  EXPECT_THAT(fixture.take(), StartsWith("HTTP/1.1 503 "));
  EXPECT_EQ(fixture.budget->used(), 9000u);
}

TEST(Outgoing, TheCallbackComesOnceAndAtOnceWhenTheClientIsGoneAlready) {
  Fixture fixture;
  int first = 0;
  int second = 0;
  fixture.answer->on_close([&] { ++first; });
  fixture.answer->on_close([&] { ++second; });
  fixture.answer->close();
  fixture.answer->close();
  EXPECT_EQ(first, 0) << "a later callback replaces it";
  EXPECT_EQ(second, 1);
  fixture.answer->on_close([&] { ++first; });
  EXPECT_EQ(first, 1);
  EXPECT_FALSE(fixture.answer->write("x"));
  EXPECT_TRUE(fixture.answer->closed());
}

TEST(Outgoing, NobodyIsToldAfterTheAnswerHasEnded) {
  Fixture fixture;
  int gone = 0;
  fixture.answer->on_close([&] { ++gone; });
  fixture.answer->send(text("done"));
  fixture.answer->close();
  EXPECT_EQ(gone, 0);
}

TEST(Outgoing, WritersAndTheConnectionMayBeDifferentThreads) {
  Fixture fixture({}, 1 << 20, 1 << 24);
  fixture.answer->begin(text(""));
  std::thread writer([&] {
    for (int i = 0; i < 20000; ++i) fixture.answer->write("0123456789");
    fixture.answer->end();
  });
  std::size_t bytes = 0;
  while (!fixture.last) bytes += fixture.take().size();
  writer.join();
  EXPECT_GT(bytes, 20000u * 15);
  EXPECT_EQ(fixture.budget->used(), 0u);
}

TEST(Outgoing, HeadRequestsHaveNoBodyAndOldClientsNoChunks) {
  Fixture head({.id = "i", .head_only = true});
  head.answer->send(text("12345"));
  const std::string bytes = head.take();
  EXPECT_THAT(bytes, HasSubstr("Content-Length: 5\r\n"));
  EXPECT_THAT(bytes, EndsWith("\r\n\r\n"));
  Fixture old({.id = "i", .http10 = true, .keep_alive = false});
  old.answer->begin(text("abc"));
  old.answer->end();
  const std::string plain = old.take();
  EXPECT_THAT(plain, Not(HasSubstr("chunked")));
  EXPECT_THAT(plain, EndsWith("Connection: close\r\n\r\nabc"));
}

TEST(ResponseHead, HasADateAndNoForgedLines) {
  HttpResponse response;
  response.headers = {{"A", "b\r\nSet-Cookie: c\x01"}};
  const std::string head = response_head(response, {.id = "id"}, 0, 784111777);
  EXPECT_THAT(head, HasSubstr("Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"));
  EXPECT_THAT(head, HasSubstr("A: b  Set-Cookie: c \r\n"));
  response.status = 204;
  EXPECT_THAT(response_head(response, {}, 0, 0), Not(HasSubstr("Content-")));
}

TEST(ApiKeys, EveryKeyIsFoundAndNothingElse) {
  const ApiKeys keys({"alpha", "beta", "gamma"});
  EXPECT_EQ(keys.find("alpha"), 0);
  EXPECT_EQ(keys.find("gamma"), 2);
  for (const char* wrong : {"", "alph", "alphaa", "Alpha", "alphabeta"}) {
    EXPECT_EQ(keys.find(wrong), -1) << wrong;
  }
  EXPECT_EQ(ApiKeys({}).find(""), -1);
}

TEST(Gate, AnEmptyKeyNeverOpens) {
  HttpOptions options;
  options.keys = {""};
  EXPECT_FALSE(check_options(options).ok());
}

}  // namespace
}  // namespace tandem::server
