#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "procfs/sysctl.h"
#include "procfs/system_files.h"
#include "procfs/units.h"
#include "vfs/permissions.h"

namespace msentry::procfs {

namespace {

class KnobInode final : public pseudofs::TextInode {
 public:
  KnobInode(ProcFs& fs, const Knob& knob)
      : TextInode(fs, fs.NextIno(), S_IFREG | ModeOf(knob)), knob_(knob) {
    set_custom_permission();
  }

  bool seeks_end() const override { return true; }
  Errno mmap_error() const override { return Errno::kENODEV; }

  // test_perm of fs/proc/proc_sysctl.c: root is the owner, and capabilities do not count.
  Result<> CheckPermission(const vfs::OpContext& ctx, int mask) override {
    uint32_t bits = mode();
    if (ctx.creds.fsuid == 0) {
      bits >>= 6;
    } else if (ctx.creds.InGroup(0)) {
      bits >>= 3;
    }
    if ((mask & vfs::kMayRead) != 0 && (bits & 4) == 0) return Errno::kEACCES;
    if ((mask & vfs::kMayWrite) != 0 && (bits & 2) == 0) return Errno::kEACCES;
    if ((mask & vfs::kMayExec) != 0 && (bits & 1) == 0) return Errno::kEACCES;
    return Ok();
  }

  Result<std::string> Generate(const vfs::OpContext&) override { return Value() + "\n"; }

  Result<> Store(const vfs::OpContext&, std::string_view text) override {
    kernel::Kernel& kernel = this->kernel();
    if (knob_.kind == KnobKind::kText) {
      text = text.substr(0, text.find_first_of(std::string_view("\n\0", 2)));
      text = text.substr(0, static_cast<size_t>(knob_.max));
      if (knob_.apply_text) TRY(knob_.apply_text(kernel, text));
      if (!knob_.read) kernel.sysctls().Set(knob_.path, std::string(text));
      return Ok();
    }
    const std::vector<std::string> old = absl::StrSplit(Value(), '\t');
    const std::vector<int64_t> values = TRY(ParseKnob(knob_, text, old.size()));
    if (knob_.apply) TRY(knob_.apply(kernel, values));
    if (knob_.read) return Ok();
    // Fewer numbers than there are change the first ones only.
    std::vector<std::string> now = old;
    for (size_t i = 0; i < values.size(); ++i) now[i] = Format(values[i]);
    kernel.sysctls().Set(knob_.path, absl::StrJoin(now, "\t"));
    return Ok();
  }

 private:
  static uint32_t ModeOf(const Knob& knob) {
    if (knob.mode != 0) return knob.mode;
    return knob.kind == KnobKind::kConstant ? 0444 : 0644;
  }
  kernel::Kernel& kernel() const { return static_cast<ProcFs&>(fs()).kernel(); }
  std::string Format(int64_t value) const {
    if (knob_.kind == KnobKind::kLongs) return absl::StrCat(static_cast<uint64_t>(value));
    return absl::StrCat(value);
  }
  std::string Value() const {
    if (knob_.read) return knob_.read(kernel());
    if (std::optional<std::string> written = kernel().sysctls().Get(knob_.path)) return *written;
    return knob_.initial;
  }

  const Knob& knob_;
};

bool IsBlank(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\0'; }

}  // namespace

Result<std::vector<int64_t>> ParseKnob(const Knob& knob, std::string_view text, size_t count) {
  std::vector<int64_t> values;
  while (values.size() < count) {
    while (!text.empty() && IsBlank(text.front())) text.remove_prefix(1);
    if (text.empty()) break;
    size_t end = 0;
    while (end < text.size() && !IsBlank(text[end])) ++end;
    int64_t value = 0;
    if (knob.kind == KnobKind::kLongs) {
      // Without a sign: what min and max say is meant so too.
      Result<uint64_t> number = ParseUnsigned(text.substr(0, end), 0);
      if (!number.ok() || text.front() == '+') return Errno::kEINVAL;
      if (*number < static_cast<uint64_t>(knob.min) || *number > static_cast<uint64_t>(knob.max)) {
        return Errno::kEINVAL;
      }
      value = static_cast<int64_t>(*number);
    } else {
      Result<int64_t> number = ParseSigned(text.substr(0, end), 0);
      if (!number.ok() || text.front() == '+') return Errno::kEINVAL;
      if (*number < knob.min || *number > knob.max) return Errno::kEINVAL;
      value = *number;
    }
    values.push_back(value);
    text.remove_prefix(end);
  }
  if (values.empty()) return Errno::kEINVAL;
  return values;
}

void AddSysTree(ProcFs& fs, pseudofs::StaticDir& root) {
  pseudofs::StaticDir& sys = root.Dir("sys");
  for (const Knob& knob : Knobs()) {
    std::string_view path = knob.path;
    pseudofs::StaticDir* at = &sys;
    for (size_t slash; (slash = path.find('/')) != std::string_view::npos;) {
      at = &at->Dir(path.substr(0, slash));
      path.remove_prefix(slash + 1);
    }
    at->Add(std::string(path), MakeRef<KnobInode>(fs, knob));
  }
  AddIpcLimits(fs, sys.Dir("kernel"));
  // Where binfmt_misc would be mounted.
  sys.Dir("fs").Dir("binfmt_misc");
  sys.Dir("abi");
}

}  // namespace msentry::procfs
