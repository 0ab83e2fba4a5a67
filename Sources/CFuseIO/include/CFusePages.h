/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VSOCFS_CFUSEPAGES_H
#define VSOCFS_CFUSEPAGES_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct fuse_session;
struct vsocfs_fuse_channel;

/*
 * Pages of files whose page cache is their memory: the kernel reads what it does not have and writes
 * back what was changed, and the daemon itself may be who waits for that, with its address space
 * locked: a thread of it that stores to a page under writeback holds mmap_lock until the write has
 * been answered. So nothing here may need that lock: no allocation, no access to a page that is not
 * there yet. Swift promises neither.
 */

/* The greatest number of a descriptor that a handle can tell. */
enum { VSOCFS_FUSE_FD_MAX = (1 << 23) - 1 };

/* A file handle as the kernel has it, for such a file: which it is for the file system, the
 * descriptor that has the pages, and a mark that tells it from other handles. 0 if a number is too
 * large to be told. */
uint64_t vsocfs_fuse_paged_handle(uint64_t handle, int fd);
/* The file system's part of any handle that the kernel has. */
uint64_t vsocfs_fuse_handle(uint64_t fh);

/* What a thread needs to serve a connection: room for one request and one reply. */
struct vsocfs_fuse_room {
  void *request;
  void *reply;
  size_t request_size;
  size_t reply_size;
};

/* Room for requests that carry up to `payload` bytes, in memory if it may be locked there. Also makes
 * some of the calling thread's stack present. 0 or -errno.
 *
 * `memory` is -1, or a file that has several rooms, for others to look into: the request is what each
 * begins with. */
int vsocfs_fuse_room_make(struct vsocfs_fuse_room *room, size_t payload, int memory, size_t index);
size_t vsocfs_fuse_room_size(size_t payload);
void vsocfs_fuse_room_drop(struct vsocfs_fuse_room *room);

/* Waits for a request: its length; 0 at the end of the connection; -EINTR. */
ssize_t vsocfs_fuse_receive(struct vsocfs_fuse_channel *channel, int fuse_fd,
                            struct vsocfs_fuse_room *room);

/* Answers the request if it is one for pages: true, and it is done with.
 *
 * `copies` is NULL in the process that made the handles. In another one it has, for each number up to
 * VSOCFS_FUSE_FD_MAX, 1 plus that of the copy of the descriptor there; 0 if there is none. */
_Bool vsocfs_fuse_serve_pages(int fuse_fd, struct vsocfs_fuse_room *room, size_t length,
                              const int *copies);

/* Bytes that this process has written to files for requests for pages. */
uint64_t vsocfs_fuse_pages_written(void);

/* Whether the request in the room of somebody else waits for its answer still: it is copied then. */
_Bool vsocfs_fuse_take_over(int fuse_fd, struct vsocfs_fuse_room *room, const void *other);

/* Answers any request with an error, if it is one to be answered. */
void vsocfs_fuse_refuse(int fuse_fd, struct vsocfs_fuse_room *room, int error);

/* Carries any other request to the callbacks of the session (fuse_session_process_buf). */
void vsocfs_fuse_process(struct fuse_session *session, void *request, size_t length);

#endif
