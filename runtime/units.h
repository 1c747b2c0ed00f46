// Sizes, times and CPU counts as people write them: the command line's and profiles'.
#pragma once

#include <cstdint>
#include <string>

#include "runtime/msentry.h"

namespace msentry {

// "1048576", "512K", "64M", "2G", "1T" (powers of 1024), with or without a B or iB behind. Empty,
// or what is wrong.
std::string ParseSize(const std::string& text, uint64_t* bytes);
// "10" (seconds), "1.5s", "250ms", "5m", "2h".
std::string ParseDuration(const std::string& text, uint64_t* milliseconds);
// CPUs to see and to use; a fraction is the next whole number and a quota.
std::string SetCpus(double cpus, Config* config);
// "2", "0.5".
std::string ParseCpus(const std::string& text, Config* config);

}  // namespace msentry
