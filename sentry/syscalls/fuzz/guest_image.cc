#include "sentry/syscalls/fuzz/guest_image.h"

#include <arpa/inet.h>
#include <elf.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/openat2.h>
#include <linux/sched.h>
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <time.h>

#include <cstring>

namespace msentry::syscalls {
namespace {

constexpr const char* kPaths[] = {"/",
                                  "/f",
                                  "/d",
                                  "/l",
                                  "/p",
                                  "/init",
                                  "/d/x",
                                  "/d/y/z",
                                  "x",
                                  ".",
                                  "..",
                                  "",
                                  "/l/../f",
                                  "/dev/null",
                                  "/dev/zero",
                                  "/dev/ptmx",
                                  "/dev/tty",
                                  "/dev/pts/0",
                                  "/proc",
                                  "/proc/self",
                                  "/proc/self/maps",
                                  "/proc/self/mem",
                                  "/proc/self/fd/3",
                                  "/proc/self/fd/4",
                                  "/proc/self/status",
                                  "/proc/1/task/1/stat",
                                  "/proc/self/cwd",
                                  "/proc/sys/kernel/hostname",
                                  "/sys/devices/system/cpu",
                                  "user.name",
                                  "tmpfs",
                                  "/nowhere/at/all"};
static_assert(std::size(kPaths) == 32);

class Image {
 public:
  Image() : bytes_(0x4000, '\0') {}

  template <typename T>
  void Put(uint64_t address, const T& value) {
    std::memcpy(&bytes_[address - kImage], &value, sizeof value);
  }
  template <typename T>
  void Put(StructIndex index, const T& value) {
    static_assert(sizeof(T) <= 128);
    Put(StructAddress(index), value);
  }
  void PutText(uint64_t address, const char* text) {
    std::memcpy(&bytes_[address - kImage], text, strlen(text) + 1);
  }
  std::string Take() { return std::move(bytes_); }

 private:
  std::string bytes_;
};

void PutHeaders(Image& image) {
  Elf64_Ehdr elf{};
  std::memcpy(elf.e_ident, ELFMAG, SELFMAG);
  elf.e_ident[EI_CLASS] = ELFCLASS64;
  elf.e_ident[EI_DATA] = ELFDATA2LSB;
  elf.e_ident[EI_VERSION] = EV_CURRENT;
  elf.e_type = ET_EXEC;
  elf.e_machine = EM_X86_64;
  elf.e_version = EV_CURRENT;
  elf.e_entry = kImage;
  elf.e_phoff = sizeof elf;
  elf.e_ehsize = sizeof elf;
  elf.e_phentsize = sizeof(Elf64_Phdr);
  elf.e_phnum = 1;
  Elf64_Phdr load{};
  load.p_type = PT_LOAD;
  load.p_flags = PF_R | PF_W | PF_X;
  load.p_vaddr = load.p_paddr = kImage;
  load.p_filesz = 0x4000;
  load.p_memsz = kScratch + kScratchBytes - kImage;
  load.p_align = 0x1000;
  image.Put(kImage, elf);
  image.Put(kImage + sizeof elf, load);
}

void PutTimesAndSignals(Image& image) {
  const timespec millisecond{0, 1'000'000};
  image.Put(kTimespec, millisecond);
  image.Put(kIntervals, itimerspec{millisecond, millisecond});
  const uint64_t action[] = {kImage, SA_SIGINFO | SA_RESTART | 0x04000000, kImage, 0};
  image.Put(kAction, action);
  image.Put(kSignalSet, uint64_t{1} << (SIGUSR1 - 1));
  sigevent event{};
  event.sigev_signo = SIGUSR1;
  event.sigev_notify = SIGEV_SIGNAL;
  image.Put(kSigevent, event);
  image.Put(kStack, stack_t{reinterpret_cast<void*>(kScratch), 0, 0x2000});
}

void PutSockets(Image& image) {
  sockaddr_un local{};
  local.sun_family = AF_UNIX;
  std::memcpy(local.sun_path, "/s", 3);
  image.Put(kUnixAddress, local);
  sockaddr_in inet{};
  inet.sin_family = AF_INET;
  inet.sin_port = htons(8080);
  inet.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  image.Put(kInetAddress, inet);
  sockaddr_in6 inet6{};
  inet6.sin6_family = AF_INET6;
  inet6.sin6_port = htons(8080);
  inet6.sin6_addr.s6_addr[15] = 1;
  image.Put(kInet6Address, inet6);
  const uint64_t parts[] = {kScratch, 100, kScratch + 0x1000, 5000};
  image.Put(kIovec, parts);
  const uint64_t too_long[] = {kScratch, ~uint64_t{0} >> 1};
  image.Put(kAltIovec, too_long);
  struct {
    uint64_t length;
    int level, type;  // cmsghdr
    int fd, padding;
  } rights{CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS, 3, 0};
  image.Put(kControl, rights);
  msghdr message{};
  message.msg_name = reinterpret_cast<void*>(StructAddress(kUnixAddress));
  message.msg_namelen = sizeof local;
  message.msg_iov = reinterpret_cast<iovec*>(StructAddress(kIovec));
  message.msg_iovlen = 2;
  message.msg_control = reinterpret_cast<void*>(StructAddress(kControl));
  message.msg_controllen = sizeof rights;
  image.Put(kMessage, message);
}

void PutFiles(Image& image) {
  const pollfd polled[] = {{3, POLLIN | POLLOUT, 0}, {4, POLLIN, 0}};
  image.Put(kPoll, polled);
  epoll_event event{};
  event.events = EPOLLIN;
  image.Put(kEpoll, event);
  image.Put(kFdSet, uint64_t{1 << 3 | 1 << 4});
  flock lock{};
  lock.l_type = F_WRLCK;
  lock.l_len = 4;
  image.Put(kFlock, lock);
  const open_how how{O_RDWR, 0, 0};
  image.Put(kOpenHow, how);
}

void PutProcesses(Image& image) {
  image.Put(kLimit, rlimit{100, 200});
  clone_args clone{};
  clone.exit_signal = SIGCHLD;
  image.Put(kClone, clone);
  const uint64_t argv[] = {PathAddress(5), 0};
  image.Put(kArgv, argv);
  const uint64_t robust[] = {StructAddress(kRobust), 0, StructAddress(kRobust)};
  image.Put(kRobust, robust);
  image.Put(kCapHeader, __user_cap_header_struct{_LINUX_CAPABILITY_VERSION_3, 0});
}

}  // namespace

std::string GuestImage() {
  Image image;
  PutHeaders(image);
  for (size_t i = 0; i < std::size(kPaths); ++i) image.PutText(PathAddress(i), kPaths[i]);
  PutTimesAndSignals(image);
  PutSockets(image);
  PutFiles(image);
  PutProcesses(image);
  return image.Take();
}

}  // namespace msentry::syscalls
