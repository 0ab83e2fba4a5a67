/* SPDX-License-Identifier: Apache-2.0 */
/* Commands in threads of their own. */
#define _GNU_SOURCE
#include "client.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct job {
  int argc;
  char *argv[MAX_FIELDS];
  struct reply reply;
};

static void *run_job(void *argument) {
  struct job *job = argument;
  run_command(job->argc - 1, job->argv + 1, &job->reply);
  print_reply(job->argv[0], &job->reply);
  return NULL;
}

/* async TAG COMMAND...: replies 0 at once; the command's reply comes later, after TAG. */
static void verb_async(int argc, char **argv, struct reply *reply) {
  struct job *job = calloc(1, sizeof *job);
  pthread_t thread;
  sigset_t usr1, before;
  job->argc = argc - 1;
  for (int i = 1; i < argc; i++) job->argv[i - 1] = strdup(argv[i]);
  /* Signals to the process go to the main thread. */
  sigemptyset(&usr1);
  sigaddset(&usr1, SIGUSR1);
  pthread_sigmask(SIG_BLOCK, &usr1, &before);
  int error = pthread_create(&thread, NULL, run_job, job);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  if (error) {
    reply_error(reply, error);
    return;
  }
  pthread_detach(thread);
  reply_result(reply, 0);
}

const struct verb thread_verbs[] = {{"async", 2, verb_async}, {NULL, 0, NULL}};
