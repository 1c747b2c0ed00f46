// How the tracer thread waits for tracees and for work at once: waitid(2), ended early by a signal.
//
// waitid cannot change the signal mask atomically, so a signal between the last look at the queue
// and the call would be lost. The handler closes that hole: when it finds the thread between the
// look and the `syscall` instruction it moves it past the call (wait_or_kick.S).
#pragma once

#include <sys/types.h>

#include <atomic>
#include <csignal>
#include <cstdint>

namespace msentry::platform::pt {

// Whom to wake, and whether he needs it.
struct Kick {
  // 0: about to wait or waiting; else awake, a look at the queue is to come.
  std::atomic<uint32_t> awake{1};
  pid_t tid = 0;
};

// Installs the handler for the signal. Once a process is enough; more do no harm.
void InstallKickHandler();

// waitid(P_ALL, 0, info, options). -EINTR when a kick came. Pre: awake was set to 0, and the queue
// looked at after that.
int WaitOrKick(Kick& kick, siginfo_t* info, int options);

// Any thread, after it has queued work.
void SendKick(Kick& kick);

}  // namespace msentry::platform::pt
