#include "vfs/fuzz/path_walk_fuzz.h"

#include "fsimpl/tmpfs/tmpfs.h"
#include "vfs/inode.h"
#include "vfs/mount_namespace.h"
#include "vfs/operations.h"
#include "vfs/vfs.h"

namespace msentry::vfs {
namespace {

// The tree, as the reference knows it. Links get their targets from the input.
//
//   /a/b/f   /a/l0   /l1   /m/l2 (m is another file system)   /m/d   /bind (= /a)
constexpr const char* kDirs[] = {"/a", "/a/b", "/m", "/bind", "/m/d"};
constexpr const char* kLinks[] = {"/a/l0", "/l1", "/m/l2"};

struct World {
  Vfs vfs;
  RefPtr<auth::Credentials> creds = MakeRef<auth::Credentials>();
  RefPtr<MountNamespace> ns;
  std::string targets[3];

  OpContext ctx() { return OpContext(vfs, *creds); }

  explicit World(const std::string (&links)[3]) {
    creds->permitted = creds->effective = auth::kAllCaps;
    ns = MountNamespace::Create(MUST(tmpfs::Create({.max_bytes = 1 << 20, .max_inodes = 64})), 0);
    OpContext c = ctx();
    const Location root = ns->Root();
    const WalkContext walk{c, root, root};
    for (const char* d : {"/a", "/a/b", "/m", "/bind"}) MUST(Mkdir(walk, d, 0755));
    MUST(Open(walk, "/a/b/f", {O_CREAT | O_WRONLY, 0644, 0}));
    MUST(ns->Attach(MUST(tmpfs::Create({.max_bytes = 1 << 20, .max_inodes = 64})),
                    MUST(PathWalker(walk, 0).Resolve("/m")), 0));
    MUST(Mkdir(walk, "/m/d", 0755));
    for (int i = 0; i < 3; ++i) {
      targets[i] = links[i];
      if (!targets[i].empty()) MUST(Symlink(walk, targets[i], kLinks[i]));
    }
    MUST(ns->Bind(MUST(PathWalker(walk, 0).Resolve("/a")),
                  MUST(PathWalker(walk, 0).Resolve("/bind")), false));
  }
};

// The reference: a place is its path without links, dots or doubled slashes ("" is the root).
class Reference {
 public:
  Reference(const World& w, uint32_t flags, std::string start)
      : w_(w), flags_(flags), start_(std::move(start)) {}

  // "/path" or an error's name.
  std::string Resolve(const std::string& path) {
    if (path.size() >= kPathMax) return "ENAMETOOLONG";
    if (path.empty()) return "ENOENT";
    std::string at = start_;
    if (path[0] == '/') at = scoped() ? start_ : "";
    const char* error = path[0] == '/' && flags_ & kWalkBeneath ? "EXDEV" : nullptr;
    if (!error) error = Walk(path, &at, flags_ & kWalkFollow);
    if (error) return error;
    if (flags_ & kWalkDirectory && Kind(at) != 'd') return "ENOTDIR";
    return at.empty() ? "/" : at;
  }

 private:
  bool scoped() const { return flags_ & (kWalkBeneath | kWalkInRoot); }

  // 'd', 'f', 'l', or 0 for nothing.
  char Kind(const std::string& at) const {
    if (at.empty()) return 'd';
    // The bind mount shows what /a holds.
    const std::string real =
        at.starts_with("/bind") && (at.size() == 5 || at[5] == '/') ? "/a" + at.substr(5) : at;
    for (const char* d : kDirs)
      if (real == d) return 'd';
    if (real == "/a/b/f") return 'f';
    return LinkOf(at) >= 0 ? 'l' : 0;
  }
  int LinkOf(const std::string& at) const {
    const std::string real = at.starts_with("/bind/") ? "/a" + at.substr(5) : at;
    for (int i = 0; i < 3; ++i)
      if (real == kLinks[i] && !w_.targets[i].empty()) return i;
    return -1;
  }
  // Which mount: the root's 0, m 1, bind 2.
  static int MountOf(const std::string& at) {
    if (at == "/m" || at.starts_with("/m/")) return 1;
    if (at == "/bind" || at.starts_with("/bind/")) return 2;
    return 0;
  }

