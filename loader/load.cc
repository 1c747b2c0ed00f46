// Load: maps a prepared program into an empty address space and builds its stack.
#include <elf.h>
#include <sys/auxv.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstring>

#include "loader/initial_stack.h"
#include "loader/loader.h"
#include "sentry/arch/registers.h"
#include "sentry/mm/pages.h"
#include "vfs/mapping.h"

namespace msentry::loader {

namespace {

using mm::PageDown;
using mm::PageUp;

constexpr uint64_t kPieBase = 0x555555554000;            // ELF_ET_DYN_BASE of 47-bit Linux
constexpr uint64_t kPieRandomPages = uint64_t{1} << 28;  // vm.mmap_rnd_bits
constexpr uint64_t kBrkRandomPages = 0x02000000 / arch::kPageSize;
constexpr uint64_t kStackSlack = 128 << 10;  // mapped below the first stack pointer
constexpr int kAtMinSigStackSize = 51;       // AT_MINSIGSTKSZ
constexpr uint64_t kClockTicks = 100;

// Where an image went: `bias` is added to its addresses.
struct Placed {
  uint64_t bias = 0;
  uint64_t end = 0;  // page-aligned end of its last segment
};

class ImageMapper {
 public:
  ImageMapper(const Environment& environment, mm::MemoryManager& mm, platform::GuestThread& thread)
      : environment_(environment), mm_(mm), thread_(thread) {}

  // `base`: where a position independent image should begin, 0 for the mapping area.
  Result<Placed> Map(const ElfImage& elf, const RefPtr<vfs::FileDescription>& file, uint64_t base);
  // Zeroes the rests of pages that file bytes share with the zeros after them. After FinishLoad.
  Result<> ZeroTails();

 private:
  struct Tail {
    uint64_t start, end;
  };
  Result<> MapSegment(const ElfSegment& segment, uint64_t bias, uint64_t next_start,
                      const RefPtr<mm::MappedFile>& file);
  Result<> MapPart(uint64_t start, uint64_t end, int protection, RefPtr<mm::MappedFile> file,
                   uint64_t offset);

