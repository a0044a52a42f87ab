// The flags of `tandem serve`.

#include <fmt/format.h>

#include <string>

#include "cli/flags.h"
#include "cli/values.h"
#include "config/sizes.h"

namespace tandem::cli {
namespace {

/// A number that is absent unless given.
template <class T>
void default_flag(CLI::App& app, const std::string& name, std::optional<T>& target, double min,
                  double max, const std::string& help) {
  value_flag(app, name, help, [&target, min, max](const std::string& text) -> Status {
    auto value = parse_real(text, min, max);
    if (!value) return value.error();
    target = static_cast<T>(*value);
    return {};
  })->type_name("X [the model's]");
}

void add_network_flags(CLI::App& app, ServeOptions& options) {
  server::HttpOptions& http = options.gateway.http;
  app.add_option("--host", http.host, "Address to listen at")->type_name("HOST [127.0.0.1]");
  value_flag(app, "--port", "Port to listen at; 0: any free one",
             [&http](const std::string& text) -> Status {
               auto port = parse_integer(text, 0, 65535);
               if (!port) return port.error();
               http.port = static_cast<std::uint16_t>(*port);
               return {};
             })
      ->type_name(fmt::format("PORT [{}]", http.port));
  app.add_option("--api-key", options.api_keys,
                 "Key that clients must bring; other users of this machine can see it")
      ->type_name("KEY")
      ->expected(1, limits::kApiKeysMax);
  app.add_option("--api-key-file", options.api_key_file, "File with such keys, one a line")
      ->type_name("FILE");
  app.add_flag("--insecure", http.insecure, "Listen beyond loopback without a key")
      ->disable_flag_override();
  app.add_option("--tls-cert", options.tls_cert, "Certificate chain of the server (PEM): https")
      ->type_name("FILE");
  app.add_option("--tls-key", options.tls_key, "Its private key (PEM)")->type_name("FILE");
  app.add_option("--allowed-origins", http.origins,
                 "Web pages of other servers that may call this one; *: all, needs a key")
      ->type_name("ORIGIN")
      ->delimiter(',');
  app.add_option("--allowed-hosts", http.host_names,
                 "Further names of this machine, where there are no keys")
      ->type_name("NAME")
      ->delimiter(',');
}

void add_default_flags(CLI::App& app, server::GatewayOptions& gateway) {
  default_flag(app, "--temp", gateway.temperature, 0, 2, "Temperature of requests that give none");
  default_flag(app, "--top-p", gateway.top_p, 1e-6, 1, "top_p of requests that give none");
  default_flag(app, "--min-p", gateway.min_p, 0, 0.999999, "min_p of requests that give none");
  value_flag(app, "--top-k", "top_k of requests that give none",
             [&gateway](const std::string& text) -> Status {
               auto value = parse_integer(text, 0, limits::kTopKMax);
               if (!value) return value.error();
               gateway.top_k = static_cast<int>(*value);
               return {};
             })
      ->type_name("N [the model's]");
  integer_flag(app, "--max-tokens", gateway.chat_max_tokens, 0, limits::kMaxTokensMax,
               "Tokens of a chat's answer that gives no limit; 0: until the context is full");
}

void add_limit_flags(CLI::App& app, ServeOptions& options) {
  server::GatewayOptions& gateway = options.gateway;
  server::RequestLimits& request = gateway.limits;
  integer_flag(app, "--max-context", gateway.engine.engine.context_max, 0, limits::kMaxTokensMax,
               "Tokens of prompt and answer together; 0: the model's own limit");
  integer_flag(app, "--max-sequences", gateway.engine.engine.sequences_max, 1,
               limits::kSequencesMax, "Answers computed at once");
  integer_flag(
      app, "--mixed-rows", gateway.engine.engine.mixed_rows, 0, limits::kPrefillStepMax,
      "Prompt tokens in a step while others answer; 0: while it takes at most twice as long");
  value_flag(
      app, "--prompt-cache-bytes",
      "KV kept for prompts that begin alike, all ranks together, such as 500M or 4G; 0: none",
      [&gateway](const std::string& text) -> Status {
        auto bytes = config::parse_bytes(text);
        if (!bytes) return bytes.error();
        gateway.engine.engine.prefix_bytes = *bytes;
        return {};
      })
      ->type_name("BYTES [what running answers leave]");
  value_flag(app, "--max-waiting", "Answers that may wait for that; more: 429",
             [&gateway](const std::string& text) -> Status {
               auto value = parse_integer(text, 1, limits::kWaitingMax);
               if (!value) return value.error();
               gateway.engine.waiting_max = static_cast<std::uint64_t>(*value);
               return {};
             })
      ->type_name(fmt::format("N [{}]", gateway.engine.waiting_max));
  integer_flag(app, "--max-per-key", gateway.requests_per_key, 0, limits::kPerKeyMax,
               "Requests of one key under way at once; 0: no limit");
  value_flag(app, "--max-body", "Body of a request", [&gateway](const std::string& text) -> Status {
    auto value = parse_integer(text, 1, limits::kBodyMegabytesMax);
    if (!value) return value.error();
    gateway.http.limits.body_bytes = static_cast<std::size_t>(*value) << 20;
    return {};
  })->type_name(fmt::format("MIB [{}]", gateway.http.limits.body_bytes >> 20));
  integer_flag(app, "--max-prompt", request.prompt_tokens_max, 0, limits::kMaxTokensMax,
               "Tokens of a prompt; 0: what the context has room for");
  integer_flag(app, "--max-n", request.choices_max, 1, limits::kChoicesMax,
               "Choices of a request: prompts times n");
  integer_flag(app, "--max-stop", request.stop_max, 1, limits::kStopMax,
               "Stop strings of a request");
  integer_flag(app, "--drain-timeout", options.drain_seconds, 0, limits::kDrainSecondsMax,
               "Seconds that running answers have after SIGTERM");
  integer_flag(app, "--recovery-timeout", options.recovery_seconds, 0, limits::kRecoverySecondsMax,
               "Seconds that requests wait when a rank was lost, 0: for ever");
}

}  // namespace

void add_serve_flags(CLI::App& app, ServeOptions& options) {
  add_network_flags(app, options);
  app.add_option("--model-name", options.model_names,
                 "What clients call the model [MODEL's own name]; further names may follow")
      ->type_name("NAME")
      ->expected(1, 16);
  add_default_flags(app, options.gateway);
  add_limit_flags(app, options);
  app.add_flag("--log-json", options.log_json, "Log lines are JSON objects")
      ->disable_flag_override();
  app.add_flag("--log-prompts", options.gateway.log_prompts, "Log the text of prompts")
      ->disable_flag_override();
}

}  // namespace tandem::cli
