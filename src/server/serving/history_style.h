#pragma once
// How a chat template wants the calls of earlier turns.

#include <functional>
#include <string>

#include "tandem/error.h"

namespace tandem::server {

/// Templates disagree: most want a call's arguments as an object, some join them as text (DeepSeek,
/// Functionary), some show calls only of a message whose content is none (DeepSeek V3, R1).
struct HistoryStyle {
  bool null_content = false;    // a message of calls alone has the content null, not ""
  bool text_arguments = false;  // arguments are JSON text, not an object
  bool calls_apart = false;     // a message of text and calls is two, or the calls would vanish
};

/// Renders a conversation (a JSON list of messages).
using RenderHistory = std::function<Result<std::string>(const std::string& messages)>;

/// The first style in which a call of an earlier turn comes out whole, tried with a call of our
/// own; the default one when none does. Renders up to ten times.
HistoryStyle probe_history(const RenderHistory& render);

/// The messages of a request (arguments as text) in a style. Arguments that are no JSON object stay
/// text; blanks and null are an empty object.
std::string in_style(const HistoryStyle& style, const std::string& messages);

}  // namespace tandem::server
