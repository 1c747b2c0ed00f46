// The fuzzed interface of the slot protocol (stub/abi.h): a real guest thread whose stub is
// stopped, and somebody else in its place who answers as the input says. Whatever it writes, the
// sentry may lose the process, nothing more.
//
// An input is read by both sides in turns: a byte chooses what the sentry asks for, then the stub's
// answer: how many words it writes, and for each which one and what.
#pragma once

#include <cstddef>
#include <cstdint>

namespace msentry::systrap {

void FuzzSlot(const uint8_t* data, size_t size);

}  // namespace msentry::systrap
