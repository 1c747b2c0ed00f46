// The namespaces of a task (namespaces(7)): mount, UTS and cgroup. The others (user, pid, ipc, net)
// are configured out: there is one of each.
#pragma once

#include <string>

#include "sentry/base/mutex.h"
#include "sentry/base/ref_ptr.h"
#include "sentry/base/result.h"
#include "sentry/cgroup/cgroups.h"
#include "vfs/file_description.h"
#include "vfs/location.h"
#include "vfs/mount_namespace.h"

namespace msentry::kernel {

class Kernel;
class Task;

// Numbers of the initial namespaces, as Linux has them.
inline constexpr uint64_t kInitialMountNamespace = 4026531840, kInitialUtsNamespace = 4026531838,
                          kInitialCgroupNamespace = 4026531835;

// Host and domain name. Any thread.
class UtsNamespace : public RefCounted<UtsNamespace> {
 public:
  UtsNamespace(uint64_t number, std::string hostname, std::string domainname);
  uint64_t number() const { return number_; }
  std::string hostname() const;
  std::string domainname() const;
  void set_hostname(std::string name);
  void set_domainname(std::string name);

 private:
  const uint64_t number_;
  mutable Mutex mutex_;
  std::string hostname_ ABSL_GUARDED_BY(mutex_);
  std::string domainname_ ABSL_GUARDED_BY(mutex_);
};

// Where /proc/PID/cgroup and cgroup mounts begin.
struct CgroupNamespace : RefCounted<CgroupNamespace> {
  CgroupNamespace(uint64_t number_in, RefPtr<cgroup::GroupSet> roots_in)
      : number(number_in), roots(std::move(roots_in)) {}
  const uint64_t number;
  const RefPtr<cgroup::GroupSet> roots;  // null: the real roots
};

// Immutable once a task has it; tasks that share all of them share one.
struct Namespaces : RefCounted<Namespaces> {
  RefPtr<vfs::MountNamespace> mounts;
  RefPtr<UtsNamespace> uts;
  RefPtr<CgroupNamespace> cgroup;
};
using NamespacesRef = RefPtr<const Namespaces>;

// A number for a new namespace.
uint64_t NewNamespaceNumber();

enum class NamespaceKind : uint8_t { kMount, kUts, kCgroup };

// CLONE_NEW* flags that make a namespace here.
inline constexpr uint64_t kNamespacesHere = 0x00020000 | 0x04000000 | 0x02000000;

// What /proc/PID/ns/* leads to: setns(2) and namespace comparison by inode number.
class NamespaceFile : public vfs::FileDescription {
 public:
  static const char kClassTag;
  const void* ClassTag() const override { return &kClassTag; }
  NamespaceFile(vfs::Location location, int flags, NamespaceKind kind, NamespacesRef namespaces)
      : FileDescription(std::move(location), flags),
        kind_(kind),
        namespaces_(std::move(namespaces)) {}
  NamespaceKind kind() const { return kind_; }
  const Namespaces& namespaces() const { return *namespaces_; }

 private:
  const NamespaceKind kind_;
  const NamespacesRef namespaces_;
};

// "mnt:[4026531840]"
std::string NamespaceName(const Namespaces& namespaces, NamespaceKind kind);
// The place that the link in /proc leads to.
vfs::Location NamespaceLocation(vfs::Vfs& vfs, NamespacesRef namespaces, NamespaceKind kind);

}  // namespace msentry::kernel
