// What a terminal (fsimpl/devpts) needs to know about processes: sessions, foreground groups, and
// the SIGTTIN/SIGTTOU rules (credentials(7), tty_ioctl(4)). sentry/kernel implements JobControl;
// terminals get it when they are created. "The caller" is the task of the current fiber.
//
// Any fiber; no terminal lock may be held.
#pragma once

#include <atomic>

#include "sentry/base/ref_ptr.h"
#include "sentry/base/result.h"

namespace msentry::vfs {

// Base of everything that can be a controlling terminal.
class Terminal {
 public:
  virtual ~Terminal() = default;
  virtual void RefTerminal() = 0;  // keeps the terminal while it is some session's
  virtual void UnrefTerminal() = 0;
  // Device number as in /proc/PID/stat tty_nr.
  virtual uint32_t terminal_device() const = 0;

  // Set by JobControl alone (its own lock); readable by anyone.
  std::atomic<int> session{0};     // session it controls, 0: none
  std::atomic<int> foreground{0};  // foreground process group, 0: none
};

class JobControl {
 public:
  virtual ~JobControl() = default;

  // open(2) without O_NOCTTY: becomes the caller's controlling terminal if the caller leads a
  // session that has none and the terminal controls none.
  virtual void OpenedTerminal(Terminal& terminal) = 0;
  // TIOCSCTTY; `steal` is its argument.
  virtual Result<> SetControlling(Terminal& terminal, bool steal) = 0;
  // TIOCNOTTY.
  virtual Result<> GiveUpControlling(Terminal& terminal) = 0;
  // TIOCGPGRP, TIOCSPGRP, TIOCGSID. From the master side (`master`) any caller may ask.
  virtual Result<int> ForegroundGroup(Terminal& terminal, bool master) = 0;
  virtual Result<> SetForegroundGroup(Terminal& terminal, int group) = 0;
  virtual Result<int> SessionOf(Terminal& terminal, bool master) = 0;
  // Read (signo SIGTTIN), or write with TOSTOP and every change (SIGTTOU), by the caller. Ok when
  // it may go on; kEIO when the group is orphaned or blocks/ignores SIGTTIN; kERESTARTSYS after the
  // signal was sent.
  virtual Result<> CheckBackground(Terminal& terminal, int signo) = 0;
  // ^C, ^\, ^Z and SIGWINCH.
  virtual void SignalForeground(Terminal& terminal, int signo) = 0;
  // The master closed: SIGHUP and SIGCONT to the session leader and the foreground group.
  virtual void Hangup(Terminal& terminal) = 0;
  // The caller's controlling terminal (opening /dev/tty); null: ENXIO. A reference is taken with
  // RefTerminal for the caller.
  virtual Terminal* ControllingTerminal() = 0;
};

}  // namespace msentry::vfs
