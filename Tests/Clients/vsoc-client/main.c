/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "client.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct verb *const topics[] = {
    file_verbs,  tree_verbs,   memory_verbs, ioctl_verbs,      poll_verbs, thread_verbs,
    crowd_verbs, stress_verbs, page_verbs,   permission_verbs, reach_verbs, claim_verbs};

void reply_format(struct reply *reply, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  int n = vsnprintf(reply->text + reply->length, sizeof reply->text - reply->length, format,
                    arguments);
  va_end(arguments);
  if (n > 0) reply->length += (size_t)n;
  if (reply->length >= sizeof reply->text) reply->length = sizeof reply->text - 1;
}

void reply_bytes(struct reply *reply, const void *bytes, size_t length) {
  const char *at = bytes;
  for (size_t i = 0; i < length; i++) {
    if (at[i] == '\n') {
      reply_format(reply, "\\n");
    } else if (at[i] == '\\') {
      reply_format(reply, "\\\\");
    } else if ((unsigned char)at[i] < 0x20) {
      reply_format(reply, "?");
    } else {
      reply_format(reply, "%c", at[i]);
    }
  }
}

void reply_error(struct reply *reply, int error) {
  const char *name = strerrorname_np(error);
  reply->failed = 1;
  reply_format(reply, "%s", name ? name : "E?");
}

void reply_result(struct reply *reply, long long result) {
  if (result < 0) {
    reply_error(reply, errno);
  } else {
    reply_format(reply, "%lld", result);
  }
}

long long number(const char *text) {
  char *end;
  errno = 0;
  long long value = strtoll(text, &end, 0);
  if (*end || end == text || errno) {
    fprintf(stderr, "vsoc-client: %s is no number\n", text);
    exit(2);
  }
  return value;
}

int descriptor(const char *text) {
  if (*text >= '0' && *text <= '9') return (int)number(text);
  int fd = open(text, O_RDWR | O_CLOEXEC);
  if (fd < 0) {
    fprintf(stderr, "vsoc-client: %s: %s\n", text, strerror(errno));
    exit(2);
  }
  return fd;
}

void run_command(int argc, char **argv, struct reply *reply) {
  for (size_t t = 0; t < sizeof topics / sizeof *topics; t++) {
    for (const struct verb *verb = topics[t]; verb->name; verb++) {
      if (strcmp(verb->name, argv[0]) != 0) continue;
      if (argc - 1 < verb->min_arguments) {
        fprintf(stderr, "vsoc-client: %s takes %d arguments\n", argv[0], verb->min_arguments);
        exit(2);
      }
      verb->run(argc, argv, reply);
      return;
    }
  }
  fprintf(stderr, "vsoc-client: no verb %s\n", argv[0]);
  exit(2);
}

int split_fields(char *line, char **fields) {
  int count = 1;
  char *to = line;
  fields[0] = line;
  for (char *from = line; *from && *from != '\n'; from++) {
    if (*from == FIELD_SEPARATOR && count < MAX_FIELDS) {
      *to++ = '\0';
      fields[count++] = to;
    } else if (*from == '\\' && from[1]) {
      *to++ = *++from == 'n' ? '\n' : *from;
    } else {
      *to++ = *from;
    }
  }
  *to = '\0';
  return count;
}

void print_reply(const char *tag, const struct reply *reply) {
  char *line;
  int length = asprintf(&line, "%s%s%s\n", tag ? tag : "", tag ? " " : "", reply->text);
  if (length < 0 || write(STDOUT_FILENO, line, (size_t)length) != length) _exit(3);
  free(line);
}

int main(int argc, char **argv) {
  static struct reply reply;
  static char line[MAX_LINE];
  char *fields[MAX_FIELDS];
  if (argc > 1) {
    run_command(argc - 1, argv + 1, &reply);
    print_reply(NULL, &reply);
    return reply.failed;
  }
  while (fgets(line, sizeof line, stdin)) {
    int count = split_fields(line, fields);
    reply.length = 0;
    reply.failed = 0;
    reply.text[0] = '\0';
    run_command(count, fields, &reply);
    print_reply(NULL, &reply);
  }
  /* No exit handlers: other threads may still be at work. */
  _exit(0);
}
