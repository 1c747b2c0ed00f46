// The sentry's own log (--log, --debug): one line an event, to one host fd. Not the guest's dmesg.
//
//   LOG(Info) << ... is deliberately absent: formats are printf's, checked by the compiler.
//   LogInfo("gofer: attached %s", root.c_str());
//
// Any thread; a line is written with one write(2). Guest-controlled text must go through
// EscapeForLog so that it cannot forge lines.
#pragma once

#include <string>
#include <string_view>

namespace msentry {

enum class LogLevel { kDebug, kInfo, kWarning, kError };

// Where lines go and the least level written. The default is fd 2 and kWarning.
void SetLog(int fd, LogLevel least);
bool LogEnabled(LogLevel level);

void LogDebug(const char* format, ...) __attribute__((format(printf, 1, 2)));
void LogInfo(const char* format, ...) __attribute__((format(printf, 1, 2)));
void LogWarning(const char* format, ...) __attribute__((format(printf, 1, 2)));
void LogError(const char* format, ...) __attribute__((format(printf, 1, 2)));

// `text` with every byte outside printable ASCII, and backslash, as \xHH.
std::string EscapeForLog(std::string_view text);

}  // namespace msentry
