// The parts of the sysfs tree, one function each, and what they share. Internal to sysfs.
#pragma once

#include <string>
#include <string_view>

#include "fsimpl/pseudofs/pseudofs.h"
#include "fsimpl/sysfs/sysfs.h"

namespace msentry::sysfs {

class SysFs final : public pseudofs::PseudoFs {
 public:
  explicit SysFs(Options options);
  const Options& options() const { return options_; }

 private:
  const Options options_;
};

// Adds a file that says `text` and a newline.
void AddText(SysFs& fs, pseudofs::StaticDir& dir, const char* name, std::string text,
             uint32_t mode = 0444);
void AddLink(SysFs& fs, pseudofs::StaticDir& dir, std::string name, std::string target);

// "0" or "0-3"; all `cpus` lowest bits, or one bit among `cpus`, in groups of 32.
std::string CpuRange(int cpus);
std::string CpuMask(int cpus);
std::string OneCpuMask(int cpu, int cpus);

void AddCpus(SysFs& fs, pseudofs::StaticDir& root);     // cpus.cc: devices/system/cpu
void AddNodes(SysFs& fs, pseudofs::StaticDir& root);    // nodes.cc: devices/system/node
void AddDevices(SysFs& fs, pseudofs::StaticDir& root);  // devices.cc: devices/virtual, class, dev
void AddKernel(SysFs& fs, pseudofs::StaticDir& root);   // kernel.cc: kernel, fs, and the empty rest

}  // namespace msentry::sysfs
