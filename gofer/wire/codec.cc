#include "gofer/wire/codec.h"

#include <algorithm>

namespace msentry::p9 {

bool IsValidName(std::string_view text) {
  return !text.empty() && text.size() <= 255 && text.find('/') == text.npos &&
         text.find('\0') == text.npos;
}

void Decoder::Get(std::string_view& v) {
  uint16_t size = 0;
  GetInt(size);
  if (size > rest_.size()) return Fail();
  v = {reinterpret_cast<const char*>(rest_.data()), size};
  // A NUL would end the string early in host calls: what was checked would not be what is used.
  if (v.find('\0') != v.npos) return Fail();
  rest_ = rest_.subspan(size);
}

void Decoder::Get(Name& v) {
  Get(v.text);
  if (ok_ && !IsValidName(v.text)) Fail();
}

void Decoder::Get(Names& v) {
  uint16_t count = 0;
  GetInt(count);
  if (count > kMaxNames || size_t{count} * 3 > rest_.size()) return Fail();
  v.resize(count);
  for (Name& name : v) Get(name);
}

void Decoder::Get(Fids& v) {
  uint16_t count = 0;
  GetInt(count);
  if (count > kMaxFids || size_t{count} * 4 > rest_.size()) return Fail();
  v.resize(count);
  for (uint32_t& fid : v) GetInt(fid);
}

void Decoder::Get(Bytes& v) {
  uint32_t size = 0;
  GetInt(size);
  if (size > rest_.size()) return Fail();
  v.data = rest_.first(size);
  rest_ = rest_.subspan(size);
}

void Decoder::Get(Qids& v) {
  uint16_t count = 0;
  GetInt(count);
  if (count > kMaxNames || size_t{count} * 13 > rest_.size()) return Fail();
  v.resize(count);
  for (Qid& qid : v) Get(qid);
}

void Decoder::Get(TimeSpec& v) {
  (*this)(v.sec, v.nsec);
  if (ok_ && v.nsec >= 1'000'000'000) Fail();
}

void Decoder::Get(Attr& v) {
  (*this)(v.qid, v.ino, v.dev, v.mode, v.uid, v.gid, v.nlink, v.rdev, v.size, v.blocks, v.blksize,
          v.atime, v.mtime, v.ctime, v.btime);
}

void Decoder::Get(Attrs& v) {
  uint16_t count = 0;
  GetInt(count);
  if (count > kMaxNames || count * kAttrBytes > rest_.size()) return Fail();
  v.resize(count);
  for (Attr& attr : v) Get(attr);
}

Encoder::Encoder(std::vector<uint8_t>& out, uint8_t type, uint16_t tag)
    : out_(out), start_(out.size()) {
  (*this)(uint32_t{0}, type, tag);
}

void Encoder::Finish(size_t extra) {
  uint32_t size = static_cast<uint32_t>(out_.size() - start_ + extra);
  std::memcpy(out_.data() + start_, &size, sizeof size);
}

void Encoder::Put(std::string_view v) {
  v = v.substr(0, 0xffff);
  Put(static_cast<uint16_t>(v.size()));
  PutRaw(v.data(), v.size());
}

void Encoder::Put(const Names& v) {
  Put(static_cast<uint16_t>(v.size()));
  for (const Name& name : v) Put(name);
}

void Encoder::Put(const Fids& v) {
  Put(static_cast<uint16_t>(v.size()));
  for (uint32_t fid : v) Put(fid);
}

void Encoder::Put(const Bytes& v) {
  Put(static_cast<uint32_t>(v.data.size()));
  PutRaw(v.data.data(), v.data.size());
}

void Encoder::Put(const Qids& v) {
  Put(static_cast<uint16_t>(v.size()));
  for (const Qid& qid : v) Put(qid);
}

void Encoder::Put(const Attr& v) {
  (*this)(v.qid, v.ino, v.dev, v.mode, v.uid, v.gid, v.nlink, v.rdev, v.size, v.blocks, v.blksize,
          v.atime, v.mtime, v.ctime, v.btime);
}

void Encoder::Put(const Attrs& v) {
  Put(static_cast<uint16_t>(v.size()));
  for (const Attr& attr : v) Put(attr);
}

}  // namespace msentry::p9
