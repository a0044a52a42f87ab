#include "cli/model_folder.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cstddef>
#include <system_error>

#include "cli/values.h"
#include "config/json.h"

namespace tandem::cli {
namespace fs = std::filesystem;
namespace {

constexpr std::size_t kRepoIdMax = 96;  // characters, the hub's own limit
constexpr std::size_t kRefBytesMax = 256;

bool is_folder(const fs::path& path) {
  std::error_code error;
  return fs::is_directory(path, error);
}

bool is_plain_name(std::string_view name) {
  if (name.empty() || name == "." || name == "..") return false;
  return std::all_of(name.begin(), name.end(), [](unsigned char c) {
    return std::isalnum(c) != 0 || c == '-' || c == '_' || c == '.';
  });
}

/// "owner/name" or an old plain "name".
bool is_repo_id(std::string_view text) {
  if (text.size() > kRepoIdMax) return false;
  const std::size_t slash = text.find('/');
  if (slash == std::string_view::npos) return is_plain_name(text);
  return is_plain_name(text.substr(0, slash)) && is_plain_name(text.substr(slash + 1));
}

/// The snapshot that refs/main names.
Result<fs::path> snapshot(const fs::path& repo) {
  const fs::path ref = repo / "refs" / "main";
  auto text = config::read_text_file(ref, kRefBytesMax);
  if (!text) return text.error();
  while (!text->empty() && std::isspace(static_cast<unsigned char>(text->back())) != 0) {
    text->pop_back();
  }
  if (!is_plain_name(*text)) {
    return invalid(fmt::format("{}: must name a snapshot, not {}", ref.string(), in_quotes(*text)));
  }
  const fs::path folder = repo / "snapshots" / *text;
  if (is_folder(folder)) return folder;
  return Error{ErrorCode::kNotFound,
               fmt::format("{} names the snapshot {}, which is not there", ref.string(), *text)};
}

Result<fs::path> embedded_model(const Environment& environment) {
  const fs::path installed =
      environment.executable.parent_path().parent_path() / "share/tandem/models/tandem-demo";
  const fs::path source = fs::path(TANDEM_SOURCE_DIR) / "models/tandem-demo";
  for (const fs::path& folder : {installed, source}) {
    if (is_folder(folder)) return folder;
  }
  return Error{ErrorCode::kNotFound,
               fmt::format("no MODEL given, and the embedded model is neither at {} nor at {}",
                           installed.lexically_normal().string(), source.string())};
}

}  // namespace

fs::path hub_cache(const Environment& environment) {
  if (!environment.hf_hub_cache.empty()) return environment.hf_hub_cache;
  if (!environment.huggingface_hub_cache.empty()) return environment.huggingface_hub_cache;
  if (!environment.hf_home.empty()) return fs::path(environment.hf_home) / "hub";
  if (!environment.xdg_cache_home.empty()) {
    return fs::path(environment.xdg_cache_home) / "huggingface/hub";
  }
  if (environment.home.empty()) return {};
  return fs::path(environment.home) / ".cache/huggingface/hub";
}

Result<fs::path> find_model(std::string_view model, const Environment& environment) {
  if (model.empty()) return embedded_model(environment);
  // Paths travel to other hosts in messages of text.
  if (!is_utf8(model))
    return invalid(fmt::format("MODEL {}: must be valid UTF-8", in_quotes(model)));
  const fs::path given{std::string(model)};
  if (is_folder(given)) return given;
  std::error_code ignored;
  if (fs::exists(given, ignored)) {
    return invalid(fmt::format("MODEL {}: is a file; it must be a model folder", in_quotes(model)));
  }
  if (!is_repo_id(model)) {
    return Error{ErrorCode::kNotFound, fmt::format("MODEL {}: no such folder", in_quotes(model))};
  }
  const fs::path cache = hub_cache(environment);
  std::string name = "models--" + std::string(model);
  if (const std::size_t slash = name.find('/'); slash != std::string::npos) {
    name.replace(slash, 1, "--");
  }
  const fs::path repo = cache / name;
  if (!cache.empty() && is_folder(repo)) return snapshot(repo);
  return Error{ErrorCode::kNotFound,
               fmt::format("MODEL {}: no such folder here, and the Hugging Face cache has no {}",
                           in_quotes(model), cache.empty() ? name : repo.string())};
}

}  // namespace tandem::cli
