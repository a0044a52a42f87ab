#pragma once
// The routes that need the tokenizer and the chat template alone.

#include <memory>
#include <string>

#include "server/serving/service.h"

namespace tandem::server {

/// As answer_chat(): read, check, answer.
void answer_tokenize(const Service& service, const std::string& body, int key,
                     std::shared_ptr<RecordedAnswer> answer);
void answer_detokenize(const Service& service, const std::string& body, int key,
                       std::shared_ptr<RecordedAnswer> answer);
void answer_apply_template(const Service& service, const std::string& body, int key,
                           std::shared_ptr<RecordedAnswer> answer);

}  // namespace tandem::server
