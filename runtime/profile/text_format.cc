#include "runtime/profile/text_format.h"

#include <cstdio>

namespace msentry::profile {
namespace {

constexpr int kMostLevels = 32;

bool IsNameStart(char c) { return (c | 0x20) >= 'a' && (c | 0x20) <= 'z'; }
bool IsDigit(char c) { return c >= '0' && c <= '9'; }
bool IsName(char c) { return IsNameStart(c) || IsDigit(c) || c == '_'; }

class Parser {
 public:
  explicit Parser(std::string_view text) : rest_(text) {}

  std::string Run(std::vector<Field>* fields) {
    Message('\0', 0, fields);
    return wrong_;
  }

 private:
  bool Fail(const std::string& what) {
    if (wrong_.empty()) wrong_ = std::to_string(line_) + ": " + what;
    return false;
  }

  char Next() {
    while (!rest_.empty()) {
      const char c = rest_.front();
      if (c == '#') {
        rest_.remove_prefix(std::min(rest_.find('\n'), rest_.size()));
      } else if (c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == '\v' || c == '\f') {
        line_ += c == '\n';
        rest_.remove_prefix(1);
      } else {
        return c;
      }
    }
    return '\0';
  }
  bool Take(char c) {
    if (Next() != c || rest_.empty()) return false;
    rest_.remove_prefix(1);
    return true;
  }
  std::string TakeWhile(bool (*wanted)(char)) {
    size_t n = 0;
    while (n < rest_.size() && wanted(rest_[n])) ++n;
    std::string taken(rest_.substr(0, n));
    rest_.remove_prefix(n);
    return taken;
  }

  // Fields up to `end`, which is taken; '\0' is the end of the text.
  bool Message(char end, int level, std::vector<Field>* fields) {
    if (level > kMostLevels) return Fail("nested too deeply");
    for (;;) {
      const char c = Next();
      if (rest_.empty()) return end == '\0' || Fail(std::string("expected ") + end);
      if (end != '\0' && c == end) return Take(end);
      if (!IsNameStart(c) && c != '_')
        return Fail(std::string("expected a field's name, not ") + c);
      Field field;
      field.line = line_;
      field.name = TakeWhile(IsName);
      const bool colon = Take(':');
      if (Next() == '[' && colon) {
        if (!List(field, level, fields)) return false;
      } else {
        if (!colon && Next() != '{' && Next() != '<') {
          return Fail("expected : or { after " + field.name);
        }
        if (!Value(&field, level)) return false;
        fields->push_back(std::move(field));
      }
      if (!Take(',')) Take(';');
    }
  }

  bool List(const Field& like, int level, std::vector<Field>* fields) {
    Take('[');
    if (Take(']')) return true;
    do {
      Next();
      Field field = like;
      field.line = line_;
      if (!Value(&field, level)) return false;
      fields->push_back(std::move(field));
    } while (Take(','));
    return Take(']') || Fail("expected , or ] in the list " + like.name);
  }

  bool Value(Field* field, int level) {
    const char c = Next();
    if (c == '{' || c == '<') {
      field->kind = Field::Kind::kMessage;
      Take(c);
      return Message(c == '{' ? '}' : '>', level + 1, &field->children);
    }
    if (c == '"' || c == '\'') {
      field->kind = Field::Kind::kString;
      while (Next() == '"' || Next() == '\'') {
        if (!String(&field->text)) return false;
      }
      return true;
    }
    if (IsDigit(c) || c == '-' || c == '.') {
      field->kind = Field::Kind::kNumber;
      if (Take('-')) field->text = "-";
      Next();
      field->text +=
          TakeWhile([](char d) { return IsName(d) || d == '.' || d == '+' || d == '-'; });
      return true;
    }
    if (IsNameStart(c)) {
      field->kind = Field::Kind::kWord;
      field->text = TakeWhile(IsName);
      return true;
    }
    return Fail("expected a value after " + field->name + ":");
  }

  bool String(std::string* out) {
    const char quote = rest_.front();
    rest_.remove_prefix(1);
    while (!rest_.empty() && rest_.front() != quote) {
      const char c = rest_.front();
      rest_.remove_prefix(1);
      if (c == '\n') return Fail("a string ends on the line it begins on");
      if (c != '\\') {
        *out += c;
      } else if (!Escape(out)) {
        return false;
      }
    }
    if (rest_.empty()) return Fail("a string without its closing quote");
    rest_.remove_prefix(1);
    return true;
  }

  bool Escape(std::string* out) {
    if (rest_.empty()) return Fail("a string without its closing quote");
    const char c = rest_.front();
    constexpr std::string_view kFrom = "abfnrtv\\'\"?", kTo = "\a\b\f\n\r\t\v\\'\"?";
    if (const size_t at = kFrom.find(c); at != std::string_view::npos) {
      *out += kTo[at];
      rest_.remove_prefix(1);
      return true;
    }
    const bool hex = c == 'x' || c == 'X';
    if (!hex && (c < '0' || c > '7')) return Fail(std::string("no such escape: \\") + c);
    if (hex) rest_.remove_prefix(1);
    const int base = hex ? 16 : 8, most = hex ? 2 : 3;
    int value = 0, digits = 0;
    for (; digits < most && !rest_.empty(); ++digits) {
      const char d = rest_.front();
      const int digit = IsDigit(d) ? d - '0' : hex && IsNameStart(d) ? (d | 0x20) - 'a' + 10 : 99;
      if (digit >= base) break;
      value = value * base + digit;
      rest_.remove_prefix(1);
    }
    if (digits == 0) return Fail("\\x without a digit");
    *out += static_cast<char>(value);
    return true;
  }

  std::string_view rest_;
  int line_ = 1;
  std::string wrong_;
};

}  // namespace

std::string ParseText(std::string_view text, std::vector<Field>* fields) {
  return Parser(text).Run(fields);
}

std::string Quote(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (c == '\n') {
      out += "\\n";
    } else if (static_cast<unsigned char>(c) < ' ' || c == 0x7f) {
      char octal[5];
      snprintf(octal, sizeof octal, "\\%03o", static_cast<unsigned>(c) & 0xff);
      out += octal;
    } else {
      out += c;
    }
  }
  return out + "\"";
}

}  // namespace msentry::profile
