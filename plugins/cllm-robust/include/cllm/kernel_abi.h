/* The kernel ABI of cllm, version 1: how compiled code of other packages takes part in a step.
 *
 * A reducer, a check or an op is an object with a method __cllm_reducer__(), __cllm_check__() or __cllm_op__(). It returns
 * a PyCapsule named "cllm.reducer", "cllm.check" or "cllm.op", which holds one of the structs below. cllm copies the
 * struct, looks at its version and its size, and keeps capsule and object alive for as long as it uses them.
 *
 * The contract of every function here:
 *   - It is called by worker threads that do not hold the GIL. It calls nothing of Python's, allocates nothing, takes no
 *     lock and starts no thread.
 *   - Several threads may be in it at once, with disjoint pieces: [lo, hi) of the parameters, or parts of an op. It reads
 *     `state` and does not write to it.
 *   - What it computes for an element depends on that element alone (of both sides, of all shards), and on its place; not
 *     on where a piece begins or ends, nor on the thread. Then a run has the same bits at any number of threads.
 *   - It is compiled without -ffast-math and with -ffp-contract=off. Rounding is to nearest, subnormals are kept.
 *   - NaN and infinities pass through: a piece that holds one leaves one.
 *   - It returns CLLM_OK, or a number above 0 of its own choice: then the step is thrown away and the run stopped with
 *     what `describe` says.
 *
 * Versions: struct_size and abi_major stand first and never move. Within a major version fields are only appended; cllm
 * takes what a smaller struct lacks as zero, and leaves unread what a larger one has beyond. A new major version is
 * another struct, and cllm goes on to take the old one for at least two of its own minor versions. */
#ifndef CLLM_KERNEL_ABI_H
#define CLLM_KERNEL_ABI_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define CLLM_ABI_MAJOR 1
#define CLLM_ABI_MINOR 0

/* Pieces of the parameters have at least so many elements, unless all that there is to be done, or a thread's share of
 * it, has fewer. A check's pieces begin at its multiples, whatever the number of threads. */
#define CLLM_CHUNK 16384

enum cllm_status {
    CLLM_OK = 0,
    CLLM_AGAIN = -1,  /* of an op: when all parts have returned, each is called once more, with the next phase */
    CLLM_STOPPED = -2 /* of an op: it left early, because `interrupted` said so */
};

/* Combines the gradients of shards. It has `merge`, or it has `combine`. */
typedef struct {
    uint32_t struct_size;   /* sizeof(cllm_reducer) */
    uint16_t abi_major;     /* CLLM_ABI_MAJOR, another one is refused */
    uint16_t abi_minor;     /* CLLM_ABI_MINOR */
    uint64_t flags;         /* 0: none are defined */
    void *state;            /* handed to the functions */
    /* What one of its own statuses means, a line that stays where it is; may be NULL. */
    const char *(*describe)(void *state, int32_t status);

    /* A fold: left[i] ADD= right[i] or whatever merging is, for the elements lo .. hi - 1 of the parameters; both
     * pointers are to element lo. left comes from the shards with the smaller ids. cllm owns the tree. */
    int32_t (*merge)(void *state, int64_t lo, int64_t hi, float *left, const float *right);
    /* May be NULL: makes what the merges have left the sum over n_shards shards, in place. */
    int32_t (*finish)(void *state, int64_t lo, int64_t hi, float *total, int64_t n_shards);

    /* A gather: out[i] is the sum over the shards of gradients[s][i], or an estimate of it; each pointer is to element
     * lo. gradients[s] is that of the sum of the shard's token losses, weights[s] the sum of its token weights. */
    int32_t (*combine)(void *state, int64_t lo, int64_t hi, float *out, const float *const *gradients,
                       const double *weights, int64_t n_shards, float *scratch);
    /* float32 elements that `combine` has as scratch, in each thread; may be NULL: none. */
    int64_t (*scratch)(void *state, int64_t n_shards);
} cllm_reducer;

