/* Steps of training without a Python interpreter: the quick form of the race suite, and the one with nothing else in it.
 *
 *     driver N_STEPS FILE ...
 *
 * It includes the executor's C as Cython generates it, and is linked with that of the kernels. Python's library is
 * linked too, because the modules around the kernels refer to it, but it is never initialised and no line of it runs.
 * What a step works on comes from FILEs that tests/race/dump.py has written: an engine's memory as it lay there, in
 * pieces with their addresses, and the gradient that must come out. It ends with 1 for any other bit. */
#include EXECUTOR_C

#include <stdio.h>
#include <stdlib.h>
#include "driver.h"

typedef struct __pyx_t_4cllm_8_kernels_4step_Step Step;
typedef struct __pyx_t_4cllm_8_kernels_4step_Worker Worker;
typedef struct __pyx_t_4cllm_8_kernels_4step_Disorder Disorder;
enum { EMPTY, FULL, ADDRESSES };
typedef struct { int64_t old, size, kind; char *place; } Piece;
/* The same fields in the same order: dump.py. Addresses are those of the process that wrote them. */
typedef struct {
    int64_t ops, n_ops, packings, n_packings, workers, n_workers, ranges, lockstep, parameters, n_parameters, packed;
    int64_t tokens, targets, weights, losses, sequence, shard_loss, shard_weight, n_shards, time, batch, seed;
    int64_t renumbered, rows, n_rows, named, named_step, pairs, n_pairs, total, matrices, n_matrices, sums, expected;
} Scene;
typedef struct { Scene scene; Piece *pieces; int64_t n_pieces; } Dump;

extern int32_t (*const merge_sum)(void *state, int64_t lo, int64_t hi, float *left, const float *right);

static void get(void *to, size_t n, FILE *file)
{
    if (fread(to, 1, n, file) != n) { fprintf(stderr, "a dump ends too early\n"); exit(2); }
}

static int64_t number(FILE *file) { int64_t n; get(&n, sizeof n, file); return n; }

static void *moved(const Dump *dump, int64_t old)
{
    for (int64_t i = 0; old != 0 && i < dump->n_pieces; i++) {
        const Piece *p = &dump->pieces[i];
        if (old >= p->old && old < p->old + p->size) return p->place + (old - p->old);
    }
    return NULL;
}

static Kernel kernel_named(const char *name)
{
    for (const Named *const *table = all_kernels; *table; table++)
        for (const Named *named = *table; named->name; named++)
            if (strcmp(named->name, name) == 0) return named->kernel;
    fprintf(stderr, "no kernel %s\n", name);
    exit(2);
}

static void load_piece(Piece *p, FILE *file)
{
    p->old = number(file), p->size = number(file), p->kind = number(file);
    p->place = aligned_alloc(64, (size_t)((p->size + 127) / 64 * 64));
    memset(p->place, 0xff, (size_t)p->size); /* NaN, should anybody read what nobody wrote */
    if (p->kind != EMPTY) get(p->place, (size_t)p->size, file);
}

static void move_workers(const Dump *dump)
{
    Worker *workers = moved(dump, dump->scene.workers);
    for (int64_t w = 0; w < dump->scene.n_workers; w++) {
        Worker *own = &workers[w];
        own->arena = moved(dump, (int64_t)own->arena), own->scratch = moved(dump, (int64_t)own->scratch);
        own->buffers = moved(dump, (int64_t)own->buffers), own->room = moved(dump, (int64_t)own->room);
    }
}

static void move_addresses(const Dump *dump, const Piece *p)
{
    int64_t *addresses = (int64_t *)p->place;
    for (int64_t i = 0; i < p->size / 8; i++) addresses[i] = (int64_t)moved(dump, addresses[i]);
}

/* The scene, its pieces, and the names of the ops' kernels. */
static Dump load(const char *path)
{
    FILE *file = fopen(path, "rb");
    Dump dump;
    if (!file) { fprintf(stderr, "no file %s\n", path); exit(2); }
    get(&dump.scene, sizeof dump.scene, file);
    dump.n_pieces = number(file);
    dump.pieces = calloc((size_t)dump.n_pieces, sizeof(Piece));
    for (int64_t i = 0; i < dump.n_pieces; i++) load_piece(&dump.pieces[i], file);
    for (int64_t i = 0; i < dump.n_pieces; i++)
        if (dump.pieces[i].kind == ADDRESSES) move_addresses(&dump, &dump.pieces[i]);
    move_workers(&dump);
    Op *ops = moved(&dump, dump.scene.ops);
    for (int64_t i = 0; i < 2 * dump.scene.n_ops; i++) {
        char name[64];
        get(name, sizeof name, file);
        *(i % 2 ? &ops[i / 2].backward : &ops[i / 2].forward) = name[0] ? kernel_named(name) : NULL;
    }
    fclose(file);
    return dump;
}

