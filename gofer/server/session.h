// Session: the protocol state of one 9P connection (negotiated version, fids), and the handler of
// every message. Knows nothing of sockets: Handle() turns one request into one reply. The wire
// tests and the fuzzer drive it directly.
//
// Handle() may run in several threads at once. Fids are looked up under a lock and used by
// reference; a fid's open state has its own lock. Host calls are made with at most that lock held.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "gofer/server/attach.h"
#include "gofer/wire/messages.h"
#include "sentry/base/mutex.h"
#include "sentry/base/ref_ptr.h"

namespace msentry::gofer {

// One reply on its way out. Reused by its thread for message after message.
struct Reply {
  explicit Reply(size_t scratch_bytes) : scratch(new uint8_t[scratch_bytes]) {}
  std::vector<uint8_t> message;   // header and fields
  std::span<const uint8_t> tail;  // data that follows the fields, in `scratch` or owned elsewhere
  std::unique_ptr<uint8_t[]> scratch;  // uninitialised, for the data of a read
  ScopedFd fd;                         // donated with the reply
  RefPtr<Node> donor;                  // its fd is donated with the reply, if `fd` is none
  bool IsError() const { return message.size() > 4 && message[4] == p9::Rlerror::kType; }
  int donated() const { return fd ? fd.get() : donor ? donor->fd.get() : -1; }
};

class Session {
 public:
  // The attach points outlive the session.
  explicit Session(std::vector<Attach*> attaches);
  ~Session();

  // Answers one request: `body` is what follows the header. Always leaves a complete reply (Tflush
  // included; the connection delays it until the flushed request is answered).
  void Handle(const p9::Header& header, std::span<const uint8_t> body, Reply& reply);

  // What a message may be long, as negotiated.
  uint32_t msize() const { return msize_.load(std::memory_order_relaxed); }
  bool extended() const { return extended_.load(std::memory_order_relaxed); }

 private:
  struct Fid;
  using FidRef = RefPtr<Fid>;

  template <typename T, typename R>
  Result<> Run(std::span<const uint8_t> body, Reply& reply, uint16_t tag);

  Result<FidRef> Get(uint32_t fid);
  Result<> Insert(uint32_t fid, FidRef entry);  // kEBADF if taken
  void Replace(uint32_t fid, FidRef entry);
  FidRef Take(uint32_t fid);  // null if unknown
  Result<> CheckFree(uint32_t fid);
  size_t DataLimit(uint32_t wanted) const;

  // One per message; they fill in the reply.
  Result<> On(const p9::Tversion& m, p9::Rversion& r, Reply& reply);
  Result<> On(const p9::Tauth& m, p9::Rauth& r, Reply& reply);
  Result<> On(const p9::Tattach& m, p9::Rattach& r, Reply& reply);
  Result<> On(const p9::Tflush& m, p9::Rflush& r, Reply& reply);
  Result<> On(const p9::Twalk& m, p9::Rwalk& r, Reply& reply);
  Result<> On(const p9::Tread& m, p9::Rread& r, Reply& reply);
  Result<> On(const p9::Twrite& m, p9::Rwrite& r, Reply& reply);
  Result<> On(const p9::Tclunk& m, p9::Rclunk& r, Reply& reply);
  Result<> On(const p9::Tremove& m, p9::Rremove& r, Reply& reply);
  Result<> On(const p9::Tstatfs& m, p9::Rstatfs& r, Reply& reply);
  Result<> On(const p9::Tlopen& m, p9::Rlopen& r, Reply& reply);
  Result<> On(const p9::Tlcreate& m, p9::Rlcreate& r, Reply& reply);
  Result<> On(const p9::Tsymlink& m, p9::Rsymlink& r, Reply& reply);
  Result<> On(const p9::Tmknod& m, p9::Rmknod& r, Reply& reply);
  Result<> On(const p9::Trename& m, p9::Rrename& r, Reply& reply);
  Result<> On(const p9::Treadlink& m, p9::Rreadlink& r, Reply& reply);
  Result<> On(const p9::Tgetattr& m, p9::Rgetattr& r, Reply& reply);
  Result<> On(const p9::Tsetattr& m, p9::Rsetattr& r, Reply& reply);
  Result<> On(const p9::Txattrwalk& m, p9::Rxattrwalk& r, Reply& reply);
  Result<> On(const p9::Txattrcreate& m, p9::Rxattrcreate& r, Reply& reply);
  Result<> On(const p9::Treaddir& m, p9::Rreaddir& r, Reply& reply);
  Result<> On(const p9::Tfsync& m, p9::Rfsync& r, Reply& reply);
  Result<> On(const p9::Tlock& m, p9::Rlock& r, Reply& reply);
  Result<> On(const p9::Tgetlock& m, p9::Rgetlock& r, Reply& reply);
  Result<> On(const p9::Tlink& m, p9::Rlink& r, Reply& reply);
  Result<> On(const p9::Tmkdir& m, p9::Rmkdir& r, Reply& reply);
  Result<> On(const p9::Trenameat& m, p9::Rrenameat& r, Reply& reply);
  Result<> On(const p9::Tunlinkat& m, p9::Runlinkat& r, Reply& reply);
  // Extension; refused unless negotiated.
  Result<> On(const p9::Twalkattr& m, p9::Rwalkattr& r, Reply& reply);
  Result<> On(const p9::Topenfd& m, p9::Ropenfd& r, Reply& reply);
  Result<> On(const p9::Tcreatefd& m, p9::Rcreatefd& r, Reply& reply);
  Result<> On(const p9::Tmakenode& m, p9::Rmakenode& r, Reply& reply);
  Result<> On(const p9::Tclunks& m, p9::Rclunks& r, Reply& reply);
  Result<> On(const p9::Tgetattrs& m, p9::Rgetattrs& r, Reply& reply);
  Result<> On(const p9::Tsetattrs& m, p9::Rsetattrs& r, Reply& reply);
  Result<> On(const p9::Trename2& m, p9::Rrename2& r, Reply& reply);
  Result<> On(const p9::Tallocate& m, p9::Rallocate& r, Reply& reply);
  Result<> On(const p9::Tcopyrange& m, p9::Rcopyrange& r, Reply& reply);
  Result<> On(const p9::Txattr& m, p9::Rxattr& r, Reply& reply);
  Result<> On(const p9::Tlinkattr& m, p9::Rlinkattr& r, Reply& reply);
  Result<> On(const p9::Tlist& m, p9::Rlist& r, Reply& reply);

  Result<> RenameBetween(uint32_t old_dir, std::string_view old_name, uint32_t new_dir,
                         std::string_view new_name, uint32_t flags);
  Result<> FinishXattr(Fid& fid);

  const std::vector<Attach*> attaches_;
  std::atomic<uint32_t> msize_{p9::kMaxMsize};
  std::atomic<bool> ready_{false};  // a version was agreed on
  std::atomic<bool> extended_{false};
  Mutex mutex_;
  absl::flat_hash_map<uint32_t, FidRef> fids_ ABSL_GUARDED_BY(mutex_);
};

// Extension messages have these types.
inline bool IsExtension(uint8_t type) { return type >= 200; }

}  // namespace msentry::gofer