/* The check's numbers are wanted only where loss or gradient norm are not finite; else there is no scan. */
#define CLLM_CHECK_IF_NONFINITE 1u

/* Scans the reduced gradient, which is that of the mean token loss, before any clipping. */
typedef struct {
    uint32_t struct_size;   /* sizeof(cllm_check) */
    uint16_t abi_major;
    uint16_t abi_minor;
    uint64_t flags;         /* CLLM_CHECK_IF_NONFINITE or 0 */
    void *state;
    const char *(*describe)(void *state, int32_t status);

    int64_t n_partial;      /* float64 numbers that a piece leaves */
    int64_t n_found;        /* float64 numbers in the end */
    /* gradient points to element lo, a multiple of CLLM_CHUNK; hi - lo is CLLM_CHUNK, but for the last piece. */
    int32_t (*scan)(void *state, int64_t lo, int64_t hi, const float *gradient, double *partial);
    /* What all pieces have left, (n_chunks, n_partial) in their order, to what the check's method after_scan is given. */
    int32_t (*finish)(void *state, int64_t n_chunks, const double *partials, double *found);
} cllm_check;

/* One call of an op's function: part `part` of n_parts of what the op writes for one shard.
 *
 * A slot is an argument of the op: first its outputs, then what it saves for the backward, its inputs, its parameters.
 * Rows are (sequence, time), time running fastest. */
typedef struct cllm_op_call cllm_op_call;
struct cllm_op_call {
    uint32_t struct_size;   /* as the host has it: what lies beyond is not there */
    uint32_t n_slots;       /* of `value` and `gradient` */
    int64_t part, n_parts;  /* parts may run at the same time: each writes elements of its own */
    int64_t phase;          /* 0, and one more after each CLLM_AGAIN */
    int64_t n_sequences, time; /* rows of the shard: n_sequences * time */
    int64_t first;          /* row to begin with; above 0 only where one sequence is continued, in decoding */
    void *const *value;     /* of each slot, float32 or, of tokens and targets, int32; NULL: an option that is not used */
    float *const *gradient; /* of each slot; NULL: nobody wants it. Of the outputs it is IN, of the others OUT or ADD */
    uint64_t add;           /* bit i: gradient[i] holds a value that is to be added to, else it is to be written */
    const int64_t *size;    /* of the op's record, its `sizes` */
    const double *number;   /* of the op's record, its `numbers` */
    float *scratch;         /* of this thread, as the op's record asks for */
    float *shared;          /* scratch of the first part's thread, for what a phase leaves to the next */
    const int32_t *positions; /* (n_sequences, time) of each token in its document; NULL: each sequence is one */
    int64_t op, sequence, batch, seed; /* key of random numbers: place in the Program, first sequence in the batch */
    int (*interrupted)(const cllm_op_call *call); /* to be asked in long loops: not 0, return CLLM_STOPPED */
    const void *host;       /* cllm's own */
};

/* Computes an op, forward and backward. */
typedef struct {
    uint32_t struct_size;   /* sizeof(cllm_op) */
    uint16_t abi_major;
    uint16_t abi_minor;
    uint64_t flags;         /* 0: none are defined */
    void *state;
    const char *(*describe)(void *state, int32_t status);

    /* Writes the outputs and what is saved. */
    int32_t (*forward)(void *state, const cllm_op_call *call);
    /* From the outputs' gradients those of inputs and parameters; NULL where nothing flows back. */
    int32_t (*backward)(void *state, const cllm_op_call *call);
} cllm_op;

/* The first of n things that belong to a part, in groups of `grain`; those of the part end where the next one's begin. */
static inline int64_t cllm_part_begin(int64_t n, int64_t grain, int64_t part, int64_t n_parts)
{
    int64_t groups = (n + grain - 1) / grain, begin = groups * part / n_parts * grain;
    return begin < n ? begin : n;
}

static inline int cllm_adds(const cllm_op_call *call, int slot) { return (int)(call->add >> slot) & 1; }

#ifdef __cplusplus
}
#endif
#endif
