/* In checked builds alone: one element of what an op has written becomes a value that somebody asked for (CLLM_FAULT). */
#ifndef CLLM_INJECTION_H
#define CLLM_INJECTION_H

#include "op.h"

#if defined(CLLM_CHECKED)
#define CHECKED 1
#else
#define CHECKED 0 /* a constant: the compiler leaves out what follows from it */
#endif

typedef struct {
    int64_t op, backward;       /* after which kernel; op -1: none */
    int64_t batch, sequence;    /* of which batch, and first sequence of which shard */
    int64_t is_gradient, slot;  /* into which argument */
    int64_t element;
    double value;
} Injection;

static inline int is_due(const Injection *f, const Op *op, const Shard *shard, int backward)
{
    return f->op == op->id && f->backward == backward && f->batch == shard->batch && f->sequence == shard->sequence;
}

static inline void inject(const Injection *f, const Op *op, const Shard *shard)
{
    float *out = f->is_gradient ? gradient_of(op, shard, (int)f->slot) : value_of(op, shard, (int)f->slot);
    if (out != NULL) out[f->element] = (float)f->value;
}

#endif
