#include "gofer/wire/messages.h"

namespace msentry::p9 {

bool DecodeHeader(std::span<const uint8_t> bytes, Header& header) {
  if (bytes.size() < kHeaderBytes) return false;
  std::memcpy(&header.size, bytes.data(), 4);
  header.type = bytes[4];
  std::memcpy(&header.tag, bytes.data() + 5, 2);
  return header.size >= kHeaderBytes;
}

bool AppendDirent(std::vector<uint8_t>& out, const Dirent& entry, size_t limit) {
  size_t need = 13 + 8 + 1 + 2 + entry.name.size();
  if (out.size() + need > limit) return false;
  struct Appender {
    std::vector<uint8_t>& out;
    void Raw(const void* p, size_t n) {
      const auto* bytes = static_cast<const uint8_t*>(p);
      out.insert(out.end(), bytes, bytes + n);
    }
  } a{out};
  a.Raw(&entry.qid.type, 1);
  a.Raw(&entry.qid.version, 4);
  a.Raw(&entry.qid.path, 8);
  a.Raw(&entry.offset, 8);
  a.Raw(&entry.type, 1);
  uint16_t length = static_cast<uint16_t>(entry.name.size());
  a.Raw(&length, 2);
  a.Raw(entry.name.data(), entry.name.size());
  return true;
}

bool TakeDirent(std::span<const uint8_t>& data, Dirent& entry) {
  constexpr size_t kFixed = 13 + 8 + 1 + 2;
  if (data.size() < kFixed) return false;
  uint16_t length;
  std::memcpy(&length, data.data() + kFixed - 2, 2);
  if (data.size() < kFixed + length) return false;
  Decoder decoder(data.first(kFixed + length));
  Dirent::Fields(entry, decoder);
  if (!decoder.Finish() || !IsValidName(entry.name)) return false;
  data = data.subspan(kFixed + length);
  return true;
}

const char* MessageName(uint8_t type) {
  switch (type) {
#define P9_NAME(M) \
  case M::kType:   \
    return #M;
#define P9_PAIR(M) P9_NAME(T##M) P9_NAME(R##M)
    P9_NAME(Rlerror)
    // clang-format off
    P9_PAIR(statfs) P9_PAIR(lopen) P9_PAIR(lcreate) P9_PAIR(symlink) P9_PAIR(mknod)
    P9_PAIR(rename) P9_PAIR(readlink) P9_PAIR(getattr) P9_PAIR(setattr) P9_PAIR(xattrwalk)
    P9_PAIR(xattrcreate) P9_PAIR(readdir) P9_PAIR(fsync) P9_PAIR(lock) P9_PAIR(getlock)
    P9_PAIR(link) P9_PAIR(mkdir) P9_PAIR(renameat) P9_PAIR(unlinkat) P9_PAIR(version)
    P9_PAIR(auth) P9_PAIR(attach) P9_PAIR(flush) P9_PAIR(walk) P9_PAIR(read) P9_PAIR(write)
    P9_PAIR(clunk) P9_PAIR(remove) P9_PAIR(walkattr) P9_PAIR(openfd) P9_PAIR(createfd)
    P9_PAIR(makenode) P9_PAIR(clunks) P9_PAIR(getattrs) P9_PAIR(setattrs) P9_PAIR(rename2)
    P9_PAIR(allocate) P9_PAIR(copyrange) P9_PAIR(xattr) P9_PAIR(linkattr) P9_PAIR(list)
    // clang-format on
#undef P9_PAIR
#undef P9_NAME
  }
  return "?";
}

}  // namespace msentry::p9
