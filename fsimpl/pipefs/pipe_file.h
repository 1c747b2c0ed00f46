// Descriptions of pipe ends: pipe2(2), and open(2) of a FIFO.
#pragma once

#include <utility>

#include "fsimpl/pipefs/pipe.h"
#include "vfs/file_description.h"
#include "vfs/vfs.h"

namespace msentry::pipefs {

class PipeFile : public vfs::FileDescription {
 public:
  static const char kClassTag;
  const void* ClassTag() const override { return &kClassTag; }

  // Counts as a reader or writer (or both) by the access mode of `flags`.
  PipeFile(vfs::Location location, int flags, RefPtr<Pipe> pipe);
  ~PipeFile() override;

  Pipe& pipe() const { return *pipe_; }
  // A blocking open(2) of a FIFO is complete: the other side has been opened since.
  bool HasPeer() const;

  Result<size_t> Read(const vfs::OpContext& ctx, mm::IoSequence& to) override;
  Result<size_t> Write(const vfs::OpContext& ctx, mm::IoSequence& from) override;
  Result<int64_t> Ioctl(const vfs::OpContext& ctx, uint32_t command, uint64_t argument,
                        vfs::UserMemory& memory) override;
  sched::EventMask Readiness(sched::EventMask mask) override;
  sched::WaitQueue& wait_queue() override;

 private:
  const RefPtr<Pipe> pipe_;
  // Opens of the other side before this one: a FIFO's reader sees HUP only after a writer has come
  // and gone.
  const uint64_t reader_opens_, writer_opens_;
};

// The read and the write end. `flags`: O_NONBLOCK, O_DIRECT.
std::pair<RefPtr<PipeFile>, RefPtr<PipeFile>> MakePipe(const vfs::OpContext& ctx, int flags);

// vfs::Vfs::FifoOpener. ENXIO for O_WRONLY|O_NONBLOCK without a reader. A blocking open returns at
// once; the call layer waits for HasPeer().
Result<RefPtr<vfs::FileDescription>> OpenFifo(const vfs::OpContext& ctx, const vfs::OpenArgs& args);

}  // namespace msentry::pipefs
