// Protobuf's text format, as far as people write it by hand: a tree of named values with the lines
// they stand on. Not protobuf's own parser, which needs reflection: msentry has the lite runtime
// only, because every sandbox's start pays for what is linked.
//
//   std::vector<Field> fields;
//   std::string wrong = ParseText(text, &fields);   // "7: expected a value after `hostname:`"
//
// `name: value`, `name { ... }`, lists `name: [a, b]`, strings in either quote with C's escapes and
// put together when they follow each other, numbers, words, comments from # on. Not taken:
// extensions and Any.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace msentry::profile {

struct Field {
  enum class Kind { kString, kNumber, kWord, kMessage };
  std::string name;
  int line = 0;
  Kind kind = Kind::kWord;
  std::string text;             // of a scalar: a string's content, or the number or word as written
  std::vector<Field> children;  // of a message
};

// Empty, or "LINE: what is wrong".
std::string ParseText(std::string_view text, std::vector<Field>* fields);
// `text` as a string literal of the format, quotes included.
std::string Quote(std::string_view text);

}  // namespace msentry::profile
