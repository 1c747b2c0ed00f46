// What one operation of vfs costs, without a system call around it: stat, open+close and friends on
// a cached path of tmpfs, and through an overlay. Not a test: run it on a quiet machine, Release.
#include <stdio.h>

#include "fsimpl/overlay/overlay.h"
#include "fsimpl/tmpfs/tmpfs.h"
#include "sentry/mm/io_sequence.h"
#include "sentry/sched/scheduler.h"
#include "vfs/file_io.h"
#include "vfs/mount_namespace.h"
#include "vfs/operations.h"
#include "vfs/vfs.h"

namespace msentry {
namespace {

void Measure(const char* what, absl::FunctionRef<void()> op) {
  int64_t best = INT64_MAX;
  constexpr int kRuns = 20'000;
  for (int round = 0; round < 7; ++round) {
    const int64_t start = sched::NowNs();
    for (int i = 0; i < kRuns; ++i) op();
    best = std::min(best, (sched::NowNs() - start) / kRuns);
  }
  printf("  %-34s %5ld ns\n", what, static_cast<long>(best));
}

void Run(const char* title, vfs::Vfs& vfs, const auth::Credentials& creds,
         RefPtr<vfs::FileSystem> fs) {
  printf("%s\n", title);
  RefPtr<vfs::MountNamespace> ns = vfs::MountNamespace::Create(std::move(fs), 0);
  const vfs::OpContext ctx(vfs, creds);
  const vfs::Location root = ns->Root();
  const vfs::WalkContext walk{ctx, root, root};
  for (const char* d : {"/usr", "/usr/lib", "/usr/lib/gcc"}) MUST(vfs::Mkdir(walk, d, 0755));
  const char* file = "/usr/lib/gcc/file";
  MUST(vfs::Open(walk, file, {O_CREAT | O_WRONLY, 0644, 0}));
  Measure("walk of 4 components", [&] { MUST(vfs::PathWalker(walk, 0).Resolve(file)); });
  Measure("stat", [&] { MUST(vfs::Stat(walk, file, vfs::kWalkFollow)); });
  Measure("stat of an absent file", [&] { (void)vfs::Stat(walk, "/usr/lib/x", 0).ok(); });
  Measure("open + close", [&] { MUST(vfs::Open(walk, file, {O_RDONLY, 0, 0})); });
  RefPtr<vfs::FileDescription> f = MUST(vfs::Open(walk, file, {O_RDWR, 0, 0}));
  Measure("fstat", [&] { MUST(vfs::GetAttr(ctx, *f)); });
  std::byte byte[1] = {};
  Measure("write of 1 byte at 0", [&] {
    mm::IoSequence from = mm::IoSequence::ForWriting(byte);
    MUST(vfs::WriteFileAt(ctx, *f, from, 0));
  });
  Measure("read of 1 byte at 0", [&] {
    mm::IoSequence to = mm::IoSequence::ForReading(byte);
    MUST(vfs::ReadFileAt(ctx, *f, to, 0));
  });
  Measure("create + unlink", [&] {
    MUST(vfs::Open(walk, "/usr/new", {O_CREAT | O_WRONLY, 0644, 0}));
    MUST(vfs::Unlink(walk, "/usr/new"));
  });
}

}  // namespace
}  // namespace msentry

int main() {
  using namespace msentry;
  vfs::Vfs vfs;
  RefPtr<auth::Credentials> creds = MakeRef<auth::Credentials>();
  creds->permitted = creds->effective = auth::kAllCaps;
  Run("tmpfs", vfs, *creds, MUST(tmpfs::Create({.mode = 0755})));
  const vfs::OpContext ctx(vfs, *creds);
  Run("overlay of two tmpfs", vfs, *creds,
      MUST(overlay::Create(ctx, {.lower = {MUST(tmpfs::Create({.mode = 0755}))},
                                 .upper = MUST(tmpfs::Create({.mode = 0755})),
                                 .show_options = {}})));
  return 0;
}
