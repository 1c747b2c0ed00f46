#include "fsimpl/pipefs/pipe_file.h"

#include <sys/ioctl.h>

#include "vfs/user_memory.h"

namespace msentry::pipefs {

const char PipeFile::kClassTag = 0;

PipeFile::PipeFile(vfs::Location location, int flags, RefPtr<Pipe> pipe)
    : FileDescription(std::move(location), flags),
      pipe_(std::move(pipe)),
      reader_opens_(this->location().mount ? pipe_->reader_opens() : 0),
      // With a writer there, its end is the end of the file (POLLHUP); without, only the next
      // one's.
      writer_opens_(this->location().mount && pipe_->writers() == 0 ? pipe_->writer_opens() : 0) {
  if (readable()) pipe_->AddReader();
  if (writable()) pipe_->AddWriter();
}

PipeFile::~PipeFile() {
  if (writable()) pipe_->RemoveWriter();
  if (readable()) pipe_->RemoveReader();
}

bool PipeFile::HasPeer() const {
  if (!location().mount) return true;  // pipe(2)'s: only FIFOs wait for the other side
  if (readable() && writable()) return true;
  if (readable()) return pipe_->writers() > 0 || pipe_->writer_opens() != writer_opens_;
  return pipe_->readers() > 0 || pipe_->reader_opens() != reader_opens_;
}

Result<size_t> PipeFile::Read(const vfs::OpContext&, mm::IoSequence& to) { return pipe_->Read(to); }

Result<size_t> PipeFile::Write(const vfs::OpContext&, mm::IoSequence& from) {
  return pipe_->Write(from, flags() & O_DIRECT);
}

Result<int64_t> PipeFile::Ioctl(const vfs::OpContext&, uint32_t command, uint64_t argument,
                                vfs::UserMemory& memory) {
  if (command != FIONREAD) return Errno::kENOTTY;
  TRY(memory.Write<int32_t>(argument, static_cast<int32_t>(pipe_->Available())));
  return 0;
}

sched::EventMask PipeFile::Readiness(sched::EventMask mask) {
  sched::EventMask ready = 0;
  if (readable()) {
    const int writers = pipe_->writers();
    if (pipe_->Available() > 0) ready |= sched::kIn | sched::kRdNorm;
    if (writers == 0 && pipe_->writer_opens() != writer_opens_) ready |= sched::kHup;
  }
  if (writable()) {
    if (pipe_->Room() >= Pipe::kAtomicWrite) ready |= sched::kOut | sched::kWrNorm;
    if (pipe_->readers() == 0) ready |= sched::kErr;
  }
  return ready & (mask | sched::kErr | sched::kHup);
}

sched::WaitQueue& PipeFile::wait_queue() {
  if (readable() && writable()) return pipe_->both_queue();
  return readable() ? pipe_->read_queue() : pipe_->write_queue();
}

std::pair<RefPtr<PipeFile>, RefPtr<PipeFile>> MakePipe(const vfs::OpContext& ctx, int flags) {
  vfs::Location location = vfs::MakeAnonymousLocation(
      vfs::MakeAnonymousInode(ctx.vfs, ctx.creds, S_IFIFO | 0600), "pipe:");
  auto pipe = MakeRef<Pipe>();
  // Opening /proc/PID/fd/N leads to the inode: it must find this pipe.
  location.inode().AttachOnce([&] { return RefPtr<vfs::InodeAttachment>(pipe); });
  auto read_end = MakeRef<PipeFile>(location, O_RDONLY | flags, pipe);
  auto write_end = MakeRef<PipeFile>(std::move(location), O_WRONLY | flags, std::move(pipe));
  return {std::move(read_end), std::move(write_end)};
}

Result<RefPtr<vfs::FileDescription>> OpenFifo(const vfs::OpContext&, const vfs::OpenArgs& args) {
  RefPtr<vfs::InodeAttachment> attachment = args.location.inode().AttachOnce(
      [] { return RefPtr<vfs::InodeAttachment>(MakeRef<Pipe>()); });
  RefPtr<Pipe> pipe =
      RefPtr<Pipe>(static_cast<Pipe*>(attachment.get()));  // only we attach to FIFOs
  if ((args.flags & O_ACCMODE) == O_WRONLY && (args.flags & O_NONBLOCK) && pipe->readers() == 0) {
    return Errno::kENXIO;
  }
  return RefPtr<vfs::FileDescription>(
      MakeRef<PipeFile>(args.location, args.flags, std::move(pipe)));
}

}  // namespace msentry::pipefs
