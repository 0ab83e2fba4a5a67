/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A client of the mount that does what it is told: one command a line on stdin, exactly one line
 * of reply each on stdout. A command that fails replies the name of its errno.
 *
 * Fields of a command are separated by 0x1f; in both directions `\n` and `\\` are escapes. With
 * arguments, `vsoc-client VERB ARG...` runs that one command and exits.
 */
#ifndef VSOC_CLIENT_H
#define VSOC_CLIENT_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define FIELD_SEPARATOR '\x1f'
enum { MAX_FIELDS = 32, MAX_LINE = 1 << 16 };

/* The reply of one command, and whether the command failed. */
struct reply {
  char text[MAX_LINE];
  size_t length;
  int failed;
};

typedef void verb_function(int argc, char **argv, struct reply *reply);

struct verb {
  const char *name;
  int min_arguments;
  verb_function *run;
};

/* Each topic's verbs, ended by a null name. */
extern const struct verb file_verbs[], tree_verbs[], memory_verbs[], ioctl_verbs[], poll_verbs[],
    thread_verbs[], crowd_verbs[], stress_verbs[], page_verbs[], permission_verbs[],
    reach_verbs[], claim_verbs[];

void reply_format(struct reply *reply, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Bytes, escaped. */
void reply_bytes(struct reply *reply, const void *bytes, size_t length);
/* The name of `error`. */
void reply_error(struct reply *reply, int error);
/* A system call's result: the number, or the name of errno. */
void reply_result(struct reply *reply, long long result);

/* The command in `argv`, run to its end. */
void run_command(int argc, char **argv, struct reply *reply);
/* Splits a line in place: the number of fields. */
int split_fields(char *line, char **fields);
/* Writes one line at once: `tag`, if any, and the reply. */
void print_reply(const char *tag, const struct reply *reply);

long long number(const char *text);
/* A descriptor's number, or a path that is opened for this one use. */
int descriptor(const char *text);

/* The address of `offset` in the mapping of this id; exits if there is none. */
void *mapped(const char *id, const char *offset);

#endif
