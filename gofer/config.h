// What one gofer process serves, and how it is handed over from the supervisor.
//
//   gofer::Config config;
//   config.attaches.push_back({.aname = "0", .host_path = "/", .read_only = true});
//   config.attaches.push_back({.aname = "1", .host_path = upper, .attributes = kMapped});
//   config.connection_fds = {3};
//   std::string text = SerializeConfig(config);   // through a memfd to `msentry <hidden> gofer`
//   return gofer::Main(MUST(ParseConfig(text)));
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "sentry/base/result.h"

namespace msentry::gofer {

// Host ids [outside, outside+count) appear as [inside, inside+count), and back.
struct IdRange {
  uint32_t inside = 0, outside = 0, count = 0;
};

// A host path that no attach point shows, by whatever route one gets there: it is matched by the
// identity of its parent directory plus its name, and by the identity of the file itself.
struct HiddenPath {
  enum class Show : uint8_t {
    kAbsent,          // ENOENT, and not listed
    kFile,            // a regular file with `content`; owner and mode of the original
    kEmptyDirectory,  // a directory with nothing in it that cannot be changed
    kAbsentNumbered,  // as kAbsent: every name in the directory that is this one and a number
  };
  std::string host_path;  // absolute, on the host as the gofer's starter sees it
  Show show = Show::kAbsent;
  std::string content;
};

enum class AttributePolicy : uint8_t {
  kHost,    // owners, modes and device nodes are the host's own (needs root for other owners)
  kMapped,  // what the host cannot hold for us goes to the extended attribute user.msentry.attr
};

struct AttachConfig {
  std::string aname;      // "0", "1", ...: what the client attaches with
  std::string host_path;  // absolute; a directory, or a single regular file
  bool read_only = false;
  AttributePolicy attributes = AttributePolicy::kHost;
  bool stay_on_device = false;  // do not cross the host's mount points below host_path
  // Empty: ids pass unchanged. Otherwise an id outside every range appears as 65534, and chown to
  // one is EINVAL (kMapped: recorded in the attribute).
  std::vector<IdRange> uid_map, gid_map;
};

struct Config {
  std::vector<AttachConfig> attaches;
  std::vector<HiddenPath> hidden;
  std::vector<int> connection_fds;  // inherited stream sockets; each speaks 9P on its own
  int threads = 3;                  // 1 to 16, over all connections
  // Confinement that the host forbids is skipped, each with a warning, unless this is set.
  bool require_confinement = false;
  // For tests and interoperability runs inside another process: serve without confining anything.
  bool unconfined = false;
};

std::string SerializeConfig(const Config& config);
Result<Config> ParseConfig(std::string_view text);

}  // namespace msentry::gofer
