/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A file system of an attacker's own, whose pages do not come: a buffer that is mapped from one of its
 * files keeps whoever touches it waiting, in the kernel and unkillably.
 *
 *   slow-pages UID MOUNTPOINT
 *
 * Mounts as root, serves as UID. Any name that begins with `p` is a file of 1 MiB: its first page is
 * there at once, a read of the others is answered when a line comes on standard input, or never. The
 * end of standard input ends it all.
 */
#define _GNU_SOURCE
#define FUSE_USE_VERSION 314
#include <errno.h>
#include <fuse_lowlevel.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PAGE = 4096, SIZE = 1 << 20, MAX_PARKED = 1024, NAMES = 4096 };

static char *names[NAMES];
static struct {
  fuse_req_t request;
  size_t size;
} parked[MAX_PARKED];
static int parked_count;
static bool is_released;
static uid_t owner;

static struct stat attributes(fuse_ino_t node) {
  return (struct stat){.st_ino = node,
                       .st_mode = node == FUSE_ROOT_ID ? S_IFDIR | 0755 : S_IFREG | 0666,
                       .st_nlink = 1,
                       .st_uid = owner,
                       .st_size = node == FUSE_ROOT_ID ? 0 : SIZE};
}

static void on_lookup(fuse_req_t request, fuse_ino_t parent, const char *name) {
  (void)parent;
  if (name[0] != 'p') {
    fuse_reply_err(request, ENOENT);
    return;
  }
  fuse_ino_t node = 2;
  while (node < NAMES && names[node] && strcmp(names[node], name) != 0) node++;
  if (node == NAMES || (!names[node] && !(names[node] = strdup(name)))) {
    fuse_reply_err(request, ENOSPC);
    return;
  }
  struct fuse_entry_param entry = {.ino = node, .attr = attributes(node), .attr_timeout = 3600,
                                   .entry_timeout = 3600};
  fuse_reply_entry(request, &entry);
}

static void on_getattr(fuse_req_t request, fuse_ino_t node, struct fuse_file_info *file) {
  (void)file;
  struct stat it = attributes(node);
  fuse_reply_attr(request, &it, 3600);
}

static void on_open(fuse_req_t request, fuse_ino_t node, struct fuse_file_info *file) {
  (void)node;
  fuse_reply_open(request, file);
}

static void answer(fuse_req_t request, size_t size) {
  static const char zeros[SIZE];
  fuse_reply_buf(request, zeros, size > SIZE ? SIZE : size);
}

static void on_read(fuse_req_t request, fuse_ino_t node, size_t size, off_t offset,
                    struct fuse_file_info *file) {
  (void)node, (void)file;
  if (is_released || (offset < PAGE && size <= PAGE) || parked_count == MAX_PARKED) {
    answer(request, size);
    return;
  }
  parked[parked_count].request = request;
  parked[parked_count++].size = size;
}

static void on_init(void *userdata, struct fuse_conn_info *connection) {
  (void)userdata;
  connection->max_readahead = 0;
}

static void release_pages(void) {
  is_released = true;
  while (parked_count > 0) {
    parked_count--;
    answer(parked[parked_count].request, parked[parked_count].size);
  }
}

int main(int argc, char **argv) {
  static const struct fuse_lowlevel_ops operations = {.init = on_init,
                                                      .lookup = on_lookup,
                                                      .getattr = on_getattr,
                                                      .open = on_open,
                                                      .read = on_read};
  if (argc != 3) return 2;
  owner = (uid_t)strtoul(argv[1], NULL, 10);
  char *arguments[] = {argv[0], "-o", "allow_other,default_permissions,fsname=slow-pages", NULL};
  struct fuse_args args = FUSE_ARGS_INIT(3, arguments);
  struct fuse_session *session = fuse_session_new(&args, &operations, sizeof operations, NULL);
  if (!session || fuse_session_mount(session, argv[2])) return 1;
  if (setresuid(owner, owner, owner)) return 1;
  puts("ready");
  fflush(stdout);

  struct fuse_buf buffer = {0};
  struct pollfd waits[] = {{.fd = fuse_session_fd(session), .events = POLLIN},
                           {.fd = STDIN_FILENO, .events = POLLIN}};
  while (poll(waits, 2, -1) >= 0 || errno == EINTR) {
    char line[64];
    if (waits[1].revents) {
      if (read(STDIN_FILENO, line, sizeof line) <= 0) break;
      release_pages();
      puts("released");
      fflush(stdout);
    }
    if (!waits[0].revents) continue;
    int length = fuse_session_receive_buf(session, &buffer);
    if (length == -EINTR || length == -EAGAIN) continue;
    if (length <= 0) break;
    fuse_session_process_buf(session, &buffer);
  }
  /* The connection ends with the process; whoever started it unmounts, which takes root. */
  _exit(0);
}
