// What one operation that needs the gofer costs: p9_bench [count]. Prints nanoseconds for each
// operation through vfs, p9 and the gofer, and natively on the same directory.
//
//   ninja -C build/release p9_bench && build/release/fsimpl/p9/p9_bench
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <fstream>

#include "fsimpl/p9/testing.h"

namespace msentry::p9 {
namespace {

int count = 2000;

void Report(const char* name, int64_t guest_ns, int64_t native_ns) {
  printf("%-24s %8lld ns   native %8lld ns   %5.1f x\n", name,
         static_cast<long long>(guest_ns / count), static_cast<long long>(native_ns / count),
         static_cast<double>(guest_ns) / static_cast<double>(native_ns));
}

template <typename F>
int64_t Time(F each) {
  int64_t start = sched::NowNs();
  for (int i = 0; i < count; ++i) each(std::to_string(i));
  return sched::NowNs() - start;
}

void Run() {
  testing::Bed bed({});
  std::string dir = bed.dir;
  for (int i = 0; i < count; ++i) std::ofstream(dir + "/f" + std::to_string(i)) << "x";
  CHECK(mkdir((dir + "/n").c_str(), 0755) == 0);
  bed.Run([&](testing::Bed::World& w) {
    auto walk = w.Walk();
    struct stat st;
    Report("stat, uncached",
           Time([&](const std::string& i) { MUST(vfs::Stat(walk, "/f" + i, 0)); }),
           Time([&](const std::string& i) { CHECK(stat((dir + "/f" + i).c_str(), &st) == 0); }));
    Report("stat, cached", Time([&](const std::string& i) { MUST(vfs::Stat(walk, "/f" + i, 0)); }),
           Time([&](const std::string& i) { CHECK(stat((dir + "/f" + i).c_str(), &st) == 0); }));
    Report("open+close, first", Time([&](const std::string& i) {
             MUST(vfs::Open(walk, "/f" + i, {.flags = O_RDONLY}));
           }),
           Time([&](const std::string& i) { close(open((dir + "/f" + i).c_str(), O_RDONLY)); }));
    Report("open+close, again", Time([&](const std::string& i) {
             MUST(vfs::Open(walk, "/f" + i, {.flags = O_RDONLY}));
           }),
           Time([&](const std::string& i) { close(open((dir + "/f" + i).c_str(), O_RDONLY)); }));
    Report("create+close+unlink", Time([&](const std::string& i) {
             std::string name = "/n/" + i;
             MUST(vfs::Open(walk, name, {.flags = O_RDWR | O_CREAT | O_EXCL, .mode = 0644}));
             MUST(vfs::Unlink(walk, name));
           }),
           Time([&](const std::string& i) {
             std::string name = dir + "/n/" + i;
             close(open(name.c_str(), O_RDWR | O_CREAT | O_EXCL, 0644));
             CHECK(unlink(name.c_str()) == 0);
           }));
    Report("mkdir+rmdir", Time([&](const std::string& i) {
             MUST(vfs::Mkdir(walk, "/n/" + i, 0755));
             MUST(vfs::Rmdir(walk, "/n/" + i));
           }),
           Time([&](const std::string& i) {
             std::string name = dir + "/n/" + i;
             CHECK(mkdir(name.c_str(), 0755) == 0 && rmdir(name.c_str()) == 0);
           }));
  });
}

}  // namespace
}  // namespace msentry::p9

int main(int argc, char** argv) {
  if (argc > 1) msentry::p9::count = atoi(argv[1]);
  msentry::p9::Run();
  return 0;
}
