// RandomModel: random operations on two trees that start equal. Every outcome, and in the end the
// trees, must agree: one of the two is the oracle. A and B have Shell's operations (fs_fixture.h).
#pragma once

#include <random>

#include "fsimpl/tests/fs_fixture.h"

namespace msentry {

// The start of both.
template <typename S>
void PrepareTree(S& sh) {
  for (const char* d : {"/a", "/b", "/a/a", "/a/b", "/b/a"}) MUST(sh.Mkdir(d));
  for (const char* f : {"/c", "/a/c", "/a/a/c", "/b/a/c"}) MUST(sh.Put(f, f));
  MUST(sh.Symlink("a/a", "/d"));
  MUST(sh.Symlink("c", "/a/d"));
  MUST(sh.Link("/c", "/b/c"));
}

template <typename A, typename B>
class RandomModel {
 public:
  RandomModel(uint32_t seed, A& a, B& b, absl::FunctionRef<void()> drop)
      : random_(seed), a_(a), b_(b), drop_(drop) {}

  void Run(int steps) {
    for (int i = 0; i < steps && !testing::Test::HasFailure(); ++i) Step(i);
    drop_();
    Compare("/");
  }

 private:
  std::string Path() {
    static constexpr const char* kNames[] = {"a", "b", "c", "d"};
    std::string p;
    for (int depth = 1 + Pick(3); depth-- > 0;) p += std::string("/") + kNames[Pick(4)];
    return p;
  }
  int Pick(int n) { return static_cast<int>(random_() % n); }

  template <typename Fn>
  void Same(int i, const std::string& what, Fn op) {
    const std::string x = op(a_), y = op(b_);
    ASSERT_EQ(x, y) << "step " << i << ": " << what;
  }

  void Step(int i) {
    // Targets that never lead above the top: a host directory is no root.
    static constexpr const char* kTargets[] = {"c", "a", "b/a", "a/c", "missing"};
    const std::string p = Path(), q = Path();
    const int target = Pick(5);
    switch (Pick(14)) {
      case 0:
        return Same(i, "mkdir " + p, [&](auto& s) { return Outcome(s.Mkdir(p)); });
      case 1:
        return Same(i, "rmdir " + p, [&](auto& s) { return Outcome(s.Rmdir(p)); });
      case 2:
        return Same(i, "unlink " + p, [&](auto& s) { return Outcome(s.Unlink(p)); });
      case 3: {
        const std::string text = "step " + std::to_string(i);
        return Same(i, "put " + p, [&](auto& s) { return Outcome(s.Put(p, text)); });
      }
      case 4:
      case 5:
        return Same(i, "rename " + p + " " + q, [&](auto& s) { return Outcome(s.Rename(p, q)); });
      case 6:
        return Same(i, "exchange " + p + " " + q,
                    [&](auto& s) { return Outcome(s.Rename(p, q, RENAME_EXCHANGE)); });
      case 7:
        return Same(i, "link " + p + " " + q, [&](auto& s) { return Outcome(s.Link(p, q)); });
      case 8:
        return Same(i, "symlink " + p + " " + kTargets[target],
                    [&](auto& s) { return Outcome(s.Symlink(kTargets[target], p)); });
      case 9:
        return Same(i, "chmod " + p, [&](auto& s) { return Outcome(s.Chmod(p, 0750 + i % 8)); });
      case 10:
        return Same(i, "get " + p, [&](auto& s) {
          auto r = s.Get(p);
          return r.ok() ? *r : Outcome(r);
        });
      case 11:
        return Same(i, "append " + p, [&](auto& s) {
          auto f = s.Open(p, O_WRONLY | O_APPEND);
          return f.ok() ? Outcome(s.WriteTo(**f, "+")) : Outcome(f);
        });
      case 12:
        return Same(i, "list " + p, [&](auto& s) {
          auto r = s.List(p);
          std::string out = Outcome(r);
          if (r.ok()) {
            for (const std::string& n : *r) out += " " + n;
          }
          return out;
        });
      default:
        return drop_();
    }
  }

  void Compare(const std::string& path) {
    auto x = a_.Stat(path), y = b_.Stat(path);
    ASSERT_EQ(Outcome(x), Outcome(y)) << path;
    if (!x.ok()) return;
    ASSERT_EQ(x->mode, y->mode) << path;
    if (S_ISREG(x->mode)) {
      ASSERT_EQ(*a_.Get(path), *b_.Get(path)) << path;
      ASSERT_EQ(x->nlink, y->nlink) << path;
    } else if (S_ISLNK(x->mode)) {
      ASSERT_EQ(*a_.ReadLink(path), *b_.ReadLink(path)) << path;
    } else if (S_ISDIR(x->mode)) {
      auto names = MUST(a_.List(path));
      ASSERT_EQ(names, MUST(b_.List(path))) << path;
      for (const std::string& n : names) Compare(path == "/" ? "/" + n : path + "/" + n);
    }
  }

  std::mt19937 random_;
  A& a_;
  B& b_;
  absl::FunctionRef<void()> drop_;
};

}  // namespace msentry