static Step step_of(const Dump *dump, Meeting *meetings, const cllm_reducer *reducer)
{
    const Scene *s = &dump->scene;
    Step step = {0};
    step.ops = moved(dump, s->ops), step.n_ops = s->n_ops;
    step.packings = moved(dump, s->packings), step.n_packings = (int)s->n_packings;
    step.workers = moved(dump, s->workers), step.n_workers = (int)s->n_workers, step.meetings = meetings;
    step.ranges = moved(dump, s->ranges), step.lockstep = (int)s->lockstep;
    step.parameters = moved(dump, s->parameters), step.n_parameters = s->n_parameters;
    step.packed = moved(dump, s->packed), step.backward = 1, step.reducer = step.plain = reducer;
    step.tokens = moved(dump, s->tokens), step.targets = moved(dump, s->targets);
    step.weights = moved(dump, s->weights), step.losses = moved(dump, s->losses);
    step.sequence = moved(dump, s->sequence), step.n_shards = s->n_shards, step.time = s->time;
    step.shard_loss = moved(dump, s->shard_loss), step.shard_weight = moved(dump, s->shard_weight);
    step.batch = s->batch, step.seed = s->seed, step.renumbered = moved(dump, s->renumbered);
    step.rows = moved(dump, s->rows), step.n_rows = s->n_rows;
    step.named = moved(dump, s->named), step.named_step = s->named_step;
    step.polled = 1e300; /* nobody looks at Python's signals */
    return step;
}

/* What Executor.fold does. */
static void run(Step *step, const Dump *dump)
{
    const Scene *s = &dump->scene;
    const int64_t *pairs = moved(dump, s->pairs);
    float *total = moved(dump, s->total), *sums = moved(dump, s->sums);
    void *matrices = moved(dump, s->matrices);
    int n = step->n_workers;
    step->leave = step->n_started = step->n_finished = 0;
    memset(step->meetings, 0, (size_t)n * sizeof(Meeting));
#pragma omp parallel num_threads(n)
    {
        if (!step->lockstep) {
#pragma omp for schedule(static, 1)
            for (int t = 0; t < n; t++) CALL(pack_part)(step, t, n);
        }
#pragma omp for schedule(static, 1)
        for (int t = 0; t < n; t++) CALL(run_worker)(step, t);
        if (s->n_pairs) {
#pragma omp for schedule(static, 1)
            for (int t = 0; t < n; t++) CALL(meet_part)(step, pairs, s->n_pairs, t, n);
        }
#pragma omp for schedule(static, 1)
        for (int t = 0; t < n; t++) CALL(scale_part)(step, total, matrices, (int)s->n_matrices, sums, t, n);
    }
}

/* Whether all steps end in the bits that are expected; every other one with delays around its meetings. */
static int is_right(const Dump *dump, int n_steps)
{
    const Scene *s = &dump->scene;
    int n = (int)s->n_workers, *identity = malloc((size_t)n * sizeof(int)), right = 1;
    Meeting *meetings = aligned_alloc(64, (size_t)n * sizeof(Meeting));
    cllm_reducer reducer = {.merge = merge_sum};
    Step step = step_of(dump, meetings, &reducer);
    float *total = moved(dump, s->total);
    for (int t = 0; t < n; t++) identity[t] = t;
    for (int i = 0; i < n_steps; i++) {
        Disorder disorder = {identity, identity, NULL, i / 2 % n};
        step.disorder = i % 2 ? &disorder : NULL;
        run(&step, dump);
        right &= memcmp(total, moved(dump, s->expected), (size_t)s->n_parameters * sizeof(float)) == 0;
    }
    free(identity), free(meetings);
    return right;
}

int main(int n, char **words)
{
    int n_wrong = 0;
    for (int i = 2; i < n; i++) {
        Dump dump = load(words[i]);
        if (!is_right(&dump, atoi(words[1]))) printf("%s: other bits\n", words[i]), n_wrong++;
    }
    printf("%d of %d right\n", n - 2 - n_wrong, n - 2);
    return n_wrong != 0;
}