  const Environment& environment_;
  mm::MemoryManager& mm_;
  platform::GuestThread& thread_;
  std::vector<Tail> tails_;
};

Result<> ImageMapper::MapPart(uint64_t start, uint64_t end, int protection,
                              RefPtr<mm::MappedFile> file, uint64_t offset) {
  int flags = MAP_PRIVATE | MAP_FIXED | (file ? 0 : MAP_ANONYMOUS);
  TRY(mm_.Map(thread_,
              {.address = start,
               .length = end - start,
               .protection = protection,
               .flags = flags,
               .file = std::move(file),
               .offset = offset},
              environment_.limits));
  return Ok();
}

Result<> ImageMapper::MapSegment(const ElfSegment& s, uint64_t bias, uint64_t next_start,
                                 const RefPtr<mm::MappedFile>& file) {
  uint64_t address = s.address + bias;
  uint64_t start = PageDown(address);
  uint64_t file_end = PageUp(address + s.file_size);
  uint64_t end = PageUp(address + s.memory_size);
  if (s.file_size == 0) return MapPart(start, end, s.protection, nullptr, 0);
  TRY(MapPart(start, file_end, s.protection, file, PageDown(s.offset)));
  if (end > file_end) TRY(MapPart(file_end, end, s.protection, nullptr, 0));
  uint64_t tail = address + s.file_size;
  if (s.memory_size > s.file_size && (s.protection & PROT_WRITE) != 0 && tail < file_end) {
    uint64_t tail_end = std::min(file_end, next_start);
    if (tail < tail_end) tails_.push_back({tail, tail_end});
  }
  return Ok();
}

Result<Placed> ImageMapper::Map(const ElfImage& elf, const RefPtr<vfs::FileDescription>& file,
                                uint64_t base) {
  uint64_t length = elf.end() - elf.begin();
  Placed placed;
  if (elf.position_independent) {
    if (base == 0) {
      // Let mm find room, aligned, then map over it.
      uint64_t room = length + elf.alignment - arch::kPageSize;
      if (room < length) return Errno::kENOMEM;
      uint64_t found = TRY(mm_.Map(thread_,
                                   {.length = room,
                                    .protection = PROT_NONE,
                                    .flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE},
                                   environment_.limits));
      TRY(mm_.Unmap(thread_, found, room));
      // The highest place in it: mappings that follow leave no hole above.
      base = (found + room - length) & ~(elf.alignment - 1);
    }
    base &= ~(elf.alignment - 1);
    placed.bias = base - (elf.begin() & ~(elf.alignment - 1));
  }
  if (elf.end() + placed.bias > arch::kTaskSize || elf.end() + placed.bias < length) {
    return Errno::kENOMEM;
  }
  RefPtr<mm::MappedFile> mapped = vfs::MakeMappedFile(file, environment_.root);
  if (!mapped) return Errno::kEACCES;
  for (size_t i = 0; i < elf.segments.size(); ++i) {
    uint64_t next_start = ~uint64_t{0};
    if (i + 1 < elf.segments.size()) {
      next_start = PageDown(elf.segments[i + 1].address + placed.bias);
    }
    TRY(MapSegment(elf.segments[i], placed.bias, next_start, mapped));
  }
  placed.end = elf.end() + placed.bias;
  return placed;
}

Result<> ImageMapper::ZeroTails() {
  mm::GuestMemory memory(&mm_, &thread_);
  for (const Tail& t : tails_) TRY(memory.ZeroBytes(t.start, t.end - t.start));
  return Ok();
}

uint64_t RandomPages(const mm::MemoryManager& mm, uint64_t pages) {
  return mm.layout().randomize ? mm::RandomBits() % pages * arch::kPageSize : 0;
}

mm::ImageInfo Describe(const ElfImage& elf, uint64_t bias) {
  mm::ImageInfo info;
  info.start_code = ~uint64_t{0};
  for (const ElfSegment& s : elf.segments) {
    uint64_t start = s.address + bias, end = start + s.file_size;
    info.start_code = std::min(info.start_code, start);
    info.start_data = std::max(info.start_data, start);
    if ((s.protection & PROT_EXEC) != 0) info.end_code = std::max(info.end_code, end);
    info.end_data = std::max(info.end_data, end);
  }
  return info;
}

std::vector<std::pair<uint64_t, uint64_t>> BaseAuxv(const Program& program, const Environment& env,
                                                    uint64_t bias, uint64_t interpreter_base) {
  std::vector<std::pair<uint64_t, uint64_t>> v;
  if (env.vdso.length != 0) v.emplace_back(AT_SYSINFO_EHDR, env.vdso.address);
  v.emplace_back(kAtMinSigStackSize, getauxval(kAtMinSigStackSize));
  v.emplace_back(AT_HWCAP, getauxval(AT_HWCAP));
  v.emplace_back(AT_PAGESZ, arch::kPageSize);
  v.emplace_back(AT_CLKTCK, kClockTicks);
  v.emplace_back(AT_PHDR, program.elf.program_headers + bias);
  v.emplace_back(AT_PHENT, sizeof(Elf64_Phdr));
  v.emplace_back(AT_PHNUM, program.elf.program_header_count);
  v.emplace_back(AT_BASE, interpreter_base);
  v.emplace_back(AT_FLAGS, 0);
  v.emplace_back(AT_ENTRY, program.elf.entry + bias);
  v.emplace_back(AT_UID, env.uid);
  v.emplace_back(AT_EUID, env.euid);
  v.emplace_back(AT_GID, env.gid);
  v.emplace_back(AT_EGID, env.egid);
  v.emplace_back(AT_SECURE, env.secure ? 1 : 0);
  // Not the host's: FSGSBASE is not offered. Linux 4.4 has no such thing, and systrap has to know
  // gs.
  v.emplace_back(AT_HWCAP2, 0);
  return v;
}

InitialStack MakeStack(const Program& program, const Environment& env, const mm::MemoryManager& mm,
                       std::vector<std::pair<uint64_t, uint64_t>> auxv) {
  InitialStackArgs args{.top = mm.layout().stack_top,
                        .argv = program.argv,
                        .envp = env.envp,
                        .name = program.name,
                        .auxv = std::move(auxv)};
  uint64_t random[2] = {mm::RandomBits(), mm::RandomBits()};
  std::memcpy(args.random.data(), random, sizeof(random));
  return BuildInitialStack(args);
}

}  // namespace

Result<Entry> Load(const Program& program, const Environment& env, mm::MemoryManager& mm,
                   platform::GuestThread& thread) {
  TRY(CheckArgumentSize(program.argv, env.envp, program.name, MaxArgBytes(env.limits.stack)));
  mm.set_stack_limit(env.limits.stack);
  mm.BeginLoad();
  ImageMapper mapper(env, mm, thread);

  // Without an interpreter a position independent image is most likely one itself (ld.so run by
  // hand): it goes where mappings go, away from the heap of what it loads.
  bool has_interpreter = program.interpreter != nullptr;
  uint64_t pie_base = has_interpreter ? kPieBase + RandomPages(mm, kPieRandomPages) : 0;
  Placed image = TRY(mapper.Map(program.elf, program.executable, pie_base));
  Placed interpreter;
  if (has_interpreter) {
    interpreter = TRY(mapper.Map(program.interpreter_elf, program.interpreter, 0));
  }
  uint64_t brk = image.end;
  if (program.elf.position_independent && !has_interpreter) brk = kPieBase;
  mm.SetBrkStart(brk + RandomPages(mm, kBrkRandomPages));

  uint64_t interpreter_base =
      has_interpreter ? interpreter.bias + program.interpreter_elf.begin() : 0;
  InitialStack stack =
      MakeStack(program, env, mm, BaseAuxv(program, env, image.bias, interpreter_base));
  uint64_t stack_start = PageDown(stack.pointer - kStackSlack);
  int stack_protection = PROT_READ | PROT_WRITE | (program.elf.executable_stack ? PROT_EXEC : 0);
  Result<uint64_t> stack_map = mm.Map(
      thread,
      {.address = stack_start,
       .length = mm.layout().stack_top - stack_start,
       .protection = stack_protection,
       .flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_GROWSDOWN | MAP_STACK | MAP_FIXED_NOREPLACE,
       .label = mm::VmaLabel::kStack},
      env.limits);
  // A segment in the stack's place: no such program can run.
  if (!stack_map) return Errno::kENOMEM;

  TRY(mm.FinishLoad(thread));
  TRY(mapper.ZeroTails());
  TRY(mm::GuestMemory(&mm, &thread).CopyOutBytes(stack.pointer, stack.bytes));

  mm::ImageInfo info = Describe(program.elf, image.bias);
  info.start_stack = stack.pointer;
  info.arg_start = stack.arg_start;
  info.arg_end = stack.arg_end;
  info.env_start = stack.env_start;
  info.env_end = stack.env_end;
  info.auxv = std::move(stack.auxv);
  info.executable = vfs::MakeMappedFile(program.executable, env.root);
  mm.SetImage(std::move(info));

  Entry entry;
  entry.stack_pointer = stack.pointer;
  entry.instruction_pointer = has_interpreter ? program.interpreter_elf.entry + interpreter.bias
                                              : program.elf.entry + image.bias;
  if (entry.instruction_pointer >= arch::kTaskSize) return Errno::kENOEXEC;
  return entry;
}

}  // namespace msentry::loader
