// Text of command-line options into values. Each returns an empty string, or one line that says
// what is wrong with `text`.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "runtime/msentry.h"
#include "runtime/units.h"

namespace msentry::cmd {

using msentry::ParseCpus;
using msentry::ParseDuration;
using msentry::ParseSize;
// "SRC:DST", "SRC:DST:ro", "SRC:DST:rw"; "\:" is a colon in a path.
std::string ParseBind(const std::string& text, Bind* bind);
// "NAME=VALUE", or "NAME": the caller's value (nothing is added when it has none).
std::string ParseEnv(const std::string& text, std::vector<std::string>* env);

struct UserSpec {
  uint32_t uid = 0, gid = 0;
  std::vector<uint32_t> groups;
  std::string name, home;  // empty when the user has no entry
};
// "UID", "UID:GID", "NAME", "NAME:GROUP": names are looked up in `rootfs`/etc/passwd and group.
std::string ParseUser(const std::string& text, const std::string& rootfs, UserSpec* user);

}  // namespace msentry::cmd
