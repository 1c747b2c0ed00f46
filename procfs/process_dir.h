// /proc/PID and /proc/PID/task/TID, and what is in them.
#pragma once

#include "procfs/subject.h"

namespace msentry::procfs {

// ENOENT when there is no such process (thread of `group`).
Result<RefPtr<vfs::Inode>> MakeProcessDir(ProcFs& fs, int tgid);
Result<RefPtr<vfs::Inode>> MakeThreadDir(ProcFs& fs, const RefPtr<kernel::ThreadGroup>& group,
                                         int tid);
// Is `inode`, a result of one of the above for `id`, still about a living process?
bool IsCurrent(vfs::Inode& inode);

// Subdirectories.
RefPtr<vfs::Inode> MakeTaskDir(ProcFs& fs, const Subject& subject, uint64_t index);
RefPtr<vfs::Inode> MakeFdDir(ProcFs& fs, const Subject& subject, uint64_t index);
RefPtr<vfs::Inode> MakeFdInfoDir(ProcFs& fs, const Subject& subject, uint64_t index);
RefPtr<vfs::Inode> MakeNsDir(ProcFs& fs, const Subject& subject, uint64_t index);
RefPtr<vfs::Inode> MakeAttrDir(ProcFs& fs, const Subject& subject, uint64_t index);

// A base for directories about a subject whose names come and go.
class SubjectDir : public pseudofs::PseudoInode {
 public:
  SubjectDir(ProcFs& fs, Subject subject, uint64_t index, uint32_t mode);
  const Subject& subject() const { return subject_; }
  ProcFs& proc() const { return static_cast<ProcFs&>(fs()); }
  Result<RefPtr<vfs::FileDescription>> Open(const vfs::OpContext& ctx,
                                            const vfs::OpenArgs& args) override;

  struct Name {
    std::string name;
    int64_t cookie;  // > 0, ascending
    uint64_t ino;
    uint8_t type;
  };
  // The names with a cookie of at least `from`, ascending.
  virtual Result<std::vector<Name>> List(const vfs::OpContext& ctx, int64_t from) = 0;

 protected:
  void Refresh() override;

 private:
  const Subject subject_;
  const uint32_t fixed_mode_;
};

// A decimal number without sign, leading zeros or anything after it; -1: no such.
int ParseId(std::string_view name);

}  // namespace msentry::procfs
