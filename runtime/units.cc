#include "runtime/units.h"

#include <charconv>
#include <cmath>

namespace msentry {
namespace {

// A leading number, possibly with a fraction; the rest is the unit.
bool NumberAndUnit(const std::string& text, double* number, std::string* unit) {
  if (text.empty() || text[0] < '0' || text[0] > '9') return false;
  const char* end = text.data() + text.size();
  auto [rest, error] = std::from_chars(text.data(), end, *number, std::chars_format::fixed);
  if (error != std::errc()) return false;
  unit->assign(rest, end);
  return true;
}

constexpr double kQuotaPeriodUs = 100000;

}  // namespace

std::string ParseSize(const std::string& text, uint64_t* bytes) {
  double number;
  std::string unit;
  if (!NumberAndUnit(text, &number, &unit)) return "not a size: " + text;
  if (unit.size() > 2 && unit.substr(unit.size() - 2) == "iB") unit.resize(unit.size() - 2);
  if (!unit.empty() && unit.back() == 'B') unit.pop_back();
  static const std::string kUnits = "KMGT";
  double factor = 1;
  if (!unit.empty()) {
    size_t index =
        unit.size() == 1 ? kUnits.find(static_cast<char>(toupper(unit[0]))) : std::string::npos;
    if (index == std::string::npos) return "not a size (a number, then K, M, G or T): " + text;
    factor = std::ldexp(1.0, 10 * (static_cast<int>(index) + 1));
  }
  if (number * factor >= std::ldexp(1.0, 63)) return "size too large: " + text;
  *bytes = static_cast<uint64_t>(number * factor);
  return "";
}

std::string ParseDuration(const std::string& text, uint64_t* milliseconds) {
  double number;
  std::string unit;
  if (!NumberAndUnit(text, &number, &unit)) return "not a time: " + text;
  double factor;
  if (unit.empty() || unit == "s") {
    factor = 1000;
  } else if (unit == "ms") {
    factor = 1;
  } else if (unit == "m") {
    factor = 60 * 1000;
  } else if (unit == "h") {
    factor = 3600 * 1000;
  } else if (unit == "d") {
    factor = 24 * 3600 * 1000;
  } else {
    return "not a time (a number, then ms, s, m, h or d): " + text;
  }
  double value = number * factor;
  if (value >= 1e15) return "time too long: " + text;
  if (value < 1) return "time too short: " + text;
  *milliseconds = static_cast<uint64_t>(value);
  return "";
}

std::string SetCpus(double cpus, Config* config) {
  if (!(cpus >= 0.01) || cpus > 8192) return "not a number of CPUs";
  const double whole = std::ceil(cpus);
  config->cpus = static_cast<uint32_t>(whole);
  config->cpu_quota_us = whole > cpus ? static_cast<int64_t>(cpus * kQuotaPeriodUs) : -1;
  return "";
}

std::string ParseCpus(const std::string& text, Config* config) {
  double cpus;
  std::string unit;
  if (!NumberAndUnit(text, &cpus, &unit) || !unit.empty()) return "not a number of CPUs: " + text;
  return SetCpus(cpus, config).empty() ? "" : "not a number of CPUs: " + text;
}

}  // namespace msentry
