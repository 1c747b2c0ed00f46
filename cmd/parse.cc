#include "cmd/parse.h"

#include <grp.h>
#include <pwd.h>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <memory>

namespace msentry::cmd {
namespace {

struct FileCloser {
  void operator()(FILE* f) const { fclose(f); }
};
using File = std::unique_ptr<FILE, FileCloser>;

// The whole of `text` as a number; false when it is not one.
bool WholeNumber(const std::string& text, uint32_t* out) {
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *out);
  return error == std::errc() && end == text.data() + text.size() && !text.empty();
}

bool FindUser(const std::string& rootfs, const std::string& name, bool by_id, uint32_t id,
              UserSpec* user) {
  File file(fopen((rootfs + "/etc/passwd").c_str(), "re"));
  if (!file) return false;
  while (passwd* entry = fgetpwent(file.get())) {
    if (by_id ? entry->pw_uid != id : name != entry->pw_name) continue;
    user->uid = entry->pw_uid;
    user->gid = entry->pw_gid;
    user->name = entry->pw_name;
    user->home = entry->pw_dir;
    return true;
  }
  return false;
}

bool FindGroup(const std::string& rootfs, const std::string& name, uint32_t* gid) {
  File file(fopen((rootfs + "/etc/group").c_str(), "re"));
  if (!file) return false;
  while (group* entry = fgetgrent(file.get())) {
    if (name != entry->gr_name) continue;
    *gid = entry->gr_gid;
    return true;
  }
  return false;
}

void AddGroupsOf(const std::string& rootfs, UserSpec* user) {
  File file(fopen((rootfs + "/etc/group").c_str(), "re"));
  if (!file || user->name.empty()) return;
  while (group* entry = fgetgrent(file.get())) {
    for (char** member = entry->gr_mem; *member != nullptr; member++) {
      if (user->name == *member) user->groups.push_back(entry->gr_gid);
    }
  }
}

}  // namespace

std::string ParseBind(const std::string& text, Bind* bind) {
  std::vector<std::string> parts(1);
  for (size_t i = 0; i < text.size(); i++) {
    if (text[i] == '\\' && i + 1 < text.size() && text[i + 1] == ':') {
      parts.back() += text[++i];
    } else if (text[i] == ':') {
      parts.emplace_back();
    } else {
      parts.back() += text[i];
    }
  }
  bool options_known =
      parts.size() == 2 || (parts.size() == 3 && (parts[2] == "ro" || parts[2] == "rw"));
  if (!options_known || parts[0].empty() || parts[1].empty())
    return "not SRC:DST or SRC:DST:ro: " + text;
  if (parts[1][0] != '/') return "the path inside is not absolute: " + text;
  *bind = {parts[0], parts[1], parts.size() == 3 && parts[2] == "ro"};
  return "";
}

std::string ParseEnv(const std::string& text, std::vector<std::string>* env) {
  size_t equals = text.find('=');
  if (text.empty() || equals == 0) return "not NAME=VALUE or NAME: " + text;
  std::string name = text.substr(0, equals);
  std::string entry = text;
  if (equals == std::string::npos) {
    const char* value = getenv(name.c_str());
    if (value == nullptr) return "";
    entry = name + "=" + value;
  }
  std::erase_if(
      *env, [&](const std::string& e) { return e.compare(0, name.size() + 1, name + "=") == 0; });
  env->push_back(entry);
  return "";
}

std::string ParseUser(const std::string& text, const std::string& rootfs, UserSpec* user) {
  size_t colon = text.find(':');
  std::string name = text.substr(0, colon);
  std::string root = rootfs == "/" ? "" : rootfs;
  if (WholeNumber(name, &user->uid)) {
    user->gid = user->uid;
    FindUser(root, "", true, user->uid, user);
  } else if (!FindUser(root, name, false, 0, user)) {
    return "no such user in " + root + "/etc/passwd: " + name;
  }
  if (colon == std::string::npos) {
    AddGroupsOf(root, user);
    return "";
  }
  std::string group_name = text.substr(colon + 1);
  if (WholeNumber(group_name, &user->gid) || FindGroup(root, group_name, &user->gid)) return "";
  return "no such group in " + root + "/etc/group: " + group_name;
}

}  // namespace msentry::cmd
