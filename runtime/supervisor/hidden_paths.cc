#include "runtime/supervisor/hidden_paths.h"

#include <dirent.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <sys/stat.h>
#include <unistd.h>

#include <memory>
#include <set>
#include <string>

#include "sentry/base/scoped_fd.h"

namespace msentry::runtime {
namespace {

using Show = gofer::HiddenPath::Show;

// Files that are absent and directories that are empty, wherever the root directory comes from.
constexpr const char* kSecretPaths[] = {
    "/etc/ssl/private",
    "/etc/krb5.keytab",
    "/etc/letsencrypt",
    "/etc/wireguard",
    "/etc/kubernetes",
    "/etc/NetworkManager/system-connections",
    "/etc/ipsec.secrets",
    "/etc/ppp/chap-secrets",
    "/etc/ppp/pap-secrets",
    "/etc/docker/key.json",
    "/var/lib/docker",
    "/var/lib/containerd",
    "/var/lib/kubelet",
    "/var/lib/sss/secrets",
    "/var/spool/cron/crontabs",
    "/var/backups",
    "/run/secrets",
    "/run/credentials",
    "/run/user",
    "/run/docker.sock",
    "/lost+found",
};

// Likewise in every home directory that is visible at all.
constexpr const char* kSecretsOfAHome[] = {
    ".ssh",
    ".gnupg",
    ".aws",
    ".azure",
    ".kube",
    ".docker",
    ".netrc",
    ".git-credentials",
    ".pgpass",
    ".npmrc",
    ".pypirc",
    ".password-store",
    ".config/gcloud",
    ".config/gh",
    ".config/hub",
    ".local/share/keyrings",
    ".mozilla",
    ".config/google-chrome",
    ".config/chromium",
    ".bash_history",
    ".zsh_history",
    ".python_history",
    ".psql_history",
    ".mysql_history",
};

constexpr const char* kShadowFiles[] = {"/etc/shadow", "/etc/gshadow", "/etc/shadow-",
                                        "/etc/gshadow-"};

bool IsInside(std::string_view path, std::string_view directory) {
  if (directory == "/") return true;
  return path.substr(0, directory.size()) == directory &&
         (path.size() == directory.size() || path[directory.size()] == '/');
}

bool Exists(const std::string& path) {
  struct stat st;
  return lstat(path.c_str(), &st) == 0;
}

std::vector<std::string> List(const std::string& directory) {
  std::vector<std::string> names;
  std::unique_ptr<DIR, int (*)(DIR*)> dir(opendir(directory.c_str()), &closedir);
  if (!dir) return names;
  while (dirent* entry = readdir(dir.get())) {
    std::string name = entry->d_name;
    if (name != "." && name != "..") names.push_back(std::move(name));
  }
  return names;
}

std::string ReadFile(const std::string& path) {
  std::string text;
  ScopedFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  char buffer[4096];
  ssize_t n;
  while (fd && (n = read(fd.get(), buffer, sizeof buffer)) > 0) text.append(buffer, n);
  return text;
}

class Hider {
 public:
  explicit Hider(const control::Config& config)
      : config_(config), root_(config.rootfs() == "/" ? "" : config.rootfs()) {}

  std::vector<gofer::HiddenPath> Take() { return std::move(hidden_); }

  void HideSecrets() {
    for (const char* path : kSecretPaths) Hide(root_ + path);
    for (const std::string& name : List(root_ + "/etc/ssh")) {
      if (fnmatch("ssh_host_*_key", name.c_str(), 0) == 0) Hide(root_ + "/etc/ssh/" + name);
    }
    for (const char* path : kShadowFiles) {
      if (!Exists(root_ + path) || Shown(root_ + path)) continue;
      hidden_.push_back({.host_path = root_ + path,
                         .show = Show::kFile,
                         .content = LockPasswords(ReadFile(root_ + path))});
    }
  }

  // The sandbox's own names instead of the host's. A file that somebody binds stays as it is.
  void ReplaceNames() {
    Replace("/etc/hostname", config_.hostname() + "\n");
    Replace("/etc/hosts", HostsFile(config_.hostname()));
  }

  // Homes are those of the host: in another root directory nobody's home is private to this
  // machine.
  void HideHomes() {
    if (!root_.empty()) return;
    std::set<std::string> homes{"/root"};
    for (const std::string& name : List("/home")) homes.insert("/home/" + name);
    const std::string& own = config_.host_home();
    for (const std::string& home : homes) {
      bool is_own = home == own && config_.host_uid() != 0;
      if (is_own) {
        HideInHome(home);
      } else if (Exists(home)) {
        HideAllBut(home);
      }
    }
    if (!own.empty() && own != "/" && config_.host_uid() != 0 && homes.count(own) == 0)
      HideInHome(own);
  }

