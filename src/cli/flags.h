#pragma once
// Groups of flags that several commands share, bound to their options.

#include <CLI/CLI.hpp>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "cli/options.h"
#include "rules/sampling.h"
#include "tandem/error.h"

namespace tandem::cli {

/// A subcommand whose help ends with examples.
CLI::App* add_command(CLI::App& app, const std::string& name, const std::string& help,
                      const std::string& examples);
/// `bench`, `bench memory` and `bench link`.
CLI::App* add_bench_commands(CLI::App& app, BenchOptions& options, BenchMemoryOptions& memory,
                             BenchLinkOptions& link);
/// `bench serve`, below `bench`.
void add_bench_serve(CLI::App& bench, BenchServeOptions& options);

/// A flag whose text `read` turns into a value; what it refuses becomes "--flag: rule".
CLI::Option* value_flag(CLI::App& app, const std::string& names, const std::string& help,
                        std::function<Status(const std::string&)> read);
/// Text for the model: must be UTF-8.
CLI::Option* text_flag(CLI::App& app, const std::string& names, std::optional<std::string>& target,
                       const std::string& help);
/// --seed; absent: another one each time.
CLI::Option* seed_flag(CLI::App& app, std::optional<std::uint64_t>& target,
                       const std::string& help);
/// A whole number in [min, max]; help shows the current value of `target` as the default.
CLI::Option* integer_flag(CLI::App& app, const std::string& names, int& target, std::int64_t min,
                          std::int64_t max, const std::string& help);
/// A number of a range.
CLI::Option* real_flag(CLI::App& app, const std::string& names, float& target,
                       const rules::Range& range, const std::string& help);
/// One of the named values.
template <class T>
CLI::Option* choice_flag(CLI::App& app, const std::string& names, const std::string& help,
                         std::vector<std::pair<std::string, T>> choices,
                         std::function<void(T)> store);

/// A size such as 500M or 4G, more than 0.
Status read_size(const std::string& text, std::uint64_t& bytes);
/// --transport and --mlx-backend.
void add_transport_flags(CLI::App& app, cluster::TransportKind& transport, std::string& backend);
/// --hosts and --hostfile.
void add_hosts_flags(CLI::App& app, std::string& hosts, std::string& hostfile);
/// --layers; `otherwise`: what stands without it.
void add_layers_flag(CLI::App& app, std::vector<LayerRange>& layers, const std::string& otherwise);
/// MODEL.
void add_model_argument(CLI::App& app, std::string& model);
/// MODEL, --ranks, --hosts, --device and what else every command that loads a model takes.
/// `security`: how the cluster's security flags begin; see add_security_flags().
void add_model_flags(CLI::App& app, ModelOptions& options, const std::string& security = "--");
/// --cluster-key-file, --tls-cert, --tls-key, --tls-ca, --insecure; all but the first begin with
/// `prefix`, "--cluster-" where a command has such flags of its own.
void add_security_flags(CLI::App& app, cluster::SecurityOptions& options,
                        const std::string& prefix = "--");
/// `launch`.
void add_launch(CLI::App& app, LaunchOptions& options);
/// Of `tandem serve`.
void add_serve_flags(CLI::App& app, ServeOptions& options);
/// --temp, --top-p, ..., --max-tokens. `options.max_tokens` holds the default.
void add_sampling_flags(CLI::App& app, SamplingOptions& options);
/// --system-prompt, --chat-template-config.
void add_template_flags(CLI::App& app, TemplateOptions& options);

template <class T>
CLI::Option* choice_flag(CLI::App& app, const std::string& names, const std::string& help,
                         std::vector<std::pair<std::string, T>> choices,
                         std::function<void(T)> store) {
  std::string list;
  for (const auto& [name, value] : choices) list += (list.empty() ? "" : "|") + name;
  auto read = [choices = std::move(choices), store = std::move(store),
               list](const std::string& text) -> Status {
    for (const auto& [name, value] : choices) {
      if (name != text) continue;
      store(value);
      return {};
    }
    return invalid("must be " + list + ", not \"" + text + "\"");
  };
  return value_flag(app, names, help, std::move(read))->type_name(list);
}

}  // namespace tandem::cli
