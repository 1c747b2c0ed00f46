// The messages of 9P2000.L and of our extension "9P2000.L.msentry", as plain structs.
//
//   std::vector<uint8_t> out;
//   Encode(out, tag, Twalk{.fid = 1, .newfid = 2, .names = {{"etc"}}});
//   Header header;  // in: size, type and tag of a received message
//   Twalk walk;
//   if (!Decode(body, walk)) ... the peer broke the protocol
//
// Every struct lists its fields once, in wire order, in Fields(); encoder and decoder follow it.
// Numbers of 9P2000.L: include/net/9p/9p.h of Linux; layouts: diod's protocol page.
// The extension (types 200 and up) is described message by message below.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "gofer/wire/codec.h"

namespace msentry::p9 {

inline constexpr std::string_view kVersionPlain = "9P2000.L";
inline constexpr std::string_view kVersionExtended = "9P2000.L.msentry";
inline constexpr uint32_t kNoFid = 0xffffffff;
inline constexpr uint16_t kNoTag = 0xffff;
inline constexpr uint32_t kHeaderBytes = 7;
inline constexpr uint32_t kMinMsize = 4096, kMaxMsize = 1 << 20;
inline constexpr uint32_t kMinExtendedMsize = 32 * 1024;  // the extension's fixed-size messages fit
inline constexpr uint32_t kIoHeaderBytes = 24;  // msize - this is what a read or write may carry

struct Header {
  uint32_t size = 0;
  uint8_t type = 0;
  uint16_t tag = 0;
};
// The header at the front of `bytes` (at least kHeaderBytes); false if size < kHeaderBytes.
bool DecodeHeader(std::span<const uint8_t> bytes, Header& header);

// clang-format off: one message, one field list.
#define P9_FIELDS(...)                    \
  template <typename Self, typename V>    \
  static void Fields(Self& m, V& visit) { \
    (void)m;                              \
    visit(__VA_ARGS__);                   \
  }
#define P9_MESSAGE(name, number) \
  struct name {                  \
    static constexpr uint8_t kType = number;
#define P9_END \
  }            \
  ;
#define P9_EMPTY(name, number)               \
  struct name {                              \
    static constexpr uint8_t kType = number; \
    template <typename Self, typename V>     \
    static void Fields(Self&, V&) {}         \
  };

// ---- 9P2000.L ----
P9_MESSAGE(Rlerror, 7) uint32_t ecode = 0;
P9_FIELDS(m.ecode)
P9_END

P9_MESSAGE(Tstatfs, 8) uint32_t fid = 0;
P9_FIELDS(m.fid) P9_END P9_MESSAGE(Rstatfs, 9) uint32_t type = 0, bsize = 0;
uint64_t blocks = 0, bfree = 0, bavail = 0, files = 0, ffree = 0, fsid = 0;
uint32_t namelen = 0;
P9_FIELDS(m.type, m.bsize, m.blocks, m.bfree, m.bavail, m.files, m.ffree, m.fsid, m.namelen)
P9_END

P9_MESSAGE(Tlopen, 12) uint32_t fid = 0, flags = 0;
P9_FIELDS(m.fid, m.flags) P9_END P9_MESSAGE(Rlopen, 13) Qid qid;
uint32_t iounit = 0;
P9_FIELDS(m.qid, m.iounit) P9_END P9_MESSAGE(Tlcreate, 14) uint32_t fid = 0;
Name name;
uint32_t flags = 0, mode = 0, gid = 0;
P9_FIELDS(m.fid, m.name, m.flags, m.mode, m.gid)
P9_END
P9_MESSAGE(Rlcreate, 15) Qid qid;
uint32_t iounit = 0;
P9_FIELDS(m.qid, m.iounit) P9_END P9_MESSAGE(Tsymlink, 16) uint32_t fid = 0;
Name name;
std::string_view target;
uint32_t gid = 0;
P9_FIELDS(m.fid, m.name, m.target, m.gid)
P9_END
P9_MESSAGE(Rsymlink, 17) Qid qid;
P9_FIELDS(m.qid) P9_END P9_MESSAGE(Tmknod, 18) uint32_t dfid = 0;
Name name;
uint32_t mode = 0, major = 0, minor = 0, gid = 0;
P9_FIELDS(m.dfid, m.name, m.mode, m.major, m.minor, m.gid)
P9_END
P9_MESSAGE(Rmknod, 19) Qid qid;
P9_FIELDS(m.qid) P9_END P9_MESSAGE(Trename, 20) uint32_t fid = 0, dfid = 0;
Name name;
P9_FIELDS(m.fid, m.dfid, m.name)
P9_END P9_EMPTY(Rrename, 21) P9_MESSAGE(Treadlink, 22) uint32_t fid = 0;
P9_FIELDS(m.fid) P9_END P9_MESSAGE(Rreadlink, 23) std::string_view target;
P9_FIELDS(m.target) P9_END P9_MESSAGE(Tgetattr, 24) uint32_t fid = 0;
uint64_t mask = 0;
P9_FIELDS(m.fid, m.mask) P9_END P9_MESSAGE(Rgetattr, 25) uint64_t valid = 0;
Qid qid;
uint32_t mode = 0, uid = 0, gid = 0;
uint64_t nlink = 0, rdev = 0, size = 0, blksize = 0, blocks = 0;
uint64_t atime_sec = 0, atime_nsec = 0, mtime_sec = 0, mtime_nsec = 0;
uint64_t ctime_sec = 0, ctime_nsec = 0, btime_sec = 0, btime_nsec = 0;
uint64_t gen = 0, data_version = 0;
P9_FIELDS(m.valid, m.qid, m.mode, m.uid, m.gid, m.nlink, m.rdev, m.size, m.blksize, m.blocks,
          m.atime_sec, m.atime_nsec, m.mtime_sec, m.mtime_nsec, m.ctime_sec, m.ctime_nsec,
          m.btime_sec, m.btime_nsec, m.gen, m.data_version)
P9_END
inline constexpr uint64_t kGetattrBasic = 0x7ff, kGetattrAll = 0x3fff;

// Bits of Tsetattr.valid; the same in Tsetattrs.
inline constexpr uint32_t kSetMode = 1, kSetUid = 2, kSetGid = 4, kSetSize = 8, kSetAtime = 0x10,
                          kSetMtime = 0x20, kSetCtime = 0x40, kSetAtimeTo = 0x80,
                          kSetMtimeTo = 0x100;
P9_MESSAGE(Tsetattr, 26)
uint32_t fid = 0, valid = 0, mode = 0, uid = 0, gid = 0;
uint64_t size = 0, atime_sec = 0, atime_nsec = 0, mtime_sec = 0, mtime_nsec = 0;
P9_FIELDS(m.fid, m.valid, m.mode, m.uid, m.gid, m.size, m.atime_sec, m.atime_nsec, m.mtime_sec,
          m.mtime_nsec)
P9_END
P9_EMPTY(Rsetattr, 27)
P9_MESSAGE(Txattrwalk, 30)
uint32_t fid = 0, newfid = 0;
std::string_view name;
P9_FIELDS(m.fid, m.newfid, m.name)
P9_END
P9_MESSAGE(Rxattrwalk, 31) uint64_t size = 0;
P9_FIELDS(m.size) P9_END P9_MESSAGE(Txattrcreate, 32) uint32_t fid = 0;
std::string_view name;
uint64_t size = 0;
uint32_t flags = 0;
P9_FIELDS(m.fid, m.name, m.size, m.flags)
P9_END
P9_EMPTY(Rxattrcreate, 33)
P9_MESSAGE(Treaddir, 40)
uint32_t fid = 0;
uint64_t offset = 0;
uint32_t count = 0;
P9_FIELDS(m.fid, m.offset, m.count)
P9_END
P9_MESSAGE(Rreaddir, 41) Bytes data;
P9_FIELDS(m.data)
P9_END  // of Dirent, below
        // datasync 2, with the extension: syncfs(2). There the fid need not be open.
    P9_MESSAGE(Tfsync, 50) uint32_t fid = 0,
                                    datasync = 0;
P9_FIELDS(m.fid, m.datasync) P9_END P9_EMPTY(Rfsync, 51) P9_MESSAGE(Tlock, 52) uint32_t fid = 0;
uint8_t type = 0;
uint32_t flags = 0;
uint64_t start = 0, length = 0;
uint32_t proc_id = 0;
std::string_view client_id;
P9_FIELDS(m.fid, m.type, m.flags, m.start, m.length, m.proc_id, m.client_id)
P9_END
P9_MESSAGE(Rlock, 53) uint8_t status = 0;
P9_FIELDS(m.status) P9_END P9_MESSAGE(Tgetlock, 54) uint32_t fid = 0;
uint8_t type = 0;
uint64_t start = 0, length = 0;
uint32_t proc_id = 0;
std::string_view client_id;
P9_FIELDS(m.fid, m.type, m.start, m.length, m.proc_id, m.client_id)
P9_END
P9_MESSAGE(Rgetlock, 55)
uint8_t type = 0;
uint64_t start = 0, length = 0;
uint32_t proc_id = 0;
std::string_view client_id;
P9_FIELDS(m.type, m.start, m.length, m.proc_id, m.client_id)
P9_END
inline constexpr uint8_t kLockRead = 0, kLockWrite = 1, kLockUnlock = 2;
inline constexpr uint8_t kLockSuccess = 0, kLockBlocked = 1, kLockError = 2, kLockGrace = 3;
P9_MESSAGE(Tlink, 70) uint32_t dfid = 0, fid = 0;
Name name;
P9_FIELDS(m.dfid, m.fid, m.name)
P9_END P9_EMPTY(Rlink, 71) P9_MESSAGE(Tmkdir, 72) uint32_t dfid = 0;
Name name;
uint32_t mode = 0, gid = 0;
P9_FIELDS(m.dfid, m.name, m.mode, m.gid)
P9_END
P9_MESSAGE(Rmkdir, 73) Qid qid;
P9_FIELDS(m.qid) P9_END P9_MESSAGE(Trenameat, 74) uint32_t olddirfid = 0;
Name oldname;
uint32_t newdirfid = 0;
Name newname;
P9_FIELDS(m.olddirfid, m.oldname, m.newdirfid, m.newname)
P9_END
P9_EMPTY(Rrenameat, 75)
P9_MESSAGE(Tunlinkat, 76)
uint32_t dfid = 0;
Name name;
uint32_t flags = 0;  // AT_REMOVEDIR = 0x200
P9_FIELDS(m.dfid, m.name, m.flags)
P9_END
P9_EMPTY(Runlinkat, 77)
P9_MESSAGE(Tversion, 100) uint32_t msize = 0;
std::string_view version;
P9_FIELDS(m.msize, m.version) P9_END P9_MESSAGE(Rversion, 101) uint32_t msize = 0;
std::string_view version;
P9_FIELDS(m.msize, m.version) P9_END P9_MESSAGE(Tauth, 102) uint32_t afid = 0;
std::string_view uname, aname;
uint32_t n_uname = 0;
P9_FIELDS(m.afid, m.uname, m.aname, m.n_uname)
P9_END
P9_MESSAGE(Rauth, 103) Qid aqid;
P9_FIELDS(m.aqid) P9_END P9_MESSAGE(Tattach, 104) uint32_t fid = 0, afid = kNoFid;
std::string_view uname, aname;
uint32_t n_uname = 0;
P9_FIELDS(m.fid, m.afid, m.uname, m.aname, m.n_uname)
P9_END
P9_MESSAGE(Rattach, 105) Qid qid;
P9_FIELDS(m.qid) P9_END P9_MESSAGE(Tflush, 108) uint16_t oldtag = 0;
P9_FIELDS(m.oldtag)
P9_END P9_EMPTY(Rflush, 109) P9_MESSAGE(Twalk, 110) uint32_t fid = 0, newfid = 0;
Names names;  // at most 16
P9_FIELDS(m.fid, m.newfid, m.names)
P9_END
P9_MESSAGE(Rwalk, 111) Qids qids;
P9_FIELDS(m.qids) P9_END P9_MESSAGE(Tread, 116) uint32_t fid = 0;
uint64_t offset = 0;
uint32_t count = 0;
P9_FIELDS(m.fid, m.offset, m.count)
P9_END
P9_MESSAGE(Rread, 117) Bytes data;
P9_FIELDS(m.data) P9_END P9_MESSAGE(Twrite, 118) uint32_t fid = 0;
uint64_t offset = 0;
Bytes data;
P9_FIELDS(m.fid, m.offset, m.data)
P9_END
P9_MESSAGE(Rwrite, 119) uint32_t count = 0;
P9_FIELDS(m.count) P9_END P9_MESSAGE(Tclunk, 120) uint32_t fid = 0;
P9_FIELDS(m.fid) P9_END P9_EMPTY(Rclunk, 121) P9_MESSAGE(Tremove, 122) uint32_t fid = 0;
P9_FIELDS(m.fid)
P9_END P9_EMPTY(Rremove, 123)

