// Who a process is and how it is treated: identity maps, audit ids, OOM scores, core dumps.
#include "absl/strings/str_format.h"
#include "procfs/process_files.h"
#include "procfs/units.h"
#include "sentry/arch/registers.h"

namespace msentry::procfs {

namespace {

constexpr int kOomMin = -1000, kOomMax = 1000;
// The old scale of oom_adj: -17 means never.
constexpr int kOomAdjDisable = -17, kOomAdjMin = -16, kOomAdjMax = 15;
constexpr uint32_t kNotSet = ~0u;

Result<> SetOomScoreAdj(const View& v, int value) {
  auto& least = v.group.proc.oom_score_adj_min;
  const bool capable = v.ctx.creds.HasCap(auth::Cap::kSysResource);
  if (value < least.load(std::memory_order_relaxed) && !capable) return Errno::kEACCES;
  v.group.oom_score_adj.store(value, std::memory_order_relaxed);
  if (capable) least.store(value, std::memory_order_relaxed);
  return Ok();
}

}  // namespace

// One user namespace, the initial one: all ids map to themselves, and that cannot be changed.
Text ReadIdMap(const View&) { return absl::StrFormat("%10u %10u %10u\n", 0, 0, ~0u); }
Result<> WriteIdMap(const View&, std::string_view) { return Errno::kEPERM; }
Text ReadSetgroups(const View&) { return std::string("allow\n"); }
Result<> WriteSetgroups(const View& v, std::string_view text) {
  if (text.size() >= 8) return Errno::kEINVAL;
  if (!v.ctx.creds.HasCap(auth::Cap::kSysAdmin)) return Errno::kEACCES;
  text = Trim(text);
  if (text == "allow") return Ok();
  // The group map is set: too late to deny.
  return text == "deny" ? Errno::kEPERM : Errno::kEINVAL;
}

Text ReadLoginuid(const View& v) {
  return absl::StrCat(v.group.proc.login_uid.load(std::memory_order_relaxed));
}

// Set once by who logs a user in (pam_loginuid); changed only with CAP_AUDIT_CONTROL.
Result<> WriteLoginuid(const View& v, std::string_view text) {
  if (v.ctx.tgid != v.task.tgid()) return Errno::kEPERM;
  const uint64_t uid = TRY(ParseUnsigned(text, 10));
  if (uid > kNotSet) return Errno::kERANGE;
  kernel::ThreadGroup::ProcSettings& proc = v.group.proc;
  if (proc.login_uid.load() != kNotSet && !v.ctx.creds.HasCap(auth::Cap::kAuditControl)) {
    return Errno::kEPERM;
  }
  proc.login_uid.store(static_cast<uint32_t>(uid));
  proc.audit_session.store(uid == kNotSet ? kNotSet : ++v.kernel().audit_sessions);
  return Ok();
}

Text ReadSessionid(const View& v) {
  return absl::StrCat(v.group.proc.audit_session.load(std::memory_order_relaxed));
}

// oom_badness(): the share of memory in thousandths, shifted by the adjustment; a process that is
// never to be killed has 0.
Text ReadOomScore(const View& v) {
  RefPtr<mm::MemoryManager> mm = v.task.mm_ref();
  const int64_t adj = v.group.oom_score_adj.load(std::memory_order_relaxed);
  if (!mm || adj == kOomMin) return std::string("0\n");
  const uint64_t total = v.kernel().memory_total();
  int64_t score = adj;
  if (total != 0) score += mm->Resident().resident * arch::kPageSize * kOomMax / total;
  return absl::StrCat(std::max<int64_t>(score, 0), "\n");
}

Text ReadOomScoreAdj(const View& v) {
  return absl::StrCat(v.group.oom_score_adj.load(std::memory_order_relaxed), "\n");
}

Result<> WriteOomScoreAdj(const View& v, std::string_view text) {
  const int64_t value = TRY(ParseSigned(text, 0));
  if (value < kOomMin || value > kOomMax) return Errno::kEINVAL;
  return SetOomScoreAdj(v, static_cast<int>(value));
}

Text ReadOomAdj(const View& v) {
  const int adj = v.group.oom_score_adj.load(std::memory_order_relaxed);
  const int old = adj == kOomMax ? kOomAdjMax : adj * -kOomAdjDisable / kOomMax;
  return absl::StrCat(old, "\n");
}

Result<> WriteOomAdj(const View& v, std::string_view text) {
  const int64_t value = TRY(ParseSigned(text, 0));
  if ((value < kOomAdjMin || value > kOomAdjMax) && value != kOomAdjDisable) {
    return Errno::kEINVAL;
  }
  return SetOomScoreAdj(
      v, value == kOomAdjMax ? kOomMax : static_cast<int>(value * kOomMax / -kOomAdjDisable));
}

Text ReadCoredumpFilter(const View& v) {
  return absl::StrFormat("%08x\n", v.group.proc.coredump_filter.load(std::memory_order_relaxed));
}

Result<> WriteCoredumpFilter(const View& v, std::string_view text) {
  constexpr uint32_t kBits = 0x1ff;  // nine kinds of mappings (core(5))
  const uint64_t value = TRY(ParseUnsigned(text, 0));
  if (value > ~0u) return Errno::kERANGE;
  v.group.proc.coredump_filter.store(static_cast<uint32_t>(value) & kBits,
                                     std::memory_order_relaxed);
  return Ok();
}

}  // namespace msentry::procfs
