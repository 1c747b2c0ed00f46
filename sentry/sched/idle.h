// For a fiber about to wait for something short.
#pragma once

namespace msentry::sched {

// Whether nothing else waits for the caller's worker: no fiber is queued, no guest thread runs.
// Then a short wait in a host call costs less than Park(). A hint; false on a thread without a
// fiber.
bool NothingElseToRun();

}  // namespace msentry::sched
