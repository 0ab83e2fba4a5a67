/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VSOCFS_CFUSEGUARD_H
#define VSOCFS_CFUSEGUARD_H

/* What a guard works with: descriptors, besides the first four. -1 where there is none. */
struct vsocfs_guard {
  const char *mount_point;
  /* The minor number of what is mounted there. */
  int device;
  /* The most bytes that a request carries, and the number of rooms for them. */
  int payload;
  int room_count;
  /* The daemon's, and its pidfd. */
  int lifeline;
  int process;
  /* The connection, and its `abort` in fusectl. */
  int connection;
  int abort;
  /* Where the daemon sends the descriptors that its handles name (vsocfs_send_numbered): a number
   * alone takes back the copy that came with it. */
  int copies;
  /* The rooms of the daemon's threads. */
  int rooms;
};

/* The signal that says that copies have been lost on the way. It is blocked: a flag that cannot get
 * lost. */
int vsocfs_guard_lost_signal(void);

/* What a guard does, from its first instruction to its last: see ConnectionGuard. */
_Noreturn void vsocfs_guard_run(const struct vsocfs_guard *guard);

#endif
