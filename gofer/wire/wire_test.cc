#include "gofer/wire/messages.h"
#include "gtest/gtest.h"

namespace msentry::p9 {
namespace {

template <typename M>
std::vector<uint8_t> Body(const M& message) {
  std::vector<uint8_t> bytes;
  Encode(bytes, 7, message);
  Header header;
  EXPECT_TRUE(DecodeHeader(bytes, header));
  EXPECT_EQ(header.size, bytes.size());
  EXPECT_EQ(header.type, M::kType);
  EXPECT_EQ(header.tag, 7);
  bytes.erase(bytes.begin(), bytes.begin() + kHeaderBytes);
  return bytes;
}

TEST(Wire, TwalkHasTheDocumentedLayout) {
  Twalk walk{.fid = 1, .newfid = 2, .names = {{"ab"}, {"c"}}};
  EXPECT_EQ(Body(walk),
            (std::vector<uint8_t>{1, 0, 0, 0, 2, 0, 0, 0, 2, 0, 2, 0, 'a', 'b', 1, 0, 'c'}));
}

TEST(Wire, WhatIsEncodedDecodes) {
  Rwalkattr r{.error = 2, .target = "there"};
  r.attrs.push_back({.qid = {kQidDir, 3, 4}, .mode = 0755, .mtime = {-1, 999'999'999}});
  std::vector<uint8_t> body = Body(r);
  Rwalkattr back;
  ASSERT_TRUE(Decode(std::span<const uint8_t>(body), back));
  EXPECT_EQ(back.error, 2u);
  EXPECT_EQ(back.target, "there");
  EXPECT_EQ(back.attrs[0].qid, r.attrs[0].qid);
  EXPECT_EQ(back.attrs[0].mtime, r.attrs[0].mtime);
  EXPECT_EQ(body.size(), 4 + 2 + kAttrBytes + 2 + 5);
}

TEST(Wire, EveryTruncationAndExtensionIsRefused) {
  std::vector<uint8_t> body = Body(Trenameat{.oldname = {"old"}, .newname = {"new"}});
  Trenameat out;
  for (size_t n = 0; n < body.size(); ++n) {
    EXPECT_FALSE(Decode(std::span<const uint8_t>(body).first(n), out)) << n;
  }
  body.push_back(0);
  EXPECT_FALSE(Decode(std::span<const uint8_t>(body), out));
}

TEST(Wire, CountsBeyondTheMessageAreRefused) {
  std::vector<uint8_t> body = {1, 0, 0, 0, 2, 0, 0, 0, 0xff, 0xff};
  Twalk walk;
  EXPECT_FALSE(Decode(std::span<const uint8_t>(body), walk));
  std::vector<uint8_t> fids = {0xff, 0xff, 1, 2, 3};
  Tclunks clunks;
  EXPECT_FALSE(Decode(std::span<const uint8_t>(fids), clunks));
  std::vector<uint8_t> data = {0xff, 0xff, 0xff, 0xff, 1};
  Rread read;
  EXPECT_FALSE(Decode(std::span<const uint8_t>(data), read));
}

TEST(Wire, DirentsEndCleanly) {
  std::vector<uint8_t> data;
  EXPECT_TRUE(AppendDirent(data, {.offset = 1, .name = "one"}, 100));
  EXPECT_TRUE(AppendDirent(data, {.offset = 2, .name = "two"}, 100));
  EXPECT_FALSE(AppendDirent(data, {.offset = 3, .name = std::string(50, 'x')}, 100));
  std::span<const uint8_t> rest(data);
  Dirent entry;
  ASSERT_TRUE(TakeDirent(rest, entry));
  EXPECT_EQ(entry.name, "one");
  ASSERT_TRUE(TakeDirent(rest, entry));
  EXPECT_EQ(entry.offset, 2u);
  EXPECT_FALSE(TakeDirent(rest, entry));
  EXPECT_TRUE(rest.empty());
}

TEST(Wire, NamesOfMessages) {
  EXPECT_STREQ(MessageName(Twalk::kType), "Twalk");
  EXPECT_STREQ(MessageName(Rcreatefd::kType), "Rcreatefd");
  EXPECT_STREQ(MessageName(1), "?");
}

}  // namespace
}  // namespace msentry::p9
