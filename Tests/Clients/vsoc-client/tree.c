/* SPDX-License-Identifier: Apache-2.0 */
/* Names and attributes. */
#define _GNU_SOURCE
#include "client.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

/* stat PATH: type, mode in octal, uid, gid, size, ino, nlink. */
static void verb_stat(int argc, char **argv, struct reply *reply) {
  struct stat s;
  (void)argc;
  int failed = argv[1][0] >= '0' && argv[1][0] <= '9' ? fstat((int)number(argv[1]), &s)
                                                        : lstat(argv[1], &s);
  if (failed) {
    reply_error(reply, errno);
    return;
  }
  const char *type = S_ISDIR(s.st_mode) ? "dir" : S_ISREG(s.st_mode) ? "file" : "other";
  reply_format(reply, "%s %o %u %u %lld %llu %u", type, (unsigned)s.st_mode & 07777, s.st_uid,
               s.st_gid, (long long)s.st_size, (unsigned long long)s.st_ino,
               (unsigned)s.st_nlink);
}

static int by_name(const void *a, const void *b) {
  return strcmp(*(char *const *)a, *(char *const *)b);
}

/* list PATH: the names, sorted, separated by '/'; `.` and `..` left out. */
static void verb_list(int argc, char **argv, struct reply *reply) {
  static char *names[4096];
  size_t count = 0;
  (void)argc;
  DIR *directory = opendir(argv[1]);
  if (!directory) {
    reply_error(reply, errno);
    return;
  }
  for (struct dirent *entry; count < 4096 && (entry = readdir(directory));) {
    if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..")) continue;
    names[count++] = strdup(entry->d_name);
  }
  closedir(directory);
  qsort(names, count, sizeof *names, by_name);
  for (size_t i = 0; i < count; i++) {
    reply_format(reply, "%s%s", i ? "/" : "", names[i]);
    free(names[i]);
  }
}

/* statfs PATH: bytes in all, bytes free. */
static void verb_statfs(int argc, char **argv, struct reply *reply) {
  struct statvfs s;
  (void)argc;
  if (statvfs(argv[1], &s)) {
    reply_error(reply, errno);
    return;
  }
  reply_format(reply, "%llu %llu", (unsigned long long)s.f_blocks * s.f_frsize,
               (unsigned long long)s.f_bfree * s.f_frsize);
}

static void verb_mkdir(int argc, char **argv, struct reply *reply) {
  umask(0);
  reply_result(reply, mkdir(argv[1], argc > 2 ? (mode_t)number(argv[2]) : 0755));
}

#define PATH_VERB(name, call)                                          \
  static void verb_##name(int argc, char **argv, struct reply *reply) { \
    (void)argc;                                                        \
    reply_result(reply, call);                                         \
  }

PATH_VERB(rmdir, rmdir(argv[1]))
PATH_VERB(unlink, unlink(argv[1]))
PATH_VERB(rename, rename(argv[1], argv[2]))
PATH_VERB(link, link(argv[1], argv[2]))
PATH_VERB(symlink, symlink(argv[1], argv[2]))
PATH_VERB(mknod, mknod(argv[1], S_IFREG | 0644, 0))
PATH_VERB(truncate, truncate(argv[1], (off_t)number(argv[2])))
PATH_VERB(chmod, chmod(argv[1], (mode_t)number(argv[2])))
PATH_VERB(chown, chown(argv[1], (uid_t)number(argv[2]), (gid_t)number(argv[3])))
PATH_VERB(access, faccessat(AT_FDCWD, argv[1], (int)number(argv[2]), AT_EACCESS))

const struct verb tree_verbs[] = {{"stat", 1, verb_stat},
                                  {"list", 1, verb_list},
                                  {"statfs", 1, verb_statfs},
                                  {"mkdir", 1, verb_mkdir},
                                  {"rmdir", 1, verb_rmdir},
                                  {"unlink", 1, verb_unlink},
                                  {"rename", 2, verb_rename},
                                  {"link", 2, verb_link},
                                  {"symlink", 2, verb_symlink},
                                  {"mknod", 1, verb_mknod},
                                  {"truncate", 2, verb_truncate},
                                  {"chmod", 2, verb_chmod},
                                  {"chown", 3, verb_chown},
                                  {"access", 2, verb_access},
                                  {NULL, 0, NULL}};
