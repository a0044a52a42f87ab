#pragma once
// MODEL on the command line -> a folder.

#include <filesystem>
#include <string>
#include <string_view>

#include "cli/environment.h"
#include "tandem/error.h"

namespace tandem::cli {

/// A folder as given; or "owner/name", found in the local Hugging Face cache as its snapshot of
/// "main"; or, when `model` is empty, the model that comes with the program. kNotFound says where
/// it looked.
Result<std::filesystem::path> find_model(std::string_view model, const Environment& environment);

/// Hugging Face's cache folder, by its own rules; empty when neither variable nor HOME is set.
std::filesystem::path hub_cache(const Environment& environment);

}  // namespace tandem::cli