 private:
  bool Shown(const std::string& path) const {
    for (const std::string& show : config_.show()) {
      if (IsInside(path, show)) return true;
    }
    return false;
  }
  // `path` leads to something that has to stay visible.
  bool LeadsToShown(const std::string& path) const {
    if (IsInside(config_.host_cwd(), path)) return true;
    for (const std::string& show : config_.show()) {
      if (IsInside(show, path)) return true;
    }
    return false;
  }
  void Hide(const std::string& path) {
    struct stat st;
    if (lstat(path.c_str(), &st) != 0 || Shown(path)) return;
    // A directory stays to be found, empty: programs list or make things in it.
    Show show = S_ISDIR(st.st_mode) ? Show::kEmptyDirectory : Show::kAbsent;
    hidden_.push_back({.host_path = path, .show = show, .content = ""});
  }
  void Replace(const std::string& name, std::string content) {
    const std::string path = root_ + name;
    struct stat st;
    if (lstat(path.c_str(), &st) != 0 || !S_ISREG(st.st_mode) || Shown(path)) return;
    for (const control::Bind& bind : config_.binds()) {
      if (IsInside(path, bind.source())) return;
    }
    hidden_.push_back({.host_path = path, .show = Show::kFile, .content = std::move(content)});
  }
  void HideInHome(const std::string& home) {
    for (const char* name : kSecretsOfAHome) Hide(home + "/" + name);
  }
  // Hides the directory, or, when something below must stay visible, everything beside the way to
  // it.
  void HideAllBut(const std::string& directory) {
    if (Shown(directory) || directory == config_.host_cwd()) {
      HideInHome(directory);
      return;
    }
    if (!LeadsToShown(directory)) {
      hidden_.push_back({.host_path = directory, .show = Show::kEmptyDirectory, .content = ""});
      return;
    }
    for (const std::string& name : List(directory)) {
      std::string path = directory + "/" + name;
      if (Shown(path) || path == config_.host_cwd()) continue;
      if (LeadsToShown(path)) {
        HideAllBut(path);
      } else {
        Hide(path);
      }
    }
  }

  const control::Config& config_;
  const std::string root_;
  std::vector<gofer::HiddenPath> hidden_;
};

}  // namespace

std::string LockPasswords(std::string_view shadow) {
  std::string out;
  while (!shadow.empty()) {
    size_t end = shadow.find('\n');
    std::string_view line = shadow.substr(0, end);
    shadow.remove_prefix(end == std::string_view::npos ? shadow.size() : end + 1);
    size_t name_end = line.find(':');
    if (name_end == std::string_view::npos) continue;
    size_t password_end = line.find(':', name_end + 1);
    out.append(line.substr(0, name_end)).append(":!*");
    if (password_end != std::string_view::npos) out.append(line.substr(password_end));
    out.push_back('\n');
  }
  return out;
}

std::string HostsFile(std::string_view hostname) {
  std::string out = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n127.0.0.1\t";
  out.append(hostname);
  // The name without the domain too, as hosts(5) has it.
  if (size_t dot = hostname.find('.'); dot != hostname.npos && dot != 0) {
    out.append("\t").append(hostname.substr(0, dot));
  }
  return out.append("\n");
}

std::vector<gofer::HiddenPath> HiddenPaths(const control::Config& config) {
  Hider hider(config);
  // The writable layer must not appear below the read-only one, whatever is asked for, nor those of
  // other sandboxes.
  std::string directory = config.state_directory();
  if (!config.keep_state()) directory.resize(directory.rfind('/'));
  std::vector<gofer::HiddenPath> state{
      {.host_path = directory, .show = Show::kAbsent, .content = ""}};
  // Those of other users, and of sandboxes that start later.
  std::set<std::string> parents{"/var/tmp", "/tmp"};
  if (!config.keep_state()) parents.insert(directory.substr(0, directory.rfind('/')));
  for (const std::string& parent : parents) {
    state.push_back(
        {.host_path = parent + "/msentry-", .show = Show::kAbsentNumbered, .content = ""});
  }
  if (config.show_secrets()) return state;
  hider.HideSecrets();
  hider.HideHomes();
  hider.ReplaceNames();
  std::vector<gofer::HiddenPath> all = hider.Take();
  all.insert(all.end(), state.begin(), state.end());
  return all;
}

}  // namespace msentry::runtime
