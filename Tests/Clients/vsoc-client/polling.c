/* SPDX-License-Identifier: Apache-2.0 */
/* poll(2), select(2), epoll(7). Timeouts are milliseconds, -1 for none. */
#define _GNU_SOURCE
#include "client.h"

#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <unistd.h>

/* The same values in poll(2) and epoll(7). */
static const struct {
  const char *name;
  uint32_t bit;
} event_names[] = {{"in", POLLIN},   {"out", POLLOUT}, {"pri", POLLPRI},
                   {"err", POLLERR}, {"hup", POLLHUP}, {"nval", POLLNVAL}};

static uint32_t events_of(const char *text) {
  uint32_t events = 0;
  for (size_t i = 0; i < sizeof event_names / sizeof *event_names; i++) {
    if (strstr(text, event_names[i].name)) events |= event_names[i].bit;
  }
  if (strstr(text, "edge")) events |= EPOLLET;
  if (strstr(text, "once")) events |= EPOLLONESHOT;
  return events;
}

static void reply_events(struct reply *reply, uint32_t events) {
  const char *separator = "";
  for (size_t i = 0; i < sizeof event_names / sizeof *event_names; i++) {
    if (!(events & event_names[i].bit)) continue;
    reply_format(reply, "%s%s", separator, event_names[i].name);
    separator = ",";
  }
  if (!*separator) reply_format(reply, "none");
}

/* poll FD EVENTS TIMEOUT: the events found, or `none`. */
static void verb_poll(int argc, char **argv, struct reply *reply) {
  struct pollfd entry = {.fd = descriptor(argv[1]), .events = (short)events_of(argv[2])};
  (void)argc;
  if (poll(&entry, 1, (int)number(argv[3])) < 0) {
    reply_error(reply, errno);
  } else {
    reply_events(reply, (uint32_t)entry.revents);
  }
}

/* select FD EVENTS TIMEOUT: likewise, `in` and `out` only. */
static void verb_select(int argc, char **argv, struct reply *reply) {
  int fd = descriptor(argv[1]);
  uint32_t events = events_of(argv[2]);
  long long timeout = number(argv[3]);
  struct timeval time = {.tv_sec = (time_t)(timeout / 1000),
                         .tv_usec = (suseconds_t)(timeout % 1000 * 1000)};
  fd_set readable, writable;
  (void)argc;
  FD_ZERO(&readable);
  FD_ZERO(&writable);
  if (events & POLLIN) FD_SET(fd, &readable);
  if (events & POLLOUT) FD_SET(fd, &writable);
  if (select(fd + 1, &readable, &writable, NULL, timeout < 0 ? NULL : &time) < 0) {
    reply_error(reply, errno);
  } else {
    reply_events(reply, (FD_ISSET(fd, &readable) ? POLLIN : 0u) |
                            (FD_ISSET(fd, &writable) ? POLLOUT : 0u));
  }
}

static void verb_epoll(int argc, char **argv, struct reply *reply) {
  (void)argc, (void)argv;
  reply_result(reply, epoll_create1(EPOLL_CLOEXEC));
}

/* epoll-add EPOLL FD EVENTS */
static void verb_epoll_add(int argc, char **argv, struct reply *reply) {
  int fd = descriptor(argv[2]);
  struct epoll_event event = {.events = events_of(argv[3]), .data.fd = fd};
  (void)argc;
  reply_result(reply, epoll_ctl(descriptor(argv[1]), EPOLL_CTL_ADD, fd, &event));
}

/* epoll-wait EPOLL TIMEOUT: `fd:events` for each, or `none`. */
static void verb_epoll_wait(int argc, char **argv, struct reply *reply) {
  struct epoll_event events[16];
  (void)argc;
  int count = epoll_wait(descriptor(argv[1]), events, 16, (int)number(argv[2]));
  if (count < 0) {
    reply_error(reply, errno);
    return;
  }
  for (int i = 0; i < count; i++) {
    reply_format(reply, "%s%d:", i ? " " : "", events[i].data.fd);
    reply_events(reply, events[i].events);
  }
  if (!count) reply_format(reply, "none");
}

const struct verb poll_verbs[] = {{"poll", 3, verb_poll},
                                  {"select", 3, verb_select},
                                  {"epoll", 0, verb_epoll},
                                  {"epoll-add", 3, verb_epoll_add},
                                  {"epoll-wait", 2, verb_epoll_wait},
                                  {NULL, 0, NULL}};
