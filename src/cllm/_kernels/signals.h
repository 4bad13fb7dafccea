/* How a running step notices Ctrl-C: the thread that called polls Python's signals now and then. */
#ifndef CLLM_SIGNALS_H
#define CLLM_SIGNALS_H

#include <Python.h>
#include <stdint.h>
#include <time.h>

/* Runs the handlers of signals that came in; 1 when one of them raised. The exception stays pending. */
static inline int poll_signals(void)
{
    PyGILState_STATE state = PyGILState_Ensure();
    int raised = PyErr_CheckSignals() != 0;
    PyGILState_Release(state);
    return raised;
}

static inline int raise_pending(void) { return PyErr_Occurred() ? -1 : 0; }

static inline void wait_a_little(int round)
{
    struct timespec nap = {0, 100000};
    if (round > 2000) nanosleep(&nap, NULL);
}

static inline int load_flag(int *flag) { return __atomic_load_n(flag, __ATOMIC_ACQUIRE); }
static inline void store_flag(int *flag, int value) { __atomic_store_n(flag, value, __ATOMIC_RELEASE); }
/* For those who look on: an old value does no harm, a torn one would. */
static inline void note(int64_t *word, int64_t value) { __atomic_store_n(word, value, __ATOMIC_RELAXED); }
static inline int count_up(int *counter) { return __atomic_add_fetch(counter, 1, __ATOMIC_ACQ_REL); }

#endif
