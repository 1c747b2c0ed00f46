#include "fsimpl/devpts/terminal.h"

#include <asm/termbits.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>

#include "vfs/types.h"

namespace msentry::devpts {
namespace {

constexpr sched::EventMask kReadable = sched::kIn | sched::kRdNorm;
constexpr sched::EventMask kWritable = sched::kOut | sched::kWrNorm;
constexpr uint32_t kSlaveMajor = 136;  // UNIX98_PTY_SLAVE_MAJOR
constexpr int64_t kTenthNs = 100'000'000;

// First byte of a read in packet mode (tty_ioctl(4)).
constexpr uint8_t kPktData = 0, kPktFlushRead = 1, kPktFlushWrite = 2, kPktStop = 4, kPktStart = 8,
                  kPktNoStop = 16, kPktDoStop = 32;

// Inverse of the flow control setting that packet mode reports changes of.
bool FlowControl(const abi::Termios& t) {
  return (t.iflag & IXON) && t.cc[VSTOP] == 19 && t.cc[VSTART] == 17;
}

}  // namespace

Pty::Pty(int index, uint32_t uid, uint32_t gid, vfs::JobControl& job_control,
         sched::Scheduler& scheduler, std::function<void()> on_gone)
    : index_(index),
      uid_(uid),
      gid_(gid),
      job_control_(job_control),
      on_gone_(std::move(on_gone)),
      inter_byte_timer_(scheduler, [this] { OnInterByteTimer(); }) {}

Pty::~Pty() {
  inter_byte_timer_.Cancel();
  if (on_gone_) on_gone_();
}

uint32_t Pty::terminal_device() const {
  return static_cast<uint32_t>(vfs::MakeDev(kSlaveMajor, index_));
}

void Pty::NotePacket(uint8_t bits) {
  if (packet_mode_) packet_status_ |= bits;
}

// ---- master ----

Result<size_t> Pty::MasterRead(std::span<char> out) {
  if (out.empty()) return size_t{0};
  size_t n = 0;
  {
    MutexLock lock(mutex_);
    if (packet_mode_) {
      if (packet_status_ != 0) {
        out[0] = static_cast<char>(std::exchange(packet_status_, 0));
        return size_t{1};
      }
      out[0] = kPktData;
      n = line_.TakeOutput(out.subspan(1));
      if (n > 0) n++;
    } else {
      n = line_.TakeOutput(out);
    }
    if (n == 0) {
      if (slaves_ == 0 && slave_was_open_) return Errno::kEIO;
      return Errno::kEAGAIN;
    }
  }
  slave_queue_.Notify(kWritable);
  return n;
}

Result<size_t> Pty::MasterWrite(std::string_view in) {
  std::vector<int> signals;
  size_t taken;
  bool was_stopped, is_stopped;
  {
    MutexLock lock(mutex_);
    was_stopped = line_.stopped();
    taken = line_.Receive(in, &signals);
    is_stopped = line_.stopped();
    if (was_stopped != is_stopped) NotePacket(is_stopped ? kPktStop : kPktStart);
    inter_byte_expired_ = false;
    const abi::Termios& t = line_.termios();
    if (!line_.canonical() && t.cc[VTIME] != 0 && t.cc[VMIN] > 1 && line_.Available() > 0) {
      inter_byte_timer_.Arm(sched::NowNs() + t.cc[VTIME] * kTenthNs);
    }
  }
  for (int signo : signals) job_control_.SignalForeground(*this, signo);
  slave_queue_.Notify(kReadable | (was_stopped && !is_stopped ? kWritable : 0));
  master_queue_.Notify(kReadable);  // echo
  if (taken == 0) return Errno::kEAGAIN;
  return taken;
}

sched::EventMask Pty::MasterReadiness(sched::EventMask mask) {
  MutexLock lock(mutex_);
  sched::EventMask ready = 0;
  if (line_.OutputSize() > 0 || packet_status_ != 0) ready |= kReadable;
  if (packet_status_ != 0) ready |= sched::kPri;
  if (slaves_ == 0 && slave_was_open_) {
    ready |= sched::kHup;
  } else if (line_.canonical() || line_.Available() < LineDiscipline::kInputCapacity) {
    ready |= kWritable;
  }
  return ready & (mask | sched::kErr | sched::kHup);
}

void Pty::MasterClosed() {
  if (hung_up_.exchange(true)) return;
  slave_queue_.Notify(sched::kAllEvents);
  job_control_.Hangup(*this);
}

Result<int64_t> Pty::MasterIoctl(uint32_t command, uint64_t argument, vfs::UserMemory& memory) {
  switch (command) {
    case TIOCGPTN:
      TRY(memory.Write<uint32_t>(argument, index_));
      return 0;
    case TIOCSPTLCK: {
      const bool lock_it = TRY(memory.Read<int32_t>(argument)) != 0;
      MutexLock lock(mutex_);
      locked_ = lock_it;
      return 0;
    }
    case TIOCGPTLCK: {
      int32_t locked;
      {
        MutexLock lock(mutex_);
        locked = locked_;
      }
      TRY(memory.Write(argument, locked));
      return 0;
    }
    case TIOCPKT: {
      const bool on = TRY(memory.Read<int32_t>(argument)) != 0;
      MutexLock lock(mutex_);
      packet_mode_ = on;
      packet_status_ = 0;
      return 0;
    }
    case TIOCGPKT: {
      int32_t on;
      {
        MutexLock lock(mutex_);
        on = packet_mode_;
      }
      TRY(memory.Write(argument, on));
      return 0;
    }
    case TIOCSIG: {
      const int signo = static_cast<int>(argument);
      if (signo < 1 || signo > 64) return Errno::kEINVAL;
      job_control_.SignalForeground(*this, signo);
      return 0;
    }
    case FIONREAD: {
      int32_t n;
      {
        MutexLock lock(mutex_);
        n = static_cast<int32_t>(line_.OutputSize());
      }
      TRY(memory.Write(argument, n));
      return 0;
    }
  }
  return CommonIoctl(command, argument, memory, true);
}

// ---- slave ----

void Pty::Unlock() {
  MutexLock lock(mutex_);
  locked_ = false;
}

Result<> Pty::SlaveOpened(bool privileged) {
  MutexLock lock(mutex_);
  if (hung_up_.load() || locked_) return Errno::kEIO;
  if (exclusive_ && slaves_ > 0 && !privileged) return Errno::kEBUSY;
  slaves_++;
  slave_was_open_ = true;
  return Ok();
}

void Pty::SlaveClosed() {
  {
    MutexLock lock(mutex_);
    if (--slaves_ > 0) return;
    exclusive_ = false;
  }
  master_queue_.Notify(sched::kAllEvents);
}

void Pty::OnInterByteTimer() {
  {
    MutexLock lock(mutex_);
    inter_byte_expired_ = true;
  }
  slave_queue_.Notify(kReadable);
}

Result<size_t> Pty::SlaveRead(std::span<char> out) {
  if (hung_up()) return size_t{0};
  TRY(job_control_.CheckBackground(*this, SIGTTIN));
  if (out.empty()) return size_t{0};
  size_t n;
  bool end_of_file = false;
  {
    MutexLock lock(mutex_);
    const abi::Termios& t = line_.termios();
    if (line_.canonical()) {
      if (!line_.InputReady()) return Errno::kEAGAIN;
    } else {
      const size_t have = line_.Available();
      const size_t minimum = std::min<size_t>(t.cc[VMIN], out.size());
      if (have == 0) {
        // MIN 0: without TIME the read returns at once, with it after that time (the caller's).
        if (t.cc[VMIN] == 0 && t.cc[VTIME] == 0) return size_t{0};
        return Errno::kEAGAIN;
      }
      if (have < minimum && !inter_byte_expired_) return Errno::kEAGAIN;
    }
    n = line_.Read(out, &end_of_file);
    inter_byte_expired_ = false;
  }
  master_queue_.Notify(kWritable);
  return n;
}

int64_t Pty::SlaveReadTimeoutNs() {
  MutexLock lock(mutex_);
  const abi::Termios& t = line_.termios();
  if (line_.canonical() || t.cc[VMIN] != 0 || t.cc[VTIME] == 0) return sched::kNever;
  return t.cc[VTIME] * kTenthNs;
}

Result<size_t> Pty::SlaveWrite(std::string_view in) {
  if (hung_up()) return Errno::kEIO;
  bool stops_background;
  {
    MutexLock lock(mutex_);
    stops_background = line_.termios().lflag & TOSTOP;
  }
  if (stops_background) TRY(job_control_.CheckBackground(*this, SIGTTOU));
  size_t n;
  {
    MutexLock lock(mutex_);
    n = line_.Write(in);
  }
  if (n == 0 && !in.empty()) return Errno::kEAGAIN;
  master_queue_.Notify(kReadable);
  return n;
}

sched::EventMask Pty::SlaveReadiness(sched::EventMask mask) {
  sched::EventMask ready = 0;
  if (hung_up()) {
    ready = kReadable | kWritable | sched::kHup | sched::kErr;
  } else {
    MutexLock lock(mutex_);
    if (line_.InputReady() || (inter_byte_expired_ && line_.Available() > 0)) ready |= kReadable;
    if (line_.OutputRoom()) ready |= kWritable;
  }
  return ready & (mask | sched::kErr | sched::kHup);
}

Result<int64_t> Pty::SlaveIoctl(uint32_t command, uint64_t argument, vfs::UserMemory& memory) {
  if (hung_up()) return Errno::kEIO;
  switch (command) {
    case FIONREAD: {
      int32_t n;
      {
        MutexLock lock(mutex_);
        n = static_cast<int32_t>(line_.Available());
      }
      TRY(memory.Write(argument, n));
      return 0;
    }
    case TIOCSCTTY:
      TRY(job_control_.SetControlling(*this, argument == 1));
      return 0;
    case TIOCNOTTY:
      TRY(job_control_.GiveUpControlling(*this));
      return 0;
    case TIOCSTI: {
      const char c = TRY(memory.Read<char>(argument));
      (void)MasterWrite({&c, 1});  // a full queue swallows it, as on Linux
      return 0;
    }
  }
  return CommonIoctl(command, argument, memory, false);
}

// ---- ioctls of both sides ----

void Pty::Flush(bool input, bool output) {
  {
    MutexLock lock(mutex_);
    if (input) {
      line_.FlushInput();
      NotePacket(kPktFlushRead);
    }
    if (output) {
      line_.FlushOutput();
      NotePacket(kPktFlushWrite);
    }
  }
  master_queue_.Notify(kReadable | kWritable);
  if (output) slave_queue_.Notify(kWritable);
}

Result<int64_t> Pty::SetTermios(uint32_t command, uint64_t argument, vfs::UserMemory& memory,
                                bool master) {
  abi::Termios wanted;
  bool flush = false;
  switch (command) {
    case TCSETS2:
    case TCSETSW2:
    case TCSETSF2: {
      const auto in = TRY(memory.Read<abi::Termios2>(argument));
      std::memcpy(&wanted, &in, sizeof wanted);
      flush = command == TCSETSF2;
      break;
    }
    default:
      wanted = TRY(memory.Read<abi::Termios>(argument));
      flush = command == TCSETSF;
  }
  if (!master) TRY(job_control_.CheckBackground(*this, SIGTTOU));
  // Output is in the master's hands the moment it is queued: there is nothing to drain.
  if (flush) Flush(true, false);
  {
    MutexLock lock(mutex_);
    const bool flow_before = FlowControl(line_.termios());
    line_.SetTermios(wanted);
    const bool flow_now = FlowControl(wanted);
    if (flow_before != flow_now) NotePacket(flow_now ? kPktDoStop : kPktNoStop);
    if (wanted.lflag & EXTPROC) packet_status_ |= packet_mode_ ? 64 : 0;  // TIOCPKT_IOCTL
    inter_byte_expired_ = false;
  }
  slave_queue_.Notify(kReadable | kWritable);
  master_queue_.Notify(kReadable | kWritable);
  return 0;
}

void Pty::SetWindowSize(const abi::Winsize& size) {
  {
    MutexLock lock(mutex_);
    if (std::memcmp(&window_, &size, sizeof size) == 0) return;
    window_ = size;
  }
  job_control_.SignalForeground(*this, SIGWINCH);
}

Result<int64_t> Pty::CommonIoctl(uint32_t command, uint64_t argument, vfs::UserMemory& memory,
                                 bool master) {
  switch (command) {
    case TCGETS: {
      abi::Termios t;
      {
        MutexLock lock(mutex_);
        t = line_.termios();
      }
      TRY(memory.Write(argument, t));
      return 0;
    }
    case TCGETS2: {
      abi::Termios2 t{};
      {
        MutexLock lock(mutex_);
        std::memcpy(&t, &line_.termios(), sizeof(abi::Termios));
      }
      t.ispeed = t.ospeed = 38400;
      TRY(memory.Write(argument, t));
      return 0;
    }
    case TCSETS:
    case TCSETSW:
    case TCSETSF:
    case TCSETS2:
    case TCSETSW2:
    case TCSETSF2:
      return SetTermios(command, argument, memory, master);
    case TIOCGWINSZ: {
      abi::Winsize size;
      {
        MutexLock lock(mutex_);
        size = window_;
      }
      TRY(memory.Write(argument, size));
      return 0;
    }
    case TIOCSWINSZ:
      SetWindowSize(TRY(memory.Read<abi::Winsize>(argument)));
      return 0;
    case TIOCGPGRP:
      TRY(memory.Write<int32_t>(argument, TRY(job_control_.ForegroundGroup(*this, master))));
      return 0;
    case TIOCSPGRP: {
      const int group = TRY(memory.Read<int32_t>(argument));
      if (!master) TRY(job_control_.CheckBackground(*this, SIGTTOU));
      TRY(job_control_.SetForegroundGroup(*this, group));
      return 0;
    }
    case TIOCGSID:
      TRY(memory.Write<int32_t>(argument, TRY(job_control_.SessionOf(*this, master))));
      return 0;
    case TCFLSH:
      if (!master) TRY(job_control_.CheckBackground(*this, SIGTTOU));
      if (argument > TCIOFLUSH) return Errno::kEINVAL;
      // From the master's side input and output are the other way round.
      Flush(argument == TCIOFLUSH || (argument == TCIFLUSH) != master,
            argument == TCIOFLUSH || (argument == TCOFLUSH) != master);
      return 0;
    case TCXONC: {
      if (!master) TRY(job_control_.CheckBackground(*this, SIGTTOU));
      if (argument > TCION) return Errno::kEINVAL;
      if (argument > TCOON) return 0;  // nobody listens to our STOP and START characters
      {
        MutexLock lock(mutex_);
        line_.SetStopped(argument == TCOOFF);
        NotePacket(argument == TCOOFF ? kPktStop : kPktStart);
      }
      master_queue_.Notify(kReadable);
      slave_queue_.Notify(kWritable);
      return 0;
    }
    case TCSBRK:
    case TCSBRKP:
    case TIOCSBRK:
    case TIOCCBRK:
      return 0;  // a pty has no line to break; draining: see SetTermios
    case TIOCOUTQ:
      TRY(memory.Write<int32_t>(argument, 0));
      return 0;
    case TIOCEXCL:
    case TIOCNXCL: {
      MutexLock lock(mutex_);
      exclusive_ = command == TIOCEXCL;
      return 0;
    }
    case TIOCGEXCL: {
      int32_t on;
      {
        MutexLock lock(mutex_);
        on = exclusive_;
      }
      TRY(memory.Write(argument, on));
      return 0;
    }
    case TIOCGETD:
      TRY(memory.Write<int32_t>(argument, 0));  // N_TTY
      return 0;
    case TIOCSETD:
      return TRY(memory.Read<int32_t>(argument)) == 0 ? Result<int64_t>(0) : Errno::kEINVAL;
    case TIOCGDEV:
      TRY(memory.Write<uint32_t>(argument, terminal_device()));
      return 0;
  }
  return Errno::kENOTTY;
}

}  // namespace msentry::devpts