    // One entry of Rreaddir.data; `offset` is the cookie that continues after this entry.
    struct Dirent {
  Qid qid;
  uint64_t offset = 0;
  uint8_t type = 0;  // DT_*
  std::string_view name;
  P9_FIELDS(m.qid, m.offset, m.type, m.name)
};
// Appends `entry` to `out` unless that would exceed `limit` bytes; false if so.
bool AppendDirent(std::vector<uint8_t>& out, const Dirent& entry, size_t limit);
// Takes the first entry off `data`. False at the end, and for a malformed rest (then `data` is left
// non-empty).
bool TakeDirent(std::span<const uint8_t>& data, Dirent& entry);

// ---- 9P2000.L.msentry ----

// Walks `names` from `fid` in one message and returns the attributes of every component reached.
// Component i becomes fid newfid+i (those fids must be free), unless kWalkNoFids. A walk ends at
// the first component that does not exist or is not a directory (a link is never followed): `error`
// says why it ended early, 0 when all were reached. If the last component reached is a symbolic
// link, `target` is its text. Without names: clones fid to newfid and returns its attributes.
inline constexpr uint32_t kWalkNoFids = 1;
P9_MESSAGE(Twalkattr, 200)
uint32_t fid = 0, newfid = 0, flags = 0;
Names names;
P9_FIELDS(m.fid, m.newfid, m.flags, m.names)
P9_END
P9_MESSAGE(Rwalkattr, 201)
uint32_t error = 0;
Attrs attrs;
std::string_view target;
P9_FIELDS(m.error, m.attrs, m.target)
P9_END

// Opens the regular file `fid` with the host flags O_RDONLY, O_WRONLY, O_RDWR, O_TRUNC, O_DIRECT,
// O_NOATIME and donates the host fd with the reply. The fid itself stays unopened.
P9_MESSAGE(Topenfd, 202) uint32_t fid = 0, flags = 0;
P9_FIELDS(m.fid, m.flags) P9_END P9_MESSAGE(Ropenfd, 203) Attr attr;
P9_FIELDS(m.attr)
P9_END

// Creates and opens (O_CREAT, with O_EXCL when in `flags`) and donates the fd; newfid is the
// file.
P9_MESSAGE(Tcreatefd, 204) uint32_t dfid = 0, newfid = 0, flags = 0, mode = 0, uid = 0, gid = 0;
Name name;
P9_FIELDS(m.dfid, m.newfid, m.flags, m.mode, m.uid, m.gid, m.name)
P9_END
P9_MESSAGE(Rcreatefd, 205)
uint8_t created = 0;
Attr attr;
P9_FIELDS(m.created, m.attr)
P9_END

// Makes a directory, symbolic link or special file (by mode's type); newfid is the new file.
P9_MESSAGE(Tmakenode, 206)
uint32_t dfid = 0, newfid = 0, mode = 0, uid = 0, gid = 0;
uint64_t rdev = 0;
Name name;
std::string_view target;
P9_FIELDS(m.dfid, m.newfid, m.mode, m.uid, m.gid, m.rdev, m.name, m.target)
P9_END
P9_MESSAGE(Rmakenode, 207) Attr attr;
P9_FIELDS(m.attr)
P9_END

// Clunks many fids; unknown ones are ignored. With tag kNoTag there is no reply.
P9_MESSAGE(Tclunks, 208) Fids fids;
P9_FIELDS(m.fids)
P9_END P9_EMPTY(Rclunks, 209)

