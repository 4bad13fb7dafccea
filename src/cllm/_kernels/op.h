/* The two records that every kernel of an op gets: what the op is (`Op`) and which shard it runs on (`Shard`).
 *
 * A Program is lowered once to an array of Op; the executors walk it. An op's arguments are slots in one order:
 * outputs, saved buffers, inputs, parameters. A slot is a space and an offset; the space's base address belongs
 * to the thread, so the same record serves all threads. cllm/lowering.py has the same layout as a NumPy dtype and
 * compares the sizes at import. */
#ifndef CLLM_OP_H
#define CLLM_OP_H

#include <stddef.h>
#include <stdint.h>

#define MAX_SLOTS 10
#define MAX_SIZES 8
#define MAX_NUMBERS 4

/* Of shards that a kernel computes at once: their rows, the levels of the tree of their sums, and how many they are. */
#define MOST_ROWS_TOGETHER 1024
#define MOST_LEVELS 7
#define MOST_TOGETHER (1 << (MOST_LEVELS - 1))

/* Where a slot lies. */
enum space {
    NOWHERE = -1,
    ACTIVATIONS = 0, /* float32, one arena a thread: activations, what the backward needs, their gradients */
    PARAMETERS,      /* float32, shared, read only */
    PACKED,          /* float32, shared, read only: weights in the panels that the tiles read */
    GRADIENT,        /* float32, this shard's own */
    TOKENS,          /* int32, (sequences, time) */
    TARGETS,         /* int32, (sequences, time), -1: not counted */
    WEIGHTS,         /* float32, (sequences, time) */
    LOSSES,          /* float32, (sequences, time): weighted loss of each token */
    N_SPACES
};

/* AGAIN: all parts meet, and then the kernel is called again with the next `phase`; every part returns it or none.
 * REFUSED: code of another package has returned a status of its own, which is noted in `refused`. */
enum status { DONE = 0, BAD_TOKEN = 1, STOPPED = 2, AGAIN = 3, REFUSED = 4 };

typedef struct { int64_t space, offset; } Slot; /* offset in elements of the space */

typedef struct Op Op;
typedef struct Shard Shard;

/* Computes part `part` of `n_parts` of the op's output tiles; parts may run at the same time. */
typedef int (*Kernel)(const Op *op, const Shard *shard, int64_t part, int64_t n_parts);

struct Op {
    Kernel forward, backward;       /* NULL: nothing to do in that direction */
    int64_t id;                     /* position in the Program: the layer of the random numbers' key */
    int64_t add;                    /* bit i: gradient slot i holds a value that is to be added to */
    Slot value[MAX_SLOTS];
    Slot gradient[MAX_SLOTS];       /* of the same slot; NOWHERE: nobody wants it */
    Slot packed[MAX_SLOTS];         /* a matrix as the forward product reads it */
    Slot transposed[MAX_SLOTS];     /* and as the backward product reads it */
    int64_t size[MAX_SIZES];        /* what they mean stands in the op's kernel */
    double number[MAX_NUMBERS];
    const void *foreign;            /* cllm_op of another package; NULL: forward and backward are cllm's own */
    int64_t n_slots;
    int64_t together;               /* the most rows of several shards that its kernels compute at once; 0: one shard */
};

struct Shard {
    void *base[N_SPACES];
    float *scratch;                 /* this thread's own, at least as large as the Program's largest demand */
    float *shared;                  /* scratch of the thread that leads, for what one phase leaves to the next */
    int64_t phase;                  /* counts an op's calls from 0 */
    int64_t n_sequences, time;      /* rows are (sequence, time), time running fastest */
    const int32_t *positions;       /* (sequences, time) of each token in its document, which begins with 0; NULL: a row is one */
    int64_t first;                  /* first row to compute; above 0 only in cached decoding of one sequence */
    int64_t sequence;               /* number of the shard's first sequence in the batch */
    int64_t batch, seed;            /* key of the random numbers */
    int (*interrupted)(const Shard *shard); /* to be asked in long loops: not 0, leave with STOPPED */
    void *step;                     /* the executor's own */
    int64_t worker;
    int64_t *refused;               /* the status by which another package's code gives up; 0: none has */
    int64_t n_together;             /* shards to compute, this one and those behind it, of as many rows; a power of two */
    int64_t together_step;          /* elements from the activations of one of them to those of the next */
    const int64_t *apart;           /* rows (n_apart,) of a matrix's gradient that shards which go together also keep apart */
    int64_t n_apart;
    float *own;                     /* this shard's rows, (n_apart, columns); those of the shards behind it lie own_step on */
    int64_t own_step;
};

static inline Kernel kernel_of(const Op *op, int backward) { return backward ? op->backward : op->forward; }

static inline float *value_of(const Op *op, const Shard *shard, int slot)
{
    Slot s = op->value[slot];
    return s.space == NOWHERE ? NULL : (float *)shard->base[s.space] + s.offset;
}
static inline int32_t *integers_of(const Op *op, const Shard *shard, int slot)
{
    return (int32_t *)value_of(op, shard, slot);
}
static inline float *gradient_of(const Op *op, const Shard *shard, int slot)
{
    Slot s = op->gradient[slot];
    return s.space == NOWHERE ? NULL : (float *)shard->base[s.space] + s.offset;
}
static inline const float *packed_of(const Op *op, const Shard *shard, int slot)
{
    Slot s = op->packed[slot];
    return s.space == NOWHERE ? NULL : (const float *)shard->base[s.space] + s.offset;
}
static inline const float *transposed_of(const Op *op, const Shard *shard, int slot)
{
    Slot s = op->transposed[slot];
    return s.space == NOWHERE ? NULL : (const float *)shard->base[s.space] + s.offset;
}
static inline int adds_to(const Op *op, int slot) { return (int)(op->add >> slot) & 1; }

/* Of a token in its document. */
static inline int64_t position_of(const Shard *shard, int64_t row)
{
    return shard->positions ? shard->positions[row] : row % shard->time;
}

/* Where the document that begins at `begin` of a sequence ends there. */
static inline int64_t document_end(const Shard *shard, int64_t sequence, int64_t begin)
{
    int64_t end = begin + 1;
    if (!shard->positions) return shard->time;
    while (end < shard->time && shard->positions[sequence * shard->time + end] > 0) end++;
    return end;
}

/* The lo:hi of `n` things that belong to one part; parts differ by at most one `grain`. */
static inline int64_t part_begin(int64_t n, int64_t grain, int64_t part, int64_t n_parts)
{
    int64_t grains = (n + grain - 1) / grain, begin = grains * part / n_parts * grain;
    return begin < n ? begin : n;
}

/* The same, by place: the n things lie in elements offset .. offset + size - 1 of `total`, of which each part has a slice.
 * All passes over parameters share them so, and a part finds in its core's cache what it has written there before. */
static inline int64_t place_begin(int64_t n, int64_t grain, int64_t offset, int64_t size, int64_t total, int64_t part,
                                  int64_t n_parts)
{
    int64_t inside = part_begin(total, 16, part, n_parts) - offset, begin;
    if (inside <= 0) return 0;
    if (inside >= size) return n;
    begin = (n + grain - 1) / grain * inside / size * grain;
    return begin < n ? begin : n;
}

#endif
