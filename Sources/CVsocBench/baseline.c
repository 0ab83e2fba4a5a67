/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The daemon that vsocfs is measured against: the least that libfuse3 can do in C. Two doorbells
 * without an engine and without text to parse: a write to one answers the parked read of the
 * other, or notifies its poll handle, at once; every ioctl on `data` is answered at once. One
 * client at a time for each file; open flags are those of vsocfs, so that the kernel takes the
 * same ways.
 */
#define _GNU_SOURCE
#define FUSE_USE_VERSION 314
#include "bench.h"

#include <errno.h>
#include <fuse_lowlevel.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { ROOT = FUSE_ROOT_ID, NORTH, SOUTH, DATA, LAST = DATA };
static const char *const names[] = {[NORTH] = "north", [SOUTH] = "south", [DATA] = "data"};

/* The kernel's numbers: libfuse 3.14 has no fields for two of them. */
enum {
  OPEN_DIRECT_IO = 1 << 0,
  OPEN_NONSEEKABLE = 1 << 2,
  OPEN_STREAM = 1 << 4,
  OPEN_PARALLEL_DIRECT_WRITES = 1 << 6,
};
struct open_out {
  uint64_t fh;
  uint32_t open_flags, padding;
};

static struct end {
  pthread_mutex_t lock;
  fuse_req_t parked;
  struct fuse_pollhandle *handle;
  bool rung;
} ends[LAST + 1] = {[NORTH].lock = PTHREAD_MUTEX_INITIALIZER,
                    [SOUTH].lock = PTHREAD_MUTEX_INITIALIZER};

static const char line[] = "0x00010000\n";
static struct fuse_session *session;

static struct stat attributes(fuse_ino_t node) {
  struct stat it = {.st_ino = node, .st_nlink = 1};
  it.st_mode = node == ROOT ? S_IFDIR | 0755 : S_IFREG | 0666;
  it.st_size = node == ROOT ? 0 : 4096; /* writes inside the size run in parallel */
  return it;
}

static void on_lookup(fuse_req_t request, fuse_ino_t parent, const char *name) {
  (void)parent;
  for (fuse_ino_t node = NORTH; node <= LAST; node++) {
    if (strcmp(names[node], name) != 0) continue;
    struct fuse_entry_param entry = {.ino = node, .attr_timeout = 3600, .entry_timeout = 3600};
    entry.attr = attributes(node);
    fuse_reply_entry(request, &entry);
    return;
  }
  fuse_reply_err(request, ENOENT);
}

static void on_getattr(fuse_req_t request, fuse_ino_t node, struct fuse_file_info *info) {
  (void)info;
  struct stat it = attributes(node);
  fuse_reply_attr(request, &it, 3600);
}

static void on_open(fuse_req_t request, fuse_ino_t node, struct fuse_file_info *info) {
  (void)info;
  struct open_out out = {.fh = node,
                         .open_flags = OPEN_DIRECT_IO | OPEN_NONSEEKABLE | OPEN_STREAM |
                                       OPEN_PARALLEL_DIRECT_WRITES};
  fuse_reply_buf(request, (const char *)&out, sizeof out);
}

static void on_read(fuse_req_t request, fuse_ino_t node, size_t size, off_t offset,
                    struct fuse_file_info *info) {
  (void)size, (void)offset, (void)info;
  struct end *end = &ends[node];
  pthread_mutex_lock(&end->lock);
  bool rung = end->rung;
  end->rung = false;
  if (!rung) end->parked = request;
  pthread_mutex_unlock(&end->lock);
  if (rung) fuse_reply_buf(request, line, sizeof line - 1);
}

static void on_write(fuse_req_t request, fuse_ino_t node, const char *text, size_t size,
                     off_t offset, struct fuse_file_info *info) {
  (void)text, (void)offset, (void)info;
  struct end *peer = &ends[node == NORTH ? SOUTH : NORTH];
  pthread_mutex_lock(&peer->lock);
  fuse_req_t parked = peer->parked;
  struct fuse_pollhandle *handle = peer->handle;
  peer->parked = NULL;
  peer->handle = NULL;
  if (!parked) peer->rung = true;
  pthread_mutex_unlock(&peer->lock);
  /* The peer first: it starts to run while the writer is answered. */
  if (parked) fuse_reply_buf(parked, line, sizeof line - 1);
  if (handle) {
    fuse_lowlevel_notify_poll(handle);
    fuse_pollhandle_destroy(handle);
  }
  fuse_reply_write(request, size);
}