  const char* Walk(const std::string& path, std::string* at, bool follow) {
    size_t i = 0;
    bool directory = false;
    while (true) {
      while (i < path.size() && path[i] == '/') ++i;
      if (i == path.size()) break;
      size_t end = std::min(path.find('/', i), path.size());
      const std::string name = path.substr(i, end - i);
      const size_t next = path.find_first_not_of('/', end);
      const bool last = next == std::string::npos, slash = end < path.size();
      i = end;
      if (Kind(*at) != 'd') return "ENOTDIR";
      directory = slash;
      if (name == ".") {
        directory = true;
        continue;
      }
      if (name == "..") {
        directory = true;
        const std::string& root = scoped() ? start_ : kTop;
        if (*at == root) {
          if (flags_ & kWalkBeneath) return "EXDEV";
          continue;
        }
        std::string up = at->substr(0, at->rfind('/'));
        if (MountOf(up) != MountOf(*at) && flags_ & kWalkNoXdev) return "EXDEV";
        *at = up;
        continue;
      }
      if (name.size() > kNameMax) return "ENAMETOOLONG";
      const std::string child = *at + "/" + name;
      const char kind = Kind(child);
      if (!kind) return "ENOENT";
      if (MountOf(child) != MountOf(*at) && flags_ & kWalkNoXdev) return "EXDEV";
      if (kind == 'l' && (!last || slash || follow)) {
        if (flags_ & kWalkNoSymlinks) return "ELOOP";
        if (++links_ > kMaxSymlinks) return "ELOOP";
        const std::string& target = w_.targets[LinkOf(child)];
        if (target[0] == '/') {
          if (flags_ & kWalkBeneath) return "EXDEV";
          const std::string root = scoped() ? start_ : "";
          if (flags_ & kWalkNoXdev && MountOf(root) != MountOf(*at)) return "EXDEV";
          *at = root;
        }
        if (const char* error = Walk(target, at, follow || !last || slash)) return error;
        continue;
      }
      *at = child;
    }
    return directory && Kind(*at) != 'd' ? "ENOTDIR" : nullptr;
  }

  const World& w_;
  const uint32_t flags_;
  const std::string start_;
  const std::string kTop;
  int links_ = 0;
};

// Bytes to path text: a small alphabet reaches more than random bytes.
std::string PathFrom(const uint8_t*& data, size_t& size, size_t max) {
  static constexpr const char* kPieces[] = {"/",  "//", "a",   "b",   "f",   "m",   "d",     "bind",
                                            "l0", "l1", "l2",  "..",  "../", ".",   "/./",   "x",
                                            "/a", "/m", "/l0", "/l1", "/l2", "/..", "/bind", "/b"};
  std::string out;
  if (size == 0) return out;
  size_t n = *data++ % max;
  --size;
  for (; n > 0 && size > 0; --n, --size, ++data) {
    if (*data < 250) {
      out += kPieces[*data % std::size(kPieces)];
    } else {
      out.append(size_t{1} << (*data - 244), *data % 2 ? 'n' : '/');
    }
  }
  return out;
}

}  // namespace

void FuzzPathWalk(const uint8_t* data, size_t size) {
  if (size < 2) return;
  constexpr uint32_t kBits[] = {kWalkFollow,     kWalkDirectory, kWalkNoXdev,
                                kWalkNoSymlinks, kWalkBeneath,   kWalkInRoot};
  uint32_t flags = 0;
  for (int i = 0; i < 6; ++i)
    if (data[0] >> i & 1) flags |= kBits[i];
  if (flags & kWalkBeneath) flags &= ~uint32_t{kWalkInRoot};
  const std::string start = std::array<const char*, 4>{"", "/a", "/m/d", "/bind/b"}[data[1] % 4];
  data += 2;
  size -= 2;
  std::string links[3];
  for (std::string& l : links) {
    l = PathFrom(data, size, 6);
    if (l.size() >= kPathMax) l.resize(kPathMax - 1);
  }
  World world(links);
  OpContext c = world.ctx();
  const Location root = world.ns->Root();
  const Location cwd = MUST(PathWalker({c, root, root}, 0).Resolve(start.empty() ? "/" : start));
  // Twice: the second time from the cache alone.
  const std::string path = PathFrom(data, size, 40);
  const std::string expected = Reference(world, flags, start).Resolve(path);
  for (int pass = 0; pass < 2; ++pass) {
    Result<Location> at = PathWalker({c, root, cwd}, flags).Resolve(path);
    const std::string got = at.ok() ? PathOf(*at, root) : ErrnoName(at.error());
    if (got != expected) {
      fprintf(stderr, "flags %x start '%s' links '%s' '%s' '%s' path '%s': got %s, expected %s\n",
              flags, start.c_str(), links[0].c_str(), links[1].c_str(), links[2].c_str(),
              path.c_str(), got.c_str(), expected.c_str());
      CHECK(got == expected);
    }
  }
}

}  // namespace msentry::vfs

#ifdef MSENTRY_LIBFUZZER
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  msentry::vfs::FuzzPathWalk(data, size);
  return 0;
}
#endif
