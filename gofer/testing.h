// For tests of the server: sessions over a directory without sockets, and a client that sends
// exactly what it is told.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "gofer/server/attach.h"
#include "gofer/server/session.h"
#include "gofer/wire/messages.h"

namespace msentry::gofer::testing {

// One attach point "0" and a session on it, version agreed on and fid 0 attached.
class DirectSession {
 public:
  explicit DirectSession(const std::string& dir, AttachConfig config = {},
                         const std::vector<HiddenPath>& hidden = {})
      : hidden_(MUST(HiddenSet::Create(hidden))) {
    config.aname = "0";
    config.host_path = dir;
    attach_ = MUST(Attach::Create(config, MUST(host::OpenRoot(dir)), &hidden_));
    session_ = std::make_unique<Session>(std::vector<Attach*>{attach_.get()});
    CHECK(
        (Call<p9::Tversion, p9::Rversion>({.msize = 65536, .version = p9::kVersionExtended}).ok()));
    CHECK((Call<p9::Tattach, p9::Rattach>({.fid = 0, .uname = "root", .aname = "0"}).ok()));
  }

  // The reply (views into this object until the next call), or the error of Rlerror.
  template <typename T, typename R>
  Result<R> Call(const T& request) {
    request_.clear();
    p9::Encode(request_, 1, request);
    Raw(request_);
    p9::Header header;
    CHECK(p9::DecodeHeader(answer_, header));
    CHECK(header.size == answer_.size());
    std::span<const uint8_t> body(answer_);
    body = body.subspan(p9::kHeaderBytes);
    if (header.type == p9::Rlerror::kType) {
      p9::Rlerror error;
      CHECK(p9::Decode(body, error));
      return FromHost(static_cast<int>(error.ecode));
    }
    CHECK(header.type == R::kType);
    R reply;
    CHECK(p9::Decode(body, reply));
    return reply;
  }

  // A whole message, valid or not (but for its length field, which must be right).
  void Raw(const std::vector<uint8_t>& message) {
    p9::Header header;
    CHECK(p9::DecodeHeader(message, header));
    std::span<const uint8_t> body(message);
    session_->Handle(header, body.subspan(p9::kHeaderBytes), reply_);
    answer_ = reply_.message;
    answer_.insert(answer_.end(), reply_.tail.begin(), reply_.tail.end());
  }

  Result<p9::Rwalk> Walk(uint32_t fid, uint32_t newfid, std::vector<std::string_view> names) {
    p9::Twalk walk{.fid = fid, .newfid = newfid};
    for (std::string_view name : names) walk.names.push_back({name});
    return Call<p9::Twalk, p9::Rwalk>(walk);
  }

  ScopedFd TakeFd() {
    if (!reply_.fd && reply_.donor) return MUST(reply_.donor->fd.Duplicate());
    return std::move(reply_.fd);
  }
  Attach& attach() { return *attach_; }

 private:
  HiddenSet hidden_;
  std::unique_ptr<Attach> attach_;
  std::unique_ptr<Session> session_;
  Reply reply_{p9::kMaxMsize};
  std::vector<uint8_t> request_, answer_;
};

}  // namespace msentry::gofer::testing
