#pragma once
// Holds outputs to a grammar.

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "scheduler/constraint.h"
#include "server/api/chat_request.h"
#include "server/serving/model_text.h"
#include "tandem/error.h"
#include "text/grammar.h"

namespace tandem::server {

/// Follows one sequence through a grammar.
class GrammarConstraint final : public scheduler::TokenConstraint {
 public:
  explicit GrammarConstraint(text::GrammarMatcher matcher) : matcher_(std::move(matcher)) {}

  Result<std::vector<std::uint32_t>> allowed() override { return matcher_.allowed(); }
  Status accept(std::int32_t token) override { return matcher_.accept(token); }
  bool complete() const override { return matcher_.complete(); }

 private:
  text::GrammarMatcher matcher_;
};

/// A grammar and the field it came from, for errors.
struct NamedGrammar {
  std::optional<text::Grammar> grammar;  // none: the output is free
  std::string param;
  Status status;  // why there is none although one was asked for
};

/// The grammar that a chat asks for by its format, its structured outputs or its tools.
/// `starts_in_reasoning`: the prompt ends inside a reasoning block. kInvalidArgument: a schema,
/// pattern or grammar breaks a rule; `param` says which.
NamedGrammar chat_grammar(const ModelText& text, const ChatRequest& request,
                          bool starts_in_reasoning);

}  // namespace tandem::server
