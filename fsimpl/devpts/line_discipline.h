// LineDiscipline: N_TTY, what stands between the two ends of a terminal (termios(3)): input
// editing and echo, signals from control characters, output post-processing.
//
//   master write ──Receive()──► [input queue] ──Read()──► slave read
//   master read ◄──TakeOutput()── [output queue] ◄──Write()── slave write (and echo)
//
// Pure: bytes and flags only, no waiting, no processes; the terminal (devpts/terminal.h) holds its
// lock around every call and carries out the signals that come back. All queues are bounded.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <span>
#include <string>
#include <vector>

#include "sentry/abi/file.h"

namespace msentry::devpts {

// stty sane, as Linux's tty_std_termios: 38400 8N1, ICRNL IXON, OPOST ONLCR, ISIG ICANON ECHO ....
abi::Termios DefaultTermios();

// A FIFO of bytes with a bound: appends what fits.
class ByteQueue {
 public:
  explicit ByteQueue(size_t capacity) : capacity_(capacity) {}
  size_t size() const { return data_.size() - start_; }
  size_t room() const { return capacity_ - size(); }
  bool empty() const { return size() == 0; }
  std::span<const char> bytes() const { return {data_.data() + start_, size()}; }
  bool Append(std::string_view bytes);  // all or nothing
  void Consume(size_t n);
  void DropLast(size_t n) { data_.resize(data_.size() - n); }
  void Clear();

 private:
  std::string data_;
  size_t start_ = 0;
  const size_t capacity_;
};

class LineDiscipline {
 public:
  static constexpr size_t kInputCapacity = 4096;  // N_TTY_BUF_SIZE
  static constexpr size_t kOutputCapacity = 16384;

  LineDiscipline();

  const abi::Termios& termios() const { return termios_; }
  // TCSETS; input that is queued changes meaning with ICANON as on Linux: what is there becomes
  // readable when canonical mode goes.
  void SetTermios(const abi::Termios& termios);

  // ---- From the master (keyboard) ----
  // Takes input bytes; returns how many were consumed: fewer than given only when the input queue
  // is full in non-canonical mode. Signals that control characters raise are appended to *signals
  // (SIGINT, SIGQUIT, SIGTSTP), in order.
  size_t Receive(std::string_view input, std::vector<int>* signals);

  // ---- To the slave (the program's read) ----
  // Bytes a read would find now: in canonical mode complete lines; FIONREAD of the slave.
  size_t Available() const;
  // Is there a line, an end-of-file mark, or (not canonical) at least max(VMIN, 1) bytes? What
  // poll(2) says. With VTIME set one byte is enough.
  bool InputReady() const;
  // Moves at most out.size() bytes; in canonical mode at most one line. `end_of_file`: a lone EOF
  // character was read, the read returns 0. The caller has checked that something is there.
  size_t Read(std::span<char> out, bool* end_of_file);
  bool canonical() const { return termios_.lflag & kIcanon; }

  // ---- From the slave (the program's write) ----
  // Post-processes into the output queue; returns how many bytes were taken (0: no room, or output
  // is stopped with ^S).
  size_t Write(std::string_view output);
  bool OutputRoom() const { return !stopped_ && output_.room() >= kOutputLow; }

  // ---- To the master ----
  size_t OutputSize() const { return stopped_ ? 0 : output_.size(); }
  size_t TakeOutput(std::span<char> out);

  // TCFLSH and the flush that goes with a signal (unless NOFLSH).
  void FlushInput();
  void FlushOutput();
  // TCXONC and ^S/^Q.
  void SetStopped(bool stopped) { stopped_ = stopped; }
  bool stopped() const { return stopped_; }

 private:
  static constexpr uint32_t kIcanon = 0000002;
  static constexpr size_t kOutputLow = 64;

  bool Flag(uint32_t word, uint32_t bit) const { return (word & bit) != 0; }
  bool IsChar(int index, unsigned char c) const;
  void ReceiveByte(unsigned char c, std::vector<int>* signals);
  bool ReceiveSignalChar(unsigned char c, std::vector<int>* signals);
  bool ReceiveCanonical(unsigned char c);
  void Queue(unsigned char c);
  void EndLine(unsigned char c, bool echo, bool is_eof);

  void Echo(unsigned char c);
  void EchoRaw(std::string_view s) { output_.Append(s); }
  void EraseOne();
  void EraseWord();
  void EraseLine(bool echo_kill);
  void EraseEchoOf(unsigned char c, size_t column_before);
  size_t EchoWidth(unsigned char c, size_t column) const;
  void Reprint();
  bool OutputByte(unsigned char c);

  abi::Termios termios_;
  // Input: bytes; in canonical mode lines_ holds the length of each complete line in front (an EOF
  // mark is a line whose last byte is the mark itself and is not handed out), what follows is the
  // line being edited.
  struct Line {
    size_t length;
    bool eof;  // ended by VEOF: the mark is not part of the data
  };
  ByteQueue input_{kInputCapacity};
  std::deque<Line> lines_;
  size_t complete_ = 0;  // bytes of all complete lines
  ByteQueue output_{kOutputCapacity};
  bool stopped_ = false;
  bool literal_next_ = false;
  bool erasing_ = false;  // ECHOPRT: inside \.../
  size_t column_ = 0;     // output column, for tabs and erasing
  size_t line_start_column_ = 0;
};

}  // namespace msentry::devpts
