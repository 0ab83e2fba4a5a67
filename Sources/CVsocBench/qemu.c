/* SPDX-License-Identifier: Apache-2.0 */
/*
 * QEMU's ivshmem device, driven by qtest: no guest runs, and each access to the device is a line of
 * text to QEMU. Also the least of an ivshmem server that it can be connected to.
 */
#define _GNU_SOURCE
#include "bench.h"

#include <endian.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
  DEVICE = 5, /* its slot on the PCI bus */
  IVSHMEM = 0x11101af4,
  PCI_COMMAND = 4,
  BAR0 = 0x10,
  REGISTERS = 0xe0000000u, /* where BAR0 is put */
  DOORBELL = 12,
  HOST_END = 1, /* the peer that is rung */
  OWN_ID = 2,   /* of the only client of the server here */
};

static pid_t qemu;
static int qemu_pidfd;
static FILE *qtest;

static void start_qemu(const char *program, const char *qtest_path, const char *ivshmem_path) {
  char qtest_option[160], ivshmem_option[160];
  snprintf(qtest_option, sizeof qtest_option, "unix:%s", qtest_path);
  snprintf(ivshmem_option, sizeof ivshmem_option, "socket,id=iv,path=%s", ivshmem_path);
  pid_t parent = getpid();
  qemu = fork();
  if (qemu < 0) client_fail("fork");
  if (qemu == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(1);
    execl(program, program, "-nodefaults", "-display", "none", "-machine", "pc", "-accel", "tcg",
          "-S", "-m", "64", "-qtest", qtest_option, "-qtest-log", "/dev/null", "-chardev",
          ivshmem_option, "-device", "ivshmem-doorbell,chardev=iv,vectors=1,addr=5", (char *)NULL);
    fprintf(stderr, "%s: %s\n", program, strerror(errno));
    _exit(1);
  }
  qemu_pidfd = (int)syscall(SYS_pidfd_open, qemu, 0);
  if (qemu_pidfd < 0) client_fail("pidfd_open");
}

/* QEMU connects by itself, if it does not end before; then its last line is the reason. */
static int accept_qemu(int listener) {
  struct pollfd polls[] = {{.fd = listener, .events = POLLIN},
                           {.fd = qemu_pidfd, .events = POLLIN}};
  if (poll(polls, 2, -1) < 0) client_fail("poll");
  if (!(polls[0].revents & POLLIN)) _exit(1);
  int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
  if (fd < 0) client_fail("accept");
  close(listener);
  return fd;
}

/* --- The server --- */

static void send_message(int fd, int64_t value, int descriptor) {
  union {
    struct cmsghdr header;
    char bytes[CMSG_SPACE(sizeof(int))];
  } control = {.bytes = {0}};
  uint64_t bytes = htole64((uint64_t)value);
  struct iovec vector = {.iov_base = &bytes, .iov_len = sizeof bytes};
  struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1};
  if (descriptor >= 0) {
    message.msg_control = &control;
    message.msg_controllen = sizeof control;
    control.header.cmsg_level = SOL_SOCKET;
    control.header.cmsg_type = SCM_RIGHTS;
    control.header.cmsg_len = CMSG_LEN(sizeof descriptor);
    memcpy(CMSG_DATA(&control.header), &descriptor, sizeof descriptor);
  }
  if (sendmsg(fd, &message, MSG_NOSIGNAL) != sizeof bytes) client_fail("sendmsg to QEMU");
}

/* The order of docs/protocol.md; what the device rings is `bell`. */
static void serve(int fd, int bell) {
  int memory = vsocfs_bench_memfd(MAPPED_SIZE), own = eventfd(0, EFD_CLOEXEC);
  if (memory < 0 || own < 0) client_fail("the server's descriptors");
  send_message(fd, 0, -1);
  send_message(fd, OWN_ID, -1);
  send_message(fd, -1, memory);
  send_message(fd, HOST_END, bell);
  send_message(fd, OWN_ID, own);
}

/* --- The guest --- */

static void tell(const char *command) {
  size_t length = strlen(command);
  if (write(fileno(qtest), command, length) != (ssize_t)length) client_fail("write to qtest");
}

/* The value of the answer; interrupts that are reported meanwhile are not of interest. */
static uint64_t answer(void) {
  char line[128];
  do {
    errno = 0;
    if (!fgets(line, sizeof line, qtest)) client_fail("QEMU ended");
  } while (strncmp(line, "IRQ", 3) == 0);
  if (strncmp(line, "OK", 2) != 0) client_fail("qtest: %.60s", line);
  return strtoull(line + 2, NULL, 16);
}

static uint64_t configuration(uint32_t place, const char *command) {
  char text[64];
  snprintf(text, sizeof text, "outl 0xcf8 0x%x\n", 0x80000000u | DEVICE << 11 | place);
  tell(text);
  answer();
  tell(command);
  return answer();
}

static void set_up_device(void) {
  char text[64];
  errno = 0;
  if (configuration(0, "inl 0xcfc\n") != IVSHMEM) client_fail("QEMU has no ivshmem device");
  snprintf(text, sizeof text, "outl 0xcfc 0x%x\n", REGISTERS);
  configuration(BAR0, text);
  configuration(PCI_COMMAND, "outl 0xcfc 7\n");
}

/* The answer comes after the device has rung, and is no part of what is timed. */
static void ring_register(void) {
  static char command[64];
  if (!*command) {
    snprintf(command, sizeof command, "writel 0x%x 0x%x\n", REGISTERS + DOORBELL, HOST_END << 16);
  }
  tell(command);
  answer();
}

/* QEMU QTEST-SOCKET IVSHMEM-SOCKET mount|BELL SAMPLES: writes to the doorbell register. With a BELL
 * the sockets' server is here, otherwise it is there already. */
int client_ring_qemu(int argc, char **argv) {
  (void)argc;
  bool serves = strcmp(argv[3], "mount") != 0;
  int listener = listen_socket(argv[1]), server = serves ? listen_socket(argv[2]) : -1;
  start_qemu(argv[0], argv[1], argv[2]);
  /* QEMU waits for the server before it is there for qtest. */
  if (serves) {
    server = accept_qemu(server);
    serve(server, open_target(argv[3], 0));
  }
  qtest = fdopen(accept_qemu(listener), "r");
  if (!qtest) client_fail("fdopen");
  set_up_device();
  ring_for_listener(ring_register, number(argv[4]));
  kill(qemu, SIGKILL);
  waitpid(qemu, NULL, 0);
  return 0;
}
