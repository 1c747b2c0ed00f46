// The fuzzed interface: one input is a sequence of messages for a Session over a small tree, then
// the same bytes as replies for the decoders. Shared by the libFuzzer target and the standalone
// run.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace msentry::gofer {

void FuzzOne(const uint8_t* data, size_t size);

// Inputs to start from, made by the encoder: every message with plausible fields, and sessions.
std::vector<std::vector<uint8_t>> SeedCorpus();

}  // namespace msentry::gofer
