#include "fsimpl/devpts/line_discipline.h"

#include <signal.h>
#include <termios.h>

#include <algorithm>
#include <cctype>

#include "sentry/base/check.h"

namespace msentry::devpts {
namespace {

constexpr unsigned char kDisabled = 0;  // _POSIX_VDISABLE: a control character that is switched off

bool IsControl(unsigned char c) { return c < 0x20 || c == 0x7f; }
bool IsUtf8Continuation(unsigned char c) { return (c & 0xc0) == 0x80; }

}  // namespace

abi::Termios DefaultTermios() {
  abi::Termios t{};
  t.iflag = ICRNL | IXON;
  t.oflag = OPOST | ONLCR;
  t.cflag = B38400 | CS8 | CREAD | HUPCL;
  t.lflag = ISIG | ICANON | ECHO | ECHOE | ECHOK | ECHOCTL | ECHOKE | IEXTEN;
  t.cc[VINTR] = 3;
  t.cc[VQUIT] = 28;
  t.cc[VERASE] = 127;
  t.cc[VKILL] = 21;
  t.cc[VEOF] = 4;
  t.cc[VMIN] = 1;
  t.cc[VSTART] = 17;
  t.cc[VSTOP] = 19;
  t.cc[VSUSP] = 26;
  t.cc[VREPRINT] = 18;
  t.cc[VDISCARD] = 15;
  t.cc[VWERASE] = 23;
  t.cc[VLNEXT] = 22;
  return t;
}

bool ByteQueue::Append(std::string_view bytes) {
  if (bytes.size() > room()) return false;
  if (start_ > 0 && start_ >= data_.size() / 2) {
    data_.erase(0, start_);
    start_ = 0;
  }
  data_.append(bytes);
  return true;
}

void ByteQueue::Consume(size_t n) {
  DCHECK(n <= size());
  start_ += n;
  if (start_ == data_.size()) Clear();
}

void ByteQueue::Clear() {
  data_.clear();
  start_ = 0;
}

LineDiscipline::LineDiscipline() : termios_(DefaultTermios()) {}

void LineDiscipline::SetTermios(const abi::Termios& termios) {
  const bool was_canonical = canonical();
  termios_ = termios;
  if (was_canonical != canonical()) {
    // Either way what is queued becomes readable as it stands: canonical mode sees it as one line
    // without a delimiter, raw mode as bytes. EOF marks turn into nothing.
    lines_.clear();
    complete_ = 0;
    if (canonical() && !input_.empty()) {
      lines_.push_back({input_.size(), false});
      complete_ = input_.size();
    }
    erasing_ = literal_next_ = false;
  }
  if (!Flag(termios_.iflag, IXON)) stopped_ = false;
}

bool LineDiscipline::IsChar(int index, unsigned char c) const {
  return termios_.cc[index] != kDisabled && termios_.cc[index] == c;
}

// ---- input ----

size_t LineDiscipline::Receive(std::string_view input, std::vector<int>* signals) {
  size_t taken = 0;
  for (char c : input) {
    if (!canonical() && input_.room() == 0) break;
    ReceiveByte(static_cast<unsigned char>(c), signals);
    taken++;
  }
  return taken;
}

void LineDiscipline::ReceiveByte(unsigned char c, std::vector<int>* signals) {
  if (Flag(termios_.iflag, ISTRIP)) c &= 0x7f;
  if (literal_next_) {
    literal_next_ = false;
    if (Flag(termios_.lflag, ECHO)) Echo(c);
    Queue(c);
    return;
  }
  if (Flag(termios_.iflag, IUCLC) && Flag(termios_.lflag, IEXTEN)) {
    c = static_cast<unsigned char>(tolower(c));
  }
  if (Flag(termios_.iflag, IXON)) {
    if (IsChar(VSTART, c)) {
      stopped_ = false;
      return;
    }
    if (IsChar(VSTOP, c)) {
      stopped_ = true;
      return;
    }
    if (stopped_ && Flag(termios_.iflag, IXANY)) stopped_ = false;
  }
  if (Flag(termios_.lflag, ISIG) && ReceiveSignalChar(c, signals)) return;
  if (c == '\r') {
    if (Flag(termios_.iflag, IGNCR)) return;
    if (Flag(termios_.iflag, ICRNL)) c = '\n';
  } else if (c == '\n' && Flag(termios_.iflag, INLCR)) {
    c = '\r';
  }
  if (canonical() && ReceiveCanonical(c)) return;
  if (Flag(termios_.lflag, ECHO)) {
    if (c == '\n') {
      OutputByte('\n');
    } else {
      if (input_.size() == complete_) line_start_column_ = column_;
      Echo(c);
    }
  }
  Queue(c);
}

bool LineDiscipline::ReceiveSignalChar(unsigned char c, std::vector<int>* signals) {
  int signo = IsChar(VINTR, c)   ? SIGINT
              : IsChar(VQUIT, c) ? SIGQUIT
              : IsChar(VSUSP, c) ? SIGTSTP
                                 : 0;
  if (signo == 0) return false;
  signals->push_back(signo);
  if (!Flag(termios_.lflag, NOFLSH)) {
    FlushInput();
    FlushOutput();
  }
  stopped_ = false;
  if (Flag(termios_.lflag, ECHO)) Echo(c);
  return true;
}

// true when the byte was an editing or ending character and has been dealt with.
bool LineDiscipline::ReceiveCanonical(unsigned char c) {
  const bool extended = Flag(termios_.lflag, IEXTEN);
  if (IsChar(VERASE, c)) {
    EraseOne();
  } else if (IsChar(VKILL, c)) {
    EraseLine(true);
  } else if (extended && IsChar(VWERASE, c)) {
    EraseWord();
  } else if (extended && IsChar(VLNEXT, c)) {
    literal_next_ = true;
    if (Flag(termios_.lflag, ECHO) && Flag(termios_.lflag, ECHOCTL)) EchoRaw("^\b");
  } else if (extended && Flag(termios_.lflag, ECHO) && IsChar(VREPRINT, c)) {
    Reprint();
  } else if (c == '\n') {
    EndLine(c, Flag(termios_.lflag, ECHO) || Flag(termios_.lflag, ECHONL), false);
  } else if (IsChar(VEOF, c)) {
    EndLine(c, false, true);
  } else if (IsChar(VEOL, c) || (extended && IsChar(VEOL2, c))) {
    if (Flag(termios_.lflag, ECHO)) Echo(c);
    EndLine(c, false, false);
  } else {
    return false;
  }
  return true;
}

void LineDiscipline::Queue(unsigned char c) {
  // One place stays free for the end of the line, so that a full line can still be finished.
  const size_t reserve = canonical() ? 1 : 0;
  if (input_.room() <= reserve) {
    if (Flag(termios_.iflag, IMAXBEL)) EchoRaw("\a");
    return;
  }
  const char byte = static_cast<char>(c);
  // PARMRK doubles a real 0xff so that it cannot be taken for a mark.
  if (c == 0xff && Flag(termios_.iflag, PARMRK) && !canonical()) input_.Append({&byte, 1});
  input_.Append({&byte, 1});
}

void LineDiscipline::EndLine(unsigned char c, bool echo, bool is_eof) {
  if (echo) OutputByte(c);
  erasing_ = false;
  const char byte = static_cast<char>(c);
  if (!is_eof && !input_.Append({&byte, 1})) return;  // no room at all: the end is lost as well
  if (lines_.size() >= kInputCapacity) return;        // a flood of EOF marks is bounded too
  lines_.push_back({input_.size() - complete_, is_eof});
  complete_ = input_.size();
}

// ---- echo and erasing ----

void LineDiscipline::Echo(unsigned char c) {
  if (IsControl(c) && c != '\t' && Flag(termios_.lflag, ECHOCTL)) {
    if (c == '\n') {
      OutputByte(c);
      return;
    }
    const char text[2] = {'^', static_cast<char>(c ^ 0x40)};
    EchoRaw({text, 2});
    column_ += 2;
    return;
  }
  OutputByte(c);
}

size_t LineDiscipline::EchoWidth(unsigned char c, size_t column) const {
  if (c == '\t') return 8 - column % 8;
  if (IsControl(c)) return Flag(termios_.lflag, ECHOCTL) ? 2 : 0;
  if (Flag(termios_.iflag, IUTF8) && IsUtf8Continuation(c)) return 0;
  return 1;
}

void LineDiscipline::EraseEchoOf(unsigned char c, size_t column_before) {
  if (!Flag(termios_.lflag, ECHO)) return;
  if (!Flag(termios_.lflag, ECHOE)) {
    Echo(termios_.cc[VERASE]);
    return;
  }
  for (size_t i = EchoWidth(c, column_before); i > 0; i--) {
    EchoRaw(c == '\t' ? "\b" : "\b \b");
    if (column_ > 0) column_--;
  }
}

void LineDiscipline::EraseOne() {
  if (input_.size() == complete_) return;
  // A multi-byte character goes as a whole when the terminal says it is UTF-8.
  for (;;) {
    const auto bytes = input_.bytes();
    const auto c = static_cast<unsigned char>(bytes.back());
    size_t column = line_start_column_;
    for (size_t i = complete_; i + 1 < bytes.size(); i++) {
      column += EchoWidth(static_cast<unsigned char>(bytes[i]), column);
    }
    input_.DropLast(1);
    EraseEchoOf(c, column);
    const bool more = Flag(termios_.iflag, IUTF8) && IsUtf8Continuation(c);
    if (!more || input_.size() == complete_) return;
  }
}

void LineDiscipline::EraseWord() {
  bool in_word = false;
  while (input_.size() > complete_) {
    const auto c = static_cast<unsigned char>(input_.bytes().back());
    const bool word_char = isalnum(c) || c == '_' || c >= 0x80;
    if (in_word && !word_char) return;
    in_word |= word_char;
    EraseOne();
  }
}

void LineDiscipline::EraseLine(bool echo_kill) {
  const bool echo = Flag(termios_.lflag, ECHO);
  if (echo && Flag(termios_.lflag, ECHOK) && Flag(termios_.lflag, ECHOKE) &&
      Flag(termios_.lflag, ECHOE)) {
    while (input_.size() > complete_) EraseOne();
    return;
  }
  input_.DropLast(input_.size() - complete_);
  if (!echo || !echo_kill) return;
  Echo(termios_.cc[VKILL]);
  if (Flag(termios_.lflag, ECHOK)) OutputByte('\n');
}

void LineDiscipline::Reprint() {
  Echo(termios_.cc[VREPRINT]);
  OutputByte('\n');
  line_start_column_ = column_;
  const auto bytes = input_.bytes();
  for (size_t i = complete_; i < bytes.size(); i++) Echo(static_cast<unsigned char>(bytes[i]));
}

// ---- reading ----

size_t LineDiscipline::Available() const {
  if (!canonical()) return input_.size();
  return complete_;
}

bool LineDiscipline::InputReady() const {
  if (canonical()) return !lines_.empty();
  const size_t minimum = termios_.cc[VTIME] == 0 ? std::max<size_t>(termios_.cc[VMIN], 1) : 1;
  return input_.size() >= minimum;
}

size_t LineDiscipline::Read(std::span<char> out, bool* end_of_file) {
  *end_of_file = false;
  size_t n = std::min(out.size(), input_.size());
  if (canonical()) {
    if (lines_.empty() || out.empty()) return 0;
    Line& line = lines_.front();
    n = std::min(out.size(), line.length);
    *end_of_file = line.eof && line.length == 0;
    line.length -= n;
    complete_ -= n;
    // The mark goes with the last byte it follows: the next read waits for the next line.
    if (line.length == 0) lines_.pop_front();
  }
  const auto bytes = input_.bytes();
  std::copy_n(bytes.begin(), n, out.begin());
  input_.Consume(n);
  return n;
}

// ---- output ----

// One byte of output with OPOST's mappings; false when there is no room for all it becomes.
bool LineDiscipline::OutputByte(unsigned char c) {
  const char byte = static_cast<char>(c);
  const uint32_t flags = termios_.oflag;
  if (!Flag(flags, OPOST)) return output_.Append({&byte, 1});
  switch (c) {
    case '\n':
      if (Flag(flags, ONLCR)) {
        if (!output_.Append("\r\n")) return false;
        column_ = 0;
        return true;
      }
      if (Flag(flags, ONLRET)) column_ = 0;
      return output_.Append("\n");
    case '\r':
      if (Flag(flags, ONOCR) && column_ == 0) return true;
      if (Flag(flags, OCRNL)) {
        if (Flag(flags, ONLRET)) column_ = 0;
        return output_.Append("\n");
      }
      if (!output_.Append("\r")) return false;
      column_ = 0;
      return true;
    case '\t': {
      const size_t spaces = 8 - column_ % 8;
      if ((flags & TABDLY) == XTABS) {
        if (!output_.Append(std::string_view("        ", spaces))) return false;
      } else if (!output_.Append("\t")) {
        return false;
      }
      column_ += spaces;
      return true;
    }
    case '\b':
      if (!output_.Append("\b")) return false;
      if (column_ > 0) column_--;
      return true;
    default: {
      const char mapped = Flag(flags, OLCUC) ? static_cast<char>(toupper(c)) : byte;
      if (!output_.Append({&mapped, 1})) return false;
      if (!IsControl(c) && !(Flag(termios_.iflag, IUTF8) && IsUtf8Continuation(c))) column_++;
      return true;
    }
  }
}

size_t LineDiscipline::Write(std::string_view output) {
  if (stopped_) return 0;
  if (!Flag(termios_.oflag, OPOST)) {
    const size_t n = std::min(output.size(), output_.room());
    output_.Append(output.substr(0, n));
    return n;
  }
  size_t taken = 0;
  while (taken < output.size() && OutputByte(static_cast<unsigned char>(output[taken]))) taken++;
  return taken;
}

size_t LineDiscipline::TakeOutput(std::span<char> out) {
  const size_t n = std::min(out.size(), OutputSize());
  std::copy_n(output_.bytes().begin(), n, out.begin());
  output_.Consume(n);
  return n;
}

void LineDiscipline::FlushInput() {
  input_.Clear();
  lines_.clear();
  complete_ = 0;
  literal_next_ = erasing_ = false;
}

void LineDiscipline::FlushOutput() { output_.Clear(); }

}  // namespace msentry::devpts
