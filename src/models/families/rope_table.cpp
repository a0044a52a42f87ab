#include "models/families/rope_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <string>
#include <vector>

namespace tandem::models::families {
namespace {

using config::FieldReader;

/// Inverse frequencies before they become float.
using Table = std::vector<double>;

Table plain(int dims, double theta) {
  Table table(static_cast<std::size_t>(dims / 2));
  for (std::size_t i = 0; i < table.size(); ++i) {
    table[i] = std::pow(theta, -2.0 * static_cast<double>(i) / dims);
  }
  return table;
}

int original_context(FieldReader& parameters, const RopeGeometry& geometry) {
  const int fallback =
      geometry.original_context > 0 ? geometry.original_context : geometry.context_max;
  return parameters.integer_or("original_max_position_embeddings", fallback, 1, kMaxContext);
}

void scale_linear(FieldReader& parameters, Table& table) {
  const double factor = parameters.number("factor", 1e-3, 1e6);
  for (double& frequency : table) frequency /= factor;
}

void scale_llama3(FieldReader& parameters, const RopeGeometry& geometry, Table& table) {
  const double factor = parameters.number("factor", 1e-3, 1e6);
  const double low = parameters.number_or("low_freq_factor", 1, 1e-3, 1e6);
  const double high = parameters.number_or("high_freq_factor", 4, 1e-3, 1e6);
  const double original = original_context(parameters, geometry);
  if (high <= low) {
    parameters.fail("high_freq_factor",
                    fmt::format("must be greater than low_freq_factor {}", low));
    return;
  }
  for (double& frequency : table) {
    const double turns = original * frequency / (2 * std::numbers::pi);  // within the old context
    const double kept = std::clamp((turns - low) / (high - low), 0.0, 1.0);
    frequency *= (1 - kept) / factor + kept;
  }
}

double mscale(double factor, double weight) {
  return factor <= 1 ? 1.0 : 0.1 * weight * std::log(factor) + 1.0;
}

/// Absent: what the context grew by.
double yarn_factor(FieldReader& parameters, const RopeGeometry& geometry) {
  const double original = original_context(parameters, geometry);
  return parameters.number_or("factor", std::max(1.0, geometry.context_max / original), 1e-3, 1e6);
}

/// Returns the magnitude.
double scale_yarn(FieldReader& parameters, const RopeGeometry& geometry, double theta, int dims,
                  Table& table) {
  const double original = original_context(parameters, geometry);
  const double factor = yarn_factor(parameters, geometry);
  const double fast = parameters.number_or("beta_fast", 32, 1e-3, 1e6);
  const double slow = parameters.number_or("beta_slow", 1, 1e-3, 1e6);
  const double numerator = parameters.number_or("mscale", 1, 0, 1e3);
  const double denominator = parameters.number_or("mscale_all_dim", 0, 0, 1e3);
  const double magnitude = parameters.number_or(
      "attention_factor", mscale(factor, numerator) / mscale(factor, denominator), 1e-6, 1e6);
  // The dimension that turns `turns` times within the original context.
  const auto dimension_of = [&](double turns) {
    return dims * std::log(original / (turns * 2 * std::numbers::pi)) / (2 * std::log(theta));
  };
  double low = dimension_of(fast);
  double high = dimension_of(slow);
  if (parameters.boolean_or("truncate", true)) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, dims - 1.0);
  if (low == high) high += 0.001;
  for (std::size_t i = 0; i < table.size(); ++i) {
    const double ramp = std::clamp((static_cast<double>(i) - low) / (high - low), 0.0, 1.0);
    table[i] *= ramp / factor + (1 - ramp);
  }
  return magnitude;
}

/// Returns the magnitude.
double scale_longrope(FieldReader& parameters, const RopeGeometry& geometry, Table& table) {
  const double original = original_context(parameters, geometry);
  const bool longer = geometry.context_max > original;
  const char* const field = longer ? "long_factor" : "short_factor";
  const std::vector<double> factors = parameters.numbers_or_empty(field);
  if (factors.size() != table.size()) {
    parameters.fail(field, fmt::format("must have {} numbers, one for each pair of rotated "
                                       "dimensions, not {}",
                                       table.size(), factors.size()));
    return 1;
  }
  for (std::size_t i = 0; i < table.size(); ++i) {
    if (!(factors[i] >= 1e-3 && factors[i] <= 1e6)) {
      parameters.fail(field, "must hold numbers in [0.001, 1e6]");
      return 1;
    }
    table[i] /= factors[i];
  }
  const double factor = parameters.number_or("factor", geometry.context_max / original, 1e-6, 1e6);
  const double magnitude =
      factor <= 1 || original <= 1 ? 1.0 : std::sqrt(1 + std::log(factor) / std::log(original));
  return parameters.number_or("attention_factor", magnitude, 1e-6, 1e6);
}

std::string type_of(FieldReader& parameters) {
  return parameters.string_or("rope_type", parameters.string_or("type", "default"));
}

}  // namespace

