#include "gofer/fuzz/session_fuzz.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>

#include "gofer/testing.h"

namespace msentry::gofer {
namespace {

using Bytes = std::vector<uint8_t>;

// One tree for the whole run. Inputs change it; that is part of the fun. Removed at exit.
struct Tree {
  Tree() {
    char name[] = "/tmp/gofer.XXXXXX";
    CHECK(mkdtemp(name) != nullptr);
    top = name;
    Fill();
  }
  ~Tree() { CHECK(system(("rm -rf " + top).c_str()) == 0); }
  void Fill() {
    mkdir((top + "/served").c_str(), 0755);
    mkdir((top + "/served/d").c_str(), 0755);
    std::ofstream(top + "/served/f") << "contents";
    std::ofstream(top + "/canary") << "canary";
    (void)!symlink("..", (top + "/served/l").c_str());
  }
  std::string top;
};

template <typename M>
void Seed(std::vector<Bytes>& seeds, const M& message) {
  Bytes bytes;
  p9::Encode(bytes, 1, message);
  // What most messages need first: fids 1 (directory), 2 (file), 3 (link).
  Bytes with_fids;
  p9::Encode(with_fids, 1, p9::Twalk{.fid = 0, .newfid = 1, .names = {{"d"}}});
  p9::Encode(with_fids, 1, p9::Twalk{.fid = 0, .newfid = 2, .names = {{"f"}}});
  p9::Encode(with_fids, 1, p9::Twalk{.fid = 0, .newfid = 3, .names = {{"l"}}});
  with_fids.insert(with_fids.end(), bytes.begin(), bytes.end());
  seeds.push_back(std::move(with_fids));
}

template <typename R>
void DecodeAs(std::span<const uint8_t> body) {
  R reply;
  (void)p9::Decode(body, reply);
}

}  // namespace

std::vector<Bytes> SeedCorpus() {
  using namespace p9;  // NOLINT: every line is a message
  static const uint8_t kData[] = {'d', 'a', 't', 'a'};
  std::vector<Bytes> s;
  Seed(s, Tversion{.msize = 8192, .version = kVersionPlain});
  Seed(s, Tauth{.afid = 9, .uname = "u", .aname = "0"});
  Seed(s, Tattach{.fid = 9, .uname = "u", .aname = "0"});
  Seed(s, Tflush{.oldtag = 5});
  Seed(s, Twalk{.fid = 1, .newfid = 9, .names = {{".."}, {"f"}}});
  Seed(s, Tlopen{.fid = 2, .flags = O_RDWR});
  Seed(s, Tread{.fid = 2, .offset = 1, .count = 100});
  Seed(s, Twrite{.fid = 2, .offset = 1, .data = {kData}});
  Seed(s, Tclunk{.fid = 2});
  Seed(s, Tremove{.fid = 2});
  Seed(s, Tstatfs{.fid = 1});
  Seed(s, Tlcreate{.fid = 1, .name = {"new"}, .flags = O_RDWR, .mode = 0644});
  Seed(s, Tsymlink{.fid = 1, .name = {"ln"}, .target = "../f"});
  Seed(s, Tmknod{.dfid = 1, .name = {"p"}, .mode = S_IFIFO | 0600});
  Seed(s, Trename{.fid = 2, .dfid = 1, .name = {"moved"}});
  Seed(s, Treadlink{.fid = 3});
  Seed(s, Tgetattr{.fid = 2, .mask = kGetattrAll});
  Seed(s, Tsetattr{.fid = 2, .valid = kSetMode | kSetSize, .mode = 0600, .size = 10});
  Seed(s, Txattrwalk{.fid = 2, .newfid = 9, .name = "user.a"});
  Seed(s, Txattrcreate{.fid = 2, .name = "user.a", .size = 4});
  Seed(s, Treaddir{.fid = 1, .count = 100});
  Seed(s, Tfsync{.fid = 2});
  Seed(s, Tlock{.fid = 2, .type = kLockWrite, .client_id = "c"});
  Seed(s, Tgetlock{.fid = 2, .client_id = "c"});
  Seed(s, Tlink{.dfid = 1, .fid = 2, .name = {"hard"}});
  Seed(s, Tmkdir{.dfid = 1, .name = {"sub"}, .mode = 0755});
  Seed(s, Trenameat{.olddirfid = 0, .oldname = {"f"}, .newdirfid = 1, .newname = {"g"}});
  Seed(s, Tunlinkat{.dfid = 0, .name = {"f"}});
  Seed(s, Twalkattr{.fid = 0, .newfid = 20, .names = {{"d"}, {"x"}}});
  Seed(s, Topenfd{.fid = 2, .flags = O_RDWR});
  Seed(s, Tcreatefd{.dfid = 1, .newfid = 20, .flags = O_RDWR, .mode = 0644, .name = {"c"}});
  Seed(s, Tmakenode{.dfid = 1, .newfid = 20, .mode = S_IFLNK, .name = {"m"}, .target = "t"});
  Seed(s, Tclunks{.fids = {1, 2, 77}});
  Seed(s, Tgetattrs{.fid = 3});
  Seed(s, Tsetattrs{.fid = 2, .valid = kSetUid | kSetMtime | kSetMtimeTo, .mtime = {5, 6}});
  Seed(s, Trename2{.olddirfid = 0, .oldname = {"f"}, .newname = {"d"}, .flags = RENAME_EXCHANGE});
  Seed(s, Tallocate{.fid = 2, .offset = 0, .length = 100});
  Seed(s, Tcopyrange{.fid_in = 2, .fid_out = 2, .offset_out = 100, .length = 8});
  Seed(s, Txattr{.op = kXattrSet, .fid = 2, .name = "user.b", .value = {kData}});
  Seed(s, Txattr{.op = kXattrList, .fid = 2, .size = 4096});
  Seed(s, Tlinkattr{.dfid = 1, .fid = 2, .name = {"h"}});
  Seed(s, Tlist{.fid = 1, .count = 4096});
  return s;
}

void FuzzOne(const uint8_t* data, size_t size) {
  static Tree tree;
  tree.Fill();
  testing::DirectSession session(tree.top + "/served");
  std::span<const uint8_t> rest(data, size);
  for (int messages = 0; messages < 64; ++messages) {
    p9::Header header;
    if (!p9::DecodeHeader(rest, header)) break;
    // A length that the connection would refuse is cut to what there is.
    uint32_t length = static_cast<uint32_t>(std::min<size_t>(header.size, rest.size()));
    Bytes message(rest.begin(), rest.begin() + length);
    std::memcpy(message.data(), &length, sizeof length);
    session.Raw(message);
    rest = rest.subspan(length);
  }
  std::span<const uint8_t> body(data, size);
  using namespace p9;  // NOLINT: likewise
  DecodeAs<Rwalkattr>(body), DecodeAs<Rgetattr>(body), DecodeAs<Rwalk>(body);
  DecodeAs<Rxattr>(body), DecodeAs<Rlist>(body), DecodeAs<Rcreatefd>(body);
  DecodeAs<Rversion>(body), DecodeAs<Rgetlock>(body), DecodeAs<Rstatfs>(body);
  Dirent entry;
  while (TakeDirent(body, entry)) {
  }
  // Nothing outside the served directory may change, whatever was asked.
  std::ifstream canary(tree.top + "/canary");
  std::string text;
  std::getline(canary, text);
  CHECK(text == "canary");
}

}  // namespace msentry::gofer

#ifdef MSENTRY_LIBFUZZER
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  msentry::gofer::FuzzOne(data, size);
  return 0;
}
#endif
