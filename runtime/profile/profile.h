// Profiles (profile.proto describes the fields): reading them, and what they make of a Config.
//
//   Profile profile;
//   std::string wrong = Load("modal", &profile);   // or a file: "./mine.textproto"
//   if (wrong.empty()) wrong = Apply(profile, &config);
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/msentry.h"

namespace msentry::profile {

struct Limits {
  std::optional<double> cpus;
  std::optional<uint64_t> memory_bytes;
  std::optional<uint32_t> pids;
  std::optional<uint64_t> timeout_ms;
};

struct Profile {
  std::optional<std::string> hostname, user, cwd, task_id;
  std::vector<std::string> env, init;
  bool clear_env = false;
  Limits limits;
  std::optional<std::string> cpu_vendor, cpu_model_name;
  std::vector<std::string> hidden_cpu_flags;
  std::optional<uint64_t> memory_to_report;
  std::vector<Mount> mounts;
};

// A name is one of the installed profiles, without ".textproto"; what has a slash or a dot is a
// file. Empty, or one line that says what is wrong, with file and line.
std::string Load(const std::string& name_or_file, Profile* profile);
// `text` as if it were the file `name`.
std::string Parse(const std::string& name, std::string_view text, Profile* profile);

// Puts what the profile says into `config`. User, environment and init are for the caller: they
// need the root directory and the program. Empty, or what is wrong.
std::string Apply(const Profile& profile, Config* config);

// As a file that Parse() takes.
std::string ToText(const Profile& profile);

}  // namespace msentry::profile
