#include "platform/ptrace/ptrace.h"

#include "platform/ptrace/thread.h"
#include "platform/ptrace/tracer.h"

namespace msentry::platform {
namespace {

class PtracePlatform final : public Platform {
 public:
  explicit PtracePlatform(std::unique_ptr<pt::Tracer> tracer) : tracer_(std::move(tracer)) {}

  Result<std::pair<RefPtr<AddressSpace>, std::unique_ptr<GuestThread>>> NewProcess() override {
    RefPtr<pt::Tracee> tracee = TRY(tracer_->NewProcess());
    RefPtr<AddressSpace> space = tracee->space;
    return std::pair(std::move(space), pt::MakeThread(*tracer_, std::move(tracee)));
  }
  Kind kind() const override { return Kind::kPtrace; }
  Vdso vdso() const override { return tracer_->vdso(); }

 private:
  std::unique_ptr<pt::Tracer> tracer_;
};

}  // namespace

Result<std::unique_ptr<Platform>> CreatePtrace(sched::Scheduler&, const Options&,
                                               std::string* why) {
  auto tracer = TRY(pt::Tracer::Create(why));
  return std::unique_ptr<Platform>(new PtracePlatform(std::move(tracer)));
}

}  // namespace msentry::platform
