// The fuzzed interface of the system calls: one input is a sequence of calls with their arguments,
// made by init and whatever it forks in a sandbox of its own, with the whole kernel below and the
// usual file systems, but no host process (scripted_platform.h). Shared by the libFuzzer target
// and the bounded test.
//
// An input is a list of steps; what a step reads behind the end is zero:
//   even byte   a call: the next byte chooses it (with bit 1 of the first as the high bit), then
//               an argument for each that the call has
//   odd byte    text: where in the guest's scratch memory, how many bytes, and those
// Arguments are one byte, or that and more: small numbers, paths, structs and scratch memory at
// known addresses, what earlier calls returned, powers of two, and raw numbers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

namespace msentry::syscalls {

// Returns how many calls were made.
int FuzzCalls(const uint8_t* data, size_t size);

// Inputs to start from: each exercises one family with sensible arguments.
struct CallSeed {
  int calls = 0;
  std::vector<uint8_t> bytes;
};
std::vector<CallSeed> CallSeeds();

}  // namespace msentry::syscalls
