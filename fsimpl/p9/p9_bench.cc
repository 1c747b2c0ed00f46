// What one operation that may need the gofer costs: p9_bench [count]. Prints nanoseconds and
// messages waited for of each operation through vfs, p9 and the gofer, alone and as the two layers
// of an overlay (the sandbox's root), and natively on the same directory.
//
//   ninja -C build/release p9_bench && build/release/fsimpl/p9/p9_bench
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <fstream>

#include "fsimpl/overlay/overlay.h"
#include "fsimpl/p9/testing.h"

namespace msentry::p9 {
namespace {

using Each = absl::FunctionRef<void(const std::string&)>;

int count = 2000;

int64_t Time(Each each) {
  int64_t start = sched::NowNs();
  for (int i = 0; i < count; ++i) each(std::to_string(i));
  return sched::NowNs() - start;
}

// Operations on the files f0, f1, ... of `host`, which `root` shows as its own.
class Table {
 public:
  Table(testing::Bed::World& w, vfs::Location root, std::string host)
      : w_(w), walk_{*w.ctx, root, root}, host_(std::move(host)) {}

  void Row(const char* name, Each guest, Each native) {
    uint64_t messages = w_.client->exchanges();
    int64_t guest_ns = Time(guest);
    messages = w_.client->exchanges() - messages;
    int64_t native_ns = Time(native);
    printf("  %-22s %8lld ns  %5.2f messages  native %8lld ns  %5.1f x\n", name,
           static_cast<long long>(guest_ns / count), static_cast<double>(messages) / count,
           static_cast<long long>(native_ns / count),
           static_cast<double>(guest_ns) / static_cast<double>(native_ns));
  }

  void Run() {
    auto stat_guest = [&](const std::string& i) { MUST(vfs::Stat(walk_, "/f" + i, 0)); };
    auto stat_native = [&](const std::string& i) {
      struct stat st;
      CHECK(stat((host_ + "/f" + i).c_str(), &st) == 0);
    };
    auto open_guest = [&](const std::string& i) {
      MUST(vfs::Open(walk_, "/f" + i, {.flags = O_RDONLY}));
    };
    auto open_native = [&](const std::string& i) {
      close(open((host_ + "/f" + i).c_str(), O_RDONLY));
    };
    Row("stat, uncached", stat_guest, stat_native);
    Row("stat, cached", stat_guest, stat_native);
    Row(
        "stat, absent", [&](const std::string& i) { (void)vfs::Stat(walk_, "/x" + i, 0).ok(); },
        [&](const std::string& i) { (void)access((host_ + "/x" + i).c_str(), F_OK); });
    Row("open+close, first", open_guest, open_native);
    Row("open+close, again", open_guest, open_native);
    Row(
        "create+close+unlink",
        [&](const std::string& i) {
          std::string name = "/n" + i;
          MUST(vfs::Open(walk_, name, {.flags = O_RDWR | O_CREAT | O_EXCL, .mode = 0644}));
          MUST(vfs::Unlink(walk_, name));
        },
        [&](const std::string& i) {
          std::string name = host_ + "/n" + i;
          close(open(name.c_str(), O_RDWR | O_CREAT | O_EXCL, 0644));
          CHECK(unlink(name.c_str()) == 0);
        });
    Row(
        "mkdir+rmdir",
        [&](const std::string& i) {
          MUST(vfs::Mkdir(walk_, "/n" + i, 0755));
          MUST(vfs::Rmdir(walk_, "/n" + i));
        },
        [&](const std::string& i) {
          std::string name = host_ + "/n" + i;
          CHECK(mkdir(name.c_str(), 0755) == 0 && rmdir(name.c_str()) == 0);
        });
  }

 private:
  testing::Bed::World& w_;
  const vfs::WalkContext walk_;
  const std::string host_;
};

void MakeFiles(const std::string& dir) {
  for (int i = 0; i < count; ++i) std::ofstream(dir + "/f" + std::to_string(i)) << "x";
}

void Run() {
  testing::Bed bed({.subdirectories = {"alone", "lower", "upper"}});
  std::string dir = bed.dir;
  for (const char* name : {"/alone", "/lower", "/upper"}) MakeFiles(dir + name);
  bed.Run([&](testing::Bed::World& w) {
    auto attach = [&](const char* aname, bool read_only) {
      return MUST(NewFileSystem(w.client, {.aname = aname, .read_only = read_only}));
    };
    auto alone = vfs::MountNamespace::Create(attach("alone", false), 0);
    printf("9P alone\n");
    Table(w, alone->Root(), dir + "/alone").Run();
    auto layers = MUST(overlay::Create(
        *w.ctx,
        {.lower = {attach("lower", true)}, .upper = attach("upper", false), .show_options = {}}));
    auto merged = vfs::MountNamespace::Create(std::move(layers), 0);
    printf("overlay of two\n");
    Table(w, merged->Root(), dir + "/upper").Run();
  });
}

}  // namespace
}  // namespace msentry::p9

int main(int argc, char** argv) {
  if (argc > 1) msentry::p9::count = atoi(argv[1]);
  msentry::p9::Run();
  return 0;
}
