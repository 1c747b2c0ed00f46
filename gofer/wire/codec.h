// Reading and writing the little-endian fields of a 9P message (intro(5) of Plan 9, "diod protocol"
// for 9P2000.L). Shared by the gofer server and the sentry's client; both treat the peer as
// hostile.
//
// Decoder never reads outside its span, never allocates on the peer's word, and remembers the first
// failure: callers decode every field, then ask Finish() once. Strings and data come out as views
// into the message buffer, which must outlive them. Encoder appends to a caller's vector and
// patches the message size in at the end. No locks; not thread safe.
#pragma once

#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>
#include <vector>

#include "absl/container/inlined_vector.h"

namespace msentry::p9 {

// One path component: never empty, at most 255 bytes, without '/' and NUL. "." and ".." pass the
// decoder; whoever walks decides about them.
struct Name {
  std::string_view text;
};

// A byte string with a 32-bit count: the data of reads, writes and directory listings.
struct Bytes {
  std::span<const uint8_t> data;
};

inline constexpr size_t kMaxNames = 64;  // components of one extended walk; plain Twalk has 16
using Names = absl::InlinedVector<Name, 16>;
using Fids = absl::InlinedVector<uint32_t, 64>;
inline constexpr size_t kMaxFids = 4096;  // in one Tclunks or Tgetattrs

struct Qid {
  uint8_t type = 0;
  uint32_t version = 0;
  uint64_t path = 0;
  bool operator==(const Qid&) const = default;
};
inline constexpr uint8_t kQidDir = 0x80, kQidSymlink = 0x02, kQidFile = 0x00;
using Qids = absl::InlinedVector<Qid, 16>;

struct TimeSpec {
  int64_t sec = 0;
  uint32_t nsec = 0;
  bool operator==(const TimeSpec&) const = default;
};

// Everything statx(2) knows, in one fixed-size field group (extension only).
struct Attr {
  Qid qid;
  uint64_t ino = 0, dev = 0;  // the host's; only their equality means something
  uint32_t mode = 0, uid = 0, gid = 0;
  uint64_t nlink = 0, rdev = 0, size = 0, blocks = 0;
  uint32_t blksize = 0;
  TimeSpec atime, mtime, ctime, btime;
};
inline constexpr size_t kAttrBytes = 13 + 16 + 12 + 32 + 4 + 4 * 12;
using Attrs = std::vector<Attr>;

class Decoder {
 public:
  explicit Decoder(std::span<const uint8_t> message) : rest_(message) {}

  template <typename... T>
  void operator()(T&... fields) {
    (Get(fields), ...);
  }
  // Whether every field was there and valid, and nothing is left over.
  bool Finish() const { return ok_ && rest_.empty(); }
  bool ok() const { return ok_; }

  void Get(uint8_t& v) { GetInt(v); }
  void Get(uint16_t& v) { GetInt(v); }
  void Get(uint32_t& v) { GetInt(v); }
  void Get(uint64_t& v) { GetInt(v); }
  void Get(int64_t& v) { GetInt(v); }
  void Get(std::string_view& v);
  void Get(Name& v);
  void Get(Names& v);
  void Get(Fids& v);
  void Get(Bytes& v);
  void Get(Qid& v) { (*this)(v.type, v.version, v.path); }
  void Get(Qids& v);
  void Get(TimeSpec& v);
  void Get(Attr& v);
  void Get(Attrs& v);

 private:
  template <typename T>
  void GetInt(T& v) {
    if (rest_.size() < sizeof(T)) return Fail();
    std::memcpy(&v, rest_.data(), sizeof(T));
    rest_ = rest_.subspan(sizeof(T));
  }
  void Fail() {
    ok_ = false;
    rest_ = {};
  }

  std::span<const uint8_t> rest_;
  bool ok_ = true;
};

class Encoder {
 public:
  // Starts a message at the end of `out`: size placeholder, type, tag.
  Encoder(std::vector<uint8_t>& out, uint8_t type, uint16_t tag);

  template <typename... T>
  void operator()(const T&... fields) {
    (Put(fields), ...);
  }
  // Writes the size field; `extra` bytes follow that the caller sends from elsewhere (read data).
  void Finish(size_t extra = 0);

  void Put(uint8_t v) { PutRaw(&v, sizeof v); }
  void Put(uint16_t v) { PutRaw(&v, sizeof v); }
  void Put(uint32_t v) { PutRaw(&v, sizeof v); }
  void Put(uint64_t v) { PutRaw(&v, sizeof v); }
  void Put(int64_t v) { PutRaw(&v, sizeof v); }
  void Put(std::string_view v);  // truncated at 65535 bytes
  void Put(const Name& v) { Put(v.text); }
  void Put(const Names& v);
  void Put(const Fids& v);
  void Put(const Bytes& v);
  void Put(const Qid& v) { (*this)(v.type, v.version, v.path); }
  void Put(const Qids& v);
  void Put(const TimeSpec& v) { (*this)(v.sec, v.nsec); }
  void Put(const Attr& v);
  void Put(const Attrs& v);

 private:
  void PutRaw(const void* p, size_t n) {
    const auto* bytes = static_cast<const uint8_t*>(p);
    out_.insert(out_.end(), bytes, bytes + n);
  }

  std::vector<uint8_t>& out_;
  size_t start_;
};

// Whether `text` is a valid Name.
bool IsValidName(std::string_view text);

}  // namespace msentry::p9
