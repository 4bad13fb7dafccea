/* Kernels by name, as the wrappers that tools/driver.py writes around the generated C hand them over. */
#ifndef CLLM_DRIVER_H
#define CLLM_DRIVER_H

#include "op.h"

typedef struct { const char *name; Kernel kernel; } Named;

extern const Named *const all_kernels[]; /* ends with NULL, as each table does with a name that is NULL */

#endif
