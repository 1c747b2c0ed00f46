#include "runtime/profile/profile.h"

#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <sstream>
#include <utility>

#include "runtime/profile/text_format.h"
#include "runtime/units.h"
#include "sentry/base/scoped_fd.h"

#ifndef MSENTRY_PROFILE_DIRECTORY
#define MSENTRY_PROFILE_DIRECTORY "/usr/local/share/msentry/profiles"
#endif

namespace msentry::profile {
namespace {

constexpr size_t kLargestFile = 1 << 20;
constexpr uint32_t kDefaultMode = 01777;

// What a field does with its value. Empty, or what is wrong with it.
using Reader = std::function<std::string(const Field&)>;
struct Schema {
  const char* message;  // for error texts
  std::vector<std::pair<const char*, Reader>> fields;
};

// "LINE: what", with the field's name.
std::string At(const Field& field, const std::string& what) {
  return std::to_string(field.line) + ": " + what;
}

std::string Read(const std::vector<Field>& fields, const Schema& schema) {
  std::vector<std::string> seen;
  for (const Field& field : fields) {
    const Reader* reader = nullptr;
    for (const auto& [name, r] : schema.fields) {
      if (field.name == name) reader = &r;
    }
    if (reader == nullptr) return At(field, "no field " + field.name + " in " + schema.message);
    std::string wrong = (*reader)(field);
    if (wrong.empty()) continue;
    // A message below has said the line already.
    return wrong[0] >= '0' && wrong[0] <= '9' ? wrong : At(field, field.name + ": " + wrong);
  }
  return "";
}

Reader Message(const std::function<std::string(const std::vector<Field>&)>& read) {
  return [read](const Field& f) {
    if (f.kind != Field::Kind::kMessage) return std::string("expected { ... }");
    return read(f.children);
  };
}
template <typename T>
Reader String(T* out) {
  return [out](const Field& f) {
    if (f.kind != Field::Kind::kString) return std::string("expected a string in quotes");
    *out = f.text;
    return std::string();
  };
}
Reader Strings(std::vector<std::string>* out) {
  return [out](const Field& f) {
    if (f.kind != Field::Kind::kString) return std::string("expected a string in quotes");
    out->push_back(f.text);
    return std::string();
  };
}
Reader Bool(bool* out) {
  return [out](const Field& f) {
    const bool yes = f.text == "true" || f.text == "t" || f.text == "1";
    const bool no = f.text == "false" || f.text == "f" || f.text == "0";
    if (f.kind == Field::Kind::kString || f.kind == Field::Kind::kMessage || (!yes && !no)) {
      return std::string("expected true or false");
    }
    *out = yes;
    return std::string();
  };
}
template <typename T>
Reader Unsigned(T* out) {
  return [out](const Field& f) {
    uint32_t value = 0;
    std::string_view text = f.text;
    int base = 10;
    if (text.starts_with("0x")) {
      base = 16;
      text.remove_prefix(2);
    } else if (text.size() > 1 && text[0] == '0') {
      base = 8;
      text.remove_prefix(1);
    }
    auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
    if (f.kind != Field::Kind::kNumber || error != std::errc() ||
        end != text.data() + text.size()) {
      return "expected a whole number, not " + f.text;
    }
    *out = value;
    return std::string();
  };
}
Reader Positive(std::optional<double>* out) {
  return [out](const Field& f) {
    double value = 0;
    auto [end, error] = std::from_chars(f.text.data(), f.text.data() + f.text.size(), value);
    if (f.kind != Field::Kind::kNumber || error != std::errc() ||
        end != f.text.data() + f.text.size() || !(value > 0)) {
      return "expected a number above 0, not " + f.text;
    }
    *out = value;
    return std::string();
  };
}
// A size or a time in its own notation.
template <typename T>
Reader Quantity(T* out, std::string (*parse)(const std::string&, uint64_t*)) {
  return [out, parse](const Field& f) {
    if (f.kind != Field::Kind::kString) return std::string("expected a string in quotes");
    uint64_t value = 0;
    std::string wrong = parse(f.text, &value);
    if (wrong.empty()) *out = value;
    return wrong;
  };
}

std::string ReadLimits(const std::vector<Field>& fields, Limits* limits) {
  return Read(fields, {"Limits",
                       {{"cpus", Positive(&limits->cpus)},
                        {"memory", Quantity(&limits->memory_bytes, ParseSize)},
                        {"pids", Unsigned(&limits->pids)},
                        {"timeout", Quantity(&limits->timeout_ms, ParseDuration)}}});
}

std::string ReadCpu(const std::vector<Field>& fields, Profile* p) {
  return Read(fields, {"Cpu",
                       {{"vendor", String(&p->cpu_vendor)},
                        {"model_name", String(&p->cpu_model_name)},
                        {"hide_flags", Strings(&p->hidden_cpu_flags)}}});
}

std::string ReadMount(const std::vector<Field>& fields, std::vector<Mount>* mounts) {
  Mount m;
  m.mode = kDefaultMode;
  int kinds = 0;
  const auto kind = [&](Mount::Kind k, Reader reader) {
    return [&m, &kinds, k, reader = std::move(reader)](const Field& f) {
      m.kind = k;
      ++kinds;
      return reader(f);
    };
  };
  const auto tmpfs = [&](const std::vector<Field>& children) {
    return Read(
        children,
        {"Tmpfs", {{"size", Quantity(&m.size_bytes, ParseSize)}, {"mode", Unsigned(&m.mode)}}});
  };
  std::string wrong = Read(fields, {"Mount",
                                    {{"destination", String(&m.destination)},
                                     {"bind", kind(Mount::Kind::kBind, String(&m.source))},
                                     {"tmpfs", kind(Mount::Kind::kTmpfs, Message(tmpfs))},
                                     {"content", kind(Mount::Kind::kFile, String(&m.content))},
                                     {"read_only", Bool(&m.read_only)}}});
  if (!wrong.empty()) return wrong;
  if (m.destination.empty() || m.destination[0] != '/') return "destination is not absolute";
  if (kinds != 1) return "exactly one of bind, tmpfs and content is needed";
  mounts->push_back(std::move(m));
  return "";
}

std::string ReadProfile(const std::vector<Field>& fields, Profile* p) {
  return Read(fields,
              {"Profile",
               {{"hostname", String(&p->hostname)},
                {"user", String(&p->user)},
                {"cwd", String(&p->cwd)},
                {"env", Strings(&p->env)},
                {"clear_env", Bool(&p->clear_env)},
                {"init", Strings(&p->init)},
                {"limits", Message([p](const auto& c) { return ReadLimits(c, &p->limits); })},
                {"task_id", String(&p->task_id)},
                {"cpu", Message([p](const auto& c) { return ReadCpu(c, p); })},
                {"memory_to_report", Quantity(&p->memory_to_report, ParseSize)},
                {"mounts", Message([p](const auto& c) { return ReadMount(c, &p->mounts); })}}});
}

// The file of a profile that is known by its name: where $MSENTRY_PROFILES says, else where this
// program is installed or was built.
std::string PathOf(const std::string& name) {
  const std::string file = "/" + name + ".textproto";
  if (const char* directory = getenv("MSENTRY_PROFILES")) return directory + file;
  char self[PATH_MAX];
  const ssize_t n = readlink("/proc/self/exe", self, sizeof self);
  const std::string program(self, n > 0 ? static_cast<size_t>(n) : 0);
  const std::string beside = program.substr(0, program.rfind('/') + 1);
  for (const char* directory : {"../share/msentry/profiles", "../../../examples/profiles"}) {
    std::string path = beside + directory + file;
    if (!beside.empty() && access(path.c_str(), F_OK) == 0) return path;
  }
  return MSENTRY_PROFILE_DIRECTORY + file;
}

// An errno, 0 when `*text` is the whole file.
int ReadWhole(const std::string& path, std::string* text) {
  // A FIFO without a writer must not hold us up.
  ScopedFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  struct stat st;
  if (!fd || fstat(fd.get(), &st) != 0) return errno;
  if (S_ISDIR(st.st_mode)) return EISDIR;
  if (!S_ISREG(st.st_mode)) return EINVAL;
  char buffer[4096];
  ssize_t n;
  while ((n = read(fd.get(), buffer, sizeof buffer)) > 0) {
    text->append(buffer, static_cast<size_t>(n));
    if (text->size() > kLargestFile) return EFBIG;
  }
  return n < 0 ? errno : 0;
}

}  // namespace

std::string Parse(const std::string& name, std::string_view text, Profile* profile) {
  std::vector<Field> fields;
  std::string wrong = ParseText(text, &fields);
  if (wrong.empty()) wrong = ReadProfile(fields, profile);
  return wrong.empty() ? "" : name + ":" + wrong;
}

std::string Load(const std::string& name, Profile* profile) {
  std::string path = name;
  if (name.find_first_of("./") == std::string::npos) path = PathOf(name);
  std::string text;
  if (int error = ReadWhole(path, &text); error != 0) {
    return "no profile " + name + (path == name ? "" : " (" + path + ")") + ": " + strerror(error);
  }
  return Parse(path, text, profile);
}

std::string Apply(const Profile& p, Config* config) {
  if (p.hostname) config->hostname = *p.hostname;
  if (p.cwd) config->cwd = *p.cwd;
  if (p.task_id) config->task_id = *p.task_id;
  if (p.limits.cpus) {
    std::string wrong = SetCpus(*p.limits.cpus, config);
    if (!wrong.empty()) return wrong;
  }
  if (p.limits.memory_bytes) config->memory_bytes = *p.limits.memory_bytes;
  if (p.limits.pids) config->pids = *p.limits.pids;
  if (p.limits.timeout_ms) config->timeout_ms = *p.limits.timeout_ms;
  if (p.memory_to_report) config->memory_to_report = *p.memory_to_report;
  if (p.cpu_vendor) config->cpu_vendor = *p.cpu_vendor;
  if (p.cpu_model_name) config->cpu_model_name = *p.cpu_model_name;
  config->hidden_cpu_flags = p.hidden_cpu_flags;
  for (const Mount& m : p.mounts) {
    if (m.kind == Mount::Kind::kBind) {
      config->binds.push_back({m.source, m.destination, m.read_only});
    } else {
      config->mounts.push_back(m);
    }
  }
  return "";
}

std::string ToText(const Profile& p) {
  std::ostringstream out;
  const auto text = [&](const char* name, const std::optional<std::string>& value) {
    if (value) out << name << ": " << Quote(*value) << "\n";
  };
  text("hostname", p.hostname);
  text("user", p.user);
  text("cwd", p.cwd);
  for (const std::string& e : p.env) text("env", e);
  if (p.clear_env) out << "clear_env: true\n";
  for (const std::string& e : p.init) text("init", e);
  out << "limits {\n";
  if (p.limits.cpus) out << "  cpus: " << *p.limits.cpus << "\n";
  if (p.limits.memory_bytes) out << "  memory: \"" << *p.limits.memory_bytes << "\"\n";
  if (p.limits.pids) out << "  pids: " << *p.limits.pids << "\n";
  if (p.limits.timeout_ms) out << "  timeout: \"" << *p.limits.timeout_ms << "ms\"\n";
  out << "}\n";
  text("task_id", p.task_id);
  out << "cpu {\n";
  text("  vendor", p.cpu_vendor);
  text("  model_name", p.cpu_model_name);
  for (const std::string& flag : p.hidden_cpu_flags) text("  hide_flags", flag);
  out << "}\n";
  if (p.memory_to_report) out << "memory_to_report: \"" << *p.memory_to_report << "\"\n";
  for (const Mount& m : p.mounts) {
    out << "mounts {\n  destination: " << Quote(m.destination) << "\n";
    if (m.kind == Mount::Kind::kBind) out << "  bind: " << Quote(m.source) << "\n";
    if (m.kind == Mount::Kind::kFile) out << "  content: " << Quote(m.content) << "\n";
    if (m.kind == Mount::Kind::kTmpfs) {
      out << "  tmpfs {";
      if (m.size_bytes > 0) out << " size: \"" << m.size_bytes << "\"";
      out << " mode: " << m.mode << " }\n";
    }
    if (m.read_only) out << "  read_only: true\n";
    out << "}\n";
  }
  return out.str();
}

}  // namespace msentry::profile