static void on_poll(fuse_req_t request, fuse_ino_t node, struct fuse_file_info *info,
                    struct fuse_pollhandle *handle) {
  (void)info;
  struct end *end = &ends[node];
  pthread_mutex_lock(&end->lock);
  struct fuse_pollhandle *old = handle ? end->handle : NULL;
  if (handle) end->handle = handle;
  unsigned events = POLLOUT | (end->rung ? POLLIN : 0);
  pthread_mutex_unlock(&end->lock);
  if (old) fuse_pollhandle_destroy(old);
  fuse_reply_poll(request, events);
}

static void on_ioctl(fuse_req_t request, fuse_ino_t node, unsigned command, void *argument,
                     struct fuse_file_info *info, unsigned flags, const void *in, size_t in_size,
                     size_t out_size) {
  (void)node, (void)command, (void)argument, (void)info, (void)flags;
  (void)in, (void)in_size, (void)out_size;
  fuse_reply_err(request, EBUSY);
}

static const struct fuse_lowlevel_ops operations = {
    .lookup = on_lookup, .getattr = on_getattr, .open = on_open,   .read = on_read,
    .write = on_write,   .poll = on_poll,       .ioctl = on_ioctl,
};

static void tell_ready(void) {
  const char *path = getenv("NOTIFY_SOCKET");
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  if (!path || strlen(path) >= sizeof address.sun_path) return;
  strcpy(address.sun_path, path);
  int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return;
  if (sendto(fd, "READY=1", 7, 0, (struct sockaddr *)&address, sizeof address) < 0) {
    perror("NOTIFY_SOCKET");
  }
  close(fd);
}

static void *pool_main(void *argument) {
  struct fuse_buf buffer = {.mem = NULL};
  (void)argument;
  while (!fuse_session_exited(session)) {
    int length = fuse_session_receive_buf(session, &buffer);
    if (length == -EINTR) continue;
    if (length <= 0) break;
    fuse_session_process_buf(session, &buffer);
  }
  free(buffer.mem);
  return NULL;
}

/* single: fuse_session_loop. mt:N, mt-clone:N: fuse_session_loop_mt with N threads that stay, with
 * one descriptor or one each. pool:N: N threads that only receive and process, as in vsocfs. */
static int run(const char *loop) {
  int threads = 0;
  const char *colon = strchr(loop, ':');
  if (colon) threads = atoi(colon + 1);
  if (strcmp(loop, "single") == 0) return fuse_session_loop(session);
  if (threads < 1) return -EINVAL;
  if (strncmp(loop, "pool:", 5) == 0) {
    pthread_t thread;
    for (int i = 1; i < threads; i++) pthread_create(&thread, NULL, pool_main, NULL);
    pool_main(NULL);
    return 0;
  }
  struct fuse_loop_config *config = fuse_loop_cfg_create();
  fuse_loop_cfg_set_max_threads(config, (unsigned)threads);
  fuse_loop_cfg_set_idle_threads(config, (unsigned)threads);
  fuse_loop_cfg_set_clone_fd(config, strncmp(loop, "mt-clone:", 9) == 0);
  int result = fuse_session_loop_mt(session, config);
  fuse_loop_cfg_destroy(config);
  return result;
}

int baseline_daemon(int argc, char **argv) {
  char *arguments[] = {"baseline", "-o", "fsname=vsocfs-bench,default_permissions,allow_other"};
  struct fuse_args args = FUSE_ARGS_INIT(3, arguments);
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (argc != 2) return 64;
  session = fuse_session_new(&args, &operations, sizeof operations, NULL);
  if (!session || fuse_set_signal_handlers(session) != 0) return 1;
  if (fuse_session_mount(session, argv[1]) != 0) return 1;
  tell_ready();
  int result = run(argv[0]);
  if (result < 0) fprintf(stderr, "baseline: %s: %s\n", argv[0], strerror(-result));
  fuse_session_unmount(session);
  /* Threads may still stand in a read of the connection: the end of the process ends them. */
  _exit(result >= 0 ? 0 : 1);
}