std::optional<FieldReader> rope_parameters(FieldReader& fields) {
  if (auto parameters = fields.object("rope_parameters")) return parameters;
  return fields.object("rope_scaling");
}

kernels::RopeSpec rope_table(std::optional<FieldReader> parameters, const RopeGeometry& geometry,
                             FieldReader& fields) {
  kernels::RopeSpec spec;
  spec.interleaved = geometry.interleaved;
  double theta = geometry.theta;
  double partial = geometry.partial;
  if (parameters) {
    theta = parameters->number_or("rope_theta", theta, 1, 1e15);
    partial = parameters->number_or("partial_rotary_factor", partial, 0, 1);
  }
  const int dims = static_cast<int>(geometry.head_dim * partial);
  if (!fields.status().ok()) return spec;
  if (dims < 2 || dims % 2 != 0 || theta <= 1) {
    fields.fail("rope_theta", fmt::format("must be over 1 and turn an even number of dimensions, "
                                          "not {:g} and {}",
                                          theta, dims));
    return spec;
  }
  Table table = plain(dims, theta);
  double magnitude = 1;
  const std::string type = parameters ? type_of(*parameters) : "default";
  if (type == "linear") {
    scale_linear(*parameters, table);
  } else if (type == "llama3") {
    scale_llama3(*parameters, geometry, table);
  } else if (type == "yarn" || type == "deepseek_yarn") {
    magnitude = scale_yarn(*parameters, geometry, theta, dims, table);
  } else if (type == "longrope" || type == "su") {
    magnitude = scale_longrope(*parameters, geometry, table);
  } else if (type != "default" && type != "dynamic" && type != "mrope") {
    parameters->fail(parameters->has("rope_type") ? "rope_type" : "type",
                     fmt::format("\"{}\" is not supported; known: deepseek_yarn, default, dynamic, "
                                 "linear, llama3, longrope, mrope, su, yarn",
                                 type));
  }
  spec.magnitude = static_cast<float>(magnitude);
  spec.inverse_frequency.assign(table.begin(), table.end());
  return spec;
}

int scaled_context(std::optional<FieldReader> parameters, const RopeGeometry& geometry) {
  if (!parameters) return geometry.context_max;
  const std::string type = type_of(*parameters);
  double context = geometry.context_max;
  if (type == "linear") {
    context *= parameters->number("factor", 1e-3, 1e6);
  } else if (type == "yarn" || type == "deepseek_yarn") {
    context = original_context(*parameters, geometry) * yarn_factor(*parameters, geometry);
  }
  return static_cast<int>(std::clamp<double>(std::round(context), 1, kMaxContext));
}

double yarn_attention_scale(std::optional<FieldReader> parameters, const RopeGeometry& geometry) {
  if (!parameters || type_of(*parameters) == "default") return 1;
  const double weight = parameters->number_or("mscale_all_dim", 0, 0, 1e3);
  const double factor = yarn_factor(*parameters, geometry);
  const double once = weight == 0 ? 1.0 : mscale(factor, weight);
  return once * once;
}

}  // namespace tandem::models::families