    // Attributes of one fid, all of them.
    P9_MESSAGE(Tgetattrs, 210) uint32_t fid = 0;
P9_FIELDS(m.fid) P9_END P9_MESSAGE(Rgetattrs, 211) Attr attr;
P9_FIELDS(m.attr)
P9_END

// Tsetattr that answers with the attributes after it.
P9_MESSAGE(Tsetattrs, 212) uint32_t fid = 0, valid = 0, mode = 0, uid = 0, gid = 0;
uint64_t size = 0;
TimeSpec atime, mtime;
P9_FIELDS(m.fid, m.valid, m.mode, m.uid, m.gid, m.size, m.atime, m.mtime)
P9_END
P9_MESSAGE(Rsetattrs, 213) Attr attr;
P9_FIELDS(m.attr)
P9_END

// renameat2(2), with RENAME_NOREPLACE, RENAME_EXCHANGE and RENAME_WHITEOUT.
P9_MESSAGE(Trename2, 214) uint32_t olddirfid = 0;
Name oldname;
uint32_t newdirfid = 0;
Name newname;
uint32_t flags = 0;
P9_FIELDS(m.olddirfid, m.oldname, m.newdirfid, m.newname, m.flags)
P9_END
P9_EMPTY(Rrename2, 215)

// fallocate(2) of a regular file.
P9_MESSAGE(Tallocate, 216)
uint32_t fid = 0, mode = 0;
uint64_t offset = 0, length = 0;
P9_FIELDS(m.fid, m.mode, m.offset, m.length)
P9_END
P9_EMPTY(Rallocate, 217)

// copy_file_range(2) between two regular files.
P9_MESSAGE(Tcopyrange, 218)
uint32_t fid_in = 0;
uint64_t offset_in = 0;
uint32_t fid_out = 0;
uint64_t offset_out = 0;
uint64_t length = 0;
P9_FIELDS(m.fid_in, m.offset_in, m.fid_out, m.offset_out, m.length)
P9_END
P9_MESSAGE(Rcopyrange, 219) uint64_t count = 0;
P9_FIELDS(m.count)
P9_END

// The whole of an extended attribute call in one message. op: kXattrGet (value: up to `size`
// bytes of it, 0 asks for the length only), kXattrSet (flags XATTR_CREATE, XATTR_REPLACE),
// kXattrList, kXattrRemove.
inline constexpr uint8_t kXattrGet = 0, kXattrSet = 1, kXattrList = 2, kXattrRemove = 3;
P9_MESSAGE(Txattr, 220)
uint8_t op = 0;
uint32_t fid = 0, flags = 0, size = 0;
std::string_view name;
Bytes value;
P9_FIELDS(m.op, m.fid, m.flags, m.size, m.name, m.value)
P9_END
P9_MESSAGE(Rxattr, 221) uint32_t size = 0;
Bytes value;
P9_FIELDS(m.size, m.value)
P9_END

// Tlink that answers with the new attributes of the file.
P9_MESSAGE(Tlinkattr, 222) uint32_t dfid = 0, fid = 0;
Name name;
P9_FIELDS(m.dfid, m.fid, m.name)
P9_END
P9_MESSAGE(Rlinkattr, 223) Attr attr;
P9_FIELDS(m.attr)
P9_END

// Reads directory `fid` from cookie `offset` without opening the fid first; entries as in
// Rreaddir.
P9_MESSAGE(Tlist, 224) uint32_t fid = 0;
uint64_t offset = 0;
uint32_t count = 0;
P9_FIELDS(m.fid, m.offset, m.count)
P9_END
P9_MESSAGE(Rlist, 225) Bytes data;
P9_FIELDS(m.data)
P9_END
// clang-format on
#undef P9_FIELDS
#undef P9_MESSAGE
#undef P9_END
#undef P9_EMPTY

// Appends the whole message to `out`.
template <typename M>
void Encode(std::vector<uint8_t>& out, uint16_t tag, const M& message) {
  Encoder encoder(out, M::kType, tag);
  M::Fields(message, encoder);
  encoder.Finish();
}

// Decodes the bytes after the header. Strict: short, overlong and invalid messages are refused.
template <typename M>
[[nodiscard]] bool Decode(std::span<const uint8_t> body, M& message) {
  Decoder decoder(body);
  M::Fields(message, decoder);
  return decoder.Finish();
}

// "Twalk" and so on; "?" for an unknown type.
const char* MessageName(uint8_t type);

}  // namespace msentry::p9
