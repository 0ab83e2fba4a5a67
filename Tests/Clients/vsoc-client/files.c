/* SPDX-License-Identifier: Apache-2.0 */
/* Descriptors: open, read, write and their kin. */
#define _GNU_SOURCE
#include "client.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

static int open_flags(const char *text) {
  static const struct {
    const char *name;
    int flag;
  } names[] = {{"rw", O_RDWR},         {"r", O_RDONLY},      {"w", O_WRONLY}, {"nonblock", O_NONBLOCK},
               {"append", O_APPEND},   {"trunc", O_TRUNC},   {"creat", O_CREAT},
               {"direct", O_DIRECT},   {"path", O_PATH}};
  int flags = O_CLOEXEC;
  while (*text) {
    size_t length = strcspn(text, ",");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
      if (strlen(names[i].name) == length && !strncmp(names[i].name, text, length)) {
        flags |= names[i].flag;
      }
    }
    text += length + (text[length] == ',');
  }
  return flags;
}

static void verb_open(int argc, char **argv, struct reply *reply) {
  reply_result(reply, open(argv[1], open_flags(argc > 2 ? argv[2] : "rw"), 0644));
}

static void verb_close(int argc, char **argv, struct reply *reply) {
  (void)argc;
  reply_result(reply, close((int)number(argv[1])));
}

static void verb_dup(int argc, char **argv, struct reply *reply) {
  (void)argc;
  reply_result(reply, dup((int)number(argv[1])));
}

/* read FD COUNT [OFFSET]: the bytes. */
static void verb_read(int argc, char **argv, struct reply *reply) {
  char bytes[8192];
  size_t count = (size_t)number(argv[2]);
  int fd = descriptor(argv[1]);
  if (count > sizeof bytes) count = sizeof bytes;
  ssize_t n = argc > 3 ? pread(fd, bytes, count, (off_t)number(argv[3])) : read(fd, bytes, count);
  if (n < 0) {
    reply_error(reply, errno);
  } else {
    reply_bytes(reply, bytes, (size_t)n);
  }
}

/* write FD TEXT [OFFSET]: the count. */
static void verb_write(int argc, char **argv, struct reply *reply) {
  int fd = descriptor(argv[1]);
  size_t length = strlen(argv[2]);
  reply_result(reply, argc > 3 ? pwrite(fd, argv[2], length, (off_t)number(argv[3]))
                               : write(fd, argv[2], length));
}

/* fill FD BYTE COUNT OFFSET: writes COUNT bytes of one value in one call. */
static void verb_fill(int argc, char **argv, struct reply *reply) {
  static char bytes[1 << 20];
  (void)argc;
  size_t count = (size_t)number(argv[3]);
  if (count > sizeof bytes) count = sizeof bytes;
  memset(bytes, (int)number(argv[2]), count);
  reply_result(reply, pwrite(descriptor(argv[1]), bytes, count, (off_t)number(argv[4])));
}

static void verb_seek(int argc, char **argv, struct reply *reply) {
  (void)argc;
  const char *whence = argv[3];
  int how = !strcmp(whence, "end") ? SEEK_END : !strcmp(whence, "set") ? SEEK_SET : SEEK_CUR;
  reply_result(reply, lseek(descriptor(argv[1]), (off_t)number(argv[2]), how));
}

static void verb_ftruncate(int argc, char **argv, struct reply *reply) {
  (void)argc;
  reply_result(reply, ftruncate(descriptor(argv[1]), (off_t)number(argv[2])));
}

static void verb_nonblock(int argc, char **argv, struct reply *reply) {
  (void)argc;
  int fd = descriptor(argv[1]);
  reply_result(reply, fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK));
}

static void on_signal(int number) { (void)number; }

/* catch-usr1: a handler that does nothing, without SA_RESTART. */
static void verb_catch_usr1(int argc, char **argv, struct reply *reply) {
  (void)argc, (void)argv;
  struct sigaction action = {.sa_handler = on_signal};
  reply_result(reply, sigaction(SIGUSR1, &action, NULL));
}

/* setuid UID GID: for good, without supplementary groups. */
static void verb_setuid(int argc, char **argv, struct reply *reply) {
  (void)argc;
  gid_t gid = (gid_t)number(argv[2]);
  uid_t uid = (uid_t)number(argv[1]);
  int result = setresgid(gid, gid, gid);
  /* setgroups needs privileges: before setresuid. */
  if (result == 0) result = setgroups(0, NULL);
  if (result == 0) result = setresuid(uid, uid, uid);
  reply_result(reply, result);
}

const struct verb file_verbs[] = {{"open", 1, verb_open},
                                  {"close", 1, verb_close},
                                  {"dup", 1, verb_dup},
                                  {"read", 2, verb_read},
                                  {"write", 2, verb_write},
                                  {"fill", 4, verb_fill},
                                  {"seek", 3, verb_seek},
                                  {"ftruncate", 2, verb_ftruncate},
                                  {"nonblock", 1, verb_nonblock},
                                  {"catch-usr1", 0, verb_catch_usr1},
                                  {"setuid", 2, verb_setuid},
                                  {NULL, 0, NULL}};
