// The user's terminal while a sandbox runs: raw mode, the two byte streams, window size, signals.
// All of `msentry run`'s waiting is here.
#pragma once

#include "runtime/msentry.h"

namespace msentry::cmd {

// Which of 0, 1, 2 are terminals: the guest gets the sandbox's own terminal there.
struct TerminalUse {
  bool is_terminal[3] = {false, false, false};
  bool any() const { return is_terminal[0] || is_terminal[1] || is_terminal[2]; }
};
TerminalUse FindTerminals();
// Of the first terminal among them.
WindowSize CurrentWindowSize();

// Runs a started sandbox to its end: moves bytes between the terminal and the sandbox, forwards
// SIGWINCH, SIGINT, SIGQUIT, SIGTSTP and SIGCONT; SIGTERM and SIGHUP are forwarded too, and end the
// sandbox two seconds later if it has not ended. Prints warnings as they come. The terminal is as
// it was before when this returns.
ExitStatus Attend(Sandbox& sandbox, const TerminalUse& use);

}  // namespace msentry::cmd
