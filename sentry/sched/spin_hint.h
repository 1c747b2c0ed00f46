// What a SpinSource lets the scheduler know while a worker runs the caller.
#pragma once

namespace msentry::sched {

// The caller is about to wake a host thread that went to sleep on `cpu`. If that is the worker's
// own CPU the two would take turns there: the worker moves to another if one is idle, else it will
// spin only for a moment before it sleeps. Nothing happens on a thread that is not a worker.
void NoteWake(int cpu);

}  // namespace msentry::sched
